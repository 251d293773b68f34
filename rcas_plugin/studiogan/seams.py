"""The table of upstream's attributes that the plugin replaces, without changing a file of StudioGAN's.

Each seam names the upstream attribute that is wrapped and the parameters that the wrapper relies on. `check_seams` looks at
all of them before anything runs: a fork that lacks one gets a sentence at start, and not a traceback at step 4,000.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rcas_plugin.errors import RcasError


@dataclass(frozen=True)
class Seam:
    """An upstream attribute, what it gives, and the parameters that it must take."""

    module: str
    attribute: str
    gives: str
    parameters: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        return f"{self.module}.{self.attribute}"


SEAMS: dict[str, Seam] = {
    seam.path: seam
    for seam in (
        Seam("config", "Configurations._overwrite_cfgs", "the RCAS section of a config", ("cfg_file",)),
        Seam("config", "Configurations.check_compatability", "checks before anything is written"),
        Seam("config", "Configurations.define_losses", "terms added to the losses"),
        Seam("config", "Configurations.define_optimizer", "float betas", ("Gen", "Dis")),
        Seam("data_util", "CenterCropLongEdge", "upstream's crop, for images from a folder of their own"),
        Seam("data_util", "ImageFolder", "hidden folders left out, empty ones, deep and broken images", ("root",)),
        Seam("loader", "Dataset_", "which images stand behind which label", ("data_name", "data_dir", "train", "random_flip", "normalize", "hdf5_path")),
        Seam("loader", "DataLoader", "no workers, few images"),
        Seam("loader", "WORKER", "steps, saving, progress"),
        Seam("loader", "load_worker", "every process of a distributed run", ("local_rank", "cfgs", "gpus_per_node", "run_name", "hdf5_path")),
        Seam("metrics.preparation", "LoadEvalModel", "evaluation backbones without a download", ("eval_backbone", "post_resizer", "world_size", "distributed_data_parallel", "device")),
        Seam("metrics.preparation", "prepare_moments", "statistics of the swapped data", ("cfgs",)),
        Seam("metrics.preparation", "prepare_real_feats", "features of the swapped data", ("cfgs",)),
        Seam("metrics.preparation", "np", "moments and features written whole"),
        Seam("models.model", "load_generator_discriminator", "the networks, before DDP and the optimisers", ("MODEL", "RUN", "device")),
        Seam("models.model", "prepare_parallel_training", "several processes and frozen parameters", ("Gen", "Dis")),
        Seam("models.model", "DDP", "several processes and frozen parameters"),
        Seam("utils.ckpt", "load_ckpt", "Adam's step counters of a run that goes on", ("model", "optimizer", "load_opt")),
        Seam("utils.ckpt", "load_StudioGAN_ckpts", "the pre-trained checkpoint", ("ckpt_dir", "RUN", "run_name", "logger", "global_rank", "device")),
        Seam("utils.ckpt", "load_best_model", "runs without metrics", ("ckpt_dir", "Gen", "Dis", "apply_g_ema", "Gen_ema", "ema")),
        Seam("utils.ema", "Ema.update", "what G's moving average takes in"),
        Seam("utils.ema", "EmaStylegan2.update", "what G's moving average takes in"),
        Seam("utils.hdf5", "make_hdf5", "whole HDF5 files", ("name", "img_size", "data_dir", "resizer", "DATA", "RUN")),
        Seam("utils.hdf5", "h5", "chunks of small data sets"),
        Seam("utils.log", "make_run_name", "a run name with the method's name in it", ("data_name", "framework", "phase")),
        Seam("utils.log", "make_logger", "a log file of the run's own", ("save_dir", "run_name", "log_output")),
        Seam("utils.misc", "calculate_all_sn", "the norms of layers with an adapter", ("model", "prefix")),
        Seam("utils.misc", "save_model", "checkpoints that are replaced and not lost", ("model", "when", "step", "ckpt_dir", "states")),
        Seam("utils.misc", "save_image", "canvases written whole"),
        Seam("utils.misc", "plt", "plots written whole"),
        Seam("utils.misc", "np", "statistics written whole"),
        Seam("utils.misc", "setup", "process groups without a GPU", ("rank", "world_size", "backend")),
        Seam("utils.misc", "toggle_grad", "which parameters are trained", ("model", "grad")),
        Seam("utils.sample", "generate_images", "the start of an update"),
        Seam("utils.sample", "sample_zy", "what fakes are made from", ("batch_size", "z_dim", "device")),
        Seam("utils.sample", "sample_y", "which labels are drawn for fakes", ("y_sampler", "batch_size", "num_classes", "device")),
        Seam("worker", "WORKER.compute_GAN_train_or_test_classifier_accuracy_score", "CAS of any data set, on any device", ("GAN_train", "GAN_test")),
        Seam("worker", "wandb", "canvases in wandb"),
    )
}  # fmt: skip


def find(seam: Seam) -> Any:
    """The upstream attribute of a seam.

    Raises:
        RcasError: it is not there.
    """
    owner: Any = importlib.import_module(seam.module)
    for name in seam.attribute.split("."):
        if not hasattr(owner, name):
            raise RcasError(
                f"this StudioGAN has no {seam.path}, which gives {seam.gives}; use the pinned commit (rcas doctor names it)"
            )
        owner = getattr(owner, name)
    return owner


def check(seam: Seam) -> None:
    """Raise `RcasError` unless the seam is there and takes the parameters that the plugin relies on."""
    attribute = find(seam)
    if seam.parameters:
        target = getattr(attribute, "upstream", attribute)
        missing = set(seam.parameters) - set(inspect.signature(target).parameters)
        if missing:
            raise RcasError(
                f"{seam.path} of this StudioGAN does not take {', '.join(sorted(missing))}; use the pinned commit (rcas doctor names it)"
            )


def check_seams() -> None:
    """Raise `RcasError` at the first seam that is missing or looks otherwise than at the pinned commit."""
    for seam in SEAMS.values():
        check(seam)


def replace(path: str, key: str, make: Callable[[Any], Any]) -> None:
    """Replace an upstream attribute by `make(attribute)`; once for each key, however often it is called."""
    seam = SEAMS[path]
    original = find(seam)
    keys = getattr(original, "replaced_by", ())
    if key in keys:
        return
    new = make(original)
    new.replaced_by = (*keys, key)
    new.upstream = getattr(original, "upstream", original)
    owner: Any = importlib.import_module(seam.module)
    *parents, name = seam.attribute.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    setattr(owner, name, new)
