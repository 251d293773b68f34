"""A config's way through its cells, one run at a time, so that several configs can go side by side."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

from config_matrix.cells import CELLS, Cell, cell_of
from config_matrix.child import Child, Ended
from config_matrix.refusals import is_expected
from config_matrix.results import Result, Results
from config_matrix.site import Site


def lane(site: Site, results: Results, timeout: float, names: Sequence[str] = ()) -> Generator[Child, Ended, None]:
    """Run what the results lack of a config: yields each run's process, and is sent how it ended.

    Args:
        site: the config.
        results: where each cell's result is put as it comes.
        timeout: seconds a run.
        names: of the cells that are asked for; what they need runs as well. All by default.
    """
    for cell in planned(site, results, names):
        row = results.row(site.name)
        missing = next((name for name in cell.needs if name not in row or row[name].outcome != "passed"), None)
        if missing is not None:
            results.put(site.name, cell.name, Result("not run", why=f"needs {missing}"))
        elif cell.start is None:
            results.put(site.name, cell.name, _judged(site, cell))
        else:
            shutil.rmtree(site.folder(cell.name), ignore_errors=True)
            try:
                work = cell.start(site, cell.name)
            except OSError as error:  # what it starts from is not as it should be
                results.put(site.name, cell.name, Result("failed", f"it cannot be started: {error}"))
                continue
            before = _files(site)
            ended = yield Child(work, site.log(cell.name), timeout)
            result = _result(site, cell, ended, _changed(before, _files(site)))
            result = replace(result, seconds=round(ended.seconds, 1), cpu_seconds=round(ended.cpu_seconds, 1))
            results.put(site.name, cell.name, result)


def planned(site: Site, results: Results, names: Sequence[str] = ()) -> list[Cell]:
    """The cells that are asked for and that the results lack; with the ones that they need, or whose files they read and which
    are not there."""
    wanted = {cell.name for cell in CELLS if cell.name not in results.row(site.name) and (not names or cell.name in names)}
    for cell in reversed(CELLS):
        if cell.name in wanted:
            wanted |= {name for name in (*cell.needs, cell.of) if name and not _is_there(site, results, name)}
            wanted |= {name for name in cell.uses if not names and not _is_there(site, results, name)}
    return [cell for cell in CELLS if cell.name in wanted]


def _is_there(site: Site, results: Results, name: str) -> bool:
    """Whether a cell was run and its files were kept."""
    return name in results.row(site.name) and (cell_of(name).start is None or site.folder(name).is_dir())


def _result(site: Site, cell: Cell, ended: Ended, changed: list[Path]) -> Result:
    """How a run came out, of what it said and of the files that it has written, changed or removed."""
    others = [path for path in changed if site.folder(cell.name) not in path.parents]
    if ended.code is None:
        return Result("failed", "its time ran out")
    if ended.code != 0 and not ended.sentence:
        return Result("failed", f"exit code {ended.code}: {ended.last_line}"[:400])
    if others:
        return Result("failed", f"it has changed {others[0].name}, which is not its own")
    if ended.code == 0:
        return _judged(site, cell)
    sentence = ended.sentence.replace(str(site.root), site.name)
    if changed:
        first = changed[0].relative_to(site.root)
        return Result("failed", f"refused after it had written {len(changed)} files, {first} among them: {sentence}")
    return Result("refused" if is_expected(site.config, cell.name, sentence) else "refused in error", sentence)


def _judged(site: Site, cell: Cell) -> Result:
    try:
        problem = cell.judge(site, cell.of or cell.name)
    except Exception as error:  # a file that the run should have written is not there, or cannot be read
        problem = f"the result cannot be judged: {type(error).__name__}: {error}".splitlines()[0]
    return Result("failed" if problem else "passed", problem)


def _files(site: Site) -> dict[Path, tuple[int, int]]:
    """Every file of the config's runs and of the data, with its time and its size; not logs, wandb's among them, and configs."""
    files = {}
    for root in (site.root, site.data):
        for path in root.rglob("*"):
            if not {"logs", "configs", "wandb"} & set(path.relative_to(root).parts) and path.is_file():
                files[path] = (path.stat().st_mtime_ns, path.stat().st_size)
    return files


def _changed(before: dict[Path, tuple[int, int]], after: dict[Path, tuple[int, int]]) -> list[Path]:
    """The files that are new, others than they were, or gone."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
