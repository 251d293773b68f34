"""`rcas memory export` of lineages whose labels were filled one after the other, or added."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from rcas_plugin import RcasError, Replay
from rcas_plugin.checkpoints.lineage import Lineage
from rcas_plugin.checkpoints.tasks import Task
from rcas_plugin.embedded import loop
from rcas_plugin.memory.export import export_task, unused_in
from rcas_plugin.record import LineageSwap, read_record
from rcas_plugin.widen import widen_checkpoint

from ..sampling.conftest import CONFIG, Swaps


def swapped(room: Swaps, source: Path, out: Path, labels: int, **section: Any) -> Path:
    """The folder of a swap with this number of labels, shown images of all classes."""
    shutil.copytree(room.root / "all", out / "data" / "train")
    config = {**CONFIG, "DATA": {**CONFIG["DATA"], "num_classes": labels}}
    path = out / "swap.yaml"
    path.write_text(yaml.safe_dump({**config, "RCAS": {"snapshot_images": 0, "swap_metrics": 0, **section}}))
    return loop.train(path, out / "data", out / "out", source, progress=False)


@pytest.fixture(scope="module")
def filled(apart: Swaps, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a, b, c, then the labels d and y, of which the first swap fills one by d, and the second the other by e."""
    root = tmp_path_factory.mktemp("filled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIOGAN_ROOT", str(root / "none"))
        widen_checkpoint(apart.pretrained, root / "wide", ["d", "y"])
    first = swapped(apart, root / "wide", root / "1", 5, method="gan_memory", swap={"d": "d"})
    return swapped(apart, first, root / "2", 5, method="gan_memory", swap={"y": "e"})


@pytest.mark.parametrize(("task", "right", "wrong", "unused"), [
    (0, "abc", "", "dy"), (1, "d", "abc", "y"), (2, "e", "abcd", ""),
])  # fmt: skip
def test_labels_that_later_swaps_fill_are_unused(
    task: int, right: str, wrong: str, unused: str, filled: Path, tmp_path: Path
) -> None:
    made = export_task(filled, task, tmp_path / "out")
    assert ["".join(labels.values()) for labels in (made.right, made.wrong, made.unused)] == [right, wrong, unused]
    record = read_record(tmp_path / "out")
    assert (record.unused, record.dropped) == (tuple(made.unused), frozenset(unused))
    assert Replay(tmp_path / "out").labels == tuple(label for label in range(5) if label not in made.unused)


def test_each_swap_records_what_had_no_images(filled: Path, apart: Swaps) -> None:
    assert [swap.unused for swap in read_record(filled).lineage] == [(3, 4), (4,)]
    assert [swap.unused for swap in read_record(apart.second).lineage] == [(), ()]


def lineage_of(steps: Sequence[tuple[dict[int, str], str, str]]) -> Lineage:
    """A lineage of swaps (label -> new class, classes before, classes after) as older versions recorded it."""
    swaps = tuple(LineageSwap.of("gan_memory", *step) for step in steps)
    return Lineage(swaps, {}, tuple(Task({}, (), "gan_memory") for _ in swaps[1:]))


def test_of_an_older_record_the_swaps_tell_what_was_unused() -> None:
    filled = lineage_of([({2: "c"}, "abcd", "abcd"), ({3: "d"}, "abcd", "abcd")])
    assert [unused_in(filled, number) for number in (0, 1, 2)] == [{2, 3}, {3}, set()]
    replaced = lineage_of([({1: "d"}, "abc", "adc"), ({0: "e"}, "adc", "edc")])
    assert [unused_in(replaced, number) for number in (0, 1, 2)] == [set(), set(), set()]
    added = lineage_of([({3: "d"}, "abc", "abcd"), ({0: "e"}, "abcd", "ebcd")])
    assert [unused_in(added, number) for number in (0, 1, 2)] == [set(), set(), set()]


def test_no_generator_stands_beside_a_discriminator_of_other_labels(apart: Swaps, tmp_path: Path) -> None:
    """Of 3 labels before `RCAS.add`, and of 4 since; the tasks after it keep the discriminator of 4."""
    more = swapped(apart, apart.pretrained, tmp_path / "1", 4, method="bn_propagation", add=["d"])
    again = swapped(apart, more, tmp_path / "2", 4, method="bn_propagation", swap={"a": "e"})
    task = swapped(apart, more, tmp_path / "3", 4, method="gan_memory", swap={"a": "e"})
    for run in (again, task):
        with pytest.raises(RcasError, match=r"^--task: state 0 has 3 labels, and the discriminator .* has 4; .* --task base$"):
            export_task(run, 0, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        made = export_task(run, 1, tmp_path / run.parts[-4] / "task")
        assert set(made.right.values()) == set("abcd")
        loop.load_gan({**CONFIG, "DATA": {**CONFIG["DATA"], "num_classes": 4}}, tmp_path / run.parts[-4] / "task")
