"""What must be true after a run: each function returns what is wrong, or nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from config_matrix.reduction import CLASSES, SLOT, is_stylegan
from config_matrix.site import MORE, STEPS, Site, generator_states, step_of
from rcas_plugin.watch.snapshots import load_snapshot
from rcas_plugin.weights.adapters import adapted

ROUNDING = 1e-5  # of pixels in [-1, 1]
ADAPTER = ".parametrizations."  # how torch names what a parametrization holds in a state dict


def trained(site: Site, cell: str, steps: int = STEPS) -> str:
    """It saved a checkpoint of so many steps, in one folder, of finite weights that training has moved."""
    folder = site.checkpoint(cell)
    if folder is None:
        return f"{len(list(site.folder(cell).glob('checkpoints/*')))} checkpoint folders in the place of one"
    if step_of(folder) != steps:
        return f"the checkpoint is of step {step_of(folder)} and not {steps}"
    states = generator_states(folder)
    for network, state in states.items():
        for name, value in tensors(state):
            if value.is_floating_point() and not value.isfinite().all():
                return f"{name} of {network} is not finite"
    if site.probe(cell).is_file():
        start = torch.load(site.probe(cell), weights_only=True)["states"]["G"]
        if all(torch.equal(value, start[name]) for name, value in tensors(states["G"]) if name in start):
            return "no weight of G has moved"
    return ""


def went_on(site: Site, cell: str) -> str:
    return trained(site, cell, MORE)


def starts_from_the_checkpoint(site: Site, cell: str) -> str:
    """What fine_tune starts from is the checkpoint, bit for bit."""
    start = torch.load(site.probe(cell), weights_only=True)["states"]
    for network, state in generator_states(site.pretrained()).items():
        for name, value in tensors(state):
            if not torch.equal(value, start[network][name]):
                return f"{name} of {network} is not the checkpoint's at the start"
    return trained(site, cell)


def selected(site: Site, cell: str) -> str:
    """It trained, and says which weights it has set to zero."""
    folder = site.checkpoint(cell)
    if folder is not None and not (folder / "selection.safetensors").is_file():
        return "there is no selection.safetensors"
    return trained(site, cell)


def others_stay(site: Site, cell: str) -> str:
    """Images of every other label are equal to the bit before and after the preparation, and the slot's are not."""
    return _stay(site, cell, CLASSES.index(SLOT))


def all_stay(site: Site, cell: str) -> str:
    """Likewise where a label is added: the ones that were there stay."""
    return _stay(site, cell, len(CLASSES))


def _stay(site: Site, cell: str, new: int) -> str:
    """Compare what the run itself has kept, in 256 levels, and what was seen at its start, in float, with fine_tune's start."""
    folder = site.checkpoint(cell)
    if folder is None or not (folder / "snapshots" / "reinit.npz").is_file():
        return "the run has kept no snapshots"
    (before, labels), (after, _) = load_snapshot(folder, "before"), load_snapshot(folder, "reinit")
    problems = [_moved("snapshots", before[labels != new], after[labels != new])]
    if site.probe("fine_tune").is_file():  # fine_tune starts from the pre-trained networks as they are
        before, after = (torch.load(site.probe(name), weights_only=True)["images"] for name in ("fine_tune", cell))
        labels, after = torch.arange(len(before)), after[: len(before)]
        # StyleGAN divides its embedding by the root of the number of labels: another number is right to the rounding alone
        rounding = ROUNDING if new >= len(before) and is_stylegan(site.config) else 0.0
        problems.append(_moved("images", before[labels != new], after[labels != new], rounding))
    if new < len(CLASSES) and torch.equal(before[labels == new], after[labels == new]):
        problems.append("the preparation has not moved the slot's images")
    return "; ".join(filter(None, problems))


def _moved(what: str, before: Tensor, after: Tensor, rounding: float = 0.0) -> str:
    far = (after - before).abs()
    if bool((far <= rounding).all()):  # not so where a pixel is not finite
        return ""
    return f"{what} of other labels moved by {far.mean():.2g}, at most {far.max():.2g}, of 2"


def stage_bn_holds(site: Site, cell: str) -> str:
    """Nothing but scores, residuals and tables of the generators has changed since step 0, and those have."""
    folder = site.checkpoint(cell)
    if folder is None or step_of(folder) < STEPS:
        return trained(site, cell)
    start = torch.load(site.probe(cell), weights_only=True)["states"]
    for network, state in generator_states(folder).items():
        changed = [name for name, value in tensors(state) if not torch.equal(value, start[network][name])]
        held = [name for name in changed if ADAPTER not in name]
        if held:
            far = {name: float((state[name].double() - start[network][name].double()).abs().max()) for name in held}
            names = ", ".join(f"{name} by {far[name]:.2g}" for name in held[:3])
            return f"{network}: {len(held)} tensors that are no scores and tables have changed, such as {names}"
        if not changed:
            return f"{network}: nothing has changed"
    return ""


def folded(site: Site, cell: str) -> str:
    """The folded folder holds a whole checkpoint of plain weights."""
    folder = site.checkpoint(cell)
    if folder is None or step_of(folder) != STEPS:
        return f"there is no folded checkpoint of step {STEPS}"
    for network, state in generator_states(folder).items():
        if adapted(state):
            return f"{network} still has adapters"
    return ""


def folded_trains_on(site: Site, cell: str) -> str:
    """A plain run went on from the folded checkpoint, and its images at the start were those of the run that was folded."""
    problem = went_on(site, cell)
    if problem or not site.probe("bn_propagation on").is_file():
        return problem
    run, plain = (torch.load(site.probe(name), weights_only=True)["images"] for name in ("bn_propagation on", cell))
    far = float((run - plain).abs().max())
    return "" if far <= ROUNDING else f"its images differ by {far:.2g} from those of the run that was folded"


def tensors(state: dict[str, Any]) -> Iterable[tuple[str, Tensor]]:
    """Names and tensors of a state dict."""
    return ((name, value) for name, value in state.items() if isinstance(value, Tensor))
