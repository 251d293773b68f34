"""Each image is moved and mirrored by itself."""

from __future__ import annotations

import torch

from rcas_plugin.lifelong.augment import shift_and_flip


def source() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def numbered() -> torch.Tensor:
    """Images (64, 1, 5, 5), all alike, each pixel of another value over black."""
    return torch.linspace(-0.5, 1, 25).view(1, 1, 5, 5).repeat(64, 1, 1, 1)


def test_nothing_is_done_where_nothing_is_asked_for() -> None:
    assert torch.equal(shift_and_flip(numbered(), source(), shift=0, flip=False), numbered())


def test_each_image_is_a_cut_of_itself_with_a_black_border() -> None:
    moved = shift_and_flip(numbered(), source(), shift=1, flip=False)
    padded = torch.full((7, 7), -1.0)
    padded[1:6, 1:6] = numbered()[0, 0]
    cuts = [padded[down : down + 5, across : across + 5] for down in range(3) for across in range(3)]
    places = [next(place for place, cut in enumerate(cuts) if torch.equal(cut, image[0])) for image in moved]
    assert set(places) == set(range(9)), "each image has a place of its own"


def test_about_every_other_image_is_mirrored() -> None:
    mirrored = shift_and_flip(numbered(), source(), shift=0, flip=True)
    flipped = (mirrored == numbered().flip(3)).all(3).all(2).all(1)
    assert torch.equal(mirrored[~flipped], numbered()[~flipped])
    assert 16 < int(flipped.sum()) < 48
