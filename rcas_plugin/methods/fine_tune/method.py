"""Plain fine-tuning: the contract with nothing overridden, the baseline of every comparison."""

from rcas_plugin.methods.base import Method


class FineTune(Method):
    """Fine-tune the whole GAN with the new class's images under the slot's label."""
