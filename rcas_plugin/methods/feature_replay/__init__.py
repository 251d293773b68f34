"""Feature replay: D judges a classifier's hidden features, and the previous generator keeps the old classes (after Genifer)."""
