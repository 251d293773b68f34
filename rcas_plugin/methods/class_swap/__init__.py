"""Class swap: RCAS as published, and the slot's matched start."""

from rcas_plugin.methods.class_swap.method import ClassSwap

__all__ = ["ClassSwap"]
