"""`rcas classify` end to end: images of odd shapes, the embedded networks, a few steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from rcas_plugin import cli
from rcas_plugin.lifelong import alternation
from rcas_plugin.record import read_record
from rcas_plugin.report.classify import PAGE, RESULTS, read_classify

GAN = {
    "DATA": {"name": "MNIST", "img_size": 16, "num_classes": 2},
    "MODEL": {"backbone": "resnet", "z_dim": 4, "g_conv_dim": 1, "d_conv_dim": 1},
    "OPTIMIZATION": {"batch_size": 4, "beta1": 0.0, "total_steps": 2},
}
PLAN: dict[str, Any] = {
    "data": "data",
    "tasks": [["b", "a"], ["d"], ["c"]],
    "size": 16,
    "classifier": {"width": 2, "depth": 1, "batch_size": 4, "first_steps": 2, "steps": 2, "memory": 3},
    "gan": {"cfg": "gan.yaml", "rcas": {"feature_replay": {"warm_up": 1, "channels": 2, "group_size": 2}}},
}


@pytest.fixture(autouse=True)
def without_studiogan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIOGAN_ROOT", str(tmp_path / "none"))


def write(root: Path, **changes: Any) -> Path:
    """A plan with its GAN's config and data: five training and two test images a class, each of another shape."""
    source = np.random.default_rng(0)
    for name in "abcde":
        for part, count in (("train", 5), ("valid", 2)):
            (root / "data" / part / name).mkdir(parents=True)
            for index in range(count):
                pixels = source.integers(0, 256, (*source.integers(16, 25, 2), 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / "data" / part / name / f"{index}.png")
    (root / "gan.yaml").write_text(yaml.safe_dump(GAN))
    path = root / "plan.yaml"
    path.write_text(yaml.safe_dump({**PLAN, **changes}))
    return path


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """(plan, what was done before the interruption): all strategies, interrupted as the first replayed GAN was drawn from."""
    path = write(tmp_path_factory.mktemp("stopped"))
    done: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        watch(patch, done, stop="replay/memory-1")
        assert cli.main(["classify", str(path), "-o", str(path.parent / "out")]) == 130
    return path, done


def watch(patch: pytest.MonkeyPatch, done: list[str], stop: str | None = None) -> None:
    """Note each stage that is worked at; be interrupted in the one named `stop`."""
    at_work = alternation.Stage.at_work

    def noted(stage: alternation.Stage) -> Any:
        name = f"{stage.folder.parent.name}/{stage.folder.name}"
        done.append(name)
        if name == stop:
            raise KeyboardInterrupt
        return at_work(stage)

    patch.setattr(alternation.Stage, "at_work", noted)


@pytest.fixture(scope="module")
def finished(stopped: tuple[Path, list[str]]) -> tuple[Path, list[str]]:
    """(output folder, what was done after the interruption)."""
    path, done = stopped[0], []
    with pytest.MonkeyPatch.context() as patch:
        watch(patch, done)
        assert cli.main(["classify", str(path), "-o", str(path.parent / "out")]) == 0
    return path.parent / "out", done


def test_an_interruption_says_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, strategies=["fine_tune"])
    watch(monkeypatch, [], stop="fine_tune/classifier-2")
    assert cli.main(["classify", str(path), "-o", str(tmp_path / "out")]) == 130
    assert f"2 stages are kept in {tmp_path / 'out'}; the same command goes on" in capsys.readouterr().out


def test_no_stage_is_done_twice(stopped: tuple[Path, list[str]], finished: tuple[Path, list[str]]) -> None:
    before, after = stopped[1][:-1], finished[1]
    assert stopped[1][-1] == after[0] == "replay/memory-1"
    assert len({*before, *after}) == len(before) + len(after)
    # of each seed the first task's classifier and GAN; of each strategy two classifiers, and one GAN before the last task
    shared = ["classifier-0", "gan-0", "widened", "memory-0"]
    own = [
        f"{name}/classifier-{task}"
        for name in ("fine_tune", "replay", "gan_memory", "feature_replay", "joint")
        for task in (1, 2)
    ]
    gans = [f"{name}/{what}-1" for name in ("replay", "gan_memory", "feature_replay") for what in ("gan", "memory")]
    assert sorted([*before, *after]) == sorted([*(f"seed-0/{name}" for name in shared), *own, *gans])


def test_results_and_page(finished: tuple[Path, list[str]]) -> None:
    out, _ = finished
    results = read_classify(out)
    assert results is not None
    assert [figures.name for figures in results.strategies] == ["fine_tune", "replay", "gan_memory", "feature_replay", "joint"]
    assert (results.tasks, results.test, results.memory) == (PLAN["tasks"], 8, 3)
    for figures in results.strategies:
        assert [len(row) for row in figures.matrix] == [1, 2, 3]
        assert all(0 <= value <= 1 for row in figures.matrix for value in row)
    page = (out / PAGE).read_text()
    assert "After the last task, of 4 classes" in page
    assert "data:image/png;base64," in page
    assert json.loads((out / RESULTS).read_text())["machine"]


def test_each_gan_is_taught_the_classes_of_its_task(finished: tuple[Path, list[str]]) -> None:
    out, _ = finished
    for name in ("replay", "gan_memory", "feature_replay"):
        (run,) = (out / "seed-0" / name / "gan-1" / "checkpoints").iterdir()
        record = read_record(run)
        assert record.labels == ("a", "b", "d", "c"), "labels are folders in order; the later ones as they come"
        assert (record.slots, record.remaining, record.dropped) == ({2: "d"}, (0, 1), {"c"})
        assert record.is_of({"replay": "fine_tune"}.get(name, name))
    assert [path.name for path in sorted((out / "tasks" / "1" / "train").iterdir())] == ["d"]


def test_a_changed_plan_is_refused_and_more_seeds_are_not(
    finished: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = finished
    plan = out.parent / "plan.yaml"
    changed = out.parent / "changed.yaml"
    changed.write_text(yaml.safe_dump({**PLAN, "classifier": {**PLAN["classifier"], "lr": 0.5}}))
    assert cli.main(["classify", str(changed), "-o", str(out)]) == 2
    assert "classifier.lr: it is 0.5" in capsys.readouterr().err
    done: list[str] = []
    watch(monkeypatch, done)
    assert cli.main(["classify", str(plan), "-o", str(out), "--seeds", "2", "--strategies", "fine_tune"]) == 0
    assert done == ["seed-1/classifier-0", "fine_tune/classifier-1", "fine_tune/classifier-2"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"tasks": [["a", "b"], ["f"]]}, "tasks: the class 'f' has no images in"),
        ({"data": "elsewhere"}, "data: there is no folder"),
        ({"size": 32}, "size: it is 32, and"),
        ({"gan": {"cfg": "plan.yaml"}}, "is no StudioGAN config with DATA.img_size"),
        ({"gan": {"cfg": "gan.yaml", "ckpt": "none"}},
         "records the classes of no label; give a checkpoint of the first task's: b, a"),
        ({"gan": {"cfg": "gan.yaml", "rcas": {"gan_memory": {"warm_up": 3}}}},
         "gan.rcas.gan_memory: RCAS.warm_up: this key belongs to method feature_replay"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, changes: dict[str, Any], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, **changes)
    assert cli.main(["classify", str(path), "-o", str(tmp_path / "out")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
