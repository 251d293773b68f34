"""`rcas memory`: what the tasks of a run are, and what comes out of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor

from rcas_plugin import RcasError
from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.checkpoints.lineage import DISCRIMINATOR, FOLDER, read_lineage
from rcas_plugin.checkpoints.router import load_router
from rcas_plugin.checkpoints.tasks import same_bits
from rcas_plugin.cli import main
from rcas_plugin.embedded import loop
from rcas_plugin.gan import sample_images
from rcas_plugin.memory import command as memory_command
from rcas_plugin.memory.tasks import list_tasks
from rcas_plugin.record import read_record
from rcas_plugin.sampling.export import export_generator
from rcas_plugin.sampling.run import open_run

from ..sampling.conftest import CONFIG, Swaps


def rcas(*arguments: object) -> int:
    return main(["memory", *map(str, arguments)])


def images(folder: Path) -> list[Tensor]:
    """Three images a label of a run, or of any checkpoint, as it is opened for `rcas sample`."""
    gan = open_run(folder).gan
    return [sample_images(gan.evaluated, torch.full((3,), label), gan.latents) for label in range(3)]


def test_the_list(apart: Swaps, capsys: pytest.CaptureFixture[str]) -> None:
    assert rcas("list", "-ckpt", apart.second) == 0
    head, base, first, second, last = capsys.readouterr().out.splitlines()
    assert head.split() == ["task", "method", "classes", "steps", "parameters", "of", "the", "base", "bytes", "file"]
    assert base.split()[:3] == ["0", "the", "base"]
    assert first.split()[:4] == ["1", "gan_memory", "1:", "d"]
    assert first.endswith(f"{FOLDER}/task-0001.safetensors")
    assert second.endswith("the run's checkpoint")
    assert rcas("list", "-ckpt", apart.second, "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    tasks = listed["tasks"]
    recorded = read_record(apart.second)
    assert [task["parameters"] for task in tasks] == [recorded.parameters["generator"]] * 2
    assert recorded.lineage[0].parameters == tasks[0]["parameters"]
    assert recorded.lineage[0].bytes == (apart.second / FOLDER / "task-0001.safetensors").stat().st_size > tasks[0]["bytes"]
    assert all(task["bytes"] < listed["base_bytes"] for task in tasks)
    assert f"{listed['base_bytes'] + sum(task['bytes'] for task in tasks):,} bytes" in last


def test_the_list_of_tasks_that_share_weights(mixed: Swaps, capsys: pytest.CaptureFixture[str]) -> None:
    """`fine_tune` trains all of the generator: a task is as large as the base."""
    assert rcas("list", "-ckpt", mixed.second, "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [task["apart"] for task in listed["tasks"]] == [False, False]
    assert all(task["bytes"] > 0.9 * listed["base_bytes"] for task in listed["tasks"])


@pytest.mark.parametrize(("task", "right", "wrong"), [(0, "0 (a), 1 (b), 2 (c)", None), (1, "1 (d)", "0 (a), 2 (c)"),
                                                      (2, "0 (e)", "1 (d), 2 (c)")])  # fmt: skip
def test_one_task_as_a_checkpoint(
    task: int, right: str, wrong: str | None, apart: Swaps, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert rcas("export", "-ckpt", apart.second, "--task", task, "-o", out) == 0
    said = capsys.readouterr().out
    assert f"right in it: {right}" in said
    assert ("not right" in said) == (wrong is not None)
    if wrong is not None:
        assert f"make them: {wrong}" in said
    checkpoint = Checkpoint.read(out)
    assert not checkpoint.adapted
    gan = loop.load_gan(CONFIG, out)  # strictly, as a StudioGAN without the plugin does
    lineage = read_lineage(apart.second)
    expected = lineage.states[task] if task < 2 else Checkpoint.read(apart.second, best=True).folded.states["ema"]
    assert all(same_bits(tensor, expected[name]) for name, tensor in gan.evaluated.state_dict().items())
    labels = {1: (1,), 2: (0,)}.get(task, (0, 1, 2))
    whole = images(apart.second if task else apart.pretrained)
    for label, made in enumerate(images(out)):
        assert torch.equal(made, whole[label]) == (label in labels)


def test_what_has_no_images_in_the_run_has_none_in_its_tasks(apart: Swaps, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(apart.second, run)
    record = json.loads((run / "rcas.json").read_text())
    record["remaining"].remove(2)
    (run / "rcas.json").write_text(json.dumps(record))
    for task in (0, 2):
        assert rcas("export", "-ckpt", run, "--task", task, "-o", tmp_path / str(task)) == 0
        assert read_record(tmp_path / str(task)).dropped == {"c"}


def test_fold_is_the_runs_own_task(apart: Swaps, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, command in (("folded", ["fold"]), ("exported", ["export", "--task", "2"])):
        assert rcas(*command, "-ckpt", apart.second, "-o", tmp_path / name) == 0
    assert "right in it: 0 (e)" in capsys.readouterr().out
    one, other = (Checkpoint.read(tmp_path / name) for name in ("folded", "exported"))
    for role, state in one.states.items():
        assert all(same_bits(tensor, other.states[role][name]) for name, tensor in state.items())
    assert main(["fold", "-ckpt", str(apart.second), "-o", str(tmp_path / "plain")]) == 0
    assert "right for its new classes alone (e)" in capsys.readouterr().out
    gan = loop.build_gan(CONFIG)
    router = load_router(tmp_path / "plain", gan.evaluated)
    for label, made in enumerate(images(apart.second)):
        assert torch.equal(sample_images(router, torch.full((3,), label), gan.latents), made), "what is folded keeps the others"
    assert (tmp_path / "plain" / FOLDER / DISCRIMINATOR).is_file()


def test_fold_takes_no_sizes_of_tasks(apart: Swaps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_command, "list_tasks", lambda *_, **__: pytest.fail("the tasks are counted, and not measured"))
    assert rcas("fold", "-ckpt", apart.second, "-o", tmp_path / "folded") == 0


def test_use_draws_every_label_by_its_own_task(apart: Swaps, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "all.png"
    assert rcas("use", "-ckpt", apart.second, "-o", path, "--images", 2) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == ["label 0, e: task 2, the run's own", "label 1, d: task 1", "label 2, c: the base"]
    with Image.open(path) as picture:
        assert picture.size[0] > 100


def test_all_tasks_by_one_generator(apart: Swaps) -> None:
    """What is opened for samples: d as the first run made it, e as the second does, c as it was pre-trained; to the bit."""
    before, first, second = images(apart.pretrained), images(apart.first), images(apart.second)
    assert torch.equal(first[0], before[0])
    assert not torch.equal(second[0], before[0])
    assert torch.equal(second[1], first[1])
    assert not torch.equal(first[1], before[1])
    assert torch.equal(second[2], before[2])


def test_samples_are_of_all_tasks(apart: Swaps, tmp_path: Path) -> None:
    for name, run in (("pre", apart.pretrained), ("two", apart.second)):
        arguments = ["-ckpt", run, "-o", tmp_path / name, "--labels", "all", "--images", 2, "--rgb", "--processes", 1]
        assert main(["sample", *map(str, arguments)]) == 0
    one, other = (tmp_path / name / "c" / "0000.png" for name in ("pre", "two"))
    assert one.read_bytes() == other.read_bytes()


def test_onnx_has_all_tasks(apart: Swaps, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = tmp_path / "generator.onnx"
    assert main(["export", "-ckpt", str(apart.second), "-o", str(path)]) == 0
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator = open_run(apart.second).gan.evaluated
    z, label = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3
    (made,) = session.run(["images"], {"z": z.numpy(), "label": label.numpy()})
    with torch.no_grad():
        assert np.abs(made - generator(z, label, eval=True).numpy()).max() <= 1e-4
    with pytest.raises(RcasError, match=r"^-o: .* safetensors holds one"):
        export_generator(open_run(apart.second), tmp_path / "generator.safetensors")


@pytest.mark.parametrize("task", [-1, 3])
def test_a_task_that_is_not_there(task: int, apart: Swaps, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rcas("export", "-ckpt", apart.second, "--task", task, "-o", tmp_path / "out") == 2
    assert f"--task: {task} is no task of" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_files(apart: Swaps, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "there").touch()
    assert rcas("export", "-ckpt", apart.second, "--task", 1, "-o", tmp_path) == 2
    assert "name a folder of its own" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_run_without_tasks(apart: Swaps, capsys: pytest.CaptureFixture[str]) -> None:
    assert rcas("list", "-ckpt", apart.pretrained) == 2
    assert "is no run of a swap" in capsys.readouterr().err


def swap(room: Swaps, source: Path, out: Path, **section: Any) -> Path:
    data, config = out / "data", out / "swap.yaml"
    shutil.copytree(room.root / "all", data / "train")
    keys = {"snapshot_images": 0, "swap_metrics": 0, **section}
    config.write_text(yaml.safe_dump({**CONFIG, "RCAS": keys}))
    return loop.train(config, data, out / "out", source, progress=False)


def test_a_method_that_shares_weights_does_not_go_on_from_tasks(apart: Swaps, tmp_path: Path) -> None:
    with pytest.raises(RcasError, match=r"^RCAS\.method: fine_tune changes weights that all labels share"):
        swap(apart, apart.first, tmp_path, method="fine_tune", swap={"a": "e"})
    assert not (tmp_path / "out").exists()


def test_without_the_base_no_task_starts(apart: Swaps, tmp_path: Path) -> None:
    run = Path(shutil.copytree(apart.first, tmp_path / "run"))
    (run / FOLDER / DISCRIMINATOR).unlink()
    with pytest.raises(RcasError, match=r"discriminator\.safetensors cannot be read"):
        swap(apart, run, tmp_path, method="gan_memory", swap={"a": "e"})
    shutil.rmtree(run / FOLDER)
    with pytest.raises(RcasError, match=r"is gone, and gan_memory starts each task from the base in it"):
        swap(apart, run, tmp_path / "again", method="gan_memory", swap={"a": "e"})


def test_tasks_after_a_swap_of_another_kind(mixed: Swaps, tmp_path: Path) -> None:
    """The base is then the state after the last swap that shares weights, and that swap comes back as well."""
    run = swap(mixed, mixed.first, tmp_path, method="gan_memory", swap={"a": "e"})
    lineage = read_lineage(run)
    assert lineage.anchor == 1
    assert [tuple(route) for route in lineage.routes] == [(2, 0), (1, 1), (1, 2)]
    before, after = images(mixed.first), images(run)
    assert [torch.equal(*pair) for pair in zip(before, after, strict=True)] == [False, True, True]
    assert not torch.equal(images(mixed.pretrained)[2], after[2]), "fine_tune had moved it"


def test_a_task_starts_from_the_bases_discriminator(apart: Swaps) -> None:
    base = Checkpoint.read(apart.pretrained).states["discriminator"]
    for run in (apart.first, apart.second):
        state = Checkpoint.read(run).states["discriminator"]
        frozen = "blocks.0.0.conv2d1.parametrizations.weight_orig.original"
        assert same_bits(state[frozen], base["blocks.0.0.conv2d1.weight_orig"])
        assert not same_bits(state["linear1.weight_orig"], base["linear1.weight_orig"])
    one, other = ((run / FOLDER / DISCRIMINATOR).read_bytes() for run in (apart.first, apart.second))
    assert one == other


def test_compress_writes_a_run_of_fewer_numbers(apart: Swaps, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the narrow networks of the tests 4 x 4 numbers a style: a part of 0.3 is one value of four, 4 + 4 + 1 numbers."""
    first, out = tmp_path / "first", tmp_path / "second"
    assert rcas("compress", "-ckpt", apart.first, "-o", first, "--energy", 0.3) == 0
    assert "styles in factors; the convolutions' styles take" in capsys.readouterr().out
    one, other = (list_tasks(run).tasks[-1] for run in (apart.first, first))
    assert other.bytes < one.bytes
    assert other.parameters < one.parameters
    whole, fewer = images(apart.first), images(first)
    assert [torch.equal(*pair) for pair in zip(whole, fewer, strict=True)] == [True, False, True], "other labels are the base's"
    run = swap(apart, first, tmp_path, method="gan_memory", swap={"a": "e"})
    again = images(run)
    assert torch.equal(again[1], fewer[1]), "the compressed task to the bit, after a later one"
    assert rcas("compress", "-ckpt", run, "-o", out, "--energy", 0.3) == 0
    state = Checkpoint.read(out).states["ema"]
    columns = [value for name, value in state.items() if name.endswith("gamma_u_before")]
    assert sum(value.shape[1] for value in columns) > 0, "earlier columns are used again"
    now = images(out)
    assert [torch.equal(*pair) for pair in zip(again, now, strict=True)] == [False, True, True]
    last = swap(apart, out, tmp_path / "last", method="gan_memory", swap={"c": "b"})
    assert all(torch.equal(*pair) for pair in zip(now[:2], images(last)[:2], strict=True))
    assert all("gamma_u_before" not in name for task in read_lineage(last).tasks for name in task.tensors)


@pytest.mark.parametrize(("energy", "run", "sentence"), [
    ("0", "first", "--energy: 0.0 is not allowed"), ("0.5", "pretrained", "is no run of a swap"),
])  # fmt: skip
def test_what_cannot_be_compressed(
    energy: str, run: str, sentence: str, apart: Swaps, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rcas("compress", "-ckpt", getattr(apart, run), "-o", tmp_path / "out", "--energy", energy) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_damaged_best_state_is_not_left_out(apart: Swaps, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Path(shutil.copytree(apart.first, tmp_path / "run"))
    (file,) = run.glob("model=G-best-*")
    file.write_bytes(file.read_bytes()[:100])
    assert rcas("compress", "-ckpt", run, "-o", tmp_path / "out", "--energy", 0.3) == 2
    assert f"{file} cannot be read: it is cut short" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_that_has_no_whole_best_state_is_compressed(apart: Swaps, tmp_path: Path) -> None:
    run = Path(shutil.copytree(apart.first, tmp_path / "run"))
    next(run.glob("model=D-best-*")).unlink()
    assert rcas("compress", "-ckpt", run, "-o", tmp_path / "out", "--energy", 0.3) == 0
    assert {path.name.split("-")[1] for path in (tmp_path / "out").glob("model=*")} == {"current"}


def test_a_run_without_styles_is_not_compressed(mixed: Swaps, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rcas("compress", "-ckpt", mixed.first, "-o", tmp_path / "out") == 2
    assert "holds no style of gan_memory" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_curve_of_size_and_quality(
    apart: Swaps, load_script: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = load_script("memory_curve")
    options = ["-ckpt", apart.first, "--data", apart.root / "acd", "--images", 4, "--energy", 0.3, 1.0]
    monkeypatch.setattr("sys.argv", ["memory_curve.py", *map(str, options)])
    script.main()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == [*script.HEAD, *script.JUDGED]
    assert [row[0] for row in rows[2:]] == ["as it is", "1", "0.3"]
    assert rows[3][1:4] == ["0 of 6", rows[3][2], "100.0%"], "all of a style takes no fewer numbers in factors"
    assert rows[3][5] == "0.00"
    assert float(rows[4][5]) > 0
    assert int(rows[4][4].replace(",", "")) < int(rows[2][4].replace(",", ""))
