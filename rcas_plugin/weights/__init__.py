"""Weights of a network: selectable and label-bound ones, adapters around them, batch norm's statistics."""
