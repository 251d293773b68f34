"""StudioGAN's checkpoint folders: found, read without pickled code, compared with a config's networks, recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from rcas_plugin.errors import RcasError
from rcas_plugin.files import atomic_path, write_json
from rcas_plugin.fold import fold_state
from rcas_plugin.labels import LabelPlan
from rcas_plugin.settings import RcasSettings

#: Written beside the checkpoint files by every run under the plugin: class behind each label, and the swap if it was one.
RECORD = "rcas.json"


def checkpoint_files(folder: str | Path, *, best: bool = False) -> dict[str, Path]:
    """The files of a checkpoint by network: `G`, `D` and, where it is there, `G_ema`.

    Raises:
        RcasError: the folder or one of G and D is missing.
    """
    root, when = Path(folder), "best" if best else "current"
    if not root.is_dir():
        raise RcasError(f"-ckpt: there is no folder {root}; give the folder that holds model=G-{when}-weights-step=….pth")
    found = {}
    for network in ("G", "D", "G_ema"):
        start = f"model={network}-{when}-weights-step="
        files = sorted(path for path in root.iterdir() if path.name.startswith(start) and path.suffix == ".pth")
        if files:
            found[network] = files[0]
        elif network != "G_ema":
            raise RcasError(f"-ckpt: {root} holds no {start}….pth; give the folder of a whole StudioGAN checkpoint")
    return found


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of one checkpoint file, on the CPU.

    Raises:
        RcasError: the file is truncated, holds code, or is no StudioGAN checkpoint.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types here, and none of them names the file
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise RcasError(f"-ckpt: {path} cannot be read ({reason}); put a whole checkpoint file in its place") from None
    if not isinstance(content, dict) or "state_dict" not in content:
        raise RcasError(f"-ckpt: {path} is no StudioGAN checkpoint; it holds no state_dict")
    return content


def read_states(folder: str | Path, *, best: bool = False, folded: bool = False) -> dict[str, dict[str, Any]]:
    """The state dicts of a checkpoint folder: `generator`, `discriminator`, `ema` (where it has no file, G's own).

    Args:
        folder: of the checkpoint.
        best: take the best and not the newest.
        folded: fold what a method has put around the weights.
    """
    files = checkpoint_files(folder, best=best)
    found = {"generator": files["G"], "discriminator": files["D"], "ema": files.get("G_ema", files["G"])}
    states = {network: read_checkpoint(path)["state_dict"] for network, path in found.items()}
    return {network: fold_state(state) for network, state in states.items()} if folded else states


def write_checkpoint(folder: str | Path, network: str, when: str, step: int, states: Mapping[str, Any]) -> None:
    """Write one checkpoint file under upstream's name for it, whole, and only then remove the one before it."""
    start = f"model={network}-{when}-weights-step="
    target = Path(folder) / f"{start}{step}.pth"
    with atomic_path(target) as temporary:
        torch.save(dict(states), temporary)
    for path in Path(folder).iterdir():
        if path.name.startswith(start) and path != target:
            path.unlink()


def other_size(state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], size: int) -> int:
    """What stands in a checkpoint for the config's `size`: of the first tensor that differs in one dimension of that size."""
    for key, wanted in expected.items():
        given = state[key].shape if key in state else wanted.shape
        if len(given) == len(wanted.shape):
            differing = [(a, b) for a, b in zip(given, wanted.shape, strict=True) if a != b]
            if len(differing) == 1 and differing[0][1] == size:
                return differing[0][0]
    return size


def compare(
    state: Mapping[str, torch.Tensor],
    expected: Mapping[str, torch.Tensor],
    path: Path,
    backbone: str,
    sizes: tuple[int, int] = (0, 0),
) -> None:
    """Raise `RcasError` unless a checkpoint's tensors are those of the config's network.

    Args:
        state: the checkpoint's tensors.
        expected: the network's.
        path: of the checkpoint, for the sentence.
        backbone: likewise.
        sizes: a tensor may have the first in one dimension in which the network's has the second: numbers of labels.
    """
    missing, extra = [k for k in expected if k not in state], [k for k in state if k not in expected]
    other = [k for k in expected if k in state and not _alike(state[k].shape, expected[k].shape, sizes)]
    if not (missing or extra or other):
        return
    if missing or extra:
        what = f"it has no {missing[0]}" if missing else f"its {extra[0]} is too much"
    else:
        key = other[0]
        what = f"its {key} is {tuple(state[key].shape)}, not {tuple(expected[key].shape)}"
    raise RcasError(
        f"-ckpt: {path.name} is not of this config's {backbone} network ({what}); "
        "take the config that trained it, with its MODEL section and DATA.num_classes"
    )


def _alike(given: Sequence[int], wanted: Sequence[int], sizes: tuple[int, int]) -> bool:
    if len(given) != len(wanted):
        return False
    return [pair for pair in zip(given, wanted, strict=True) if pair[0] != pair[1]] in ([], [sizes])


def read_record(folder: str | Path) -> dict[str, Any]:
    """What a run under the plugin recorded beside its checkpoint, or an empty dictionary."""
    path = Path(folder) / RECORD
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        raise RcasError(f"-ckpt: {path} cannot be read; delete it, and name the classes in RCAS.labels") from None
    return content if isinstance(content, dict) else {}


def plain_record(names: Sequence[str]) -> dict[str, Any]:
    """The record of a run without a swap: the class behind each label."""
    return {"labels": list(names), "rcas_plugin": version("rcas-plugin")}


def swap_record(settings: RcasSettings, plan: LabelPlan, source: str | Path) -> dict[str, Any]:
    """The record of a swap: labels before and after, its settings, and the checkpoint that it started from."""
    return {
        **plain_record(plan.names),
        "labels_before": list(plan.names_before),
        "slots": {str(label): plan.names[label] for label in sorted(plan.slots)},
        "remaining": sorted(plan.remaining),
        "swap": settings.model_dump(mode="json"),
        "source": str(Path(source).resolve()),
    }


def write_record(folder: str | Path, record: Mapping[str, Any]) -> None:
    write_json(Path(folder) / RECORD, dict(record))
