"""Latents as a config's generator takes them."""

from __future__ import annotations

from typing import Any

import torch

from rcas_plugin.gan import Latents


def latents_of(MODEL: Any) -> Latents:
    """Latents as the config's generator takes them: the prior, and InfoGAN's codes behind it."""

    def draw(n: int, source: torch.Generator) -> torch.Tensor:
        if MODEL.z_prior == "uniform":
            z = torch.rand(n, MODEL.z_dim, generator=source) * 2 - 1
        else:
            z = torch.randn(n, MODEL.z_dim, generator=source)
        if MODEL.info_type in ("discrete", "both"):
            codes = torch.randint(MODEL.info_dim_discrete_c, (n, MODEL.info_num_discrete_c), generator=source)
            z = torch.cat([z, torch.nn.functional.one_hot(codes, MODEL.info_dim_discrete_c).flatten(1).float()], 1)
        if MODEL.info_type in ("continuous", "both"):
            z = torch.cat([z, torch.rand(n, MODEL.info_num_conti_c, generator=source) * 2 - 1], 1)
        return z

    return draw
