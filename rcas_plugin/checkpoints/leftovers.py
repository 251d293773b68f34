"""Removal, at the start of a run, of half-written files of killed processes from every folder that the run writes to."""

from __future__ import annotations

from pathlib import Path

from rcas_plugin.files import remove_leftovers


def clear_leftovers(save_dir: str | Path, *run: str | Path | None, spare: str | Path | None = None) -> None:
    """Remove half-written files of killed processes from a -save folder and from a run that goes on, and print how many.

    Args:
        save_dir: its caches, runs, figures and statistics, by upstream's names.
        run: more folders, such as that of the run or of the data.
        spare: a checkpoint folder that is only read, and left as it is.
    """
    root = Path(save_dir)
    runs = [*(root / "checkpoints").glob("*"), *(Path(folder) for folder in run if folder is not None)]
    parts = [folder / part for folder in runs for part in (".", "snapshots", "report", "tasks")]
    shared = [root, *(root / name for name in ("domain", "hdf5", "moments", "feats"))]
    pictures = [*(root / "figures").glob("*"), *(root / "statistics").glob("*")]
    left_alone = None if spare is None else Path(spare).resolve()
    removed = remove_leftovers(*(folder for folder in (*shared, *parts, *pictures) if not _inside(folder, left_alone)))
    if removed:
        print(f"rcas: removed {len(removed)} half-written files of interrupted runs, in {root}", flush=True)


def _inside(folder: Path, parent: Path | None) -> bool:
    return parent is not None and folder.resolve().is_relative_to(parent)
