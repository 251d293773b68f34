"""The report of one or several swaps: one HTML file with its pictures inside, and the same pictures as PNG files beside it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from rcas_plugin.files import remove_leftovers, safe_stem
from rcas_plugin.metrics.swap import NEAREST
from rcas_plugin.report.figures import distances, duration, first_to_reach, numbers, reached, rows_of_labels, rows_of_parts
from rcas_plugin.report.forgetting import HEADS, forgetting_rows, sequence_sentence
from rcas_plugin.report.lineage import lineage_rows
from rcas_plugin.report.pictures import draw_before_after, draw_confusion, draw_curves, draw_edits, draw_neighbours
from rcas_plugin.report.runs import Group, Run, common_level, find_runs, group, panels
from rcas_plugin.report.second import SHOWN, agreement, second_rows
from rcas_plugin.report.tasks import TASK_HEADS, draw_lineage, task_rows
from rcas_plugin.report.template import write_template
from rcas_plugin.report.utility import Section as UtilitySection
from rcas_plugin.report.utility import utility_section
from rcas_plugin.report.verdict import verdict
from rcas_plugin.watch.observer import load_neighbours
from rcas_plugin.watch.snapshots import FOLDER, load_snapshot, moments

#: The page's file, and the folder of a run's own page.
PAGE, REPORT = "report.html", "report"
#: The most labels in the pictures; slots come first.
ROWS = 12
#: The most classes in the picture of the confusion.
CLASSES = 40


@dataclass(frozen=True)
class Picture:
    """A PNG file of the report.

    Attributes:
        path: where it is.
        caption: said under it.
        text: what it shows, for who cannot see it.
    """

    path: Path
    caption: str
    text: str

    @property
    def data(self) -> str:
        return "data:image/png;base64," + base64.b64encode(self.path.read_bytes()).decode()


@dataclass
class Section:
    """The part of the page on one group of runs."""

    name: str
    verdict: str
    numbers: list[dict[str, Any]]
    distances: list[tuple[str, str]]
    rows: list[list[str]]
    labels: list[list[str]]
    lineage: list[list[str]] = field(default_factory=list)
    sequence: str = ""
    states: list[Picture] = field(default_factory=list)
    tasks: list[list[str]] = field(default_factory=list)
    forgetting: list[list[str]] = field(default_factory=list)
    images: list[Picture] = field(default_factory=list)
    layers: list[Picture] = field(default_factory=list)
    neighbours: list[Picture] = field(default_factory=list)
    authentic: str = ""
    confusion: list[Picture] = field(default_factory=list)
    utility: UtilitySection | None = None
    edited: str = ""
    judge: str = ""
    best: str = ""
    settings: str = ""
    facts: list[tuple[str, str]] = field(default_factory=list)


def write_report(folders: Sequence[Path], out: Path) -> Path:
    """Write `out/report.html` and its PNG files.

    Args:
        folders: of runs; each a run's checkpoint folder, or one that holds `checkpoints/` of several.
        out: a folder, made where it is not there.

    Returns:
        The page's path.

    Raises:
        RcasError: a folder holds no metrics of a swap.
    """
    groups = group(find_runs(folders))
    remove_leftovers(out)
    level = common_level(groups)
    curves = []
    for file, panel in panels(groups).items():
        quantity = next(iter(panel))
        distance = file == "curve_distance"
        draw_curves(out / f"{file}.png", panel, logarithmic=[quantity] if distance else [],
                    levels={quantity: level} if distance and level is not None else None,
                    marked={group.name: group.best_steps for group in groups})  # fmt: skip
        curves.append(
            Picture(out / f"{file}.png", "", f"{quantity} over the steps of {', '.join(group.name for group in groups)}")
        )
    sections = [_section(group, out / _file_name(index, group, groups)) for index, group in enumerate(groups)]
    content = {
        "title": _title(groups),
        "sections": sections,
        "curves": curves,
        "level": level,
        "reached": [reached(group, level) for group in groups] if level is not None else [],
        "several": len(groups) > 1,
        "first": first_to_reach(groups, level) if level is not None else "",
        "forgetting_heads": HEADS,
        "task_heads": TASK_HEADS,
        "second": second_rows(groups),
        "second_heads": [name for _, _, name in SHOWN],
        "agreement": agreement(groups),
        "seeds": max(len(group.runs) for group in groups),
    }
    return write_template("page.html", content, out / PAGE)


def _section(group: Group, stem: Path) -> Section:
    run = group.runs[0]
    section = Section(
        group.name, verdict(run), numbers(group), distances(group), rows_of_parts(run), rows_of_labels(run), lineage_rows(run)
    )
    section.sequence, section.forgetting = sequence_sentence(run), forgetting_rows(run)
    section.tasks = task_rows(run)
    if section.lineage:
        path = stem.with_name(f"{stem.name}_lineage.png")
        draw_lineage(path, run.record.swaps)
        section.states = [Picture(path, "", "The states of the lineage, each behind the one that its swap started from")]
    section.images = _images(run, stem)
    _add_edits(section, run, stem)
    _add_neighbours(section, run, stem)
    section.utility = utility_section(run.folder)
    confusion, classes = run.kept["confusion"], run.metrics["judge"]["classes"]
    if len(classes) <= CLASSES:
        names = {f"{label}: {run.metrics['labels'][int(label)]}": counts for label, counts in confusion.items()}
        draw_confusion(stem.with_name(f"{stem.name}_confusion.png"), names, classes)
        section.confusion = [Picture(stem.with_name(f"{stem.name}_confusion.png"), "images of each label, in percent",
                                     "Matrix: labels down, the class that the judge sees across")]  # fmt: skip
    if run.metrics.get("best"):
        why = run.metrics["best"].get("why") or "no reason is recorded"
        section.best = f"The best state is step {run.kept_step}: {why}. StudioGAN's -best loads it."
    judge = run.metrics["judge"]
    new = [slot["new"] for slot in run.metrics["slots"].values()]
    by_class = "; ".join(
        f"of {name} {judge['accuracy_by_class'][name]:.1%}" for name in new if name in judge["accuracy_by_class"]
    )
    section.judge = (
        f"A classifier of {len(judge['classes'])} classes, trained on the real images; right on {judge['accuracy']:.1%} of "
        f"{judge['held_out']} that it was not trained on{f' ({by_class})' if by_class else ''}. It names one of its classes "
        "whatever it is shown, and its distances compare runs on the same data only."
        + (f" {judge['about'][0].upper()}{judge['about'][1:]}." if judge["about"] else "")
    )
    section.settings = yaml.safe_dump(dict(run.settings), sort_keys=False, allow_unicode=True)
    section.facts = _facts(group)
    return section


# pictures ------------------------------------------------------------------------------------------------------------------


def _images(run: Run, stem: Path) -> list[Picture]:
    if not (run.folder / FOLDER).is_dir():
        return []
    by_step = moments(run.folder)
    last, kept = list(by_step.values())[-1], by_step.get(-1 if run.best_step is None else run.best_step)
    names, slots = run.metrics["labels"], run.metrics["slots"]
    captions = {
        "before": ("before", "the pre-trained GAN"),
        "reinit": ("reinit", "after preparation, before any training step"),
        **({kept: ("best", f"after {run.kept_step} steps")} if kept not in (None, "reinit", last) else {}),
        **({last: ("after", f"after {last.removeprefix('step=')} steps")} if last not in ("before", "reinit") else {}),
    }
    pictures = []
    for moment, (file, when) in captions.items():
        caption = f"{when}, the best state" if moment == kept else when
        if not (run.folder / FOLDER / f"{moment}.npz").is_file():
            continue
        images, labels = load_snapshot(run.folder, moment)
        live = sorted(set(labels.tolist()), key=lambda label: (str(label) not in slots, label))[:ROWS]
        rows = {label: _row_name(label, names, slots) for label in live}
        path = stem.with_name(f"{stem.name}_{file}.png")
        draw_before_after(path, {caption: (images, labels)}, rows, per_cell=min(8, int((labels == live[0]).sum())))
        pictures.append(Picture(path, "", f"Generated images, a row a label, {caption}: {', '.join(rows.values())}"))
    return pictures


def _row_name(label: int, names: Sequence[str], slots: Mapping[str, Any]) -> str:
    slot = slots.get(str(label))
    if slot is None:
        return names[label]
    return f"{slot['old']} → {slot['new']}" if slot["old"] is not None else f"new: {slot['new']}"


def _add_edits(section: Section, run: Run, stem: Path) -> None:
    if not run.edits:
        return
    sentences, parts = [], {}
    for role, letter in (("generator", "G"), ("discriminator", "D")):
        weights = run.edits.get(role, {})
        changed, total = (sum(edit[key] for edit in weights.values()) for key in ("changed", "of"))
        parts[letter] = {name: edit["changed"] / edit["of"] for name, edit in weights.items() if edit["changed"]}
        sentences.append(f"{changed:,} of {total:,} numbers of {letter} ({changed / max(1, total):.2%}), in {len(parts[letter])} "
                         f"of {len(weights)} weights")  # fmt: skip
    section.edited = f"Before the first step the method changed {' and '.join(sentences)}."
    if any(parts.values()):
        path = stem.with_name(f"{stem.name}_layers.png")
        draw_edits(path, parts)
        section.layers = [Picture(path, "what part of each weight was changed before the first step", section.edited)]


def _add_neighbours(section: Section, run: Run, stem: Path) -> None:
    pairs: dict[str, tuple[Tensor, Tensor, list[float]]] = {
        run.metrics["labels"][label]: neighbours for label, neighbours in load_neighbours(run.folder).items()
    }
    if not pairs:
        return
    path = stem.with_name(f"{stem.name}_neighbours.png")
    draw_neighbours(path, pairs)
    text = "Generated images of the new class, and under each the nearest real image with its distance in the judge's features"
    section.neighbours = [Picture(path, "the nearest real image of each, and its distance in the judge's features", text)]
    authentic = [value for value in run.kept.get("neighbours", {}).get("authentic", {}).values() if value is not None]
    if authentic:
        share = sum(authentic) / len(authentic)
        section.authentic = (
            f"{share:.0%} of the new class's images are farther from their nearest real image than that one is from any other "
            f"real image; near 0 % would mean copies of the training images{': these look memorised.' if share < 0.1 else '.'}"
        )


def _facts(group: Group) -> list[tuple[str, str]]:
    metrics, record = group.runs[0].metrics, group.runs[0].record
    return [
        ("runs", ", ".join(run.folder.name for run in group.runs)),
        ("pre-trained checkpoint", record.source or "not recorded"),
        ("generated images a label", str(metrics["images_a_label"])),
        ("neighbours of precision to coverage", f"{NEAREST}, fewer where there are fewer images"),
        ("time of the evaluations", duration(sum(moment["evaluation_s"] for run in group.runs for moment in run.steps.values()))),
        *((key, str(metrics.get(key) or "not known")) for key in ("machine", "python", "torch", "commit", "date", "command")),
    ]


def _title(groups: Sequence[Group]) -> str:
    swaps = {
        ", ".join(f"{slot['old']} → {slot['new']}" if slot["old"] is not None else f"new class {slot['new']}"
                  for slot in run.metrics["slots"].values()): None
        for group in groups for run in group.runs
    }  # fmt: skip
    return "Class swap: " + "; ".join(swaps)


def _file_name(index: int, group: Group, groups: Sequence[Group]) -> str:
    """The stem of the group's picture files: its method, made safe, as a stranger's record may hold any text there."""
    method = _method_stem(group)
    alike = [other for other in groups if _method_stem(other).lower() == method.lower()]
    return method if len(alike) == 1 else f"{method}_{index + 1}"


def _method_stem(group: Group) -> str:
    return safe_stem(group.runs[0].settings.get("method", "run"))
