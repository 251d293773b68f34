"""Options and keys that upstream fails on later."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rcas_plugin import RcasError
from rcas_plugin.studiogan.options import check_apart, check_options


def configurations(**changed: Any) -> Any:
    """Upstream's Configurations of a StyleGAN that trains in two processes of 16 images."""
    values = {"batch_size": 32, "world_size": 2, "backbone": "stylegan2", "group": 4, "synchronized_bn": False,
              "mixed_precision": False, "train": True, "apply_g_ema": True, "mh_lambda": 0.05, "ddp": True,
              "section": True, **changed}  # fmt: skip
    return SimpleNamespace(
        super_cfgs={"RCAS": None} if values["section"] else {},
        LOSS=SimpleNamespace(adv_loss="MH", mh_lambda=values["mh_lambda"]),
        DATA=SimpleNamespace(name="toy", num_classes=2),
        MODEL=SimpleNamespace(backbone=values["backbone"], d_cond_mtd="SPD", apply_g_ema=values["apply_g_ema"]),
        OPTIMIZATION=SimpleNamespace(batch_size=values["batch_size"], world_size=values["world_size"]),
        STYLEGAN=SimpleNamespace(d_epilogue_mbstd_group_size=values["group"]),
        RUN=SimpleNamespace(
            train=values["train"],
            synchronized_bn=values["synchronized_bn"],
            mixed_precision=values["mixed_precision"],
            distributed_data_parallel=values["ddp"],
        ),
    )


@pytest.fixture(autouse=True)
def canvas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Upstream's sampler of canvases, which has no StudioGAN here to come from."""
    module = SimpleNamespace(define_sampler=lambda name, conditioning, batch, classes: "acending_all")
    monkeypatch.setitem(__import__("sys").modules, "utils.misc", module)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"batch_size": 36}, r"^OPTIMIZATION.batch_size: 18 images a process; allowed: a multiple of \S+_group_size \(4\)"),
        ({"apply_g_ema": False}, "^MODEL.apply_g_ema: .* allowed: True"),
        ({"mh_lambda": 0}, "^LOSS.mh_lambda: 0 .* allowed: over 0"),
        ({"synchronized_bn": True}, "^-sync_bn: .* leave the option out on a CPU"),
        ({"ddp": False}, "^-DDP is missing: there are several GPUs; add it, or .* CUDA_VISIBLE_DEVICES=0$"),
    ],
)
def test_options_that_fail_later(changed: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """F11: options for GPUs alone are refused on a CPU, and what StyleGAN's training cannot do is refused everywhere."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RcasError, match=sentence):
        check_options(configurations(**changed))
    check_options(configurations())


@pytest.mark.parametrize(
    "changed",
    [
        {"synchronized_bn": True, "world_size": 1, "batch_size": 16},  # upstream reads it in runs of several processes alone
        {"mixed_precision": True},  # torch computes StyleGAN's float16 on a CPU too, and the others in float32
        {"batch_size": 36, "backbone": "resnet"},
        {"batch_size": 36, "train": False},
        {"group": "N/A"},
        {"ddp": False, "world_size": 1, "batch_size": 16},
        {"ddp": False, "section": False},  # what upstream does without a swap is its own affair
    ],
)
def test_options_that_work(changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """F11: what has no effect on a CPU, or no groups to make, is left alone."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check_options(configurations(**changed))


@pytest.mark.parametrize(
    ("option", "key"),
    [("-itp", "interpolation"), ("-std_stat", "standing_statistics"), ("-batch_stat", "batch_statistics")],
)
def test_what_one_generator_does_where_each_label_has_its_own(option: str, key: str) -> None:
    none = {"interpolation": False, "standing_statistics": False, "batch_statistics": False}
    asked = SimpleNamespace(**{**none, key: True})
    with pytest.raises(RcasError, match=f"^{option}: .* of gan_memory"):
        check_apart(asked, "gan_memory")
    check_apart(asked, "class_swap")
    check_apart(SimpleNamespace(**none), "gan_memory")
