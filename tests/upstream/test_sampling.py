"""`rcas sample` and `rcas export` on StudioGAN's own networks and on a run of its main.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rcas_plugin import RcasError
from rcas_plugin.checkpoints.folder import write_checkpoint
from rcas_plugin.cli import main
from rcas_plugin.gan import Gan, sample_images
from rcas_plugin.record import read_record
from rcas_plugin.sampling.export import export_generator
from rcas_plugin.sampling.run import open_run
from rcas_plugin.studiogan.networks import load_gan

from .conftest import Trained, write_config
from .test_backbones import STYLE

BIG = {"backbone": "big_resnet", "apply_g_sn": True, "g_shared_dim": 4, "apply_g_ema": True, "apply_attn": True,
       "attn_g_loc": [2], "attn_d_loc": [1]}  # fmt: skip


def written(folder: Path, gan: Gan) -> Path:
    """A folder of best weights, as StudioGAN writes them, without a record."""
    folder.mkdir()
    files = {"G": gan.generator, "D": gan.discriminator, "G_ema": gan.ema}
    for network, module in files.items():
        if module is not None:
            write_checkpoint(folder, network, "best", 7, {"state_dict": module.state_dict(), "step": 7, "run_name": "toy-x"})
    return folder


@pytest.fixture
def big(studiogan: Path, tmp_path: Path, upstream: Any) -> tuple[Path, Path, Gan]:
    """A config and a checkpoint of big_resnet with spectral norm, attention and a moving average of its own."""
    torch.manual_seed(0)
    config = write_config(tmp_path / "big.yaml", MODEL=BIG)
    gan = load_gan(studiogan, config, None)
    assert gan.ema is not None
    with torch.no_grad():
        for parameter in gan.ema.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return config, written(tmp_path / "ckpt", gan), gan


def test_images_of_a_checkpoint_without_a_record(big: tuple[Path, Path, Gan], studiogan: Path, tmp_path: Path) -> None:
    config, checkpoint, gan = big
    common = ["-ckpt", str(checkpoint), "-cfg", str(config), "--studiogan", str(studiogan)]
    for out, processes in (("one", "1"), ("two", "2")):
        options = ["--images", "66", "--labels", "1", "2", "--rgb", "--truncation", "0.9", "--processes", processes]
        assert main(["sample", *common, "-o", str(tmp_path / out), *options]) == 0
    one, two = ({path.relative_to(tmp_path / out): path.read_bytes() for path in (tmp_path / out).rglob("*.*")}
                for out in ("one", "two"))  # fmt: skip
    assert one == two
    assert {path.parts[0] for path in one if len(path.parts) == 2} == {"label-1", "label-2"}
    opened = open_run(checkpoint, cfg=config, studiogan=studiogan)
    assert opened.checkpoint.path.name == "model=G_ema-best-weights-step=7.pth"
    manifest = json.loads((tmp_path / "one" / "manifest.json").read_text())
    assert (manifest["networks"], manifest["checkpoint"]["step"], manifest["channels"]) == ("StudioGAN", 7, 3)
    labels = torch.tensor([0, 1, 2])
    assert torch.equal(
        sample_images(opened.gan.evaluated, labels, gan.latents), sample_images(gan.evaluated, labels, gan.latents)
    )


def test_onnx_of_spectral_norm_and_attention(big: tuple[Path, Path, Gan], studiogan: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    config, checkpoint, gan = big
    opened = open_run(checkpoint, cfg=config, studiogan=studiogan)
    export_generator(opened, tmp_path / "big.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "big.onnx"), providers=["CPUExecutionProvider"])
    z, label = torch.randn(5, 4), torch.tensor([2, 0, 1, 1, 2])
    (images,) = session.run(None, {"z": z.numpy(), "label": label.numpy()})
    assert gan.ema is not None
    with torch.no_grad():
        expected = gan.ema.eval()(z, label, eval=True).numpy()
    assert np.abs(images - expected).max() <= 1e-4


@pytest.mark.usefixtures("narrow_stylegan")
def test_stylegan(studiogan: Path, tmp_path: Path) -> None:
    """Noise is the same each time, truncation is of the styles, and ONNX is refused."""
    torch.manual_seed(0)
    sections: dict[str, Any] = {"MODEL": {**STYLE["MODEL"], "backbone": "stylegan2"}, "STYLEGAN": STYLE["STYLEGAN"]}
    config = write_config(tmp_path / "style.yaml", **sections)
    gan = load_gan(studiogan, config, None)
    for name, parameter in gan.generator.named_parameters():
        if name.endswith("noise_strength"):
            torch.nn.init.constant_(parameter, 0.5)
    checkpoint = written(tmp_path / "ckpt", gan)
    common = ["-ckpt", str(checkpoint), "-cfg", str(config), "--studiogan", str(studiogan), "--labels", "0", "--images", "2"]

    def images(out: str, *options: str) -> list[bytes]:
        assert main(["sample", *common, "-o", str(tmp_path / out), *options]) == 0
        return [Image.open(path).tobytes() for path in sorted((tmp_path / out / "label-0").iterdir())]

    assert images("one") == images("again")
    assert images("near", "--truncation", "0.5") != images("average", "--truncation", "0")
    assert main(["sample", *common, "-o", str(tmp_path / "none"), "--truncation", "1.5"]) == 2
    with pytest.raises(RcasError, match="StyleGAN draws noise"):
        export_generator(open_run(checkpoint, cfg=config, studiogan=studiogan), tmp_path / "style.onnx")
    export_generator(open_run(checkpoint, cfg=config, studiogan=studiogan), tmp_path / "style.safetensors")


@pytest.mark.slow
def test_a_run_of_main_py_from_its_folder_alone(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upstream: Any
) -> None:
    """The run records its config, classes and that its data are gray; the embedded networks make the same images."""
    seen = read_record(trained.checkpoint).images
    assert seen is not None
    assert (seen.gray, seen.size) == (True, (32, 32))
    shown = []
    for name, root in (("theirs", trained.studiogan), ("embedded", tmp_path / "none")):
        monkeypatch.setenv("STUDIOGAN_ROOT", str(root))
        assert main(["sample", "-ckpt", str(trained.checkpoint), "-o", str(tmp_path / name), "--images", "3"]) == 0
        files = sorted((tmp_path / name).glob("*/*.png"))
        assert [str(path.relative_to(tmp_path / name)) for path in files] == [f"{c}/000{n}.png" for c in "abc" for n in range(3)]
        shown.append(np.stack([np.asarray(Image.open(path)) for path in files]).astype(int))
    assert shown[0].shape == (9, 32, 32)
    assert np.abs(shown[0] - shown[1]).max() <= 1
    assert shown[0].std() > 0
