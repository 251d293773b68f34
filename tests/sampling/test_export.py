"""`rcas export`: the generator as ONNX and as safetensors."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from rcas_plugin import RcasError
from rcas_plugin.cli import main
from rcas_plugin.embedded.loop import build_gan
from rcas_plugin.sampling import export
from rcas_plugin.sampling.export import export_generator, plain_copy
from rcas_plugin.sampling.run import open_run

from ..shared import OddGenerator


@pytest.mark.parametrize("state", [None, "1"])
def test_onnx_makes_the_images_of_torch(
    state: str | None, second: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    path = tmp_path / "generator.onnx"
    assert main(["export", "-ckpt", str(second), "-o", str(path), *([] if state is None else ["--task", state])]) == 0
    names = ["e" if state is None else "a", "d", "c"]
    assert f"labels: 0 {names[0]}, 1 d, 2 c" in capsys.readouterr().out
    assert [file.name for file in tmp_path.iterdir()] == ["generator.onnx"]
    opened = open_run(second)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [(one.name, one.type, one.shape[1:]) for one in session.get_inputs()] == [
        ("z", "tensor(float)", [4]), ("label", "tensor(int64)", [])
    ]  # fmt: skip
    for count in (1, 2, 7):
        z, label = torch.randn(count, 4), torch.arange(count) % 3
        (images,) = session.run(["images"], {"z": z.numpy(), "label": label.numpy()})
        with torch.no_grad():
            expected = opened.generator_of(None if state is None else 1)(z, label).numpy()
        assert images.shape == (count, 3, 32, 32)
        assert np.abs(images - expected).max() <= 1e-4
    properties = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
    about = json.loads(properties["rcas"])
    assert (about["labels"], about["checkpoint"]["sha256"]) == (names, opened.checkpoint.sha256)
    assert about["config"]["MODEL"]["z_dim"] == 4


def test_safetensors_hold_the_config(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "generator.safetensors"
    assert main(["export", "-ckpt", str(run), "-o", str(path)]) == 0
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["rcas"])
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert (about["labels"], about["new"], about["gray"]) == (["a", "d", "c"], [1], True)
    generator = build_gan(about["config"]).generator.eval()
    generator.load_state_dict(state)
    z, label = torch.randn(3, 4), torch.arange(3)
    with torch.no_grad():
        assert torch.equal(generator(z, label), open_run(run).gan.evaluated(z, label))


def test_spectral_norm_is_folded(odd_pair: tuple[OddGenerator, torch.nn.Module]) -> None:
    generator = odd_pair[0].eval()
    state = {key: value.clone() for key, value in generator.state_dict().items()}
    plain = plain_copy(generator)
    z, label = torch.randn(4, 5), torch.tensor([0, 1, 2, 0])
    with torch.no_grad():
        torch.testing.assert_close(plain(z, label), generator(z, label), rtol=0, atol=1e-6)
    assert not [key for key in plain.state_dict() if key.endswith(("_orig", "_u", "_v"))]
    assert generator.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in generator.state_dict().items())


def test_a_file_that_makes_other_images_is_not_kept(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = export.plain_copy
    copies: list[Any] = []

    def changing(generator: Any) -> Any:
        plain = original(generator)
        copies.append(plain)
        return plain

    exported = torch.onnx.export

    @functools.wraps(exported)
    def changed(*args: Any, **kwargs: Any) -> None:
        exported(*args, **kwargs)
        with torch.no_grad():
            copies[0].conv2d5.bias.add_(0.01)

    monkeypatch.setattr(export, "plain_copy", changing)
    monkeypatch.setattr(torch.onnx, "export", changed)
    with pytest.raises(RcasError, match=r"onnxruntime makes images that are 0\.0\d+ from torch's"):
        export_generator(open_run(run), tmp_path / "generator.onnx")
    assert not list((tmp_path).glob("*onnx*"))


def test_what_is_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_run(run)
    with pytest.raises(RcasError, match=r"allowed: \.onnx, \.safetensors"):
        export_generator(opened, tmp_path / "generator.pth")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RcasError, match=r"pip install 'rcas-plugin\[onnx\]'"):
        export_generator(opened, tmp_path / "generator.onnx")
    assert not list(tmp_path.glob("generator*"))
