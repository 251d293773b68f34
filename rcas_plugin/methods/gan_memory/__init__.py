"""GAN Memory: each new class is a style of the frozen base's kernels."""

from rcas_plugin.methods.gan_memory.method import GanMemory

__all__ = ["GanMemory"]
