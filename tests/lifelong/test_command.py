"""`rcas classify` end to end: images of odd shapes, the embedded networks, a few steps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from rcas_plugin import cli
from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.embedded.steps import Loop
from rcas_plugin.lifelong import alternation
from rcas_plugin.lifelong.data import link_task
from rcas_plugin.lifelong.generators import base_config, newest_run, task_section, train_gan
from rcas_plugin.lifelong.plan import read_plan
from rcas_plugin.record import RECORD, read_record
from rcas_plugin.report.classify import PAGE, RESULTS, read_classify

GAN = {
    "DATA": {"name": "MNIST", "img_size": 16, "num_classes": 2},
    "MODEL": {
        "backbone": "resnet",
        "g_cond_mtd": "cBN",
        "d_cond_mtd": "PD",
        "apply_d_sn": True,
        "z_dim": 4,
        "g_conv_dim": 1,
        "d_conv_dim": 1,
    },
    "LOSS": {"adv_loss": "hinge"},
    "OPTIMIZATION": {"batch_size": 4, "d_updates_per_step": 1, "beta1": 0.0, "total_steps": 2},
    "PRE": {"apply_rflip": False},
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
    """Note each stage that is worked at; be interrupted inside the one named `stop`."""
    at_work = alternation.Stage.at_work

    @contextmanager
    def noted(stage: alternation.Stage) -> Iterator[Path]:
        name = f"{stage.folder.parent.name}/{stage.folder.name}"
        done.append(name)
        with at_work(stage) as folder:
            if name == stop:
                raise KeyboardInterrupt
            yield folder

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
    assert f"2 stages are kept in {tmp_path / 'out'}; the same command goes on" in capsys.readouterr().out, "two of three"
    again: list[str] = []
    monkeypatch.undo()
    monkeypatch.setenv("STUDIOGAN_ROOT", str(tmp_path / "none"))
    watch(monkeypatch, again)
    assert cli.main(["classify", str(path), "-o", str(tmp_path / "out")]) == 0
    assert again == ["fine_tune/classifier-2"]


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
        ({"gan": {"cfg": "gan.yaml", "rcas": {"gan_memory": {"retain": 1.0}}}},
         "gan.rcas.gan_memory: RCAS.retain: 1.0 has nothing to do with gan_memory"),
        ({"gan": {"cfg": "gan.yaml", "rcas": {"replay": {"preset": "nonsense"}}}},
         "gan.rcas.replay: RCAS.preset: 'nonsense' is unknown"),
        ({"gan": {"cfg": "gan.yaml", "rcas": {"replay": {"stop": {"patience": 3}}}}},
         "gan.rcas.replay: RCAS.stop.patience: nothing is judged with swap_metrics 0"),
        ({"gan": {"cfg": "gan.yaml", "rcas": {"replay": {"remaining_data": "real"}}}},
         "gan.rcas.replay: RCAS.remaining: label 0 is to stay"),
        *(({"gan": {"cfg": "gan.yaml", "rcas": {"replay": {key: value}}}},
           f"gan.rcas.replay.{key}: rcas classify sets this key itself; leave it out")
          for key, value in (("method", "class_swap"), ("swap", {}), ("add", []), ("classes", ["a"]), ("classifier", "c"),
                             ("labels", ["a"]), ("new_data", "n"), ("remaining", ["a"]))),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, changes: dict[str, Any], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, **changes)
    assert cli.main(["classify", str(path), "-o", str(tmp_path / "out")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def gan(root: Path, **sections: dict[str, Any]) -> None:
    """Write the GAN's config with other values; None takes a key out."""
    content = {section: {**GAN.get(section, {}), **sections.get(section, {})} for section in {**GAN, **sections}}
    content = {section: {key: value for key, value in keys.items() if value is not None} for section, keys in content.items()}
    (root / "gan.yaml").write_text(yaml.safe_dump(content))


def test_what_the_embedded_loop_would_leave_out_is_refused_where_main_has_no_such_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path)
    gan(tmp_path, AUG={"apply_ada": True})
    assert cli.main(["classify", str(path), "-o", str(tmp_path / "out")]) == 2
    assert "gan.cfg: the embedded loop trains no config with AUG.apply_ada: True, and StudioGAN has no" in capsys.readouterr().err
    path.write_text(yaml.safe_dump({**PLAN, "size": 32}))
    gan(tmp_path, AUG={"apply_ada": True}, DATA={"img_size": 32})
    assert cli.main(["classify", str(path), "-o", str(tmp_path / "out")]) == 2
    assert "STUDIOGAN_ROOT" in capsys.readouterr().err, "main.py would train it"
    assert not (tmp_path / "out").exists()


def test_a_method_that_the_networks_do_not_allow_is_refused_at_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = {"selection": {"blocks": {"generator": [9]}}}
    path = write(tmp_path, strategies=["class_swap"], gan={"cfg": "gan.yaml", "rcas": {"class_swap": keys}})
    assert cli.main(["classify", str(path), "-o", str(tmp_path / "out")]) == 2
    assert "gan.rcas.class_swap: RCAS.selection.blocks.generator: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_broken_image_leaves_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = write(tmp_path, strategies=["fine_tune"]), tmp_path / "out"
    broken = tmp_path / "data" / "train" / "a" / "0.png"
    broken.write_bytes(broken.read_bytes()[:60])
    assert cli.main(["classify", str(path), "-o", str(out)]) == 2
    assert "0.png" in capsys.readouterr().err
    assert not out.exists()
    broken.unlink()  # which changes the number of images
    assert cli.main(["classify", str(path), "-o", str(out)]) == 0
    begun = json.loads((out / "begun.json").read_text())
    assert begun["images"]["a"] == 4
    shutil.copy(tmp_path / "data" / "valid" / "a" / "0.png", tmp_path / "data" / "valid" / "a" / "more.png")
    assert cli.main(["classify", str(path), "-o", str(out)]) == 2
    assert "test_images.a: it is 3" in capsys.readouterr().err
    del begun["test_images"]
    (out / "begun.json").write_text(json.dumps(begun))  # as an earlier version wrote it
    assert cli.main(["classify", str(path), "-o", str(out)]) == 0


def test_a_run_that_was_interrupted_and_moved_ends_as_one_that_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted inside the later GAN's steps, after its first save; its classifier lies elsewhere from then on."""
    plan = {"tasks": [["a", "b"], ["d"], ["c"]], "strategies": ["feature_replay"]}
    path = write(tmp_path, **plan, gan={**PLAN["gan"], "steps": 8})
    whole, begun, moved = tmp_path / "whole", tmp_path / "begun", tmp_path / "moved"
    assert cli.main(["classify", str(path), "-o", str(whole)]) == 0
    step = Loop.step

    def interrupted(loop: Loop, number: int) -> None:
        if loop.lifecycle is not None and number == 5:
            raise KeyboardInterrupt
        step(loop, number)

    monkeypatch.setattr(Loop, "step", interrupted)
    assert cli.main(["classify", str(path), "-o", str(begun)]) == 130
    monkeypatch.undo()
    monkeypatch.setenv("STUDIOGAN_ROOT", str(tmp_path / "none"))
    begun.rename(moved)
    resumed: list[int] = []
    monkeypatch.setattr(Loop, "step", lambda loop, number: resumed.append(number) or step(loop, number))
    assert cli.main(["classify", str(path), "-o", str(moved)]) == 0
    assert resumed == [4, 5, 6, 7]
    made = [file.relative_to(whole) for pattern in ("result.json", "*.safetensors") for file in whole.rglob(pattern)]
    made = [file for file in made if "checkpoints" not in file.parts]  # which have the time in their names
    assert len(made) > 5
    assert [file for file in made if (whole / file).read_bytes() != (moved / file).read_bytes()] == []
    ends = [newest_run(out / "seed-0" / "feature_replay" / "gan-1") for out in (whole, moved)]
    states = [Checkpoint.read(end).states["generator"] for end in ends if end is not None]
    assert len(states) == 2
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items() if isinstance(value, torch.Tensor))


def test_a_gan_may_be_asked_for_later(tmp_path: Path) -> None:
    path, out = write(tmp_path, strategies=["fine_tune"], gan={}), tmp_path / "out"
    assert cli.main(["classify", str(path), "-o", str(out)]) == 0
    path.write_text(yaml.safe_dump({**PLAN, "strategies": ["fine_tune", "replay"]}))
    assert cli.main(["classify", str(path), "-o", str(out)]) == 0
    assert json.loads((out / "begun.json").read_text())["config"] == GAN


class TestCheckpointOfTheFirstTask:
    """`gan.ckpt` is held against the plan and the config before the first stage."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        """A plan that starts from a GAN of a and b."""
        write(tmp_path, gan={"cfg": "gan.yaml", "ckpt": "first"}, strategies=["replay"])
        config = base_config(GAN, 2, 2)
        folders = link_task(read_plan(tmp_path / "plan.yaml"), 0, tmp_path / "links")
        train_gan(config, folders, tmp_path / "gan", None, seed=0).rename(tmp_path / "first")
        return tmp_path

    def refused(self, root: Path, capsys: pytest.CaptureFixture[str]) -> str:
        assert cli.main(["classify", str(root / "plan.yaml"), "-o", str(root / "out")]) == 2
        assert not (root / "out").exists()
        return capsys.readouterr().err

    def record(self, root: Path, **keys: Any) -> None:
        path = root / "first" / RECORD
        path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))

    def test_of_the_config_it_is_taken(self, root: Path) -> None:
        assert cli.main(["classify", str(root / "plan.yaml"), "-o", str(root / "out")]) == 0

    def test_of_another_config_it_is_refused(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        gan(root, MODEL={"g_conv_dim": 2})
        assert "was trained with MODEL.g_conv_dim: 1, and gan.cfg has 2" in self.refused(root, capsys)
        self.record(root, config=None)
        assert "gan.ckpt: model=G-current-weights-step=2.pth is not of this config's resnet" in self.refused(root, capsys)

    def test_with_tasks_apart_it_is_refused(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        section = {**task_section("gan_memory", ["d"], {}, None), "swap": {"b": "d"}}
        data = link_task(read_plan(root / "plan.yaml"), 1, root / "links")
        config = {**base_config(GAN, 2, 2), "RCAS": section}
        run = train_gan(config, data, root / "apart", root / "first", seed=0)
        path = root / "plan.yaml"
        path.write_text(yaml.safe_dump({**PLAN, "tasks": [["a", "d"], ["b"], ["c"]], "strategies": ["replay"],
                                        "gan": {"cfg": "gan.yaml", "ckpt": str(run)}}))  # fmt: skip
        assert "have a state of the generator each (gan_memory)" in self.refused(root, capsys)

    def test_with_a_label_without_images_it_is_refused(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.record(root, unused=[1])
        assert "has no images for its labels b;" in self.refused(root, capsys)
