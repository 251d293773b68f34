"""The wrappers around a step of training: what is shown to D, what moves, which terms a loss gets, what is averaged."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from typing import Any

import torch

from rcas_plugin.gan import DISCRIMINATOR, GENERATOR
from rcas_plugin.methods.base import Batch
from rcas_plugin.studiogan.active import RUN


def _define_losses(original: Any) -> Any:
    @functools.wraps(original)
    def define_losses(self: Any) -> None:
        original(self)
        if RUN.method is not None:
            factor = self.LOSS.mh_lambda if self.LOSS.adv_loss == "MH" else 1.0
            self.LOSS.g_loss = _with_term(self.LOSS.g_loss, GENERATOR, factor)
            self.LOSS.d_loss = _with_term(self.LOSS.d_loss, DISCRIMINATOR)

    return define_losses


def _define_optimizer(original: Any) -> Any:
    @functools.wraps(original)
    def define_optimizer(self: Any, Gen: Any, Dis: Any) -> None:
        original(self, Gen, Dis)
        if RUN.method is not None and RUN.gan is not None:
            built = {GENERATOR: self.OPTIMIZATION.g_optimizer, DISCRIMINATOR: self.OPTIMIZATION.d_optimizer}
            RUN.method.optimizers_built(RUN.gan, built, lambda: RUN.step)

    return define_optimizer


def _with_term(loss: Any, role: str, factor: float = 1.0) -> Any:
    """The loss with the method's term; `factor` is what upstream multiplies the sum by, and the term counts whole."""

    @functools.wraps(loss)
    def total(*args: Any, **kwargs: Any) -> Any:
        value = loss(*args, **kwargs)
        if RUN.method is None or not RUN.seen:  # multi-hinge calls d_loss twice an update; the term is added once
            return value
        seen, RUN.seen = RUN.seen, []
        if role == GENERATOR:
            term = RUN.method.generator_loss(Batch(RUN.step, *seen[0]))
        else:
            real, fake = seen[:2]
            term = RUN.method.discriminator_loss(Batch(RUN.step, *fake, *real))
        return value if term is None else value + term / factor

    return total


def _sample_y(original: Any) -> Any:
    @functools.wraps(original)
    def sample_y(y_sampler: Any, batch_size: int, num_classes: int, device: Any) -> Any:
        if RUN.swap is None or isinstance(y_sampler, int):
            return original(y_sampler=y_sampler, batch_size=batch_size, num_classes=num_classes, device=device)
        live = torch.tensor(RUN.swap.plan.live, device=device)
        drawn = original(y_sampler=y_sampler, batch_size=batch_size, num_classes=len(live), device=device)
        return None if drawn is None else live[drawn]

    return sample_y


def _generate_images(original: Any) -> Any:
    @functools.wraps(original)
    def generate_images(*args: Any, **kwargs: Any) -> Any:
        made = original(*args, **kwargs)
        RUN.seen.clear()
        return made

    return generate_images


def _toggle_grad(original: Any) -> Any:
    @functools.wraps(original)
    def toggle_grad(model: Any, grad: bool, *args: Any, **kwargs: Any) -> None:
        original(model, grad, *args, **kwargs)
        if not grad or RUN.method is None or RUN.gan is None:
            return
        network = importlib.import_module("utils.misc").peel_model(model)
        roles: Mapping[Any, str] = {RUN.gan.generator: GENERATOR, RUN.gan.discriminator: DISCRIMINATOR}
        if network in roles:
            for name, parameter in network.named_parameters():
                if not RUN.method.trainable(roles[network], name):
                    parameter.requires_grad = False

    return toggle_grad


def _update_average(original: Any) -> Any:
    """What the method does not let the moving average of G take in stays what it is."""

    @functools.wraps(original)
    def update(self: Any, *args: Any, **kwargs: Any) -> None:
        held = []
        if RUN.method is not None:
            named = (*self.target.named_parameters(), *self.target.named_buffers())
            held = [(tensor.data, tensor.detach().clone()) for name, tensor in named if not RUN.method.averaged(name)]
        original(self, *args, **kwargs)
        for tensor, value in held:
            tensor.copy_(value)

    return update


WRAPPERS = (
    ("config.Configurations.define_losses", "losses", _define_losses),
    ("config.Configurations.define_optimizer", "method", _define_optimizer),
    ("utils.ema.Ema.update", "held", _update_average),
    ("utils.ema.EmaStylegan2.update", "held", _update_average),
    ("utils.misc.toggle_grad", "trainable", _toggle_grad),
    ("utils.sample.generate_images", "seen", _generate_images),
    ("utils.sample.sample_y", "live", _sample_y),
)
