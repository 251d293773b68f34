"""`rcas swap`: the common case in one command. It finds the checkpoint's config, writes the swap's, and runs main.py."""

from __future__ import annotations

import copy
import math
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rcas_plugin.checkpoints.best import kept_step
from rcas_plugin.checkpoints.folder import checkpoint_files, read_checkpoint
from rcas_plugin.data.look import folder_classes
from rcas_plugin.errors import RcasError
from rcas_plugin.files import atomic_path
from rcas_plugin.labels import DataClasses, name_labels, reference_of, resolve_labels
from rcas_plugin.record import read_record
from rcas_plugin.registry import methods
from rcas_plugin.report.page import PAGE, REPORT
from rcas_plugin.same_swap import same_swap, settings_of
from rcas_plugin.settings import ClassRef, parse_settings
from rcas_plugin.studiogan.find_config import find_config
from rcas_plugin.studiogan.main_run import run_main, training_command

#: Steps of a pre-trained GAN's first swap for each step of the pre-training, where --steps says nothing else.
SHARE = 0.2
#: How often a checkpoint is saved.
SAVES = 10
#: Name of the swap's config, which StudioGAN puts into the run's name; it is kept in the run's folder.
CONFIG = "swap.yaml"
#: What names the pre-trained labels here.
LABELS = "--labels"


@dataclass(frozen=True)
class SwapPlan:
    """The config and the command of a swap that `rcas swap` is about to run.

    Attributes:
        config: the swap's StudioGAN config.
        ckpt: the checkpoint that was named.
        out: where runs go.
        command: runs main.py; the config is still to be named (`command_with`).
        sentences: what the user is told first.
        done: whether the swap ended before; there is nothing to do.
    """

    config: dict[str, Any]
    ckpt: Path
    out: Path
    command: tuple[str, ...]
    sentences: tuple[str, ...]
    done: bool

    @property
    def text(self) -> str:
        """The config as YAML."""
        return yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True)

    @property
    def run(self) -> Path | None:
        """The folder of this swap's run, or None before there is one."""
        return find_run(self.out, self.ckpt, self.config["RCAS"])

    def command_with(self, config: str) -> list[str]:
        """The whole command, with the config's path."""
        return [*self.command, "-cfg", config]


def plan_swap(
    studiogan: Path,
    ckpt: Path,
    data: Path,
    slot: str,
    new: str,
    out: Path,
    *,
    cfg: Path | None = None,
    method: str = "class_swap",
    steps: int | None = None,
    new_data: Path | None = None,
    labels: Sequence[str] | None = None,
    accelerate: bool = False,
    remaining_data: str | None = None,
) -> SwapPlan:
    """Work out config and command of a swap; nothing is written.

    Args:
        studiogan: its root folder.
        ckpt: the pre-trained checkpoint's folder.
        data: the data set's folder, which holds train/<class>/.
        slot: the label that is given up: the name of its class, or an index.
        new: the new class: a folder name, or an index.
        out: where the swap's runs go; the same swap again with the same one goes on.
        cfg: the config that trained the checkpoint; by default the recorded one, or StudioGAN's own of the run's name.
        method: `RCAS.method`.
        steps: of the swap; by default a fifth of the pre-training's, or as many as the swap that it starts from took.
        new_data: a folder of the new class's images, where they are not in `data`.
        labels: class folder of each label at pre-training, where no run recorded them (`RCAS.labels`).
        accelerate: `RCAS.accelerate`.
        remaining_data: `RCAS.remaining_data`; by default the method's own.

    Raises:
        RcasError: the checkpoint, its config or the data are not there, or do not fit the swap.
    """
    record = read_record(ckpt)
    content = read_checkpoint(checkpoint_files(ckpt)["D"])
    config = copy.deepcopy(find_config(studiogan, ckpt, record, str(content.get("run_name", "")), cfg))
    num_classes, classes = _num_classes(config, ckpt), _classes(data)
    more: dict[str, Any] = {"new_data": str(new_data.resolve())} if new_data is not None else {}
    more |= {"labels": list(labels)} if labels is not None else {}
    more |= {"accelerate": True} if accelerate else {}
    more |= {"remaining_data": remaining_data} if remaining_data is not None else {}
    new_ref = reference_of(new, classes.names) if new_data is None else new

    def section_of(recorded: Sequence[str]) -> dict[str, Any]:
        names = _names(num_classes, classes, labels, recorded, new_ref, slot)
        return {"method": method, "swap": {reference_of(slot, names): new_ref}, **more}

    section: dict[str, Any] = {}
    if record.swap is not None and len(record.labels_before) == num_classes and labels in (None, [*record.labels_before]):
        section = section_of(record.labels_before)
    goes_on = bool(section) and same_swap(record, settings_of(record, section))  # the run itself was named
    if not goes_on:
        section = section_of(record.labels)
        settings = parse_settings(section)
        resolve_labels(settings, num_classes, classes, record.labels, dropped=record.dropped, former=record.former,
                       shown=methods[settings.method].shown(settings), key=LABELS)  # fmt: skip
    run = find_run(out, ckpt, section)
    options = config.setdefault("OPTIMIZATION", {})
    before = options.get("total_steps") if isinstance(options.get("total_steps"), int) else 0
    swapped = record.swap is not None  # its config has the steps of that swap, and not of the pre-training
    total = steps if steps is not None else before if swapped else math.ceil(SHARE * before / 100) * 100
    if total < 1:
        raise RcasError("--steps is missing; the config does not say how long the pre-training was")
    config["RCAS"], options["total_steps"] = section, total

    # what a swap keeps as its best is what its report shows; of other runs the newest weights are the ones that were meant
    best = run is None and record.best is not None and record.best.step == kept_step(ckpt)
    step = 0 if run is None else int(read_checkpoint(checkpoint_files(run)["D"])["step"])
    # upstream makes one step more than it was asked for, and saves that too where each step is saved
    save_freq = max(2, total // SAVES)
    command = training_command(studiogan, run or ckpt, data, out, save_freq, *(["-best"] if best else []))
    sentences = [f"{method}: label {slot} of {ckpt} becomes {new}, in {total} steps; it goes to {out}"]
    if best:
        sentences.append(f"starts from the best state of that run, step {kept_step(ckpt)}")
    if run is not None:
        sentences.append(f"goes on after step {step}, in {run}")
    seconds = record.seconds_per_step
    if seconds and step < total:
        left = (total - step) * seconds
        measured = "that run" if swapped else "the pre-training; an added loss takes longer"
        sentences.append(f"about {_minutes(left)} at the {seconds:.2g} s a step of {measured}")
    return SwapPlan(config, ckpt, out, tuple(command), tuple(sentences), done=run is not None and step >= total)


def run_swap(plan: SwapPlan) -> int:
    """Run main.py; returns its exit code. Ctrl-C reaches main.py, which saves a checkpoint.

    The config is kept in the run's folder, once there is one: what main.py refuses leaves nothing behind.
    """
    with tempfile.TemporaryDirectory(prefix="rcas-swap-") as folder:
        config = Path(folder) / CONFIG
        config.write_text(plan.text, encoding="utf-8")
        code, _ = run_main(plan.command_with(str(config)))
    if code != 2 and plan.run is not None:
        with atomic_path(plan.run / CONFIG) as temporary:
            temporary.write_text(plan.text, encoding="utf-8")
    return code


def sentences_at_end(run: Path) -> list[str]:
    """What the user is told of a run that has ended well: where it is, which state is its best, and its report."""
    record = read_record(run)
    loads = "it loads in any StudioGAN with the config that trained the first one (-ckpt)"
    if record.swaps and record.swaps[-1].apart:
        loads = "every other label is as it was to the bit; rcas memory lists its tasks, and brings them out one by one"
    sentences = [f"done: {run}", loads]
    if (best := record.best) is not None:
        sentences.append(f"its best state is step {best.step} (-best loads it): {best.why}")
    if (page := run / REPORT / PAGE).is_file():
        sentences.append(f"its report: {page}")
    return sentences


def shown(plan: SwapPlan) -> str:
    """The config and the command, as `--dry-run` prints them."""
    return f"# {CONFIG}\n{plan.text}\n{shlex.join(plan.command_with(CONFIG))}"


def find_run(out: Path, ckpt: Path, section: Mapping[str, Any]) -> Path | None:
    """The run of a swap that can be gone on with, or None: `ckpt` itself, or the newest in `out` that started from it."""
    source = ckpt.resolve()
    saved: dict[float, Path] = {}
    for folder in [ckpt, *(out / "checkpoints").glob("*")]:
        record = read_record(folder)
        if same_swap(record, settings_of(record, section)) and (folder.resolve() == source or record.source == str(source)):
            times = [path.stat().st_mtime for path in folder.glob("model=D-*.pth")]  # none where it was stopped before it saved
            saved |= {max(times): folder} if times else {}
    return saved[max(saved)] if saved else None


def _classes(data: Path) -> DataClasses:
    root = data / "train"
    if not root.is_dir():
        raise RcasError(f"--data: {data} holds no train/<class>/ folders")
    return folder_classes(root)


def _num_classes(config: dict[str, Any], ckpt: Path) -> int:
    number = config.get("DATA", {}).get("num_classes")
    if not isinstance(number, int) or number < 1:
        raise RcasError(f"--cfg: the config of {ckpt} holds no DATA.num_classes; give the config that trained the checkpoint")
    return number


def _names(
    num_classes: int,
    classes: DataClasses,
    labels: Sequence[str] | None,
    recorded: Sequence[str],
    new: ClassRef,
    slot: str,
) -> tuple[str, ...]:
    """The class of each label.

    Raises:
        RcasError: nothing says them, or the slot is one label by name and another by index, and nothing records which is meant.
    """
    new_name = new if isinstance(new, str) else classes.names[new] if new < len(classes.names) else ""
    number = reference_of(slot, ())
    index = number if isinstance(number, int) and number < num_classes else None
    slots = [slot if index is None else index]
    names, how = name_labels(num_classes, classes.names, labels, recorded, {new_name}, slots=slots, key=LABELS)
    guessed = how in ("folders", "other folders")
    if guessed and index is not None and slot in names and names[index] != slot:
        raise RcasError(
            f"--slot: {slot} is the class of label {names.index(slot)}, and label {slot} has the class {names[index]!r}, "
            f"by a guess; give {LABELS} {' '.join(names)}, or other names, and in --slot the class by its name"
        )
    return names


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
