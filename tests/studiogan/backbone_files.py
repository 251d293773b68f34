"""Files that evaluation backbones are made of, honest ones and a stranger's."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

IMAGES = torch.linspace(-1, 1, 2 * 3 * 4 * 4).view(2, 3, 4, 4)


class Pool(nn.Module):
    """Mean colours as features; two logits of them."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = images.mean((2, 3))
        return features, features[:, :2]


class Writes(nn.Module):
    """A TorchScript module that writes a file as it is read, and another at every pass."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path, self.training = state[0], state[1]
        torch.save(torch.zeros(1), self.path + ".read")

    def forward(self, images: Tensor) -> Tensor:
        torch.save(images, self.path + ".passed")
        return images.flatten(1)


def torchscript(path: Path, marker: Path) -> Path:
    torch.jit.script(Writes(str(marker))).save(str(path))
    return path


def exported(path: Path, marker: Path | None = None, *, size: int = 4) -> Path:
    """A torch.export archive of `Pool`; with a marker, one whose reading writes that file."""
    batch = torch.export.Dim("batch", min=1, max=64)
    torch.export.save(torch.export.export(Pool(), (torch.zeros(2, 3, size, size),), dynamic_shapes=({0: batch},)), path)
    if marker is not None:
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        (graph,) = [name for name in parts if name.endswith(("model.json", "serialized_exported_program.json"))]
        content = json.dumps(poisoned(json.loads(parts[graph]), f"__import__('pathlib').Path({str(marker)!r}).write_text('x')"))
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for name, part in parts.items():
                archive.writestr(name, content if name == graph else part)
    return path


def poisoned(value: Any, code: str) -> Any:
    if isinstance(value, dict):
        return {key: code if key == "expr_str" else poisoned(part, code) for key, part in value.items()}
    return [poisoned(part, code) for part in value] if isinstance(value, list) else value


def timm_file(path: Path, **metadata: str) -> nn.Module:
    import timm

    torch.manual_seed(0)
    model = timm.create_model("resnet10t", pretrained=False, num_classes=5).eval()
    save_file(model.state_dict(), path, metadata={"architecture": "resnet10t", "num_classes": "5", **metadata})
    return model


def onnx_file(path: Path, shape: tuple[Any, ...] = ("n", 3, "h", "w"), *, external: str = "", outputs: int = 2) -> Path:
    """Twice the mean colours, as features, and the sum of a weight's two numbers with them, as logits."""
    import onnx
    from onnx import TensorProto, helper

    weight = helper.make_tensor("weight", TensorProto.FLOAT, [1, 1], np.array([[2.0]], np.float32).tobytes(), raw=True)
    if external:
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        for key, value in (("location", external), ("offset", "0"), ("length", "4")):
            weight.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Mul", ["flat", "weight"], ["features"]),
            helper.make_node("ReduceSum", ["features"], ["logits"], axes=[1], keepdims=1),
        ],
        "pool",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None]) for name in ("features", "logits")[:outputs]],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    onnx.save_model(model, str(path))
    return path
