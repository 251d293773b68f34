"""Faster training steps of the networks that there are: channels-last weights, and bfloat16 where the processor computes in it.

Both come from outside: the networks' code stays as it is, and so do names, shapes and types of what a checkpoint holds.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def computes_in_bfloat16(device: torch.device) -> bool:
    """True where the device has instructions for products in bfloat16; False on a CPU where torch (2.4, 2.5) cannot tell."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name)() for name in asked if hasattr(torch.cpu, name))


def autocast(device: torch.device, enabled: bool = True) -> AbstractContextManager[object]:
    """A context of bfloat16 for convolutions and matrix products, where the device has it; else nothing changes.

    Inside upstream's own mixed precision (`-mpc`) that goes on where this is not enabled.
    """
    if enabled and computes_in_bfloat16(device):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def accelerate(*models: nn.Module) -> None:
    """Make each network's forward passes in training mode faster, in place (`RCAS.accelerate`).

    Convolution weights are laid out channels-last, and activations follow them. The pass runs under `autocast`; what it returns
    is float32 again, so that losses are computed as before. In evaluation mode nothing but the layout differs.
    """
    for model in models:
        model.to(memory_format=torch.channels_last)
        device = next(model.parameters()).device
        if computes_in_bfloat16(device):
            blocks: list[AbstractContextManager[object]] = []
            model.register_forward_pre_hook(_Enter(device, blocks))
            model.register_forward_hook(_Leave(blocks), always_call=True)


def keep_freed_memory() -> bool:
    """Keep freed memory for the next tensor, for the rest of the process; returns whether the C library could be told.

    On a CPU glibc gives large blocks back to the system at each operation and takes them again, page by page, at the next one.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        trim, map_directly, largest = -1, -3, 2**31 - 1  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
        return bool(libc.mallopt(map_directly, 2**30) and libc.mallopt(trim, largest))
    return False


@contextmanager
def channels_last_inside(*models: nn.Module) -> Iterator[None]:
    """Lay convolution weights out channels-last inside the block; after it, put the very same tensors as before back.

    For blocks that change no weight.
    """
    convolutions = {id(parameter): parameter for model in models for parameter in model.parameters() if parameter.dim() == 4}
    before = [(parameter, parameter.data) for parameter in convolutions.values()]
    try:
        for parameter, data in before:
            parameter.data = data.contiguous(memory_format=torch.channels_last)
        yield
    finally:
        for parameter, data in before:
            parameter.data = data


class _Enter:
    def __init__(self, device: torch.device, blocks: list[AbstractContextManager[object]]) -> None:
        self.device, self.blocks = device, blocks

    def __call__(self, module: nn.Module, args: Any) -> None:
        block = autocast(self.device, enabled=module.training)
        block.__enter__()
        self.blocks.append(block)


class _Leave:
    def __init__(self, blocks: list[AbstractContextManager[object]]) -> None:
        self.blocks = blocks

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        self.blocks.pop().__exit__(None, None, None)
        return _float32(output)


def _float32(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.float() if output.dtype == torch.bfloat16 else output
    if isinstance(output, dict):
        return {key: _float32(value) for key, value in output.items()}
    if isinstance(output, list | tuple) and type(output) in (list, tuple):
        return type(output)(_float32(value) for value in output)
    return output
