"""RCAS.accelerate: the same networks, computed faster."""

from __future__ import annotations

import copy
from typing import Any

import torch

from rcas_plugin.accelerate import autocast, channels_last, computes_in_bfloat16


def test_channels_last_changes_the_layout_and_no_value(pair: Any) -> None:
    generator, twin = pair[0].eval(), copy.deepcopy(pair[0]).eval()
    channels_last(twin, None)
    assert twin.blocks[0][0].conv2d1.weight.is_contiguous(memory_format=torch.channels_last)
    z, labels = torch.randn(4, 6), torch.arange(4)
    torch.testing.assert_close(twin(z, labels), generator(z, labels), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, generator.state_dict()[name]) for name, value in twin.state_dict().items())


def test_bfloat16_only_where_the_processor_has_it(pair: Any) -> None:
    cpu = torch.device("cpu")
    layer = torch.nn.Linear(2, 2)
    with autocast(cpu):
        assert layer(torch.ones(1, 2)).dtype == (torch.bfloat16 if computes_in_bfloat16(cpu) else torch.float32)
    with autocast(cpu, enabled=False):
        assert layer(torch.ones(1, 2)).dtype == torch.float32
