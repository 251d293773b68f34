"""docs/guide/images.md: from a checkpoint to a trained classifier, by the page's own commands."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rcas_plugin.cli import main

from .conftest import rewritten

PAGE = (Path(__file__).parents[2] / "docs" / "guide" / "images.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_page(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rewritten(run, labels=["dent", "scratch", "rust"])
    (tmp_path / "OUT" / "checkpoints").mkdir(parents=True)
    run.rename(tmp_path / "OUT" / "checkpoints" / "RUN")
    for index, name in enumerate(("dent", "rust", "scratch")):
        (tmp_path / "DATA" / "train" / name).mkdir(parents=True)
        for number in range(4):
            pixels = np.full((20, 24), 80 * index + number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "DATA" / "train" / name / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    commands = [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]
    assert [words[1] for words in commands] == ["sample", "export", "export"]
    for words in commands:
        assert main(["6" if word == "500" else word for word in words[1:]]) == 0
    assert {path.name for path in tmp_path.glob("generator.*")} == {"generator.onnx", "generator.safetensors"}

    (classifier,) = blocks("python")
    monkeypatch.setattr(sys, "argv", ["classifier.py", "DATA/train", "GENERATED", "1"])
    exec(compile(classifier, "images.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.splitlines()[-1].startswith("12 real and 12 generated images of 3 classes, loss ")
    saved = torch.load("classifier.pth", weights_only=True)
    assert saved["classes"] == ["dent", "rust", "scratch"]
    assert all(torch.isfinite(value).all() for value in saved["state_dict"].values() if value.is_floating_point())
