"""The config that trained a checkpoint: the one that is named, the one that is recorded, or StudioGAN's own of the run's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from rcas_plugin.errors import RcasError
from rcas_plugin.record import Record


def find_config(studiogan: Path | None, ckpt: Path, record: Record, run_name: str, cfg: Path | None) -> dict[str, Any]:
    """The config that trained a checkpoint, without an RCAS section.

    Args:
        studiogan: the root folder of a StudioGAN, whose configs are looked through; None where there is none.
        ckpt: the checkpoint's folder, for the sentence.
        record: of the run.
        run_name: as the checkpoint holds it; StudioGAN names a run after its data set and its config file.
        cfg: a config file; the recorded one by default, else StudioGAN's own of the run's name.

    Raises:
        RcasError: there is none, or the file is no config.
    """
    if cfg is None and record.config is not None:
        return {name: keys for name, keys in record.config.items() if name != "RCAS"}
    if cfg is None and studiogan is not None:
        configs = [path for path in (studiogan / "src" / "configs").rglob("*.yaml")
                   if run_name.startswith(f"{path.parent.name}-{path.stem}-")]  # fmt: skip
        cfg = max(configs, key=lambda path: len(path.stem), default=None)
    if cfg is None:
        raise RcasError(f"--cfg is missing; {ckpt} does not record the config that trained it, give that file")
    try:
        content = yaml.safe_load(cfg.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RcasError(f"--cfg: {cfg} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not all(isinstance(keys, dict) for keys in content.values()):
        raise RcasError(f"--cfg: {cfg} is no StudioGAN config; it holds sections (DATA:, MODEL:, …) of keys")
    return {name: keys for name, keys in content.items() if name != "RCAS"}
