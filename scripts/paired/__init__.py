"""The parts of `scripts/paired_translation.py`: pairs of images, networks, training."""
