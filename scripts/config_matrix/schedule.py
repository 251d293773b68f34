"""Several configs side by side: this process starts runs, waits for them and judges what they have left."""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator, Sequence

from tqdm.auto import tqdm

from config_matrix.cells import CELLS
from config_matrix.child import Child, Ended
from config_matrix.lane import lane
from config_matrix.results import WRONG, Results
from config_matrix.site import Site

Lane = Generator[Child, Ended, None]


def run_all(
    sites: Sequence[Site], results: Results, names: Sequence[str] = (), *, jobs: int, timeout: float, keep: bool = False
) -> None:
    """Go through the configs' cells.

    Args:
        sites: the configs.
        results: each cell's result is put there as it comes.
        names: of the cells that are asked for; all by default.
        jobs: configs at a time.
        timeout: seconds a run.
        keep: keep the runs of configs where nothing went wrong.
    """
    waiting, going = list(sites), dict[str, tuple[Lane, Child]]()
    tqdm.monitor_interval = 0  # no thread of its own beside the forks
    bar = tqdm(total=len(sites) * len(names or CELLS), desc="cells", unit="cell", disable=None, smoothing=0.05)

    def advance(site: Site, way: Lane, ended: Ended | None) -> None:
        try:
            going[site.name] = (way, next(way) if ended is None else way.send(ended))
        except StopIteration:
            going.pop(site.name, None)
            if not keep and not any(result.outcome in WRONG for result in results.row(site.name).values()):
                shutil.rmtree(site.root, ignore_errors=True)
        bar.n = min(bar.total, sum(len(results.row(each.name)) for each in sites))
        bar.set_postfix_str(", ".join(going))

    by_name = {site.name: site for site in sites}
    try:
        while waiting or going:
            while waiting and len(going) < jobs:
                site = waiting.pop(0)
                advance(site, lane(site, results, timeout, names), None)
            for name, (way, child) in list(going.items()):
                ended = child.poll()
                if ended is not None:
                    advance(by_name[name], way, ended)
            time.sleep(0.02)
    finally:
        bar.close()
        for _, child in going.values():
            child.kill()
