"""The wrappers around a step of training: for D's inputs, the trained parameters, the losses' terms and the moving average."""

from __future__ import annotations

import functools
from contextlib import nullcontext
from typing import Any

import torch

from rcas_plugin.gan import DISCRIMINATOR, GENERATOR
from rcas_plugin.registry import methods
from rcas_plugin.studiogan.active import RUN


def _define_losses(original: Any) -> Any:
    @functools.wraps(original)
    def define_losses(self: Any) -> None:
        original(self)
        if RUN.lifecycle is not None:
            factor = self.LOSS.mh_lambda if self.LOSS.adv_loss == "MH" else 1.0
            self.LOSS.g_loss = _with_term(self.LOSS.g_loss, GENERATOR, factor)
            self.LOSS.d_loss = _with_term(self.LOSS.d_loss, DISCRIMINATOR)

    return define_losses


def _define_optimizer(original: Any) -> Any:
    @functools.wraps(original)
    def define_optimizer(self: Any, Gen: Any, Dis: Any) -> None:
        original(self, Gen, Dis)
        if RUN.lifecycle is not None:
            optimizers = {GENERATOR: self.OPTIMIZATION.g_optimizer, DISCRIMINATOR: self.OPTIMIZATION.d_optimizer}
            RUN.lifecycle.build_optimizers(optimizers)

    return define_optimizer


def _with_term(loss: Any, role: str, factor: float = 1.0) -> Any:
    """The loss with the method's term; `factor` is what upstream multiplies the sum by, and the term counts whole."""

    @functools.wraps(loss)
    def total(*args: Any, **kwargs: Any) -> Any:
        value = loss(*args, **kwargs)
        if RUN.lifecycle is None:
            return value
        batch = RUN.passes.take(RUN.lifecycle.step, generator=role == GENERATOR)
        term = None if batch is None else RUN.lifecycle.term(role, batch)
        return value if term is None else value + term / factor

    return total


def _sample_y(original: Any) -> Any:
    @functools.wraps(original)
    def sample_y(y_sampler: Any, batch_size: int, num_classes: int, device: Any) -> Any:
        if RUN.swap is None or isinstance(y_sampler, int):
            return original(y_sampler=y_sampler, batch_size=batch_size, num_classes=num_classes, device=device)
        plan, settings = RUN.swap.plan, RUN.swap.settings  # what is judged has every label alike
        labels = methods[settings.method].drawn(settings, plan) if RUN.passes.training else plan.drawn()
        live = torch.tensor(labels, device=device)
        drawn = original(y_sampler=y_sampler, batch_size=batch_size, num_classes=len(live), device=device)
        return None if drawn is None else live[drawn]

    return sample_y


def _sample_zy(original: Any) -> Any:
    @functools.wraps(original)
    def sample_zy(*args: Any, **kwargs: Any) -> Any:
        latents, labels, perturbed = original(*args, **kwargs)
        if RUN.lifecycle is not None and RUN.passes.training:
            drawn = latents
            latents, labels = RUN.lifecycle.method.fakes_of(latents, labels)
            if perturbed is not None:  # the latents beside it, for the loss of LOSS.apply_zcr
                perturbed = perturbed + (latents - drawn)
        return latents, labels, perturbed

    return sample_zy


def _generate_images(original: Any) -> Any:
    @functools.wraps(original)
    def generate_images(*args: Any, **kwargs: Any) -> Any:
        with RUN.passes.generating(training=kwargs["is_train"]):
            generated = original(*args, **kwargs)
        images, labels, _, _, styles, *_ = generated
        RUN.passes.fakes_made(images, labels, styles)
        return generated

    return generate_images


def _toggle_grad(original: Any) -> Any:
    @functools.wraps(original)
    def toggle_grad(model: Any, grad: bool, *args: Any, **kwargs: Any) -> None:
        original(model, grad, *args, **kwargs)
        if grad and RUN.lifecycle is not None:
            RUN.lifecycle.freeze(model)

    return toggle_grad


def _update_average(original: Any) -> Any:
    """Update the moving average of G, but for the tensors that the method keeps out of it."""

    @functools.wraps(original)
    def update(self: Any, *args: Any, **kwargs: Any) -> None:
        with RUN.lifecycle.averaging() if RUN.lifecycle is not None else nullcontext():
            original(self, *args, **kwargs)

    return update


WRAPPERS = (
    ("config.Configurations.define_losses", "losses", _define_losses),
    ("config.Configurations.define_optimizer", "method", _define_optimizer),
    ("utils.ema.Ema.update", "held", _update_average),
    ("utils.ema.EmaStylegan2.update", "held", _update_average),
    ("utils.misc.toggle_grad", "trainable", _toggle_grad),
    ("utils.sample.generate_images", "seen", _generate_images),
    ("utils.sample.sample_y", "live", _sample_y),
    ("utils.sample.sample_zy", "halves", _sample_zy),
)
