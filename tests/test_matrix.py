"""The grid's own parts: what its reduction keeps, how an outcome is told, and that nothing is run twice."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rcas_plugin import RcasError
from rcas_plugin.registry import methods
from rcas_plugin.studiogan.locate import find_studiogan

ROOT = Path(__file__).parents[1]
STYLEGAN = {
    "DATA": {"name": "AFHQ", "img_size": 512, "num_classes": 3},
    "MODEL": {"backbone": "stylegan2", "g_cond_mtd": "cAdaIN", "d_cond_mtd": "SPD", "z_dim": 512, "w_dim": 512},
    "STYLEGAN": {"d_epilogue_mbstd_group_size": 32, "d_reg_interval": 16, "mapping_network": 8, "g_ema_kimg": 10},
    "AUG": {"apply_ada": True, "ada_initial_augment_p": 0, "ada_interval": 4},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    # not syspath_prepend: it asks more of pkg_resources than the stand-in for it has
    monkeypatch.setattr(sys, "path", [str(ROOT / "scripts"), *sys.path])


def shipped() -> list[Path]:
    try:
        return sorted((find_studiogan() / "src" / "configs").glob("*/*.yaml"))
    except RcasError:
        return []


@pytest.mark.skipif(not shipped(), reason="no StudioGAN here")
def test_reduction_keeps_every_feature_of_every_shipped_config() -> None:
    from config_matrix.reduction import SIZES, is_stylegan, read_config, reduce_config

    configs = shipped()
    assert len(configs) == 196
    for path in configs:
        config = read_config(path)
        small = reduce_config(config, steps=2)
        for section, keys in config.items():
            for key, value in keys.items():
                if key not in SIZES.get(section, ()):
                    assert small[section][key] == value, f"{path}: {section}.{key}"
        extra = {(s, k) for s, keys in small.items() for k in keys if k not in config.get(s, {})}
        assert all(key in SIZES[section] for section, key in extra), f"{path}: {extra}"
        assert small["DATA"]["num_classes"] in (1, 4)
        assert small["OPTIMIZATION"]["batch_size"] <= 32
        group = small.get("STYLEGAN", {}).get("d_epilogue_mbstd_group_size", 0)
        assert group <= small["OPTIMIZATION"]["batch_size"]
        assert is_stylegan(config) or small["MODEL"].get("g_ema_start", 0) == 0


def test_reduction_makes_late_features_act_at_once() -> None:
    from config_matrix.reduction import reduce_config

    small = reduce_config(STYLEGAN, steps=3)
    assert small["MODEL"]["w_dim"] == 16
    assert small["OPTIMIZATION"] == {"batch_size": 32, "d_updates_per_step": 2, "total_steps": 3}
    assert small["AUG"] == {"apply_ada": True, "ada_initial_augment_p": 0.5, "ada_interval": 1}
    assert small["STYLEGAN"]["d_reg_interval"] == 16, "lazy regularisation is a feature"
    assert STYLEGAN["AUG"] == {"apply_ada": True, "ada_initial_augment_p": 0, "ada_interval": 4}, "the config given is left alone"


@pytest.mark.parametrize(
    ("model", "cell", "sentence", "expected"),
    [
        ({"g_cond_mtd": "W/O"}, "class_swap", "RCAS: this config's GAN is not conditional; allowed: …", True),
        ({"g_cond_mtd": "W/O"}, "pre-train", "RCAS: this config's GAN is not conditional; allowed: …", False),
        ({"g_cond_mtd": "cBN"}, "class_swap", "RCAS: this config's GAN is not conditional; allowed: …", False),
        ({"g_cond_mtd": "cBN", "d_cond_mtd": "MH"}, "add", "bn_propagation cannot give linear1 other labels", True),
        ({"g_cond_mtd": "cBN", "d_cond_mtd": "MH"}, "add", "-ckpt: it is not of this config's network", False),
        ({"g_cond_mtd": "cBN", "d_cond_mtd": "MH"}, "class_swap", "bn_propagation cannot give other labels", False),
        ({"g_cond_mtd": "cBN", "apply_g_sn": True}, "class_swap", "spectral norm on the columns of a label", True),
        ({"g_cond_mtd": "cBN", "apply_g_sn": True, "backbone": "big_resnet"}, "class_swap", "spectral norm …", False),
    ],
)  # fmt: skip
def test_a_refusal_is_right_by_feature_and_reason(model: dict[str, Any], cell: str, sentence: str, expected: bool) -> None:
    from config_matrix.refusals import is_expected

    assert is_expected({"DATA": {"num_classes": 10}, "MODEL": model}, cell, sentence) is expected


def test_every_method_has_a_column() -> None:
    """A method that is registered later belongs into the grid as well."""
    from config_matrix.cells import CELLS
    from config_matrix.refusals import METHODS

    own = {name for name, method in methods.items() if method.__module__.startswith("rcas_plugin.")}
    assert len(own) >= 3
    assert own <= set(METHODS) <= {cell.name for cell in CELLS}


def test_a_child_tells_how_it_ended(tmp_path: Path) -> None:
    from config_matrix.child import Child, Ended

    def ended(work: Callable[[], None], timeout: float = 60) -> Ended:
        child = Child(work, tmp_path / "log", timeout)
        while (how := child.poll()) is None:
            os.sched_yield()
        return how

    def refuse() -> None:
        print("rcas: error: -data is missing", file=sys.stderr)
        raise SystemExit(2)

    def forever() -> None:
        while True:
            os.sched_yield()

    fine = ended(lambda: os.write(1, b"written to the descriptor\n") and None)
    assert (fine.code, fine.sentence, fine.last_line) == (0, "", "written to the descriptor")
    refused = ended(refuse)
    assert (refused.code, refused.sentence) == (2, "-data is missing")
    failed = ended(lambda: {}["key"])
    assert (failed.code, failed.last_line) == (1, "KeyError: 'key'")
    assert "Traceback" in failed.log
    assert ended(forever, timeout=0.2).code is None


class Runs:
    """Stands for the runs of a config: which were started, and how they end."""

    def __init__(self, root: Path) -> None:
        from config_matrix.site import Site

        config = {"DATA": {"num_classes": 10}, "MODEL": {"g_cond_mtd": "cBN"}}
        self.site = Site("CIFAR10/SNGAN", config, root / "work", root / "data", root)
        self.started: list[str] = []
        self.ends: dict[str, Callable[[], None]] = {}
        self.problems: dict[str, str] = {}

    def cells(self) -> Iterator[Any]:
        from config_matrix.cells import Cell

        def start(site: Any, name: str) -> Callable[[], None]:
            self.started.append(name)
            return self.ends.get(name, lambda: (site.folder(name) / "made").mkdir(parents=True))

        def judge(site: Any, name: str) -> str:
            return self.problems.get(name, "")

        yield Cell("pre-train", judge, start)
        yield Cell("swap", judge, start, needs=("pre-train",))
        yield Cell("swap stay", judge, of="swap", needs=("swap",))
        yield Cell("fold", judge, start, needs=("swap",))


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _scripts: None) -> Runs:
    import config_matrix.cells
    import config_matrix.lane

    made = Runs(tmp_path)
    cells = tuple(made.cells())
    monkeypatch.setattr(config_matrix.lane, "CELLS", cells)
    monkeypatch.setattr(config_matrix.cells, "CELLS", cells)
    return made


def go(runs: Runs, out: Path, again: tuple[str, ...] = (), names: tuple[str, ...] = ()) -> dict[str, tuple[str, str]]:
    """Outcome and reason of each cell, from the file that was written."""
    from config_matrix.results import Results
    from config_matrix.schedule import run_all

    runs.started.clear()
    results = Results(out)
    results.forget(runs.site.name, again)
    run_all([runs.site], results, names, jobs=2, timeout=60, keep=True)
    return {cell: (result.outcome, result.why) for cell, result in Results(out).row(runs.site.name).items()}


def test_what_is_there_is_not_run_again(runs: Runs, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    passed = ("passed", "")
    assert go(runs, out) == dict.fromkeys(("pre-train", "swap", "swap stay", "fold"), passed)
    assert runs.started == ["pre-train", "swap", "fold"]
    go(runs, out)
    assert runs.started == []

    # one is missing, and the files of what it needs are gone: what the rest needs runs again
    rows = json.loads(out.read_text())["configs"]
    del rows[runs.site.name]["fold"]
    out.write_text(json.dumps({"configs": rows}))
    shutil.rmtree(runs.site.folder("pre-train"))
    shutil.rmtree(runs.site.folder("swap"))
    go(runs, out)
    assert runs.started == ["pre-train", "swap", "fold"]


def test_a_failure_says_why_and_can_be_run_again(runs: Runs, tmp_path: Path) -> None:
    out = tmp_path / "out.json"

    def refuse() -> None:
        print("rcas: error: RCAS: no")
        raise SystemExit(2)

    runs.ends["swap"] = lambda: {}["key"]
    found = go(runs, out)
    assert found["swap"] == ("failed", "exit code 1: KeyError: 'key'")
    assert found["swap stay"] == found["fold"] == ("not run", "needs swap")

    runs.ends["swap"] = refuse
    found = go(runs, out, again=("failed", "not run"))
    assert runs.started == ["swap"]
    assert found["swap"] == ("refused in error", "RCAS: no")

    del runs.ends["swap"]
    runs.problems["swap"] = "images of other labels moved"  # by `of`, the look at the swap's run is judged alike
    found = go(runs, out, again=("refused in error", "not run"))
    assert found["swap"] == ("failed", "images of other labels moved")

    runs.problems.clear()
    assert set(go(runs, out, again=("failed", "not run")).values()) == {("passed", "")}
    assert runs.started == ["swap", "fold"]


def test_a_refusal_that_has_written_and_a_run_that_changes_another_s_files(runs: Runs, tmp_path: Path) -> None:
    def write_and_refuse() -> None:
        runs.site.folder("swap").mkdir()
        (runs.site.folder("swap") / "half.pth").write_text("")
        print("rcas: error: RCAS: no")
        raise SystemExit(2)

    runs.ends["swap"] = write_and_refuse
    outcome, why = go(runs, tmp_path / "a.json")["swap"]
    assert (outcome, why) == ("failed", "refused after it had written 1 files, swap/half.pth among them: RCAS: no")

    def write() -> None:
        runs.site.folder("swap").mkdir()
        (runs.site.folder("swap") / "half.pth").write_text("")

    runs.ends["swap"] = write
    runs.ends["fold"] = lambda: (runs.site.folder("swap") / "half.pth").write_text("more") and None
    assert go(runs, tmp_path / "b.json")["fold"] == ("failed", "it has changed half.pth, which is not its own")


def test_cells_by_name_with_what_they_need(runs: Runs, tmp_path: Path) -> None:
    assert set(go(runs, tmp_path / "out.json", names=("swap stay",))) == {"pre-train", "swap", "swap stay"}


def test_the_table_and_the_counts(tmp_path: Path) -> None:
    from config_matrix.results import Result, Results

    results = Results(tmp_path / "matrix.json")
    results.put("CIFAR10/SNGAN", "pre-train", Result("passed", cpu_seconds=2.4))
    results.put("CIFAR10/SNGAN", "class_swap", Result("failed", "KeyError: 'x'", cpu_seconds=2.2))
    results.put("CIFAR10/DCGAN", "pre-train", Result("passed"))
    results.put("CIFAR10/DCGAN", "class_swap", Result("refused", "not conditional"))
    results.put("CIFAR10/DCGAN", "class_swap on", Result("not run", "needs class_swap"))
    assert results.summary() == (
        "2 configs, 4 cells: 2 passed, 1 refused rightly, 0 refused in error, 1 failed (1 not run)"
    )  # fmt: skip
    results.write_table(tmp_path / "matrix.md")
    text = (tmp_path / "matrix.md").read_text()
    rows = {line.split(" | ")[0]: line.split(" | ") for line in text.splitlines() if line.startswith("| CIFAR10")}
    assert rows["| CIFAR10/SNGAN"][1] == "✓"
    assert "**failed**" in rows["| CIFAR10/SNGAN"]
    assert rows["| CIFAR10/SNGAN"][-1] == "5 |"
    assert "refused" in rows["| CIFAR10/DCGAN"]
    assert "- failed, class_swap: KeyError: 'x' (CIFAR10/SNGAN)" in text
    assert "- refused, class_swap: not conditional (CIFAR10/DCGAN)" in text
