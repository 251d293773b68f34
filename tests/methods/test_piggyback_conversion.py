"""Any network on a bank of filters: what a task trains, what stays, what comes back."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rcas_plugin.checkpoints.tasks import Task, folded, read_task, task_of, write_task
from rcas_plugin.embedded.networks import Generator
from rcas_plugin.methods.piggyback import convert
from rcas_plugin.methods.piggyback.conversion import attached_filters, choose_counts, growth
from rcas_plugin.weights.adapters import table_of
from rcas_plugin.weights.synapses import find_convolutions


class Translator(nn.Module):
    """(n, 1, 8, 8) to (n, 1, 8, 8): a convolution, a transposed one, batch norm, spectral norm, a linear layer between."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 6, 4, 2, 1)
        self.norm = nn.BatchNorm2d(6)
        self.middle = nn.utils.spectral_norm(nn.Conv2d(6, 6, 3, 1, 1))
        self.scale = nn.Linear(6, 6)
        self.up = nn.ConvTranspose2d(6, 4, 4, 2, 1, bias=False)
        self.out = nn.Conv2d(4, 1, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.norm(self.down(x)))
        h = self.middle(h) * self.scale(h.mean((2, 3)))[..., None, None]
        out: Tensor = torch.tanh(self.out(torch.relu(self.up(h))))
        return out


def build(seed: int = 0) -> Translator:
    torch.manual_seed(seed)
    return Translator()


@torch.enable_grad()
def fit(network: nn.Module, parameters: Iterable[nn.Parameter], seed: int) -> None:
    """A few steps towards images of no meaning."""
    source = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(parameters, 0.01)
    network.train()
    for _ in range(4):
        x, y = torch.randn(2, 4, 1, 8, 8, generator=source)
        optimizer.zero_grad()
        (network(x) - y.tanh()).square().mean().backward()
        optimizer.step()
    network.eval()


def copied(network: nn.Module) -> dict[str, Any]:
    return {name: value.clone() if isinstance(value, Tensor) else value for name, value in network.state_dict().items()}


X = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(9))


@torch.no_grad()
def test_every_task_comes_back_to_the_bit_after_three(tmp_path: Any) -> None:
    network = build()
    fit(network, list(network.parameters()), 1)
    base, images = copied(network), [network(X)]
    tasks: list[Task] = []
    banks = []
    for number, part in enumerate((0.25, 0.5, 0.3), 2):
        network = build()
        network.load_state_dict(base)
        fit(network, convert(network, part, earlier=tasks), number)
        images.append(network(X))
        banks.append({name: len(filters.bank(table_of(network, name)).movedim(filters.dim, 0))
                      for name, filters in attached_filters(network).items()})  # fmt: skip
        task = task_of(network.state_dict(), base, labels=(), method="piggyback")
        write_task(tmp_path / f"{number}.safetensors", task)
        tasks.append(read_task(tmp_path / f"{number}.safetensors"))
    assert [bank["down.weight"] for bank in banks] == [6, 6 + 2, 6 + 2 + 3], "the base's, then each earlier task's own"
    assert [bank["up.weight"] for bank in banks] == [4, 4 + 1, 4 + 1 + 2]
    assert [bank["out.weight"] for bank in banks] == [1, 1, 1], "the output layer has all of its own, and mixes nothing"
    for index, wanted in enumerate(images):
        plain = build(seed=5).eval()
        plain.load_state_dict(folded(base, tasks, index - 1) if index else base)
        assert torch.equal(plain(X), wanted), f"task {index + 1}"
        assert all(not torch.equal(wanted, other) for other in images[:index])
    assert not any("earlier" in name for task in tasks for name in task.tensors), "what earlier tasks hold is not written again"


def test_the_example_of_the_docs_brings_a_task_back() -> None:
    page = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page.partition("## piggyback")[2], re.DOTALL)
    ends = []

    def fit_pairs(network: nn.Module, seed: int, parameters: Iterable[nn.Parameter]) -> None:
        fit(network, parameters, seed)
        ends.append(copied(network))

    names: dict[str, Any] = {"build": build, "fit": fit_pairs, "first_pairs": 1, "later_pairs": [2, 3, 4]}
    exec(compile(code, "methods.md", "exec"), names)
    assert len(ends) == 4
    assert len(names["tasks"]) == 3
    second, bias = names["network"].state_dict(), "down.bias"
    assert torch.equal(second[bias], ends[1][bias])
    assert not torch.equal(second[bias], ends[0][bias])
    assert torch.equal(second["up.weight"][:, :1], ends[1]["up.parametrizations.weight.0.new"])


def test_what_a_task_trains_moves_and_nothing_else() -> None:
    network = build()
    trained = convert(network, 0.25)
    names = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    mixed = ("down.parametrizations.weight", "middle.parametrizations.weight_orig", "up.parametrizations.weight")
    adapters = {f"{weight}.0.{part}" for weight in mixed for part in ("new", "mix")}
    own = {"out.parametrizations.weight.0.new", "down.bias", "middle.bias", "out.bias", "norm.weight", "norm.bias"}
    assert names == adapters | own
    assert len(trained) == len(names)
    before = copied(network)
    fit(network, trained, 3)
    after = network.state_dict()
    statistics = {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked", "middle.weight_u", "middle.weight_v"}
    for name, value in after.items():
        if isinstance(value, Tensor):
            assert torch.equal(value, before[name]) == (name not in names | statistics), name


def test_it_starts_as_the_first_task() -> None:
    network = build().eval()
    with torch.no_grad():
        images = network(X)
        convert(network, 0.4)
        assert torch.equal(network(X), images)


def test_the_published_start_is_drawn_from_the_seed() -> None:
    states = []
    for seed in (1, 1, 2):
        network = build()
        convert(network, 0.5, init="published", seed=seed)
        states.append(copied(network))
    new = "down.parametrizations.weight.0.new"
    assert torch.equal(states[0][new], states[1][new])
    assert not torch.equal(states[0][new], states[2][new])
    assert states[0]["down.bias"].abs().sum() == 0
    assert 0 < (states[0]["norm.weight"] - 1).abs().max() < 0.1


def test_one_part_a_layer_and_an_output_by_name() -> None:
    network = build()
    names = ["down.weight", "middle.weight_orig", "up.weight", "out.weight"]
    assert list(find_convolutions(network)) == names
    assert list(choose_counts(network, [1 / 6, 1.0, 0.5, 0.1]).values()) == [1, 6, 2, 1]
    assert list(choose_counts(network, 0.5, output="up.weight").values()) == [3, 3, 4, 1]


def test_nothing_is_mixed_where_the_bank_has_more_filters_than_one_has_numbers() -> None:
    """1x1 convolutions: at the second task a mixture costs as much as filters of one's own, afterwards more."""
    network = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 1, 1))
    assert choose_counts(network, 0.25) == {"0.weight": 1, "1.weight": 1}
    base = copied(network)
    converted = copy.deepcopy(network)
    convert(converted, 0.25)
    task = task_of(converted.state_dict(), base, labels=(), method="piggyback")
    assert choose_counts(network, 0.25, earlier=[task]) == {"0.weight": 4, "1.weight": 1}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"part": [0.5]}, "1 parts for 4 layers"),
        ({"part": 0.0}, "over 0 and at most 1"),
        ({"part": 1.1}, "over 0 and at most 1"),
        ({"output": "scale.weight"}, "no convolution's weight; there are: down.weight"),
    ],
)
def test_what_cannot_be_converted(arguments: dict[str, Any], sentence: str) -> None:
    network = build()
    before = copied(network)
    with pytest.raises(ValueError, match=sentence):
        convert(network, **arguments)
    assert network.state_dict().keys() == before.keys()
    convert(network)
    with pytest.raises(ValueError, match="build it anew"):
        convert(network)


def test_the_size_of_a_task_on_r32() -> None:
    """family.md: R32's second task, lambda 1/4."""
    with torch.device("meta"):
        generator = Generator(z_dim=128, num_classes=10, g_conv_dim=64)
        convert_counts = choose_counts(generator, 0.25)
    assert convert_counts["conv2d5.weight"] == 3
    formula = [(64 * 256 * k * k + 256, 256 * (256 - 64)) for k in (1, 3, 3)] * 3
    filters, mixing = sum(f for f, _ in formula) + 3 * 256 * 9 + 3, sum(m for _, m in formula)
    assert (filters, mixing) == (943_107, 442_368)
    converted = Generator(z_dim=1, num_classes=1, g_conv_dim=64)
    convert(converted, 0.25)
    size = growth(converted)
    assert (size.filter_parameters, size.mixing_parameters) == (filters, mixing)
    assert (size.bank, size.filters) == (9 * 256 + 3, 9 * 64 + 3)
