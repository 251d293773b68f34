"""The weights of a network that can be selected, its synapses: found by module type, never by the text of a name."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

#: Kinds of weight, by the type of the module that holds it. A backbone with layers of its own adds to it.
_KINDS: dict[type[nn.Module], str] = {
    nn.Conv1d: "conv",
    nn.Conv2d: "conv",
    nn.Conv3d: "conv",
    nn.ConvTranspose1d: "conv_transpose",
    nn.ConvTranspose2d: "conv_transpose",
    nn.ConvTranspose3d: "conv_transpose",
    nn.Linear: "linear",
    nn.Embedding: "embedding",
}

KINDS = frozenset({"conv", "conv_transpose", "linear", "embedding"})


def register_module_type(module_type: type[nn.Module], kind: str) -> None:
    """Make the `weight` of a layer type of one's own selectable, as one of `KINDS`."""
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is unknown; allowed: {', '.join(sorted(KINDS))}")
    _KINDS[module_type] = kind


@dataclass(frozen=True)
class Synapse:
    """One weight tensor of a network.

    Attributes:
        name: of the trained tensor, as in `named_parameters()` (`….weight_orig` under spectral norm).
        kind: one of `KINDS`.
        module: the layer that holds it.
        weight: the trained tensor.
    """

    name: str
    kind: str
    module: nn.Module
    weight: nn.Parameter


@dataclass(frozen=True)
class SpectralNorm:
    """The state of torch's spectral-norm hook on a layer: the layer uses `weight_orig / sigma`."""

    u: Tensor
    v: Tensor
    dim: int

    def matrix(self, weight: Tensor) -> Tensor:
        """The weight as the matrix whose largest singular value is divided out."""
        return weight.movedim(self.dim, 0).flatten(1)

    def sigma(self, weight: Tensor) -> Tensor:
        """The norm that the layer divides by in evaluation mode, to the bit: torch's own expression."""
        return torch.dot(self.u, torch.mv(self.matrix(weight), self.v))

    def along(self, dim: int) -> Tensor:
        """The vector, u or v, with an entry for each row (`dim` 0) or column (1) of a weight of two dimensions."""
        return self.u if dim == self.dim else self.v

    def outer(self, weight: Tensor) -> Tensor:
        """`u v^T`, in the weight's shape: the derivative of sigma with respect to the weight."""
        moved = weight.movedim(self.dim, 0)
        return torch.outer(self.u, self.v).view_as(moved).movedim(0, self.dim)

    @torch.no_grad()
    def refresh(self, weight: Tensor, iterations: int = 100) -> None:
        """Bring u and v to the weight's leading singular vectors, in place, by power iteration.

        Upstream turns them by one iteration a step; after an edit of the weight they would be stale for many.
        """
        matrix = self.matrix(weight)
        if not matrix.any():
            return
        if not (matrix @ self.v).any():  # the old vector lies in the null space of the edited weight
            self.v.copy_(matrix.abs().sum(0))
        for _ in range(iterations):
            self.u.copy_(nn.functional.normalize(matrix @ self.v, dim=0))
            self.v.copy_(nn.functional.normalize(matrix.T @ self.u, dim=0))

    @torch.no_grad()
    def hold(self, weight: Tensor, sigma: Tensor, dim: int, free: Collection[int]) -> None:
        """Change u and v, in place, so that the norm is `sigma` to the bit whatever the weight's free rows or columns become.

        The vector along `dim` gets a zero for each free row or column, and the others of its entries make up for that. In
        evaluation mode every other row or column of the layer's weight then stays as it was to the bit. Training computes both
        vectors anew from the weight by its first power iterations, so it starts from the weight's own norm as ever.

        Args:
            weight: of two dimensions; what is not free has its final values.
            sigma: the norm to keep, of no dimension.
            dim: 0 where rows are free, 1 where columns are.
            free: their indices.
        """
        vector = self.along(dim)
        index = torch.tensor(sorted(free), dtype=torch.long, device=weight.device)
        staying = weight.index_fill(dim, index, 0)
        if not staying.any():  # no other row or column has anything to keep
            self.refresh(weight)
            return
        for renewed in (False, True):  # anew where what stays had no part in the norm, or one that rounding swallows
            if renewed:
                self.refresh(staying)
            vector.index_fill_(0, index, 0)
            if self._scale(staying, sigma, dim):
                return
        warnings.warn("spectral norm could not be held to the last bit; the other labels' images differ in it", stacklevel=2)

    def _scale(self, weight: Tensor, sigma: Tensor, dim: int) -> bool:
        """Scale the vector along `dim`, in place, so that the norm is `sigma` to the bit; returns whether that was possible."""
        vector, opposite = self.along(dim), self.along(1 - dim)
        exact, turned = vector.double() * (sigma.double() / self.sigma(weight).double()), opposite.double()
        for attempt in range(1024):  # each rounds otherwise
            coarse, fine = divmod(attempt, 32)
            opposite.copy_(turned * (1 + coarse * 2.0**-25))
            vector.copy_(exact * (1 - coarse * 2.0**-25 + (fine + 1) // 2 * (-1) ** fine * 2.0**-26))
            if torch.equal(self.sigma(weight), sigma):
                return True
        return False

    @torch.no_grad()
    def limit(self, weight: Tensor, dim: int, index: int) -> Callable[[Tensor], Tensor]:
        """A function from a row or column to the nearest with which the weight's largest singular value is hardly over the norm.

        Training divides by the largest singular value, whatever was held before it: a row or column far over the norm would
        shrink every other one's effect with the first steps.

        Args:
            weight: of two dimensions; everything but the row or column has its final values.
            dim: 0 for a row, 1 for a column.
            index: of the row or column, whose present value does not count.
        """
        others = weight.index_fill(dim, torch.tensor([index], device=weight.device), 0).movedim(dim, 1).double()
        directions, sizes, _ = torch.linalg.svd(others, full_matrices=False)
        limit = 1.02 * torch.maximum(self.sigma(weight).abs().double(), sizes.max())
        # [others, x] has no singular value over the limit where x^T (limit^2 - others others^T)^-1 x <= 1: an ellipsoid
        axes = torch.cat([limit.square() - sizes.square(), limit.square()[None]])

        def nearest(vector: Tensor) -> Tensor:
            along = directions.T @ vector.double()
            rest = vector.double() - directions @ along
            parts = torch.cat([along, rest.norm()[None]])
            low, high = 0.0, float(axes.max() * (1 + parts.norm() / axes.sqrt().min()))
            if (parts.square() / axes).sum() <= 1:
                return vector
            for _ in range(40):
                middle = (low + high) / 2
                outside = bool(((parts / (axes + middle)).square() * axes).sum() > 1)
                low, high = (middle, high) if outside else (low, middle)
            shrink = axes / (axes + high)
            shrunk: Tensor = directions @ (along * shrink[:-1]) + rest * shrink[-1]
            return shrunk.to(vector.dtype)

        return nearest if limit > 0 else lambda vector: vector


def spectral_norm_of(module: nn.Module) -> SpectralNorm | None:
    """The spectral norm that `torch.nn.utils.spectral_norm` put on the module's weight, or None."""
    if not hasattr(module, "weight_orig"):
        return None
    hook = next(hook for hook in module._forward_pre_hooks.values() if hasattr(hook, "n_power_iterations"))
    return SpectralNorm(cast(Tensor, module.weight_u), cast(Tensor, module.weight_v), int(getattr(hook, "dim", 0)))


def kind_of(module: nn.Module) -> str | None:
    """The kind of the module's weight, or None where the module's type is no layer with one."""
    return next((_KINDS[t] for t in type(module).__mro__ if t in _KINDS), None)


def find_convolutions(model: nn.Module) -> dict[str, Synapse]:
    """The weights of convolutions and transposed ones, by parameter name, in the network's order."""
    return find_synapses(model, frozenset({"conv", "conv_transpose"}))


def find_synapses(model: nn.Module, kinds: frozenset[str] = KINDS) -> dict[str, Synapse]:
    """Every selectable weight of a network, by parameter name, in the order of `named_parameters()`.

    A tensor that two layers share is listed once.
    """
    holders: dict[int, tuple[nn.Module, str]] = {}
    for module in model.modules():
        kind = kind_of(module)
        if kind is None or kind not in kinds:
            continue
        weight = getattr(module, "weight_orig", None)
        if weight is None:
            weight = module._parameters.get("weight")
        if isinstance(weight, nn.Parameter):
            holders.setdefault(id(weight), (module, kind))
    return {
        name: Synapse(name, holders[id(parameter)][1], holders[id(parameter)][0], parameter)
        for name, parameter in model.named_parameters()
        if id(parameter) in holders
    }
