"""Evaluation backbones from files: `--eval_backbone file:PATH` computes with them, `code:PATH` runs the code that they hold.

What is safe to read from a stranger goes by `file:`: ONNX, safetensors with the name of an architecture, weights of Inception. A
TorchScript or torch.export archive may do what it likes as it is read, so that it takes the user's word: `code:`.
"""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from rcas_plugin.errors import RcasError
from rcas_plugin.safe_load import load

FILE, CODE = "file:", "code:"
#: What a file is, by its content.
Kind = Literal["onnx", "safetensors", "torchscript", "exported", "weights"]
#: Images (n, 3, height, width) in [-1, 1] -> features (n, d) and logits (n, classes).
Outputs = Callable[[Tensor], tuple[Tensor, Tensor]]

ALLOWED = "an ONNX file, a safetensors file whose metadata name the architecture, or Inception's weights"
_MAY_DO = {
    "torchscript": "a TorchScript archive, whose code may write files as it is read and at every pass",
    "exported": "a torch.export archive, and what stands in it is evaluated as Python as it is read, which may run any code",
}
#: Metadata of a safetensors file that stand for those of timm's model, each as JSON.
_OVERRIDES = ("num_classes", "input_size", "mean", "std")


def is_file_backbone(name: str) -> bool:
    """True where `--eval_backbone` names a file."""
    return name.startswith((FILE, CODE))


def path_of(name: str) -> Path:
    """The file that `--eval_backbone` names."""
    return Path(name[len(FILE) :]).expanduser()


def kind_of(path: Path) -> Kind:
    """The kind of a file, by its content; nothing of it is run."""
    with path.open("rb") as file:
        head = file.read(9)
    if head.startswith(b"PK"):
        return _archive_kind(path)
    if len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "safetensors"
    return "onnx" if head.startswith(b"\x08") or path.suffix.lower() == ".onnx" else "weights"


def _archive_kind(path: Path) -> Kind:
    """The kind of a zip archive: weights hold `data.pkl` and tensors alone; an archive that holds more is not taken for them."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] or name for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError) as error:
        raise RcasError(f"--eval_backbone: {path} cannot be read ({error}); put a whole file in its place") from None
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        return "torchscript"
    beside = ("version", "byteorder", ".format_version", ".storage_alignment")
    plain = all(name in ("data.pkl", *beside) or name.startswith(("data/", ".data/")) for name in names)
    return "weights" if "data.pkl" in names and plain else "exported"


def check_file(name: str, img_size: int) -> None:
    """Raise `RcasError` unless the file that `--eval_backbone` names works as a backbone; Inception's weights are only read.

    Args:
        name: the option's value, `file:PATH` or `code:PATH`.
        img_size: height and width of the images that it is tried on, in pixels.
    """
    outputs = load_outputs(name, "cpu")
    if outputs is None:
        read_weights(path_of(name))
    else:
        with torch.no_grad():
            outputs(torch.zeros(2, 3, img_size, img_size))


def load_outputs(name: str, device: Any) -> Outputs | None:
    """The function that the file of `--eval_backbone` computes, or None where it holds weights of Inception.

    Args:
        name: the option's value, `file:PATH` or `code:PATH`.
        device: where torch computes it; ONNX is computed on the CPU.

    Raises:
        RcasError: there is no such file, it is no backbone, or it holds code and was named by `file:`.
    """
    path = path_of(name)
    if not path.is_file():
        raise RcasError(f"--eval_backbone: there is no file {path}; give {ALLOWED}")
    kind = kind_of(path)
    if name.startswith(CODE):
        if kind not in _MAY_DO:
            raise RcasError(f"--eval_backbone: {path} is no TorchScript or torch.export archive; name it by {FILE}{path}")
        return _checked(_run_archive(path, kind, device), path)
    if kind in _MAY_DO:
        raise RcasError(
            f"--eval_backbone: {path} is {_MAY_DO[kind]}; where you trust who made it say {CODE}{path}, else ask for {ALLOWED}"
        )
    if kind == "onnx":
        return _checked(_onnx(path), path)
    if kind == "safetensors" and "architecture" in _metadata(path):
        return _checked(_timm(path, device), path)
    return None


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """The state dict in a file of `torch.save` or of safetensors.

    Raises:
        RcasError: the file is damaged, or holds anything but tensors by name.
    """
    try:
        state = load_file(path) if kind_of(path) == "safetensors" else load(path)
    except Exception as error:  # torch raises many types here
        raise RcasError(f"--eval_backbone: {path} is none of what is allowed ({_reason(error)}); give {ALLOWED}") from None
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise RcasError(f"--eval_backbone: {path} holds no tensors by name; give {ALLOWED}")
    return state


def _checked(module: Callable[[Tensor], Any], path: Path) -> Outputs:
    """The features and logits of a module, checked; a module that returns one tensor gives it as both."""

    def outputs(images: Tensor) -> tuple[Tensor, Tensor]:
        try:
            result = module(images)
        except Exception as error:  # whatever the file's layers raise
            raise RcasError(
                f"--eval_backbone: {path} cannot take images (n, 3, {images.shape[2]}, {images.shape[3]}): {_reason(error)}"
            ) from None
        tensors = tuple(result) if isinstance(result, tuple | list) else (result,)
        pair = tensors * 2 if len(tensors) == 1 else tensors
        if len(pair) != 2 or any(not isinstance(tensor, Tensor) or tensor.dim() != 2 for tensor in pair):
            raise RcasError(
                f"--eval_backbone: {path} must map images (n, 3, height, width) in [-1, 1] to features (n, d), or to features "
                "and logits (n, classes)"
            )
        return pair

    return outputs


def _fit(images: Tensor, channels: int, size: tuple[int | None, int | None]) -> Tensor:
    """Images with so many channels (1: their mean), resized (bilinear, antialiased) where a height or width is asked for."""
    if channels == 1:
        images = images.mean(1, keepdim=True)
    height, width = (target or source for target, source in zip(size, images.shape[2:], strict=True))
    if (height, width) == tuple(images.shape[2:]):
        return images
    return F.interpolate(images, (height, width), mode="bilinear", align_corners=False, antialias=True)


def _reason(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:160] if lines else type(error).__name__


# safetensors ----------------------------------------------------------------------------------------------------------------


def _metadata(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:
        raise RcasError(f"--eval_backbone: {path} cannot be read ({_reason(error)}); put a whole file in its place") from None


def _timm(path: Path, device: Any) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """A model of timm's with the file's weights; its input size, mean and standard deviation are the metadata's, or timm's."""
    import timm
    import timm.data

    about = _metadata(path)
    name = about["architecture"]
    if name not in timm.list_models():
        raise RcasError(f"--eval_backbone: {path}: timm has no architecture {name!r}; allowed: what timm.list_models() lists")
    try:
        overrides = {key: json.loads(about[key]) for key in _OVERRIDES if key in about}
        model = timm.create_model(name, pretrained=False, pretrained_cfg_overlay=overrides).eval()
        data = timm.data.resolve_model_data_config(model)
        model.load_state_dict(load_file(path))
        channels, height, width = data["input_size"]
        mean, std = (torch.tensor(data[key], device=device).view(1, channels, 1, 1) for key in ("mean", "std"))
    except Exception as error:  # wrong numbers end in many types
        raise RcasError(f"--eval_backbone: {path} holds no weights of timm's {name}: {_reason(error)}") from None
    model.to(device)

    def outputs(images: Tensor) -> tuple[Tensor, Tensor]:
        maps = model.forward_features(((_fit(images, channels, (height, width)) + 1) / 2 - mean) / std)
        return model.forward_head(maps, pre_logits=True), model.forward_head(maps)

    return outputs


# ONNX -----------------------------------------------------------------------------------------------------------------------

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


def _onnx(path: Path) -> Callable[[Tensor], list[Tensor]]:
    """An ONNX graph on the CPU. Its tensors must lie in the file itself: those outside name paths, which are not followed."""
    try:
        import onnx
        import onnxruntime
    except ImportError:
        raise RcasError("--eval_backbone: an ONNX file takes two more packages; pip install onnx onnxruntime") from None
    try:
        model = onnx.load_model(str(path), format="protobuf", load_external_data=False)
    except Exception as error:  # protobuf's own types
        raise RcasError(f"--eval_backbone: {path} is none of what is allowed ({_reason(error)}); give {ALLOWED}") from None
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data for tensor in _tensors(model)):
        raise RcasError(
            f"--eval_backbone: {path} keeps tensors in other files, which are not read; save it as one file "
            "(onnx.save_model(…, save_as_external_data=False))"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:  # what was looked through is what is run, not the file
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has types of its own
        raise RcasError(f"--eval_backbone: {path} cannot be run by onnxruntime: {_reason(error)}") from None
    inputs = session.get_inputs()
    sizes = [size if isinstance(size, int) else None for size in inputs[0].shape] if len(inputs) == 1 else []
    if len(sizes) != 4 or inputs[0].type not in _TYPES or sizes[1] not in (None, 1, 3):
        raise RcasError(f"--eval_backbone: {path} must take one input, images (n, 3, height, width) in [-1, 1]")
    batch, channels, height, width = sizes

    def outputs(images: Tensor) -> list[Tensor]:
        pixels = _fit(images.cpu(), channels or 3, (height, width)).numpy().astype(_TYPES[inputs[0].type])
        parts = [session.run(None, {inputs[0].name: part}) for part in _parts(pixels, batch)]
        whole = (np.concatenate(part)[: len(images)] for part in zip(*parts, strict=True))
        return [torch.from_numpy(array).float().to(images.device) for array in whole]

    return outputs


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor anywhere in an ONNX model: initialisers, attributes, subgraphs, functions."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if isinstance(value, list) or hasattr(value, "add") else [value]:
                yield from _tensors(part)


def _parts(pixels: np.ndarray, batch: int | None) -> Iterator[np.ndarray]:
    """The whole batch, or parts of the one size that the graph takes; the last is filled up with its last image."""
    size = batch or len(pixels)
    for start in range(0, len(pixels), size):
        part = pixels[start : start + size]
        yield np.concatenate([part, np.repeat(part[-1:], size - len(part), 0)])


# code -----------------------------------------------------------------------------------------------------------------------


def _run_archive(path: Path, kind: Kind, device: Any) -> Any:
    """The module of an archive that the user trusts; what it holds as pickle is read without code all the same."""
    original: Any = torch.load
    torch.load = lambda *args, **kwargs: original(*args, **{**kwargs, "weights_only": True})
    try:
        if kind == "torchscript":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # TorchScript is on its way out, and the files are still about
                script: Any = torch.jit.load(str(path), map_location="cpu")
            return script.to(device).eval()
        return torch.export.load(str(path)).module().to(device)
    except Exception as error:  # torch raises many types here
        raise RcasError(f"--eval_backbone: {path} cannot be read ({_reason(error)}); put a whole archive in its place") from None
    finally:
        torch.load = original
