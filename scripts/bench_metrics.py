"""What one evaluation of the swap metrics costs: 1,000 images a label of the quickstart's GAN, beside the quickstart's run time.

./scripts/quickstart && .venv/bin/python scripts/bench_metrics.py
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from rcas_plugin.errors import RcasError
from rcas_plugin.files import write_json
from rcas_plugin.labels import DataClasses, resolve_labels
from rcas_plugin.metrics.domain import domain
from rcas_plugin.metrics.judge import Judge
from rcas_plugin.settings import parse_settings
from rcas_plugin.studiogan.locate import REPOSITORY, find_studiogan
from rcas_plugin.watch.machine import describe_run

QUICKSTART = REPOSITORY / "outputs" / "quickstart"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000, help="a label")
    parser.add_argument("--repeat", type=int, default=3, help="evaluations; the median counts")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "outputs" / "bench_metrics.json")
    args = parser.parse_args()
    if not (QUICKSTART / "metrics.json").is_file():
        raise RcasError("run ./scripts/quickstart first; its GAN and its run time are what this is about")
    quickstart = json.loads((QUICKSTART / "metrics.json").read_text())
    if quickstart["engine"] != "studiogan":
        raise RcasError("the quickstart ran without StudioGAN; run it with one")
    from rcas_plugin.studiogan.networks import load_gan  # activates StudioGAN, which changes torch where there is no GPU

    config = REPOSITORY / "configs" / "digits" / "class_swap.yaml"
    gan = load_gan(find_studiogan(), config, REPOSITORY / quickstart["checkpoints"]["class_swap"])
    found = domain(next((QUICKSTART / "domain").glob("*.safetensors")), torch.utils.data.TensorDataset(torch.empty(0)), [], [])
    classes = DataClasses(found.classes, (args.images,) * len(found.classes))
    plan = resolve_labels(parse_settings({"swap": {"9": "0"}}), 9, classes, found.classes[1:])
    judge = Judge(found, plan, args.images, real_images=lambda label, count: torch.empty(0))
    times = []
    for _ in range(args.repeat):
        started = time.perf_counter()
        judge.measure(gan)
        times.append(time.perf_counter() - started)
    labels = len(plan.live)
    of_ten = sorted(times)[len(times) // 2] * 10 / labels
    part = of_ten / quickstart["seconds"]
    print(f"{judge.images} images a label, {labels} labels: {', '.join(f'{seconds:.2f}' for seconds in times)} s; for ten labels "
          f"{of_ten:.2f} s, {part:.1%} of the quickstart's {quickstart['seconds']:.0f} s")  # fmt: skip
    figures = {"seconds_of_ten_labels": of_ten, "quickstart_seconds": quickstart["seconds"], "part": part}
    write_json(args.out, {**describe_run(), "images_a_label": judge.images, "labels": labels, "seconds": times, **figures})


if __name__ == "__main__":
    main()
