"""Files of tensors and numbers are read, whatever wrote them; files with code are not."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rcas_plugin import safe_load

from .studiogan.backbone_files import torchscript

CONTENT = {
    "state_dict": {"weight": torch.arange(3.0)},
    "best_fid": np.float64(3.5),
    "aa_p": torch.as_tensor(0.25),
    "half": np.float16(0.5),
    "single": np.float32(-0.1),
    "step": np.int64(-7),
    "small": np.uint8(200),
    "wave": np.complex128(1 - 2j),
    "is_best": np.bool_(True),
    "topk": "initialize",
}


class Malicious:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture
def own_load() -> Iterator[Callable[..., Any]]:
    """torch's own `torch.load`, put back afterwards."""
    before = torch.load
    torch.load = getattr(before, "__wrapped__", before)
    yield torch.load
    torch.load = before


def in_numpys_spelling(path: Path, module: bytes) -> Path:
    """Rewrite the pickle in a file of `torch.save` to name numpy's module as numpy 1 or 2 does."""
    content = path.read_bytes()
    for other in (b"numpy._core.multiarray", b"numpy.core.multiarray"):
        content = content.replace(b"c" + other + b"\nscalar\n", b"c" + module + b"\nscalar\n")
    path.write_bytes(content)
    return path


def save_legacy(content: object, path: Path) -> None:
    """As torch before 1.6: one plain file, so that names of another length can be put into it."""
    torch.save(content, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_numpy_scalars_are_read_in_either_spelling(tmp_path: Path, module: bytes) -> None:
    """F1: the numpy scalars of an upstream checkpoint load, whichever numpy wrote them."""
    save_legacy(CONTENT, tmp_path / "x.pth")
    read = safe_load.load(in_numpys_spelling(tmp_path / "x.pth", module))
    assert module in (tmp_path / "x.pth").read_bytes()
    assert torch.equal(read["state_dict"]["weight"], torch.arange(3.0))
    for name, value in CONTENT.items():
        if name != "state_dict":
            assert read[name] == value, name
            assert type(read[name]) is type(value), name


def test_zip_files_are_read(tmp_path: Path) -> None:
    torch.save(CONTENT, tmp_path / "x.pth")
    assert safe_load.load(tmp_path / "x.pth")["best_fid"] == 3.5
    assert safe_load.load(str(tmp_path / "x.pth"))["aa_p"] == 0.25


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_refused(tmp_path: Path, zipped: bool) -> None:
    torch.save({"state_dict": {}, "x": Malicious(tmp_path / "ran")}, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(pickle.UnpicklingError):
        safe_load.load(tmp_path / "x.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore:.*TorchScript:UserWarning")
def test_a_torchscript_archive_under_a_checkpoints_name_is_not_run(tmp_path: Path, own_load: Callable[..., Any]) -> None:
    """S1: torch before 2.6 runs the code of a TorchScript archive even where weights alone are asked for; not here."""
    torchscript(tmp_path / "x.pth", tmp_path / "ran")
    with pytest.raises((pickle.UnpicklingError, RuntimeError)):
        safe_load.load(tmp_path / "x.pth")
    safe_load.force_safe_loads()
    with pytest.raises((pickle.UnpicklingError, RuntimeError)):
        torch.load(tmp_path / "x.pth")
    assert not (tmp_path / "ran.read").exists()
    torch.jit.load(str(tmp_path / "x.pth"))
    assert (tmp_path / "ran.read").exists(), "the archive does write where it is loaded as what it is"


@pytest.mark.parametrize("value", [np.datetime64("2020-01-01"), np.str_("text"), np.zeros(2, "O")])
def test_other_numpy_values_are_refused(tmp_path: Path, value: object) -> None:
    torch.save({"x": value}, tmp_path / "x.pth")
    with pytest.raises((pickle.UnpicklingError, ValueError)):
        safe_load.load(tmp_path / "x.pth")


@pytest.mark.parametrize("arguments", [("f8", b""), ("O", b"x"), (3, b"x"), ("f8", 3)])
def test_a_scalar_of_no_number_is_refused(arguments: tuple[Any, Any]) -> None:
    dtype = np.dtype(arguments[0]) if isinstance(arguments[0], str) else arguments[0]
    with pytest.raises(ValueError, match=r"checkpoint|buffer"):
        safe_load._scalar(dtype, arguments[1])


def test_every_load_is_safe_once_forced(tmp_path: Path, own_load: Callable[..., Any]) -> None:
    """F1: upstream's own loads run no code, on a torch whose default is to run it and with that default asked for."""
    torch.save({"x": Malicious(tmp_path / "ran")}, tmp_path / "code.pth")
    own_load(tmp_path / "code.pth", weights_only=False)
    assert (tmp_path / "ran").exists(), "the file does run code where nothing is in its way"
    (tmp_path / "ran").unlink()
    safe_load.force_safe_loads()
    safe_load.force_safe_loads()
    assert torch.load.__wrapped__ is own_load  # type: ignore[attr-defined]
    for options in ({}, {"weights_only": None}, {"weights_only": False}):
        with pytest.raises(pickle.UnpicklingError):
            torch.load(tmp_path / "code.pth", **options)
    assert not (tmp_path / "ran").exists()
    torch.save(CONTENT, tmp_path / "x.pth")
    assert torch.load(tmp_path / "x.pth")["best_fid"] == 3.5


@pytest.mark.slow
def test_the_environment_does_not_turn_it_off(tmp_path: Path) -> None:
    """TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD brings torch's old default back; not here."""
    torch.save({"x": Malicious(tmp_path / "ran")}, tmp_path / "code.pth")
    code = f"""
import torch
from rcas_plugin import safe_load
safe_load.force_safe_loads()
for load in (torch.load, safe_load.load):
    try:
        load({str(tmp_path / "code.pth")!r})
    except Exception as error:
        print(type(error).__name__)
"""
    environment = {"PATH": "/usr/bin:/bin", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=Path(__file__).parents[1]
    )
    assert ended.stdout.split() == ["UnpicklingError", "UnpicklingError"]
    assert not (tmp_path / "ran").exists()
