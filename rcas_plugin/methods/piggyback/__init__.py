"""Piggyback GAN: a task's own filters beside combinations of a bank of all earlier ones; on any network, and as a method."""

from rcas_plugin.methods.piggyback.conversion import convert

__all__ = ["convert"]
