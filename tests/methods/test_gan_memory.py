"""GAN Memory by hand: its formulas in float64, what it goes around, what it trains, and how many parameters a task has."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from rcas_plugin import Context, Gan, RcasError, gaussian_latents
from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.checkpoints.router import alone
from rcas_plugin.embedded.networks import Discriminator, Generator
from rcas_plugin.embedded.steps import Loop
from rcas_plugin.gan import GENERATOR, generate, sample_images
from rcas_plugin.labels import LabelPlan
from rcas_plugin.methods.gan_memory.adapter import Style
from rcas_plugin.methods.gan_memory.method import GanMemory
from rcas_plugin.run.lifecycle import Lifecycle
from rcas_plugin.settings import parse_settings
from rcas_plugin.weights.adapters import adapter_parameters
from rcas_plugin.weights.own_labels import OwnLabels

PLAN = LabelPlan(4, {3: 0}, {0: 1, 1: 2}, ("a", "b", "c", "new"), ("a", "b", "c", "d"))


def method_of(plan: LabelPlan = PLAN, **keys: Any) -> GanMemory:
    return GanMemory(Context(parse_settings({"method": "gan_memory", "swap": {3: 0}, **keys}), plan, log=lambda line: None))


def by_hand(weight: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """The style of a weight (a, b, height, width), kernel by kernel."""
    gamma, beta = gamma.detach(), beta.detach()
    made = torch.empty_like(weight)
    for a in range(len(weight)):
        for b in range(weight.shape[1]):
            kernel = weight[a, b].flatten().tolist()
            mean = sum(kernel) / len(kernel)
            spread = (sum((value - mean) ** 2 for value in kernel) / (len(kernel) - 1)) ** 0.5
            pixels = [float(gamma[a, b]) * (value - mean) / spread + float(beta[a, b]) for value in kernel]
            made[a, b] = torch.tensor(pixels, dtype=torch.float64).view(weight.shape[2:])
    return made


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 2, 4)])
def test_the_style_of_a_convolution(layer: nn.Module) -> None:
    source = torch.Generator().manual_seed(0)
    weight = torch.randn(layer.weight.shape, generator=source, dtype=torch.float64)  # type: ignore[arg-type]
    style = Style.of(weight).double()
    assert style.gamma.shape == style.beta.shape == (*weight.shape[:2], 1, 1)
    style.start(weight)
    torch.testing.assert_close(style(weight), weight, rtol=0, atol=1e-12)
    with torch.no_grad():
        style.gamma.normal_(generator=source)
        style.beta.normal_(generator=source)
    wanted = by_hand(weight, style.gamma[..., 0, 0], style.beta[..., 0, 0])
    torch.testing.assert_close(style(weight).detach(), wanted, rtol=0, atol=1e-6)


def test_the_style_of_a_linear_layer() -> None:
    weight = torch.randn(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    style = Style.of(weight).double()
    assert style.gamma.shape == (5, 1)
    with torch.no_grad():
        style.gamma.copy_(torch.arange(1.0, 6.0)[:, None])
        style.beta.fill_(-2.0)
    wanted = by_hand(weight[:, None, None], style.gamma, style.beta)[:, 0, 0]
    torch.testing.assert_close(style(weight).detach(), wanted, rtol=0, atol=1e-6)


def test_the_start_is_the_identity() -> None:
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    style = Style.of(weight)
    style.start(weight)
    torch.testing.assert_close(style(weight).detach(), weight, rtol=0, atol=1e-6)


def test_a_kernel_whose_pixels_are_all_alike() -> None:
    weight = torch.full((1, 2, 3, 3), 0.25)
    weight[0, 1, 0, 0] = 1.0
    style = Style.of(weight)
    style.start(weight)
    torch.testing.assert_close(style(weight).detach(), weight, rtol=0, atol=1e-6)
    style(weight).square().sum().backward()  # type: ignore[no-untyped-call]
    for gradient in (style.gamma.grad, style.beta.grad):
        assert gradient is not None
        assert gradient.isfinite().all()


def test_a_style_comes_back_from_its_part_of_a_state_dict() -> None:
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    style = Style.of(weight)
    style.start(weight * 2)
    assert torch.equal(Style.rebuild(style.state_dict())(weight), style(weight))


def test_under_spectral_norm_a_scale_of_the_style_changes_nothing() -> None:
    torch.manual_seed(0)
    conv = nn.utils.spectral_norm(nn.Conv2d(3, 4, 3)).double()
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    style = Style.of(conv.weight_orig).double()  # type: ignore[arg-type]
    style.start(conv.weight_orig.detach())  # type: ignore[operator, union-attr]
    parametrize.register_parametrization(conv, "weight_orig", style, unsafe=True)
    with torch.no_grad():
        style.beta.add_(0.3)
        conv(images)  # spectral norm has taken it in
        conv.eval()
        before = conv(images)
        style.gamma.mul_(7.0)
        style.beta.mul_(7.0)
        torch.testing.assert_close(conv(images), before, rtol=0, atol=1e-12)
        style.beta.add_(0.3)
        assert (conv(images) - before).abs().max() > 1e-3


def swapped(pair: Any, plan: LabelPlan = PLAN, steps: int = 3, **keys: Any) -> tuple[Gan, Lifecycle, dict[str, Tensor]]:
    """A swap of a few steps on the embedded networks, and the generator's tensors before it."""
    gan = Gan(*pair, None, gaussian_latents(6))
    base = {name: tensor.clone() for name, tensor in gan.generator.state_dict().items()}
    lifecycle = Lifecycle.begin(method_of(plan, **keys), gan, Checkpoint.of(gan))
    options = {"batch_size": 4, "beta1": 0.0, "g_lr": 0.01, "d_lr": 1e-5}
    images = torch.rand(12, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    slots = torch.tensor(sorted(plan.slots))
    loop = Loop(gan, images, slots[torch.arange(12) % len(slots)], slots, options, torch.Generator(), lifecycle=lifecycle)
    for step in range(steps):
        loop.step(step)
    return gan, lifecycle, base


def test_the_base_is_never_written(pair: Any) -> None:
    """Every frozen tensor and every other label's column is equal to the bit, and what is the task's has moved."""
    gan, _, base = swapped(pair)
    moved = set()
    for name, tensor in gan.generator.state_dict().items():
        if not isinstance(tensor, Tensor):
            continue
        plain = name.replace("parametrizations.", "").replace(".original", "")
        if plain in base and not torch.equal(tensor, base[plain]):
            moved.add(name.rpartition(".")[2])
    assert moved == {"bias", "weight", "running_mean", "running_var", "num_batches_tracked"}, "weight: of the last batch norm"
    folded = Checkpoint.of(gan).folded.states["generator"]
    table = "blocks.0.0.bn1.gain.weight"
    assert torch.equal(folded[table][:, :3], base[table][:, :3])
    assert not torch.equal(folded[table][:, 3], base[table][:, 3])
    for frozen in ("blocks.1.0.conv2d0.weight", "blocks.1.0.conv2d0.bias", "conv2d5.weight", "conv2d5.bias"):
        assert torch.equal(folded[frozen], base[frozen]), frozen
    for styled in ("linear0.weight", "blocks.0.0.conv2d1.weight", "blocks.2.0.conv2d2.weight"):
        assert not torch.equal(folded[styled], base[styled]), styled


def test_every_other_label_is_the_bases_to_the_bit(pair: Any) -> None:
    before = Gan(*pair, None, gaussian_latents(6))
    labels = torch.arange(4).repeat(3)
    images = sample_images(before.generator, labels, before.latents)
    gan, _, _ = swapped(pair)
    after = sample_images(gan.generator, labels, gan.latents)
    assert torch.equal(images[labels != 3], after[labels != 3])
    assert (images[labels == 3] - after[labels == 3]).abs().max() > 1e-3
    with alone(gan.generator):
        task = sample_images(gan.generator, labels, gan.latents)
    assert torch.equal(task[labels == 3], after[labels == 3])
    assert not torch.equal(task[labels == 0], after[labels == 0])
    z = gan.latents(12, torch.Generator().manual_seed(0))
    in_training = generate(gan.generator.train(), z, labels)
    assert in_training.requires_grad, "in training the task alone"
    assert not torch.allclose(in_training, images)


def test_gradients_are_where_they_should_be(pair: Any) -> None:
    gan, _, _ = swapped(pair, steps=1)
    trained = {
        name.replace("parametrizations.", "").replace(".0.gamma", ".style").replace(".0.beta", ".style")
        for network in (gan.generator, gan.discriminator)
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }
    blocks = range(3)
    convs = [f"blocks.{block}.0.conv2d{number}" for block in blocks for number in (1, 2)]
    generator = {"linear0.weight.style", "linear0.bias", "bn4.weight", "bn4.bias"}
    generator |= {f"{conv}.{part}" for conv in convs for part in ("weight.style", "bias")}
    generator |= {
        f"blocks.{block}.0.bn{n}.{part}.weight.0.values" for block in blocks for n in (1, 2) for part in ("gain", "bias")
    }
    convs.extend(f"blocks.3.0.conv2d{number}" for number in (1, 2))
    discriminator = {f"{conv}.{part}" for conv in convs for part in ("weight_orig.style", "bias")}
    discriminator |= {"linear1.weight_orig", "linear1.bias", "embedding.weight_orig.0.values"}
    assert trained == generator | discriminator


def test_without_a_style_of_d_its_head_alone_is_trained(pair: Any) -> None:
    gan, _, _ = swapped(pair, steps=1, style_discriminator=False)
    names = {name for name, parameter in gan.discriminator.named_parameters() if parameter.grad is not None}
    assert names == {"linear1.weight_orig", "linear1.bias", "embedding.parametrizations.weight_orig.0.values"}


def test_blocks_of_d_that_are_frozen_get_no_style(pair: Any) -> None:
    gan = Gan(*pair, None, gaussian_latents(6))
    frozen = frozenset(name for name, _ in gan.discriminator.named_parameters() if name.startswith("blocks.0."))
    settings = parse_settings({"method": "gan_memory", "swap": {3: 0}})
    method = GanMemory(Context(settings, PLAN, log=lambda line: None, frozen=frozen))
    Lifecycle.begin(method, gan, Checkpoint.of(gan))
    styled = {name.split(".parametrizations")[0] for name, _ in gan.discriminator.named_parameters() if "gamma" in name}
    assert styled == {f"blocks.{block}.0.conv2d{number}" for block in (1, 2, 3) for number in (1, 2)}


def test_the_parameters_of_a_task_are_counted() -> None:
    """family.md's R32: sum over convolutions of 2 CoCi + Co, and 3 O of the input layer, 18.6 % of the generator."""
    plan = LabelPlan(10, {3: 0}, {label: label for label in range(3)}, tuple("abcXefghij"), tuple("abcdefghij"))
    gan = Gan(Generator(128, 10, 64), Discriminator(10, 2), None, gaussian_latents(128))
    whole = sum(parameter.numel() for parameter in gan.generator.parameters())
    method = method_of(plan)
    method.gan = gan
    method.attach(gan, Checkpoint.of(gan))
    columns = sum(view.numel() for view in method.slot_views(gan, GENERATOR))
    last_norm = 2 * 256
    assert whole == 4_304_387
    assert columns == 30_720 // 10
    counts = method.record()["parameters"]
    assert counts["base"] == whole
    assert counts["generator"] - columns - last_norm == 800_256
    assert f"{800_256 / whole:.1%}" == "18.6%"
    of_adapters = sum(parameter.numel() for parameter in adapter_parameters(gan.generator))
    assert of_adapters == 800_256 + columns - 6 * 256 - 4096, "biases are plain parameters"


def test_the_steps_of_own_columns_may_be_longer(pair: Any) -> None:
    def values(steps: int, times: float) -> list[Tensor]:
        gan, _, _ = swapped(copy.deepcopy(pair), steps=steps, label_lr={"generator": times})
        return [module.values.detach() for module in gan.generator.modules() if isinstance(module, OwnLabels)]

    def moved(times: float) -> list[Tensor]:
        """What one step adds to the slot's own columns of G."""
        return [after - before for before, after in zip(values(0, times), values(1, times), strict=True)]

    once, thrice = moved(1.0), moved(3.0)
    assert once
    assert any(float(step.abs().max()) > 0 for step in once)
    for step, longer in zip(once, thrice, strict=True):
        torch.testing.assert_close(longer, 3 * step, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("key", ["retain", "share"])
def test_keys_for_methods_that_share_weights_are_refused(key: str) -> None:
    with pytest.raises(RcasError, match=rf"^RCAS\.{key}: 0\.5 has nothing to do with gan_memory"):
        GanMemory.check(parse_settings({"method": "gan_memory", "swap": {3: 0}, key: 0.5}), PLAN, 10)
    GanMemory.check(parse_settings({"method": "gan_memory", "swap": {3: 0}}), PLAN, 10)


def test_a_shared_embedding_has_a_row_a_label(odd_pair: Any) -> None:
    gan = Gan(*odd_pair, None, gaussian_latents(5))
    plan = LabelPlan(3, {1: 0}, {0: 1}, ("a", "new", "c"), ("a", "b", "c"))
    settings = parse_settings({"method": "gan_memory", "swap": {1: 0}})
    GanMemory.check_networks(settings, plan, gan, {})  # a row a label of the shared embedding
