"""A run's folder on the disk: checkpoint files in upstream's layout, lineage and tasks, and the removal of half-written files."""
