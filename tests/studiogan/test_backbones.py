"""What upstream asks an evaluation backbone for, and what a failed download says."""

from __future__ import annotations

import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch

from rcas_plugin import RcasError
from rcas_plugin.studiogan.backbones import EvalModel, _named_downloads, check_backbone, is_own


def test_which_backbones_are_the_plugins() -> None:
    assert [is_own(name) for name in ("domain", "file:x", "code:x", "InceptionV3_tf")] == [True, True, True, False]
    with pytest.raises(RcasError, match=r"^--eval_backbone: there is no file nowhere.pt"):
        check_backbone("file:nowhere.pt", 32)
    check_backbone("InceptionV3_tf", 32)


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
