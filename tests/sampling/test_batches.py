"""What an image depends on, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from rcas_plugin import RcasError
from rcas_plugin.gan import Gan, gaussian_latents
from rcas_plugin.sampling.batches import batch_seed, batch_size, check_truncation, generate_batch, pictures, truncated
from rcas_plugin.sampling.run import open_run

from ..shared import OddGenerator


def test_truncated_latents_are_those_of_a_normal_cut_off() -> None:
    """StudioGAN's are scipy's truncnorm; each number is moved to the same quantile of that, in float64."""
    z = torch.randn(2000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for threshold in (0.5, 2.0):
        expected = stats.truncnorm(-threshold, threshold).ppf(stats.norm.cdf(z.numpy()))
        torch.testing.assert_close(truncated(z, threshold), torch.from_numpy(expected), rtol=0, atol=1e-9)
    assert stats.kstest(truncated(z, 0.7).numpy(), stats.truncnorm(-0.7, 0.7).cdf).pvalue > 0.05
    far = torch.tensor([-40.0, 40.0])
    assert torch.equal(truncated(far, 0.7), torch.tensor([-0.7, 0.7])), "no infinity where a tail is rounded to nothing"


def test_a_batch_by_hand(pair: tuple[torch.nn.Module, torch.nn.Module]) -> None:
    gan = Gan(*pair, None, gaussian_latents(6))
    images = generate_batch(gan, gan.generator, 2, 5, 77, z_dim=4, truncation=0.8)
    z = torch.randn(5, 6, generator=torch.Generator().manual_seed(77))
    z[:, :4] = truncated(z[:, :4], 0.8)
    with torch.no_grad():
        expected = gan.generator.eval()(z, torch.full((5,), 2))
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-6)
    assert not torch.equal(images, generate_batch(gan, gan.generator, 2, 5, 77, z_dim=4))


def test_nothing_of_the_generator_or_the_draws_changes(odd_pair: tuple[OddGenerator, torch.nn.Module]) -> None:
    gan = Gan(*odd_pair, None, gaussian_latents(5))
    gan.generator.train()
    before, state, threads = dict(gan.generator.state_dict()), torch.get_rng_state(), torch.get_num_threads()
    generate_batch(gan, gan.generator, 0, 2, 1, z_dim=5)
    assert gan.generator.training
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert all(torch.equal(value, before[key]) for key, value in gan.generator.state_dict().items())


def test_sizes_and_seeds_of_batches() -> None:
    assert [batch_size(size) for size in (32, 64, 128, 512, 1024)] == [64, 64, 16, 1, 1]
    seeds = {batch_seed(seed, label, batch) for seed in range(4) for label in range(4) for batch in range(4)}
    assert len(seeds) == 64
    assert batch_seed(1, 2, 3) == int(np.random.SeedSequence([1, 2, 3]).generate_state(1)[0])


def test_pictures() -> None:
    images = torch.tensor([-1.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    (colour,), (gray,) = pictures(images, gray=False), pictures(images, gray=True)
    assert (colour.mode, colour.getpixel((0, 0))) == ("RGB", (0, 128, 255))
    assert (gray.mode, gray.getpixel((0, 0))) == ("L", 128)
    steps = torch.linspace(-1, 1, 16).view(1, 1, 1, 16).expand(1, 3, 16, 16)
    (large,) = pictures(steps, gray=True, size=40)
    (small,) = pictures(steps, gray=True)
    assert large.tobytes() == small.resize((40, 40), Image.Resampling.LANCZOS).tobytes()


def test_truncation_that_is_none(run: Path) -> None:
    opened = open_run(run)
    for allowed in (None, 0.7, 3.0):
        check_truncation(opened, allowed)
    for refused in (0.0, -1.0, float("nan")):
        with pytest.raises(RcasError, match=f"--truncation is {refused:g}; allowed: over 0"):
            check_truncation(opened, refused)
    opened.builder.config["MODEL"]["z_prior"] = "uniform"  # type: ignore[index]
    with pytest.raises(RcasError, match="latents are uniform"):
        check_truncation(opened, 0.7)
