"""Faster steps of the networks that there are: channels-last weights, and bfloat16 where the processor computes in it.

Both come from outside: the networks' code stays as it is, and so do names, shapes and types of what a checkpoint holds.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import nn


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies in bfloat16 by instructions of its own."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def channels_last(*models: nn.Module | None) -> None:
    """Lay the convolutions' weights out channels-last, in place; activations follow them."""
    for model in models:
        if model is not None:
            model.to(memory_format=torch.channels_last)


def autocast(device: torch.device, enabled: bool = True) -> AbstractContextManager[object]:
    """bfloat16 for convolutions and matrix products inside the block, where the device has it; else nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled and computes_in_bfloat16(device))
