"""What this project does on a GPU, in one command and under ten minutes, on a machine with torch and no network.

    scripts/gpu                             on the machine with the GPU; results go to docs/results/gpu.json
    scripts/gpu --pack wheels --python 3.12 beforehand, where there is a network: what that machine lacks, in a folder to bring
    scripts/gpu --device cpu --reduced      a rehearsal

It runs parts in the order of their value: the card, the tests with a device in them, importance against its loop, a swap by each
method through StudioGAN's main.py on the GPU and on the CPU, step times and peak memory. The results are written after each
part; what fails is noted, and the next goes on. Exit code 1 where something failed, 2 where something is missing.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import warnings
from pathlib import Path

from gpu_check import requirements

ROOT = requirements.ROOT
NAMES = ("environment", "device_tests", "importance", "swaps", "steps")


def main() -> int:
    args = _arguments()
    if args.pack is not None:
        return _pack(args)
    with tempfile.TemporaryDirectory(prefix="rcas-gpu-") as work:
        target = Path(work) / "site"
        target.mkdir()
        requirements.install(args.wheels, target)
        if names := requirements.missing():
            return _stop(requirements.sentence(names, args.wheels))
        return _check(args, Path(work))


def _check(args: argparse.Namespace, work: Path) -> int:
    if args.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch looks for one
    import torch

    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        return _stop("--device cuda: torch finds no GPU; look at nvidia-smi, or rehearse with --device cpu --reduced")
    from gpu_check.schedule import PARTS, run_parts
    from gpu_check.setup import Setup

    from rcas_plugin.files import write_json
    from rcas_plugin.watch.machine import describe_run

    head = describe_run()
    head["commit"] = args.commit or head["commit"]
    about = {**head, "device": device, "reduced": args.reduced, "budget_seconds": args.budget}
    file = args.out / "gpu.json"
    jobs = 1 if args.reduced else max(1, min(4, (os.cpu_count() or 1) // 3))
    if args.reduced:
        _import_heavy()
    chosen = [part for part in PARTS if part.name in args.parts]
    rows = run_parts(Setup(device, args.reduced, work, jobs), chosen, args.budget,
                     lambda rows: write_json(file, {**about, "parts": rows}))  # fmt: skip
    print(f"written: {file}")
    return int(any(row["outcome"] != "passed" for row in rows.values()))


def _import_heavy() -> None:
    """Import once what the forked processes of a rehearsal would each import."""
    from config_matrix.child import HEAVY

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in HEAVY:
            importlib.import_module(module)


def _pack(args: argparse.Namespace) -> int:
    sys.path.insert(0, str(ROOT))
    from gpu_check.pack import pack

    from rcas_plugin import RcasError

    try:
        names = pack(args.pack, args.missing, args.python)
    except RcasError as error:
        return _stop(str(error))
    print(f"{args.pack}: StudioGAN's sources and {len(names)} wheels", *names, sep="\n  ")
    return 0


def _stop(sentence: str) -> int:
    print(f"scripts/gpu: error: {sentence}", file=sys.stderr)
    return 2


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--device", choices=("cuda", "cpu"), help="default: cuda where torch finds one, else cpu")
    add("--reduced", action="store_true", help="so small that it takes seconds: whether every part begins and ends")
    add("--budget", type=float, default=540, metavar="SECONDS", help="for all parts (default: %(default)s)")
    add("--parts", nargs="+", choices=NAMES, default=list(NAMES), help="only these")
    add("--out", type=Path, default=ROOT / "docs" / "results", help="where gpu.json goes (default: docs/results)")
    add("--commit", default=os.environ.get("RCAS_COMMIT"), help="of this tree, where git is not at hand (or RCAS_COMMIT)")
    add("--wheels", type=Path, default=ROOT / "wheels", help="the packed folder (default: wheels/)")
    add("--pack", type=Path, metavar="FOLDER", help="make that folder and end")
    add("--python", default=f"{sys.version_info.major}.{sys.version_info.minor}", metavar="X.Y",
        help="for --pack: the machine's Python (default: %(default)s)")  # fmt: skip
    add("--missing", type=lambda text: text.split(","), default=list(requirements.RARE), metavar="A,B",
        help=f"for --pack: what the machine lacks (default: {','.join(requirements.RARE)})")  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
