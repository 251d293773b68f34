"""`Replay`: the images of a run as a data set, in loops and loaders of a user's own."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import rcas_plugin
from rcas_plugin import RcasError, Replay
from rcas_plugin.gan import generate
from rcas_plugin.sampling import replay as module
from rcas_plugin.sampling.run import open_run
from rcas_plugin.widen import widen_checkpoint

from .conftest import Swaps

Batches = list[tuple[Tensor, Tensor]]


def equal(one: Batches, other: Batches) -> bool:
    return len(one) == len(other) and all(
        torch.equal(images, also) and torch.equal(labels, too) for (images, labels), (also, too) in zip(one, other, strict=True)
    )


def test_batches_are_what_the_generator_makes(run: Path) -> None:
    replay = Replay(run, labels=["d", 2], batch_size=6, seed=3)
    assert (replay.labels, replay.run.labels) == ((1, 2), ("a", "d", "c"))
    gan, batches = open_run(run).gan, list(itertools.islice(replay, 4))
    assert {label for _, labels in batches for label in labels.tolist()} == {1, 2}
    for index, (images, labels) in enumerate(batches):
        assert (images.shape, images.dtype, labels.shape, labels.dtype) == ((6, 3, 32, 32), torch.float32, (6,), torch.int64)
        _, seed = module._seeds(0, 3, 0, index)
        z = gan.latents(6, torch.Generator().manual_seed(seed))
        with torch.no_grad():
            torch.testing.assert_close(images, generate(gan.evaluated, z, labels))
    assert not torch.equal(batches[0][0], batches[1][0])


def test_the_seed_and_the_epoch_decide(run: Path) -> None:
    replay = Replay(run, batch_size=2, length=3)
    first = list(replay)
    assert len(first) == len(replay) == 3
    assert equal(first, list(replay))
    assert equal(first, list(Replay(run, batch_size=2, length=3)))
    assert not equal(first, list(Replay(run, batch_size=2, length=3, seed=1)))
    replay.set_epoch(1)
    assert not equal(first, list(replay))
    endless = Replay(run, batch_size=2)
    assert equal(first, list(itertools.islice(endless, 3)))
    with pytest.raises(TypeError, match="no end"):
        len(endless)


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_share_the_same_stream(context: str, run: Path) -> None:
    replay = Replay(run, batch_size=2, length=5)
    loader = DataLoader(replay, batch_size=None, num_workers=2, multiprocessing_context=context)
    assert len(loader) == 5
    assert equal(list(loader), list(replay))


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_that_stay_see_the_epoch(context: str, run: Path) -> None:
    replay = Replay(run, batch_size=2, length=3)
    loader = DataLoader(replay, batch_size=None, num_workers=1, persistent_workers=True, multiprocessing_context=context)
    epochs = []
    for epoch in range(2):
        replay.set_epoch(epoch)
        epochs.append(list(loader))
        assert equal(epochs[-1], list(replay))
    assert not equal(*epochs)


def test_a_forked_worker_does_not_touch_the_gpu(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replay = Replay(run, batch_size=2)
    monkeypatch.setattr(module, "device_of", lambda network: torch.device("cuda"))
    next(iter(replay))
    own = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: own + 1)
    with pytest.raises(RcasError, match=r"^Replay: a forked worker cannot draw on the GPU"):
        next(iter(replay))


def test_transform_and_label_map(run: Path) -> None:
    plain, changed = Replay(run, ["c", "d"]), Replay(run, ["c", "d"], transform=lambda x: x[:, :1] + 1, label_map={"c": 7, 1: 5})
    (images, labels), (made, numbers) = next(iter(plain)), next(iter(changed))
    torch.testing.assert_close(made, images[:, :1] + 1)
    assert numbers.tolist() == [{2: 7, 1: 5}[label] for label in labels.tolist()]
    assert set(numbers.tolist()) == {5, 7}


def test_memory(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PART", 2)
    replay = Replay(run, ["c", "a"], label_map={"a": 0, "c": 1})
    images, labels = replay.memory(3).tensors
    assert (images.shape, images.dtype, labels.tolist()) == ((6, 3, 32, 32), torch.uint8, [1, 1, 1, 0, 0, 0])
    gan = replay.run.gan
    z = gan.latents(2, torch.Generator().manual_seed(module._seeds(1, 0, 2, 0)[0]))
    with torch.no_grad():
        made = generate(gan.evaluated, z, torch.tensor([2, 2])).double()
    torch.testing.assert_close(images[:2].double(), ((made + 1) * 127.5).round(), rtol=0, atol=1)
    assert torch.equal(replay.memory(3).tensors[0], images)
    assert len({image.numpy().tobytes() for image in images}) == 6


def test_tasks_that_lie_apart_make_their_own_labels(tmp_path: Path) -> None:
    swaps = Swaps(tmp_path / "apart", "gan_memory")
    first, second = (Replay(folder, ["d"], batch_size=4, step="newest") for folder in (swaps.first, swaps.second))
    assert torch.equal(next(iter(first))[0], next(iter(second))[0])
    both = [next(iter(Replay(folder, [0], batch_size=4, step="newest")))[0] for folder in (swaps.first, swaps.second)]
    assert not torch.equal(*both)


def test_labels_without_images_are_not_drawn(run: Path, tmp_path: Path) -> None:
    widen_checkpoint(run, tmp_path / "wide", ["e"])
    assert Replay(tmp_path / "wide").labels == (0, 1, 2)
    with pytest.raises(RcasError, match=r"^Replay: labels names 'e', which is no label with images; allowed: 0 \('a'\), "):
        Replay(tmp_path / "wide", ["e"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"labels": ["b"]}, r"^Replay: labels names 'b', .* allowed: 0 \('a'\), 1 \('d'\), 2 \('c'\)$"),
        ({"labels": [3]}, "^Replay: labels names 3, "),
        ({"labels": ["a", 0]}, "^Replay: labels names label 0 twice"),
        ({"labels": []}, r"^Replay: labels is \[\]; give a list of 0 \('a'\)"),
        ({"labels": "d"}, "^Replay: labels is 'd'; give a list of"),
        ({"label_map": {"a": 0}}, r"^Replay: label_map has no number for label 1 \('d'\)"),
        ({"batch_size": 0}, "^Replay: batch_size is 0; allowed: 1 or more"),
        ({"seed": -1}, "^Replay: seed is -1; allowed: 0 or more"),
        ({"length": 0}, "^Replay: length is 0; allowed: 1 or more"),
    ],
)
def test_refusals(options: dict[str, Any], sentence: str, run: Path) -> None:
    with pytest.raises(RcasError, match=sentence):
        Replay(run, **options)


def test_memory_of_no_images_is_refused(run: Path) -> None:
    with pytest.raises(RcasError, match=r"^Replay.memory: images is 0"):
        Replay(run).memory(0)


def test_the_name_is_public_and_others_are_missed() -> None:
    assert rcas_plugin.Replay is module.Replay
    with pytest.raises(AttributeError, match="has no attribute 'Repla'"):
        _ = rcas_plugin.Repla  # type: ignore[attr-defined]


def test_the_example_of_the_guide_trains_a_classifier(run: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guide" / "python.md").read_text(encoding="utf-8")
    (example,) = [block for block in re.findall(r"^```python\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL) if "Replay(" in block]
    code = example.replace("outputs/first/checkpoints/RUN", str(run)).replace('["scratch", "dent"]', '["a", "c"]')
    assert code.count(str(run)) == 1
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3))
    before = classifier[1].weight.detach().clone()
    names: dict[str, Any] = {"classifier": classifier, "real_images": [(torch.zeros(4, 3, 32, 32), torch.ones(4).long())] * 2}
    exec(code, names)
    assert not torch.equal(classifier[1].weight, before)
    assert names["labels"].unique().tolist() == [0, 2]
    assert len(names["images"]) == 68
