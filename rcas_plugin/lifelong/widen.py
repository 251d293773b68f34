"""Placeholder of checkpoints/widen.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.checkpoints.folder import write_checkpoint
from rcas_plugin.embedded.loop import build_gan
from rcas_plugin.record import plain_record, write_record


def widen_checkpoint(folder: Path, names: Sequence[str], out: Path) -> Path:
    """Widen."""
    ck = Checkpoint.read(folder)
    before = list(ck.record.labels)
    names = [*before, *names]
    assert ck.record.config is not None
    config = {**ck.record.config, "DATA": {**ck.record.config["DATA"], "num_classes": len(names)}}
    gan = build_gan(config)
    for net, content in ck.contents.items():
        state = gan.networks[{"G": "generator", "D": "discriminator", "G_ema": "ema"}[net]].state_dict()
        for key, new in state.items():
            old = content["state_dict"][key]
            new[tuple(slice(0, s) for s in old.shape)] = old
        write_checkpoint(out, net, "current", ck.step, {**content, "state_dict": state, "optimizer": None})
    torch.manual_seed(0)
    write_record(out, {**plain_record(names), "remaining": list(range(len(before))), "config": config})
    return out
