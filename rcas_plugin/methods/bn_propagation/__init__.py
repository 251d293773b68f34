"""cGANTransfer's knowledge propagation: new labels' rows as combinations of the pre-trained ones."""

from rcas_plugin.methods.bn_propagation.method import BnPropagation

__all__ = ["BnPropagation"]
