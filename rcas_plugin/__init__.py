"""Class-swap learning for PyTorch-StudioGAN: a new class in the label slot of an obsolete one.

Plain RCAS: `synapse_importance`, `select_synapses`, `reinitialize`. The slot's own columns: `match_features`.
For a method of one's own: `Method`, `Context`, `Batch`. Generated images for a training loop of one's own: `Replay`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rcas_plugin.errors import RcasError
    from rcas_plugin.gan import Gan, gaussian_latents
    from rcas_plugin.importance.estimate import Importance, synapse_importance
    from rcas_plugin.importance.reinit import reinitialize
    from rcas_plugin.importance.selection import Selection, Stable, select_synapses
    from rcas_plugin.methods.base import Batch, Context, Method
    from rcas_plugin.methods.label_start import match_features
    from rcas_plugin.sampling.replay import Replay
    from rcas_plugin.weights.batch_norm import reestimate_batch_norm

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


#: name -> the module that it comes from, imported once the name is asked for: `rcas --help` does not wait for torch.
_HOMES = {
    "Batch": "methods.base",
    "Context": "methods.base",
    "Gan": "gan",
    "Importance": "importance.estimate",
    "Method": "methods.base",
    "RcasError": "errors",
    "Replay": "sampling.replay",
    "Selection": "importance.selection",
    "Stable": "importance.selection",
    "gaussian_latents": "gan",
    "match_features": "methods.label_start",
    "reestimate_batch_norm": "weights.batch_norm",
    "reinitialize": "importance.reinit",
    "select_synapses": "importance.selection",
    "synapse_importance": "importance.estimate",
}


def __getattr__(name: str) -> Any:
    """What `__all__` names, from the module that it comes from."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
