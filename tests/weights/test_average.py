"""The average of a generator's weights, against a computation in float64."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from rcas_plugin.weights.average import Average


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.utils.spectral_norm(nn.Linear(3, 4)), nn.BatchNorm1d(4))


def train(network: nn.Module) -> None:
    """Move every parameter, and the running statistics with them."""
    network.train()
    network(torch.randn(5, 3)).sum().backward()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape))


def test_parameters_and_running_statistics_are_averaged(network: nn.Module) -> None:
    average = Average(network, 0.75)
    names = [*dict(network.named_parameters()), *dict(network.named_buffers())]
    wanted = {name: average.tensors[name].double() for name in names}
    for _ in range(3):
        train(network)
        average.update({*network.parameters(), *network.buffers()})
        for name, tensor in {**dict(network.named_parameters()), **dict(network.named_buffers())}.items():
            wanted[name] = 0.75 * wanted[name] + 0.25 * tensor.detach().double()
    assert {"0.weight_orig", "0.weight_u", "1.running_mean", "1.num_batches_tracked"} <= set(names)
    assert average.tensors["1.num_batches_tracked"] == 3, "a counter is no average"
    del wanted["1.num_batches_tracked"]
    for name, value in wanted.items():
        torch.testing.assert_close(average.tensors[name].double(), value, rtol=1e-5, atol=1e-6)


def test_what_a_method_keeps_out_stays(network: nn.Module) -> None:
    average = Average(network, 0.5)
    before = {name: tensor.clone() for name, tensor in average.tensors.items()}
    train(network)
    average.update({network[1].weight})  # type: ignore[index]
    moved = {name for name, tensor in average.tensors.items() if not torch.equal(tensor, before[name])}
    assert moved == {"1.weight"}


def test_the_generator_is_itself_again_to_the_bit(network: nn.Module) -> None:
    average = Average(network, 0.5)
    train(network)
    average.update({*network.parameters(), *network.buffers()})
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with average.shown():
        assert torch.equal(network[1].weight, average.tensors["1.weight"])  # type: ignore[index]
        assert not torch.equal(network[1].weight, before["1.weight"])  # type: ignore[index]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    state = average.state_dict()
    assert set(state) == set(before)
    assert torch.equal(state["1.weight"], average.tensors["1.weight"])


def test_it_is_read_as_it_was_written(network: nn.Module, tmp_path: Path) -> None:
    average = Average(network, 0.5)
    train(network)
    average.update({*network.parameters(), *network.buffers()})
    for step in (2, 4):
        average.save(tmp_path, step)
    Average.forget_before(tmp_path, 4)
    assert [path.name for path in tmp_path.iterdir()] == ["average-step=4.safetensors"]
    again = Average(network, 0.5)
    assert not again.load(tmp_path, 2)
    assert again.load(tmp_path, 4)
    assert all(torch.equal(tensor, average.tensors[name]) for name, tensor in again.tensors.items())
    (tmp_path / "average-step=4.safetensors").write_bytes(b"cut")
    assert not again.load(tmp_path, 4)
