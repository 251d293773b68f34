"""What is written down while a swap goes on: pictures, metrics, edits, the machine."""
