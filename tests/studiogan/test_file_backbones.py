"""Evaluation backbones from files: what is safe is computed as it stands, what holds code is not read unasked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rcas_plugin import RcasError
from rcas_plugin.studiogan.file_backbones import check_file, kind_of, load_outputs, read_weights

from .backbone_files import IMAGES, exported, onnx_file, timm_file, torchscript


def outputs_of(name: object) -> Any:
    found = load_outputs(str(name), "cpu")
    assert found is not None
    return found


# what holds code --------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_torchscript_archive_writes_nothing_unless_it_is_named_as_code(tmp_path: Path) -> None:
    """S1: TorchScript under `file:` is refused before any of its code runs; under `code:` it runs."""
    path = torchscript(tmp_path / "net.pt", tmp_path / "marker")
    written = [tmp_path / "marker.read", tmp_path / "marker.passed"]
    with pytest.raises(RcasError, match=r"^--eval_backbone: .*net.pt is a TorchScript archive, whose code may write.*code:"):
        check_file(f"file:{path}", 4)
    assert not any(file.exists() for file in written)
    features, logits = outputs_of(f"code:{path}")(IMAGES)
    assert all(file.exists() for file in written), "the archive is one that does write"
    assert torch.equal(features, IMAGES.flatten(1))
    assert torch.equal(features, logits)


def test_an_exported_archive_runs_nothing_unless_it_is_named_as_code(tmp_path: Path) -> None:
    """S1: a torch.export archive under `file:` is refused before its expressions are evaluated."""
    path = exported(tmp_path / "net.pt2", tmp_path / "marker")
    with pytest.raises(RcasError, match=r"net.pt2 is a torch.export archive, .*may run any code.*code:"):
        check_file(f"file:{path}", 4)
    assert not (tmp_path / "marker").exists()
    with pytest.raises(RcasError, match="cannot be read"):  # what the expressions come to is no size
        load_outputs(f"code:{path}", "cpu")
    assert (tmp_path / "marker").exists(), "the archive is one that does run code"


@pytest.mark.parametrize("suffix", ["pth", "safetensors", "onnx"])
def test_another_name_is_no_disguise(tmp_path: Path, suffix: str) -> None:
    """S1: an archive is told by what is in it, whatever its name says."""
    path = exported(tmp_path / f"weights.{suffix}", tmp_path / "marker")
    with pytest.raises(RcasError, match=r"is a torch\.export archive"):
        check_file(f"file:{path}", 4)
    assert not (tmp_path / "marker").exists()


def test_an_honest_archive_works_as_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen, original = exported(tmp_path / "net.pt2"), list[Any](), torch.load
    monkeypatch.setattr(torch, "load", lambda *args, **kwargs: seen.append(kwargs["weights_only"]) or original(*args, **kwargs))
    check_file(f"code:{path}", 4)
    assert all(seen), "pickled weights without code"
    features, logits = outputs_of(f"code:{path}")(IMAGES)
    torch.testing.assert_close(features, IMAGES.mean((2, 3)))
    assert torch.equal(logits, features[:, :2])


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    """S1: weights with code in their pickle are refused."""

    class Runs:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "marker",)

    torch.save({"weight": Runs()}, tmp_path / "x.pth")
    with pytest.raises(RcasError, match=r"x\.pth is none of what is allowed"):
        check_file(f"file:{tmp_path / 'x.pth'}", 4)
    assert not (tmp_path / "marker").exists()


# safetensors ------------------------------------------------------------------------------------------------------------------


def test_safetensors_of_a_named_architecture(tmp_path: Path) -> None:
    """S1: safetensors weights of a timm model give its features and logits, of images resized and normalised as it wants them."""
    size = (3, 48, 40)
    model = timm_file(tmp_path / "net.safetensors", input_size=json.dumps(size), mean="[0.5, 0.4, 0.3]", std="[0.1, 0.2, 0.3]")
    check_file(f"file:{tmp_path / 'net.safetensors'}", 32)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        features, logits = outputs_of(f"file:{tmp_path / 'net.safetensors'}")(images)
        resized = nn.functional.interpolate(images, size[1:], mode="bilinear", antialias=True)
        mean, std = torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1), torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
        expected = model(((resized + 1) / 2 - mean) / std)
        torch.testing.assert_close(logits, expected)
        torch.testing.assert_close(model.get_classifier()(features), expected)
    assert features.shape == (2, 512)


@pytest.mark.parametrize("size", [32, 224])
def test_timms_own_normalisation_where_the_file_says_none(tmp_path: Path, size: int) -> None:
    import timm.data

    model = timm_file(tmp_path / "net.safetensors")
    data = timm.data.resolve_model_data_config(model)
    images = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        _, logits = outputs_of(f"file:{tmp_path / 'net.safetensors'}")(images)
        resized = nn.functional.interpolate(images, data["input_size"][1:], mode="bilinear", antialias=True)
        mean, std = (torch.tensor(data[key]).view(3, 1, 1) for key in ("mean", "std"))
        torch.testing.assert_close(logits, model(((resized + 1) / 2 - mean) / std), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("metadata", "sentence"),
    [
        ({"architecture": "hf-hub:someone/something"}, "timm has no architecture 'hf-hub:someone/something'"),
        ({"architecture": "../elsewhere"}, "timm has no architecture"),
        ({"num_classes": "7"}, "holds no weights of timm's resnet10t"),
        ({"num_classes": "many"}, "holds no weights of timm's resnet10t"),
        ({"mean": "[0.5]"}, "holds no weights of timm's resnet10t"),
        ({"input_size": "[3, 2]"}, "holds no weights of timm's resnet10t"),
    ],
)
def test_safetensors_of_no_such_model(tmp_path: Path, metadata: dict[str, str], sentence: str) -> None:
    timm_file(tmp_path / "net.safetensors", **metadata)
    with pytest.raises(RcasError, match=f"^--eval_backbone: .*{sentence}"):
        check_file(f"file:{tmp_path / 'net.safetensors'}", 32)


# ONNX -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", ["n", 1, 5])
def test_onnx(tmp_path: Path, batch: object) -> None:
    """S1: an ONNX graph gives its features and logits, also one of a fixed batch."""
    pytest.importorskip("onnxruntime")
    path = onnx_file(tmp_path / "net.onnx", (batch, 3, "h", "w"))
    check_file(f"file:{path}", 4)
    features, logits = outputs_of(f"file:{path}")(torch.cat([IMAGES, IMAGES, IMAGES]))
    torch.testing.assert_close(features, 2 * torch.cat([IMAGES, IMAGES, IMAGES]).mean((2, 3)))
    torch.testing.assert_close(logits, features.sum(1, keepdim=True))


def test_onnx_of_another_size_and_of_one_channel(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    features, _ = outputs_of(f"file:{onnx_file(tmp_path / 'net.onnx', ('n', 1, 2, 2))}")(IMAGES)
    resized = nn.functional.interpolate(IMAGES.mean(1, keepdim=True), (2, 2), mode="bilinear", antialias=True)
    torch.testing.assert_close(features, 2 * resized.mean((2, 3)))


def test_onnx_of_one_output_gives_it_as_both(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    features, logits = outputs_of(f"file:{onnx_file(tmp_path / 'net.onnx', outputs=1)}")(IMAGES)
    torch.testing.assert_close(features, 2 * IMAGES.mean((2, 3)))
    assert torch.equal(features, logits)


def test_onnx_reads_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S1: an ONNX file whose tensors lie in another file is refused, wherever that is."""
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_bytes(np.array([3.0], np.float32).tobytes())
    for location in ("secret", str(tmp_path / "secret"), "../secret"):
        path = onnx_file(tmp_path / "net.onnx", external=location)
        with pytest.raises(RcasError, match=r"^--eval_backbone: .*net.onnx keeps tensors in other files, which are not read"):
            check_file(f"file:{path}", 4)


def test_onnx_reads_no_other_file_for_a_tensor_in_a_node(tmp_path: Path) -> None:
    """S1: tensors of nodes, subgraphs and functions are looked through as those of the graph are."""
    onnx = pytest.importorskip("onnx")
    path = onnx_file(tmp_path / "net.onnx", external="secret")
    model = onnx.load_model(str(path), load_external_data=False)
    inner = onnx.helper.make_graph(
        [onnx.helper.make_node("Constant", [], ["constant"], value=model.graph.initializer[0])], "inner", [], []
    )
    model.graph.node.append(onnx.helper.make_node("If", ["flag"], ["out"], then_branch=inner, else_branch=inner))
    del model.graph.initializer[:]
    path.write_bytes(model.SerializeToString())
    with pytest.raises(RcasError, match="keeps tensors in other files"):
        check_file(f"file:{path}", 4)


def test_what_onnx_cannot_be_used(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(RcasError, match=r"must take one input, images \(n, 3, height, width\)"):
        check_file(f"file:{onnx_file(tmp_path / 'net.onnx', ('n', 2, 4, 4))}", 4)
    (tmp_path / "net.onnx").write_bytes(b"\x08hello")
    with pytest.raises(RcasError, match=r"net\.onnx is none of what is allowed"):
        check_file(f"file:{tmp_path / 'net.onnx'}", 4)


def test_without_onnxruntime_a_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S1: onnxruntime is an extra; where it is missing, the sentence says so."""
    (tmp_path / "net.onnx").write_bytes(b"\x08\x08")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RcasError, match="pip install onnx onnxruntime"):
        check_file(f"file:{tmp_path / 'net.onnx'}", 4)


# the rest ---------------------------------------------------------------------------------------------------------------------


def test_weights_are_told_from_archives(tmp_path: Path) -> None:
    for name, options in (("new.pth", {}), ("old.pth", {"_use_new_zipfile_serialization": False})):
        torch.save({"weight": torch.ones(2)}, tmp_path / name, **options)
        assert kind_of(tmp_path / name) == "weights"
        assert torch.equal(read_weights(tmp_path / name)["weight"], torch.ones(2))
        assert load_outputs(f"file:{tmp_path / name}", "cpu") is None
    save_file({"weight": torch.ones(2)}, tmp_path / "plain.safetensors")
    assert load_outputs(f"file:{tmp_path / 'plain.safetensors'}", "cpu") is None
    assert torch.equal(read_weights(tmp_path / "plain.safetensors")["weight"], torch.ones(2))


def test_what_is_no_backbone(tmp_path: Path) -> None:
    def refused(name: object, sentence: str) -> None:
        with pytest.raises(RcasError, match=f"^--eval_backbone: .*{sentence}"):
            check_file(str(name), 4)

    refused("file:nowhere.pt", "there is no file nowhere.pt; give an ONNX file")
    (tmp_path / "text.pt").write_text("hello")
    refused(f"file:{tmp_path / 'text.pt'}", "text.pt is none of what is allowed")
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04")
    refused(f"file:{tmp_path / 'cut.pth'}", "cut.pth cannot be read")
    torch.save([1, 2], tmp_path / "list.pth")
    refused(f"file:{tmp_path / 'list.pth'}", "list.pth holds no tensors by name")
    save_file({"weight": torch.ones(2)}, tmp_path / "plain.safetensors")
    refused(f"code:{tmp_path / 'plain.safetensors'}", "is no TorchScript or torch.export archive; name it by file:")


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_module_of_another_shape(tmp_path: Path) -> None:
    torch.jit.trace(nn.ReLU(), IMAGES).save(str(tmp_path / "maps.pt"))
    with pytest.raises(RcasError, match=r"^--eval_backbone: .*maps.pt must map images .* to features \(n, d\)"):
        check_file(f"code:{tmp_path / 'maps.pt'}", 4)
    torch.jit.trace(nn.Linear(4, 2), IMAGES).save(str(tmp_path / "narrow.pt"))
    with pytest.raises(RcasError, match=r"narrow.pt cannot take images \(n, 3, 5, 5\)"):
        check_file(f"code:{tmp_path / 'narrow.pt'}", 5)


@pytest.mark.slow
def test_timm_and_onnx_are_imported_where_they_are_asked_for_alone() -> None:
    code = "import sys, rcas_plugin.studiogan.file_backbones;assert not {'timm', 'onnx', 'onnxruntime'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
