"""scripts/matrix in small: one shipped config a feature, through upstream's own main.py, by the grid's own functions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Config -> (the cells that are asked for, the ones among them that must be refused). What they need runs too.
ASKED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "CIFAR10/SNGAN": (("fold plain", "class_swap plain"), ()),  # a column a label and layer
    "CIFAR10/SAGAN": (("fine_tune", "class_swap stay"), ()),  # spectral norm on those columns
    "CIFAR10/BigGAN": (("fine_tune", "bn_propagation stay"), ()),  # a shared embedding, and a moving average
    "CIFAR10/SNGAN-Info": (("fine_tune", "class_swap stay", "add"), ()),  # InfoGAN's codes beside the label
    "CIFAR10/MHGAN": (("fine_tune", "add"), ("add",)),  # multi-hinge: D has a row more than labels
    "CIFAR10/SNGAN-ADA": (("fold",), ()),  # numpy scalars in the checkpoint
    "CIFAR10/StyleGAN2": (("pre-train on", "class_swap stay"), ()),  # lazy regularisation, noise
    "AFHQv2/StyleGAN2-256Res": (("class_swap",), ()),  # groups of eight, path length regularisation
    "CIFAR10/StyleGAN3-t-ADA": (("stage bn",), ()),  # magnitudes that are gathered
    "CIFAR10/DCGAN": (("class_swap",), ("class_swap",)),  # no labels
}

SCRIPT = """
import json, sys
from pathlib import Path
from config_matrix.data import write_data
from config_matrix.reduction import read_config
from config_matrix.results import Results
from config_matrix.schedule import run_all
from config_matrix.site import Site
from matrix import warm_up

asked, studiogan, root = json.loads(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
warm_up()
data, results = write_data(root / "data"), Results(root / "matrix.json")
for name, (cells, _) in asked.items():
    config = read_config(studiogan / "src" / "configs" / f"{name}.yaml")
    run_all([Site(name, config, root / name, data, studiogan)], results, cells, jobs=1, timeout=300)
"""


@pytest.fixture(scope="module")
def grid(studiogan: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, dict[str, str]]]:
    """Config -> cell -> its result. A process of its own forks the runs: this one may have imported upstream already."""
    root = tmp_path_factory.mktemp("matrix")
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, json.dumps(ASKED), str(studiogan), str(root)]
    path = os.pathsep.join(map(str, (ROOT / "scripts", ROOT)))
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    rows: dict[str, dict[str, dict[str, str]]] = json.loads((root / "matrix.json").read_text())["configs"]
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("config", ASKED)
def test_a_config_of_each_feature(config: str, grid: dict[str, dict[str, dict[str, str]]]) -> None:
    """What is asked for passes, or is refused where it must be; so does what it needs."""
    asked, refused = ASKED[config]
    row = {cell: (result["outcome"], result["why"]) for cell, result in grid[config].items()}
    wrong = {cell: result for cell, result in row.items() if result[0] != ("refused" if cell in refused else "passed")}
    assert not wrong
    assert set(asked) <= row.keys()
