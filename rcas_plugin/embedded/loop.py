"""Train or swap on image folders with the embedded networks, as `main.py` would: same configs, methods and files."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor
from torch.utils.data import TensorDataset
from tqdm.auto import tqdm

from rcas_plugin.adversarial import LOSSES
from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.checkpoints.folder import compare, labels_in
from rcas_plugin.checkpoints.leftovers import clear_leftovers
from rcas_plugin.checkpoints.lineage import check_tasks
from rcas_plugin.data.look import look_at, seen
from rcas_plugin.embedded.data import fingerprint, read_images
from rcas_plugin.embedded.files import new_folder, write_states
from rcas_plugin.embedded.networks import SIZES, Discriminator, Generator, with_defaults
from rcas_plugin.embedded.steps import Loop
from rcas_plugin.errors import RcasError
from rcas_plugin.gan import Gan, default_device, gaussian_latents, seeded
from rcas_plugin.labels import DataClasses, SwapDataset, resolve_labels
from rcas_plugin.methods.base import Context, Method
from rcas_plugin.record import plain_record, swap_record, write_record
from rcas_plugin.registry import methods
from rcas_plugin.report.page import REPORT, write_report
from rcas_plugin.run.images import images_seen
from rcas_plugin.run.lifecycle import Lifecycle
from rcas_plugin.same_swap import same_swap, settings_of
from rcas_plugin.settings import parse_settings
from rcas_plugin.watch.observer import Observer


def build_gan(config: Mapping[str, Any], *, seed: int = 0) -> Gan:
    """The embedded networks of a config, newly drawn from the seed, on the CPU."""
    model, num_classes, size = with_defaults(config)["MODEL"], config["DATA"]["num_classes"], config["DATA"]["img_size"]
    with seeded(seed, torch.device("cpu")):
        generator = Generator(model["z_dim"], num_classes, model["g_conv_dim"], size)
        discriminator = Discriminator(num_classes, model["d_conv_dim"])
        average = Generator(model["z_dim"], num_classes, model["g_conv_dim"], size) if model.get("apply_g_ema") else None
    if average is not None:
        average.load_state_dict(generator.state_dict())
    return Gan(generator, discriminator, average, gaussian_latents(model["z_dim"]))


def load_gan(cfg: str | Path | Mapping[str, Any], ckpt_dir: str | Path | None, *, seed: int = 0, best: bool = False) -> Gan:
    """The embedded networks of a config, with a checkpoint in them or (None) newly drawn; what was adapted is folded.

    Args:
        cfg: the config: the file, or its content.
        ckpt_dir: a checkpoint folder.
        seed: of networks that are newly drawn.
        best: take the best checkpoint and not the newest.
    """
    gan = build_gan(read_config(cfg), seed=seed)
    if ckpt_dir is not None:
        checkpoint = Checkpoint.read(ckpt_dir, best=best)
        _check_fits(checkpoint, gan)
        for name, network in gan.networks.items():
            network.load_state_dict(checkpoint.folded.states[name])
    return gan


def train(
    cfg_file: str | Path,
    data_dir: str | Path,
    save_dir: str | Path,
    ckpt_dir: str | Path | None = None,
    *,
    seed: int = 0,
    save_freq: int = 100,
    best: bool = False,
    progress: bool = True,
    device: torch.device | None = None,
) -> Path:
    """Pre-train, or swap a class where the config has an `RCAS` section, or go on with that swap; the run's checkpoint folder.

    A swap goes on where `ckpt_dir` is its own folder: with the weights, optimisers and draws of its newest checkpoint, so that it
    ends as if it had not been interrupted.

    Args:
        cfg_file: a StudioGAN config with MODEL.backbone resnet and DATA.img_size 32.
        data_dir: holds train/<class>/.
        save_dir: the run's folder goes to save_dir/checkpoints/.
        ckpt_dir: of a swap the pre-trained checkpoint, or the swap's own; else the weights to start from.
        seed: of everything that is drawn.
        save_freq: steps between checkpoints.
        best: start from the best checkpoint in `ckpt_dir` and not from the newest; a swap that goes on takes the newest.
        progress: show progress bars.
        device: of the networks (default: `default_device`); checkpoints hold their tensors on the CPU.

    Raises:
        RcasError: an `RCAS` section without a checkpoint, or one that does not fit the data.
    """
    config = read_config(cfg_file)
    settings = parse_settings(config["RCAS"]) if "RCAS" in config else None
    look = look_at(Path(data_dir) / "train")
    images, targets, classes = read_images(look.listing.root, config["DATA"]["img_size"], look)
    device = device or default_device()
    clear_leftovers(save_dir, spare=ckpt_dir)
    if settings is not None:
        if ckpt_dir is None:
            raise RcasError("-ckpt is missing; RCAS swaps a class of a pre-trained GAN, give the folder of its checkpoint")
        if settings.new_data is not None:
            raise RcasError("RCAS.new_data: the embedded loop reads one data set; put the new class's folder into it")
        run = _swap(config, cfg_file, (images, targets, classes), save_dir, Path(ckpt_dir), seed, device, best=best)
    else:
        gan = load_gan(cfg_file, ckpt_dir, seed=seed, best=best).to(device)
        loop = Loop(gan, images, targets, torch.arange(config["DATA"]["num_classes"]), _options(config),
                    torch.Generator().manual_seed(seed))  # fmt: skip
        run = _Run(new_folder(save_dir, config, cfg_file, "train"), loop, plain_record(classes.names), seed)
    sections = {name: keys for name, keys in config.items() if name != "RCAS"}
    run.record = {**run.record, "config": sections, "embedded": True, "images": images_seen(seen(look), settings, ckpt_dir)}
    return run.train(save_freq, progress=progress)


def evaluate(cfg_file: str | Path, data_dir: str | Path, ckpt_dir: str | Path, *, seed: int = 0) -> dict[str, Any]:
    """The swap metrics of a swap's checkpoint as it is now; nothing is written into its folder.

    Raises:
        RcasError: the config holds no `RCAS` section, or it does not fit the checkpoint or the data.
    """
    config = read_config(cfg_file)
    if "RCAS" not in config:
        raise RcasError("RCAS is missing; swap metrics are those of a config with that section")
    parse_settings(config["RCAS"])  # a mistake in it comes first
    data = read_images(Path(data_dir) / "train", config["DATA"]["img_size"])
    with tempfile.TemporaryDirectory(prefix="rcas-evaluate-") as folder:
        run = _swap(config, cfg_file, data, folder, Path(ckpt_dir), seed, default_device(), evaluates=True)
        observer = run.loop.lifecycle.observer if run.loop.lifecycle is not None else None
        if observer is None or observer.judge is None:
            raise RcasError("RCAS.swap_metrics: 0 images a label are judged; give a number of images")
        return observer.judge.measure(run.loop.gan)


def _swap(
    config: Mapping[str, Any],
    cfg_file: str | Path,
    data: tuple[Tensor, Tensor, DataClasses],
    save_dir: str | Path,
    ckpt_dir: Path,
    seed: int,
    device: torch.device,
    *,
    best: bool = False,
    evaluates: bool = False,
) -> _Run:
    """A swap that starts or goes on, up to its first step."""
    (images, targets, classes), checkpoint = data, Checkpoint.read(ckpt_dir)
    record, num_classes, total = checkpoint.record, config["DATA"]["num_classes"], config["OPTIMIZATION"]["total_steps"]
    settings = settings_of(record, config["RCAS"])
    goes_on = same_swap(record, settings)
    if not goes_on:
        check_tasks(ckpt_dir, record, settings.method)
        if best:
            checkpoint = Checkpoint.read(ckpt_dir, best=True)
    gan = build_gan(config, seed=seed).to(device)
    recorded = record.labels_before if goes_on else record.labels
    before = len(recorded) if goes_on else _labels_before(checkpoint.folded.states["generator"], gan, config, num_classes)
    method_class = methods[settings.method]
    plan = resolve_labels(settings, num_classes, classes, recorded, num_before=before, dropped=record.dropped,
                          former=() if goes_on else record.former, shown=method_class.shown(settings))  # fmt: skip
    method_class.check(settings, plan, total)
    if not method_class.changes_labels:
        _check_fits(checkpoint, gan)
    if not goes_on:
        method_class.check_networks(settings, plan, build_gan(config), checkpoint.folded.states)
    swapped = SwapDataset(TensorDataset(images), targets.tolist(), plan, balance=settings.balance, share=settings.drawn_share)
    folder = ckpt_dir if goes_on and not evaluates else new_folder(save_dir, config, cfg_file, settings.method)
    method: Method = method_class(
        Context(settings, plan, seed, total, ckpt_dir if goes_on else folder, real_images=swapped.images_of)
    )

    def observe(pretrained: Gan | None) -> Observer:
        return Observer.of(
            folder, plan, settings, base=TensorDataset(images), targets=targets.tolist(), classes=classes.names, swapped=swapped,
            fingerprint=fingerprint(images, classes), cache=Path(save_dir) / "domain", pretrained=pretrained,
            origin=record.source if goes_on and record.source else str(ckpt_dir.resolve()),
        )  # fmt: skip

    start = Lifecycle.go_on if goes_on else Lifecycle.begin
    lifecycle = start(method, gan, checkpoint, observe)
    drawn = method_class.drawn(settings, plan)
    shown = swapped if method_class.shown(settings) == "all" else swapped.under(plan.slots)
    items = [int(item) for item in shown.items]
    loop = Loop(gan, images[items], torch.tensor(shown.labels), torch.tensor(drawn), _options(config),
                torch.Generator().manual_seed(seed), lifecycle=lifecycle, accelerated=settings.accelerate)  # fmt: skip
    if goes_on:
        for name, network in gan.networks.items():
            network.load_state_dict(checkpoint.states[name])
        loop.go_on(checkpoint)
    source = record.source if goes_on and record.source else ckpt_dir
    return _Run(folder, loop, swap_record(settings, plan, source, lifecycle.inherited), seed)


@dataclass
class _Run:
    """A run up to its first step: where it is written, its loop, and what is recorded beside its checkpoints."""

    folder: Path
    loop: Loop
    record: Mapping[str, Any]
    seed: int

    def train(self, save_freq: int, *, progress: bool = True) -> Path:
        """All steps that are left, with a checkpoint every `save_freq`; the folder."""
        loop, lifecycle = self.loop, self.loop.lifecycle
        self._write_record()
        if lifecycle is not None and lifecycle.starts and lifecycle.keeps_best:
            self._save(0)  # what preparation has made may be the best there will be
        what = "training" if lifecycle is None else f"{lifecycle.method.context.settings.method}: training"
        stops = lifecycle is not None and lifecycle.stops
        steps = range(loop.current, loop.current if stops else loop.total)
        for step in tqdm(
            steps, desc=what, unit="step", initial=loop.current, total=loop.total, disable=None if progress else True
        ):
            loop.step(step)
            if (step + 1) % save_freq == 0 or step + 1 == loop.total:
                self._save(step + 1)
                if lifecycle is not None and lifecycle.stops:
                    break
        if lifecycle is not None:
            lifecycle.say_stopped()
            lifecycle.finish()
            if lifecycle.observer is not None and lifecycle.observer.judge is not None:
                write_report([self.folder], self.folder / REPORT)
        return self.folder

    def _save(self, step: int) -> None:
        """Write a checkpoint of `step` steps, and have it judged; where nothing judges, the newest is the best."""
        lifecycle = self.loop.lifecycle
        if lifecycle is not None:
            lifecycle.saving(step)
        write_states(self.folder, self.loop, step, self.seed, best=lifecycle is None or not lifecycle.keeps_best)
        self._write_record()
        if lifecycle is not None:
            lifecycle.saved(step)

    def _write_record(self) -> None:
        of_method = {} if self.loop.lifecycle is None else {"method": self.loop.lifecycle.record()}
        write_record(self.folder, {**self.record, **of_method})


def _options(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config's OPTIMIZATION section, with the keys of the moving average of MODEL and the adversarial loss of LOSS."""
    average = {key: value for key, value in config.get("MODEL", {}).items() if key in ("g_ema_decay", "g_ema_start")}
    return {"adv_loss": config.get("LOSS", {}).get("adv_loss", "hinge"), **config["OPTIMIZATION"], **average}


def _check_fits(checkpoint: Checkpoint, gan: Gan) -> None:
    """Raise `RcasError` unless the checkpoint's tensors are those of the config's networks."""
    plain, files = checkpoint.folded.states, checkpoint.files
    compare(plain["generator"], gan.generator.state_dict(), files["G"], "resnet")
    compare(plain["discriminator"], gan.discriminator.state_dict(), files["D"], "resnet")


def _labels_before(state: Mapping[str, Tensor], gan: Gan, config: Mapping[str, Any], labels: int) -> int:
    """The number of labels of a checkpoint's GAN, by its generator's state."""
    more = build_gan({**config, "DATA": {**config["DATA"], "num_classes": labels + 1}}).generator.state_dict()
    return labels_in(state, gan.generator.state_dict(), more, labels)


def read_config(cfg: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """A config for the embedded networks, from its file or its content; raises `RcasError` where they are not its networks."""
    content = cfg if isinstance(cfg, Mapping) else yaml.safe_load(Path(cfg).read_text(encoding="utf-8"))
    name = "its config" if isinstance(cfg, Mapping) else cfg
    if content.get("MODEL", {}).get("backbone", "resnet") != "resnet" or content["DATA"]["img_size"] not in SIZES:
        raise RcasError(f"{name}: the embedded networks are resnet at 32x32, or at 16x16; other backbones need StudioGAN")
    if (loss := content.get("LOSS", {}).get("adv_loss", "hinge")) not in LOSSES:
        raise RcasError(f"{name}: LOSS.adv_loss is {loss!r}; allowed for the embedded networks: {', '.join(LOSSES)}")
    return dict(content)
