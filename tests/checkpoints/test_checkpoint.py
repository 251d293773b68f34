"""A checkpoint as one object."""

from __future__ import annotations

import builtins
import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.checkpoints.folder import write_checkpoint
from rcas_plugin.gan import Gan, gaussian_latents
from rcas_plugin.methods.bn_propagation.adapter import propagate
from rcas_plugin.record import write_record


def test_each_file_is_read_once(pair: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for network, module in zip("GD", pair, strict=True):
        write_checkpoint(tmp_path, network, "current", 6, {"state_dict": module.state_dict(), "step": 6})
    write_record(tmp_path, {"labels": ["a", "b"]})
    opened: list[str] = []
    original = builtins.open

    def noted(file: Any, *args: Any, **kwargs: Any) -> Any:
        opened.append(Path(str(file)).name)
        return original(file, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", noted)
    checkpoint = Checkpoint.read(tmp_path)
    assert (checkpoint.step, checkpoint.record.labels, checkpoint.adapted) == (6, ("a", "b"), False)
    states, plain = checkpoint.states, checkpoint.folded.states
    assert states["ema"] is states["generator"], "G has no moving average"
    assert all(torch.equal(value, plain["generator"][name]) for name, value in pair[0].state_dict().items())
    assert sorted(name for name in opened if name.endswith(".pth")) == sorted(path.name for path in checkpoint.files.values())


def test_of_networks_in_memory(pair: Any) -> None:
    gan = Gan(*pair, copy.deepcopy(pair[0]), gaussian_latents(6))
    name = "blocks.0.0.bn1.gain.weight"
    table = gan.generator.get_parameter(name)
    propagate(gan.generator, name, table, [0, 4, 2, 3], 1)
    checkpoint = Checkpoint.of(gan)
    assert checkpoint.adapted
    assert set(checkpoint.contents) == {"G", "D", "G_ema"}
    mean = table.double().mean(1)
    torch.testing.assert_close(checkpoint.folded.states["generator"][name][:, 1].double(), mean, rtol=1e-5, atol=1e-6)
    assert not checkpoint.folded.adapted
    with torch.no_grad():
        gan.generator.conv2d5.bias.add_(1)  # type: ignore[union-attr, operator]
    assert not torch.equal(checkpoint.states["generator"]["conv2d5.bias"], gan.generator.state_dict()["conv2d5.bias"]), "copies"
