"""Cures for today's Python stack: setuptools, torch, wandb, numpy."""

from __future__ import annotations

import functools
import importlib.util
import netrc
import os
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from packaging.version import parse as parse_version
from torch.multiprocessing.spawn import ProcessExitedException
from torch.utils.data import DistributedSampler, RandomSampler, Sampler

from rcas_plugin.safe_load import force_safe_loads
from rcas_plugin.studiogan.cures import cure
from rcas_plugin.studiogan.seams import replace


@cure("utils/style_ops/*_gradfix.py", "imports pkg_resources, which setuptools 81 no longer ships", when="early")
def pkg_resources_stand_in() -> None:
    """Offer `pkg_resources.parse_version`, the one name that upstream takes from it, from `packaging`."""
    if "pkg_resources" in sys.modules or importlib.util.find_spec("pkg_resources") is not None:
        return
    module = types.ModuleType("pkg_resources")
    module.parse_version = parse_version  # type: ignore[attr-defined]
    sys.modules["pkg_resources"] = module


@cure(
    "main.py and others",
    "invalid escapes in strings and deprecated autocast warn on every start",
    when="early",
)
def quiet_known_warnings() -> None:
    """Leave out the warnings about upstream's own source that no user can act on."""
    warnings.filterwarnings("ignore", category=SyntaxWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(config|main|loader|worker|utils|models|metrics)\b")
    warnings.filterwarnings("ignore", message=r".*torch\.cuda\.amp\.", category=FutureWarning)
    warnings.filterwarnings("ignore", message=r".*torch\.jit\.script", category=FutureWarning)  # kornia's, as it is imported
    warnings.filterwarnings("ignore", message=r"Importing from timm\.models\.layers", category=FutureWarning)
    warnings.filterwarnings("ignore", message=r".*torch\.nn\.utils\.(spectral|weight)_norm.*", category=FutureWarning)


@cure("loader.py, worker.py", "wandb.init asks for a login on a machine that has none", when="early")
def wandb_offline_unless_configured() -> None:
    """Set WANDB_MODE=offline unless a mode, an API key, a server or a login is configured."""
    if os.environ.get("WANDB_MODE") or os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_BASE_URL"):
        return
    try:
        if any("wandb" in host for host in netrc.netrc().hosts):
            return
    except (OSError, netrc.NetrcParseError):
        pass
    os.environ["WANDB_MODE"] = "offline"
    os.environ.setdefault("WANDB_SILENT", "true")


@cure(
    "utils/ckpt.py", "torch.load refuses StudioGAN's numpy scalars, or before torch 2.6 runs code in a checkpoint", when="early"
)
def safe_loads() -> None:
    """Read checkpoints as `rcas_plugin.safe_load` does: numpy's numbers, and no code."""
    force_safe_loads()


@cure("main.py", "the first process of a distributed run to end kills the others; one that stops, a traceback", when="early")
def parents_end_as_their_processes() -> None:
    """Let the parent of a distributed run wait for every process, and end as one that has said why it stops.

    Upstream waits until the first one has ended and kills the others, which may still be writing a checkpoint or the report.
    """
    processes: Any = torch.multiprocessing
    original = processes.spawn
    if getattr(original, "cured", False):
        return

    @functools.wraps(original)
    def spawn(*args: Any, **options: Any) -> Any:
        context = original(*args, **options)
        if context is not None:  # where it was not asked to join them itself
            context.join = _waiting_for_all(context.join)
        return context

    spawn.cured = True  # type: ignore[attr-defined]
    processes.spawn = spawn


def _waiting_for_all(join: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(join)
    def joined(timeout: float | None = None) -> bool:
        try:
            while not join(timeout):
                if timeout is not None:
                    return False
            return True
        except ProcessExitedException as error:
            if error.exit_code in (2, 130):  # a user's mistake, Ctrl-C
                raise SystemExit(error.exit_code) from None
            raise

    return joined


@cure("config.py", "betas must be either both floats or both Tensors: configs with beta1: 0 hold an int")
def float_betas() -> None:
    """Make Adam's betas floats before the optimisers are built."""

    def make(original: Any) -> Any:
        @functools.wraps(original)
        def define_optimizer(self: Any, Gen: Any, Dis: Any) -> Any:
            for name in ("beta1", "beta2"):
                if isinstance(getattr(self.OPTIMIZATION, name), int):
                    setattr(self.OPTIMIZATION, name, float(getattr(self.OPTIMIZATION, name)))
            return original(self, Gen, Dis)

        return define_optimizer

    replace("config.Configurations.define_optimizer", "betas", make)


@cure("worker.py", "wandb.Image refuses the 4-D batch that visualize_fake_images hands it at every save_freq")
def wandb_image_of_a_batch() -> None:
    """Give upstream's worker a `wandb` whose `Image` lays a batch out as a grid."""
    replace("worker.wandb", "grids", _WandbWithGrids)


class _WandbWithGrids:
    """The `wandb` module, but for `Image`."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def Image(self, data: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N802  (wandb's name)
        if isinstance(data, torch.Tensor) and data.dim() == 4:
            from torchvision.utils import make_grid

            grid = make_grid(((data.detach().float().cpu() + 1) / 2).clamp(0, 1), nrow=8, padding=0)
            data = (grid * 255).round().byte().permute(1, 2, 0).numpy()
        return self._module.Image(data, *args, **kwargs)


@cure(
    "loader.py",
    "persistent_workers option needs num_workers > 0; a data set under one basket yields no batch",
)
def data_loader_for_any_size() -> None:
    """Let `--num_workers 0` work, and let a training set smaller than one basket be drawn from again and again."""
    replace("loader.DataLoader", "any size", lambda original: functools.partial(_data_loader, original))


class _Repeated(Sampler[int]):
    """A process's share of the data, drawn again and again until there are `count` items."""

    def __init__(self, share: DistributedSampler[Any], count: int) -> None:
        self.share, self.count = share, count
        self.set_epoch = share.set_epoch

    def __iter__(self) -> Iterator[int]:
        share = list(self.share)
        return iter([share[position % len(share)] for position in range(self.count)])

    def __len__(self) -> int:
        return self.count


def _data_loader(original: Any, dataset: Any, **options: Any) -> Any:
    if not options.get("num_workers"):
        options.pop("persistent_workers", None)
    if not torch.cuda.is_available():
        options.pop("pin_memory", None)
    sampler, wanted = options.get("sampler"), options.get("batch_size", 1)
    if options.get("drop_last") and sampler is None and len(dataset) < wanted:
        options["sampler"] = RandomSampler(dataset, num_samples=wanted)
        options["shuffle"] = False
    elif options.get("drop_last") and isinstance(sampler, DistributedSampler) and len(sampler) < wanted:
        options["sampler"] = _Repeated(sampler, wanted)
    return original(dataset, **options)
