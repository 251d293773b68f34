"""Train or swap on image folders with the embedded networks, as `main.py` would: same configs, methods and files."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from torch import Tensor
from torch.utils.data import TensorDataset
from torchvision import transforms
from tqdm.auto import tqdm

from rcas_plugin.checkpoints.folder import labels_in, read_states, write_checkpoint
from rcas_plugin.checkpoints.leftovers import clear_leftovers
from rcas_plugin.data.check import Preparation, problems
from rcas_plugin.data.folders import ClassFolders
from rcas_plugin.data.look import look_at
from rcas_plugin.embedded.networks import Discriminator, Generator
from rcas_plugin.errors import RcasError
from rcas_plugin.gan import DISCRIMINATOR, GENERATOR, Gan, gaussian_latents
from rcas_plugin.labels import DataClasses, SwapDataset, resolve_labels
from rcas_plugin.methods.base import Batch, Context, Method
from rcas_plugin.record import plain_record, read_record, swap_record, write_record
from rcas_plugin.registry import phases
from rcas_plugin.report.page import REPORT, write_report
from rcas_plugin.settings import parse_settings
from rcas_plugin.watch.observer import Observer
from rcas_plugin.weights.accelerate import accelerate


def load_gan(cfg_file: str | Path, ckpt_dir: str | Path | None, *, seed: int = 0) -> Gan:
    """The embedded networks of a config, with a checkpoint in them or (None) newly drawn."""
    config = _read(cfg_file)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, num_classes = config["MODEL"], config["DATA"]["num_classes"]
        gan = Gan(
            Generator(model["z_dim"], num_classes, model["g_conv_dim"]),
            Discriminator(num_classes, model["d_conv_dim"]),
            None,
            gaussian_latents(model["z_dim"]),
        )
    if ckpt_dir is not None:
        for name, state in read_states(ckpt_dir, folded=True).items():
            if name in gan.networks:
                gan.networks[name].load_state_dict(state)
    return gan


def train(
    cfg_file: str | Path,
    data_dir: str | Path,
    save_dir: str | Path,
    ckpt_dir: str | Path | None = None,
    *,
    seed: int = 0,
    save_freq: int = 100,
    progress: bool = True,
) -> Path:
    """Pre-train, or swap a class where the config has an `RCAS` section; returns the run's checkpoint folder.

    Raises:
        RcasError: an `RCAS` section without a checkpoint, or one that does not fit the data.
    """
    config = _read(cfg_file)
    images, targets, classes = _read_images(Path(data_dir) / "train", config["DATA"]["img_size"])
    settings = parse_settings(config["RCAS"]) if "RCAS" in config else None
    phase = settings.method if settings else "train"
    clear_leftovers(save_dir, spare=ckpt_dir)
    stamp = datetime.datetime.now().strftime("%Y_%m_%d_%H_%M_%S")
    run_name = f"{config['DATA']['name']}-{Path(cfg_file).stem}-{phase}-{stamp}"
    folder = Path(save_dir) / "checkpoints" / run_name
    method: Method | None = None
    observer: Observer | None = None
    live, labels = torch.arange(config["DATA"]["num_classes"]), targets
    if settings is not None:
        if ckpt_dir is None:
            raise RcasError("-ckpt is missing; RCAS swaps a class of a pre-trained GAN, give the folder of its checkpoint")
        if settings.new_data is not None:
            raise RcasError("RCAS.new_data: the embedded loop reads one data set; put the new class's folder into it")
        gan, states = load_gan(cfg_file, None, seed=seed), read_states(ckpt_dir, folded=True)
        before = _labels_before(states["generator"], gan, config["MODEL"], len(live))
        record = read_record(ckpt_dir)
        plan = resolve_labels(settings, len(live), classes, record.labels, num_before=before, dropped=record.dropped,
                              former=record.former)  # fmt: skip
        total_steps = config["OPTIMIZATION"]["total_steps"]
        phases[settings.method].check(settings, plan, total_steps)
        data = SwapDataset(TensorDataset(images), targets.tolist(), plan, balance=settings.balance)
        base_images = images
        images, labels = images[[int(item) for item in data.items]], torch.tensor(data.labels)
        live = torch.tensor(plan.live)
        method = phases[settings.method](Context(settings, plan, seed, total_steps, folder, real_images=data.images_of))
        method.load(gan, states)
        observer = Observer.of(
            folder, plan, settings, base=TensorDataset(base_images), targets=targets.tolist(), classes=classes.names,
            swapped=data, fingerprint=_fingerprint(base_images, classes), cache=Path(save_dir) / "domain", pretrained=gan,
            origin=str(Path(ckpt_dir).resolve()),
        )  # fmt: skip
        observer.before(gan)
        method.prepare(gan)
        observer.prepared(gan)
    else:
        gan = load_gan(cfg_file, ckpt_dir, seed=seed)

    options = config["OPTIMIZATION"]
    loop = Loop(gan, images, labels, live, options, torch.Generator().manual_seed(seed), method=method,
                accelerated=settings is not None and settings.accelerate)  # fmt: skip
    if settings is None or method is None or ckpt_dir is None:
        write_record(folder, plain_record(classes.names))
    else:
        write_record(folder, {**swap_record(settings, plan, ckpt_dir), "method": method.record()})
    total = options["total_steps"]
    for step in tqdm(range(total), desc=f"{phase}: training", unit="step", disable=None if progress else True):
        loop.step(step)
        if (step + 1) % save_freq == 0 or step + 1 == total:
            _save(folder, gan, loop, step + 1, seed, run_name)
            if observer is not None:
                observer.saved(step + 1, gan)
    if observer is not None and observer.judge is not None:
        write_report([folder], folder / REPORT)
    return folder


class Loop:
    """StudioGAN's step with the hinge loss: some updates of D, then one of G.

    Args:
        gan: trained in place.
        images: real images (n, 3, size, size) in [-1, 1].
        labels: the label (n,) of each.
        live: the labels that are drawn for fakes.
        options: the config's OPTIMIZATION section.
        source: draws batches, labels and latents.
        method: the method at work, or None.
        accelerated: channels-last weights and bfloat16 (`RCAS.accelerate`).
    """

    def __init__(
        self,
        gan: Gan,
        images: Tensor,
        labels: Tensor,
        live: Tensor,
        options: Mapping[str, Any],
        source: torch.Generator,
        *,
        method: Method | None = None,
        accelerated: bool = False,
    ) -> None:
        self.gan, self.images, self.labels, self.live, self.method = gan, images, labels, live, method
        self.batch_size, self.source = options["batch_size"], source
        self.d_updates = options.get("d_updates_per_step", 1)
        if accelerated:
            accelerate(gan.generator, gan.discriminator)
        betas = (float(options.get("beta1", 0.5)), float(options.get("beta2", 0.999)))
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        for role, network, rate in (
            (GENERATOR, gan.generator, "g_lr"),
            (DISCRIMINATOR, gan.discriminator, "d_lr"),
        ):
            self.optimizers[role] = torch.optim.Adam(network.parameters(), options.get(rate, 2e-4), betas, eps=1e-6)
        self.current = 0
        if method is not None:
            method.optimizers_built(gan, self.optimizers, lambda: self.current)

    def step(self, step: int) -> None:
        """One step, counted from 0."""
        self.current = step
        self.gan.generator.train()
        self.gan.discriminator.train()
        for _ in range(self.d_updates):
            self._update_discriminator(step)
        self._update_generator(step)
        if self.method is not None:
            self.method.after_step(step)

    def _update_discriminator(self, step: int) -> None:
        pick = torch.randint(len(self.images), (self.batch_size,), generator=self.source)
        real, real_labels = self.images[pick], self.labels[pick]
        with torch.no_grad():
            fake, fake_labels = self._fakes()
        judge = self.gan.discriminator
        loss = F.relu(1 - judge(real, real_labels)["adv_output"]).mean()
        loss = loss + F.relu(1 + judge(fake, fake_labels)["adv_output"]).mean()
        batch = Batch(step, fake, fake_labels, real, real_labels)
        term = None if self.method is None else self.method.discriminator_loss(batch)
        self._update(DISCRIMINATOR, loss, term)

    def _update_generator(self, step: int) -> None:
        fake, fake_labels = self._fakes()
        loss = -self.gan.discriminator(fake, fake_labels)["adv_output"].mean()
        term = None if self.method is None else self.method.generator_loss(Batch(step, fake, fake_labels))
        self._update(GENERATOR, loss, term)

    def _fakes(self) -> tuple[Tensor, Tensor]:
        device = self.images.device
        labels = self.live[torch.randint(len(self.live), (self.batch_size,), generator=self.source)].to(device)
        return self.gan.generator(self.gan.latents(self.batch_size, self.source).to(device), labels), labels

    def _update(self, role: str, loss: Tensor, term: Tensor | None) -> None:
        optimizer = self.optimizers[role]
        optimizer.zero_grad()
        (loss if term is None else loss + term).backward()
        optimizer.step()


def _labels_before(state: Mapping[str, Tensor], gan: Gan, model: Mapping[str, Any], labels: int) -> int:
    """How many labels the GAN of a checkpoint has, by its generator's state."""
    with torch.random.fork_rng(devices=[]):
        more = Generator(model["z_dim"], labels + 1, model["g_conv_dim"]).state_dict()
    return labels_in(state, gan.generator.state_dict(), more, labels)


def _save(folder: Path, gan: Gan, loop: Loop, step: int, seed: int, run_name: str) -> None:
    """Write a checkpoint in upstream's layout (`src/worker.py`, save), as newest and as best, and drop the one before."""
    states = {
        "G": {"state_dict": gan.generator.state_dict(), "optimizer": loop.optimizers[GENERATOR].state_dict()},
        "D": {"state_dict": gan.discriminator.state_dict(), "optimizer": loop.optimizers[DISCRIMINATOR].state_dict(),
              "seed": seed, "run_name": run_name, "step": step, "epoch": 0, "topk": loop.batch_size, "aa_p": None,
              "best_step": step, "best_fid": None, "best_fid_ckpt": str(folder), "lecam_emas": None},
    }  # fmt: skip
    for network, state in states.items():
        for when in ("current", "best"):
            write_checkpoint(folder, network, when, step, state)


def _read(cfg_file: str | Path) -> dict[str, Any]:
    content = yaml.safe_load(Path(cfg_file).read_text(encoding="utf-8"))
    if content["MODEL"].get("backbone", "resnet") != "resnet" or content["DATA"]["img_size"] != 32:
        raise RcasError(f"{cfg_file}: the embedded networks are resnet at 32x32; other backbones need StudioGAN")
    return dict(content)


def _fingerprint(images: Tensor, classes: DataClasses) -> str:
    return hashlib.sha256(images.numpy().tobytes() + repr(classes).encode()).hexdigest()[:16]


def _read_images(folder: Path, size: int) -> tuple[Tensor, Tensor, DataClasses]:
    """All images (n, 3, size, size) in [-1, 1], their class indices (n,), and the classes; the centre square, resized."""
    # classes of one colour are fine to try things on here, so none is asked about
    if found := problems(look_at(folder), Preparation(size, "lanczos"), used=()):
        raise RcasError(found[0])
    data = ClassFolders(folder, transforms.Compose([
        _centre_square, transforms.Resize((size, size), transforms.InterpolationMode.LANCZOS), transforms.ToTensor(),
        transforms.Normalize([0.5] * 3, [0.5] * 3)]))  # fmt: skip
    bar = tqdm(data, desc="reading images", unit="image", delay=2, disable=None)
    images = torch.stack([image for image, _ in bar])
    targets = torch.tensor(data.targets)
    counts = torch.bincount(targets, minlength=len(data.classes)).tolist()
    return images, targets, DataClasses(tuple(data.classes), tuple(counts))


def _centre_square(image: Image.Image) -> Image.Image:
    return transforms.functional.center_crop(image, min(image.size))  # type: ignore[no-any-return]
