"""What the engine freezes has no gradient, whatever the method trains, and stays in its optimiser."""

from __future__ import annotations

from typing import Any

import torch

from rcas_plugin import Context
from rcas_plugin.gan import Gan, gaussian_latents
from rcas_plugin.labels import LabelPlan
from rcas_plugin.methods.fine_tune.method import FineTune
from rcas_plugin.run.lifecycle import Lifecycle
from rcas_plugin.settings import parse_settings
from rcas_plugin.weights.blocks import frozen_in


def test_frozen_parameters_have_no_gradient_and_stay_in_the_optimiser(pair: Any) -> None:
    gan = Gan(*pair, None, gaussian_latents(6))
    settings = parse_settings({"method": "fine_tune", "swap": {3: 0}})
    plan = LabelPlan(4, {3: 0}, {1: 1, 2: 2}, ("a", "b", "c", "new"), ("a", "b", "c", "d"))
    frozen = frozen_in(gan.discriminator, 2)
    method = FineTune(Context(settings, plan, frozen=frozen, log=lambda line: None))
    method.gan = gan
    lifecycle = Lifecycle(method, gan)
    optimizer = torch.optim.Adam(gan.discriminator.parameters())
    lifecycle.build_optimizers({"discriminator": optimizer})

    def still() -> set[str]:
        return {name for name, parameter in gan.discriminator.named_parameters() if not parameter.requires_grad}

    assert still() == frozen
    gan.discriminator.requires_grad_(True)  # as upstream does for each turn
    lifecycle.freeze(gan.discriminator)
    assert still() == frozen
    assert len(optimizer.param_groups[0]["params"]) == len([*gan.discriminator.parameters()]), "StudioGAN loads no other state"
