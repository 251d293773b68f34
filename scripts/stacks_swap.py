"""A swap from pre-training to report with the installed wheel: stacks_swap.py FOLDER [STUDIOGAN]. The last line says how it went.

Through the main.py of a copy of STUDIOGAN that `rcas install` patches; without one, on the embedded networks.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import traceback
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

import rcas_plugin
from rcas_plugin.safe_load import load

CONFIG = {
    "DATA": {"name": "toy", "img_size": 32, "num_classes": 3},
    "MODEL": {"backbone": "resnet", "g_cond_mtd": "cBN", "d_cond_mtd": "PD", "apply_d_sn": True, "z_dim": 8, "g_conv_dim": 4,
              "d_conv_dim": 4},
    "LOSS": {"adv_loss": "hinge"},
    "OPTIMIZATION": {"batch_size": 16, "d_updates_per_step": 1, "beta1": 0, "total_steps": 8},
    "PRE": {"apply_rflip": False},
}  # fmt: skip


def main(root: Path, studiogan: Path | None) -> str:
    site = Path(rcas_plugin.__file__)
    assert "site-packages" in site.parts, f"{site} is not the wheel's"
    write_images(root / "old", "abc")
    write_images(root / "new", "acd")  # the class b is gone, d has come
    config = root / "pretrain.yaml"
    config.write_text(yaml.safe_dump(CONFIG))
    run = swap_embedded(root, config) if studiogan is None else swap_studiogan(root, config, studiogan)
    record = json.loads((run / "rcas.json").read_text())
    assert record["labels"] == ["a", "d", "c"], record["labels"]
    assert (run / "report" / "report.html").is_file()
    (file,) = run.glob("model=G-current-weights-step=*.pth")
    assert all(torch.isfinite(value).all() for value in load(file)["state_dict"].values())
    return "main.py" if studiogan else "embedded"


def write_images(root: Path, names: str) -> None:
    source = np.random.default_rng(0)
    for name in names:
        folder = root / "train" / name
        folder.mkdir(parents=True)
        for number in range(20):
            pixels = source.integers(0, 60, (32, 32)) + 45 * "abcd".index(name)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")


def swap_studiogan(root: Path, config: Path, studiogan: Path) -> Path:
    """Pre-train, and swap as docs/guide/first-swap.md has it."""
    copy = root / "PyTorch-StudioGAN"
    shutil.copytree(studiogan / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
    rcas = [sys.executable, "-m", "rcas_plugin.cli"]
    call(rcas, "install", "--studiogan", copy)
    call(rcas, "doctor", "--studiogan", copy)
    main_py = [sys.executable, copy / "src" / "main.py", "--plugin", "rcas"]
    call(main_py, "-t", "-cfg", config, "-data", root / "old", "-save", root / "out", "-metrics", "none", "--num_workers", "0",
         "--print_freq", "4", "--save_freq", "4", "--seed", "1")  # fmt: skip
    (pretrained,) = (root / "out" / "checkpoints").iterdir()
    call(rcas, "swap", "--ckpt", pretrained, "--data", root / "new", "--slot", "b", "--new", "d", "--steps", "4",
         "--out", root / "swapped", "--studiogan", copy)  # fmt: skip
    (run,) = (root / "swapped" / "checkpoints").iterdir()
    call(rcas, "uninstall", "--studiogan", copy)
    return run


def swap_embedded(root: Path, config: Path) -> Path:
    from rcas_plugin.embedded import loop

    pretrained = loop.train(config, root / "old", root / "out", progress=False)
    swap = root / "swap.yaml"
    swap.write_text(yaml.safe_dump({**CONFIG, "RCAS": {"swap": {"b": "d"}, "swap_metrics": 20}}))
    return loop.train(swap, root / "new", root / "swapped", pretrained, save_freq=4, progress=False)


def call(command: list[object] | list[str], *options: object) -> None:
    """Run a command; where it fails, show what it said."""
    ended = subprocess.run([*map(str, command), *map(str, options)], capture_output=True, text=True, check=False)
    if ended.returncode:
        print(ended.stdout[-4000:], ended.stderr[-8000:])
        raise SystemExit(f"exit code {ended.returncode} of {' '.join(map(str, options[:2]))}")


if __name__ == "__main__":
    target, *more = map(Path, sys.argv[1:])
    try:
        print(main(target, more[0] if more else None))
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        print(f"failed: {type(error).__name__}: {error}".splitlines()[0])
        sys.exit(1)
