"""The wrappers that stand in the seams: a few lines each, between upstream's calls and the run's method."""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import yaml

from rcas_plugin.accelerate import accelerate
from rcas_plugin.errors import RcasError
from rcas_plugin.files import is_plain_name
from rcas_plugin.fold import rebuild_adapters
from rcas_plugin.gan import Gan, register_minibatch_layer
from rcas_plugin.importance import DISCRIMINATOR, GENERATOR
from rcas_plugin.methods.base import Batch, Context
from rcas_plugin.observer import Observer
from rcas_plugin.record import write_record
from rcas_plugin.registry import phases
from rcas_plugin.report.page import REPORT, write_report
from rcas_plugin.settings import parse_settings
from rcas_plugin.studiogan.backbones import (
    cache_name,
    check_backbone,
    domain_folder,
    files_fingerprint,
    fingerprint,
    is_own,
    wire_backbones,
)
from rcas_plugin.studiogan.checkpoints import checkpoint_files, read_checkpoint, read_states
from rcas_plugin.studiogan.data import swap_dataset, targets_and_names
from rcas_plugin.studiogan.latents import latents_of
from rcas_plugin.studiogan.leftovers import clear_leftovers
from rcas_plugin.studiogan.look import check_data, check_img_size
from rcas_plugin.studiogan.options import check_options
from rcas_plugin.studiogan.run import ActiveRun, SwapRun, check_plain_run, plan_run, take_best_alone
from rcas_plugin.studiogan.seams import replace
from rcas_plugin.studiogan.stop import stop_with_a_sentence
from rcas_plugin.studiogan.worker import make_worker
from rcas_plugin.synapses import register_module_type

#: The run of this process; a distributed run has one in each process.
RUN = ActiveRun()


def wire() -> None:
    """Put every wrapper into its seam; safe to call again."""
    replace("config.Configurations._overwrite_cfgs", "section", _read_section)
    replace("config.Configurations.check_compatability", "checks", _check)
    replace("config.Configurations.define_losses", "losses", _define_losses)
    replace("config.Configurations.define_optimizer", "method", _define_optimizer)
    replace("loader.Dataset_", "labels", _dataset)
    replace("loader.WORKER", "worker", lambda upstream: make_worker(upstream, RUN))
    replace("metrics.preparation.prepare_moments", "cache", _cached_apart)
    replace("metrics.preparation.prepare_real_feats", "cache", _cached_apart)
    replace("models.model.load_generator_discriminator", "method", _load_networks)
    replace("models.model.prepare_parallel_training", "frozen", _parallel)
    replace("utils.ckpt.load_StudioGAN_ckpts", "start", _load_checkpoint)
    replace("utils.ema.Ema.update", "held", _update_average)
    replace("utils.ema.EmaStylegan2.update", "held", _update_average)
    replace("utils.log.make_run_name", "name", _run_name)
    replace("utils.misc.calculate_all_sn", "adapters", _calculate_all_sn)
    replace("utils.misc.toggle_grad", "trainable", _toggle_grad)
    replace("utils.sample.generate_images", "seen", _generate_images)
    replace("utils.sample.sample_y", "live", _sample_y)
    wire_backbones(RUN)
    _register_stylegan_layers()


def adopt(cfgs: Any) -> None:
    """Take over a config in the process that trains; a spawned process gets it by pickle."""
    RUN.cfgs, RUN.swap = cfgs, getattr(cfgs, "rcas_run", None)


def start(local_rank: int) -> None:
    """Before upstream does anything: one process removes what a killed run has left half-written."""
    options = RUN.cfgs.RUN
    if local_rank == 0 and options.current_node == 0:
        goes_on = options.train and options.freezeD == -1 and not (RUN.swap is not None and RUN.swap.starts)
        clear_leftovers(options.save_dir, options.data_dir, options.ckpt_dir if goes_on else None,
                        spare=None if goes_on else options.ckpt_dir)  # fmt: skip


def report() -> None:
    """At the end of a swap: the page that `rcas report` makes, in the run's folder."""
    if RUN.observer is not None and RUN.observer.judge is not None and RUN.worker is not None and RUN.worker.done is not None:
        page = write_report([RUN.observer.folder], RUN.observer.folder / REPORT)
        print(f"rcas: the report is {page}", flush=True)


# the config ------------------------------------------------------------------------------------------------------------


class _RawSection:
    """The RCAS section as upstream stores a section: attributes. Its keys are checked by `settings`, not here."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


def _read_section(original: Any) -> Any:
    @functools.wraps(original)
    @stop_with_a_sentence
    def _overwrite_cfgs(self: Any, cfg_file: str) -> None:
        try:
            content = yaml.safe_load(Path(cfg_file).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise RcasError(f"-cfg: {cfg_file} cannot be read: {' '.join(str(error).split())}") from None
        if isinstance(content, dict) and content.get("RCAS", {}) is None:
            content["RCAS"] = {}
        if not isinstance(content, dict) or not all(isinstance(section, dict) for section in content.values()):
            raise RcasError(f"-cfg: {cfg_file} is no StudioGAN config; it holds sections (DATA:, MODEL:, …) of keys")
        self.rcas_config = {name: keys for name, keys in content.items() if name != "RCAS"}
        if "RCAS" in content:
            parse_settings(content["RCAS"])
            self.super_cfgs["RCAS"] = _RawSection()
        try:
            original(self, cfg_file)
        except (AttributeError, KeyError) as error:
            raise RcasError(f"-cfg: {cfg_file} has a key that StudioGAN does not know: {error}") from None

    return _overwrite_cfgs


def _check(original: Any) -> Any:
    @functools.wraps(original)
    @stop_with_a_sentence
    def check_compatability(self: Any) -> None:
        if self.RUN.train and (self.RUN.print_freq < 1 or self.RUN.save_freq % self.RUN.print_freq):
            raise RcasError(
                f"--save_freq {self.RUN.save_freq} is no multiple of --print_freq {self.RUN.print_freq}; choose one that is"
            )
        if not is_plain_name(self.DATA.name):  # StudioGAN names files and folders by it
            raise RcasError(
                f"DATA.name: {self.DATA.name!r} is not allowed; allowed: a name without / and \\, for files and folders"
            )
        backbone = self.RUN.eval_backbone
        check_backbone(backbone, self.DATA.img_size)
        if is_own(backbone):
            self.RUN.eval_backbone = "InceptionV3_tf"  # what upstream's own check knows
        try:
            original(self)
        except AssertionError as error:
            raise RcasError(" ".join(str(error).split()) or "StudioGAN refuses this combination of options") from None
        finally:
            self.RUN.eval_backbone = backbone
        check_options(self)
        check_img_size(self)
        self.rcas_run = None
        take_best_alone(self)
        section = self.super_cfgs.get("RCAS")
        if section is not None:
            self.rcas_run = plan_run(self, vars(section))
            _say_plan(self.rcas_run)
        else:
            check_plain_run(self)
        check_data(self, self.rcas_run)
        adopt(self)

    return check_compatability


def _say_plan(run: Any) -> None:
    plan = run.plan
    lines = []
    for label in range(plan.num_classes):
        if label in plan.slots:
            lines.append(f"  label {label}: {plan.names[label]}, new ({plan.counts[label]} images)")
        elif label in plan.remaining:
            lines.append(f"  label {label}: {plan.names[label]} ({plan.counts[label]} images)")
        else:
            lines.append(f"  label {label}: not used any more")
    what = {"swap": "starts from", "resume": "goes on in", "evaluate": "is evaluated in"}[run.mode]
    print(f"rcas: {run.settings.method} {what} {run.source}", *lines, sep="\n")
    for remark in plan.remarks:
        print(f"rcas: {remark}")


def _define_losses(original: Any) -> Any:
    @functools.wraps(original)
    def define_losses(self: Any) -> None:
        original(self)
        if RUN.method is not None:
            factor = self.LOSS.mh_lambda if self.LOSS.adv_loss == "MH" else 1.0
            self.LOSS.g_loss = _with_term(self.LOSS.g_loss, GENERATOR, factor)
            self.LOSS.d_loss = _with_term(self.LOSS.d_loss, DISCRIMINATOR)

    return define_losses


def _define_optimizer(original: Any) -> Any:
    @functools.wraps(original)
    def define_optimizer(self: Any, Gen: Any, Dis: Any) -> None:
        original(self, Gen, Dis)
        if RUN.method is not None and RUN.gan is not None:
            built = {GENERATOR: self.OPTIMIZATION.g_optimizer, DISCRIMINATOR: self.OPTIMIZATION.d_optimizer}
            RUN.method.optimizers_built(RUN.gan, built, lambda: RUN.step)

    return define_optimizer


def _with_term(loss: Any, role: str, factor: float = 1.0) -> Any:
    """The loss with the method's term; `factor` is what upstream multiplies the sum by, and the term counts whole."""

    @functools.wraps(loss)
    def total(*args: Any, **kwargs: Any) -> Any:
        value = loss(*args, **kwargs)
        if RUN.method is None or not RUN.seen:  # multi-hinge calls d_loss twice an update; the term is added once
            return value
        seen, RUN.seen = RUN.seen, []
        if role == GENERATOR:
            term = RUN.method.generator_loss(Batch(RUN.step, *seen[0]))
        else:
            real, fake = seen[:2]
            term = RUN.method.discriminator_loss(Batch(RUN.step, *fake, *real))
        return value if term is None else value + term / factor

    return total


# data ------------------------------------------------------------------------------------------------------------------


def _dataset(original: Any) -> Any:
    @functools.wraps(original, updated=())
    def dataset(*args: Any, **kwargs: Any) -> Any:
        base = original(*args, **kwargs)
        if RUN.base is None:  # the training data come first
            RUN.base = base
        if RUN.swap is None:
            return base
        trains = RUN.data is None
        data = swap_dataset(base, RUN.swap.plan, RUN.swap.classes, RUN.cfgs.DATA.img_size, RUN.cfgs.RUN.pre_resizer,
                            balance=trains and RUN.cfgs.RUN.train and RUN.swap.settings.balance)  # fmt: skip
        if trains:
            RUN.data = data
        return data

    return dataset


def _cached_apart(original: Any) -> Any:
    """Upstream caches statistics of the real data by the names of data set and backbone; a swap's real data are others, the
    plugin's backbones differ by their content, and images may have been replaced since."""

    @functools.wraps(original)
    def prepare(*args: Any, cfgs: Any, **kwargs: Any) -> Any:
        if is_own(cfgs.RUN.eval_backbone):
            cfgs = copy.copy(cfgs)
            cfgs.RUN = copy.copy(cfgs.RUN)
            cfgs.RUN.eval_backbone = cache_name(RUN, cfgs.RUN.eval_backbone)
        if files := files_fingerprint(cfgs.RUN.data_dir, cfgs.DATA.name, train=cfgs.RUN.ref_dataset == "train"):
            cfgs = copy.copy(cfgs)
            cfgs.DATA = copy.copy(cfgs.DATA)
            cfgs.DATA.name += f"-{files}"
        if RUN.swap is not None:
            plan = RUN.swap.plan
            key = json.dumps([sorted(plan.class_to_label.items()), {k: list(v) for k, v in plan.new_files.items()}])
            cfgs = copy.copy(cfgs)
            cfgs.DATA = copy.copy(cfgs.DATA)
            cfgs.DATA.name += "-swap-" + hashlib.sha256(key.encode()).hexdigest()[:12]
        return original(*args, cfgs=cfgs, **kwargs)

    return prepare


def _sample_y(original: Any) -> Any:
    @functools.wraps(original)
    def sample_y(y_sampler: Any, batch_size: int, num_classes: int, device: Any) -> Any:
        if RUN.swap is None or isinstance(y_sampler, int):
            return original(y_sampler=y_sampler, batch_size=batch_size, num_classes=num_classes, device=device)
        live = torch.tensor(RUN.swap.plan.live, device=device)
        drawn = original(y_sampler=y_sampler, batch_size=batch_size, num_classes=len(live), device=device)
        return None if drawn is None else live[drawn]

    return sample_y


def _generate_images(original: Any) -> Any:
    @functools.wraps(original)
    def generate_images(*args: Any, **kwargs: Any) -> Any:
        made = original(*args, **kwargs)
        RUN.seen.clear()
        return made

    return generate_images


# networks and checkpoints -----------------------------------------------------------------------------------------------


def _load_networks(original: Any) -> Any:
    @functools.wraps(original)
    @stop_with_a_sentence
    def load_generator_discriminator(*args: Any, **kwargs: Any) -> Any:
        networks = original(*args, **kwargs)
        swap = RUN.swap
        if swap is None:
            return networks
        cfgs, logger = RUN.cfgs, kwargs.get("logger")
        gan = Gan(networks[0], networks[3], networks[4], latents_of(cfgs.MODEL))
        if swap.mode == "evaluate":
            rebuild_adapters(gan, read_states(swap.source, best=cfgs.RUN.load_best))
            return networks
        RUN.gan = gan
        context = Context(
            settings=swap.settings,
            plan=swap.plan,
            seed=cfgs.RUN.seed,
            total_steps=cfgs.OPTIMIZATION.total_steps,
            directory=_folder(cfgs, swap, logger),
            log=logger.info if logger is not None else lambda line: None,
            real_images=RUN.data.images_of if RUN.data is not None else None,
        )
        RUN.method = phases[swap.settings.method](context)
        if not swap.starts:
            RUN.method.restore(gan, read_states(swap.source, best=cfgs.RUN.load_best))
            RUN.step = _step_of(swap.source, cfgs.RUN.load_best)
            if logger is not None:
                RUN.observer = _observer(Path(swap.source), swap, None, logger)
            _accelerate(gan, swap)
            return networks
        RUN.method.load(gan, read_states(swap.source, best=cfgs.RUN.load_best, folded=True))
        if context.directory is not None:
            RUN.observer = _observer(context.directory, swap, gan, logger)
            RUN.observer.before(gan)
        RUN.method.prepare(gan)
        if RUN.observer is not None:
            RUN.observer.prepared(gan)
            shutil.copyfile(_log_file(cfgs), _log_file(cfgs).with_suffix(".kept"))  # upstream removes the log before it loads
        _accelerate(gan, swap)
        return networks

    return load_generator_discriminator


def _observer(folder: Path, swap: SwapRun, pretrained: Gan | None, logger: Any) -> Observer:
    """Of the process that writes files; `pretrained` is None where a run goes on."""
    targets, names = targets_and_names(RUN.base)
    if RUN.base.hdf5_path is not None and len(swap.classes.names) > max(targets):  # HDF5 files hold indices, folders names
        names = swap.classes.names
    assert RUN.data is not None
    return Observer.of(
        folder, swap.plan, swap.settings, base=RUN.base, targets=targets, classes=names, swapped=RUN.data,
        fingerprint=fingerprint(RUN), cache=domain_folder(RUN), pretrained=pretrained, origin=swap.origin, log=logger.info,
    )  # fmt: skip


def _folder(cfgs: Any, swap: SwapRun, logger: Any) -> Path | None:
    """Where the run keeps its files: one process writes them at the start, every process reads them when the run goes on."""
    if not swap.starts:
        return Path(swap.source)
    return _own_folder(cfgs) if logger is not None else None


def _step_of(folder: str, best: bool) -> int:
    return int(read_checkpoint(checkpoint_files(folder, best=best)["D"])["step"])


def _parallel(original: Any) -> Any:
    """Several processes average the gradient of what is trained when they are built, and wait for all of it.

    What is trained may change later, so everything is while upstream builds them, and the method chooses again afterwards.
    """

    @functools.wraps(original)
    def prepare_parallel_training(*args: Any, **kwargs: Any) -> Any:
        model: Any = importlib.import_module("models.model")
        ddp = model.DDP
        networks = [] if RUN.gan is None else list(RUN.gan.networks.values())
        frozen = any(not parameter.requires_grad for network in networks for parameter in network.parameters())
        if frozen or RUN.cfgs.RUN.freezeD > 0 or (RUN.method is not None and RUN.method.freezes):
            model.DDP = lambda module, **options: ddp(module, **{**options, "find_unused_parameters": True})
        for network in networks:
            network.requires_grad_(True)
            if dist.is_initialized():
                for buffer in network.buffers():  # parameters are sent around as they are built; what was prepared changed both
                    dist.broadcast(buffer, 0)
        try:
            made = original(*args, **kwargs)
        finally:
            model.DDP = ddp
        if RUN.method is not None and RUN.gan is not None:
            RUN.method.choose_trained(RUN.gan)
        return made

    return prepare_parallel_training


def _accelerate(gan: Gan, swap: SwapRun) -> None:
    if swap.settings.accelerate:
        accelerate(gan.generator, gan.discriminator)


def _own_folder(cfgs: Any) -> Path:
    return Path(cfgs.RUN.save_dir) / "checkpoints" / str(cfgs.rcas_run_name)


def _log_file(cfgs: Any) -> Path:
    return Path(cfgs.RUN.save_dir) / "logs" / f"{cfgs.rcas_run_name}.log"


def _load_checkpoint(original: Any) -> Any:
    @functools.wraps(original)
    def load_StudioGAN_ckpts(**given: Any) -> Any:  # noqa: N802  (upstream's name)
        if RUN.swap is None or not RUN.swap.starts:
            return original(**given)
        # the weights are loaded already; a swap starts at step 0 in a folder of its own, with fresh optimisers: their
        # moments were gathered for the old class
        options, logger, run_name = given["RUN"], given["logger"], given["run_name"]
        options.ckpt_dir = str(_own_folder(RUN.cfgs))
        if given["global_rank"] == 0:
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
        if given["apply_g_ema"]:
            given["ema"].source, given["ema"].target = given["Gen"], given["Gen_ema"]
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
        for name, parameter in self._network.named_parameters():
            path, adapted, rest = name.partition(".parametrizations.")
            if not adapted:
                yield name, parameter
            elif rest.endswith(".original"):
                yield f"{path}.{rest.removesuffix('.original')}", parameter


def _calculate_all_sn(original: Any) -> Any:
    @functools.wraps(original)
    def calculate_all_sn(model: Any, prefix: str) -> Any:
        return original(_PlainNames(model), prefix)

    return calculate_all_sn


def _toggle_grad(original: Any) -> Any:
    @functools.wraps(original)
    def toggle_grad(model: Any, grad: bool, *args: Any, **kwargs: Any) -> None:
        original(model, grad, *args, **kwargs)
        if not grad or RUN.method is None or RUN.gan is None:
            return
        network = importlib.import_module("utils.misc").peel_model(model)
        roles: Mapping[Any, str] = {RUN.gan.generator: GENERATOR, RUN.gan.discriminator: DISCRIMINATOR}
        if network in roles:
            for name, parameter in network.named_parameters():
                if not RUN.method.trainable(roles[network], name):
                    parameter.requires_grad = False

    return toggle_grad


def _update_average(original: Any) -> Any:
    """What the method does not let the moving average of G take in stays what it is."""

    @functools.wraps(original)
    def update(self: Any, *args: Any, **kwargs: Any) -> None:
        held = []
        if RUN.method is not None:
            named = (*self.target.named_parameters(), *self.target.named_buffers())
            held = [(tensor.data, tensor.detach().clone()) for name, tensor in named if not RUN.method.averaged(name)]
        original(self, *args, **kwargs)
        for tensor, value in held:
            tensor.copy_(value)

    return update


def _register_stylegan_layers() -> None:
    """StyleGAN's layers are types of upstream's own; their weights are as selectable as any other's."""
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
        if hasattr(module, "MinibatchStdLayer"):
            register_minibatch_layer(module.MinibatchStdLayer, "group_size")
