"""A small conditional GAN and loop for a machine without StudioGAN, and for fast tests.

It reads the same configs, runs the same method objects and writes the same checkpoint files; its networks have the parameter
names and the arithmetic of upstream's `resnet` backbone at 32x32 (`src/models/resnet.py`), so checkpoints cross over.
"""
