"""The metrics of a swap: for the presence and quality of the new class, the absence of the old one, the others' intactness.

Each label's generated images are held against the real images of its class, in the features of a classifier of the real data:
Fréchet distance (StudioGAN's intra-class FID, in these features), kernel distance, precision, recall, density and coverage
(Naeem et al., 2020, by prdc), KID with its standard error, the diversity within the class; and the class that the classifier
sees.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from joblib import parallel_config
from prdc import compute_prdc
from torch import Tensor

from rcas_plugin.labels import LabelPlan
from rcas_plugin.metrics.distances import diversity, frechet_distance, kernel_distance, kid

#: Neighbours that span a real image's surroundings, as in StudioGAN.
NEAREST = 5
#: By prdc; better high.
PRDC = ("precision", "recall", "density", "coverage")
#: What `set_metrics` gives; distances and KID are better low, and diversity near 1.
SET_METRICS = ("frechet_distance", "kernel_distance", *PRDC, "kid", "kid_error", "diversity")

Values = dict[str, float | None]


def set_metrics(real: Tensor, fake: Tensor) -> Values:
    """`SET_METRICS` of generated features (m, d) against real ones (n, d); None for all where one set has under three images.

    Where there are fewer real images than `NEAREST` neighbours need, all of them are the neighbours.
    """
    if min(len(real), len(fake)) < 3:
        return dict.fromkeys(SET_METRICS)
    nearest = min(NEAREST, len(real) - 2, len(fake) - 2)
    # prdc prints the sizes, and asks for eight threads, among which scikit-learn's warning filters get lost
    with contextlib.redirect_stdout(io.StringIO()), parallel_config(backend="sequential"):
        figures = compute_prdc(real.double().cpu().numpy(), fake.double().cpu().numpy(), nearest)
    mean, error = kid(real, fake)
    return {
        "frechet_distance": frechet_distance(real, fake),
        "kernel_distance": kernel_distance(real, fake),
        **{name: float(figures[name]) for name in PRDC},
        "kid": mean,
        "kid_error": error,
        "diversity": diversity(real, fake),
    }


def swap_metrics(
    plan: LabelPlan, classes: Sequence[str], real: Mapping[str, Tensor], features: Tensor, probabilities: Tensor, labels: Tensor
) -> dict[str, Any]:
    """The metrics of one moment of a swap.

    Args:
        plan: which class stands behind which label.
        classes: what the classifier tells apart.
        real: class -> features (n, d) of its real images.
        features: (m, d) of generated images.
        probabilities: (m, len(classes)) that the classifier gives for each of them.
        labels: the label (m,) that each was made for.

    Returns:
        `new`: means over the slots, against the new classes; `recognised` is the part of their images that show them, `entropy`
        the mean entropy of what the classifier says of an image, in nats.
        `old`: the same images against the classes that stood there before; `left` is the part that still shows them (the leak),
        `probability` the mean probability that the classifier gives them.
        Of slots whose old class the classifier knows; empty where there are none.
        `remaining`: means over the remaining labels.
        `worst`: the remaining label that is least recognised, and the one that is farthest from its class.
        `labels`: the same for each label by itself.
        `confusion`: by label, how many of its images the classifier takes for each class.
    """
    of_label: dict[int, dict[str, Any]] = {}
    of_old: list[Values] = []
    shown = probabilities.argmax(1)
    entropy = torch.special.entr(probabilities.double()).sum(1)
    for label in plan.live:
        mask, name = labels == label, plan.names[label]
        of_label[label] = {
            "label": label, "class": name, "part": "new" if label in plan.slots else "remaining", "images": int(mask.sum()),
            "recognised": _share(shown[mask], classes, name), "entropy": _mean(entropy[mask]),
            **set_metrics(real.get(name, features[:0]), features[mask]),
        }  # fmt: skip
        old = plan.replaced.get(label)
        if old is not None and old in real:
            left = {
                "left": _share(shown[mask], classes, old),
                "probability": _mean(probabilities[mask, list(classes).index(old)]),
                **set_metrics(real[old], features[mask]),
            }
            of_label[label]["old"] = {"class": old, **left}
            of_old.append(left)
    figures = ("recognised", "entropy", *SET_METRICS)
    remaining = [of_label[label] for label in sorted(plan.remaining)]
    return {
        "new": _means((of_label[label] for label in sorted(plan.slots)), figures),
        "old": _means(of_old, ("left", "probability", *SET_METRICS)),
        "remaining": _means(remaining, figures),
        "worst": _worst(remaining),
        "labels": [of_label[label] for label in plan.live],
        "confusion": {str(label): torch.bincount(shown[labels == label], minlength=len(classes)).tolist() for label in plan.live},
    }


def _share(shown: Tensor, classes: Sequence[str], name: str) -> float | None:
    if name not in classes or not len(shown):
        return None
    return float((shown == list(classes).index(name)).double().mean())


def _mean(values: Tensor) -> float | None:
    return float(values.double().mean()) if len(values) else None


def _worst(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Figure -> label, class and value of the row that has the worst one; without the figures that no row has."""
    worst = {}
    for figure, place in (("recognised", 0), ("frechet_distance", -1)):
        known = sorted((row for row in rows if row[figure] is not None), key=itemgetter(figure))
        if known:
            row = known[place]
            worst[figure] = {"label": row["label"], "class": row["class"], "value": row[figure]}
    return worst


def _means(rows: Iterable[Mapping[str, Any]], figures: Sequence[str]) -> Values:
    """The mean of each figure over the rows that have it; of errors, that of the mean of independent values."""
    means: Values = {}
    several = list(rows)
    for figure in figures:
        values = [row[figure] for row in several if row[figure] is not None]
        if several:
            mean = np.linalg.norm(values) / max(1, len(values)) if figure == "kid_error" else np.mean(values or [0.0])
            means[figure] = float(mean) if values else None
    return means


def in_words(found: Mapping[str, Any]) -> str:
    """The metrics of one moment in one line, for the log."""
    new, old, rest = found["new"], found["old"], found["remaining"]
    parts = [f"new class {_percent(new['recognised'])} recognised, distance {_number(new['frechet_distance'])}"]
    if old:
        parts.append(f"old class {_percent(old['left'])} left")
    if rest:
        parts.append(f"remaining {_percent(rest['recognised'])} recognised, distance {_number(rest['frechet_distance'])}")
    return "; ".join(parts)


def _percent(value: float | None) -> str:
    return "not" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4g}"
