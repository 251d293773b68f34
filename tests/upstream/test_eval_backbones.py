"""Upstream's own evaluation with backbones that need no download, through the real main.py and without a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..studiogan.backbone_files import exported, onnx_file, timm_file
from .conftest import Trained, run_main

pytestmark = pytest.mark.slow

METRICS = (
    "-t",
    "-metrics",
    "is",
    "fid",
    "prdc",
    "-ifid",
    "--num_workers",
    "0",
    "--print_freq",
    "2",
    "--save_freq",
    "2",
    "--seed",
    "1",
)


def test_domain_on_folders_and_on_hdf5(trained: Trained, tmp_path: Path) -> None:
    config = trained.swap_config(tmp_path / "swap.yaml", steps=2, label_start={"how": "keep"})
    outputs = []
    for name, options in (("folder", ()), ("hdf5", ("-hdf5", "-l"))):
        ended = run_main(trained.studiogan, *METRICS, *options, "--eval_backbone", "domain", "-cfg", config, "-data",
                         trained.new_data, "-save", tmp_path / name, "-ckpt", trained.checkpoint,
                         HTTPS_PROXY="http://127.0.0.1:9", HTTP_PROXY="http://127.0.0.1:9")  # fmt: skip
        outputs.append(ended.stdout + ended.stderr)
        assert "domain backbone: a classifier of 4 classes of these data, right on 100.0% of 5 held-out images" in outputs[-1]
        assert "FID score" in outputs[-1]
        assert "Density" in outputs[-1]
        assert len(list((tmp_path / name / "domain").glob("*.safetensors"))) == 1
    assert [path.name.count("domain-") for path in (tmp_path / "folder" / "moments").iterdir()] == [1]
    again = run_main(trained.studiogan, *METRICS, "--eval_backbone", "domain", "-cfg", config, "-data", trained.new_data,
                     "-save", tmp_path / "folder", "-ckpt", trained.checkpoint)  # fmt: skip
    assert "reading real images" not in again.stderr
    assert len(list((tmp_path / "folder" / "moments").iterdir())) == 1, "statistics of the same data are found again"


def files(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.is_file()}


def test_files(trained: Trained, tmp_path: Path) -> None:
    """S1: StudioGAN's metrics by ONNX and safetensors files; an archive is not read unless it is named `code:`."""
    onnx_file(tmp_path / "net.onnx")
    timm_file(tmp_path / "net.safetensors", input_size="[3, 32, 32]")
    exported(tmp_path / "net.pt2", size=32)
    options = ("-cfg", trained.config, "-data", trained.data, *METRICS)
    for name in ("file:net.onnx", "file:net.safetensors", "code:net.pt2"):
        prefix, _, file = name.partition(":")
        out = tmp_path / file.replace(".", "_")
        ended = run_main(trained.studiogan, *options, "-save", out, "--eval_backbone", f"{prefix}:{tmp_path / file}")
        assert "FID score" in ended.stdout, name
        assert "Density" in ended.stdout, name
    exported(tmp_path / "net.pt2", tmp_path / "marker")
    before = files(tmp_path) | files(trained.root)
    refused = run_main(trained.studiogan, *options, "-save", tmp_path / "refused", "--eval_backbone", f"file:{tmp_path}/net.pt2",
                       ok=False)  # fmt: skip
    assert refused.returncode == 2
    assert f"rcas: error: --eval_backbone: {tmp_path}/net.pt2 is a torch.export archive" in refused.stderr
    assert files(tmp_path) | files(trained.root) == before


def test_a_download_that_fails(trained: Trained, tmp_path: Path) -> None:
    options = ("-cfg", trained.config, "-data", trained.data, "-save", tmp_path, *METRICS)
    missing = run_main(trained.studiogan, *options, ok=False, TORCH_HOME=str(tmp_path / "hub"),
                       HTTPS_PROXY="http://127.0.0.1:9", HTTP_PROXY="http://127.0.0.1:9")  # fmt: skip
    assert missing.returncode == 2
    said = [line for line in missing.stderr.splitlines() if line.startswith("rcas: error: ")]
    assert len(said) == 1
    assert "pt_inception" in said[0]
    assert str(tmp_path / "hub") in said[0]
    assert "--eval_backbone domain" in said[0]
    nowhere = run_main(trained.studiogan, *options, "--eval_backbone", "file:nowhere.pt", ok=False)
    assert nowhere.returncode == 2
    assert "there is no file nowhere.pt" in nowhere.stderr
