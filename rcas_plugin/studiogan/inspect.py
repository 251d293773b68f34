"""Print the cures and the seams of a StudioGAN, there or not: `python -m rcas_plugin.studiogan.inspect PATH/src`."""

from __future__ import annotations

import sys

import torch

from rcas_plugin.errors import RcasError
from rcas_plugin.studiogan.cures import CURES, apply_cures
from rcas_plugin.studiogan.seams import SEAMS, check


def main(source: str) -> int:
    """Print the cures and the seams; returns 0 where every seam is there."""
    sys.path.insert(0, source)
    names = apply_cures("early", cpu=not torch.cuda.is_available())
    late = [cure.name for cure in CURES.values() if cure.when == "late"]
    print(f"cures         {len(names) + len(late)}: {', '.join([*names, *late])}")
    missing = 0
    for seam in SEAMS.values():
        try:
            check(seam)
            state = "there"
        except (RcasError, ImportError) as error:
            state, missing = f"MISSING: {error}", missing + 1
        print(f"seam          {seam.path:44} {state}")
    return 2 if missing else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
