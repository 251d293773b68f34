"""Every registered method through the real main.py."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rcas_plugin.gan import Gan
from rcas_plugin.studiogan.networks import load_gan

from ..methods import recorder
from ..methods.suite import SAVE_FREQ, TOTAL, Case, MethodSuite, Run, write_classes
from .conftest import TRAIN, run_main, write_config

pytestmark = pytest.mark.slow

#: With a moving average, flips at random, and two batches an epoch; D is slow, so that its hinge loss has a gradient throughout.
SECTIONS: dict[str, dict[str, Any]] = {
    "MODEL": {"apply_g_ema": True, "g_ema_decay": 0.5, "g_ema_start": 0},
    "OPTIMIZATION": {"batch_size": 8, "g_lr": 0.002, "d_lr": 0.00002},
    "PRE": {"apply_rflip": True},
}
FREQUENCY = ("--print_freq", SAVE_FREQ, "--save_freq", SAVE_FREQ)


class StudioGAN:
    """StudioGAN's main.py as a subprocess, watched from the end of its worker.py.

    Args:
        root: a folder of its own.
        studiogan: upstream's sources, copied.
    """

    name = "studiogan"

    def __init__(self, root: Path, studiogan: Path) -> None:
        self.root = root
        self.studiogan = root / "PyTorch-StudioGAN"
        shutil.copytree(studiogan / "src", self.studiogan / "src", ignore=shutil.ignore_patterns("__pycache__"))
        with (self.studiogan / "src" / "worker.py").open("a", encoding="utf-8") as file:
            file.write(recorder.WATCHED_WORKER)
        old = write_classes(root / "old", "abc")
        self.data = write_classes(root / "new", "abcde")
        config = write_config(root / "pretrain.yaml", steps=TOTAL, **SECTIONS)
        run_main(self.studiogan, *TRAIN, *FREQUENCY, "-cfg", config, "-data", old, "-save", root / "pre")
        (self.pretrained,) = (root / "pre" / "checkpoints").iterdir()

    def _config(self, case: Case, **rcas: Any) -> Path:
        return write_config(self.root / "swap.yaml", classes=3 + len(rcas.get("add", [])), steps=TOTAL, RCAS=case.rcas(**rcas),
                            **SECTIONS)  # fmt: skip

    def swap(
        self, case: Case, save: Path, start: Path, *, processes: int = 1, killed_in: int | None = None, **rcas: Any
    ) -> Run:
        lines = save / f"updates-{len(list(save.glob('updates-*')))}.jsonl"
        save.mkdir(exist_ok=True)
        environment = {"RCAS_TEST_RECORDER": recorder.__file__, "RCAS_TEST_UPDATES": str(lines)}
        environment |= {} if killed_in is None else {"RCAS_TEST_STOP_AT": str(killed_in)}
        environment |= {"RCAS_CPU_PROCESSES": str(processes)} if processes > 1 else {}
        options = [*TRAIN, *FREQUENCY, *(["-DDP"] if processes > 1 else []), "-cfg", self._config(case, **rcas)]
        ended = run_main(self.studiogan, *options, "-data", self.data, "-save", save, "-ckpt", start, ok=killed_in is None,
                         **environment)  # fmt: skip
        assert killed_in is None or ended.returncode == recorder.KILLED, ended.stderr[-3000:]
        (folder,) = (save / "checkpoints").iterdir()
        return Run(folder, [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()])

    def evaluate(self, case: Case, folder: Path, **rcas: Any) -> None:
        look = folder.parent / "look"
        ended = run_main(self.studiogan, "-metrics", "none", "-v", "--num_workers", "0", "-cfg", self._config(case, **rcas),
                         "-data", self.data, "-save", look, "-ckpt", folder)  # fmt: skip
        assert "is evaluated in" in ended.stdout
        assert list((look / "figures").rglob("*.png"))
        shutil.rmtree(look)

    def build(self) -> Gan:
        return load_gan(self.studiogan, write_config(self.root / "plain.yaml", **SECTIONS), None)


@pytest.fixture(scope="module")
def engine(studiogan: Path, tmp_path_factory: pytest.TempPathFactory, upstream: object) -> StudioGAN:
    return StudioGAN(tmp_path_factory.mktemp("studiogan"), studiogan)


class TestStudioGAN(MethodSuite):
    pass
