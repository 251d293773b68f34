"""StudioGAN's checkpoint folders: found, read without pickled code, compared with a config's networks."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rcas_plugin.errors import RcasError
from rcas_plugin.files import atomic_path
from rcas_plugin.safe_load import load
from rcas_plugin.weights.adapters import fold_state

#: Upstream's names of the networks, in the order in which it saves them.
NETWORK_FILES = ("G", "D", "G_ema")


def checkpoint_files(folder: str | Path, *, best: bool = False) -> dict[str, Path]:
    """The files of a checkpoint by network: `G`, `D` and, where it is there, `G_ema`.

    Args:
        folder: of the checkpoint.
        best: take the best and not the newest; a folder of best weights alone has no others.

    Raises:
        RcasError: the folder or one of G and D is missing.
    """
    root, when = Path(folder), "best" if best or holds_best_alone(folder) else "current"
    if not root.is_dir():
        raise RcasError(f"-ckpt: there is no folder {root}; give the folder that holds model=G-{when}-weights-step=….pth")
    saved = {network: _saved(root, network, when) for network in NETWORK_FILES}
    for network in ("G", "D"):
        if not saved[network]:
            start = f"model={network}-{when}-weights-step="
            raise RcasError(f"-ckpt: {root} holds no {start}….pth; give the folder of a whole StudioGAN checkpoint")
    if not saved["G_ema"]:
        del saved["G_ema"]
    # a process that was killed as it saved leaves some files of the newest step and all of the one before
    whole = set.intersection(*map(set, saved.values()))
    return {network: paths[max(whole or paths)] for network, paths in saved.items()}


def _saved(folder: Path, network: str, when: str) -> dict[int, Path]:
    """Step -> the file of a network; of names without a number the step is -1."""
    start = f"model={network}-{when}-weights-step="
    return {step_of(path): path for path in sorted(folder.iterdir()) if path.name.startswith(start) and path.suffix == ".pth"}


def step_of(path: Path) -> int:
    """The step in the name of a checkpoint file; -1 where it is no number."""
    number = path.stem.rpartition("step=")[2]
    return int(number) if number.isdecimal() and len(number) < 19 else -1


def holds_best_alone(folder: str | Path) -> bool:
    """True where a checkpoint folder has best weights and no newest ones."""
    names = [path.name for path in Path(folder).glob("model=*-weights-step=*.pth")]
    return any("-best-" in name for name in names) and not any("-current-" in name for name in names)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of one checkpoint file, on the CPU; read alike whoever asks, StudioGAN activated or not.

    Raises:
        RcasError: the file is truncated, holds code, or is no StudioGAN checkpoint.
    """
    try:
        with warnings.catch_warnings():  # of files that are none of torch's, which the sentence says
            warnings.simplefilter("ignore")
            content = load(path)
    except Exception as error:  # torch raises many types here, and none of them names the file
        raise RcasError(f"-ckpt: {path} cannot be read: {_reason(path, error)}") from None
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise RcasError(f"-ckpt: {path} is no StudioGAN checkpoint; it holds no state_dict")
    return content


def _reason(path: Path, error: Exception) -> str:
    """The reason why torch does not load a file, and the cure; torch's own messages do not name the file or a cure."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}; put a file that can be read in its place"
    refused = re.search(r"GLOBAL ([\w.]+)", str(error))
    if refused is not None:
        return f"it holds objects of type {refused[1]}, which are not allowed in a checkpoint; save tensors and numbers alone"
    if zipfile.is_zipfile(path):
        return "it is damaged, or holds something else than tensors and numbers; put a whole checkpoint file in its place"
    with path.open("rb") as file:
        cut = file.read(2) == b"PK"
    return f"it is {'cut short' if cut else 'cut short, or no file of torch'}; put a whole checkpoint file in its place"


def read_states(folder: str | Path, *, best: bool = False, folded: bool = False) -> dict[str, dict[str, Any]]:
    """The state dicts of a checkpoint folder: `generator`, `discriminator`, `ema` (where it has no file, G's own).

    Args:
        folder: of the checkpoint.
        best: take the best and not the newest.
        folded: fold what a method has put around the weights.
    """
    files = checkpoint_files(folder, best=best)
    paths = {"generator": files["G"], "discriminator": files["D"], "ema": files.get("G_ema", files["G"])}
    states = {network: read_checkpoint(path)["state_dict"] for network, path in paths.items()}
    return {network: fold_state(state) for network, state in states.items()} if folded else states


def write_checkpoint(folder: str | Path, network: str, when: str, step: int, states: Mapping[str, Any]) -> None:
    """Write one checkpoint file under upstream's name for it, whole; once each network has one of this step, remove the others.

    So a process that is killed at any moment leaves all files of one step, which `checkpoint_files` takes.
    """
    root = Path(folder)
    target = root / f"model={network}-{when}-weights-step={step}.pth"
    with atomic_path(target) as temporary:
        torch.save(dict(states), temporary)
    saved = [paths for paths in (_saved(root, name, when) for name in NETWORK_FILES) if paths]
    if all(step in paths for paths in saved):
        for path in (path for paths in saved for at, path in paths.items() if at != step):
            path.unlink()
    else:  # of a network that is not saved any more there is never a new file
        for at, path in sorted(_saved(root, network, when).items())[:-2]:
            if at != step:
                path.unlink()


def settle(folder: str | Path) -> None:
    """Remove what a process that was killed as it saved has left beside a whole checkpoint: StudioGAN would take any of it."""
    for when in ("current", "best"):
        names = {
            path.name for paths in (_saved(Path(folder), network, when) for network in NETWORK_FILES) for path in paths.values()
        }
        try:
            whole = {path.name for path in checkpoint_files(folder, best=when == "best").values()}
        except RcasError:  # no checkpoint of this kind, or half of the first one
            continue
        for name in names - whole:
            (Path(folder) / name).unlink()


def labels_in(
    state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], more: Mapping[str, torch.Tensor], labels: int
) -> int:
    """The number of labels of a checkpoint's network; `labels` where its tensors do not tell.

    Args:
        state: the checkpoint's tensors.
        expected: the tensors of a network of `labels` labels.
        more: of one label more.
        labels: K.
    """
    for key, tensor in expected.items():
        if key in state and state[key].ndim == tensor.ndim:
            for size, here, there in zip(state[key].shape, tensor.shape, more[key].shape, strict=True):
                if there != here and (size - here) % (there - here) == 0 and size > here - labels * (there - here):
                    return labels + (size - here) // (there - here)
    return labels


def compare(state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], path: Path, backbone: str) -> None:
    """Raise `RcasError` unless a checkpoint's tensors are those of the config's network.

    Args:
        state: the checkpoint's tensors.
        expected: the network's.
        path: of the checkpoint, for the sentence.
        backbone: likewise.
    """
    missing, extra = [k for k in expected if k not in state], [k for k in state if k not in expected]
    reshaped = [k for k in expected if k in state and state[k].shape != expected[k].shape]
    if not (missing or extra or reshaped):
        return
    if missing or extra:
        difference = f"it has no {missing[0]}" if missing else f"its {extra[0]} is too much"
    else:
        key = reshaped[0]
        difference = f"its {key} is {tuple(state[key].shape)}, not {tuple(expected[key].shape)}"
    raise RcasError(
        f"-ckpt: {path.name} is not of this config's {backbone} network ({difference}); "
        "take the config that trained it, with its MODEL section and DATA.num_classes"
    )
