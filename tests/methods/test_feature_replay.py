"""Feature replay by hand in float64: D on a classifier's features, its penalty, the shared halves, and what it leaves alone."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rcas_plugin import Batch, Context, Gan, RcasError
from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.embedded.steps import Loop
from rcas_plugin.gan import discriminate, sample_images
from rcas_plugin.labels import LabelPlan
from rcas_plugin.methods.feature_replay.classifier import FeatureClassifier, load_classifier, save_classifier
from rcas_plugin.methods.feature_replay.discriminator import (
    PROJECTION,
    FeatureDiscriminator,
    MinibatchDeviation,
    gradient_penalty,
)
from rcas_plugin.methods.feature_replay.method import FILE, FeatureReplay
from rcas_plugin.run.lifecycle import Lifecycle
from rcas_plugin.settings import parse_settings

from ..shared import lively_pair

PLAN = LabelPlan(4, {3: 0}, {0: 1, 1: 2}, ("a", "b", "c", "new"), ("a", "b", "c", "d"))
SMALL = {"train_classifier": {"width": 4, "images": 6, "epochs": 1}, "channels": 8, "group_size": 4, "warm_up": 0}
OPTIONS = {"batch_size": 8, "g_lr": 2e-3, "d_lr": 2e-3, "adv_loss": "logistic"}


@pytest.fixture
def gan(pair: Any) -> Gan:
    return Gan(pair[0].double(), pair[1].double(), None, lambda n, source: torch.randn(n, 6, generator=source).double())


def real_images(label: int, count: int) -> Tensor:
    return torch.linspace(-1, 1, count)[:, None, None, None].expand(-1, 3, 32, 32) * (0.3 + 0.2 * label)


def method_of(plan: LabelPlan = PLAN, directory: Path | None = None, **keys: Any) -> FeatureReplay:
    section = {"method": "feature_replay", "swap": {3: 0}, **SMALL, **keys}
    context = Context(parse_settings(section), plan, directory=directory, log=lambda line: None, real_images=real_images)
    return FeatureReplay(context)


def loop_of(lifecycle: Lifecycle, gan: Gan) -> Loop:
    drawn = torch.tensor(lifecycle.method.drawn(lifecycle.method.settings, PLAN))
    images = real_images(3, 5).double()
    source = torch.Generator().manual_seed(0)
    return Loop(gan, images, torch.full((5,), 3), drawn, OPTIONS, source, lifecycle=lifecycle)


def started(gan: Gan, **keys: Any) -> tuple[FeatureReplay, Lifecycle]:
    method = method_of(**keys)
    return method, Lifecycle.begin(method, gan, Checkpoint.of(gan))


class Linear(nn.Module):
    """D(h, y) = <w_y, h>, whose gradient with respect to the features is w_y."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.rows = nn.Parameter(rows)

    def forward(self, hidden: Tensor, labels: Tensor) -> Tensor:
        return (hidden.flatten(1) * self.rows[labels]).sum(1)


def test_the_penalty_of_a_linear_judge_is_the_square_of_its_rows() -> None:
    rows = torch.randn(3, 2 * 4 * 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    judge, labels = Linear(rows), torch.tensor([0, 2, 2, 1])
    hidden = torch.randn(4, 2, 4, 4, dtype=torch.float64).requires_grad_(True)
    wanted = sum(sum(value * value for value in rows[label].tolist()) for label in labels.tolist()) / 4
    penalty = gradient_penalty(judge, hidden, labels)  # type: ignore[arg-type]
    assert math.isclose(float(penalty.detach()), wanted, rel_tol=1e-12)
    penalty.backward()
    assert hidden.grad is None, "it goes no further back than the features"
    assert judge.rows.grad is not None
    torch.testing.assert_close(judge.rows.grad[2], 2 * 2 * rows[2] / 4)


def test_the_penalty_is_lazy_and_counts_for_the_steps_between(gan: Gan) -> None:
    method, _ = started(gan, r1={"weight": 0.5, "every": 16})
    hidden = torch.randn(4, 16, 8, 8, dtype=torch.float64)
    labels = torch.tensor([0, 1, 3, 3])
    batch = Batch(32, hidden, labels, real_labels=labels, real_outputs={"hidden": hidden})
    judge = gan.discriminator.rcas
    assert isinstance(judge, FeatureDiscriminator)
    term = method.discriminator_loss(batch)
    assert term is not None
    torch.testing.assert_close(term, 16 * 0.5 / 2 * gradient_penalty(judge, hidden, labels))
    assert term.item() > 0
    assert method.discriminator_loss(Batch(33, hidden, labels, real_labels=labels, real_outputs={"hidden": hidden})) is None


def test_the_deviation_of_a_group_by_hand() -> None:
    x = torch.randn(6, 2, 1, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    made = MinibatchDeviation(4)(x)
    assert made.shape == (6, 3, 1, 2)
    assert torch.equal(made[:, :2], x)
    for first in range(2):  # groups of three, the largest that divides six: images first, first + 2, first + 4
        group = x[first::2].flatten(1).tolist()
        deviations = []
        for values in zip(*group, strict=True):
            mean = sum(values) / 3
            deviations.append((sum((value - mean) ** 2 for value in values) / 3 + 1e-8) ** 0.5)
        torch.testing.assert_close(made[first::2, 2], torch.full((3, 1, 2), sum(deviations) / 4, dtype=torch.float64))


def test_the_logit_is_the_projection_on_the_label() -> None:
    torch.manual_seed(0)
    judge = FeatureDiscriminator(5, 8, 3, channels=4, group_size=4).double()
    hidden, labels = torch.randn(4, 5, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 1])
    features = judge.project(judge.last(judge.deviation(judge.body(hidden))))
    for place, label in enumerate(labels.tolist()):
        row = judge.embedding.weight[label].tolist()
        wanted = sum(a * b for a, b in zip(features[place].tolist(), row, strict=True)) / math.sqrt(PROJECTION)
        assert math.isclose(float(judge(hidden, labels)[place].detach()), wanted, rel_tol=1e-9)


def test_the_classifier_is_resnet_18_by_default() -> None:
    """11,173,962 parameters: the ResNet-18 for CIFAR-10 with a stem of 3x3."""
    classifier = FeatureClassifier(3, 10)
    assert sum(parameter.numel() for parameter in classifier.parameters()) == 11_173_962
    with torch.no_grad():
        assert classifier.eval().hidden(torch.zeros(1, 3, 32, 32)).shape == (1, 256, 8, 8)


def test_a_classifier_comes_back_from_its_file(gan: Gan, tmp_path: Path) -> None:
    classifier, images = FeatureClassifier(3, 2, width=4, depth=1).eval(), torch.randn(3, 3, 16, 16)
    save_classifier(tmp_path / "c.safetensors", classifier, ("cat", "dog"))
    again = load_classifier(tmp_path / "c.safetensors", "RCAS.classifier")
    assert again.classes == ("cat", "dog")
    assert torch.equal(again.classifier(images), classifier(images))
    torch.testing.assert_close(classifier.after_hidden(classifier.hidden(images)), classifier(images))
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "c.safetensors").read_bytes()[:500])
    for name in ("cut.safetensors", "none.safetensors"):
        with pytest.raises(RcasError, match=r"^RCAS\.classifier: .* holds no classifier"):
            FeatureReplay.check_networks(
                parse_settings({"method": "feature_replay", "swap": {3: 0}, "classifier": str(tmp_path / name)}), PLAN, gan, {}
            )


def test_the_generators_term_is_the_distance_to_the_previous_images(gan: Gan) -> None:
    """By hand: 10 for each remaining label a new one, times the mean absolute difference of the old half; 0 at the start."""
    pretrained = copy.deepcopy(gan.generator).eval()
    method, _ = started(gan)
    z, labels = torch.randn(6, 6, dtype=torch.float64), torch.tensor([0, 1, 3, 3, 0, 3])
    fakes = gan.generator.eval()(z, labels)
    term = method.generator_loss(Batch(0, fakes, labels, latents=z, raw_fakes=fakes))
    assert term is not None
    assert term.item() < 1e-6, "G is still the previous one"
    with torch.no_grad():
        for parameter in gan.generator.parameters():
            parameter.add_(0.05)
    fakes = gan.generator(z, labels)
    term = method.generator_loss(Batch(0, fakes, labels, latents=z, raw_fakes=fakes))
    old = torch.tensor([0, 1, 4])
    wanted = 10 * (2 / 1) * (fakes[old] - pretrained(z[old], labels[old])).abs().mean()
    assert term is not None
    assert wanted.item() > 0.1
    assert math.isclose(term.item(), wanted.item(), rel_tol=1e-6)


def test_the_halves_of_a_batch_share_labels_and_latents(gan: Gan, monkeypatch: pytest.MonkeyPatch) -> None:
    pretrained = copy.deepcopy(gan.generator).eval()
    method, lifecycle = started(gan)
    batches: list[Batch] = []
    noted = method.discriminator_loss
    monkeypatch.setattr(method, "discriminator_loss", lambda batch: [batches.append(batch), noted(batch)][1])
    loop = loop_of(lifecycle, gan)
    for step in range(4):
        loop.step(step)
    assert len(batches) == 4
    replayed = 0
    for batch in batches:
        assert batch.real_images is not None
        assert batch.real_labels is not None
        assert batch.latents is not None
        assert batch.fake_labels.tolist() == batch.real_labels.tolist()
        old = (batch.real_labels != 3).nonzero().flatten()
        replayed += len(old)
        again = pretrained(batch.latents[old], batch.real_labels[old])
        torch.testing.assert_close(batch.real_images[old], again, rtol=0, atol=1e-6)
    assert 8 < replayed < 24, "half of the images, by the draw of each"
    assert method.replay is not None
    assert not method.replay.batches


def state_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def differing(before: Mapping[str, Tensor], network: nn.Module) -> list[str]:
    now = network.state_dict()
    return [name for name, value in before.items() if not torch.equal(value, now[name])]


def test_the_classifier_is_held_and_gradients_pass_through_it(gan: Gan) -> None:
    method, lifecycle = started(gan)
    loop = loop_of(lifecycle, gan)
    classifier, generator, discriminator = (state_of(net) for net in (method.classifier, gan.generator, gan.discriminator))
    loop.step(0)
    loop.step(1)
    assert differing(classifier, method.classifier) == [], "buffers too"
    assert not method.classifier.training
    assert not any("classifier" in name for name in gan.discriminator.state_dict())
    moved = differing(discriminator, gan.discriminator)
    assert moved
    assert all(name.startswith("rcas.") for name in moved), "the config's own D is left alone"
    assert "linear0.weight" in differing(generator, gan.generator)
    z = torch.randn(2, 6, dtype=torch.float64)
    logits = gan.discriminator(gan.generator(z, torch.tensor([3, 0])), torch.tensor([3, 0]))["adv_output"]
    (gradient,) = torch.autograd.grad(logits.sum(), gan.generator.get_parameter("linear0.weight"))
    assert gradient.abs().max() > 0


def test_what_is_folded_is_the_plain_gan(gan: Gan) -> None:
    before = {role: set(network.state_dict()) for role, network in gan.networks.items()}
    own = state_of(gan.discriminator)
    started(gan)
    checkpoint = Checkpoint.of(gan)
    assert checkpoint.adapted
    plain = checkpoint.folded
    assert {role: set(plain.states[role]) for role in before} == before
    assert all(torch.equal(plain.states["discriminator"][name], value) for name, value in own.items())


@pytest.mark.parametrize("trained_anew", [False, True])
def test_a_second_swap_goes_on_with_the_d_of_the_first(trained_anew: bool, gan: Gan, tmp_path: Path) -> None:
    """With the classifier that it is used to; one that is trained anew has other features, and gets a D of its own."""
    _, lifecycle = started(gan)
    loop_of(lifecycle, gan).step(0)
    checkpoint = Checkpoint.of(gan)
    generator, discriminator = lively_pair()
    other = Gan(generator.double(), discriminator.double(), None, gan.latents)
    file = tmp_path / "classifier.safetensors"
    save_classifier(file, FeatureClassifier(3, 4, width=4), PLAN.names)
    Lifecycle.begin(method_of(warm_up=5, **({} if trained_anew else {"classifier": str(file)})), other, checkpoint)
    rows = {name: value for name, value in checkpoint.states["discriminator"].items() if name.startswith("rcas.")}
    assert rows
    moved = differing(rows, other.discriminator)
    assert moved if trained_anew else not moved, "and it is not fitted again"


def test_g_starts_from_its_average_as_the_generator_that_replays(gan: Gan) -> None:
    """Genifer: the distance to the previous generator is 0 before the first step."""
    average = copy.deepcopy(gan.generator)
    with torch.no_grad():
        for weight in average.parameters():
            weight.mul_(0.5)
    whole = Gan(gan.generator, gan.discriminator, average, gan.latents)
    started(whole)
    assert differing(state_of(average), whole.generator) == []


def test_a_run_goes_on_without_the_file_that_its_classifier_came_from(gan: Gan, tmp_path: Path) -> None:
    settings = parse_settings({"method": "feature_replay", "swap": {3: 0}, "classifier": str(tmp_path / "gone.safetensors")})
    FeatureReplay.check(settings, PLAN, 10)  # asked for at the start and when a run goes on; its own file is taken there
    with pytest.raises(RcasError, match=r"^RCAS\.classifier: "):
        FeatureReplay.check_networks(settings, PLAN, gan, {})  # asked for at the start alone


def test_a_new_d_is_fitted_to_g_before_the_first_step(gan: Gan) -> None:
    generator = state_of(gan.generator)
    started(gan, warm_up=100)
    labels = torch.full((8,), 3)
    fakes = sample_images(gan.generator, labels, gan.latents).double()
    with torch.no_grad():
        of_fakes, of_real = (
            discriminate(gan.discriminator, images, labels)["adv_output"].mean() for images in (fakes, real_images(3, 8).double())
        )
    assert of_real > of_fakes + 0.2
    assert differing(generator, gan.generator) == []


def test_half_of_each_batch_is_replayed_however_many_classes_are_new(gan: Gan) -> None:
    plan = LabelPlan(4, {1: 0, 2: 1, 3: 2}, {0: 3}, ("a", "v", "w", "x"), ("a", "b", "c", "d"))
    method = method_of(plan, swap={1: 0, 2: 1, 3: 2})
    Lifecycle.begin(method, gan, Checkpoint.of(gan))
    assert method.replay is not None
    images, slots = real_images(3, 8).double(), torch.full((8,), 3)
    labels = torch.cat([method.replay(images, slots, torch.device("cpu"))[1] for _ in range(100)])
    assert float((labels == 0).double().mean()) == pytest.approx(0.5, abs=0.06)
    assert method.drawn(method.settings, plan).count(0) == 3


@pytest.mark.parametrize(("named", "count"), [(False, 400), (True, 11)])
def test_a_warm_up_alone_looks_at_no_more_images_than_its_updates(named: bool, count: int, gan: Gan, tmp_path: Path) -> None:
    """One update of 32 images, of three labels; a classifier that is trained as well is shown all."""
    save_classifier(tmp_path / FILE, FeatureClassifier(3, 4, width=2, depth=1).double(), PLAN.names)
    keys = {"classifier": str(tmp_path / FILE)} if named else {}
    method = method_of(**{**keys, "train_classifier": {"images": 400, "epochs": 1}, "warm_up": 1})
    method.attach(gan, Checkpoint.of(gan))
    assert method._images == count


def test_the_classifier_lies_beside_the_run(gan: Gan, tmp_path: Path) -> None:
    method = method_of(directory=tmp_path)
    Lifecycle.begin(method, gan, Checkpoint.of(gan))
    kept = load_classifier(tmp_path / FILE, "RCAS.classifier")
    assert kept.classes == PLAN.names
    assert differing(kept.classifier.double().state_dict(), method.classifier) == []


def test_a_config_whose_d_classifies_is_refused(gan: Gan, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = parse_settings({"method": "feature_replay", "swap": {3: 0}})
    FeatureReplay.check_networks(settings, PLAN, gan, {})
    forward = type(gan.discriminator).forward
    monkeypatch.setattr(
        type(gan.discriminator), "forward", lambda self, *a, **k: {**forward(self, *a, **k), "cls_output": torch.zeros(2, 4)}
    )
    with pytest.raises(RcasError, match=r"^RCAS\.method: feature_replay puts a D of its own"):
        FeatureReplay.check_networks(settings, PLAN, gan, {})
