"""What was edited is counted."""

from __future__ import annotations

import pytest
import torch

from rcas_plugin.embedded.networks import Discriminator, Generator
from rcas_plugin.gan import Gan, gaussian_latents
from rcas_plugin.watch.edits import edits, parameters_of


def test_by_hand(pair: tuple[Generator, Discriminator]) -> None:
    generator, discriminator = pair
    gan = Gan(generator, discriminator, None, gaussian_latents(6))
    before = parameters_of(gan)
    name, weight = next((name, value) for name, value in generator.named_parameters() if value.ndim == 4)
    norm = float(weight.detach().norm())
    with torch.no_grad():
        weight.view(-1)[:2] += 3.0
    found = edits(before, gan)
    row = found["generator"][name]
    assert (row["changed"], row["of"]) == (2, weight.numel())
    assert row["relative"] == pytest.approx(18**0.5 / norm, rel=1e-5)
    assert sum(one["changed"] for one in found["generator"].values()) == 2
    assert not any(one["changed"] for one in found["discriminator"].values())
    assert set(found["discriminator"]) == {name for name, _ in discriminator.named_parameters()}
