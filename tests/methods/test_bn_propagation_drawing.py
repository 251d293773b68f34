"""The picture of the similarity scores."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from rcas_plugin.methods.bn_propagation.adapter import propagate
from rcas_plugin.methods.bn_propagation.drawing import draw_similarity, similarity_scores


def test_scores_and_picture_from_a_state_dict(pair: Any, tmp_path: Path) -> None:
    generator = copy.deepcopy(pair[0])
    names = ["blocks.0.0.bn1.gain.weight", "blocks.2.0.bn2.bias.weight"]
    for number, name in enumerate(names):
        made = propagate(generator, name, generator.get_parameter(name).detach(), [0, 1, 2, 4], 1)
        with torch.no_grad():
            made.scores.copy_(torch.tensor([[0.1, -0.2, 0.3, number]]))
    scores = similarity_scores(generator.state_dict())
    assert {name: found.tolist()[0][3] for name, found in scores.items()} == {names[0]: 0.0, names[1]: 1.0}
    draw_similarity(tmp_path / "similarity.png", generator.state_dict(), list("abcd"), ["new"])
    with Image.open(tmp_path / "similarity.png") as image:
        assert min(image.size) > 200
