"""Evaluation backbones that need no download, through upstream's own evaluation: `--eval_backbone domain`, `file:`, `code:`.

Upstream's five go on working; where their weights cannot be fetched, a sentence names the file and the place for it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rcas_plugin.data.folders import list_folders
from rcas_plugin.errors import RcasError
from rcas_plugin.metrics.domain import domain
from rcas_plugin.studiogan.active import ActiveRun
from rcas_plugin.studiogan.data import TORCHVISION, targets_and_names
from rcas_plugin.studiogan.file_backbones import check_file, is_file_backbone, load_outputs, path_of, read_weights
from rcas_plugin.studiogan.seams import replace
from rcas_plugin.studiogan.stop import stop_with_a_sentence

DOMAIN = "domain"


def wire_backbones(run: ActiveRun) -> None:
    """Put the backbones into upstream's evaluation."""
    replace("metrics.preparation.LoadEvalModel", "backbones", functools.partial(_load, run))


def is_own(name: str) -> bool:
    """True where `--eval_backbone` names one of the plugin's."""
    return name == DOMAIN or is_file_backbone(name)


def check_backbone(name: str, img_size: int) -> None:
    """Raise `RcasError` where `--eval_backbone` names a file that is no backbone for images of `img_size` pixels a side."""
    if is_file_backbone(name):
        check_file(name, img_size)


def cache_name(run: ActiveRun, name: str) -> str:
    """The name of a backbone for upstream's cache files: no slashes, and another for other content."""
    if name == DOMAIN:
        return f"domain-{fingerprint(run)}"
    path = path_of(name)
    about = path.stat()
    return "file-" + hashlib.sha256(f"{path.resolve()} {about.st_size} {about.st_mtime_ns}".encode()).hexdigest()[:12]


class EvalModel:
    """An evaluation backbone with the methods that upstream calls: `eval()` and `get_outputs`.

    Args:
        outputs: images (n, 3, height, width) in [-1, 1] -> features (n, d) and logits (n, classes).
        device: where they are computed.
    """

    def __init__(self, outputs: Callable[[Tensor], tuple[Tensor, Tensor]], device: Any) -> None:
        self.outputs, self.device = outputs, device

    def eval(self) -> None:
        """Do nothing: the backbone is never in training mode."""

    @torch.no_grad()
    def get_outputs(self, x: Tensor, quantize: bool = False) -> tuple[Tensor, Tensor]:
        """Features and logits of images in [-1, 1] (`quantize`: rounded to 256 levels first, as files are) or of 0 to 255."""
        levels = ((x + 1) * 127.5 + 0.5).clamp(0, 255).floor() if quantize else x.float()
        return self.outputs((levels / 127.5 - 1).to(self.device))


def _load(run: ActiveRun, original: Any) -> Any:
    @functools.wraps(original, updated=())
    @stop_with_a_sentence
    def load(eval_backbone: str, post_resizer: str, world_size: int, distributed_data_parallel: bool, device: Any) -> Any:
        if eval_backbone == DOMAIN:
            return _domain_model(run, device)
        if is_file_backbone(eval_backbone):
            outputs = load_outputs(eval_backbone, device)
            if outputs is not None:
                return EvalModel(outputs, device)
            path = path_of(eval_backbone)
            return _inception(path, original, post_resizer, world_size, distributed_data_parallel, device)
        with _named_downloads(eval_backbone):
            return _upstreams(original, eval_backbone, post_resizer, world_size, distributed_data_parallel, device)

    return load


def _upstreams(original: Any, *args: Any) -> Any:
    """Make upstream's object; its `__init__` looks its own class up by name."""
    preparation: Any = importlib.import_module("metrics.preparation")
    ours, preparation.LoadEvalModel = preparation.LoadEvalModel, original
    try:
        return original(*args)
    finally:
        preparation.LoadEvalModel = ours


# domain ---------------------------------------------------------------------------------------------------------------------


def _domain_model(run: ActiveRun, device: Any) -> EvalModel:
    path = domain_folder(run) / f"{fingerprint(run)}.safetensors"
    targets, names = targets_and_names(run.base)
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    first = not distributed or torch.distributed.get_rank() == 0
    if distributed and not first:
        torch.distributed.barrier()  # the first process trains it, the others read the file
    backbone = domain(path, run.base, targets, names, log=print if first else lambda line: None)
    if distributed and first:
        torch.distributed.barrier()
    classifier = backbone.classifier.to(device)

    def outputs(images: Tensor) -> tuple[Tensor, Tensor]:
        features = classifier.features(images)
        return features, classifier.head(features)

    return EvalModel(outputs, device)


def domain_folder(run: ActiveRun) -> Path:
    """The folder of the classifiers of the real data, for every run of one -save."""
    return Path(run.cfgs.RUN.save_dir) / "domain"


def fingerprint(run: ActiveRun) -> str:
    """The fingerprint of the real data without opening an image: of the image files, in HDF5 or not, and their preparation."""
    base = run.base
    about: Any = files_fingerprint(base.data_dir, base.data_name, train=base.train)
    if not about:
        file = Path(base.hdf5_path or base.data_dir)
        about = [str(file), file.stat().st_size, file.stat().st_mtime_ns]
    targets, names = targets_and_names(base)
    options = [run.cfgs.DATA.name, run.cfgs.DATA.img_size, run.cfgs.RUN.pre_resizer]
    key = json.dumps([about, list(names), len(targets), *options])
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def files_fingerprint(data_dir: str | Path, name: str, *, train: bool) -> str:
    """The fingerprint of the image files in train/ or valid/ of `data_dir`; "" where images are torchvision's or HDF5 alone."""
    if name in TORCHVISION:
        return ""
    root = Path(data_dir) / ("train" if train else "valid")
    return list_folders(root).fingerprint() if root.is_dir() else ""


# upstream's ---------------------------------------------------------------------------------------------------------------


def _inception(path: Path, original: Any, *args: Any) -> Any:
    """Upstream's Inception with weights from a file."""
    state = read_weights(path)
    inception: Any = importlib.import_module("metrics.inception_net")
    fetch = inception.load_state_dict_from_url
    inception.load_state_dict_from_url = lambda *args, **kwargs: state
    try:
        return _upstreams(original, "InceptionV3_tf", *args)
    except RuntimeError as error:
        raise RcasError(
            f"--eval_backbone: {path} holds no weights of Inception ({str(error).splitlines()[0]}); other networks' weights need "
            "their architecture in the metadata of a safetensors file"
        ) from None
    finally:
        inception.load_state_dict_from_url = fetch


@contextmanager
def _named_downloads(backbone: str) -> Iterator[None]:
    """Turn a failed download inside the block into an `RcasError` that names the missing file and its place."""
    hub: Any = torch.hub
    fetch = hub.download_url_to_file

    def download(url: str, dst: str, *args: Any, **kwargs: Any) -> None:
        try:
            fetch(url, dst, *args, **kwargs)
        except OSError as error:  # URLError is one
            raise RcasError(
                f"--eval_backbone {backbone}: {url} cannot be fetched ({error}); put the file at {dst}, or take a backbone "
                "that needs no download: --eval_backbone domain"
            ) from None

    hub.download_url_to_file = download
    try:
        yield
    except OSError as error:
        raise RcasError(
            f"--eval_backbone {backbone}: it cannot be fetched ({error}); put it into {torch.hub.get_dir()}, or take one "
            "that needs no download: --eval_backbone domain"
        ) from None
    finally:
        hub.download_url_to_file = fetch
