"""Evaluation backbones from files, and what a failed download says."""

from __future__ import annotations

import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rcas_plugin import RcasError
from rcas_plugin.studiogan.backbones import EvalModel, _file_model, _named_downloads, check_backbone, is_own


class Pool(nn.Module):
    """Mean colours as features; two logits of them."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = images.mean((2, 3))
        return features, features[:, :2]


def load(path: Path) -> Any:
    def original(*args: Any) -> Any:
        raise AssertionError("upstream is not asked")

    return _file_model(path, original, "legacy", 1, False, "cpu")


IMAGES = torch.linspace(-1, 1, 2 * 3 * 4 * 4).view(2, 3, 4, 4)


@pytest.mark.filterwarnings("ignore:.torch.jit.trace:FutureWarning")
def test_a_torchscript_module(tmp_path: Path) -> None:
    torch.jit.trace(Pool(), IMAGES).save(str(tmp_path / "pool.pt"))
    features, logits = load(tmp_path / "pool.pt").get_outputs(IMAGES, quantize=True)
    levels = ((IMAGES + 1) * 127.5 + 0.5).floor()
    torch.testing.assert_close(features, (levels / 127.5 - 1).mean((2, 3)))
    assert torch.equal(logits, features[:, :2])


def test_an_exported_module_without_pickled_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = torch.export.Dim("batch", min=1, max=64)
    torch.export.save(torch.export.export(Pool(), (IMAGES,), dynamic_shapes=({0: batch},)), tmp_path / "pool.pt2")
    seen: list[Any] = []
    original = torch.load
    monkeypatch.setattr(torch, "load", lambda *args, **kwargs: seen.append(kwargs["weights_only"]) or original(*args, **kwargs))
    model = load(tmp_path / "pool.pt2")
    assert all(seen), "weights_only everywhere"
    features, _ = model.get_outputs((IMAGES + 1) * 127.5)
    torch.testing.assert_close(features, IMAGES.mean((2, 3)), atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.torch.jit.trace:FutureWarning")
def test_a_module_of_one_output_and_one_of_another_shape(tmp_path: Path) -> None:
    torch.jit.trace(nn.Flatten(), IMAGES).save(str(tmp_path / "flat.pt"))
    features, logits = load(tmp_path / "flat.pt").get_outputs(IMAGES, quantize=True)
    assert features.shape == logits.shape == (2, 48)
    torch.jit.trace(nn.ReLU(), IMAGES).save(str(tmp_path / "maps.pt"))
    with pytest.raises(RcasError, match=r"^--eval_backbone: .*maps.pt must map images .* to features \(n, d\)"):
        load(tmp_path / "maps.pt").get_outputs(IMAGES, quantize=True)


def test_what_is_no_backbone(tmp_path: Path) -> None:
    assert [is_own(name) for name in ("domain", "file:x", "InceptionV3_tf")] == [True, True, False]
    with pytest.raises(RcasError, match=r"^--eval_backbone: there is no file nowhere.pt"):
        check_backbone("file:nowhere.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(RcasError, match=r"text.pt is no TorchScript or torch.export module and no file of weights"):
        load(tmp_path / "text.pt")


def test_levels() -> None:
    model = EvalModel(lambda images: (images, images), "cpu")
    seen, _ = model.get_outputs(torch.tensor([-1.0, 0.0, 1.0, 2.0]), quantize=True)
    torch.testing.assert_close(seen, torch.tensor([0.0, 128.0, 255.0, 255.0]) / 127.5 - 1)


def test_a_failed_download_names_the_file_and_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(url: str, dst: str, *args: Any, **kwargs: Any) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fails)
    with (
        pytest.raises(RcasError, match=r"https://x/w.pth cannot be fetched .*; put the file at .*w.pth, or take .* domain"),
        _named_downloads("InceptionV3_tf"),
    ):
        torch.hub.load_state_dict_from_url("https://x/w.pth", model_dir=str(tmp_path))
    assert torch.hub.download_url_to_file is fails
