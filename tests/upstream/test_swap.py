"""A swap through the real main.py, from a pre-trained checkpoint to one that StudioGAN loads."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from rcas_plugin import Selection
from rcas_plugin.checkpoints.folder import checkpoint_files, read_checkpoint
from rcas_plugin.record import read_record
from rcas_plugin.studiogan.patching import install, uninstall
from rcas_plugin.watch.observer import read_metrics
from rcas_plugin.watch.snapshots import load_snapshot, moments

from .. import warm_python
from .conftest import TRAIN, Trained, run_main, write_config, write_images

pytestmark = pytest.mark.slow


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def swapped(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(save folder, checkpoint folder) of a swap of b for d."""
    save = tmp_path_factory.mktemp("swap")
    before = content(trained.checkpoint)
    config = trained.swap_config(save / "swap.yaml")
    options = ("-cfg", config, "-data", trained.new_data, "-save", save, "-ckpt", trained.checkpoint)
    run_main(trained.studiogan, *TRAIN, *options, fresh=True)
    assert content(trained.checkpoint) == before, "the pre-trained checkpoint is not touched"
    (run,) = (save / "checkpoints").iterdir()
    return save, run


def test_the_run_has_a_name_and_files_of_its_own(swapped: tuple[Path, Path]) -> None:
    save, run = swapped
    assert "class_swap" in run.name
    assert (save / "logs" / f"{run.name}.log").stat().st_size > 0
    assert read_checkpoint(checkpoint_files(run)["D"])["step"] == 4
    assert read_checkpoint(checkpoint_files(run)["D"])["run_name"] == run.name
    record = read_record(run)
    assert record.labels == ("a", "d", "c")
    assert record.slots == {1: "d"}
    assert list(moments(run)) == [0, 2, 4]
    assert sorted(set(load_snapshot(run, "before")[1].tolist())) == [0, 1, 2]
    log = (save / "logs" / f"{run.name}.log").read_text()
    assert "class_swap: re-initialised (zero) 20.0% of G's" in log
    assert "Train dataset size: 18" in log, "6 images each of a, c and d; none of b"


def test_what_was_selected_was_zero_when_training_began(swapped: tuple[Path, Path], trained: Trained) -> None:
    selection = Selection.load(swapped[1] / "selection.safetensors")
    pretrained = read_checkpoint(checkpoint_files(trained.checkpoint)["G"])["state_dict"]
    assert set(selection.generator) < set(pretrained)
    assert 0.19 < selection.fraction("generator") < 0.21
    column = selection.generator["blocks.0.0.bn1.gain.weight"]
    assert not column[:, [0, 2]].any(), "other labels' columns serve the old class nothing"


def test_the_result_loads_where_there_is_no_rcas_section(swapped: tuple[Path, Path], trained: Trained) -> None:
    """Upstream's own files and config, -ckpt and -v: the files of this copy were never patched."""
    save, run = swapped
    source = content(trained.studiogan)
    run_main(trained.studiogan, "-metrics", "none", "-v", "--num_workers", "0", "-cfg", trained.config,
             "-data", trained.data, "-save", save / "look", "-ckpt", run)  # fmt: skip
    assert list((save / "look" / "figures").rglob("*.png"))
    changed = {name for name, value in content(trained.studiogan).items() if source.get(name) != value}
    assert not {name for name in changed if "__pycache__" not in name}


def test_an_interrupted_swap_goes_on_where_it_stopped(swapped: tuple[Path, Path], trained: Trained) -> None:
    save, run = swapped
    before = Selection.load(run / "selection.safetensors").counts()
    config = trained.swap_config(save / "longer.yaml", steps=6)
    ended = run_main(trained.studiogan, *TRAIN, "-cfg", config, "-data", trained.new_data, "-save", save, "-ckpt", run)
    assert "goes on in" in ended.stdout
    assert "class_swap: re-initialised" not in ended.stdout + ended.stderr, "nothing is re-initialised twice"
    assert read_checkpoint(checkpoint_files(run)["D"])["step"] == 6
    assert [path.name for path in (save / "checkpoints").iterdir()] == [run.name]
    assert Selection.load(run / "selection.safetensors").counts() == before


def test_hdf5_several_slots_another_folder_and_the_retain_loss(trained: Trained, tmp_path: Path) -> None:
    """One run through the remaining roads: HDF5 in memory, two slots, images from folders of their own, an added loss, EMA."""
    new = write_images(tmp_path / "fresh", "xy", count=3) / "train"
    ema = {"MODEL": {"apply_g_ema": True, "g_ema_decay": 0.9, "g_ema_start": 0}}
    config = trained.swap_config(tmp_path / "swap.yaml", swap={0: "x", "c": "y"}, new_data=str(new), retain=0.1, sections=ema)
    ended = run_main(trained.studiogan, *TRAIN, "-hdf5", "-l", "-cfg", config, "-data", trained.data, "-save", tmp_path,
                     "-ckpt", trained.checkpoint)  # fmt: skip
    (run,) = (tmp_path / "checkpoints").iterdir()
    assert "label 0: x, new (3 images)" in ended.stdout
    assert "Train dataset size: 18" in ended.stdout, "3 images of x and 3 of y, each shown twice, beside 6 of b"
    assert read_record(run).labels == ("x", "b", "y")
    assert "G_ema" in checkpoint_files(run)
    assert list((tmp_path / "hdf5").glob("toy_32*_train-*.hdf5"))
    assert not list(trained.data.rglob("*.hdf5")), "nothing is written into the data folder"


@pytest.mark.parametrize("remaining_data", ["replay", "none"])
def test_the_remaining_classes_have_no_images(trained: Trained, tmp_path: Path, remaining_data: str) -> None:
    """Pre-trained on a, b and c; of the data set d alone is left."""
    data = write_images(tmp_path / "fresh", "d")
    config = trained.swap_config(tmp_path / "swap.yaml", method="fine_tune", remaining_data=remaining_data, swap_metrics=5)
    ended = run_main(trained.studiogan, *TRAIN, "-cfg", config, "-data", data, "-save", tmp_path, "-ckpt", trained.checkpoint)
    (run,) = (tmp_path / "checkpoints").iterdir()
    shown = {"replay": "images of the pre-trained generator", "none": "not shown"}[remaining_data]
    assert f"label 0: a ({shown})" in ended.stdout
    assert "label 1: d, new (6 images)" in ended.stdout
    assert read_record(run).labels == ("a", "d", "c")
    judged = read_metrics(run)
    assert list(judged["steps"]) == ["0", "2", "4"]
    assert "no real images of" in judged["judge"]["about"]


def test_fine_tune_starts_from_the_pretrained_weights(trained: Trained, tmp_path: Path) -> None:
    config = trained.swap_config(tmp_path / "swap.yaml", method="fine_tune", remaining=["a"])
    ended = run_main(trained.studiogan, *TRAIN, "-cfg", config, "-data", trained.new_data, "-save", tmp_path,
                     "-ckpt", trained.checkpoint)  # fmt: skip
    (run,) = (tmp_path / "checkpoints").iterdir()
    assert "fine_tune" in run.name
    assert torch.equal(load_snapshot(run, "before")[0], load_snapshot(run, "reinit")[0])
    assert not (run / "selection.safetensors").exists()
    assert "label 2: c" not in ended.stdout
    assert "label 2: not used any more" in ended.stdout
    assert "Train dataset size: 12" in ended.stdout


#: Runs main.py with a stand-in for the Inception weights, which are not at hand.
WITH_STAND_IN = """
import sys
from rcas_plugin.studiogan.activation import activate
main = sys.argv.pop(1)
sys.path.insert(0, main.rpartition("/")[0])
activate()
import torch, metrics.preparation
class StandIn:
    def __init__(self, **options): self.weights = torch.randn(3 * 32 * 32, 6, generator=torch.Generator().manual_seed(0))
    def eval(self): pass
    def get_outputs(self, x, quantize=False):
        features = x.float().flatten(1) @ self.weights / 50
        return features, features
metrics.preparation.LoadEvalModel = StandIn
exec(compile(open(main).read(), main, "exec"))
"""


def test_upstreams_metrics_judge_the_swapped_data(trained: Trained, tmp_path: Path) -> None:
    """fid, is, prdc and iFID on the swapped data set; its statistics are cached apart from the pre-training's."""
    metrics = ["-t", "-metrics", "is", "fid", "prdc", "-ifid", "--num_workers", "0", "--print_freq", "2", "--save_freq", "2"]
    config = trained.swap_config(tmp_path / "swap.yaml")
    for options in (
        ["-cfg", trained.config, "-data", trained.data],
        ["-cfg", config, "-data", trained.new_data, "-ckpt", trained.checkpoint, "-ref", "valid"],
        ["-cfg", config, "-data", trained.new_data, "-ckpt", trained.checkpoint],
    ):
        command = ("-c", WITH_STAND_IN, trained.studiogan / "src" / "main.py", *metrics, *options, "-save", tmp_path)
        ended = warm_python.run(*command, environment={"WANDB_MODE": "disabled"})
        assert ended.returncode == 0, ended.stderr[-3000:]
        assert "FID score" in ended.stdout
        assert "Density" in ended.stdout
        assert "18 real images is used for evaluation" in ended.stdout
    assert len(list((tmp_path / "moments").iterdir())) == 3, "pre-training, swap on train, swap on valid"
    assert len(list((tmp_path / "feats").iterdir())) == 3


def test_through_the_patch(trained: Trained, tmp_path: Path) -> None:
    """`main.py --plugin rcas` after `rcas install`; help and unknown plugins; byte for byte back."""
    main = trained.studiogan / "src" / "main.py"
    original = main.read_bytes()
    assert install(trained.studiogan)
    try:
        shown = run_main(trained.studiogan, "--help", plugin=False)
        assert "--plugin" in shown.stdout
        unknown = run_main(trained.studiogan, "--plugin", "other", plugin=False, ok=False)
        assert unknown.returncode == 2
        assert "rcas" in unknown.stderr
        config = trained.swap_config(tmp_path / "swap.yaml", steps=2)
        run_main(trained.studiogan, "--plugin", "rcas", *TRAIN, "-cfg", config, "-data", trained.new_data, "-save", tmp_path,
                 "-ckpt", trained.checkpoint, plugin=False, fresh=True)  # fmt: skip
        assert next((tmp_path / "checkpoints").iterdir()).name.count("class_swap")
    finally:
        uninstall(trained.studiogan)
    assert main.read_bytes() == original


def test_two_processes_give_the_selection_of_one(trained: Trained, swapped: tuple[Path, Path], tmp_path: Path) -> None:
    config = trained.swap_config(tmp_path / "swap.yaml", steps=2, retain=1.0, swap_metrics=5)
    run_main(trained.studiogan, *TRAIN, "-DDP", "-cfg", config, "-data", trained.new_data, "-save", tmp_path,
             "-ckpt", trained.checkpoint, RCAS_CPU_PROCESSES="2")  # fmt: skip
    (run,) = (tmp_path / "checkpoints").iterdir()
    one, two = (Selection.load(folder / "selection.safetensors") for folder in (swapped[1], run))
    same = sum(int((one.masks[r][n] == two.masks[r][n]).sum()) for r in one.masks for n in one.masks[r])
    every = sum(mask.numel() for masks in one.masks.values() for mask in masks.values())
    assert list(read_metrics(run)["steps"]) == ["0", "2"]
    assert (run / "report" / "report.html").is_file()
    assert same / every > 0.999, "float32 sums in another order may swap two weights at the threshold"


@pytest.mark.usefixtures("heard")
def test_control_c_leaves_a_checkpoint_that_goes_on(trained: Trained, tmp_path: Path) -> None:
    config = trained.swap_config(tmp_path / "swap.yaml", steps=100_000)
    main = str(trained.studiogan / "src" / "main.py")
    command = [sys.executable, "-m", "rcas_plugin.studiogan", main, "-t", "-metrics", "none", "--num_workers", "0",
               "--print_freq", "1", "--save_freq", "100000", "-cfg", str(config),
               "-data", str(trained.new_data), "-save", str(tmp_path), "-ckpt", str(trained.checkpoint)]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        last: list[str] = []
        deadline = time.monotonic() + 120
        for line in process.stdout:
            last.append(line)
            if "Step:      3" in line or time.monotonic() > deadline:
                process.send_signal(signal.SIGINT)
                break
        last += process.stdout.readlines()
    assert process.returncode == 130, "".join(last)[-3000:]
    assert "go on with -ckpt" in last[-1] or any("go on with -ckpt" in line for line in last)
    (run,) = (tmp_path / "checkpoints").iterdir()
    assert read_checkpoint(checkpoint_files(run)["D"])["step"] >= 3
    assert json.loads((run / "rcas.json").read_text())["swap"]["method"] == "class_swap"


def test_class_swap_as_it_comes_moves_the_slots_own_columns_alone(trained: Trained, tmp_path: Path) -> None:
    """No key but the swap: matched columns, their own step, and an accelerated run beside it."""
    config = write_config(tmp_path / "swap.yaml", steps=2, RCAS={"swap": {"b": "d"}, "snapshot_images": 2, "accelerate": True,
                                                                "label_start": {"iterations": 3}})  # fmt: skip
    ended = run_main(trained.studiogan, *TRAIN, "-cfg", config, "-data", trained.new_data, "-save", tmp_path,
                     "-ckpt", trained.checkpoint)  # fmt: skip
    assert "matched D's features of d by the columns of label 1 alone" in ended.stdout + ended.stderr
    (run,) = (tmp_path / "checkpoints").iterdir()
    (before, labels), (start, _) = (load_snapshot(run, moment) for moment in ("before", "reinit"))
    assert torch.equal(before[labels != 1], start[labels != 1]), "remaining labels are untouched before fine-tuning"
    assert not torch.equal(before[labels == 1], start[labels == 1])
    old, new = (read_checkpoint(checkpoint_files(folder)["G"])["state_dict"] for folder in (trained.checkpoint, run))
    name = "blocks.0.0.bn1.gain.weight"
    moved = (new[name] - old[name]).abs().mean(0)
    assert moved[1] > 5 * moved[[0, 2]].max()
    assert all(value.dtype == old[key].dtype and value.shape == old[key].shape for key, value in new.items())


def test_label_lr_goes_with_fine_tune_too(trained: Trained, tmp_path: Path) -> None:
    moved = {}
    for factor in (1.0, 50.0):
        save = tmp_path / str(factor)
        config = trained.swap_config(tmp_path / f"{factor}.yaml", steps=2, method="fine_tune", label_lr={"generator": factor})
        run_main(trained.studiogan, *TRAIN, "-cfg", config, "-data", trained.new_data, "-save", save, "-ckpt", trained.checkpoint)
        (run,) = (save / "checkpoints").iterdir()
        old, new = (read_checkpoint(checkpoint_files(folder)["G"])["state_dict"] for folder in (trained.checkpoint, run))
        name = "blocks.1.0.bn2.bias.weight"
        moved[factor] = (new[name] - old[name]).abs().mean(0)
    assert moved[50.0][1] > 20 * moved[1.0][1]
    torch.testing.assert_close(moved[50.0][[0, 2]], moved[1.0][[0, 2]], rtol=0.5, atol=1e-4)
