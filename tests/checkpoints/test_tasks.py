"""A task is what a swap has changed, to the bit, in a file that nobody writes again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rcas_plugin import RcasError
from rcas_plugin.checkpoints.tasks import Task, folded, read_task, same_bits, task_of, write_task
from rcas_plugin.embedded.networks import Generator
from rcas_plugin.methods.bn_propagation.adapter import propagate
from rcas_plugin.registry import adapters
from rcas_plugin.weights.adapters import attach, fold_state


def generator(seed: int, labels: int = 3) -> Generator:
    torch.manual_seed(seed)
    return Generator(z_dim=4, num_classes=labels, g_conv_dim=1)


def equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(same_bits(value, other[key]) for key, value in one.items())


def test_bits_are_compared_and_not_values() -> None:
    zero, minus, nan = torch.tensor(0.0), torch.tensor(-0.0), torch.tensor(float("nan"))
    assert torch.equal(zero, minus)
    assert not same_bits(zero, minus)
    assert same_bits(nan, nan)
    assert not same_bits(zero, zero.double())
    assert not same_bits(torch.zeros(2), torch.zeros(1, 2))
    assert same_bits(torch.arange(6).view(2, 3).T, torch.tensor([[0, 3], [1, 4], [2, 5]]))


def test_only_what_differs_is_kept_and_comes_back_to_the_bit(tmp_path: Path) -> None:
    network = generator(0)
    base = {key: value.clone() for key, value in network.state_dict().items()}
    with torch.no_grad():
        network.linear0.bias[0] = -0.0  # the value that it had, in other bits
        network.blocks[0][0].bn1.gain.weight[:, 1] += 1e-3
        network.blocks[0][0].bn1.bn.running_mean += 1
        network.blocks[0][0].bn1.bn.num_batches_tracked += 1
    task = task_of(network.state_dict(), base, [1], "fine_tune")
    assert set(task.tensors) == {
        "linear0.bias", "blocks.0.0.bn1.gain.weight", "blocks.0.0.bn1.bn.running_mean", "blocks.0.0.bn1.bn.num_batches_tracked",
    }  # fmt: skip
    sha256 = write_task(tmp_path / "task.safetensors", task)
    found = read_task(tmp_path / "task.safetensors", sha256)
    assert (found.labels, found.method, found.adapters) == ((1,), "fine_tune", {})
    assert equal(folded(base, [found], 0), network.state_dict())
    assert base["linear0.bias"][0].signbit().item() is False, "the base stays as it was"


@pytest.mark.parametrize("order", [[0, 3, 2], [0, 1, 2, 3, 4]])
def test_an_adapted_weight_is_kept_as_its_adapter_has_it(tmp_path: Path, order: list[int]) -> None:
    """bn_propagation: scores, residual and table; the number of labels may be another one than the base's."""
    base = generator(0).state_dict()
    network = generator(0, len(order))
    for name, parameter in list(network.named_parameters()):
        if parameter.shape != base[name].shape or name.endswith("gain.weight"):
            made = propagate(network, name, base[name], order, 1)
            nn.init.normal_(made.scores)
            nn.init.normal_(made.residual)
    state = network.state_dict()
    task = task_of(state, base, [1], "bn_propagation")
    name = "blocks.0.0.bn1.gain.weight"
    assert name not in task.tensors, "the table is the base's"
    assert task.adapters[name].adapter == "bn_propagation"
    assert same_bits(task.tensors[f"{name}/scores"], state["blocks.0.0.bn1.gain.parametrizations.weight.0.scores"])
    write_task(tmp_path / "task.safetensors", task)
    found = folded(base, [read_task(tmp_path / "task.safetensors")], 0)
    assert equal(found, fold_state(state))
    assert found[name].shape == (4, len(order))
    assert not equal({name: found[name]}, {name: base[name]})


class Scale(nn.Module):
    """A third party's adapter that builds on the earlier ones of its weight: base * product of all factors."""

    def __init__(self, factors: Sequence[float]) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factors[-1]))
        self.before = tuple(factors[:-1])

    def forward(self, weight: Tensor) -> Tensor:
        for factor in self.before:
            weight = weight * factor
        return weight * self.factor

    def get_extra_state(self) -> dict[str, Any]:
        return {"adapter": "scale"}

    def set_extra_state(self, state: Any) -> None:
        pass

    @classmethod
    def rebuild(cls, parts: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]] = ()) -> Scale:
        return cls([float(other["factor"]) for other in (*earlier, parts)])


@pytest.fixture
def scale() -> Iterator[None]:
    adapters.register("scale")(Scale)
    yield
    del adapters._entries["scale"]


def test_an_adapter_is_given_those_of_the_tasks_before(scale: None) -> None:
    base = generator(0).state_dict()
    tasks = []
    for factor in (2.0, 3.0, 5.0):
        network = generator(0)
        attach(network, "linear0.weight", base["linear0.weight"], Scale([factor]))
        tasks.append(task_of(network.state_dict(), base, [0], "scaled"))
    for index, product in enumerate((2.0, 6.0, 30.0)):
        torch.testing.assert_close(folded(base, tasks, index)["linear0.weight"], product * base["linear0.weight"])


def a_task(value: float = 1.0) -> Task:
    return Task({"weight": torch.full((3,), value)}, (0,), "fine_tune")


def test_a_task_is_never_written_again(tmp_path: Path) -> None:
    path = tmp_path / "task.safetensors"
    sha256 = write_task(path, a_task())
    os.utime(path, (1, 1))
    content = path.read_bytes()
    assert write_task(path, a_task()) == sha256, "the very same task is there"
    with pytest.raises(RcasError, match=r"task\.safetensors is there already, with another state"):
        write_task(path, a_task(2.0))
    assert (path.stat().st_mtime, path.read_bytes()) == (1, content)


@pytest.mark.parametrize("damage", ["cut", "other", "gone", "no header"])
def test_a_damaged_file_is_one_sentence_with_the_cure(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "task.safetensors"
    sha256: str | None = write_task(path, a_task())
    said = {"cut": "it is cut short", "other": "its sha256 is another", "gone": "No such file", "no header": "holds no task"}
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-5])
        sha256 = None
    elif damage == "other":
        path.unlink()
        write_task(path, a_task(2.0))
    elif damage == "gone":
        path.unlink()
    else:
        from safetensors.torch import save_file

        save_file(dict(a_task().tensors), path)
        sha256 = None
    with pytest.raises(RcasError) as mistake:
        read_task(path, sha256)
    sentence = str(mistake.value)
    assert said[damage] in sentence
    assert str(path) in sentence
    assert "put the file of that name from another run of this lineage in its place, or delete the folder" in sentence
    assert "\n" not in sentence
