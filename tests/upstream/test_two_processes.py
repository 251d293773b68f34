"""Two processes train the same networks: their weights are compared after each update, through the real main.py."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rcas_plugin.checkpoints.folder import checkpoint_files, read_checkpoint

from .conftest import TRAIN, Trained, run_main, write_config
from .test_backbones import STYLE

pytestmark = pytest.mark.slow

#: Goes to the end of upstream's worker.py, which each process imports: compares what all processes hold after each update.
WATCH = """

import hashlib, json
from pathlib import Path
from torch.optim.optimizer import register_optimizer_step_post_hook
from rcas_plugin.studiogan.active import RUN

_before = {}

def _digests(tensors):
    return {name: hashlib.sha256(tensor.detach().contiguous().numpy().tobytes()).hexdigest() for name, tensor in tensors}

def _compare(optimizer, args, kwargs):
    if RUN.worker is None:
        return
    roles = {"generator": RUN.cfgs.OPTIMIZATION.g_optimizer, "discriminator": RUN.cfgs.OPTIMIZATION.d_optimizer}
    updated = next(role for role, one in roles.items() if one is optimizer)
    line = {"updated": updated, "step": RUN.lifecycle.step, "unequal": {}, "moved": {}}
    for name, network in RUN.lifecycle.gan.networks.items():
        parameters, buffers = _digests(network.named_parameters()), _digests(network.named_buffers())
        everywhere = [None] * dist.get_world_size()
        dist.all_gather_object(everywhere, {**parameters, **buffers})
        unequal = [key for key in everywhere[0] if any(one[key] != everywhere[0][key] for one in everywhere)]
        line["unequal"][name] = {"parameters": [key for key in unequal if key in parameters],
                                 "buffers": [key for key in unequal if key in buffers]}
        line["moved"][name] = [key for key, value in parameters.items() if _before.get((name, key), value) != value]
        _before.update({(name, key): value for key, value in parameters.items()})
    if dist.get_rank() == 0:
        with (Path(RUN.cfgs.RUN.save_dir) / "updates.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\\n")

register_optimizer_step_post_hook(_compare)
"""

EMA = {"MODEL": {"apply_g_ema": True, "g_ema_decay": 0.5, "g_ema_start": 0}, "PRE": {"apply_rflip": True}}
METHODS: dict[str, dict[str, Any]] = {
    "fine_tune": {"method": "fine_tune", "preset": None, "label_lr": {"generator": 5.0, "discriminator": 5.0}},
    "class_swap": {"method": "class_swap", "preset": "rcas", "label_start": {"how": "match", "iterations": 3}},
    "bn_propagation": {"method": "bn_propagation", "preset": None, "label_start": {"iterations": 2}, "stages": {"bn": 2},
                       "retain": 1.0},
}  # fmt: skip


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
        file.write(WATCH)
    return root


#: What averages over the batches of a process.
OWN_BUFFERS = ("running_mean", "running_var", "w_avg")


def updates(save: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (save / "updates.jsonl").read_text(encoding="utf-8").splitlines()]


def check_equal(found: list[dict[str, Any]]) -> None:
    for update in found:
        for network, unequal in update["unequal"].items():
            where = f"{network} after the {update['updated']}'s update of step {update['step']}"
            assert not unequal["parameters"], where
            assert not [name for name in unequal["buffers"] if not name.endswith(OWN_BUFFERS)], where


@pytest.mark.parametrize("method", METHODS)
def test_the_processes_hold_equal_weights_after_each_update(
    method: str, trained: Trained, watching: Path, tmp_path: Path
) -> None:
    """D1: the processes of a -DDP run have equal weights in G, D and the moving average after each update, for every method.

    Without -sync_bn upstream does not share batch norm's running mean and variance (`broadcast_buffers=False`): each process
    keeps those of its own batches, and the first one's are saved. Every other buffer is equal.
    """
    config = trained.swap_config(tmp_path / "swap.yaml", steps=4, sections=EMA, **METHODS[method])
    run_main(watching, *TRAIN, "-DDP", "-cfg", config, "-data", trained.new_data, "-save", tmp_path,
             "-ckpt", trained.checkpoint, RCAS_CPU_PROCESSES="2")  # fmt: skip
    found = updates(tmp_path)
    assert [update["updated"] for update in found][:8] == ["discriminator", "generator"] * 4
    check_equal(found)
    of_generator = [set(update["moved"]["generator"]) for update in found if update["updated"] == "generator"]
    of_discriminator = [set(update["moved"]["discriminator"]) for update in found if update["updated"] == "discriminator"][1:]
    assert all(any(names) for names in (*of_generator, *of_discriminator)), "what is trained moves"
    assert any(update["moved"]["ema"] for update in found)
    if method != "bn_propagation":
        assert {"linear0.weight", "conv2d5.weight", "blocks.0.0.bn1.gain.weight"} <= of_generator[-1]
        return
    bn, ft = of_generator[:2], of_generator[2:]
    assert all(".parametrizations." in name for names in bn for name in names)
    for names in ft:
        assert {"linear0.weight", "conv2d5.weight"} <= names, "stage ft trains what stage bn froze"
        assert not [name for name in names if name.endswith((".scores", ".original"))]


def test_stylegans_processes_hold_equal_weights_too(
    trained: Trained, trained_stylegan: Path, watching: Path, tmp_path: Path
) -> None:
    """D1: likewise on StyleGAN2, where stage bn trains nothing in the synthesis network.

    `w_avg` is upstream's mean of each process's own batches.
    """
    config = trained.swap_config(tmp_path / "swap.yaml", steps=3, sections=STYLEGAN, **METHODS["bn_propagation"])
    run_main(watching, *TRAIN, "-DDP", "-cfg", config, "-data", trained.new_data, "-save", tmp_path,
             "-ckpt", trained_stylegan, RCAS_CPU_PROCESSES="2")  # fmt: skip
    found = updates(tmp_path)
    check_equal(found)
    of_generator = [set(update["moved"]["generator"]) for update in found if update["updated"] == "generator"]
    assert any(".parametrizations." in name for name in of_generator[0])
    assert not [name for name in of_generator[0] if name.startswith("synthesis.")]
    assert "synthesis.b32.conv1.weight" in of_generator[-1]


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
