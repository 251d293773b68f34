"""The generator of a run for other programs: as ONNX, held against torch before it is written, or as safetensors."""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import json
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import remove_spectral_norm

from rcas_plugin.checkpoints.router import made_by_state, routing_of
from rcas_plugin.errors import RcasError
from rcas_plugin.files import atomic_path
from rcas_plugin.gan import frozen_eval, is_stylegan
from rcas_plugin.sampling.plan import state_file
from rcas_plugin.sampling.run import OpenRun

#: Images of torch and of onnxruntime, in [-1, 1], are no further apart.
TOLERANCE = 1e-4
#: The version of ONNX's operators: the newest that the lowest torch exports and onnxruntime of that time runs.
_OPSET = 17
#: The one key of a safetensors file's metadata, and of an ONNX file's.
KEY = "rcas"


def export_generator(opened: OpenRun, path: Path, state: int | None = None) -> None:
    """Write a run's generator to `path`, whole: `.onnx`, or `.safetensors`.

    ONNX has the inputs `z`, float32 (n, z_dim), and `label`, int64 (n,), and the output `images`, float32 (n, 3, size, size) in
    [-1, 1], for any n; spectral norm is folded into the weights. safetensors has the generator's tensors by StudioGAN's names.
    Both say under `rcas` in their metadata, as JSON, what they are: the config, the class of each label, the checkpoint.

    Args:
        opened: the run.
        path: of the file.
        state: an earlier state of the generator, as `OpenRun.generator_of`.

    Raises:
        RcasError: the name has another ending, packages are missing, or the generator cannot be exported.
    """
    if path.suffix not in _WRITERS:
        raise RcasError(f"-o: {path} is to be what its name ends in; allowed: {', '.join(_WRITERS)}")
    generator = opened.generator_of(state)
    about = json.dumps(describe(opened, state), ensure_ascii=False, sort_keys=True)
    with atomic_path(path) as temporary:
        _WRITERS[path.suffix](opened, generator, temporary, about)


def describe(opened: OpenRun, state: int | None = None) -> dict[str, Any]:
    """What an exported file says of itself."""
    names = opened.labels_of(state)
    source = opened.checkpoint
    return {
        "config": {**opened.config, "DATA": {**opened.config["DATA"], "num_classes": len(names)}},
        "labels": list(names),
        "new": list(opened.slots_of(state)),
        "gray": opened.gray,
        "run": source.folder.resolve().name,
        "checkpoint": {"file": source.path.name, "sha256": source.sha256, "step": source.step},
        "state": state_file(opened, state),
        "rcas_plugin": version("rcas-plugin"),
    }


# safetensors -----------------------------------------------------------------------------------------------------------------


def _write_safetensors(opened: OpenRun, generator: nn.Module, path: Path, about: str) -> None:
    if routing_of(generator) is not None:
        raise RcasError(
            "-o: the labels of this run have a state of the generator each, and safetensors holds one; export all of them as "
            ".onnx, or one with --task"
        )
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in generator.state_dict().items()}
    path.write_bytes(save(tensors, {KEY: about}))


# ONNX ------------------------------------------------------------------------------------------------------------------------


class _Images(nn.Module):
    """A generator as other programs call it: latents and labels in, images out."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        return cast(Tensor, self.generator(z, label, eval=True))


def _write_onnx(opened: OpenRun, generator: nn.Module, path: Path, about: str) -> None:
    try:
        import onnx
        import onnxruntime  # noqa: F401  (held against torch below)
    except ImportError:
        raise RcasError("rcas export: ONNX takes two more packages; pip install 'rcas-plugin[onnx]'") from None
    if is_stylegan(generator):
        raise RcasError("-o: StyleGAN draws noise inside of its layers, which ONNX cannot repeat; export it as .safetensors")
    model = _plain_model(generator)
    z = opened.gan.latents(2, torch.Generator().manual_seed(0))
    inputs = (z, torch.zeros(2, dtype=torch.long))
    # the exporter of TorchScript needs no further package, and takes the same arguments from torch 2.4 to today's
    options: dict[str, Any] = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    # a graph that cannot be exported is printed whole
    with warnings.catch_warnings(), frozen_eval(model), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # that it will go one day, and that sizes in the networks' code are fixed
        try:
            torch.onnx.export(
                model, inputs, str(path), input_names=["z", "label"], output_names=["images"], opset_version=_OPSET,
                dynamic_axes={name: {0: "n"} for name in ("z", "label", "images")}, **options,
            )  # fmt: skip
        except Exception as error:  # torch raises many types here
            raise RcasError(
                f"-o: this generator cannot be written as ONNX ({_reason(error)}); export it as .safetensors"
            ) from None
    exported = onnx.load_model(str(path))
    onnx.helper.set_model_props(exported, {KEY: about})
    onnx.checker.check_model(exported)
    path.write_bytes(exported.SerializeToString())
    _hold_against_torch(opened, model, len(json.loads(about)["labels"]), path)


class _RoutedImages(nn.Module):
    """The same of a generator whose labels have a state each: every state makes the batch, as ONNX knows no choice by value."""

    def __init__(self, states: Sequence[nn.Module], rows: Tensor) -> None:
        super().__init__()
        self.states = nn.ModuleList(states)
        self.register_buffer("rows", rows)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        def made_by(index: int, inner: Tensor) -> Tensor:
            return cast(Tensor, self.states[index](z, inner, eval=True))

        return made_by_state(cast(Tensor, self.rows)[label], made_by, range(len(self.states)))


def _plain_model(generator: nn.Module) -> nn.Module:
    """A generator, routed by label or not, as a network that can be exported."""
    routing = routing_of(generator)
    if routing is None:
        return _Images(plain_copy(generator))
    states = []
    for state in (*routing.before.states, generator.state_dict()):
        network = copy.deepcopy(routing.before.generator)
        network.load_state_dict(state)
        states.append(plain_copy(network))
    return _RoutedImages(states, routing.rows.cpu())


@torch.no_grad()
def plain_copy(generator: nn.Module) -> nn.Module:
    """A copy of a generator on the CPU, in evaluation mode, with spectral norm folded into plain weights.

    Batch norms without a gain and a bias get those that change nothing: torch exports no others for batches of any size.
    """
    with frozen_eval(generator):
        plain = copy.deepcopy(generator).cpu().eval()
    for module in plain.modules():
        if any(getattr(hook, "name", "") == "weight" for hook in module._forward_pre_hooks.values()):
            remove_spectral_norm(module)
        if isinstance(module, _BatchNorm) and module.weight is None:
            module.weight, module.bias = (nn.Parameter(fill(module.num_features)) for fill in (torch.ones, torch.zeros))
    return plain


@torch.no_grad()
def _hold_against_torch(opened: OpenRun, model: nn.Module, count: int, path: Path) -> None:
    """Raise `RcasError` unless onnxruntime makes the images of torch, for each label and for other numbers than the exported."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for labels in (torch.tensor([0]), torch.arange(min(count, 5)).repeat(3), torch.arange(count)):
            z = opened.gan.latents(len(labels), torch.Generator().manual_seed(1))
            with frozen_eval(model):
                expected = model(z, labels).numpy()
            (images,) = session.run(None, {"z": z.numpy(), "label": labels.numpy()})
            apart = float(np.abs(images - expected).max()) if images.shape == expected.shape else float("inf")
            if not apart <= TOLERANCE:
                raise RcasError(f"-o: onnxruntime makes images that are {apart:.1g} from torch's; export it as .safetensors")
    except RcasError:
        raise
    except Exception as error:  # onnxruntime has types of its own
        raise RcasError(f"-o: onnxruntime does not run this generator ({_reason(error)}); export it as .safetensors") from None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


_WRITERS = {".onnx": _write_onnx, ".safetensors": _write_safetensors}
