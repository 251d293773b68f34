"""`rcas widen`: more labels, the old ones as they were to the bit, and swaps that fill the new ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor
from torch.nn.utils import spectral_norm

from rcas_plugin import Gan, RcasError, gaussian_latents
from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.checkpoints.lineage import read_lineage
from rcas_plugin.cli import main
from rcas_plugin.embedded import loop
from rcas_plugin.embedded.networks import Discriminator, Generator
from rcas_plugin.gan import discriminate, frozen_eval, sample_images
from rcas_plugin.metrics import judge
from rcas_plugin.record import RECORD, SwappedSlot, read_record
from rcas_plugin.report.lineage import lineage_rows
from rcas_plugin.report.page import REPORT
from rcas_plugin.report.runs import find_runs
from rcas_plugin.sampling.plan import choose_shares
from rcas_plugin.sampling.run import open_run
from rcas_plugin.weights.synapses import spectral_norm_of
from rcas_plugin.widen import _widened, widen_checkpoint

CONFIG: dict[str, Any] = {
    "DATA": {"name": "toy", "img_size": 32, "num_classes": 2},
    "MODEL": {"backbone": "resnet", "z_dim": 4, "g_conv_dim": 1, "d_conv_dim": 1, "apply_g_ema": True, "g_ema_decay": 0.5,
              "g_ema_start": 0},
    "OPTIMIZATION": {"batch_size": 4, "beta1": 0.0, "g_lr": 0.02, "total_steps": 3},
}  # fmt: skip


@pytest.fixture(autouse=True)
def without_studiogan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded networks; tests/upstream/test_widen.py takes StudioGAN's."""
    monkeypatch.setenv("STUDIOGAN_ROOT", str(tmp_path / "none"))


def images_in(root: Path, names: str) -> Path:
    source = np.random.default_rng(0)
    for name in names:
        (root / "train" / name).mkdir(parents=True)
        for number in range(4):
            pixels = 40 * (ord(name) - ord("a")) + source.integers(0, 60, (8, 8))
            Image.fromarray(pixels.astype(np.uint8)).save(root / "train" / name / f"{number}.png")
    return root


def trained(root: Path, classes: str, source: Path | None = None, **section: Any) -> Path:
    """The folder of a run on images of some classes: of two labels, or a swap on four."""
    config = {**CONFIG, "DATA": {**CONFIG["DATA"], "num_classes": 4 if section else 2}}
    root.mkdir()
    path = root / "config.yaml"
    path.write_text(yaml.safe_dump({**config, **({"RCAS": {"snapshot_images": 0, **section}} if section else {})}))
    return loop.train(path, images_in(root / "data", classes), root / "out", source, progress=False)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("widen") / "ab", "ab")


@pytest.fixture(scope="module")
def wide(pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wide") / "abcd"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIOGAN_ROOT", str(out.parent / "none"))
        assert widen_checkpoint(pretrained, out, ["c", "d"]).apart == 0
    return out


def shown(folder: Path, labels: Sequence[int]) -> Tensor:
    gan = open_run(folder, step="newest").gan
    return sample_images(gan.evaluated, torch.tensor(labels).repeat_interleave(3), gan.latents)


def test_the_command_writes_a_checkpoint_of_its_own(pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.read_bytes() for path in pretrained.iterdir() if path.is_file()}
    assert main(["widen", "-ckpt", str(pretrained), "-o", str(tmp_path / "out"), "--labels", "c", "d"]) == 0
    printed = capsys.readouterr().out
    assert "4 labels; new, and without images yet: 2 (c), 3 (d)" in printed
    assert "the other labels' images are the same to the bit" in printed
    assert {path.name: path.read_bytes() for path in pretrained.iterdir() if path.is_file()} == before
    names = [path.name for path in sorted((tmp_path / "out").iterdir())]
    assert names == sorted([RECORD, *(name for name in before if name.startswith("model="))])
    record = read_record(tmp_path / "out")
    assert (record.labels, record.unused, record.dropped) == (("a", "b", "c", "d"), (2, 3), {"c", "d"})
    assert record.config is not None
    assert record.config["DATA"]["num_classes"] == 4
    assert record.images == read_record(pretrained).images is not None
    assert not record.swaps


def test_old_labels_stay_to_the_bit_and_new_ones_are_the_mean(pretrained: Path, wide: Path) -> None:
    assert torch.equal(shown(pretrained, [0, 1]), shown(wide, [0, 1]))
    new, old = shown(wide, [2, 3]), shown(wide, [0, 1])
    assert torch.equal(new.isfinite().all(), torch.tensor(True))
    assert not torch.equal(new[:3], old[:3])
    assert not torch.equal(new[:3], old[3:])
    before, after = Checkpoint.read(pretrained), Checkpoint.read(wide)
    for network in ("generator", "ema"):
        tables = {name for name, value in before.states[network].items() if value.shape != after.states[network][name].shape}
        assert len(tables) == 12  # gain and bias of two norms in each of three blocks
        for name in tables:
            table, made = (states.states[network][name].double() for states in (before, after))
            assert torch.equal(made[:, :2], table)
            torch.testing.assert_close(made[:, 2:], table.mean(1, keepdim=True).expand(-1, 2), rtol=1e-6, atol=1e-7)
    assert not after.contents["G"]["optimizer"]["state"]
    assert after.step == before.step == 3


def test_d_says_the_same_of_the_old_labels(pretrained: Path, wide: Path) -> None:
    """Its embedding is under spectral norm, which the new rows would change."""
    images, labels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 0, 1])
    outputs = []
    for folder in (pretrained, wide):
        discriminator = open_run(folder).gan.discriminator
        with frozen_eval(discriminator):
            outputs.append(discriminate(discriminator, images, labels)["adv_output"])
            apart = discriminate(discriminator, images, 1 - labels)["adv_output"]
        assert not torch.equal(outputs[-1], apart)
    assert torch.equal(*outputs)


def test_spectral_norm_on_the_tables_of_g_is_held() -> None:
    """StudioGAN's SNGAN and SAGAN have it: the mean of the columns would shrink every label's by the norm."""

    def networks(count: int) -> Gan:
        torch.manual_seed(0)
        generator = Generator(4, count, 1)
        for module in list(generator.modules()):
            if hasattr(module, "gain"):
                for name in ("gain", "bias"):
                    layer = getattr(module, name)
                    torch.nn.init.normal_(layer.weight, 0.5)
                    setattr(module, name, spectral_norm(layer))
        for _ in range(20):  # its vectors settle
            generator(torch.randn(2, 4), torch.tensor([0, 1]))
        return Gan(generator, Discriminator(count, 1), None, gaussian_latents(4))

    before, after = networks(2), networks(4)
    states = _widened(after, Checkpoint.of(before), "ab", "cd")
    plain = networks(4)
    for name, network in plain.networks.items():
        network.load_state_dict(states[name])
    labels = torch.tensor([0, 1, 0, 1])
    assert torch.equal(*(sample_images(gan.generator, labels, gan.latents) for gan in (before, plain)))
    layers = [[module for module in gan.generator.modules() if hasattr(module, "weight_orig")] for gan in (before, plain)]
    assert len(layers[0]) == 12
    too_much = 0
    for old, new in zip(*layers, strict=True):
        assert torch.equal(_sigma(old), _sigma(new))
        weight, widened = old.weight_orig.detach(), new.weight_orig.detach()
        mean = torch.cat([weight, weight.mean(1, keepdim=True).expand(-1, 2)], 1)
        assert _largest(widened) <= 1.02**2 * _largest(weight) * (1 + 1e-5)
        too_much += _largest(mean) > 1.1 * _largest(weight)
        assert widened[:, 2:].norm() > 0.05 * mean[:, 2:].norm()
    assert too_much, "the mean alone is over the norm"


def _sigma(layer: Any) -> Tensor:
    norm = spectral_norm_of(layer)
    assert norm is not None
    return norm.sigma(layer.weight_orig)


def _largest(weight: Tensor) -> float:
    return float(torch.linalg.matrix_norm(weight.double(), 2))


@pytest.mark.usefixtures("short_runs")
def test_swaps_fill_the_new_labels_one_after_the_other(wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First by fine-tuning, with images of a and b by the GAN itself; then by a task apart, which leaves all of them."""
    monkeypatch.setattr(judge, "STAND_INS", 8)
    first = trained(tmp_path / "c", "c", wide, method="fine_tune", swap={"c": "c"}, remaining_data="replay", swap_metrics=4)
    record = read_record(first)
    assert (record.slots, record.remaining, record.dropped) == ({2: "c"}, (0, 1), {"d"})
    assert record.swaps[0].slots[2].old is None
    (run,) = find_runs([first])
    judged = run.metrics["steps"]["3"]
    assert [(row["label"], row["part"]) for row in judged["labels"]] == [(0, "remaining"), (1, "remaining"), (2, "new")]
    assert judged["old"] == {}
    assert sorted(run.metrics["judge"]["classes"]) == ["a", "b", "c"]
    assert not torch.equal(shown(wide, [2]), shown(first, [2]))
    assert [share.name for share in choose_shares(open_run(first), ["all"])] == ["a", "b", "c"]

    second = trained(tmp_path / "d", "d", first, method="gan_memory", swap={"d": "d"}, swap_metrics=4)
    record = read_record(second)
    assert (record.slots, record.remaining, record.dropped) == ({3: "d"}, (0, 1, 2), frozenset())
    assert torch.equal(shown(first, [0, 1, 2]), shown(second, [0, 1, 2]))
    assert not torch.equal(shown(first, [3]), shown(second, [3]))
    assert read_lineage(second).swaps[0].slots == {2: SwappedSlot(old=None, new="c")}
    assert [row[:3] for row in lineage_rows(*find_runs([second]))] == [["1", "2", "new: c"], ["2", "3", "new: d"]]
    assert "new: d" in (second / REPORT / "report.html").read_text()


def test_a_swap_that_goes_on_is_the_same(wide: Path, tmp_path: Path) -> None:
    first = trained(tmp_path / "c", "c", wide, method="fine_tune", swap={"c": "c"}, remaining_data="replay", swap_metrics=0)
    config, data = tmp_path / "c" / "config.yaml", tmp_path / "c" / "data"
    assert loop.train(config, data, tmp_path / "c" / "out", first, progress=False) == first


def test_a_widened_swap_keeps_what_it_had_dropped(wide: Path, tmp_path: Path) -> None:
    """Adapters are folded, the lineage begins anew, and a label that has had no images still has none."""
    run = trained(
        tmp_path / "c", "abc", wide, method="bn_propagation", swap={"c": "c"}, label_start={"how": "keep"}, swap_metrics=0
    )
    assert Checkpoint.read(run).adapted
    made = widen_checkpoint(run, tmp_path / "wider", ["e"])
    assert (made.labels, made.new, made.apart) == (("a", "b", "c", "d", "e"), (4,), 0)
    record = read_record(tmp_path / "wider")
    assert (record.unused, record.swaps) == ((3, 4), ())
    assert torch.equal(shown(run, [0, 1, 2]), shown(tmp_path / "wider", [0, 1, 2]))


def test_half_a_best_state_is_none(pretrained: Path, tmp_path: Path) -> None:
    """A process that was killed in its first save as best leaves G without D; the newest checkpoint is widened alone."""
    cut = Path(shutil.copytree(pretrained, tmp_path / "cut"))
    for path in cut.glob("model=*-best-*"):
        path.unlink()
    (newest,) = cut.glob("model=G-current-*")
    shutil.copy(newest, cut / newest.name.replace("current", "best"))
    made = widen_checkpoint(cut, tmp_path / "out", ["c"])
    assert [name for name in made.files if "-best-" in name] == []
    assert [name for name in made.files if "model=D-current-" in name]


@pytest.mark.parametrize(
    ("labels", "options", "sentence"),
    [
        (["c", "b"], {}, r"^--labels: 'b' is label 1 already; the labels are a, b$"),
        (["c", "c"], {}, r"^--labels: 'c' is named twice"),
        (["../c"], {}, r"^--labels: '\.\./c' is not allowed"),
        ([], {}, r"^--labels is empty"),
        (["c"], {"old": ["a"]}, r"^--old: 1 names for a GAN of 2 labels"),
    ],
)
def test_refusals(labels: list[str], options: dict[str, Any], sentence: str, pretrained: Path, tmp_path: Path) -> None:
    with pytest.raises(RcasError, match=sentence):
        widen_checkpoint(pretrained, tmp_path / "out", labels, **options)
    assert not (tmp_path / "out").exists()


def test_names_that_nothing_records_are_asked_for(pretrained: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(pretrained, tmp_path / "bare"))
    record = json.loads((bare / RECORD).read_text())
    (bare / RECORD).write_text(json.dumps({"config": record["config"]}))
    with pytest.raises(RcasError, match=r"^--old is missing; nothing records the class of each of the 2 labels"):
        widen_checkpoint(bare, tmp_path / "out", ["c"])
    assert not (tmp_path / "out").exists()
    assert widen_checkpoint(bare, tmp_path / "out", ["c"], old=["x", "y"]).labels == ("x", "y", "c")
    with pytest.raises(RcasError, match=r"^-o: .* holds files; name a folder of its own"):
        widen_checkpoint(bare, tmp_path / "out", ["c"], old=["x", "y"])


def test_tasks_that_lie_apart_are_refused(wide: Path, tmp_path: Path) -> None:
    run = trained(tmp_path / "c", "c", wide, method="gan_memory", swap={"c": "c"}, swap_metrics=0)
    with pytest.raises(RcasError, match=r"^-ckpt: the labels of .* have a state of the generator each \(gan_memory\)"):
        widen_checkpoint(run, tmp_path / "out", ["e"])
