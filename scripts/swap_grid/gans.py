"""The pre-trained GANs that the grid's runs start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from rcas_plugin.embedded.networks import Discriminator, Generator
from rcas_plugin.embedded.steps import Loop
from rcas_plugin.files import atomic_path
from rcas_plugin.gan import Gan, gaussian_latents
from rcas_plugin.studiogan.locate import find_studiogan
from rcas_plugin.studiogan.networks import load_gan
from swap_grid.data import Data
from swap_grid.judge import Z_DIM
from swap_grid.parts import Part


def build(labels: int, part: Part, seed: int = 0) -> Gan:
    """The GAN of a part, newly drawn: the embedded networks, or StudioGAN's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if part.backbone != "resnet":
            return load_gan(find_studiogan(), config(labels, part), None)
        generator = Generator(Z_DIM, labels, part.widths[0], part.size)
        return Gan(generator, Discriminator(labels, part.widths[1]), None, gaussian_latents(Z_DIM))


def config(labels: int, part: Part) -> dict[str, Any]:
    """The config of StudioGAN's networks in the grid: spectral norm in G and D, as its `big_resnet` configs have it."""
    model = {"backbone": part.backbone, "g_cond_mtd": "cBN", "d_cond_mtd": "PD", "apply_g_sn": True, "apply_d_sn": True,
             "z_dim": Z_DIM, "g_shared_dim": 64, "g_conv_dim": part.widths[0], "d_conv_dim": part.widths[1]}  # fmt: skip
    data = {"name": "grid", "img_size": part.size, "num_classes": labels}
    return {"DATA": data, "MODEL": model, "LOSS": {"adv_loss": "hinge"}}


def pretrained(out: Path, part: Part, data: Data, new: tuple[str, ...]) -> Gan:
    """The GAN of the classes without `new`, trained now or before; labels are those classes in their order."""
    return load(pretrained_file(out, part, data, new), len(data.names) - len(new), part)


def pretrained_file(out: Path, part: Part, data: Data, new: tuple[str, ...]) -> Path:
    """The file of that GAN, written now or before."""
    networks = f"{part.size}-{part.widths[0]}-{part.widths[1]}" + (f"-{part.backbone}" if part.backbone != "resnet" else "")
    path = out / "pretrain" / f"{part.dataset}-{networks}-without-{'-'.join(new)}.pth"
    if not path.is_file():
        kept = torch.tensor([index for index, name in enumerate(data.names) if name not in new])
        gan, chosen = build(len(kept), part), torch.isin(data.classes, kept)
        labels = torch.searchsorted(kept, data.classes[chosen])
        loop = Loop(gan, data.images[chosen].expand(-1, 3, -1, -1), labels, torch.arange(len(kept)), part.pretrain_options,
                    torch.Generator().manual_seed(0), accelerated=True)  # fmt: skip
        for step in tqdm(range(part.pretrain_steps), desc=f"pre-training {path.stem}", unit="step", mininterval=10):
            loop.step(step)
        with atomic_path(path) as temporary:
            torch.save({"G": gan.generator.state_dict(), "D": gan.discriminator.state_dict()}, temporary)
    return path


def load(path: Path, labels: int, part: Part) -> Gan:
    """The GAN in such a file, in networks of its own: those that were trained have the hooks of their training."""
    gan, state = build(labels, part), torch.load(path, weights_only=True)
    gan.generator.load_state_dict(state["G"])
    gan.discriminator.load_state_dict(state["D"])
    return gan
