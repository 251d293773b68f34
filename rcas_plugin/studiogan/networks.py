"""Upstream's networks of a config, built outside of a run to look at a checkpoint's images."""

from __future__ import annotations

import contextlib
import importlib
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from rcas_plugin.checkpoints.folder import checkpoint_files, compare, read_checkpoint
from rcas_plugin.errors import RcasError
from rcas_plugin.gan import Gan, default_device
from rcas_plugin.studiogan.activation import activate
from rcas_plugin.studiogan.latents import latents_of
from rcas_plugin.weights.adapters import fold_state


def load_gan(studiogan: Path, cfg: str | Path | Mapping[str, Any], ckpt_dir: str | Path | None, *, best: bool = False) -> Gan:
    """Build the networks of a config in this process and load a checkpoint into them.

    Args:
        studiogan: the root folder of a StudioGAN.
        cfg: a StudioGAN config, with an `RCAS` section or without: the file, or its content.
        ckpt_dir: a checkpoint folder, or None for new networks.
        best: take the best checkpoint and not the newest.
    """
    activate(studiogan / "src")
    config: Any = importlib.import_module("config")
    model: Any = importlib.import_module("models.model")
    cfgs = _configurations(config, cfg)
    build, device = model.load_generator_discriminator.upstream, str(default_device())
    networks = build(DATA=cfgs.DATA, OPTIMIZATION=cfgs.OPTIMIZATION, MODEL=cfgs.MODEL, STYLEGAN=cfgs.STYLEGAN,
                     MODULES=cfgs.MODULES, RUN=SimpleNamespace(mixed_precision=False), device=device, logger=None)  # fmt: skip
    gan = Gan(networks[0], networks[3], networks[4], latents_of(cfgs.MODEL))
    if ckpt_dir is not None:
        files = checkpoint_files(ckpt_dir, best=best)
        pairs = (("G", gan.generator), ("D", gan.discriminator), ("G_ema", gan.ema))
        for network, module in pairs:
            if module is not None:
                path = files.get(network, files["G"])
                state = fold_state(read_checkpoint(path)["state_dict"])
                compare(state, module.state_dict(), path, cfgs.MODEL.backbone)
                module.load_state_dict(state)
    return gan


def _configurations(config: Any, cfg: str | Path | Mapping[str, Any]) -> Any:
    """Upstream's Configurations, which it reads from a file alone."""
    if not isinstance(cfg, Mapping):
        return config.Configurations(str(cfg))
    with tempfile.TemporaryDirectory(prefix="rcas-config-") as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(yaml.safe_dump(dict(cfg)), encoding="utf-8")
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                return config.Configurations(str(path))
        except SystemExit:  # a mistake in it ends a run of main.py with a sentence
            sentence = said.getvalue().strip().removeprefix("rcas: error: ").replace(f"-cfg: {path}", "--cfg: the config")
            raise RcasError(sentence) from None
