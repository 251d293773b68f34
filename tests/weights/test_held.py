"""Buffers that forward passes leave alone while a method asks for it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from rcas_plugin.weights.held import hold_buffers


class Mapping(nn.Module):
    """A part with a mean of its own, kept as StyleGAN's are: by an argument."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("w_avg", torch.zeros(()))

    def forward(self, x: Tensor, update_emas: bool = False) -> Tensor:
        if update_emas:
            self.w_avg.copy_(x.detach().mean())  # type: ignore[operator]
        return x


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mapping = Mapping()
        self.body = nn.Sequential(nn.utils.spectral_norm(nn.Linear(3, 3)), nn.BatchNorm1d(3), nn.Dropout(0.5))

    def forward(self, x: Tensor, update_emas: bool = False) -> Tensor:
        made: Tensor = self.body(self.mapping(x, update_emas=update_emas))
        return made


def buffers(network: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in network.named_buffers()}


def moved(network: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, buffer in network.named_buffers() if not torch.equal(buffer, before[name])}


EVERY = {"mapping.w_avg", "body.0.weight_u", "body.0.weight_v", "body.1.running_mean", "body.1.running_var",
         "body.1.num_batches_tracked"}  # fmt: skip


def test_no_buffer_changes_while_it_is_held() -> None:
    """F6: whole or part by part, StyleGAN's means included; modes are as they were after each call."""
    torch.manual_seed(0)
    network, state = Network(), {"held": True}
    hold_buffers(network, lambda: state["held"])
    before, x = buffers(network), torch.randn(5, 3)
    network(x, update_emas=True)
    network.body(network.mapping(x, update_emas=True)).sum().backward()
    assert moved(network, before) == set()
    assert all(module.training for module in network.modules())
    assert all(parameter.grad is not None for parameter in network.parameters())
    state["held"] = False
    network(x, update_emas=True)
    assert moved(network, before) == EVERY


def test_layers_that_take_others_places_are_held_too() -> None:
    """F6: synchronised batch norms come after the method has prepared the networks."""
    network = Network()
    hold_buffers(network, lambda: True)
    network.body[1] = copy.deepcopy(nn.BatchNorm1d(3))
    before = buffers(network)
    network(torch.randn(5, 3))
    assert moved(network, before) == set()


def test_modes_come_back_after_an_error() -> None:
    network = Network()
    hold_buffers(network, lambda: True)
    with pytest.raises(RuntimeError):
        network(torch.randn(5, 2))
    assert all(module.training for module in network.modules())


def test_layers_of_one_type_are_held_and_others_are_not() -> None:
    network = Network()
    hold_buffers(network, lambda: network.training, nn.BatchNorm1d)
    before = buffers(network)
    network(torch.randn(5, 3), update_emas=True)
    assert moved(network, before) == {"mapping.w_avg", "body.0.weight_u", "body.0.weight_v"}
    network.body[1].eval()
    network.eval()
    network.body[1].train()  # as where its statistics are estimated anew
    network.body[1](torch.randn(5, 3))
    assert "body.1.running_mean" in moved(network, before)
