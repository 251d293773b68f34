"""Latents and labels of upstream's fakes, where a method gives them others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from rcas_plugin.studiogan.active import RUN
from rcas_plugin.studiogan.wiring import steps


@pytest.mark.parametrize("perturbs", [True, False])
def test_perturbed_latents_follow_those_that_a_method_gives(perturbs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """`LOSS.apply_zcr` compares the images of latents with those of the same latents and a little noise."""
    latents, labels, noise = torch.randn(4, 6), torch.arange(4), torch.randn(4, 6) / 100
    other = torch.randn(4, 6)

    def fakes_of(drawn: Tensor, of: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([other[:2], drawn[2:]]), of

    monkeypatch.setattr(RUN, "lifecycle", SimpleNamespace(method=SimpleNamespace(fakes_of=fakes_of)))
    monkeypatch.setattr(RUN, "passes", SimpleNamespace(training=True))

    def sample_zy(**_: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        return latents, labels, latents + noise if perturbs else None

    shown, _, perturbed = steps._sample_zy(sample_zy)()
    assert torch.equal(shown[:2], other[:2])
    if perturbs:
        torch.testing.assert_close(perturbed - shown, noise)
    else:
        assert perturbed is None
