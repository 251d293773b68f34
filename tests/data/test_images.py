"""One image file, whatever its depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rcas_plugin import RcasError
from rcas_plugin.data.images import image_facts, load_image

GRAY = np.array([[0, 128], [255, 64]])


def written(path: Path, values: Any, mode: str | None = None, **options: Any) -> Path:
    image = Image.fromarray(values) if mode is None else Image.fromarray(values).convert(mode)
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("8.png", GRAY.astype(np.uint8), "gray"),
        ("16.png", (GRAY * 257).astype(np.uint16), "gray 16 bit"),
        ("16.tif", (GRAY * 257).astype(np.uint16), "gray 16 bit"),
        ("big.tif", (GRAY * 257).astype(">u2"), "gray 16 bit"),
        ("32.tif", (GRAY * 257).astype(np.int32), "gray 16 bit"),
        ("float.tif", (GRAY / 255).astype(np.float32), "gray float"),
    ],
)
def test_gray_of_any_depth_is_what_it_shows(tmp_path: Path, name: str, values: Any, kind: str) -> None:
    """L7: 16-bit, 32-bit and float files are scaled as what they are, not clipped to pure black and white."""
    image = load_image(written(tmp_path / name, values))
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), np.repeat(GRAY[..., None], 3, 2))
    facts = image_facts(str(tmp_path / name), decode=True)
    assert (facts.kind, facts.size, facts.error, facts.constant) == (kind, (2, 2), "", False)
    assert facts.largest == (65535 if kind == "gray 16 bit" else None)


def test_colours_alpha_and_palettes(tmp_path: Path) -> None:
    """L7: alpha is composited over black; palettes, CMYK and one bit become RGB."""
    rgba = np.array([[[200, 100, 50, 255], [200, 100, 50, 0]], [[200, 100, 50, 128], [0, 0, 0, 255]]], np.uint8)
    shown = np.asarray(load_image(written(tmp_path / "rgba.png", rgba))).astype(int)
    wanted = rgba[..., :3] * (rgba[..., 3:] / 255)
    assert np.abs(shown - wanted).max() <= 1
    la = written(tmp_path / "la.png", rgba, "LA")
    assert np.asarray(load_image(la))[0, 1].tolist() == [0, 0, 0]
    assert image_facts(str(la), decode=True).kind == "gray with alpha"
    palette = Image.new("P", (2, 2))
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    palette.putdata([0, 1, 1, 2])
    palette.save(tmp_path / "p.png", transparency=1)
    assert np.asarray(load_image(tmp_path / "p.png"))[0].tolist() == [[10, 20, 30], [0, 0, 0]]
    assert image_facts(str(tmp_path / "p.png"), decode=True).kind == "palette with alpha"
    Image.fromarray(GRAY.astype(np.uint8)).convert("1", dither=Image.Dither.NONE).save(tmp_path / "1.png")
    assert sorted(set(np.asarray(load_image(tmp_path / "1.png")).flatten().tolist())) == [0, 255]
    Image.new("CMYK", (2, 2), (0, 255, 255, 0)).save(tmp_path / "cmyk.tif")
    assert np.asarray(load_image(tmp_path / "cmyk.tif"))[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("wide.tif", np.array([[0, 70000]], np.int32), "its values go from 0 to 70000"),
        ("signed.tif", np.array([[-5, 7]], np.int32), "its values go from -5 to 7"),
        ("float.tif", np.array([[0, 4095]], np.float32), "its values go from 0 to 4095"),
        ("nan.tif", np.array([[0, np.nan]], np.float32), "its values go from nan to nan"),
    ],
)
def test_values_of_another_range_are_refused(tmp_path: Path, name: str, values: Any, said: str) -> None:
    """L7: floats beyond 1 and whole numbers beyond 16 bits have no meaning that could be known; the file is named."""
    path = written(tmp_path / name, values)
    with pytest.raises(RcasError) as refused:
        load_image(path)
    assert str(path) in str(refused.value)
    assert said in str(refused.value)
    assert "floats of 0 to 1" in str(refused.value)
    assert image_facts(str(path), decode=True).error == str(refused.value)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    """L10: a truncated image's error names the file, when it is looked at and at any later time."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    for name in ("a.png", "a.jpg", "a.tif", "a.bmp"):
        path = written(tmp_path / name, noise)
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(RcasError, match=rf"^{path} cannot be read: .*; put a whole image in its place"):
            load_image(path)
        assert str(path) in image_facts(str(path), decode=True).error
    for name, content in (("empty.png", b""), ("text.jpg", b"no image at all")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(RcasError, match=f"{name} cannot be read"):
            load_image(tmp_path / name)
        assert name in image_facts(str(tmp_path / name), decode=False).error


def test_constant_after_reading(tmp_path: Path) -> None:
    """L7: what becomes one colour once it is read as RGB is constant: by value, by depth, or all transparent."""
    noise = np.random.default_rng(0).integers(0, 120, (8, 8, 4)).astype(np.uint8)
    noise[..., 3] = 0
    files = {
        "flat.png": np.full((8, 8), 7, np.uint8),
        "dim.png": noise[..., 0].astype(np.uint16),
        "clear.png": noise,
    }
    for name, values in files.items():
        assert image_facts(str(written(tmp_path / name, values)), decode=True).constant, name
    lively = written(tmp_path / "lively.png", noise[..., :3])
    assert not image_facts(str(lively), decode=True).constant
    assert not image_facts(str(tmp_path / "flat.png"), decode=False).constant, "its header does not say"


def test_orientation_and_pages_are_noticed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 2)).save(tmp_path / "turned.jpg", exif=exif)
    assert image_facts(str(tmp_path / "turned.jpg"), decode=False).turned
    assert load_image(tmp_path / "turned.jpg").size == (4, 2)
    page = Image.new("L", (3, 3))
    page.save(tmp_path / "pages.tif", save_all=True, append_images=[page, page])
    assert image_facts(str(tmp_path / "pages.tif"), decode=False).pages == 3


def test_gray_is_what_is_gray_in_every_pixel(tmp_path: Path) -> None:
    gray = np.random.default_rng(0).integers(0, 255, (16, 16)).astype(np.uint8)
    tinted = np.stack([gray, gray, np.where(gray > 250, gray, gray // 2)], 2)
    for name, pixels, expected in (("l.png", gray, True), ("rgb.png", np.stack([gray] * 3, 2), True), ("c.png", tinted, False),
                                   ("l.jpg", gray, True), ("rgb.jpg", np.stack([gray] * 3, 2), True)):  # fmt: skip
        Image.fromarray(pixels).save(tmp_path / name)
        assert image_facts(str(tmp_path / name), decode=True).gray == expected, name
        assert not image_facts(str(tmp_path / name), decode=False).gray, "only the header was looked at"
