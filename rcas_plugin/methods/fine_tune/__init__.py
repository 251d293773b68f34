"""Plain fine-tuning: the baseline of every comparison."""

from rcas_plugin.methods.fine_tune.method import FineTune

__all__ = ["FineTune"]
