"""Terms that a method adds to upstream's losses: counted once and whole, whatever upstream multiplies its own by."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rcas_plugin.checkpoints.folder import write_checkpoint
from rcas_plugin.gan import Gan, gaussian_latents
from rcas_plugin.labels import LabelPlan
from rcas_plugin.methods.base import Batch, Context
from rcas_plugin.methods.fine_tune import FineTune
from rcas_plugin.run.lifecycle import Lifecycle
from rcas_plugin.settings import parse_settings
from rcas_plugin.studiogan.active import RUN
from rcas_plugin.studiogan.networks import load_gan
from rcas_plugin.studiogan.passes import Passes

from .conftest import TRAIN, Trained, run_main, write_config

MULTI_HINGE = {"MODEL": {"d_cond_mtd": "MH"}, "LOSS": {"adv_loss": "MH", "mh_lambda": 0.05}}


@pytest.mark.parametrize(("sections", "factor"), [(MULTI_HINGE, 0.05), ({}, 1.0)])
def test_a_term_counts_once(
    sections: dict[str, Any], factor: float, upstream: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """F12, D2: the gradient of a term of G counts once under multi-hinge, whose loss upstream multiplies; by hand in float64."""
    weight = torch.tensor([0.3, -0.2, 0.5, 0.1], dtype=torch.float64, requires_grad=True)
    images, labels = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 2, 1, 0, 2])

    def term(batch: Batch) -> torch.Tensor:
        assert torch.equal(batch.fake_labels, labels)
        return (weight**3).sum()

    method = FineTune(Context(parse_settings({"method": "fine_tune", "swap": {0: 1}}), LabelPlan(3, {0: 1}, {}, (), ())))
    monkeypatch.setattr(method, "generator_loss", term)
    monkeypatch.setattr(method, "discriminator_loss", term)
    monkeypatch.setattr(RUN, "lifecycle", Lifecycle(method, Gan(nn.Linear(1, 1), nn.Linear(1, 1), None, gaussian_latents(1))))
    cfgs = upstream("config").Configurations(str(write_config(tmp_path / "config.yaml", **sections)))
    cfgs.define_losses()
    logits = images @ torch.diag(weight)  # one a label, and one for fakes
    judge = torch.nn.Bilinear(4, 5, 1)  # any module, called as D is
    judge.forward = lambda images, labels: {"adv_output": images.sum(1)}  # type: ignore[method-assign, assignment]
    passes = Passes()
    passes.watch(torch.nn.Identity(), None, judge)
    monkeypatch.setattr(RUN, "passes", passes)
    passes.fakes_made(images, labels, None)
    judge(images, labels)
    if sections:
        loss = cfgs.LOSS.mh_lambda * cfgs.LOSS.g_loss(DDP=False, adv_output=logits, label=labels)  # worker.py, train_generator
        plain = upstream("utils.losses").crammer_singer_loss(logits, labels, DDP=False)
    else:
        loss = cfgs.LOSS.g_loss(logits.sum(1), DDP=False)
        plain = -logits.sum(1).mean()
    (total,) = torch.autograd.grad(loss, weight, retain_graph=True)
    (own,) = torch.autograd.grad(plain, weight, retain_graph=True)
    assert own.abs().max() > 0
    torch.testing.assert_close(total, factor * own + 3 * weight.detach() ** 2, rtol=1e-12, atol=1e-14)

    passes.fakes_made(images, labels, None)
    judge(images + 1, labels.clone())
    judge(images, labels)
    if sections:
        loss = cfgs.LOSS.d_loss(DDP=False, adv_output=logits, label=labels)
        loss = loss + cfgs.LOSS.d_loss(logits, torch.full((5,), 3), DDP=False)  # the second call adds no term
        plain = plain + upstream("utils.losses").crammer_singer_loss(logits, torch.full((5,), 3), DDP=False)
    else:
        loss = cfgs.LOSS.d_loss(logits.sum(1), logits.sum(1), DDP=False)
        plain = upstream("utils.losses").d_hinge(logits.sum(1), logits.sum(1), DDP=False)
    (total,) = torch.autograd.grad(loss, weight, retain_graph=True)
    (own,) = torch.autograd.grad(plain, weight)
    torch.testing.assert_close(total, own + 3 * weight.detach() ** 2, rtol=1e-12, atol=1e-14)


#: Goes to the end of upstream's worker.py: a term with the gradient 7 for each weight of G; writes its gradients.
SEVEN = """

import json
from pathlib import Path
from torch.optim.optimizer import register_optimizer_step_pre_hook
from rcas_plugin.studiogan.active import RUN

def _look(optimizer, args, kwargs):
    if RUN.worker is None:
        return
    RUN.lifecycle.method.generator_loss = lambda batch: 7 * sum(p.sum() for p in RUN.lifecycle.gan.generator.parameters())
    if optimizer is RUN.cfgs.OPTIMIZATION.g_optimizer:
        found = torch.cat([p.grad.flatten() for p in RUN.lifecycle.gan.generator.parameters()])
        (Path(RUN.cfgs.RUN.save_dir) / "gradient.json").write_text(json.dumps([float(found.min()), float(found.max())]))

register_optimizer_step_pre_hook(_look)
"""


@pytest.mark.slow
def test_a_term_counts_whole_in_a_run(studiogan: Path, trained: Trained, upstream: Callable[[str], Any], tmp_path: Path) -> None:
    """F12: in a multi-hinge run of main.py a term with the gradient 7 has the gradient 7, next to upstream's small one."""
    root = tmp_path / "PyTorch-StudioGAN"
    shutil.copytree(studiogan / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    with (root / "src" / "worker.py").open("a", encoding="utf-8") as file:
        file.write(SEVEN)
    sections = {"MODEL": {"d_cond_mtd": "MH"}, "LOSS": {"adv_loss": "MH", "mh_lambda": 1e-6}}
    gan = load_gan(studiogan, write_config(tmp_path / "plain.yaml", **sections), None)
    for network, module in (("G", gan.generator), ("D", gan.discriminator)):
        state = {"state_dict": module.state_dict(), "run_name": "toy", "step": 0}
        write_checkpoint(tmp_path / "pretrained", network, "current", 0, state)
    config = trained.swap_config(tmp_path / "swap.yaml", steps=1, sections=sections, preset=None, method="fine_tune",
                                 remaining=["a"])  # fmt: skip
    run_main(root, *TRAIN, "-cfg", config, "-data", trained.new_data, "-save", tmp_path / "out", "-ckpt", tmp_path / "pretrained")
    least, most = json.loads((tmp_path / "out" / "gradient.json").read_text())
    assert least == pytest.approx(7, abs=0.01)
    assert most == pytest.approx(7, abs=0.01)
