"""The GANs of `rcas classify`: trained on the first task, taught each later one, and drawn from."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file

from rcas_plugin.checkpoints.folder import checkpoint_files, step_of
from rcas_plugin.data.stock import Stock
from rcas_plugin.embedded import loop
from rcas_plugin.embedded.networks import with_defaults
from rcas_plugin.errors import RcasError
from rcas_plugin.files import atomic_path
from rcas_plugin.record import read_record
from rcas_plugin.sampling.build import is_trained_embedded
from rcas_plugin.sampling.replay import Replay
from rcas_plugin.settings import ClassRef
from rcas_plugin.studiogan.locate import find_studiogan
from rcas_plugin.studiogan.main_run import run_main, training_command

#: In a GAN's stage: its config. In a memory's stage: the generated images.
CONFIG, MEMORY = "config.yaml", "memory.safetensors"
#: How often a GAN that is trained is saved: what an interruption loses at the most is the time between two.
SAVES = 10


def base_config(config: Mapping[str, Any], classes: int, steps: int | None) -> dict[str, Any]:
    """The config of the first task's GAN.

    Args:
        config: as the plan names it.
        classes: of the first task.
        steps: of its training; the config's own for None.
    """
    changed = copy.deepcopy(dict(config))
    changed.pop("RCAS", None)
    # StudioGAN fetches the data sets that it knows by name, and reads the folders of any other
    changed["DATA"] = {**changed["DATA"], "name": "lifelong", "num_classes": classes}
    options = changed.setdefault("OPTIMIZATION", {})
    if steps is not None:
        options["total_steps"] = steps
    return changed


def task_section(method: str, new: Sequence[str], keys: Mapping[str, Any], classifier: Path | None) -> dict[str, Any]:
    """The RCAS section that teaches a widened GAN the classes of a task, each under its own label.

    Nothing is judged and no picture kept, unless the plan's keys ask for it.

    Args:
        method: `RCAS.method`.
        new: the task's classes.
        keys: of the plan's `gan.rcas`.
        classifier: the file of the current classifier, where the method asks for it.
    """
    section = {"method": method, "swap": {name: name for name in new}, "remaining_data": "replay", "swap_metrics": 0,
               "snapshot_images": 0, **keys}  # fmt: skip
    return section if classifier is None else {**section, "classifier": str(classifier.resolve())}


def train_gan(
    config: Mapping[str, Any], data: Path, folder: Path, start: Path | None, *, seed: int, studiogan: Path | None = None
) -> Path:
    """Train a GAN, or go on with it, to its last step; its checkpoint folder.

    The embedded loop trains where it does what main.py would, else StudioGAN's main.py does, in a process of its own. A GAN of
    the first task that the embedded loop was interrupted at starts anew; all others go on from their newest checkpoint.

    Args:
        config: of the run; with an RCAS section it starts from `start`.
        data: holds train/<class>/.
        folder: of the stage.
        start: checkpoint that it starts from; None for the first task's.
        seed: of everything that is drawn.
        studiogan: the root folder of a StudioGAN elsewhere.

    Raises:
        RcasError: the config, the data or the checkpoint do not fit; or main.py has failed.
    """
    path, embedded, begun = folder / CONFIG, is_trained_embedded(config), newest_run(folder)
    if embedded:
        config = with_defaults(config)
    if begun is not None and "classifier" in config.get("RCAS", {}):
        # its own copy goes on, wherever the output folder was when it was begun
        recorded = (read_record(begun).swap or {}).get("classifier")
        config = {**config, "RCAS": {**config["RCAS"], "classifier": recorded or config["RCAS"]["classifier"]}}
    with atomic_path(path) as temporary:
        temporary.write_text(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True), encoding="utf-8")
    if embedded and start is None and begun is not None:
        shutil.rmtree(folder / "checkpoints")
        begun = None
    steps = int(config["OPTIMIZATION"]["total_steps"])
    # upstream makes one step more than it was asked for, and saves that too where each step is saved
    save_freq = max(2, steps // SAVES)
    if embedded:
        return loop.train(path, data, folder, begun or start, seed=seed, save_freq=save_freq)
    command = training_command(
        find_studiogan(studiogan), begun or start, data, folder, save_freq, "-cfg", str(path), "--seed", str(seed)
    )
    torch.cuda.empty_cache()  # what this process holds of a GPU's memory main.py could not take
    code, interrupted = run_main(command)
    if interrupted:
        raise KeyboardInterrupt
    if code != 0:
        raise RcasError(f"main.py has ended with {code} in {folder}; the reason stands above, and the same command goes on")
    run = newest_run(folder)
    assert run is not None, "main.py has saved its last step"
    return run


def newest_run(folder: Path) -> Path | None:
    """The run in a GAN's stage that has the most steps; None before one is saved."""
    runs = [run for run in (folder / "checkpoints").glob("*") if any(run.glob("model=D-*.pth"))]
    return max(runs, key=lambda run: step_of(checkpoint_files(run)["D"]), default=None)


def draw_memory(run: Path, classes: Sequence[str], count: int, path: Path, *, seed: int, studiogan: Path | None = None) -> None:
    """Write generated images of some classes into a file, `count` of each.

    Args:
        run: the GAN's checkpoint folder; each label is made by its own state where tasks lie apart.
        classes: names of its labels; the place of each is the class of its images.
        count: of a class.
        path: of the safetensors file.
        seed: of latents and noise.
        studiogan: the root folder of a StudioGAN elsewhere.
    """
    places: dict[ClassRef, int] = {name: place for place, name in enumerate(classes)}
    replay = Replay(run, classes, seed=seed, label_map=places, studiogan=studiogan, step="newest")
    images, labels = replay.memory(count).tensors
    with atomic_path(path) as temporary:
        save_file({"images": images, "labels": labels}, temporary)


def read_memory(path: Path, classes: int) -> Stock:
    """The generated images in a file, with the places of their classes among all of so many."""
    content = load_file(path)
    return Stock(content["images"], content["labels"], classes)
