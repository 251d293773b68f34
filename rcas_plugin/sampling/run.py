"""A run opened to make images: its networks with their weights, and what is known of its labels and its data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from rcas_plugin.checkpoints.folder import checkpoint_files, read_checkpoint
from rcas_plugin.embedded.loop import load_gan as embedded_gan
from rcas_plugin.errors import RcasError
from rcas_plugin.gan import Gan, sample_images, seeded
from rcas_plugin.record import RECORD, Record, read_record
from rcas_plugin.studiogan.find_config import find_config
from rcas_plugin.studiogan.locate import find_studiogan

#: Images of one colour: their channels differ by less than this, of 255, on average. Generators of gray data are this close,
#: and photographs are at 20 and more.
GRAY_SPREAD = 6.0
#: How many generated images a label, of how many labels, tell whether the data were gray.
_LOOKED_AT = 4, 8


@dataclass(frozen=True)
class CheckpointFile:
    """The file that a generator's weights come from.

    Attributes:
        folder: of the run.
        path: of the file.
        sha256: of the file.
        step: the training steps before it was written.
    """

    folder: Path
    path: Path
    sha256: str
    step: int


@dataclass(frozen=True)
class OpenRun:
    """A run's networks and what is known about them.

    Attributes:
        gan: in evaluation mode, with the moving average where the run has one; adapters are folded.
        labels: the class behind each label, or None where nothing records it.
        slots: the labels of the run's new classes, ascending; empty for a GAN that was not swapped.
        size: of the images in pixels, which are square.
        config: that the networks were built by, without an RCAS section.
        checkpoint: the file that the generator comes from.
        record: what the run recorded.
    """

    gan: Gan
    labels: tuple[str | None, ...]
    slots: tuple[int, ...]
    size: int
    config: Mapping[str, Any]
    checkpoint: CheckpointFile
    record: Record

    @cached_property
    def gray(self) -> bool:
        """Whether the run's data were gray, which is what a few of its images show."""
        images, labels = _LOOKED_AT
        shown = torch.tensor(self.slots or tuple(range(len(self.labels))))[:labels].repeat_interleave(images)
        return shows_gray(sample_images(self.gan.evaluated, shown, self.gan.latents))


def shows_gray(images: Tensor) -> bool:
    """Whether images (n, channels, height, width) in [-1, 1] are of one colour, but for what a generator leaves."""
    spread = (images.amax(1) - images.amin(1)).mean() * 127.5
    return float(spread) < GRAY_SPREAD


def open_run(
    folder: str | Path,
    *,
    cfg: str | Path | None = None,
    studiogan: str | Path | None = None,
    step: Literal["best", "newest"] = "best",
) -> OpenRun:
    """Build the networks of a run, or of any checkpoint of StudioGAN's, and load its weights; nothing is written.

    They are on the GPU where there is one. Without a StudioGAN the embedded networks stand in for resnet at 32x32.

    Args:
        folder: the checkpoint's.
        cfg: the config that trained it; by default the one that rcas.json records, or StudioGAN's own of the run's name.
        studiogan: the root folder of a StudioGAN; by default as `find_studiogan` finds it.
        step: the best state, or the newest; where a folder holds no best state, the newest is taken.

    Raises:
        RcasError: the checkpoint or its config is not there, or they do not fit; or the config needs a StudioGAN.
    """
    root, record = Path(folder), read_record(folder)
    best = step == "best" and _has_best(root)
    files = checkpoint_files(root, best=best)
    content = read_checkpoint(files["D"])
    missing: RcasError | None = None
    source: Path | None = None
    try:
        source = find_studiogan(studiogan)
    except RcasError as error:
        if studiogan is not None:
            raise
        missing = error
    config = find_config(source, root, record, str(content.get("run_name", "")), None if cfg is None else Path(cfg))
    size, num_classes = (_number(config, root, key) for key in ("img_size", "num_classes"))
    with seeded(0, torch.device("cpu")):  # networks are drawn before they are loaded
        gan = _load(config, root, source, missing, best=best)
    for network in gan.networks.values():
        network.eval()
    path = files.get("G_ema", files["G"]) if gan.ema is not None else files["G"]
    facts = CheckpointFile(root, path, hashlib.sha256(path.read_bytes()).hexdigest(), int(content.get("step", 0)))
    return OpenRun(gan, _names(record, num_classes), tuple(sorted(record.slots)), size, config, facts, record)


def _load(config: Mapping[str, Any], folder: Path, studiogan: Path | None, missing: RcasError | None, *, best: bool) -> Gan:
    if studiogan is None:
        if not _is_embedded(config):
            raise RcasError(f"the networks of {folder} are StudioGAN's, and {missing}")
        gan = embedded_gan(config, folder, best=best)
        for network in gan.networks.values():
            network.to("cuda:0" if torch.cuda.is_available() else "cpu")
        return gan
    from rcas_plugin.studiogan.networks import load_gan  # activates StudioGAN, which changes torch where there is no GPU

    try:
        return load_gan(studiogan, config, folder, best=best)
    except (ImportError, KeyError, TypeError, AttributeError) as error:  # what upstream raises for an odd config
        reason = " ".join(str(error).split())[:200]
        raise RcasError(f"--cfg: StudioGAN builds no networks of the config of {folder} ({reason}); give another file") from None


def _is_embedded(config: Mapping[str, Any]) -> bool:
    """True where the embedded networks compute what upstream's of this config do."""
    model, data = config.get("MODEL", {}), config.get("DATA", {})
    wanted = {"backbone": "resnet", "g_cond_mtd": "cBN", "g_act_fn": "ReLU", "z_prior": "gaussian", "info_type": "N/A"}
    return data.get("img_size") == 32 and all(model.get(key, value) == value for key, value in wanted.items())


def _has_best(folder: Path) -> bool:
    return folder.is_dir() and any(folder.glob("model=G-best-weights-step=*.pth"))


def _number(config: Mapping[str, Any], folder: Path, key: str) -> int:
    value = config.get("DATA", {}).get(key)
    if not isinstance(value, int) or value < 1:
        raise RcasError(f"--cfg: the config of {folder} holds no DATA.{key}; give the config that trained the checkpoint")
    return value


def _names(record: Record, num_classes: int) -> tuple[str | None, ...]:
    if record.labels and len(record.labels) != num_classes:
        raise RcasError(
            f"-ckpt: {RECORD} beside the checkpoint names {len(record.labels)} labels and the GAN has {num_classes}; "
            "take the config that trained it"
        )
    return record.labels or (None,) * num_classes
