"""`rcas doctor --data`: a diagnosis of data, checkpoint and config before a swap. They are only read."""

from __future__ import annotations

import contextlib
import difflib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import yaml

from rcas_plugin.checkpoints.folder import checkpoint_files, read_checkpoint
from rcas_plugin.data.check import WITHOUT, Preparation, contents, notes, problems, summary
from rcas_plugin.data.look import DatasetLook, look_at
from rcas_plugin.errors import RcasError
from rcas_plugin.labels import How, name_labels
from rcas_plugin.record import Record, read_record
from rcas_plugin.studiogan.data import AS_THEY_ARE, TORCHVISION

#: What upstream takes where a config does not say.
_DEFAULTS = {"name": "CIFAR10", "img_size": 32, "num_classes": 10}
#: What the labels' names are taken from, in words.
_HOW: dict[How, str] = {
    "recorded": "as recorded beside the checkpoint",
    "folders": "guessed: as many folders as labels, in order; set RCAS.labels if they were others",
}
#: How classes and labels are listed: so many, then a number.
_LISTED = 50


@dataclass
class Diagnosis:
    """The diagnosis of a data set, a checkpoint and a config.

    Attributes:
        lines: what was seen, in order.
        refused: what a swap would be refused for, a sentence each.
        to_do: what to do, where nothing is refused.
    """

    lines: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    to_do: list[str] = field(default_factory=list)

    def say(self, what: str, text: str, more: Sequence[str] = ()) -> None:
        self.lines.append(f"{what:13} {text}")
        self.lines += [f"{'':13} {line}" for line in more]

    @property
    def text(self) -> str:
        end = [f"Refused: {sentence}" for sentence in self.refused] or self.to_do
        return "\n".join([*self.lines, "", *end])


def diagnose(data: Path, ckpt: Path | None = None, cfg: Path | None = None) -> Diagnosis:
    """The diagnosis of a data set, and of a checkpoint and a config where they are named, read as a swap reads them.

    Args:
        data: the data set's folder, which holds train/<class>/.
        ckpt: the pre-trained checkpoint's folder.
        cfg: the config that trained it; by default the recorded one.

    Raises:
        RcasError: `cfg` cannot be read. All else that is wrong is in the diagnosis.
    """
    diagnosis = Diagnosis()
    record = _record(diagnosis, ckpt)
    config = _config(cfg, record)
    section = config.get("DATA")
    config_data = {**(_DEFAULTS if config else {}), **(section if isinstance(section, dict) else {})}
    look = _look_at_data(diagnosis, data, config_data)
    labels = None
    if ckpt is not None:
        _look_at_files(diagnosis, ckpt)
        labels = _look_at_labels(diagnosis, record, config_data, look)
    if config:
        needs = ", ".join(f"{key} {config_data[key]}" for key in _DEFAULTS)
        diagnosis.say("config", f"{cfg or 'recorded beside the checkpoint'}: {needs}")
        if ckpt is None and look is not None:
            _compare_counts(diagnosis, look, config_data["num_classes"])
    elif ckpt is not None:
        diagnosis.say("config", "not recorded beside the checkpoint; give the file that trained it with --cfg")
    if ckpt is not None and look is not None:
        diagnosis.to_do += _commands(data, ckpt, cfg, labels, look)
    elif not diagnosis.refused:
        diagnosis.to_do.append(
            "Nothing to do for the data. With --ckpt DIR the labels and the command of a swap are looked at too."
        )
    return diagnosis


# data ------------------------------------------------------------------------------------------------------------------------


def _look_at_data(diagnosis: Diagnosis, data: Path, config_data: dict[str, Any]) -> DatasetLook | None:
    name = str(config_data.get("name", ""))
    if name in TORCHVISION:
        diagnosis.say("data", f"{name} comes from torchvision, 32x32; folders in {data} are not read")
        return None
    if not (data / "train").is_dir():
        _look_at_hdf5(diagnosis, data)
        return None
    size = config_data.get("img_size")
    try:
        look = look_at(data / "train")
    except RcasError as error:
        diagnosis.refused.append(str(error))
        return None
    preparation = Preparation(size if isinstance(size, int) else 0, "lanczos", name not in AS_THEY_ARE, name)
    if name in AS_THEY_ARE:
        preparation = Preparation(preparation.img_size, WITHOUT, False, name)
    counts = [f"{label} ({count:,})" for label, count in look.listing.counts.items()]
    diagnosis.say("data", str(data / "train"))
    diagnosis.say("classes", f"{len(counts)}: {_listed(counts)}")
    if preparation.img_size:
        diagnosis.say("images", summary(look, preparation), notes(look, preparation))
        diagnosis.refused += problems(look, preparation)
        _say_option(diagnosis, look, preparation)
    else:
        unsized = Preparation(0, "lanczos")
        diagnosis.say("images", contents(look), notes(look, unsized))
        diagnosis.refused += problems(look, unsized)
    for path in list(look.broken)[1:]:  # the first is in the refusal
        diagnosis.lines.append(f"{'':13} {look.broken[path]}")
    _look_at_valid(diagnosis, data / "valid", look, preparation)
    return look


def _say_option(diagnosis: Diagnosis, look: DatasetLook, preparation: Preparation) -> None:
    """Note the option that main.py needs for images of these sizes."""
    without = Preparation(preparation.img_size, WITHOUT, preparation.crops, preparation.name)
    if preparation.crops and set(problems(look, without)) - set(problems(look, preparation)):
        diagnosis.say("option", "--pre_resizer lanczos, for main.py; rcas swap gives it by itself")


def _look_at_valid(diagnosis: Diagnosis, root: Path, train: DatasetLook, preparation: Preparation) -> None:
    if not root.is_dir():
        diagnosis.say("valid", f"there is no folder {root}: metrics compare with train/, and -ref valid is refused")
        return
    look = look_at(root)
    lacking = [name for name in train.listing.files if not look.listing.counts.get(name)]
    more = [f"with -ref valid it would be refused: {sentence}" for sentence in problems(look, preparation)]
    if lacking:
        more.append(f"no images of {_listed(lacking)}")
    diagnosis.say("valid", f"{contents(look)}; for -ref valid", more)


def _look_at_hdf5(diagnosis: Diagnosis, data: Path) -> None:
    paths = sorted(data.glob("*.hdf5")) if data.is_dir() else []
    if not paths:
        diagnosis.refused.append(f"-data: {data} holds no train/<class>/ folders and no HDF5 file; put the images there")
    for path in paths:
        try:
            with h5py.File(path, "r") as file:
                images, classes = file["imgs"], len(set(file["labels"][:].tolist()))
                size = "x".join(map(str, images.shape[1:]))
                diagnosis.say(
                    "data", f"{path}: {images.shape[0]:,} images of {size} {images.dtype}, {classes} classes; read with -hdf5"
                )
        except (OSError, KeyError):
            diagnosis.refused.append(f"-data: {path} cannot be read; delete it, or put it back whole")


# checkpoint and config -------------------------------------------------------------------------------------------------------


def _record(diagnosis: Diagnosis, ckpt: Path | None) -> Record:
    try:
        return Record() if ckpt is None else read_record(ckpt)
    except RcasError as error:
        diagnosis.refused.append(str(error))
        return Record()


def _config(cfg: Path | None, record: Record) -> dict[str, Any]:
    if cfg is None:
        return dict(record.config or {})
    try:
        content = yaml.safe_load(cfg.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RcasError(f"--cfg: {cfg} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise RcasError(f"--cfg: {cfg} is no StudioGAN config; it holds sections (DATA:, MODEL:, …) of keys")
    return content


def _look_at_files(diagnosis: Diagnosis, ckpt: Path) -> None:
    """Read every file of weights to its end, and note which are whole."""
    try:
        newest = checkpoint_files(ckpt)
    except RcasError as error:
        diagnosis.refused.append(str(error))
        return
    read = []
    for path in sorted(ckpt.glob("model=*-weights-step=*.pth")):
        try:
            content = read_checkpoint(path)
        except RcasError as error:
            if path in newest.values():
                diagnosis.refused.append(str(error))
            else:
                read.append(f"{path.name}: damaged, and not used by a swap")
            continue
        step = f", step {content['step']}" if "step" in content else ""
        read.append(f"{path.name}: whole{step}")
    with contextlib.suppress(RcasError):  # of a damaged record, which is said where the labels are looked at
        if (best := read_record(ckpt).best) is not None:
            read.append(f"the best state of that run is step {best.step}: {best.why}")
    diagnosis.say("checkpoint", str(ckpt), read)


def _look_at_labels(
    diagnosis: Diagnosis, record: Record, config_data: dict[str, Any], look: DatasetLook | None
) -> list[str] | None:
    """Note the class of each label; returns the names, or None where they are not known."""
    folders = {} if look is None else look.listing.counts
    recorded, number = record.labels, config_data.get("num_classes")
    size = number if isinstance(number, int) else len(recorded)
    if recorded and size != len(recorded):
        diagnosis.refused.append(
            f"DATA.num_classes: {number}, and the checkpoint records {len(recorded)} labels; set it to {len(recorded)}"
        )
        size = len(recorded)
    try:
        labels, how = name_labels(size, tuple(folders), recorded=recorded)
    except RcasError:
        more = f" ({number} labels, {len(folders)} folders)" if number is not None else ""
        diagnosis.say("labels", f"not known{more}: list the class folder of each label at pre-training in RCAS.labels, in order")
        return None
    free = [name for name in folders if name not in labels]
    shown = []
    for label, name in enumerate(labels[:_LISTED]):
        if folders.get(name):
            shown.append(f"label {label}: {name} ({folders[name]:,} images)")
        else:
            near = difflib.get_close_matches(name, free, 1) if look is not None else []
            fault = "an empty folder" if name in folders else "no folder of that name" if look is not None else ""
            hint = (
                f"; is it {near[0]}? A folder that was renamed is given its old name back, or listed in RCAS.labels"
                if near
                else ""
            )
            shown.append(f"label {label}: {name}" + (f", {fault}{hint}" if fault else ""))
    if len(labels) > _LISTED:
        shown.append(f"and {len(labels) - _LISTED:,} more")
    if free:
        shown.append(f"folders without a label, so new: {_listed(free)}")
    diagnosis.say("labels", _HOW[how], shown)
    return list(labels)


def _compare_counts(diagnosis: Diagnosis, look: DatasetLook, labels: Any) -> None:
    """Compare the number of class folders with the number of labels, which are equal for a pre-training."""
    count = len(look.listing.files)
    if isinstance(labels, int) and count > labels:
        diagnosis.refused.append(f"DATA.num_classes: {labels}, and {look.listing.root} holds {count} classes; set it to {count}")
    elif isinstance(labels, int) and count < labels:
        diagnosis.lines.append(
            f"{'':13} {labels - count} of its {labels} labels have no class folder; set DATA.num_classes to {count}"
        )


def _commands(data: Path, ckpt: Path, cfg: Path | None, labels: list[str] | None, look: DatasetLook) -> list[str]:
    """The lines of a `rcas swap` command, with the classes filled in where data and labels tell them."""
    counts = look.listing.counts
    without = [name for name in labels or () if not counts.get(name)]
    free = [name for name, count in counts.items() if count and labels is not None and name not in labels]
    old, new = (without or ["OLD"])[0], (free or ["NEW"])[0]
    command = ["rcas", "swap", "--ckpt", str(ckpt), "--data", str(data), "--slot", old, "--new", new]
    lines = ["To do: " + shlex.join(command + (["--cfg", str(cfg)] if cfg is not None else []))]
    if not without:
        lines.append(f"       OLD is the class that is given up{': ' + _listed(labels, ' or ') if labels else ''}")
    if not free:
        lines.append(f"       NEW is the new class: put its folder into {look.listing.root}, or name it with --new-data")
    return lines


def _listed(names: Sequence[str], between: str = ", ") -> str:
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return between.join(names[:_LISTED]) + more
