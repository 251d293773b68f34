"""BN propagation on upstream's own backbones and through the real main.py, from the swap to a folded checkpoint."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from rcas_plugin import Context, RcasError
from rcas_plugin.checkpoints.folder import checkpoint_files, read_checkpoint
from rcas_plugin.gan import sample_images
from rcas_plugin.labels import DataClasses, resolve_labels
from rcas_plugin.methods.bn_propagation.adapter import propagations
from rcas_plugin.methods.bn_propagation.method import BnPropagation
from rcas_plugin.record import RECORD, read_record
from rcas_plugin.settings import parse_settings
from rcas_plugin.studiogan.networks import load_gan
from rcas_plugin.watch.snapshots import load_snapshot, moments
from rcas_plugin.weights.adapters import adapted, fold_state
from rcas_plugin.weights.batch_norm import reestimate_batch_norm

from ..conftest import begin
from .conftest import TRAIN, Trained, run_main, write_config, write_images
from .test_backbones import BACKBONES, build
from .test_label_bound import EXPECTED


@pytest.mark.slow
@pytest.mark.usefixtures("narrow_stylegan")
@pytest.mark.parametrize("name", BACKBONES)
def test_other_labels_on_every_backbone(name: str, studiogan: Path, tmp_path: Path) -> None:
    """Three labels become five; the third class goes, the others stay; what is folded loads in upstream's plain networks."""
    before, gan, plain = (build(studiogan, tmp_path, name, classes) for classes in (3, 5, 5))
    reestimate_batch_norm(before.generator, [0, 1, 2], before.latents, batches=5)
    gan.ema = copy.deepcopy(gan.generator)
    section = {"method": "bn_propagation", "classes": list("bdaef"), "labels": list("abc"), "label_start": {"how": "mean"}}
    settings = parse_settings(section)
    plan = resolve_labels(settings, 5, DataClasses(tuple("abcdef"), (4,) * 6), num_before=3)
    method = BnPropagation(Context(settings, plan, total_steps=4, log=lambda line: None))
    states = {"generator": before.generator.state_dict(), "discriminator": before.discriminator.state_dict()}
    states["ema"] = states["generator"]
    if name == "resnet-multi-hinge":  # a row a label and one for fakes: no new one can be told apart
        with pytest.raises(RcasError, match=r"^RCAS.method: bn_propagation cannot give linear1\.\w+ of the discriminator"):
            begin(method, gan, states)
        return
    begin(method, gan, states)
    counts = tuple(len(propagations(network)) for network in (gan.generator, gan.discriminator))
    auxiliary = 1 if name == "resnet-ac" else 0  # an auxiliary classifier has a row a label too
    assert counts == (EXPECTED[name][0], EXPECTED[name][1] + auxiliary)
    labels = torch.tensor([1, 0])
    kept = sample_images(gan.evaluated, torch.tensor([0, 2]), gan.latents)
    torch.testing.assert_close(kept, sample_images(before.generator, labels, gan.latents), rtol=0, atol=1e-5)

    for one in propagations(gan.generator).values():
        torch.nn.init.normal_(one.scores)
        torch.nn.init.normal_(one.residual, std=0.1)
    every = torch.arange(5)
    images = sample_images(gan.generator, every, gan.latents)
    plain.generator.load_state_dict(fold_state(gan.generator.state_dict()))
    plain.discriminator.load_state_dict(fold_state(gan.discriminator.state_dict()))
    torch.testing.assert_close(sample_images(plain.generator, every, gan.latents), images, rtol=0, atol=1e-5)
    for network in (gan, plain):
        network.discriminator.eval()
    with torch.no_grad():
        shown, same = images[:4], torch.arange(4)  # StyleGAN's minibatch statistics take groups of four
        logits = [one.discriminator(shown, same)["adv_output"] for one in (gan, plain)]
    torch.testing.assert_close(logits[1], logits[0], rtol=1e-5, atol=1e-5)


def rcas(*options: object, ok: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rcas_plugin.cli", *map(str, options)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not ok or ended.returncode == 0, ended.stderr[-3000:]
    return ended


EMA = {"MODEL": {"apply_g_ema": True, "g_ema_decay": 0.5, "g_ema_start": 0}}


@dataclass(frozen=True)
class Propagated:
    """A run of both stages: b becomes d, and e is added; its data, configs with the section and without, and what it said."""

    root: Path
    data: Path
    config: Path
    plain: Path
    run: Path
    said: str


@pytest.fixture(scope="module")
def propagated(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Propagated:
    root = tmp_path_factory.mktemp("propagated")
    data = write_images(root / "data", "abcde")
    config = trained.swap_config(
        root / "swap.yaml", steps=6, sections={**EMA, "DATA": {"num_classes": 4}}, method="bn_propagation", preset=None,
        add=["e"], label_start={"iterations": 2, "batch_size": 4}, stages={"bn": 4},
    )  # fmt: skip
    ended = run_main(trained.studiogan, *TRAIN, "-cfg", config, "-data", data, "-save", root, "-ckpt", trained.checkpoint)
    (run,) = (root / "checkpoints").iterdir()
    plain = write_config(root / "plain.yaml", classes=4, steps=8, **EMA)
    return Propagated(root, data, config, plain, run, ended.stdout + ended.stderr)


@pytest.mark.slow
def test_both_stages_of_a_run(propagated: Propagated) -> None:
    for sentence in (
        "label 1: d, new (6 images)", "label 3: e, new (6 images)", "parameters a new class",
        "stage bn 4 steps, stage ft 2 steps", "stage ft begins after 4 steps",
    ):  # fmt: skip
        assert sentence in propagated.said
    assert list(moments(propagated.run)) == [0, 2, 4, 6]
    assert len(adapted(read_checkpoint(checkpoint_files(propagated.run)["G"])["state_dict"])) == 12
    record = read_record(propagated.run)
    assert (record.labels_before, record.labels) == (("a", "b", "c"), ("a", "d", "c", "e"))


@pytest.mark.slow
def test_it_is_evaluated_as_it_is_and_a_config_without_the_section_names_the_cure(
    propagated: Propagated, trained: Trained, tmp_path: Path
) -> None:
    options = (
        "-metrics",
        "none",
        "-v",
        "--num_workers",
        "0",
        "-data",
        propagated.data,
        "-save",
        tmp_path,
        "-ckpt",
        propagated.run,
    )
    run_main(trained.studiogan, *options, "-cfg", propagated.config)
    refused = run_main(trained.studiogan, *options, "-cfg", propagated.plain, ok=False)
    assert refused.returncode == 2
    assert f"fold it first: rcas fold -ckpt {propagated.run} -o OUT" in refused.stdout + refused.stderr


@pytest.mark.slow
def test_a_folded_checkpoint_is_any_studiogans(
    propagated: Propagated, trained: Trained, upstream: Callable[[str], Any], tmp_path: Path
) -> None:
    out = tmp_path / "folded"
    told = rcas("fold", "-ckpt", propagated.run, "-o", out)
    assert "any StudioGAN loads it" in told.stdout
    folded = read_checkpoint(checkpoint_files(out)["G"])["state_dict"]
    assert not adapted(folded)
    assert folded["blocks.0.0.bn1.gain.weight"].shape[1] == 4
    similarity = json.loads((out / "similarity.json").read_text())
    assert (similarity["new"], similarity["before"], len(similarity["scores"])) == (["d", "e"], ["a", "b", "c"], 12)
    assert (out / "similarity.png").stat().st_size > 5000

    # the images that the run itself made with its scores at its last step; a snapshot holds 256 grey levels
    images, labels = load_snapshot(propagated.run, "step=6")
    gan = load_gan(trained.studiogan, propagated.plain, out)
    assert labels.unique().tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(sample_images(gan.evaluated, labels, gan.latents, seed=0), images, rtol=0, atol=0.5 / 127.5 + 1e-5)

    # upstream's own files and a config without the section: pictures, and training that goes on
    options = ("-cfg", propagated.plain, "-data", write_images(tmp_path / "four", "acde"), "-save", tmp_path, "-ckpt", out)
    run_main(trained.studiogan, "-metrics", "none", "-v", "--num_workers", "0", *options)
    refused = run_main(trained.studiogan, *TRAIN, *options, ok=False)
    assert "records the labels a, d, c, e, in order, and the data set's are a, c, d, e" in refused.stderr
    (out / RECORD).unlink()  # as in a StudioGAN without the plugin
    run_main(trained.studiogan, *TRAIN, *options)
    assert read_checkpoint(checkpoint_files(out)["D"])["step"] == 8

    for source, target, sentence in (
        (out, tmp_path / "again", "there is nothing to fold"),
        (propagated.run, propagated.run, "is the run itself"),
    ):
        refused = rcas("fold", "-ckpt", source, "-o", target, ok=False)
        assert refused.returncode == 2
        assert sentence in refused.stderr


@pytest.mark.slow
def test_an_interrupted_run_goes_on_in_its_stage(trained: Trained, tmp_path: Path) -> None:
    """Two steps of stage bn, then two more and stage ft, equal to the run that was not interrupted in what is frozen."""
    config = trained.swap_config(tmp_path / "swap.yaml", steps=4, method="bn_propagation", preset=None,
                                 label_start={"how": "mean"}, stages={"bn": 2})  # fmt: skip
    options = ("-cfg", config, "-data", trained.new_data, "-save", tmp_path)
    stopped = trained.swap_config(tmp_path / "stopped.yaml", steps=2, method="bn_propagation", preset=None,
                                  label_start={"how": "mean"}, stages={"bn": 2})  # fmt: skip
    run_main(trained.studiogan, *TRAIN, "-cfg", stopped, *options[2:], "-ckpt", trained.checkpoint)
    (run,) = (tmp_path / "checkpoints").iterdir()
    between = read_checkpoint(checkpoint_files(run)["G"])["state_dict"]
    source = read_checkpoint(checkpoint_files(trained.checkpoint)["G"])["state_dict"]
    frozen = [name for name in source if name in between]
    assert len(frozen) > 10
    assert all(torch.equal(between[name], source[name]) for name in frozen), "stage bn changes nothing that was there"
    assert torch.equal(load_snapshot(run, "before")[1], load_snapshot(run, "reinit")[1])

    ended = run_main(trained.studiogan, *TRAIN, *options, "-ckpt", run)
    assert "goes on in" in ended.stdout
    content = read_checkpoint(checkpoint_files(run)["G"])
    after = content["state_dict"]
    for name, value in after.items():
        if name.endswith((".scores", ".original")):
            assert torch.equal(value, between[name]), f"stage ft leaves {name} untouched"
    assert any(not torch.equal(after[name], source[name]) for name in frozen)
    trained_by_ft = len(content["optimizer"]["param_groups"][0]["params"])
    assert trained_by_ft == sum(name.endswith((".residual", ".weight", ".bias")) for name in after)


@pytest.mark.slow
def test_two_processes(trained: Trained, tmp_path: Path) -> None:
    config = trained.swap_config(tmp_path / "swap.yaml", steps=4, method="bn_propagation", preset=None,
                                 label_start={"how": "mean"}, stages={"bn": 2})  # fmt: skip
    run_main(trained.studiogan, *TRAIN, "-DDP", "-cfg", config, "-data", trained.new_data, "-save", tmp_path,
             "-ckpt", trained.checkpoint, RCAS_CPU_PROCESSES="2")  # fmt: skip
    (run,) = (tmp_path / "checkpoints").iterdir()
    assert read_checkpoint(checkpoint_files(run)["D"])["step"] == 4
