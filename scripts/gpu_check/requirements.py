"""What has to be importable, told without importing it: the standard library alone, so that the answer comes at once."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: The project's dependencies and what its tests import: distribution -> the module that is imported.
MODULES = {
    "torch": "torch", "torchvision": "torchvision", "numpy": "numpy", "h5py": "h5py", "pyyaml": "yaml", "prdc": "prdc",
    "wandb": "wandb", "pydantic": "pydantic", "safetensors": "safetensors", "torchmetrics": "torchmetrics",
    "packaging": "packaging", "pillow": "PIL", "jinja2": "jinja2", "scipy": "scipy", "scikit-learn": "sklearn",
    "kornia": "kornia", "timm": "timm", "seaborn": "seaborn", "pandas": "pandas", "matplotlib": "matplotlib", "tqdm": "tqdm",
    "ninja": "ninja", "requests": "requests", "pytest": "pytest", "hypothesis": "hypothesis",
}  # fmt: skip

#: What an image with torch usually lacks of these.
RARE = ("kornia", "prdc", "pydantic", "wandb")

#: The package's entry point, as pyproject.toml has it: main.py finds the plugin by it.
ENTRY_POINTS = "[studiogan.plugins]\nrcas = rcas_plugin.studiogan.activation:activate\n"


def missing() -> list[str]:
    """The distributions of `MODULES` that cannot be imported here; none of them is imported."""
    return [name for name, module in MODULES.items() if importlib.util.find_spec(module) is None]


def sentence(names: Iterable[str], folder: Path) -> str:
    """What is missing, and how to bring it."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"not here: {', '.join(names)}; where there is a network run scripts/gpu --pack {folder.name} --python {python} "
        f"--missing {','.join(names)}, and bring the folder {folder.name}/ along"
    )


def install(folder: Path, target: Path) -> None:
    """Make what a packed folder holds importable, here and in the processes that this one starts; no network is asked.

    Args:
        folder: of `pack`; it may be missing.
        target: an empty folder for what is unpacked.
    """
    wheels = sorted(map(str, folder.glob("*.whl")))
    if wheels:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile",
                   "--disable-pip-version-check", "--root-user-action", "ignore", "--target", str(target), *wheels]  # fmt: skip
        subprocess.run(command, check=True)
    try:
        importlib.metadata.distribution("rcas-plugin")
    except importlib.metadata.PackageNotFoundError:
        _declare(target)
    paths = [str(target), str(ROOT), str(ROOT / "scripts")]
    sys.path[:0] = paths
    os.environ["PYTHONPATH"] = os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])])
    packed = folder / "PyTorch-StudioGAN"
    if packed.is_dir() and not (ROOT / "third_party" / "PyTorch-StudioGAN" / "src").is_dir():
        os.environ.setdefault("STUDIOGAN_ROOT", str(packed.resolve()))
    importlib.invalidate_caches()


def _declare(target: Path) -> None:
    """Tell Python of the clone's package what an installation would: its name, its version, its entry point."""
    about = target / "rcas_plugin-0.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: rcas-plugin\nVersion: 0\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(ENTRY_POINTS, encoding="utf-8")
