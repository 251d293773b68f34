"""The pre-trained GANs that the grid's runs start from."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from tqdm.auto import tqdm

from rcas_plugin.embedded.networks import Discriminator, Generator
from rcas_plugin.embedded.steps import Loop
from rcas_plugin.files import atomic_path
from rcas_plugin.gan import Gan, gaussian_latents
from swap_grid.data import Data
from swap_grid.judge import Z_DIM
from swap_grid.parts import Part


def build(labels: int, part: Part, seed: int = 0) -> Gan:
    """The embedded networks of a part, newly drawn; each of G's blocks doubles the size, from 4."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        gan = Gan(Generator(Z_DIM, labels, part.widths[0]), Discriminator(labels, part.widths[1]), None, gaussian_latents(Z_DIM))
    blocks = gan.generator.get_submodule("blocks")
    assert isinstance(blocks, nn.ModuleList)
    while 4 << len(blocks) > part.size:
        del blocks[-1]
    return gan


def pretrained(out: Path, part: Part, data: Data, new: tuple[str, ...]) -> Gan:
    """The GAN of the classes without `new`, trained now or before; labels are those classes in their order."""
    size = f"{part.size}-{part.widths[0]}-{part.widths[1]}"
    path = out / "pretrain" / f"{part.dataset}-{size}-without-{'-'.join(new)}.pth"
    kept = torch.tensor([index for index, name in enumerate(data.names) if name not in new])
    if not path.is_file():
        gan = build(len(kept), part)
        chosen = torch.isin(data.classes, kept)
        labels = torch.searchsorted(kept, data.classes[chosen])
        loop = Loop(gan, data.images[chosen].expand(-1, 3, -1, -1), labels, torch.arange(len(kept)), part.pretrain_options,
                    torch.Generator().manual_seed(0), accelerated=True)  # fmt: skip
        for step in tqdm(range(part.pretrain_steps), desc=f"pre-training {path.stem}", unit="step", mininterval=10):
            loop.step(step)
        with atomic_path(path) as temporary:
            torch.save({"G": gan.generator.state_dict(), "D": gan.discriminator.state_dict()}, temporary)
    gan = build(len(kept), part)  # without the layers' hooks of the pre-training
    state = torch.load(path, weights_only=True)
    gan.generator.load_state_dict(state["G"])
    gan.discriminator.load_state_dict(state["D"])
    return gan
