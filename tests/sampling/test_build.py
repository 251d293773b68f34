"""Which configs the embedded networks stand for, and what they take for keys that are left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from rcas_plugin.embedded import loop
from rcas_plugin.embedded.networks import with_defaults
from rcas_plugin.sampling.build import is_embedded, is_trained_embedded, key_of_main
from rcas_plugin.sampling.replay import Replay

from .conftest import Swaps

PLANS = Path(__file__).parents[2] / "configs" / "classify"
CONFIG: dict[str, Any] = yaml.safe_load((PLANS / "tiles_gan.yaml").read_text())
#: StudioGAN's own CIFAR10/SNGAN.yaml.
SNGAN: dict[str, Any] = {
    "DATA": {"name": "CIFAR10", "img_size": 32, "num_classes": 10},
    "MODEL": {"g_cond_mtd": "cBN", "d_cond_mtd": "PD", "apply_d_sn": True},
    "LOSS": {"adv_loss": "hinge"},
}


@pytest.mark.parametrize("name", ["mnist", "cifar10", "tiles"])
def test_the_small_plans_are_trained_by_the_embedded_loop_as_they_stand(name: str) -> None:
    config = yaml.safe_load((PLANS / f"{name}_gan.yaml").read_text())
    assert is_trained_embedded(config)
    assert with_defaults(config) == config, "they leave nothing out that upstream has another value for"


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("DATA", "img_channels", 1),
        *(("MODEL", key, value) for key, value in (
            ("g_cond_mtd", None), ("d_cond_mtd", "AC"), ("d_cond_mtd", None), ("aux_cls_type", "TAC"), ("apply_g_sn", True),
            ("apply_d_sn", False), ("apply_d_sn", None), ("apply_attn", True), ("d_act_fn", "GELU"), ("g_init", "N02"),
            ("normalize_d_embed", True), ("apply_g_ema", True))),
        *(("LOSS", key, value) for key, value in (
            ("adv_loss", None), ("adv_loss", "wasserstein"), ("apply_gp", True), ("apply_r1_reg", True), ("apply_lecam", True))),
        *(("OPTIMIZATION", key, value) for key, value in (
            ("acml_steps", 2), ("type_", "SGD"), ("g_updates_per_step", 2), ("d_first", False), ("d_weight_decay", 0.1))),
        *(("AUG", key, True) for key in ("apply_ada", "apply_apa", "apply_diffaug")),
        ("PRE", "apply_rflip", None),
    ],
)  # fmt: skip
def test_what_the_embedded_loop_does_not_do_is_left_to_main(section: str, key: str, value: Any) -> None:
    keys = {**CONFIG.get(section, {}), key: value}
    config = {**CONFIG, section: {name: there for name, there in keys.items() if there is not None}}
    assert not is_trained_embedded(config)
    named = key_of_main(config)
    assert named is not None
    assert named.startswith(f"{section}.{'g_ema_decay' if key == 'apply_g_ema' else key}: ")


def test_what_is_switched_off_changes_nothing() -> None:
    off = {"LOSS": {"adv_loss": "logistic", "apply_gp": False, "gp_lambda": 10}, "AUG": {"apply_ada": False}}
    average = {**CONFIG["MODEL"], "apply_g_ema": True, "g_ema_decay": 0.999, "g_ema_start": 0}
    assert is_trained_embedded({**CONFIG, **off, "MODEL": average})


def test_a_config_that_leaves_sizes_out_has_upstreams() -> None:
    gan = loop.build_gan(SNGAN)
    assert gan.generator.linear0.weight.shape == (4 * 64 * 16, 128)
    assert gan.discriminator.linear1.weight_orig.shape == (1, 128)
    assert gan.latents(3, torch.Generator()).shape == (3, 128)
    assert is_embedded(SNGAN)
    assert not is_trained_embedded(SNGAN), "main.py mirrors images where PRE.apply_rflip is left out"


@pytest.mark.parametrize("left_out", ["z_dim", "g_conv_dim", "d_conv_dim"])
def test_a_run_whose_config_leaves_a_size_out_is_sampled(swaps: Swaps, tmp_path: Path, left_out: str) -> None:
    config = yaml.safe_load((swaps.root / "abc.yaml").read_text())
    del config["MODEL"][left_out]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    run = loop.train(path, swaps.root / "abc", tmp_path / "out", progress=False)
    images, _ = Replay(run, ["a"], seed=0).memory(2).tensors
    assert images.shape == (2, 3, 32, 32)
