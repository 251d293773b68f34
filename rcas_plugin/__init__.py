"""Class-swap learning for PyTorch-StudioGAN: a new class in the label slot of an obsolete one.

Plain RCAS: `synapse_importance`, `select_synapses`, `reinitialize`. The slot's own columns: `match_features`.
For a method of one's own: `Method`, `Context`, `Batch`.
"""

from rcas_plugin import hooks as _hooks  # noqa: F401  (registers what the plugin adds)
from rcas_plugin.errors import RcasError
from rcas_plugin.gan import Gan, gaussian_latents
from rcas_plugin.importance.estimate import Importance, synapse_importance
from rcas_plugin.importance.reinit import reinitialize
from rcas_plugin.importance.selection import Selection, Stable, select_synapses
from rcas_plugin.methods.base import Batch, Context, Method
from rcas_plugin.methods.label_start import match_features
from rcas_plugin.weights.batch_norm import reestimate_batch_norm

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "Context",
    "Gan",
    "Importance",
    "Method",
    "RcasError",
    "Selection",
    "Stable",
    "gaussian_latents",
    "match_features",
    "reestimate_batch_norm",
    "reinitialize",
    "select_synapses",
    "synapse_importance",
]
