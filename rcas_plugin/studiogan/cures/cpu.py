"""Cures for a machine without a GPU: upstream asks for CUDA by integer, by name and unconditionally."""

from __future__ import annotations

import functools
import os
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from rcas_plugin.studiogan.cures import cure
from rcas_plugin.studiogan.seams import replace
from rcas_plugin.weights.accelerate import keep_freed_memory

_CPU = torch.device("cpu")


def _is_gpu(device: Any) -> bool:
    """True where a device as upstream writes it (0, "cuda", "cuda:0", torch.device) means a GPU."""
    if isinstance(device, bool):
        return False
    if isinstance(device, int):
        return True
    if isinstance(device, str):
        return device.startswith("cuda")
    return isinstance(device, torch.device) and device.type == "cuda"


def _on_cpu(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if args and _is_gpu(args[0]):
        args = (_CPU, *args[1:])
    if _is_gpu(kwargs.get("device")):
        kwargs = {**kwargs, "device": _CPU}
    return args, kwargs


class CpuDevices(TorchFunctionMode):
    """Reads every GPU that a torch function is asked for as the CPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.cuda:
            return args[0]
        if func is torch.Tensor.to:
            rest, kwargs = _on_cpu(args[1:], kwargs)
            return func(args[0], *rest, **kwargs)
        if _is_gpu(kwargs.get("device")):
            kwargs = {**kwargs, "device": _CPU}
        return func(*args, **kwargs)


@cure("every step", "memory of every large tensor is taken from the system anew", when="early", cpu_only=True)
def freed_memory_is_kept() -> None:
    """Keep freed memory for the next tensor."""
    keep_freed_memory()


_devices: CpuDevices | None = None


@cure(
    "every file",
    "devices are integers and 'cuda' strings: .to(local_rank), .to('cuda'), device=0",
    when="early",
    cpu_only=True,
)
def cpu_devices() -> None:
    """Rewrite GPU devices in tensor functions and in `nn.Module.to` for the rest of the process."""
    global _devices
    if _devices is not None:
        return
    _devices = CpuDevices()
    _devices.__enter__()
    original = nn.Module.to

    @functools.wraps(original)
    def to(self: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        args, kwargs = _on_cpu(args, kwargs)
        return original(self, *args, **kwargs)

    nn.Module.to = to  # type: ignore[method-assign,assignment]
    nn.Module.cuda = lambda self, device=None: self  # type: ignore[method-assign]


@cure(
    "main.py",
    "torch.cuda.current_device() raises without a GPU; DDP needs a device count",
    when="early",
    cpu_only=True,
)
def cpu_counts() -> None:
    """Count one device, or RCAS_CPU_PROCESSES of them for a distributed run, and let one be set."""
    torch.cuda.device_count = lambda: int(os.environ.get("RCAS_CPU_PROCESSES", "1"))
    torch.cuda.current_device = lambda: 0
    torch.cuda.set_device = lambda device: None


@cure(
    "models/model.py, metrics/preparation.py",
    "DDP with device_ids refuses a module on the CPU",
    when="early",
    cpu_only=True,
)
def ddp_without_device_ids() -> None:
    """Drop `device_ids` from DistributedDataParallel."""
    ddp = nn.parallel.DistributedDataParallel
    original = ddp.__init__
    if getattr(original, "cured", False):
        return

    @functools.wraps(original)
    def init(self: Any, module: nn.Module, device_ids: Any = None, output_device: Any = None, **kwargs: Any) -> None:
        original(self, module, **kwargs)

    init.cured = True  # type: ignore[attr-defined]
    ddp.__init__ = init  # type: ignore[method-assign,assignment]


@cure("utils/misc.py", "the default backend, nccl, is for GPUs", cpu_only=True)
def gloo_on_the_cpu() -> None:
    """Set up process groups with gloo, whatever --backend says."""

    def make(original: Any) -> Any:
        @functools.wraps(original)
        def setup(rank: int, world_size: int, backend: str = "gloo") -> None:
            original(rank, world_size, "gloo")

        return setup

    replace("utils.misc.setup", "gloo", make)
