"""Which weights serve a label: importance by gradients, the selection that it makes, and what is put in their place."""

from rcas_plugin.importance.estimate import Importance, synapse_importance

__all__ = ["Importance", "synapse_importance"]
