"""A run's folder on the disk: checkpoint files in upstream's layout, and what a killed process has left there."""
