"""The wrappers around upstream's networks: for their weights, their checkpoints and distributed training."""

from __future__ import annotations

import functools
import importlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch.distributed as dist

from rcas_plugin.gan import Gan, register_minibatch_layer
from rcas_plugin.methods.base import Context, Method
from rcas_plugin.record import write_record
from rcas_plugin.registry import methods
from rcas_plugin.run.lifecycle import Lifecycle
from rcas_plugin.studiogan.active import RUN
from rcas_plugin.studiogan.backbones import domain_folder, fingerprint
from rcas_plugin.studiogan.data import targets_and_names
from rcas_plugin.studiogan.latents import latents_of
from rcas_plugin.studiogan.run import SwapRun
from rcas_plugin.studiogan.stop import stop_with_a_sentence
from rcas_plugin.watch.observer import Observer
from rcas_plugin.weights.accelerate import accelerate
from rcas_plugin.weights.adapters import plain_name
from rcas_plugin.weights.blocks import frozen_in, register_block_type
from rcas_plugin.weights.synapses import register_module_type


def _load_networks(original: Any) -> Any:
    @functools.wraps(original)
    @stop_with_a_sentence
    def load_generator_discriminator(*args: Any, **kwargs: Any) -> Any:
        networks = original(*args, **kwargs)
        swap = RUN.swap
        if swap is None:
            return networks
        cfgs, logger, checkpoint = RUN.cfgs, kwargs.get("logger"), RUN.take_checkpoint()
        gan = Gan(networks[0], networks[3], networks[4], latents_of(cfgs.MODEL))
        context = Context(
            settings=swap.settings,
            plan=swap.plan,
            seed=cfgs.RUN.seed,
            total_steps=cfgs.OPTIMIZATION.total_steps,
            directory=_folder(cfgs, swap, logger),
            log=logger.info if logger is not None else lambda line: None,
            real_images=RUN.data.images_of if RUN.data is not None else None,
            frozen=frozen_in(gan.discriminator, swap.frozen_blocks) if swap.frozen_blocks else frozenset(),
        )
        if context.frozen:
            context.log(f"--freezeD {swap.frozen_blocks}: the first blocks of D stay as they are, in preparation and in training")
        method: Method = methods[swap.settings.method](context)
        if swap.mode == "evaluate":
            if checkpoint.adapted or checkpoint.record.is_of(swap.settings.method):  # else it is plain: pre-trained, or folded
                Lifecycle.attach(method, gan, checkpoint)
            return networks

        def observe(pretrained: Gan | None) -> Observer | None:
            return _observer(context.directory, swap, pretrained, logger) if logger is not None and context.directory else None

        start = Lifecycle.begin if swap.starts else Lifecycle.go_on
        RUN.lifecycle = start(method, gan, checkpoint, observe)
        if swap.starts and logger is not None:
            shutil.copyfile(_log_file(cfgs), _log_file(cfgs).with_suffix(".kept"))  # upstream removes the log before it loads
        if swap.settings.accelerate:
            accelerate(gan.generator, gan.discriminator)
        return networks

    return load_generator_discriminator


def _observer(folder: Path, swap: SwapRun, pretrained: Gan | None, logger: Any) -> Observer:
    """The observer, in the process that writes files; `pretrained` is None where a run goes on."""
    targets, names = targets_and_names(RUN.base)
    if RUN.base.hdf5_path is not None and len(swap.classes.names) > max(targets):  # HDF5 files hold indices, folders names
        names = swap.classes.names
    assert RUN.data is not None
    return Observer.of(
        folder, swap.plan, swap.settings, base=RUN.base, targets=targets, classes=names, swapped=RUN.data,
        fingerprint=fingerprint(RUN), cache=domain_folder(RUN), pretrained=pretrained, origin=swap.origin, log=logger.info,
    )  # fmt: skip


def _folder(cfgs: Any, swap: SwapRun, logger: Any) -> Path | None:
    """The folder of the run's files: one process writes them at the start, every process reads them when the run goes on."""
    if not swap.starts:
        return Path(swap.source)
    return _own_folder(cfgs) if logger is not None else None


def _parallel(original: Any) -> Any:
    """Build DDP with all parameters trained: its processes average the gradients of those, and wait for each.

    What is trained may change later, so everything is while upstream builds them, and the method chooses again afterwards.
    """

    @functools.wraps(original)
    def prepare_parallel_training(*args: Any, **kwargs: Any) -> Any:
        model: Any = importlib.import_module("models.model")
        ddp = model.DDP
        lifecycle = RUN.lifecycle
        networks = [] if lifecycle is None else list(lifecycle.gan.networks.values())
        frozen = any(not parameter.requires_grad for network in networks for parameter in network.parameters())
        if frozen or RUN.cfgs.RUN.freezeD > 0 or (lifecycle is not None and lifecycle.freezes):
            model.DDP = lambda module, **options: ddp(module, **{**options, "find_unused_parameters": True})
        for network in networks:
            network.requires_grad_(True)
            if dist.is_initialized():
                for buffer in network.buffers():  # parameters are sent around as they are built; what was prepared changed both
                    dist.broadcast(buffer, 0)
        try:
            wrapped = original(*args, **kwargs)
        finally:
            model.DDP = ddp
        if lifecycle is not None:
            lifecycle.let_gradients()
        return wrapped

    return prepare_parallel_training


def _own_folder(cfgs: Any) -> Path:
    return Path(cfgs.RUN.save_dir) / "checkpoints" / str(cfgs.rcas_run_name)


def _log_file(cfgs: Any) -> Path:
    return Path(cfgs.RUN.save_dir) / "logs" / f"{cfgs.rcas_run_name}.log"


def _load_checkpoint(original: Any) -> Any:
    @functools.wraps(original)
    def load_StudioGAN_ckpts(**arguments: Any) -> Any:  # noqa: N802  (upstream's name)
        if RUN.swap is None or not RUN.swap.starts:
            return original(**arguments)
        # the weights are loaded already; a swap starts at step 0 in a folder of its own, with fresh optimisers: their
        # moments were gathered for the old class
        options, logger, run_name = arguments["RUN"], arguments["logger"], arguments["run_name"]
        options.ckpt_dir = str(_own_folder(RUN.cfgs))
        if arguments["global_rank"] == 0:
            write_record(options.ckpt_dir, RUN.record())
        if logger is not None:
            for handler in list(logger.handlers):  # upstream has removed the file that this logger writes to
                handler.close()
                logger.removeHandler(handler)
            _log_file(RUN.cfgs).with_suffix(".kept").replace(_log_file(RUN.cfgs))
            logger = importlib.import_module("utils.log").make_logger(options.save_dir, run_name, None)
            logger.info("Pre-trained checkpoint is %s; this run's own is %s", RUN.swap.source, options.ckpt_dir)
        augment = RUN.cfgs.AUG
        initial = augment.ada_initial_augment_p
        aa_p = augment.apa_initial_augment_p if initial == "N/A" else initial
        if arguments["apply_g_ema"]:
            arguments["ema"].source, arguments["ema"].target = arguments["Gen"], arguments["Gen_ema"]
        return run_name, 0, 0, RUN.cfgs.OPTIMIZATION.batch_size, aa_p, 0, None, None, None, logger

    return load_StudioGAN_ckpts


def _run_name(original: Any) -> Any:
    @functools.wraps(original)
    def make_run_name(format: str, data_name: str, framework: str, phase: str) -> str:
        if RUN.swap is not None and RUN.swap.starts:
            phase = RUN.swap.settings.method
        name: str = original(format, data_name=data_name, framework=framework, phase=phase)
        if RUN.cfgs is not None:
            RUN.cfgs.rcas_run_name = name
        return name

    return make_run_name


class _PlainNames:
    """A network whose adapted weights go by the names of the plain ones, for whoever reads names."""

    def __init__(self, network: Any) -> None:
        self._network = network

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def named_parameters(self) -> Iterator[tuple[str, Any]]:
        for key, parameter in self._network.named_parameters():
            if (name := plain_name(key)) is not None:
                yield name, parameter


def _calculate_all_sn(original: Any) -> Any:
    @functools.wraps(original)
    def calculate_all_sn(model: Any, prefix: str) -> Any:
        return original(_PlainNames(model), prefix)

    return calculate_all_sn


#: StyleGAN's blocks, by module: a resolution each, of StyleGAN3's generator a layer.
_STYLEGAN_BLOCKS = {
    "models.stylegan2": ("SynthesisBlock", "DiscriminatorBlock", "DiscriminatorEpilogue"),
    "models.stylegan3": ("SynthesisLayer",),
}


def register_stylegan_layers() -> None:
    """Register StyleGAN's layers, which are types of upstream's own, so that their weights are as selectable as any other's."""
    for name in ("models.stylegan2", "models.stylegan3"):
        module: Any = importlib.import_module(name)
        for layer, kind in (
            ("FullyConnectedLayer", "linear"),
            ("Conv2dLayer", "conv"),
            ("SynthesisLayer", "conv"),
            ("ToRGBLayer", "conv"),
        ):
            if hasattr(module, layer):
                register_module_type(getattr(module, layer), kind)
        for block in _STYLEGAN_BLOCKS[name]:
            if hasattr(module, block):
                register_block_type(getattr(module, block))
        if hasattr(module, "MinibatchStdLayer"):
            register_minibatch_layer(module.MinibatchStdLayer, "group_size")


WRAPPERS = (
    ("models.model.load_generator_discriminator", "method", _load_networks),
    ("models.model.prepare_parallel_training", "frozen", _parallel),
    ("utils.ckpt.load_StudioGAN_ckpts", "start", _load_checkpoint),
    ("utils.log.make_run_name", "name", _run_name),
    ("utils.misc.calculate_all_sn", "adapters", _calculate_all_sn),
)
