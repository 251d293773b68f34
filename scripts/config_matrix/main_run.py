"""What happens inside one forked process: main.py under the plugin as a user starts it, or an `rcas` command."""

from __future__ import annotations

import functools
import importlib
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

#: Latents a label whose images are compared in float.
PROBES = 4


def run_main(studiogan: Path, options: Sequence[object], probe: Path | None = None) -> None:
    """Run `python -m rcas_plugin.studiogan main.py --plugin rcas OPTIONS` in this process.

    Args:
        studiogan: the root of a StudioGAN.
        options: of main.py.
        probe: a file for the networks and images as the first step finds them.
    """
    from rcas_plugin.studiogan.activation import activate

    activate(studiogan / "src")
    narrow_stylegan()
    if probe is not None:
        _watch_the_start(probe)
    sys.argv = ["python -m rcas_plugin.studiogan", str(studiogan / "src" / "main.py"), "--plugin", "rcas", *map(str, options)]
    runpy.run_module("rcas_plugin.studiogan", run_name="__main__", alter_sys=True)


def run_rcas(options: Sequence[object]) -> None:
    """Run an `rcas` command in this process, which no StudioGAN has been imported into."""
    from rcas_plugin.cli import main

    raise SystemExit(main([str(option) for option in options]))


def narrow_stylegan() -> None:
    """StyleGAN's widths follow from the image size, and its depth is fixed: build its networks with fewer channels and layers."""
    stylegan2, stylegan3 = (importlib.import_module(f"models.{name}") for name in ("stylegan2", "stylegan3"))
    narrow = {"channel_base": 64, "channel_max": 8}
    for network, sizes in (
        (stylegan2.SynthesisNetwork, narrow),
        (stylegan2.Discriminator, narrow),
        (stylegan3.SynthesisNetwork, {**narrow, "num_layers": 4}),
    ):
        network.__init__ = _built_with(network.__init__, sizes)


def _built_with(init: Any, sizes: dict[str, int]) -> Any:
    @functools.wraps(init)
    def narrow(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **{**kwargs, **sizes})

    return narrow


def _watch_the_start(probe: Path) -> None:
    """Write the networks' states and images of every label when upstream's worker is made: weights are loaded, the method has
    prepared them, no step was made."""
    worker: Any = importlib.import_module("worker").WORKER
    init = worker.__init__

    @functools.wraps(init)
    def watched(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        evaluated = self.Gen if self.Gen_ema is None else self.Gen_ema
        networks = {"G": self.Gen, "D": self.Dis, "G_ema": self.Gen_ema}
        states = {name: network.state_dict() for name, network in networks.items() if network is not None}
        conditional = kwargs["cfgs"].MODEL.g_cond_mtd != "W/O"
        content = {"states": states, "images": _images(evaluated, kwargs["cfgs"]) if conditional else None}
        probe.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, probe)

    worker.__init__ = watched


def _images(generator: Any, cfgs: Any) -> torch.Tensor:
    """Images (labels, PROBES, channels, height, width) in evaluation mode; a label's latents do not depend on the others."""
    from rcas_plugin.gan import sample_images

    model, width = cfgs.MODEL, cfgs.MODEL.z_dim
    if model.info_type in ("discrete", "both"):
        width += model.info_num_discrete_c * model.info_dim_discrete_c
    if model.info_type in ("continuous", "both"):
        width += model.info_num_conti_c
    rows = []
    with torch.random.fork_rng(devices=[]):
        for label in range(cfgs.DATA.num_classes):
            torch.manual_seed(label)  # StyleGAN's noise, where it is drawn anew
            labels = torch.full((PROBES,), label)
            rows.append(sample_images(generator, labels, lambda n, source: torch.randn(n, width, generator=source), seed=label))
    return torch.stack(rows)
