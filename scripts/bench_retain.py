"""What the `retain` loss compares: the step's own fakes, half of them, or images of a second pass through G.

    python scripts/bench_retain.py --mnist ../shared/data/mnist.npz --tiles ../shared/data/magnetic_tiles.zip

Class swaps from shared pre-trained GANs, narrower than bench_swap.py's so that they take minutes, judged as there. The forms of
a data set and seed see the same batches. Every run is a file of its own, so an interrupted grid goes on where it was. The step's
time is measured afterwards: the forms and fine-tuning take turns, step by step, in one process.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from swap_grid.data import Data, load_data
from swap_grid.gans import build, pretrained
from swap_grid.judge import Z_DIM, Judge, Swap, features
from swap_grid.parts import OPTIONS, Part
from swap_grid.runs import training_data
from torch import Tensor
from tqdm.auto import tqdm

from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.embedded.steps import Loop
from rcas_plugin.files import write_json
from rcas_plugin.gan import Gan
from rcas_plugin.labels import DataClasses, LabelPlan, resolve_labels
from rcas_plugin.methods.base import Batch, Context
from rcas_plugin.methods.class_swap.method import ClassSwap
from rcas_plugin.metrics.classifier import Classifier
from rcas_plugin.metrics.curves import mean_interval
from rcas_plugin.metrics.distances import frechet_distance
from rcas_plugin.run.lifecycle import Lifecycle
from rcas_plugin.settings import parse_settings
from rcas_plugin.studiogan.locate import REPOSITORY
from rcas_plugin.watch.machine import describe_run

PRETRAINING = {**OPTIONS, "g_lr": 5e-4, "d_lr": 5e-4}
#: Smaller than bench_swap.py's, so that a run takes minutes.
PARTS = {
    "mnist": Part("mnist", ((("9",), ("0",)),), 320, 1500, 16, (8, 16), PRETRAINING, 2),
    "tiles": Part("tiles", ((("blowhole",), ("crack",)),), 200, 1500, 32, (8, 16), PRETRAINING, 30),
}
#: Of the step that is timed: bench_swap.py's.
TIMED = Part("mnist", (), 0, 0, 32, (16, 32))
MEASUREMENTS = 4
TRAINING_BATCHES = 40  # that are looked at in training mode
FORMS = ("own pass", "step's fakes", "half of them", "no retain")


class Form(ClassSwap):
    """`class_swap` with one form of the `retain` loss: each is a batch that holds less of what the loss could use."""

    def __init__(self, context: Context, form: str) -> None:
        super().__init__(context)
        self.form = form

    def generator_loss(self, batch: Batch) -> Tensor | None:
        if self.form == "own pass":
            batch = dataclasses.replace(batch, latents=None, raw_fakes=None)
        if self.form == "half of them" and batch.latents is not None and batch.raw_fakes is not None:
            labels, latents, fakes = (part[::2] for part in (batch.fake_labels, batch.latents, batch.raw_fakes))
            batch = dataclasses.replace(batch, fake_labels=labels, latents=latents, raw_fakes=fakes)
        return super().generator_loss(batch)


@torch.no_grad()
def remaining_in_training_mode(swap: Swap, generator: torch.nn.Module, plan: LabelPlan) -> dict[str, float]:
    """The remaining labels' recognition and distance where batch norm takes the statistics of batches with all labels."""
    source, state = torch.Generator().manual_seed(1), copy.deepcopy(generator.state_dict())
    live, rest = torch.tensor(plan.live), torch.tensor(sorted(plan.remaining))
    made, shown = [], []
    generator.train()
    for _ in range(TRAINING_BATCHES):
        labels = live[torch.randint(len(live), (OPTIONS["batch_size"],), generator=source)]
        images = generator(torch.randn(len(labels), Z_DIM, generator=source), labels)
        kept = torch.isin(labels, rest)
        made.append(images[kept].float())
        shown.append(labels[kept])
    generator.load_state_dict(state)
    generator.eval()
    images, labels = torch.cat(made), torch.cat(shown)
    found = features(swap.judge.classifier, images.mean(1, keepdim=True) if swap.data.images.shape[1] == 1 else images)
    index = [swap.data.names.index(name) for name in swap.names]
    with torch.no_grad():
        seen = swap.judge.classifier.head(found).argmax(1)
    real = torch.cat([swap.judge.real[index[label]] for label in rest.tolist()])
    return {
        "remaining, training mode": float((seen == torch.tensor(index)[labels]).float().mean()),
        "remaining_distance, training mode": frechet_distance(real, found),
    }


def start(swap: Swap, gan: Gan, form: str, seed: int, **section: Any) -> tuple[Loop, LabelPlan]:
    """The loop of one form before its first step, the slot matched; plain fine-tuning for `fine_tune`.

    Args:
        swap: data, slot and new class.
        gan: the pre-trained one, trained in place.
        form: of `FORMS`, or `fine_tune`.
        seed: of what is drawn.
        section: more of the RCAS section.
    """
    data = swap.data
    section |= {"swap": dict(zip(swap.slots, swap.new, strict=True)), "method": "class_swap", "accelerate": True}
    settings = parse_settings({**section, "snapshot_images": 0, **({"retain": 0} if form == "no retain" else {})})
    counts = torch.bincount(data.classes, minlength=len(data.names)).tolist()
    plan = resolve_labels(settings, len(swap.names), DataClasses(data.names, tuple(counts)), swap.names)
    images, labels = training_data(swap, plan, 0, seed)
    context = Context(settings, plan, seed, log=lambda line: None,
                      real_images=lambda label, n: images[labels == label][:n])  # fmt: skip
    torch.manual_seed(seed)
    lifecycle = None if form == "fine_tune" else Lifecycle.begin(Form(context, form), gan, Checkpoint.of(gan))
    source = torch.Generator().manual_seed(seed + 1)
    return Loop(gan, images, labels, torch.tensor(plan.live), OPTIONS, source, lifecycle=lifecycle, accelerated=True), plan


def measure(swap: Swap, gan: Gan, plan: LabelPlan) -> dict[str, float]:
    return {
        **swap.measure(gan.generator, slot_images=500, images=125),
        **remaining_in_training_mode(swap, gan.generator, plan),
    }


def run_row(swap: Swap, gan: Gan, form: str, seed: int, steps: int) -> dict[str, Any]:
    """One swap: the slot matched, then fine-tuned, measured as it goes."""
    untouched = copy.deepcopy(gan)
    loop, plan = start(swap, gan, form, seed)
    before = measure(swap, untouched, plan)
    curve = {0: measure(swap, gan, plan)}
    for step in range(steps):
        loop.step(step)
        if (step + 1) % (steps // MEASUREMENTS) == 0:
            curve[step + 1] = measure(swap, gan, plan)
    return {"before": before, "curve": curve}


# a step's time ------------------------------------------------------------------------------------------------------------


def time_steps(rounds: int) -> dict[str, dict[str, float]]:
    """Each form's step, of fine-tuning's, by the clock and by the processor's time: medians over rounds of a step each.

    On noise with as many labels as the digits' GAN: what an image shows costs no time.
    """
    names = ("fine_tune", *(form for form in FORMS if form != "no retain"))
    classes = torch.arange(1000) % 10
    images = torch.rand(len(classes), 1, TIMED.size, TIMED.size) * 2 - 1
    data = Data(tuple("0123456789"), images, classes, images[:0], classes[:0])
    swap = Swap(data, Judge(Classifier(1, 10), 0.0, {}), ("9",), ("0",))
    loops = {name: start(swap, build(9, TIMED), name, 0, label_start={"how": "keep"})[0] for name in names}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for step in tqdm(range(rounds + 2), desc="steps in turn", unit="round", mininterval=10):
        turn = step % len(names)
        for name in names[turn:] + names[:turn]:
            began = time.perf_counter(), time.process_time()
            loops[name].step(step)
            if step > 1:  # the first two warm up
                taken[name].append((time.perf_counter() - began[0], time.process_time() - began[1]))
    plain = np.array(taken["fine_tune"])
    return {
        name: {
            "step, of fine_tune's": float(np.median(np.array(values)[:, 0] / plain[:, 0])),
            "processor time, of fine_tune's": float(np.median(np.array(values)[:, 1] / plain[:, 1])),
            "seconds": float(np.median(np.array(values)[:, 0])),
        }
        for name, values in taken.items()
    }


# the table ----------------------------------------------------------------------------------------------------------------

FIGURES = (
    "distance", "new", "old", "remaining", "remaining_distance",
    "remaining, training mode", "remaining_distance, training mode",
)  # fmt: skip
MOMENTS = (
    "pre-trained", "slot matched", "end", "state of the least distance",
    "end, less the own pass's", "at equal time, less the own pass's",
)  # fmt: skip


def summary(rows: Sequence[dict[str, Any]], own: Sequence[dict[str, Any]], speed: float) -> dict[str, Any]:
    """For each moment, each figure's mean and 95 % interval.

    Args:
        rows: of one form.
        own: of the own pass, of the same seeds.
        speed: the own pass's time of a step over this form's.
    """
    moments: dict[str, list[dict[str, float]]] = {moment: [] for moment in MOMENTS}
    for row, other in zip(rows, own, strict=True):
        curve, of_other = ({int(step): point for step, point in one["curve"].items()} for one in (row, other))
        steps = max(curve)
        best = min(curve, key=lambda step: curve[step]["distance"])
        # in the time that the slower of the two takes for all its steps, the other would have taken more; so both stop earlier
        times = steps * min(1, speed), steps * min(1, 1 / speed)
        moments["pre-trained"].append(row["before"])
        moments["slot matched"].append(curve[0])
        moments["end"].append(curve[steps])
        moments["state of the least distance"].append(curve[best])
        moments["end, less the own pass's"].append({name: curve[steps][name] - of_other[steps][name] for name in FIGURES})
        moments["at equal time, less the own pass's"].append(
            {name: _at(curve, name, times[0]) - _at(of_other, name, times[1]) for name in FIGURES}
        )
    return {
        "runs": len(rows),
        **{
            moment: {name: mean_interval([point[name] for point in points]) for name in FIGURES}
            for moment, points in moments.items()
        },
    }


def _at(curve: dict[int, dict[str, float]], name: str, step: float) -> float:
    return float(np.interp(step, list(curve), [point[name] for point in curve.values()]))


def print_table(dataset: str, table: dict[str, Any]) -> None:
    """A table for each moment; what is no distance is a percentage."""

    def cells(figures: dict[str, Any]) -> str:
        scaled = [[value * (1 if "distance" in name else 100) for value in figures[name]] for name in FIGURES]
        return " | ".join(f"{mean:.1f} [{low:.1f}, {high:.1f}]" if low < high else f"{mean:.1f}" for mean, low, high in scaled)

    for moment in MOMENTS:
        print(
            f"\n{dataset}, {moment}: mean [95 % interval]\n\n| | runs | {' | '.join(FIGURES)} |\n|{' --- |' * (len(FIGURES) + 2)}"
        )
        for form, figures in table.items():
            print(f"| {form} | {figures['runs']} | {cells(figures[moment])} |")


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return found


def _file(out: Path, dataset: str, form: str, seed: int) -> Path:
    return out / "rows" / f"{dataset}-{form.replace(' ', '-').replace(chr(39), '')}-{seed}.json"


def run_grid(args: argparse.Namespace) -> None:
    """Time the steps, then run what there is no file of yet; the seeds are outermost."""
    if args.rounds:
        write_json(args.out / "times.json", time_steps(args.rounds))
    swaps: dict[str, tuple[Swap, Gan]] = {}
    for dataset in (name for name in PARTS if getattr(args, name) is not None):
        part = PARTS[dataset]
        data = load_data(dataset, getattr(args, dataset), part.size)
        judge, (slots, new) = Judge.of(args.out, "first", dataset, data, part.judge_epochs), part.pairs[0]
        write_json(args.out / "judge" / f"{dataset}.json", {"judge": judge.accuracy})
        swaps[dataset] = (Swap(data, judge, slots, new), pretrained(args.out, part, data, new))
    wanted = [(dataset, form, seed) for seed in range(args.seeds) for dataset in swaps for form in args.forms]
    for dataset, form, seed in tqdm(wanted, desc="swaps", unit="swap"):
        path = _file(args.out, dataset, form, seed)
        if not path.is_file():
            swap, gan = swaps[dataset]
            write_json(path, run_row(swap, copy.deepcopy(gan), form, seed, PARTS[dataset].steps))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, help="mnist.npz (x_train, y_train, x_test, y_test)")
    parser.add_argument("--tiles", type=Path, help="a zip file of train/CLASS/*.png and valid/CLASS/*.png, gray")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS, metavar="FORM", help=f"of these: {'; '.join(FORMS)}")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each form")
    parser.add_argument("--rounds", type=int, default=40, help="steps of each form that are timed; 0: the times measured before")
    parser.add_argument("--table", action="store_true", help="only print the table of the runs that there are")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "outputs" / "bench_retain")
    args = parser.parse_args(arguments)
    if not args.table:
        run_grid(args)
    results: dict[str, Any] = {"times": _read(args.out / "times.json")}
    for form, figures in results["times"].items():
        print(f"{form}: " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    ratio = {form: figures["step, of fine_tune's"] for form, figures in results["times"].items()}
    for dataset in PARTS:
        rows = {form: {seed: row for seed in range(args.seeds) if (row := _read(_file(args.out, dataset, form, seed)))}
                for form in FORMS}  # fmt: skip
        own, table = rows["own pass"], {}
        for form, by_seed in rows.items():
            if seeds := sorted(by_seed.keys() & own.keys()):
                speed = ratio.get("own pass", 1.0) / ratio.get(form, 1.0)
                table[form] = summary([by_seed[seed] for seed in seeds], [own[seed] for seed in seeds], speed)
        if table:
            print_table(dataset, table)
            results[dataset] = {**_read(args.out / "judge" / f"{dataset}.json"), "table": table, "rows": rows}
    what = {
        "options": OPTIONS, "parts": {name: dataclasses.asdict(part) for name, part in {**PARTS, "timed": TIMED}.items()},
    }  # fmt: skip
    write_json(args.out / "bench_retain.json", {**describe_run(), **what, **results})


if __name__ == "__main__":
    main()
