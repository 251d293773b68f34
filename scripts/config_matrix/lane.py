"""A config's way through its cells, one run at a time, so that several configs can go side by side."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterable
from dataclasses import replace
from pathlib import Path

from config_matrix.cells import CELLS, Cell, cell
from config_matrix.child import Child, Ended
from config_matrix.refusals import is_expected
from config_matrix.results import Result, Results
from config_matrix.site import Site


def lane(site: Site, results: Results, timeout: float) -> Generator[Child, Ended, None]:
    """Run what the results lack of a config: yields each run's process, and is sent how it ended."""
    for one in planned(site, results):
        row = results.row(site.name)
        missing = next((name for name in one.needs if name not in row or row[name].outcome != "passed"), None)
        if missing is not None:
            results.put(site.name, one.name, Result("not run", why=f"needs {missing}"))
        elif one.start is None:
            results.put(site.name, one.name, _judged(site, one))
        else:
            shutil.rmtree(site.folder(one.name), ignore_errors=True)
            work = one.start(site, one.name)
            there = _files(site)
            ended = yield Child(work, site.log(one.name), timeout)
            result = _result(site, one, ended, _files(site) - there)
            result = replace(result, seconds=round(ended.seconds, 1), cpu_seconds=round(ended.cpu_seconds, 1))
            results.put(site.name, one.name, result)


def planned(site: Site, results: Results) -> list[Cell]:
    """The cells that the results lack, and the ones before them whose files those read and which are not there."""
    wanted = {one.name for one in CELLS if one.name not in results.row(site.name)}
    for one in reversed(CELLS):
        if one.name in wanted:
            wanted |= {name for name in one.sources if cell(name).start is not None and not site.folder(name).is_dir()}
    return [one for one in CELLS if one.name in wanted]


def _result(site: Site, one: Cell, ended: Ended, written: Iterable[Path]) -> Result:
    if ended.code == 0:
        return _judged(site, one)
    if ended.code is None:
        return Result("failed", "its time ran out")
    if not ended.sentence:
        return Result("failed", f"exit code {ended.code}: {ended.last_line}"[:400])
    sentence = ended.sentence.replace(str(site.root), site.name)
    if files := sorted(written):
        first = files[0].relative_to(site.root)
        return Result("failed", f"refused after it had written {len(files)} files, {first} among them: {sentence}")
    return Result("refused" if is_expected(site.config, one.name, sentence) else "refused in error", sentence)


def _judged(site: Site, one: Cell) -> Result:
    try:
        problem = one.judge(site, one.of or one.name)
    except Exception as error:  # a file that the run should have written is not there, or cannot be read
        problem = f"the result cannot be judged: {type(error).__name__}: {error}".splitlines()[0]
    return Result("failed" if problem else "passed", problem)


def _files(site: Site) -> set[Path]:
    """Every file of the config's runs, but for logs and configs."""
    own = {site.root / "logs", site.root / "configs"}
    return {path for path in site.root.rglob("*") if path.is_file() and not own & set(path.parents)}
