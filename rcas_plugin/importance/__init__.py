"""The weights that serve a label: their importance by gradients, their selection, and their re-initialisation."""

from rcas_plugin.importance.estimate import Importance, synapse_importance

__all__ = ["Importance", "synapse_importance"]
