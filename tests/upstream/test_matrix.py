"""scripts/matrix in small: one shipped config a feature, through upstream's own main.py, by the grid's own functions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .. import warm_python

ROOT = Path(__file__).parents[2]

#: Config -> (the cells that are asked for, the ones among them that must be refused). What they need runs too.
ASKED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "CIFAR10/SNGAN": (("fold plain", "class_swap plain", "gan_memory", "piggyback"), ()),  # a column a label and layer
    "CIFAR10/SAGAN": (("fine_tune", "class_swap stay"), ()),  # spectral norm on those columns
    "CIFAR10/BigGAN": (("fine_tune", "bn_propagation stay"), ()),  # a shared embedding, and a moving average
    "CIFAR10/SNGAN-Info": (
        ("fine_tune", "class_swap stay", "add", "feature_replay"),
        ("feature_replay",),
    ),  # InfoGAN's codes beside the label
    "CIFAR10/MHGAN": (("fine_tune", "add"), ("add",)),  # multi-hinge: D has a row more than labels
    "CIFAR10/SNGAN-ADA": (("fold", "feature_replay"), ()),  # numpy scalars in the checkpoint
    "CIFAR10/StyleGAN2": (
        ("pre-train on", "class_swap stay", "gan_memory", "feature_replay"),
        ("gan_memory",),
    ),  # lazy regularisation, noise
    "AFHQv2/StyleGAN2-256Res": (("class_swap",), ()),  # groups of eight, path length regularisation
    "CIFAR10/StyleGAN3-t-ADA": (("stage bn",), ()),  # magnitudes that are gathered
    "CIFAR10/DCGAN": (("class_swap",), ("class_swap",)),  # no labels
}

SCRIPT = """
import json, sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
from config_matrix.data import write_data
from config_matrix.reduction import read_config
from config_matrix.results import Results
from config_matrix.schedule import run_all
from config_matrix.site import Site
from matrix import warm_up

name, cells, studiogan, root = sys.argv[3], json.loads(sys.argv[4]), Path(sys.argv[5]), Path(sys.argv[6])
warm_up()
data, results = write_data(root / "data"), Results(root / "matrix.json")
config = read_config(studiogan / "src" / "configs" / f"{name}.yaml")
run_all([Site(name, config, root / name, data, studiogan)], results, cells, jobs=1, timeout=300)
"""


@pytest.mark.slow
@pytest.mark.parametrize("config", ASKED)
def test_a_config_of_each_feature(config: str, studiogan: Path, tmp_path: Path) -> None:
    """What is asked for passes, or is refused where it must be; so does what it needs."""
    asked, refused = ASKED[config]
    # a process of its own forks the runs: this one may have imported upstream already
    ended = warm_python.run("-c", SCRIPT, ROOT / "scripts", ROOT, config, json.dumps(asked), studiogan, tmp_path,
                            environment={"OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"})  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    (row,) = json.loads((tmp_path / "matrix.json").read_text())["configs"].values()
    results = {cell: (result["outcome"], result["why"]) for cell, result in row.items()}
    wrong = {cell: result for cell, result in results.items() if result[0] != ("refused" if cell in refused else "passed")}
    assert not wrong
    assert set(asked) <= results.keys()
