"""The report of one or several swaps: one HTML file with its pictures inside, and the same pictures as PNG files beside it."""

from __future__ import annotations

import base64
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from torch import Tensor

from rcas_plugin.files import atomic_path, remove_leftovers, safe_stem
from rcas_plugin.metrics.swap import NEAREST, SET_METRICS
from rcas_plugin.report.pictures import draw_before_after, draw_confusion, draw_curves, draw_edits, draw_neighbours
from rcas_plugin.report.runs import Group, Interval, Run, common_level, find_runs, group, panels
from rcas_plugin.watch.observer import load_neighbours
from rcas_plugin.watch.snapshots import FOLDER, load_snapshot, moments

#: The page's file, and the folder of a run's own page.
PAGE, REPORT = "report.html", "report"
#: The most labels in the pictures; slots come first.
ROWS = 12
#: The most classes in the picture of the confusion.
CLASSES = 40
#: What the verdict calls there, gone and intact: the part of its images that shows the new class, the part that shows the old
#: one, and what the remaining labels may lose.
THERE, GONE, LOST = 0.8, 0.05, 0.02


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
    """What the page says of one group of runs."""

    name: str
    verdict: str
    numbers: list[dict[str, Any]]
    distances: list[tuple[str, str]]
    rows: list[list[str]]
    labels: list[list[str]]
    images: list[Picture] = field(default_factory=list)
    layers: list[Picture] = field(default_factory=list)
    neighbours: list[Picture] = field(default_factory=list)
    authentic: str = ""
    confusion: list[Picture] = field(default_factory=list)
    edited: str = ""
    judge: str = ""
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
                    levels={quantity: level} if distance and level is not None else None)  # fmt: skip
        curves.append(Picture(out / f"{file}.png", "", f"{quantity} over the steps of {', '.join(one.name for one in groups)}"))
    sections = [_section(one, out / _file_name(index, one, groups)) for index, one in enumerate(groups)]
    content = {
        "title": _title(groups),
        "sections": sections,
        "curves": curves,
        "level": level,
        "reached": [_reached(one, level) for one in groups] if level is not None else [],
        "several": len(groups) > 1,
        "first": _first(groups, level) if level is not None else "",
        "seeds": max(len(one.runs) for one in groups),
    }
    environment = Environment(loader=PackageLoader("rcas_plugin.report", "."), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    page = environment.get_template("page.html").render(content)
    path = out / PAGE
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def verdict(run: Run) -> str:
    """In a sentence: is the new class there, is the old one gone, are the others intact."""
    found, before = run.last, run.metrics.get("before", {})
    slots = run.metrics["slots"].values()
    news, olds = (" and ".join(str(slot[which]) for slot in slots if slot[which] is not None) for which in ("new", "old"))
    seen = found["new"].get("recognised")
    there = "cannot be judged" if seen is None else "is there" if seen >= THERE else "is only partly there"
    if seen is not None and seen < 0.2:
        there = "is not there"
    parts = [f"the new class {news} {there}"]
    if found["old"]:
        left = found["old"].get("left")
        parts.append(f"the old class {olds} is {'gone' if left is not None and left <= GONE else 'not gone'}")
    rest = found["remaining"].get("recognised")
    if rest is not None:
        was = before.get("remaining", {}).get("recognised")
        parts.append(
            "the remaining labels are intact" if was is None or rest >= was - LOST else "the remaining labels have suffered"
        )
    sentence = ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]
    return sentence[0].upper() + sentence[1:] + "."


def _section(one: Group, stem: Path) -> Section:
    run = one.runs[0]
    section = Section(one.name, verdict(run), _numbers(one), _distances(one), _rows(run), _labels(run))
    section.images = _images(run, stem)
    _add_edits(section, run, stem)
    _add_neighbours(section, run, stem)
    confusion, classes = run.last["confusion"], run.metrics["judge"]["classes"]
    if len(classes) <= CLASSES:
        names = {f"{label}: {run.metrics['labels'][int(label)]}": counts for label, counts in confusion.items()}
        draw_confusion(stem.with_name(f"{stem.name}_confusion.png"), names, classes)
        section.confusion = [Picture(stem.with_name(f"{stem.name}_confusion.png"), "images of each label, in percent",
                                     "Matrix: labels down, the class that the judge sees across")]  # fmt: skip
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
    section.facts = _facts(one)
    return section


# numbers -------------------------------------------------------------------------------------------------------------------


def _numbers(one: Group) -> list[dict[str, Any]]:
    """The four numbers; `value` is the one of swap_metrics.json (of the first run)."""
    last = one.runs[0].last
    elapsed = last["elapsed_s"]
    steps = list(one.runs[0].steps)[-1]
    before = one.runs[0].metrics.get("before", {}).get("remaining", {}).get("recognised")
    return [
        {"name": "new class recognised", "key": "new.recognised", "value": last["new"].get("recognised"),
         "shown": _percent(one.at_end("new", "recognised")), "note": "of the slot's images"},
        {"name": "old class left", "key": "old.left", "value": last["old"].get("left"),
         "shown": _percent(one.at_end("old", "left")), "note": "of the slot's images"},
        {"name": "remaining labels recognised", "key": "remaining.recognised", "value": last["remaining"].get("recognised"),
         "shown": _percent(one.at_end("remaining", "recognised")),
         "note": f"{before:.1%} before the swap" if before is not None else ""},
        {"name": "time", "key": "elapsed_s", "value": elapsed, "shown": duration(elapsed), "note": f"{steps:,} steps"},
    ]  # fmt: skip


def _distances(one: Group) -> list[tuple[str, str]]:
    found = {"distance to the new class": "new", "distance of the remaining": "remaining"}
    return [(name, _plain(one.at_end(part, "frechet_distance"))) for name, part in found.items()]


FIGURES = ("recognised", *SET_METRICS)


def _rows(run: Run) -> list[list[str]]:
    """Part, moment, then `FIGURES`."""
    found = {"before": run.metrics.get("before"), **{f"step {step}": values for step, values in run.steps.items()}}
    chosen = ["before", "step 0", list(found)[-1]]
    rows = []
    for part, name in (("new", "new class"), ("old", "old class"), ("remaining", "remaining labels")):
        for moment in dict.fromkeys(chosen):
            values = (found.get(moment) or {}).get(part)
            if values:
                shown = [values.get("left" if part == "old" and figure == "recognised" else figure) for figure in FIGURES]
                rows.append([name, moment, *_cells(shown)])
    return rows


def _labels(run: Run) -> list[list[str]]:
    """Label, class, part, then `FIGURES`, at the last moment."""
    return [
        [str(row["label"]), row["class"], row["part"], *_cells([row[figure] for figure in FIGURES])] for row in run.last["labels"]
    ]


def _cells(values: Sequence[float | None]) -> list[str]:
    percent = "" if values[0] is None else f"{values[0]:.1%}"
    return [percent, *("" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}" for value in values[1:])]


def _reached(one: Group, level: float) -> list[str]:
    reached = one.steps_to(level)
    seconds = [_time_at(run, step) for run, step in zip(one.runs, reached, strict=True)]
    if any(math.isinf(step) for step in reached):
        return [one.name, "not reached", ""]
    low, high = min(reached), max(reached)
    steps = f"{low:.0f}" if round(low) == round(high) else f"{low:.0f} to {high:.0f}"
    return [one.name, steps, duration(sum(seconds) / len(seconds))]


def _first(groups: Sequence[Group], level: float) -> str:
    """Which of several was at the common level first, in a sentence."""
    ranked = sorted(groups, key=lambda one: sum(one.steps_to(level)))
    if len(groups) < 2 or any(math.isinf(step) for step in ranked[0].steps_to(level)):
        return ""
    said = [f"{name} after {steps} steps ({time})" if time else f"{name} never" for name, steps, time in
            (_reached(one, level) for one in ranked)]  # fmt: skip
    return f"At a distance of {level:.3g} to the new class: {', '.join(said)}."


def _time_at(run: Run, step: float) -> float:
    """Seconds that a run had taken at a step, by linear interpolation."""
    if math.isinf(step):
        return math.inf
    known = list(run.steps.items())
    for (low, first), (high, second) in itertools.pairwise(known):
        if low <= step <= high:
            return float(first["elapsed_s"] + (step - low) / (high - low) * (second["elapsed_s"] - first["elapsed_s"]))
    return float(known[0][1]["elapsed_s"])


def _percent(interval: Interval | None) -> str:
    if interval is None:
        return "not known"
    mean, low, high = (100 * value for value in interval)
    return f"{mean:.1f} %" if low == mean == high else f"{mean:.1f} % [{low:.1f}, {high:.1f}]"


def _plain(interval: Interval | None) -> str:
    if interval is None:
        return "not known"
    mean, low, high = interval
    return f"{mean:.3g}" if low == mean == high else f"{mean:.3g} [{low:.3g}, {high:.3g}]"


def duration(seconds: float) -> str:
    """Seconds in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


# pictures ------------------------------------------------------------------------------------------------------------------


def _images(run: Run, stem: Path) -> list[Picture]:
    if not (run.folder / FOLDER).is_dir():
        return []
    last = list(moments(run.folder).values())[-1]
    names, slots = run.metrics["labels"], run.metrics["slots"]
    captions = {
        "before": ("before", "the pre-trained GAN"),
        "reinit": ("reinit", "after preparation, before any training step"),
        last: ("after", f"after {last.removeprefix('step=')} steps"),
    }
    found = []
    for moment, (file, caption) in captions.items():
        if not (run.folder / FOLDER / f"{moment}.npz").is_file():
            continue
        images, labels = load_snapshot(run.folder, moment)
        live = sorted(set(labels.tolist()), key=lambda label: (str(label) not in slots, label))[:ROWS]
        rows = {label: _row_name(label, names, slots) for label in live}
        path = stem.with_name(f"{stem.name}_{file}.png")
        draw_before_after(path, {caption: (images, labels)}, rows, per_cell=min(8, int((labels == live[0]).sum())))
        found.append(Picture(path, "", f"Generated images, a row a label, {caption}: {', '.join(rows.values())}"))
    return found


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
        changed, total = (sum(one[key] for one in weights.values()) for key in ("changed", "of"))
        parts[letter] = {name: one["changed"] / one["of"] for name, one in weights.items() if one["changed"]}
        sentences.append(f"{changed:,} of {total:,} numbers of {letter} ({changed / max(1, total):.2%}), in {len(parts[letter])} "
                         f"of {len(weights)} weights")  # fmt: skip
    section.edited = f"Before the first step the method changed {' and '.join(sentences)}."
    if any(parts.values()):
        path = stem.with_name(f"{stem.name}_layers.png")
        draw_edits(path, parts)
        section.layers = [Picture(path, "what part of each weight was changed before the first step", section.edited)]


def _add_neighbours(section: Section, run: Run, stem: Path) -> None:
    pairs: dict[str, tuple[Tensor, Tensor, list[float]]] = {
        run.metrics["labels"][label]: found for label, found in load_neighbours(run.folder).items()
    }
    if not pairs:
        return
    path = stem.with_name(f"{stem.name}_neighbours.png")
    draw_neighbours(path, pairs)
    text = "Generated images of the new class, and under each the nearest real image with its distance in the judge's features"
    section.neighbours = [Picture(path, "the nearest real image of each, and its distance in the judge's features", text)]
    authentic = [value for value in run.last.get("neighbours", {}).get("authentic", {}).values() if value is not None]
    if authentic:
        share = sum(authentic) / len(authentic)
        section.authentic = (
            f"{share:.0%} of the new class's images are farther from their nearest real image than that one is from any other "
            f"real image; near 0 % would mean copies of the training images{': these look memorised.' if share < 0.1 else '.'}"
        )


def _facts(one: Group) -> list[tuple[str, str]]:
    metrics, record = one.runs[0].metrics, one.runs[0].record
    return [
        ("runs", ", ".join(run.folder.name for run in one.runs)),
        ("pre-trained checkpoint", record.source or "not recorded"),
        ("generated images a label", str(metrics["images_a_label"])),
        ("neighbours of precision to coverage", f"{NEAREST}, fewer where there are fewer images"),
        ("time of the evaluations", duration(sum(found["evaluation_s"] for run in one.runs for found in run.steps.values()))),
        *((key, str(metrics.get(key) or "not known")) for key in ("machine", "python", "torch", "commit", "date", "command")),
    ]


def _title(groups: Sequence[Group]) -> str:
    swaps = {
        ", ".join(f"{slot['old']} → {slot['new']}" if slot["old"] is not None else f"new class {slot['new']}"
                  for slot in run.metrics["slots"].values()): None
        for one in groups for run in one.runs
    }  # fmt: skip
    return "Class swap: " + "; ".join(swaps)


def _file_name(index: int, one: Group, groups: Sequence[Group]) -> str:
    """How the group's pictures are named: by its method, which a stranger's record may have anything as."""
    method = _method_stem(one)
    alike = [other for other in groups if _method_stem(other).lower() == method.lower()]
    return method if len(alike) == 1 else f"{method}_{index + 1}"


def _method_stem(one: Group) -> str:
    return safe_stem(one.runs[0].settings.get("method", "run"))
