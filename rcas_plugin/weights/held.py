"""Hooks under which forward passes change no buffer of a network, or of its batch norms, for as long as a method asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn


def hold_buffers(network: nn.Module, held: Callable[[], bool], layers: type[nn.Module] = nn.Module) -> None:
    """Hook the network so that, while `held()`, a forward pass changes none of its buffers.

    Layers with buffers work as in evaluation: batch norm by its running statistics, spectral norm by the vectors that are stored.
    StyleGAN's mean latent and magnitudes go by the argument `update_emas`, which becomes False. The hooks sit on the network and
    on its direct parts, as StyleGAN's two are called apart, and look for layers at each call: upstream's synchronised batch norms
    take the place of others later on.

    Args:
        network: hooked in place, for good.
        held: asked at each forward pass.
        layers: the type of layer that is held; others work as they do. By default every layer with buffers.
    """
    stopped: dict[nn.Module, list[list[nn.Module]]] = {}

    def hold(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        at_work: list[nn.Module] = []
        if held():
            with_buffers = (layer for layer in module.modules() if any(True for _ in layer.buffers(recurse=False)))
            at_work = [layer for layer in with_buffers if layer.training and isinstance(layer, layers)]
            if layers is nn.Module and "update_emas" in kwargs:
                kwargs = {**kwargs, "update_emas": False}
        for layer in at_work:
            layer.training = False
        stopped.setdefault(module, []).append(at_work)
        return args, kwargs

    def release(module: nn.Module, args: Any, output: Any) -> None:
        for layer in stopped[module].pop():
            layer.training = True

    for part in (network, *network.children()):
        part.register_forward_pre_hook(hold, prepend=True, with_kwargs=True)
        part.register_forward_hook(release, always_call=True)
