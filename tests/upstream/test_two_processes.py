"""Two processes train StyleGAN2, and what they are refused; every method on other networks: `test_methods.py`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rcas_plugin.checkpoints.folder import checkpoint_files, read_checkpoint

from ..methods import recorder
from ..methods.suite import check_equal
from .conftest import TRAIN, Trained, run_main, write_config
from .test_backbones import STYLE

pytestmark = pytest.mark.slow

#: StyleGAN2 with its lazy penalties.
STYLEGAN = {
    **STYLE,
    "MODEL": {**STYLE["MODEL"], "backbone": "stylegan2", "apply_g_ema": True},
    "STYLEGAN": {**STYLE["STYLEGAN"], "apply_pl_reg": True, "pl_weight": 2, "style_mixing_p": 0.9,
                 "g_ema_kimg": 1, "g_ema_rampup": 0.05},
    "LOSS": {"adv_loss": "logistic", "apply_r1_reg": True, "r1_place": "outside_loop", "r1_lambda": 0.1},
}  # fmt: skip


@pytest.fixture(scope="module")
def trained_stylegan(trained: Trained, narrow_studiogan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a narrow StyleGAN2 after two steps, by upstream's main.py under the plugin."""
    save = tmp_path_factory.mktemp("stylegan")
    config = write_config(save / "stylegan.yaml", steps=1, **STYLEGAN)
    run_main(narrow_studiogan, *TRAIN, "-cfg", config, "-data", trained.data, "-save", save)
    (folder,) = (save / "checkpoints").iterdir()
    return folder


@pytest.fixture(scope="module")
def watching(narrow_studiogan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("watching") / "PyTorch-StudioGAN"
    shutil.copytree(narrow_studiogan / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    with (root / "src" / "worker.py").open("a", encoding="utf-8") as file:
        file.write(recorder.WATCHED_WORKER)
    return root


def test_stylegans_processes_hold_equal_weights_too(
    trained: Trained, trained_stylegan: Path, watching: Path, tmp_path: Path
) -> None:
    """D1: as the suite asks of every method (`methods/suite.py`), on StyleGAN2, where stage bn trains no synthesis network.

    `w_avg` is upstream's mean of each process's own batches.
    """
    config = trained.swap_config(tmp_path / "swap.yaml", steps=3, sections=STYLEGAN, method="bn_propagation", preset=None,
                                 label_start={"iterations": 2}, stages={"bn": 2}, retain=1.0)  # fmt: skip
    lines = tmp_path / "updates.jsonl"
    run_main(watching, *TRAIN, "-DDP", "-cfg", config, "-data", trained.new_data, "-save", tmp_path, "-ckpt", trained_stylegan,
             RCAS_CPU_PROCESSES="2", **recorder.environment(lines))  # fmt: skip
    updates = [line for line in recorder.read_lines(lines) if "updated" in line]
    check_equal(updates)
    of_generator = [set(line["moved"]) for line in updates if line["updated"] == "generator"]
    assert any(".parametrizations." in name for name in of_generator[0])
    assert not [name for name in of_generator[0] if name.startswith("generator.synthesis.")]
    assert "generator.synthesis.b32.conv1.weight" in of_generator[-1]


def test_stylegan_goes_on_from_any_step(trained: Trained, trained_stylegan: Path, narrow_studiogan: Path, tmp_path: Path) -> None:
    """F5: StyleGAN goes on from a step between two of its lazy penalties, which are printed before the next is computed."""
    folder = tmp_path / "checkpoints" / trained_stylegan.name
    shutil.copytree(trained_stylegan, folder)
    config = write_config(tmp_path / "stylegan.yaml", steps=3, **STYLEGAN)
    run_main(narrow_studiogan, *TRAIN, "-cfg", config, "-data", trained.data, "-save", tmp_path, "-ckpt", folder)
    assert read_checkpoint(checkpoint_files(folder)["D"])["step"] == 4


def test_synchronised_batch_norm_on_a_cpu_is_refused(trained: Trained, tmp_path: Path) -> None:
    """F11: `-DDP -sync_bn` on a CPU is one sentence, at pre-training as well, and nothing is written."""
    ended = run_main(trained.studiogan, *TRAIN, "-DDP", "-sync_bn", "-cfg", trained.config, "-data", trained.data,
                     "-save", tmp_path / "out", ok=False, RCAS_CPU_PROCESSES="2")  # fmt: skip
    assert ended.returncode == 2
    assert [line for line in ended.stderr.splitlines() if line.startswith("rcas: error: -sync_bn: ")]
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.iterdir())
