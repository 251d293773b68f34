"""The networks of a run: the embedded ones where they trained it, or where there is no StudioGAN and they compute the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rcas_plugin.adversarial import LOSSES
from rcas_plugin.embedded.loop import load_gan as embedded_gan
from rcas_plugin.embedded.networks import SIZES
from rcas_plugin.errors import RcasError
from rcas_plugin.gan import Gan, default_device, seeded
from rcas_plugin.record import Record
from rcas_plugin.studiogan.find_config import find_config
from rcas_plugin.studiogan.locate import find_studiogan


@dataclass(frozen=True)
class Builder:
    """What builds the networks of a run's config.

    Attributes:
        folder: of the run.
        config: of the run, without an RCAS section.
        studiogan: the root folder of a StudioGAN; None for the embedded networks.
    """

    folder: Path
    config: Mapping[str, Any]
    studiogan: Path | None

    @classmethod
    def of(cls, folder: Path, record: Record, run_name: str, cfg: str | Path | None, studiogan: str | Path | None) -> Builder:
        """The builder of a run; arguments and errors as `open_run`'s, `run_name` as the checkpoint holds it."""
        source, missing = None, ""
        try:
            source = find_studiogan(studiogan)
        except RcasError as error:
            if studiogan is not None:
                raise
            missing = str(error)
        config = find_config(source, folder, record, run_name, None if cfg is None else Path(cfg))
        if record.embedded:
            source = None  # its own networks: of their smaller size StudioGAN has none
        builder = cls(folder, config, source)
        builder.number("img_size")
        builder.number("num_classes")
        if source is None and not is_embedded(config):
            raise RcasError(f"the networks of {folder} are StudioGAN's, and {missing}")
        return builder

    def number(self, key: str) -> int:
        """A whole number of the config's DATA section; raises `RcasError` where it is not there."""
        value = self.config.get("DATA", {}).get(key)
        if not isinstance(value, int) or value < 1:
            raise RcasError(
                f"--cfg: the config of {self.folder} holds no DATA.{key}; give the config that trained the checkpoint"
            )
        return value

    def load(self, *, best: bool) -> Gan:
        """The networks with the run's weights, adapters folded, in evaluation mode."""
        return self._networks(self.config, self.folder, best=best)

    def build(self, num_classes: int) -> Gan:
        """New networks of the config with this number of labels, in evaluation mode."""
        data = {**self.config["DATA"], "num_classes": num_classes}
        return self._networks({**self.config, "DATA": data}, None, best=False)

    def _networks(self, config: Mapping[str, Any], folder: Path | None, *, best: bool) -> Gan:
        with seeded(0, torch.device("cpu")):  # networks are drawn before they are loaded
            gan = self._embedded(config, folder, best) if self.studiogan is None else self._upstream(config, folder, best)
        for network in gan.networks.values():
            network.eval()
        return gan

    def _embedded(self, config: Mapping[str, Any], folder: Path | None, best: bool) -> Gan:
        return embedded_gan(config, folder, best=best).to(default_device())

    def _upstream(self, config: Mapping[str, Any], folder: Path | None, best: bool) -> Gan:
        from rcas_plugin.studiogan.networks import load_gan  # activates StudioGAN, which changes torch where there is no GPU

        assert self.studiogan is not None
        try:
            return load_gan(self.studiogan, config, folder, best=best)
        except (ImportError, KeyError, TypeError, AttributeError) as error:  # what upstream raises for an odd config
            reason = " ".join(str(error).split())[:200]
            raise RcasError(
                f"--cfg: StudioGAN builds no networks of the config of {self.folder} ({reason}); give another file"
            ) from None


def is_embedded(config: Mapping[str, Any]) -> bool:
    """True where the embedded generator computes what upstream's of this config does: enough to make images."""
    model, data = config.get("MODEL", {}), config.get("DATA", {})
    wanted = {"backbone": "resnet", "g_cond_mtd": "cBN", "g_act_fn": "ReLU", "z_prior": "gaussian", "info_type": "N/A"}
    return data.get("img_size") in SIZES and all(model.get(key, value) == value for key, value in wanted.items())


#: What the embedded loop trains, with what upstream takes where a config leaves the key out: section -> key -> (value, default).
_TRAINED: dict[str, dict[str, tuple[Any, Any]]] = {
    "DATA": {"img_channels": (3, 3)},
    "MODEL": {
        "backbone": ("resnet", "resnet"), "g_cond_mtd": ("cBN", "W/O"), "d_cond_mtd": ("PD", "W/O"),
        "aux_cls_type": ("W/O", "W/O"), "normalize_d_embed": (False, False),
        "apply_g_sn": (False, False), "apply_d_sn": (True, False),
        "g_act_fn": ("ReLU", "ReLU"), "d_act_fn": ("ReLU", "ReLU"), "apply_attn": (False, False),
        "z_prior": ("gaussian", "gaussian"), "g_init": ("ortho", "ortho"), "d_init": ("ortho", "ortho"),
        "info_type": ("N/A", "N/A"), "g_info_injection": ("N/A", "N/A"),
    },
    "OPTIMIZATION": {
        "type_": ("Adam", "Adam"), "acml_steps": (1, 1), "g_weight_decay": (0, 0), "d_weight_decay": (0, 0),
        "d_first": (True, True), "g_updates_per_step": (1, 1),
    },
    "PRE": {"apply_rflip": (False, True)},
}  # fmt: skip


def is_trained_embedded(config: Mapping[str, Any]) -> bool:
    """True where the embedded loop trains a config as main.py would; elsewhere main.py has to."""
    return is_embedded(config) and key_of_main(config) is None


def key_of_main(config: Mapping[str, Any]) -> str | None:
    """The first key whose value the embedded loop does not train, as `SECTION.key: value`; None where there is none."""
    for section, keys in _TRAINED.items():
        for key, (wanted, default) in keys.items():
            if (value := config.get(section, {}).get(key, default)) != wanted:
                return f"{section}.{key}: {value}"
    loss = config.get("LOSS", {}).get("adv_loss", "vanilla")
    if loss not in LOSSES:
        return f"LOSS.adv_loss: {loss}"
    for section in ("LOSS", "AUG"):  # every penalty and augmentation of upstream's is switched on by such a key
        for key, value in config.get(section, {}).items():
            if key.startswith("apply_") and value:
                return f"{section}.{key}: {value}"
    model = config.get("MODEL", {})
    for key in ("g_ema_decay", "g_ema_start") if model.get("apply_g_ema") else ():
        if not isinstance(model.get(key), int | float):
            return f"MODEL.{key}: {model.get(key, 'N/A')}"
    return None
