"""The pre-trained GANs that the grid's runs start from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
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


def build(labels: int, size: int, widths: tuple[int, int], seed: int = 0, backbone: str = "resnet") -> Gan:
    """A GAN newly drawn: the embedded networks, each of whose blocks doubles the size, from 4; or StudioGAN's of a backbone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if backbone != "resnet":
            return load_gan(find_studiogan(), config(labels, size, widths, backbone), None)
        gan = Gan(Generator(Z_DIM, labels, widths[0]), Discriminator(labels, widths[1]), None, gaussian_latents(Z_DIM))
    blocks = gan.generator.get_submodule("blocks")
    assert isinstance(blocks, nn.ModuleList)
    while 4 << len(blocks) > size:
        del blocks[-1]
    return gan


def config(labels: int, size: int, widths: tuple[int, int], backbone: str) -> dict[str, Any]:
    """The config of StudioGAN's networks in the grid: spectral norm in G and D, as its `big_resnet` configs have it."""
    model = {"backbone": backbone, "g_cond_mtd": "cBN", "d_cond_mtd": "PD", "apply_g_sn": True, "apply_d_sn": True,
             "z_dim": Z_DIM, "g_shared_dim": 64, "g_conv_dim": widths[0], "d_conv_dim": widths[1]}  # fmt: skip
    data = {"name": "grid", "img_size": size, "num_classes": labels}
    return {"DATA": data, "MODEL": model, "LOSS": {"adv_loss": "hinge"}}


def pretrain(path: Path, gan: Gan, images: Tensor, labels: Tensor, options: Mapping[str, Any], steps: int) -> None:
    """Train a GAN on real images (n, 3, size, size) in [-1, 1] with labels (n,), all of them live; its weights go to `path`."""
    loop = Loop(gan, images, labels, labels.unique(), options, torch.Generator().manual_seed(0), accelerated=True)
    for step in tqdm(range(steps), desc=f"pre-training {path.stem}", unit="step", mininterval=10):
        loop.step(step)
    with atomic_path(path) as temporary:
        torch.save({"G": gan.generator.state_dict(), "D": gan.discriminator.state_dict()}, temporary)


def load(path: Path) -> Gan:
    """The GAN that `pretrain` has written, in networks of its own: those that were trained have the hooks of their training."""
    state = torch.load(path, weights_only=True)
    blocks = {key.split(".")[1] for key in state["G"] if key.startswith("blocks.")}
    labels, features = state["D"]["embedding.weight_orig"].shape
    return filled(build(labels, 4 << len(blocks), (len(state["G"]["linear0.weight"]) // 64, features // 2)), state)


def filled(gan: Gan, state: Mapping[str, Any]) -> Gan:
    """The GAN with the weights of a file of `pretrain`'s."""
    gan.generator.load_state_dict(state["G"])
    gan.discriminator.load_state_dict(state["D"])
    return gan


def pretrained(out: Path, part: Part, data: Data, new: tuple[str, ...]) -> Gan:
    """The GAN of the classes without `new`, trained now or before; labels are those classes in their order."""
    path = pretrained_file(out, part, data, new)
    if part.backbone == "resnet":
        return load(path)
    gan = build(len(data.names) - len(new), part.size, part.widths, backbone=part.backbone)
    return filled(gan, torch.load(path, weights_only=True))


def pretrained_file(out: Path, part: Part, data: Data, new: tuple[str, ...]) -> Path:
    """The file of that GAN, written now or before."""
    networks = f"{part.size}-{part.widths[0]}-{part.widths[1]}" + (f"-{part.backbone}" if part.backbone != "resnet" else "")
    path = out / "pretrain" / f"{part.dataset}-{networks}-without-{'-'.join(new)}.pth"
    if not path.is_file():
        kept = torch.tensor([index for index, name in enumerate(data.names) if name not in new])
        chosen = torch.isin(data.classes, kept)
        gan = build(len(kept), part.size, part.widths, backbone=part.backbone)
        pretrain(path, gan, data.images[chosen].expand(-1, 3, -1, -1), torch.searchsorted(kept, data.classes[chosen]),
                 part.pretrain_options, part.pretrain_steps)  # fmt: skip
    return path
