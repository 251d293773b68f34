"""The real StudioGAN: its main.py as a subprocess, and its networks in this process.

Everything here is skipped, with the reason, on a machine that cannot reach StudioGAN.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from rcas_plugin import RcasError
from rcas_plugin.studiogan.locate import find_studiogan
from rcas_plugin.studiogan.patching import uninstall

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    try:
        find_studiogan()
    except RcasError as missing:
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=f"no StudioGAN here: {missing}"))


@pytest.fixture(scope="session")
def studiogan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of StudioGAN's sources as upstream ships them: tests patch it, and leave the submodule alone."""
    root = tmp_path_factory.mktemp("upstream") / "PyTorch-StudioGAN"
    shutil.copytree(find_studiogan() / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    uninstall(root)
    return root


@pytest.fixture(scope="session")
def upstream(studiogan: Path) -> Iterator[Callable[[str], Any]]:
    """Import a module of upstream's, activated, in this process."""
    import importlib

    from rcas_plugin.studiogan.activation import activate

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        activate(studiogan / "src")
        yield importlib.import_module


@pytest.fixture
def narrow_stylegan(upstream: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """StyleGAN at its full width is too slow here; its width is an argument of its networks."""
    two, three = upstream("models.stylegan2"), upstream("models.stylegan3")
    for network in (two.SynthesisNetwork, two.Discriminator, three.SynthesisNetwork):
        original = network.__init__

        def init(self: Any, *args: Any, original: Any = original, **kwargs: Any) -> None:
            original(self, *args, **{**kwargs, "channel_base": 64, "channel_max": 8})

        monkeypatch.setattr(network, "__init__", init)


MODEL = {"backbone": "resnet", "g_cond_mtd": "cBN", "d_cond_mtd": "PD", "apply_d_sn": True, "z_dim": 4, "g_conv_dim": 2,
         "d_conv_dim": 2}  # fmt: skip


def write_config(path: Path, *, classes: int = 3, steps: int = 4, **sections: Any) -> Path:
    """A StudioGAN config of a tiny GAN; `sections` update the ones it has."""
    content: dict[str, Any] = {
        "DATA": {"name": "toy", "img_size": 32, "num_classes": classes},
        "MODEL": dict(MODEL),
        "LOSS": {"adv_loss": "hinge"},
        "OPTIMIZATION": {"batch_size": 16, "d_updates_per_step": 1, "beta1": 0, "total_steps": steps},
        "PRE": {"apply_rflip": False},
    }
    for name, section in sections.items():
        content[name] = {**content.get(name, {}), **section}
    path.write_text(yaml.safe_dump(content))
    return path


def write_images(root: Path, names: str, count: int = 6) -> Path:
    """Image folders root/train/<name>/ and root/valid/<name>/ of small gray squares; returns root."""
    source = np.random.default_rng(0)
    for index, name in enumerate(names):
        for part in ("train", "valid"):
            folder = root / part / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = source.integers(0, 60, (32, 32)) + 45 * index
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return root


def run_main(
    studiogan: Path, *options: object, plugin: bool = True, ok: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a StudioGAN's main.py under the plugin through `python -m`, its files untouched."""
    command = [sys.executable, "-m", "rcas_plugin.studiogan", str(studiogan / "src" / "main.py"), "--plugin", "rcas"]
    if not plugin:
        command = [sys.executable, str(studiogan / "src" / "main.py")]
    ended = subprocess.run(
        [*command, *map(str, options)], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    if ok:
        assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-6000:]
    return ended


TRAIN = ("-t", "-metrics", "none", "--num_workers", "0", "--print_freq", "2", "--save_freq", "2", "--seed", "1")


class Trained:
    """A GAN pre-trained on the folders a, b, c by upstream's own main.py."""

    def __init__(self, root: Path, studiogan: Path) -> None:
        self.root, self.studiogan = root, studiogan
        self.data = write_images(root / "old", "abc")
        self.new_data = write_images(root / "new", "abcd")
        self.config = write_config(root / "pretrain.yaml")
        run_main(studiogan, *TRAIN, "-cfg", self.config, "-data", self.data, "-save", root / "pre")
        (self.checkpoint,) = (root / "pre" / "checkpoints").iterdir()

    def swap_config(self, path: Path, *, steps: int = 4, sections: dict[str, Any] | None = None, **rcas: Any) -> Path:
        section: dict[str, Any] = {"swap": {"b": "d"}, "snapshot_images": 2, "swap_metrics": 0}
        if rcas.get("method", "class_swap") == "class_swap":
            section |= {"preset": "rcas", "importance": {"samples": 8}}
        return write_config(path, steps=steps, RCAS={**section, **rcas}, **(sections or {}))


@pytest.fixture(scope="session")
def trained(studiogan: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("trained"), studiogan)


@pytest.fixture(scope="session")
def narrow_studiogan(studiogan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of StudioGAN whose StyleGANs are narrow enough to train here, through main.py."""
    root = tmp_path_factory.mktemp("narrow") / "PyTorch-StudioGAN"
    shutil.copytree(studiogan / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    file = root / "src" / "models" / "model.py"
    text = file.read_text(encoding="utf-8")
    for wide, narrow in (("= 32768 if", "= 64 if"), ("else 16384, 512", "else 64, 8")):
        assert wide in text
        text = text.replace(wide, narrow)
    file.write_text(text, encoding="utf-8")
    return root
