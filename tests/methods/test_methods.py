"""Every registered method on the embedded networks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from rcas_plugin.embedded import loop
from rcas_plugin.gan import Gan

from .example import example_at_hand
from .recorder import Line, Recorder, recording, tracing
from .suite import SAVE_FREQ, TOTAL, Case, ContractSuite, MethodSuite, Run, Runs, cases, write_classes

pytestmark = pytest.mark.usefixtures("short_runs")


class Killed(BaseException):
    """Ends a run at once."""


def kill() -> None:
    raise Killed


class Embedded:
    """The embedded loop in this process.

    Args:
        root: a folder of its own.
    """

    name = "embedded"

    def __init__(self, root: Path) -> None:
        self.root = root
        write_classes(root / "old", "abc")
        self.data = write_classes(root / "new", "abcde")
        torch.manual_seed(0)  # new networks are drawn from a seed of their own
        self.pretrained = loop.train(self._config("pretrain", steps=20), root / "old", root / "pre", progress=False)

    def _config(self, name: str, classes: int = 3, steps: int = TOTAL, **sections: Any) -> Path:
        content = {
            "DATA": {"name": "toy", "img_size": 32, "num_classes": classes},
            "MODEL": {"backbone": "resnet", "z_dim": 4, "g_conv_dim": 2, "d_conv_dim": 4,
                      "apply_g_ema": True, "g_ema_decay": 0.5, "g_ema_start": 0},
            "OPTIMIZATION": {"batch_size": 8, "beta1": 0.0, "total_steps": steps, "g_lr": 0.002, "d_lr": 0.00002},
        }  # fmt: skip
        path = self.root / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**content, **sections}))
        return path

    def _swap_config(self, case: Case, **rcas: Any) -> Path:
        return self._config("swap", 3 + len(rcas.get("add", [])), RCAS=case.rcas(**rcas))

    def swap(
        self, case: Case, save: Path, start: Path, *, processes: int = 1, killed_in: int | None = None, traced: bool = False,
        **rcas: Any,
    ) -> Run:  # fmt: skip
        assert processes == 1
        lines: list[Line] = []
        config = self._swap_config(case, **rcas)
        try:
            with tracing(case.method, lines.append) if traced else recording(Recorder(lines.append, killed_in, kill)):
                folder = loop.train(config, self.data, save, start, save_freq=SAVE_FREQ, progress=False)
        except Killed:
            (folder,) = (save / "checkpoints").iterdir()
        return Run(folder, lines)

    def evaluate(self, case: Case, folder: Path, **rcas: Any) -> None:
        found = loop.evaluate(self._swap_config(case, **rcas, swap_metrics=4), self.data, folder)
        assert found

    def build(self) -> Gan:
        return loop.build_gan(loop.read_config(self._config("plain")))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Embedded:
    return Embedded(tmp_path_factory.mktemp("embedded"))


#: Run in the quick tests too: the two cases that lead through all that the suite asks; each takes some ten seconds.
QUICK = ("class_swap", "bn_propagation")
PARAMETERS = [case if str(case) in QUICK else pytest.param(case, marks=pytest.mark.slow) for case in cases()]


@pytest.fixture(scope="module", params=PARAMETERS, ids=str)
def runs(
    request: pytest.FixtureRequest, engine: Embedded, example_site: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runs]:
    with example_at_hand(example_site):
        yield Runs(request.param, engine, tmp_path_factory.mktemp("runs"))


class TestEmbedded(MethodSuite):
    several_processes = False


class TestEmbeddedContract(ContractSuite):
    pass
