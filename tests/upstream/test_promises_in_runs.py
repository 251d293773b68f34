"""The same promises through the real main.py: a run of stage bn alone, and refusals before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rcas_plugin.checkpoints.folder import checkpoint_files, read_checkpoint, write_checkpoint
from rcas_plugin.gan import Gan
from rcas_plugin.weights.adapters import adapted

from .conftest import TRAIN, run_main, write_config, write_images
from .test_promises import NETWORKS, pretrained

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("narrow_stylegan")]


def written(gan: Gan, folder: Path) -> Path:
    """A checkpoint folder of StudioGAN's that holds the networks."""
    folder.mkdir()
    for network, module in (("G", gan.generator), ("D", gan.discriminator), ("G_ema", gan.ema)):
        if module is not None:
            own = {"run_name": "pre", "step": 5, "seed": 0} if network == "D" else {}
            write_checkpoint(folder, network, "current", 5, {"state_dict": module.state_dict(), "optimizer": {}, **own})
    return folder


def swap_config(path: Path, name: str, classes: int, steps: int, **section: Any) -> Path:
    rcas = {"method": "bn_propagation", "labels": list("abc"), "label_start": {"iterations": 2, "batch_size": 8},
            "swap_metrics": 0, "snapshot_images": 2, **section}  # fmt: skip
    return write_config(path, classes=classes, steps=steps, RCAS=rcas, **NETWORKS[name])


def files(root: Path) -> set[str]:
    return {str(path) for path in root.rglob("*") if "__pycache__" not in path.parts}


def test_a_run_of_stage_bn_alone(studiogan: Path, tmp_path: Path) -> None:
    """F14, D9: with `stages: {ft: 0}` the step that upstream makes beyond total_steps leaves what stage bn holds."""
    gan = pretrained(studiogan, tmp_path, "SAGAN with EMA")
    source, data = written(gan, tmp_path / "pre"), write_images(tmp_path / "data", "abcd")
    config = swap_config(tmp_path / "swap.yaml", "SAGAN with EMA", 3, 2, swap={"b": "d"}, stages={"ft": 0})
    often = ("--print_freq", "1", "--save_freq", "1")
    ended = run_main(studiogan, *TRAIN, *often, "-cfg", config, "-data", data, "-save", tmp_path / "out", "-ckpt", source)
    assert "stage bn 2 steps, stage ft 0 steps" in ended.stdout + ended.stderr
    assert "stage ft begins" not in ended.stdout + ended.stderr
    (run,) = (tmp_path / "out" / "checkpoints").iterdir()
    found = checkpoint_files(run)
    assert read_checkpoint(found["D"])["step"] == 3
    for network, before in (("G", gan.generator), ("G_ema", gan.ema)):
        assert before is not None
        state = read_checkpoint(found[network])["state_dict"]
        tables = {key.replace("weight_orig", "weight_") + letter for key in adapted(state) for letter in "uv"}
        held = [key for key in before.state_dict() if key in state and key not in tables]
        assert len(held) > 30
        assert [key for key in held if not torch.equal(state[key], before.state_dict()[key])] == []
        moved = [key for key in state if key.endswith(".original") and not torch.equal(
            state[key], before.state_dict()[key.replace(".parametrizations.", ".").removesuffix(".original")])]  # fmt: skip
        assert len(moved) == len(adapted(state)) == 12


CLASSIFIERS: dict[str, dict[str, Any]] = {
    "ADC": {"MODEL": {"d_cond_mtd": "2C", "aux_cls_type": "ADC", "d_embed_dim": 8, "normalize_d_embed": True},
            "LOSS": {"cond_lambda": 1.0, "m_p": 0.98, "temperature": 1.0}},
    "MH": {"MODEL": {"d_cond_mtd": "MH"}, "LOSS": {"adv_loss": "MH"}},
}  # fmt: skip


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_another_number_of_labels_is_refused_by_the_method(
    name: str, studiogan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F13: where D has other than a row a label the method's own sentence comes, before anything is written."""
    monkeypatch.setitem(NETWORKS, name, CLASSIFIERS[name])
    source, data = written(pretrained(studiogan, tmp_path, name), tmp_path / "pre"), write_images(tmp_path / "data", "abcd")
    config = swap_config(tmp_path / "swap.yaml", name, 4, 2, add=["d"])
    before = files(tmp_path)
    refused = run_main(studiogan, *TRAIN, "-cfg", config, "-data", data, "-save", tmp_path / "out", "-ckpt", source, ok=False)
    assert refused.returncode == 2, refused.stderr[-3000:]
    (sentence,) = [line for line in (refused.stdout + refused.stderr).splitlines() if line.startswith("rcas: error: ")]
    assert sentence.startswith("rcas: error: RCAS.method: bn_propagation cannot give ")
    assert sentence.endswith("allowed for this config: RCAS.swap")
    assert files(tmp_path) == before


def test_codes_in_the_batch_norms_and_another_label(studiogan: Path, tmp_path: Path) -> None:
    """F4, F13: CIFAR10/SNGAN-Info gets a label more: its columns are found behind the codes, trained, and gone on with."""
    gan = pretrained(studiogan, tmp_path, "SNGAN-Info with sn")
    source, data = written(gan, tmp_path / "pre"), write_images(tmp_path / "data", "abcd")
    config = swap_config(tmp_path / "swap.yaml", "SNGAN-Info with sn", 4, 4, add=["d"], stages={"bn": 4},
                         label_lr={"generator": 3, "discriminator": 3})  # fmt: skip
    options = ("-cfg", config, "-data", data, "-save", tmp_path / "out")
    ended = run_main(studiogan, *TRAIN, *options, "-ckpt", source)
    assert "matched D's features of d by the scores and residuals of label 3" in ended.stdout + ended.stderr
    (run,) = (tmp_path / "out" / "checkpoints").iterdir()
    state = read_checkpoint(checkpoint_files(run)["G"])["state_dict"]
    assert len(adapted(state)) == 12
    extra = next(value for key, value in state.items() if key.endswith("_extra_state"))
    assert (extra["offset"], extra["order"]) == (4, [0, 1, 2, 3])  # upstream projects the codes to z_dim features
    evaluated = run_main(studiogan, "-metrics", "none", "-v", "--num_workers", "0", *options, "-ckpt", run)
    assert "is evaluated in" in evaluated.stdout
