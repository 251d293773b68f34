"""The router gives each label's images by the state of its own swap."""

from __future__ import annotations

import copy

import pytest
import torch

from rcas_plugin import RcasError
from rcas_plugin.checkpoints.router import Router, alone, route_by_label, routing_of
from rcas_plugin.embedded.networks import Generator
from rcas_plugin.gan import gaussian_latents, generate, sample_images


def lively(seed: int, labels: int = 3) -> Generator:
    torch.manual_seed(seed)
    made = Generator(z_dim=4, num_classes=labels, g_conv_dim=1).eval()
    for name, buffer in made.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
    return made


@pytest.fixture
def networks() -> list[Generator]:
    return [lively(seed) for seed in range(3)]


def test_each_label_by_its_own_state(networks: list[Generator]) -> None:
    own = lively(9).train()
    before = {key: value.clone() for key, value in own.state_dict().items()}
    router = Router(own, [network.state_dict() for network in networks], [(0, 2), (2, 1), (1, 0)])
    z = gaussian_latents(4)(6, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for label, (state, inner) in enumerate([(0, 2), (2, 1), (1, 0)]):
            wanted = generate(networks[state], z, torch.full((6,), inner))
            assert torch.equal(generate(router, z, torch.full((6,), label)), wanted)
            assert not torch.equal(wanted, generate(lively(9), z, torch.full((6,), inner)))
        labels = torch.tensor([1, 0, 1, 2, 0, 1])
        mixed = router(z, labels, eval=True)
        for label, (state, inner) in enumerate([(0, 2), (2, 1), (1, 0)]):
            place = labels == label
            wanted = generate(networks[state], z, torch.full((6,), inner))
            assert torch.equal(mixed[place], wanted[place]), "each state makes the whole batch"
        assert torch.equal(router(z, torch.nn.functional.one_hot(labels, 3)), mixed), "labels may be one-hot"
    assert own.training, "a generator in training goes on training"
    assert all(torch.equal(value, before[key]) for key, value in own.state_dict().items())


def test_it_is_sampled_and_moved_like_any_generator(networks: list[Generator]) -> None:
    router = Router(lively(9), [network.state_dict() for network in networks], [(0, 0), (1, 1)])
    labels = torch.tensor([0, 1, 1])
    images = sample_images(router, labels, gaussian_latents(4))
    assert images.shape == (3, 3, 32, 32)
    torch.testing.assert_close(images[:1], sample_images(networks[0], labels[:1], gaussian_latents(4)))
    router.double()
    assert {value.dtype for value in router.states[1].values()} == {torch.float64, torch.int64}
    z = torch.zeros(2, 4, dtype=torch.float64)
    torch.testing.assert_close(router(z, labels[:2]).float(), torch.cat([
        generate(network, z[:1].float(), label[None]) for network, label in zip(networks, labels[:2], strict=False)
    ]))  # fmt: skip


def test_a_network_in_training_is_routed_by_label(networks: list[Generator]) -> None:
    """In evaluation the states make their labels and the network the last; in training, and `alone`, it makes all of them."""
    own = lively(9)
    keys = list(own.state_dict())
    plain = [lively(9) for _ in range(2)]
    route_by_label([own], plain[0], [network.state_dict() for network in networks], [(1, 2), (3, 1), (0, 0)])
    z, labels = gaussian_latents(4)(6, torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1, 2])
    with torch.no_grad():
        mixed = own(z, labels, eval=True)
        for label, (network, inner) in enumerate([(networks[1], 2), (plain[1], 1), (networks[0], 0)]):
            wanted = generate(network, z, torch.full((6,), inner))
            assert torch.equal(mixed[labels == label], wanted[labels == label])
        assert torch.equal(own(z, torch.nn.functional.one_hot(labels, 3), eval=True), mixed)
        with alone(own):
            assert torch.equal(generate(own, z, labels), generate(plain[1], z, labels))
        assert torch.equal(generate(own, z, labels), mixed)
        assert torch.equal(generate(own.train(), z, labels), generate(plain[1].train(), z, labels))
        with pytest.raises(RcasError, match="a mixture of labels belongs to no task"):
            own.eval()(z, None)
    assert list(own.state_dict()) == keys
    assert routing_of(plain[1]) is None
    with torch.no_grad():
        mixed = generate(own, z, labels)  # the pass in training has moved its batch norms
    copied = copy.deepcopy(own)
    assert routing_of(copied) is not routing_of(own)
    torch.nn.init.zeros_(own.conv2d5.weight)
    with torch.no_grad():
        assert torch.equal(generate(copied, z, labels), mixed), "a copy goes on by itself"
        assert not torch.equal(generate(own, z, labels), mixed)


def test_states_of_another_number_of_labels_are_refused(networks: list[Generator]) -> None:
    with pytest.raises(RcasError, match=r"state 1 of the lineage has another .* swaps that change the number of labels"):
        Router(lively(9), [networks[0].state_dict(), lively(1, labels=4).state_dict()], [(0, 0)])
