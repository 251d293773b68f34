"""Weights of a network: which there are, which one label alone reaches, adapters around them, batch norm's statistics."""
