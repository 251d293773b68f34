"""RCAS.accelerate: the same networks, computed faster."""

from __future__ import annotations

import copy
import platform
import subprocess
import sys
from typing import Any

import pytest
import torch

from rcas_plugin.weights.accelerate import accelerate, autocast, computes_in_bfloat16


def test_in_evaluation_mode_the_layout_changes_and_no_value(pair: Any) -> None:
    generator, twin = pair[0].eval(), copy.deepcopy(pair[0]).eval()
    accelerate(twin)
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


def test_where_it_is_off_upstreams_own_mixed_precision_goes_on() -> None:
    layer = torch.nn.Linear(2, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with autocast(torch.device("cpu"), enabled=False):
            assert layer(torch.ones(1, 2)).dtype == torch.bfloat16
        assert layer(torch.ones(1, 2)).dtype == torch.bfloat16
    assert layer(torch.ones(1, 2)).dtype == torch.float32


def test_in_training_mode_the_pass_runs_in_bfloat16_and_returns_float32(pair: Any) -> None:
    generator, discriminator = (network.train() for network in pair)
    seen = []
    for network in pair:
        accelerate(network)
        layer = next(module for module in network.modules() if isinstance(module, torch.nn.Conv2d))
        layer.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    wanted = torch.bfloat16 if computes_in_bfloat16(torch.device("cpu")) else torch.float32
    images = generator(torch.randn(4, 6), torch.arange(4))
    outputs = discriminator(images, torch.arange(4))
    outputs["adv_output"].sum().backward()
    assert images.dtype == outputs["adv_output"].dtype == outputs["h"].dtype == torch.float32
    assert set(seen) == {wanted}
    assert all(parameter.grad is not None and parameter.grad.dtype == torch.float32 for parameter in generator.parameters())
    assert not torch.is_autocast_enabled("cpu")


def test_an_error_inside_leaves_nothing_switched_on(pair: Any) -> None:
    generator = pair[0].train()
    accelerate(generator)
    with pytest.raises(RuntimeError):
        generator(torch.randn(4, 5), torch.arange(4))
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.slow
def test_freed_memory_can_be_kept() -> None:
    """In a process of its own: it cannot be taken back."""
    code = "from rcas_plugin.weights.accelerate import keep_freed_memory; print(keep_freed_memory())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert said == str(platform.libc_ver()[0] == "glibc")
