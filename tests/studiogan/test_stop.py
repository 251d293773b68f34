"""A user's mistake ends a run with one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch.utils.data import DataLoader, Dataset

from rcas_plugin.data.images import load_image
from rcas_plugin.studiogan.stop import stop_with_a_sentence


class Broken(Dataset[object]):
    def __init__(self, path: Path) -> None:
        self.path = path

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> object:
        return load_image(self.path)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_breaks_while_training_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int) -> None:
    """L10: a decode error at any time is one sentence with the file, from a data loader's process too."""
    path = tmp_path / "x.png"
    path.write_bytes(b"cut off")

    @stop_with_a_sentence
    def train() -> None:
        list(DataLoader(Broken(path), num_workers=workers))

    with pytest.raises(SystemExit) as end:
        train()
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"rcas: error: {path} cannot be read: ")
    assert said.count("\n") == 1
