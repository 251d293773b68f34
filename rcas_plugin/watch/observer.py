"""The observer of a swap, which writes pictures of the same latents, the judge's metrics and the edits.

Everything goes to the run's own folder, each file whole, at each save step; `rcas_plugin.report` makes a page of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from rcas_plugin.errors import RcasError
from rcas_plugin.files import atomic_path, write_json
from rcas_plugin.gan import Gan, sample_images
from rcas_plugin.labels import LabelPlan, SwapDataset
from rcas_plugin.metrics.best import choose, states_since_best
from rcas_plugin.metrics.domain import Domain
from rcas_plugin.metrics.judge import Judge, real_data
from rcas_plugin.metrics.schema import Metrics, as_json
from rcas_plugin.metrics.swap import in_words
from rcas_plugin.record import read_checked
from rcas_plugin.settings import CommonSettings
from rcas_plugin.watch.edits import Parameters, edits, parameters_of
from rcas_plugin.watch.machine import describe_run
from rcas_plugin.watch.snapshots import images_of, pixels_of, save_snapshot

METRICS, EDITS, NEIGHBOURS = "swap_metrics.json", "edits.json", "neighbours.npz"
#: New-class images that are shown with their nearest real ones.
SHOWN = 8


class Observer:
    """The observer of one run, made by the process that writes files, before the networks are edited or as a run goes on.

    Args:
        folder: of the run.
        plan: which class stands behind which label.
        settings: the `RCAS` section.
        judge: None where the section wants no metrics.
        about: what is to be said of an old class without real images.
        log: says a line to the user.
    """

    def __init__(
        self,
        folder: Path,
        plan: LabelPlan,
        settings: CommonSettings,
        judge: Judge | None,
        *,
        about: str = "",
        log: Callable[[str], None] = print,
    ) -> None:
        self.folder, self.plan, self.settings, self.judge, self.about, self.log = folder, plan, settings, judge, about, log
        self._board = _board(folder / "tensorboard") if settings.tensorboard else None
        self._parameters: Parameters | None = None
        self._content = self._earlier_metrics()
        self._looking = 0.0
        steps = self._content.get("steps", {})
        self._earlier = max((moment["elapsed_s"] for moment in steps.values()), default=0.0)  # of a run that goes on
        self._started = time.monotonic()

    def _earlier_metrics(self) -> dict[str, Any]:
        """The metrics of a run that goes on; empty where the file cannot be read."""
        try:
            return read_metrics(self.folder)
        except RcasError as error:
            self.log(f"{error}; the metrics begin anew")
            return {}

    @classmethod
    def of(
        cls,
        folder: Path,
        plan: LabelPlan,
        settings: CommonSettings,
        *,
        base: Dataset[Any],
        targets: Sequence[int],
        classes: Sequence[str],
        swapped: SwapDataset,
        fingerprint: str,
        cache: Path,
        pretrained: Gan | None = None,
        origin: str = "",
        log: Callable[[str], None] = print,
    ) -> Observer:
        """An observer with its judge, or without one where `RCAS.swap_metrics` is 0.

        Args:
            folder: of the run.
            plan: which class stands behind which label.
            settings: the `RCAS` section.
            base: the whole data set; yields (image, …).
            targets: the class index of every item.
            classes: names, by index.
            swapped: the data as the swap sees them.
            fingerprint: of the data set's content.
            cache: where judges are kept.
            pretrained: the GAN that the swap starts from; None where it is not at hand any more.
            origin: where that came from.
            log: says a line to the user.
        """
        if not settings.swap_metrics:
            return cls(folder, plan, settings, None, log=log)

        def stand_ins(label: int, count: int) -> Tensor:
            assert pretrained is not None
            return sample_images(pretrained.evaluated, torch.full((count,), label), pretrained.latents, seed=label + 1)

        # with RCAS.classes the labels of the loaded GAN are not those of the pre-trained one any more
        at_hand = stand_ins if pretrained is not None and settings.classes is None else None
        data = real_data(base, targets, classes, plan, swapped, at_hand, origin)
        judge = Judge.of(cache, fingerprint, data, plan, settings.swap_metrics, real_images=swapped.images_of,
                         second=settings.second_judge, log=log)  # fmt: skip
        about = ""
        if data.gone:
            known = set(data.gone) <= set(judge.domain.classes)
            how = "images of the pre-trained GAN stand for them" if known else "not judged"
            about = f"no real images of {', '.join(data.gone)}: {how}"
        return cls(folder, plan, settings, judge, about=about, log=log)

    def before(self, gan: Gan) -> None:
        """Note the pre-trained GAN, loaded and not yet edited."""
        self._parameters = parameters_of(gan)
        self._look("before", gan)

    def prepared(self, gan: Gan) -> None:
        """Note the GAN right after the method's `prepare`, and write its edits."""
        if self._parameters is not None:
            write_json(self.folder / EDITS, edits(self._parameters, gan))
            self._parameters = None
        self._look(0, gan)

    def saved(self, step: int, gan: Gan, *, judged: bool = True) -> dict[str, Any] | None:
        """Note the GAN at a checkpoint after `step` steps; returns its metrics, where there is a judge and `judged` is true."""
        return self._look(step, gan, judged)

    def _look(self, moment: int | str, gan: Gan, judged: bool = True) -> dict[str, Any] | None:
        started = time.monotonic()
        elapsed = self._earlier + started - self._started - self._looking
        name = moment if isinstance(moment, str) else f"step={moment}" if moment else "reinit"
        save_snapshot(self.folder, name, gan, self.plan.live, self.settings.snapshot_images)
        metrics = None
        if self.judge is not None and judged:
            metrics = self._measure(self.judge, moment, gan, elapsed, started)
        self._looking += time.monotonic() - started
        return metrics

    def _measure(self, judge: Judge, moment: int | str, gan: Gan, elapsed: float, started: float) -> dict[str, Any]:
        metrics = judge.measure(gan)
        neighbours: dict[str, Any] = {}
        if moment != "before":
            metrics["neighbours"], neighbours = self._neighbours(judge, gan)
        metrics = {"elapsed_s": round(elapsed, 2), "evaluation_s": round(time.monotonic() - started, 2), **metrics}
        if not self._content:
            self._content = {**self._about(judge), "steps": {}}
        if judge.second is not None:  # also where a run goes on with it
            self._content["second_judge"] = self._about_classifier(judge.second)
        if isinstance(moment, str):
            self._content[moment] = metrics
        else:
            # what a run did after the checkpoint from which it goes on is not part of it
            self.forget_after(moment - 1)
            self._content["steps"][str(moment)] = metrics
            self._content["best"] = choose(self._content, moment)
            if self.best == moment:
                self._keep_neighbours(neighbours)
        write_json(self.folder / METRICS, self._content)
        if self._board is not None and not isinstance(moment, str):
            for figure, value in scalars(metrics).items():
                self._board.add_scalar(f"swap/{figure}", value, moment)
            self._board.flush()
        kept = "" if isinstance(moment, str) else f"; the best state is step {self.best}"
        self.log(f"swap metrics, {moment if isinstance(moment, str) else f'step {moment}'}: {in_words(metrics)}{kept}")
        return metrics

    @property
    def best(self) -> int | None:
        """The step of the best state so far; None before a step was judged, and where nothing judges."""
        best = self._content.get("best")
        return None if best is None else int(best["step"])

    @property
    def best_record(self) -> dict[str, Any]:
        """What `rcas.json` records of the best state: its step, and why; empty where there is none."""
        return dict(self._content.get("best", {}))

    @property
    def waited(self) -> int:
        """How many states were judged since the best one."""
        return states_since_best(self._content, max(map(int, self._content.get("steps", {})), default=0))

    def forget_after(self, step: int) -> None:
        """Forget the figures of later steps: what a run did after the checkpoint from which it goes on is not part of it."""
        if self._content:
            self._content["steps"] = {key: value for key, value in self._content["steps"].items() if int(key) <= step}
            if self.best is not None and self.best > step:
                del self._content["best"]

    def _about(self, judge: Judge) -> dict[str, Any]:
        plan = self.plan
        return {
            **describe_run(),
            "judge": self._about_classifier(judge.domain),
            "images_a_label": judge.images,
            "labels": list(plan.names),
            "slots": {str(label): {"new": plan.names[label], "old": plan.replaced.get(label)} for label in sorted(plan.slots)},
        }  # fmt: skip

    def _about_classifier(self, domain: Domain) -> dict[str, Any]:
        return {"classes": list(domain.classes), "accuracy": domain.accuracy, "held_out": domain.held_out,
                "accuracy_by_class": dict(domain.by_class), "about": self.about}  # fmt: skip

    def _neighbours(self, judge: Judge, gan: Gan) -> tuple[dict[str, Any], dict[str, Any]]:
        """The figures of the new classes' images beside their nearest real ones, and the arrays that show some of them."""
        arrays: dict[str, Any] = {}
        authentic: dict[str, Any] = {}
        for label in sorted(self.plan.slots):
            fakes, reals, neighbours = judge.neighbours(gan, label, SHOWN)
            arrays[f"{label}.generated"], arrays[f"{label}.real"] = pixels_of(fakes), pixels_of(reals)
            arrays[f"{label}.distance"] = neighbours.distances[:SHOWN].numpy()
            authentic[str(label)] = neighbours.authentic
        return {"authentic": authentic}, arrays

    def _keep_neighbours(self, arrays: dict[str, Any]) -> None:
        with atomic_path(self.folder / NEIGHBOURS) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # numpy before 2.1 would take allow_pickle for an array


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise RcasError("RCAS.tensorboard: the package is missing; pip install tensorboard, or leave the key out") from None
    return SummaryWriter(str(folder))


def read_metrics(folder: Path) -> dict[str, Any]:
    """The content of a run's `swap_metrics.json`; empty where there is none.

    Raises:
        RcasError: the file is damaged, or none of the plugin's.
    """
    content = read_checked(folder / METRICS, Metrics, "delete it, or take another run")
    return {} if content is None else as_json(content)


def has_stopped(folder: Path, step: int, patience: int) -> bool:
    """True where a run has ended by itself at a step, by its figures; every process of a run that goes on asks for itself."""
    try:
        return states_since_best(read_metrics(folder), step) >= patience
    except RcasError:  # nothing is known, and the figures begin anew
        return False


def scalars(found: dict[str, Any]) -> dict[str, float]:
    """The means of one moment by name (`new/recognised`, …), for whoever draws curves."""
    return {
        f"{part}/{figure}": value
        for part in ("new", "old", "remaining")
        for figure, value in found[part].items()
        if value is not None
    }


def newest(found: dict[str, Any]) -> dict[str, str]:
    """The few figures for the side of a progress bar, as text by name."""
    shown = {"new": found["new"].get("recognised"), "old": found["old"].get("left"), "rest": found["remaining"].get("recognised")}
    return {name: f"{value:.0%}" for name, value in shown.items() if value is not None}


def load_neighbours(folder: Path) -> dict[int, tuple[Tensor, Tensor, list[float]]]:
    """Slot -> generated images, the nearest real image of each (n, channels, h, w), in [-1, 1], and their distances."""
    if not (folder / NEIGHBOURS).is_file():
        return {}
    with np.load(folder / NEIGHBOURS, allow_pickle=False) as content:
        neighbours = {}
        for label in sorted({int(name.partition(".")[0]) for name in content.files}):
            generated, real = (images_of(content[f"{label}.{which}"]) for which in ("generated", "real"))
            neighbours[label] = (generated, real, content[f"{label}.distance"].tolist())
        return neighbours
