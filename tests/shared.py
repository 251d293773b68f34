"""Small networks and data that many tests share."""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib.util
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import hypothesis
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.embedded import loop
from rcas_plugin.embedded.networks import Discriminator, Generator
from rcas_plugin.files import atomic_path
from rcas_plugin.gan import Gan
from rcas_plugin.labels import DataClasses, SwapDataset, resolve_labels
from rcas_plugin.methods.base import Method
from rcas_plugin.metrics import domain, judge
from rcas_plugin.metrics.judge import Judge, RealData
from rcas_plugin.report import page
from rcas_plugin.run.lifecycle import Lifecycle
from rcas_plugin.settings import parse_settings
from rcas_plugin.studiogan import folding

from .methods.example import install_example
from .other_device import pretended_device

Networks = TypeVar("Networks")

# the same examples everywhere, and no clock: a busy machine is no failure
hypothesis.settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("steady")
# what torch warns about once a process would fail whichever test comes first: let it fail each one
torch.set_warn_always(True)


@pytest.fixture
def load_script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Name of a file in scripts/, without its ending -> the module, new for each test."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "scripts" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[1] / "scripts"), *sys.path])  # as Python does for a script
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(params=["another device", *(["cuda"] if torch.cuda.device_count() else [])])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """A device other than the CPU: a GPU where there is one; and everywhere one that only pretends (`other_device`)."""
    if request.param == "cuda":
        yield torch.device("cuda:0")
        return
    with pretended_device() as other:
        yield other


def made_once(make: Callable[[], Networks]) -> Callable[[], Networks]:
    """A function that gives copies of the networks that `make` makes, and torch's random state as it was after that."""
    made: list[tuple[Networks, Tensor]] = []

    def copied() -> Networks:
        if not made:
            with torch.no_grad():
                made.append((make(), torch.get_rng_state()))
        networks, random_state = made[0]
        torch.set_rng_state(random_state)
        return copy.deepcopy(networks)

    return copied


@made_once
def lively_pair() -> tuple[Generator, Discriminator]:
    """The networks of `pair`."""
    torch.manual_seed(0)
    generator, discriminator = Generator(z_dim=6, num_classes=4, g_conv_dim=1), Discriminator(num_classes=4, d_conv_dim=2)
    for name, buffer in generator.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    for _ in range(20):  # spectral norm's vectors settle
        discriminator(torch.randn(2, 3, 32, 32), torch.tensor([0, 1]))
    return generator, discriminator


@pytest.fixture
def pair() -> tuple[Generator, Discriminator]:
    """An embedded generator and discriminator of 4 labels with lively conditioning and batch-norm statistics."""
    return lively_pair()


@pytest.fixture
def squares() -> Tensor:
    """Images (32, 3, 32, 32), eight each of the classes a, b, c, d, which differ in brightness."""
    plain = torch.stack([torch.full((3, 32, 32), -1 + 0.5 * (index // 8)) for index in range(32)])
    return plain + 0.1 * torch.randn(plain.shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def judge_of(squares: Tensor) -> Callable[..., Judge]:
    """(folder, images a label) -> the judge of a swap of b for d among the labels a, b, c."""

    def make(folder: Path, images: int = 6, second: bool = False) -> Judge:
        targets = [index // 8 for index in range(32)]
        plan = resolve_labels(parse_settings({"swap": {"b": "d"}}), 3, DataClasses(tuple("abcd"), (8, 8, 8, 8)), "abc")
        base = TensorDataset(squares)
        data = RealData(base, tuple(targets), tuple("abcd"))
        swapped = SwapDataset(base, targets, plan)
        quiet: Callable[[str], None] = lambda line: None  # noqa: E731
        return Judge.of(folder, "x", data, plan, images, real_images=swapped.images_of, second=second, log=quiet)

    return make


def begin(method: Method, gan: Gan, states: Mapping[str, Mapping[str, Any]] | None = None) -> Lifecycle:
    """Start a swap on networks that hold the pre-trained weights, or from state dicts."""
    return Lifecycle.begin(method, gan, Checkpoint.of(gan) if states is None else Checkpoint.of_states(states))


def go_on(method: Method, gan: Gan, states: Mapping[str, Mapping[str, Any]], step: int = 0) -> Lifecycle:
    """Go on with a swap from the state dicts of its checkpoint, as the embedded loop does."""
    lifecycle = Lifecycle.go_on(method, gan, Checkpoint.of_states(states, step))
    for name, network in gan.networks.items():
        network.load_state_dict(states[name])
    return lifecycle


@contextlib.contextmanager
def short_endings() -> Iterator[None]:
    """What takes longest in a run of a few steps takes less: training its judges, and drawing its report or what is
    folded of it.

    A judge tells these classes, which differ in brightness, after `EPOCHS`; each picture of a report is a plain one.
    """

    def plain(path: Path, *_: Any, **__: Any) -> None:
        with atomic_path(path) as temporary:
            Image.new("RGB", (8, 8)).save(temporary, format="PNG")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("train_classifier", "train_second_classifier"):
            patch.setattr(domain, name, functools.partial(_train_briefly, getattr(domain, name)))
        for module in (page, folding):
            for name in [name for name in vars(module) if name.startswith("draw_")]:
                patch.setattr(module, name, plain)
        yield


#: Passes over the images that train a judge of the tests.
EPOCHS = 40


def _train_briefly(train: Callable[..., Any], *data: Any, epochs: int, **options: Any) -> Any:
    return train(*data, epochs=min(epochs, EPOCHS), **options)


@pytest.fixture
def short_runs() -> Iterator[None]:
    """`short_endings` for a test that looks neither at the pictures of a report nor at how good a judge is."""
    with short_endings():
        yield


class Watched:
    """A swap of b for d on the embedded networks, after which the old class's images are gone; with metrics and pictures."""

    def __init__(self, root: Path) -> None:
        self.root = root
        source = np.random.default_rng(0)
        for index, name in enumerate("abcd"):
            folder = root / "data" / "train" / name
            folder.mkdir(parents=True)
            for number in range(6):
                Image.fromarray((60 * index + source.integers(0, 30, (8, 8))).astype(np.uint8)).save(folder / f"{number}.png")
        (root / "data" / "train" / "d").rename(root / "d")
        self.pretrained = loop.train(self.config(), root / "data", root / "out", progress=False)
        (root / "d").rename(root / "data" / "train" / "d")
        shutil.rmtree(root / "data" / "train" / "b")
        self.run = self.swap()

    def config(self, **sections: object) -> Path:
        content = {
            "DATA": {"name": "toy", "img_size": 32, "num_classes": 3},
            "MODEL": {"backbone": "resnet", "z_dim": 4, "g_conv_dim": 1, "d_conv_dim": 1},
            "OPTIMIZATION": {"batch_size": 4, "beta1": 0.0, "total_steps": 2},
        }
        path = self.root / "config.yaml"
        path.write_text(yaml.safe_dump({**content, **sections}))
        return path

    def swap(self, seed: int = 0, **rcas: object) -> Path:
        """Another run; its folder."""
        section = {"method": "fine_tune", "swap": {"b": "d"}, "snapshot_images": 2, "swap_metrics": 5, **rcas}
        out = self.root / f"out-{len(list(self.root.glob('out*')))}"  # runs of one second would have one name
        for judges in self.root.glob("out*/domain"):  # trained once
            shutil.copytree(judges, out / "domain", dirs_exist_ok=True)
        with short_endings(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(judge, "STAND_INS", 16)
            return loop.train(
                self.config(RCAS=section), self.root / "data", out, self.pretrained, seed=seed, save_freq=1, progress=False
            )


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    return Watched(tmp_path_factory.mktemp("watched"))


class OddGenerator(nn.Module):
    """A generator of layers that the embedded one lacks: transposed convolutions, strides, dilation, a shared embedding."""

    z_dim = 5

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Embedding(3, 4)
        self.linear = nn.Linear(5 + 4, 4 * 2 * 2)
        self.affine = nn.utils.spectral_norm(nn.Linear(4, 3, bias=False))
        self.up = nn.utils.spectral_norm(nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1))
        self.up2 = nn.ConvTranspose2d(3, 3, 3, stride=2, padding=1, output_padding=1, dilation=1)
        self.same = nn.Conv2d(3, 3, 3, padding=2, dilation=2)

    def forward(self, z: Tensor, label: Tensor, eval: bool = False) -> Tensor:
        code = self.shared(label)
        h = self.linear(torch.cat([z, code], 1)).view(-1, 4, 2, 2)
        h = torch.relu(self.up(h)) * (1 + self.affine(code))[..., None, None]
        h = torch.relu_(self.up2(h))
        h = torch.relu_(self.same(h)) + self.affine(code)[..., None, None]  # a layer that is called twice
        return torch.tanh(self.same(h))


class OddDiscriminator(nn.Module):
    """Strided convolutions, multi-hinge logits (one a label and one for fakes), a layer that the logit does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.utils.spectral_norm(nn.Conv2d(3, 4, 3, stride=2, padding=1))
        self.linear = nn.utils.spectral_norm(nn.Linear(4, 3 + 1))
        self.unused = nn.Linear(4, 2)

    def forward(self, x: Tensor, label: Tensor, eval: bool = False) -> dict[str, Tensor]:
        h = torch.relu_(self.down(x)).sum((2, 3))
        return {"adv_output": torch.squeeze(self.linear(h)), "cls_output": self.unused(h)}


@made_once
def lively_odd_pair() -> tuple[OddGenerator, OddDiscriminator]:
    """The networks of `odd_pair`."""
    torch.manual_seed(1)
    generator, discriminator = OddGenerator(), OddDiscriminator()
    for _ in range(20):
        images = generator(torch.randn(2, 5), torch.tensor([0, 2]))
        discriminator(images, torch.tensor([0, 2]))
    return generator, discriminator


@pytest.fixture
def odd_pair() -> tuple[OddGenerator, OddDiscriminator]:
    return lively_odd_pair()


@pytest.fixture
def heard() -> Iterator[None]:
    """A process that hears SIGINT, even where the tests run in the background of a shell, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def example_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that pip has installed another package's method into: tests/third_party/rcas_method_example."""
    return install_example(tmp_path_factory.mktemp("site"))
