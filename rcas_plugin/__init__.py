"""Class-swap learning for PyTorch-StudioGAN: a new class in the label slot of an obsolete one.

Plain RCAS: `synapse_importance`, `select_synapses`, `reinitialize`. The slot's own columns: `match_features`.
For a method of one's own: `Method`, `Context`, `Batch`. Generated images for a training loop of one's own: `Replay`.
"""

from typing import TYPE_CHECKING, Any

from rcas_plugin import hooks as _hooks  # noqa: F401  (registers what the plugin adds)
from rcas_plugin.errors import RcasError
from rcas_plugin.gan import Gan, gaussian_latents
from rcas_plugin.importance.estimate import Importance, synapse_importance
from rcas_plugin.importance.reinit import reinitialize
from rcas_plugin.importance.selection import Selection, Stable, select_synapses
from rcas_plugin.methods.base import Batch, Context, Method
from rcas_plugin.methods.label_start import match_features
from rcas_plugin.weights.batch_norm import reestimate_batch_norm

if TYPE_CHECKING:
    from rcas_plugin.sampling.replay import Replay

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "Context",
    "Gan",
    "Importance",
    "Method",
    "RcasError",
    "Replay",
    "Selection",
    "Stable",
    "gaussian_latents",
    "match_features",
    "reestimate_batch_norm",
    "reinitialize",
    "select_synapses",
    "synapse_importance",
]


def __getattr__(name: str) -> Any:
    """`Replay`, imported once it is asked for: it brings the networks along, which nothing else here needs."""
    if name == "Replay":
        from rcas_plugin.sampling.replay import Replay

        return Replay
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
