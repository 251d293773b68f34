"""`--GAN_train` and `--GAN_test`: the classification accuracy score of a StudioGAN run, in place of upstream's own method."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rcas_plugin.errors import RcasError
from rcas_plugin.files import atomic_path, write_json
from rcas_plugin.gan import device_of, seeded
from rcas_plugin.metrics.accuracy_score import (
    AccuracyScore,
    Batches,
    Training,
    make_classifier,
    make_optimizer,
    score_classifier,
    train_classifier,
)
from rcas_plugin.studiogan.data import TORCHVISION

#: Written beside the checkpoint: option -> its score.
SCORES = "accuracy_score.json"
#: The environment variable with the number of epochs, for which upstream has no option.
EPOCHS = "RCAS_CLASSIFIER_EPOCHS"


def compute_score(worker: Any, option: str) -> AccuracyScore:
    """Train and test a classifier for a worker's generator, log the score, and write it and the classifier to `-ckpt`'s folder.

    The classifier is trained on generated images and tested on real ones for `GAN_train`, the other way round for `GAN_test`.
    Real images to test on are those of DATA/valid (of CIFAR its test set), and the training images where there are none.

    Args:
        worker: upstream's, with its generator loaded.
        option: `GAN_train` or `GAN_test`.

    Raises:
        RcasError: `-resume_ct` finds a classifier of another kind.
    """
    misc: Any = importlib.import_module("utils.misc")
    if worker.gen_ctlr.standing_statistics:
        worker.gen_ctlr.std_stat_counter += 1
    misc.make_GAN_untrainable(worker.Gen, worker.Gen_ema, worker.Dis)
    networks = worker.gen_ctlr.prepare_generator()
    training = training_of(worker)
    trained_on = worker.train_dataloader.dataset
    tested_on, which = _held_out(worker) if option == "GAN_train" else (None, "generated images")
    shown = "generated" if option == "GAN_train" else "real"
    worker.logger.info(
        f"{option}: ResNet-18 is trained on {shown} images, {training.epochs} epochs of {len(trained_on)}, and tested on {which}"
    )

    def generated() -> Iterator[tuple[Tensor, Tensor]]:
        return _generated(worker, networks, len(trained_on))

    real = _real(worker, trained_on, shuffle=True)
    batches, tests = (generated, _real(worker, tested_on)) if option == "GAN_train" else (real, generated)
    score = _train_and_test(worker, option, training, batches, tests, device_of(networks[0]))
    misc.make_GAN_trainable(worker.Gen, worker.Gen_ema, worker.Dis)
    worst = min(score.labels, key=lambda label: score.labels[label])
    worker.logger.info(
        f"{option}: top-1 {score.top1:.2f} %, top-5 {score.top5:.2f} % of {score.images} images; "
        f"the worst label is {worst}, {score.labels[worst]:.2f} %"
    )
    _keep(Path(worker.RUN.ckpt_dir) / SCORES, option, score)
    return score


def training_of(worker: Any) -> Training:
    """The classifier's training: as upstream sets it for this `DATA.name`, else as for CIFAR10; `EPOCHS` sets its length.

    Raises:
        RcasError: `EPOCHS` is no number.
    """
    known = worker.MISC.cas_setting.get(worker.DATA.name, {})
    training = Training(**{key: known[key] for key in ("epochs", "lr", "momentum", "weight_decay") if key in known})
    asked = os.environ.get(EPOCHS)
    if asked is None:
        return training
    if not asked.isdigit() or not int(asked):
        raise RcasError(f"{EPOCHS}: {asked!r} is not allowed; allowed: a whole number over 0, or leave it out")
    return dataclasses.replace(training, epochs=int(asked))


def _train_and_test(
    worker: Any, option: str, training: Training, batches: Batches, tests: Batches, device: torch.device
) -> AccuracyScore:
    path = Path(worker.RUN.ckpt_dir) / f"model=C-{'fake' if option == 'GAN_train' else 'real'}_trained-best-weights.pth"
    with seeded(worker.RUN.seed, torch.device("cpu")):
        model = make_classifier(worker.DATA.num_classes, worker.DATA.img_size).to(device)
    optimizer = make_optimizer(model, training)
    start = _resume(path, model, optimizer) if worker.RUN.resume_classifier_train else 0

    def save(epoch: int, top1: float = 0.0, top5: float = 0.0) -> None:
        content = {"state_dict": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch,
                   "best_top1": top1, "best_top5": top5, "best_epoch": epoch}  # fmt: skip
        with atomic_path(path) as temporary:
            torch.save(content, temporary)

    train_classifier(model, batches, training, optimizer=optimizer, start=start, after_epoch=save)
    score = score_classifier(model, tests, max(start, training.epochs))
    save(score.epochs, score.top1, score.top5)
    return score


def _resume(path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Load a classifier and its optimiser; the number of epochs that it has been trained for, 0 where there is none."""
    if not path.is_file():
        return 0
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(content["state_dict"])
        optimizer.load_state_dict(content["optimizer"])
        return int(content["epoch"])
    except Exception as error:
        raise RcasError(
            f"-resume_ct: {path} is no classifier of this kind ({type(error).__name__}); take it away, or leave the option out"
        ) from None


def _held_out(worker: Any) -> tuple[Dataset[Any], str]:
    """Real images that the GAN was not trained on, where there are any, and what they are."""
    RUN, DATA = worker.RUN, worker.DATA
    seen = "the training images, which the GAN has seen: DATA/valid holds none of the classes"
    if DATA.name not in TORCHVISION and not (Path(RUN.data_dir) / "valid").is_dir():
        return worker.train_dataloader.dataset, seen
    as_they_are = DATA.name in worker.MISC.no_proc_data
    loader: Any = importlib.import_module("loader")
    data = loader.Dataset_(
        data_name=DATA.name, data_dir=RUN.data_dir, train=False, crop_long_edge=not as_they_are,
        resize_size=None if as_they_are else DATA.img_size, resizer=RUN.pre_resizer, random_flip=False, normalize=True,
        hdf5_path=None, load_data_in_memory=False,
    )  # fmt: skip
    if not len(data):
        return worker.train_dataloader.dataset, seen
    return data, f"the {len(data)} images of {'its test set' if DATA.name in TORCHVISION else 'DATA/valid'}"


def _real(worker: Any, data: Any, *, shuffle: bool = False) -> Batches:
    def batches() -> DataLoader[Any]:
        return DataLoader(
            data, worker.OPTIMIZATION.batch_size, shuffle=shuffle, num_workers=worker.RUN.num_workers, drop_last=False
        )

    return batches


def _generated(worker: Any, networks: Any, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """`count` new images in batches, of labels drawn alike, made as in upstream's evaluations (truncation, Langevin sampling)."""
    sample: Any = importlib.import_module("utils.sample")
    generator, mapping, synthesis = networks
    for start in range(0, count, worker.OPTIMIZATION.batch_size):
        images, labels, *_ = sample.generate_images(
            z_prior=worker.MODEL.z_prior, truncation_factor=worker.RUN.truncation_factor,
            batch_size=min(worker.OPTIMIZATION.batch_size, count - start), z_dim=worker.MODEL.z_dim,
            num_classes=worker.DATA.num_classes, y_sampler="totally_random", radius="N/A", generator=generator,
            discriminator=worker.Dis, is_train=False, LOSS=worker.LOSS, RUN=worker.RUN, MODEL=worker.MODEL,
            device=worker.local_rank, is_stylegan=worker.is_stylegan, generator_mapping=mapping,
            generator_synthesis=synthesis, style_mixing_p=0.0, stylegan_update_emas=False, cal_trsp_cost=False,
        )  # fmt: skip
        yield images.detach(), labels


def _keep(path: Path, option: str, score: AccuracyScore) -> None:
    """Write a score beside those of the other option."""
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        scores = {}
    except (OSError, ValueError):
        warnings.warn(f"{path} could not be read, and is written anew", stacklevel=2)
        scores = {}
    write_json(path, {**(scores if isinstance(scores, dict) else {}), option: score.as_json()})
