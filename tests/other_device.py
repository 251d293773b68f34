"""A second device on a machine that has only a CPU: what sits on it cannot be mixed with what does not.

Tensors that are made on, or moved to, the device `OTHER` hold their values on the CPU and call themselves tensors of another
device. Inside `OtherDevice` each operation of torch on tensors of both kinds fails as it would with a GPU's; so code that leaves
one tensor behind fails here, without a GPU.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

#: torch's device without memory stands for the other one: nothing of torch asks it for a driver.
OTHER = torch.device("meta")

_aten: Any = torch.ops.aten
#: Operations that a GPU lets take tensors of both kinds.
_MIXES = {_aten.copy_.default, _aten._to_copy.default}
#: Those that take indices from the CPU, behind the tensor that is indexed.
_INDEXES = {_aten.index.Tensor, _aten.index_put_.default, _aten.index_put.default, _aten._index_put_impl_.default}

#: A tensor's storage -> its values: what `tensor.data = other` exchanges is the storage.
_values: dict[int, Tensor] = {}


@contextmanager
def pretended_device() -> Iterator[torch.device]:
    """Inside, the device that this yields can be moved to and computed on."""
    with _Made(), OtherDevice(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*copying from a non-meta parameter", category=UserWarning)
        yield OTHER
    _values.clear()


class Elsewhere(Tensor):
    """A tensor of the other device."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, values: Tensor) -> Elsewhere:
        made: Any = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, values.shape, strides=values.stride(), dtype=values.dtype, device=OTHER
        )
        _values[made.untyped_storage()._cdata] = values.detach()
        return made  # type: ignore[no-any-return]

    def tolist(self) -> Any:  # torch's own does not go by its operations
        return _inner(self).tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with OtherDevice():  # a backward pass may come after the block
            return func(*args, **(kwargs or {}))


def _inner(tensor: Elsewhere) -> Tensor:
    return _values[tensor.untyped_storage()._cdata]


class OtherDevice(TorchDispatchMode):
    """Inside, tensors of the device `OTHER` can be made and computed with."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if Elsewhere not in types and kwargs.get("device") is None:
            return func(*args, **kwargs)
        looked_at = (args[0], kwargs) if func in _INDEXES else (args, kwargs)
        tensors = [leaf for leaf in tree_flatten(looked_at)[0] if isinstance(leaf, Tensor)]
        elsewhere = any(isinstance(tensor, Elsewhere) for tensor in tensors)
        here = any(not isinstance(tensor, Elsewhere) and tensor.dim() for tensor in tensors)
        if elsewhere and here and func not in _MIXES:
            raise RuntimeError(f"{func}: expected all tensors to be on the same device, but found two")
        if func in _INDEXES and not elsewhere and any(isinstance(leaf, Elsewhere) for leaf in tree_flatten(args[1:])[0]):
            raise RuntimeError(f"{func}: indices should be on the CPU or on the device of the indexed tensor")
        if kwargs.get("device") is not None:
            elsewhere = torch.device(kwargs["device"]) == OTHER
            kwargs["device"] = torch.device("cpu")
        if func is _aten.copy_.default:
            elsewhere = isinstance(args[0], Elsewhere)
        values = tree_map_only(Elsewhere, _inner, (args, kwargs))
        result = func(*values[0], **values[1])
        if func._schema.is_mutable:  # what was changed in place is returned, and not a copy of it
            return kwargs["out"] if "out" in kwargs else args[0] if isinstance(result, Tensor) else result
        return tree_map_only(Tensor, Elsewhere, result) if elsewhere else result


class _Made(TorchFunctionMode):
    """`torch.tensor(values, device=OTHER)` with its values: torch itself takes none over to the device without memory."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.tensor and kwargs.get("device") == OTHER:
            return torch.tensor(*args, **{**kwargs, "device": "cpu"}).to(OTHER)
        return func(*args, **kwargs)
