"""Every registered method through the real main.py."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rcas_plugin.gan import Gan
from rcas_plugin.studiogan.networks import load_gan

from ..methods import recorder
from ..methods.example import example_at_hand
from ..methods.suite import (
    KILLED_IN,
    SAVE_FREQ,
    TOTAL,
    Case,
    ContractSuite,
    MethodSuite,
    Run,
    Runs,
    cases,
    check_ends_alike,
    write_classes,
)
from .conftest import TRAIN, run_main, write_config

pytestmark = pytest.mark.slow

#: With a moving average, flips at random, and two batches an epoch; D is slow, so that its hinge loss has a gradient throughout.
SECTIONS: dict[str, dict[str, Any]] = {
    "MODEL": {"apply_g_ema": True, "g_ema_decay": 0.5, "g_ema_start": 0},
    "OPTIMIZATION": {"batch_size": 16, "g_lr": 0.002, "d_lr": 0.00002},
    "PRE": {"apply_rflip": True},
}
#: A class: of three classes two batches an epoch.
IMAGES = 12
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
        old = write_classes(root / "old", "abc", IMAGES)
        self.data = write_classes(root / "new", "abcde", IMAGES)
        config = write_config(root / "pretrain.yaml", steps=TOTAL, **SECTIONS)
        run_main(self.studiogan, *TRAIN, *FREQUENCY, "-cfg", config, "-data", old, "-save", root / "pre")
        (self.pretrained,) = (root / "pre" / "checkpoints").iterdir()

    def _config(self, case: Case, **rcas: Any) -> Path:
        return write_config(self.root / "swap.yaml", classes=3 + len(rcas.get("add", [])), steps=TOTAL, RCAS=case.rcas(**rcas),
                            **SECTIONS)  # fmt: skip

    def swap(
        self,
        case: Case,
        save: Path,
        start: Path,
        *,
        processes: int = 1,
        killed_in: int | None = None,
        stop_by: str = "kill",
        traced: bool = False,
        **rcas: Any,
    ) -> Run:
        lines = save / f"updates-{len(list(save.glob('updates-*')))}.jsonl"
        save.mkdir(exist_ok=True)
        environment = recorder.environment(lines, stop_at=killed_in, stop_by=stop_by, traced=case.method if traced else None)
        environment |= {"RCAS_CPU_PROCESSES": str(processes)} if processes > 1 else {}
        options = [*TRAIN, *FREQUENCY, *(["-DDP"] if processes > 1 else []), "-cfg", self._config(case, **rcas)]
        ended = run_main(self.studiogan, *options, "-data", self.data, "-save", save, "-ckpt", start, ok=killed_in is None,
                         fresh=not case.of_the_plugin, **environment)  # fmt: skip
        if killed_in is not None:
            codes = {recorder.KILLED, 1} if stop_by == "kill" else {130}  # 1: of the parent of several processes
            assert ended.returncode in codes, ended.stderr[-3000:]
        (folder,) = (save / "checkpoints").iterdir()
        return Run(folder, recorder.read_lines(lines), recorder.read_lines(lines.with_suffix(".opened")))

    def evaluate(self, case: Case, folder: Path, **rcas: Any) -> None:
        look = folder.parent / "look"
        ended = run_main(self.studiogan, "-metrics", "none", "-v", "--num_workers", "0", "-cfg", self._config(case, **rcas),
                         "-data", self.data, "-save", look, "-ckpt", folder, fresh=not case.of_the_plugin)  # fmt: skip
        assert "is evaluated in" in ended.stdout
        assert list((look / "figures").rglob("*.png"))
        shutil.rmtree(look)

    def build(self) -> Gan:
        return load_gan(self.studiogan, write_config(self.root / "plain.yaml", **SECTIONS), None)


@pytest.fixture(scope="module")
def engine(studiogan: Path, tmp_path_factory: pytest.TempPathFactory, upstream: object) -> StudioGAN:
    return StudioGAN(tmp_path_factory.mktemp("studiogan"), studiogan)


@pytest.fixture(scope="module", params=cases(), ids=str)
def runs(
    request: pytest.FixtureRequest, engine: StudioGAN, example_site: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runs]:
    with example_at_hand(example_site):
        yield Runs(request.param, engine, tmp_path_factory.mktemp("runs"))


class TestStudioGAN(MethodSuite):
    def test_a_run_that_goes_on_reads_each_file_once(self, runs: Runs) -> None:
        """Beside upstream, which reads D's for the run's name and its content, and each once more as the best."""
        by_plugin = Counter(Path(line["file"]).name for line in runs.resumed.opened if line["by"] == "plugin")
        expected = {f"model={network}-current-weights-step={SAVE_FREQ}.pth": 1 for network in ("G", "D", "G_ema")}
        assert by_plugin == expected
        assert len(runs.resumed.opened) > len(by_plugin), "upstream's own are seen"


class TestStudioGANContract(ContractSuite):
    def test_ctrl_c_in_the_middle_of_a_step(self, engine: StudioGAN, tmp_path: Path) -> None:
        """The step is finished; the run that goes on from there ends as the one that was not interrupted."""
        runs = Runs(Case("fine_tune", {"retain": 1.0}), engine, tmp_path)
        save, swap = tmp_path / "stopped", {"b": "d"}
        stopped = engine.swap(runs.case, save, engine.pretrained, killed_in=KILLED_IN, stop_by="interrupt", swap=swap)
        assert stopped.checkpoint.step == KILLED_IN + 1
        assert [line["updated"] for line in stopped.updates if line["step"] == KILLED_IN] == ["discriminator", "generator"]
        gone_on = engine.swap(runs.case, save, stopped.folder, swap=swap)
        check_ends_alike(runs.whole, Run(gone_on.folder, [*stopped.lines, *gone_on.lines]))

    def test_two_processes_that_are_killed_and_go_on(self, engine: StudioGAN, tmp_path: Path) -> None:
        """Each process draws on from where it was, so that they end as if they had not been interrupted."""
        runs = Runs(Case("fine_tune", {"retain": 1.0}), engine, tmp_path)
        save, swap = tmp_path / "killed", {"b": "d"}
        killed = engine.swap(runs.case, save, engine.pretrained, processes=2, killed_in=KILLED_IN, swap=swap)
        gone_on = engine.swap(runs.case, save, killed.folder, processes=2, swap=swap)
        kept = [line for line in killed.updates if line["step"] < SAVE_FREQ]
        check_ends_alike(runs.two_processes, Run(gone_on.folder, [*kept, *gone_on.lines]))
