"""The metrics of a swap, and the classifier that judges it."""
