"""The files that are written while a swap goes on: pictures, metrics, edits, facts of the machine."""
