"""Each cure, and that the fault it names is upstream's: the same call fails without it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from packaging.version import parse as parse_version
from PIL import Image
from torch.utils.data import DistributedSampler, TensorDataset

from rcas_plugin import RcasError
from rcas_plugin.labels import LabelPlan
from rcas_plugin.settings import parse_settings
from rcas_plugin.studiogan.cures import CURES
from rcas_plugin.studiogan.seams import SEAMS, Seam, check, find

from .conftest import write_images

Upstream = Callable[[str], Any]


def test_every_cure_names_a_file_and_a_fault(upstream: Upstream) -> None:
    assert len(CURES) > 10
    for cure in CURES.values():
        assert cure.file
        assert cure.fault
        assert cure.apply.__doc__


def test_cures_and_seams_can_be_put_in_twice(upstream: Upstream, studiogan: Path) -> None:
    from rcas_plugin.studiogan.activation import activate

    before = {path: find(seam) for path, seam in SEAMS.items()}
    activate(studiogan / "src")
    assert all(find(seam) is before[path] for path, seam in SEAMS.items())


def test_a_seam_that_is_missing_is_one_sentence(upstream: Upstream) -> None:
    with pytest.raises(RcasError, match=r"has no loader.load_nothing, which gives nothing; use the pinned commit"):
        check(Seam("loader", "load_nothing", "nothing"))
    with pytest.raises(RcasError, match=r"utils.sample.sample_y of this StudioGAN does not take colour"):
        check(Seam("utils.sample", "sample_y", "labels", ("colour",)))


def test_a_picture_that_is_cut_short_leaves_the_old_one(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S4: upstream's canvases and plots appear whole or not at all."""
    misc = upstream("utils.misc")

    def draw() -> None:
        misc.plot_img_canvas(torch.zeros(4, 3, 8, 8), str(tmp_path / "canvas.png"), 2, None)

    def plot() -> None:
        misc.plot_spectrum_image(torch.zeros(4, 4).numpy(), torch.ones(4, 4).numpy(), str(tmp_path), None)

    def cut_short(*args: Any, **kwargs: Any) -> None:
        path = next(arg for arg in args if isinstance(arg, str | Path))
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    for make, name in ((draw, "canvas.png"), (plot, "dfft_spectrum.png")):
        make()
        whole = (tmp_path / name).read_bytes()
        assert whole.startswith(b"\x89PNG")
        with monkeypatch.context() as here:
            here.setattr(Image.Image, "save", cut_short)
            here.setattr(FigureCanvasAgg, "print_figure", cut_short)
            with pytest.raises(KeyboardInterrupt):
                make()
        assert (tmp_path / name).read_bytes() == whole
    misc.save_dict_npy(str(tmp_path), "losses", {"gen_loss": [1.0]})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canvas.png", "dfft_spectrum.png", "losses.npy"]


def test_float_betas(upstream: Upstream) -> None:
    net = torch.nn.Linear(1, 1)
    if parse_version(torch.__version__) >= parse_version("2.6"):  # torch before it takes whole numbers
        with pytest.raises(ValueError, match="betas must be either both floats or both Tensors"):
            torch.optim.Adam(net.parameters(), betas=(0, 0.99))
    config = upstream("config")
    cfgs = config.Configurations.__new__(config.Configurations)
    cfgs.MODEL = SimpleNamespace(info_type="N/A", backbone="resnet")
    cfgs.OPTIMIZATION = SimpleNamespace(
        type_="Adam", beta1=0, beta2=0.9, g_lr=1e-3, d_lr=1e-3, g_weight_decay=0, d_weight_decay=0
    )
    cfgs.define_optimizer(net, net)
    assert list(cfgs.OPTIMIZATION.g_optimizer.param_groups[0]["betas"]) == [0.0, 0.9]


def test_a_batch_of_images_goes_to_wandb_as_a_grid(upstream: Upstream) -> None:
    import wandb

    batch = torch.rand(16, 3, 8, 8) * 2 - 1
    if parse_version(wandb.__version__) >= parse_version("0.31"):  # old ones make a grid of their own
        with pytest.raises(ValueError):  # noqa: PT011  (wandb's own words change)
            wandb.Image(batch)
    image = upstream("worker").wandb.Image(batch)
    assert (image.image.width, image.image.height) == (64, 16)
    assert upstream("worker").wandb.init is wandb.init


def test_data_loader_without_workers_and_for_few_images(upstream: Upstream) -> None:
    few = TensorDataset(torch.arange(3))
    loader = upstream("loader").DataLoader(dataset=few, batch_size=8, shuffle=True, pin_memory=True, num_workers=0, sampler=None,
                                           drop_last=True, persistent_workers=True)  # fmt: skip
    (batch,) = [items for (items,) in loader]
    assert len(batch) == 8
    assert set(batch.tolist()) == {0, 1, 2}
    many = upstream("loader").DataLoader(dataset=TensorDataset(torch.arange(20)), batch_size=8, shuffle=True, num_workers=0,
                                         drop_last=True)  # fmt: skip
    assert [len(items) for (items,) in many] == [8, 8]


def test_each_process_has_a_batch_of_few_images(upstream: Upstream) -> None:
    """D1: where a process's share of the data is smaller than its batch, it is drawn from again, and epochs differ."""
    few = TensorDataset(torch.arange(7))
    sampler = DistributedSampler(few, num_replicas=2, rank=1, shuffle=True, drop_last=True)
    loader = upstream("loader").DataLoader(dataset=few, batch_size=8, num_workers=0, sampler=sampler, drop_last=True)
    (first,) = [items.tolist() for (items,) in loader]
    assert len(first) == 8
    assert set(first) == set(sampler)
    assert len(set(first)) == 3
    loader.sampler.set_epoch(1)
    (second,) = [items.tolist() for (items,) in loader]
    assert second != first
    enough = upstream("loader").DataLoader(dataset=few, batch_size=3, num_workers=0, sampler=sampler, drop_last=True)
    assert enough.sampler is sampler


def make(upstream: Upstream, root: Path) -> str:
    DATA = SimpleNamespace(name="toy", img_size=32)
    RUN = SimpleNamespace(data_dir=str(root), save_dir=str(root.parent / "save"), num_workers=0)
    path: str = upstream("utils.hdf5").make_hdf5(name="toy", img_size=32, crop_long_edge=True, resize_size=32, data_dir=str(root),
                                                 resizer="lanczos", DATA=DATA, RUN=RUN)[0]  # fmt: skip
    return path


def labels(path: str) -> list[int]:
    with h5py.File(path) as file:
        return list(file["labels"][:].tolist())


def test_hdf5_of_few_images_written_whole_and_renewed(upstream: Upstream, tmp_path: Path) -> None:
    """L5: HDF5 data lie under -save, of the files that are there now; nothing is written into the data folder."""
    root = write_images(tmp_path / "data", "ab", count=3)
    path = make(upstream, root)
    with h5py.File(path) as file:
        assert file["imgs"].shape == (6, 32, 32, 3)
    assert labels(path) == [0, 0, 0, 1, 1, 1]
    assert Path(path).is_relative_to(tmp_path / "save")
    stamp = Path(path).stat().st_mtime_ns
    assert make(upstream, root) == path
    assert Path(path).stat().st_mtime_ns == stamp, "a whole file is not written again"
    write_images(root, "c", count=2)
    second = make(upstream, root)
    assert len(labels(second)) == 8, "a class folder was added"
    Path(second).write_bytes(Path(second).read_bytes()[:2000])
    assert make(upstream, root) == second
    assert len(labels(second)) == 8, "the file was cut off"
    assert list(Path(second).parent.iterdir()) == [Path(second)], "no stale file, no half-written one"
    assert {entry.name for entry in root.iterdir()} == {"train", "valid"}


@pytest.mark.parametrize("how", ["in place", "another folder"])
def test_hdf5_of_as_many_other_images_is_written_again(upstream: Upstream, tmp_path: Path, how: str) -> None:
    """L5: images written over in place, or a class folder replaced by another of as many, are read."""
    root = write_images(tmp_path / "data", "ab", count=3)
    first = make(upstream, root)
    with h5py.File(first) as file:
        before = file["imgs"][:]
    files = sorted((root / "train" / "b").iterdir())
    if how == "in place":
        for path in files:
            Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    else:
        (root / "train" / "b").rename(tmp_path / "b")
        write_images(tmp_path / "other", "cb", count=3)
        (tmp_path / "other" / "train" / "c").rename(root / "train" / "b")
    second = make(upstream, root)
    assert second != first
    assert not Path(first).exists(), "a stale one of the same data folder is taken away"
    with h5py.File(second) as file:
        after = file["imgs"][:]
    assert np.array_equal(after[:3], before[:3])
    for number, path in enumerate(sorted((root / "train" / "b").iterdir())):
        assert np.array_equal(after[3 + number], np.asarray(Image.open(path).convert("RGB")))
        assert not np.array_equal(after[3 + number], before[3 + number])


def test_a_users_own_hdf5_file(upstream: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """L5: a file in the data folder is read where it certainly is of the images there, and never deleted."""
    root = write_images(tmp_path / "data", "ab", count=3)
    own = root / "toy_32_lanczos_train.hdf5"
    shutil.copyfile(make(upstream, root), own)
    content = own.read_bytes()
    assert make(upstream, root) == str(own), "newer than the images, their classes in order"
    (root / "train" / "b").rename(tmp_path / "b")
    write_images(root, "b", count=3)
    shutil.rmtree(root / "valid")
    assert make(upstream, root) != str(own), "a class folder was replaced after it was written"
    assert f"{own} may be of other images" in capsys.readouterr().out
    shutil.rmtree(root / "train")
    assert make(upstream, root) == str(own), "no folders: it is the data set"
    own.write_bytes(content[:2000])
    with pytest.raises(SystemExit):
        make(upstream, root)
    assert f"{own} is cut off" in capsys.readouterr().err
    assert own.read_bytes() == content[:2000]


def test_an_interrupted_hdf5_file_is_not_left_behind(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_images(tmp_path / "data", "ab", count=3)

    class Stops:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(upstream("utils.hdf5"), "DataLoader", Stops)
    with pytest.raises(KeyboardInterrupt):
        make(upstream, root)
    assert {path.name for path in root.iterdir()} == {"train", "valid"}
    assert list((tmp_path / "save").rglob("*.hdf5")) == []
    assert list((tmp_path / "save" / "hdf5").iterdir()) == []


def test_upstreams_data_set_reads_through_the_plugins_loader(upstream: Upstream, tmp_path: Path) -> None:
    """L7 L10: 16 bits are scaled, an emptied class and a hidden folder are no error; upstream's own listing fails on both."""
    root = write_images(tmp_path, "ab", count=2) / "train"
    values = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
    Image.fromarray(values).save(root / "b" / "0.png")
    (root / "empty").mkdir()
    (root / ".ipynb_checkpoints").mkdir()
    with pytest.raises(FileNotFoundError):
        upstream("data_util").ImageFolder.upstream(root=str(root))
    data = upstream("data_util").Dataset_("toy", str(tmp_path), True, crop_long_edge=True, resize_size=32, resizer="lanczos")
    assert data.data.classes == ["a", "b", "empty"]
    image, label = data[2]
    assert label == 1
    torch.testing.assert_close(image[0].flatten(), torch.linspace(-1, 1, 32 * 32), atol=1 / 127, rtol=0)


def test_the_old_checkpoint_lives_until_the_new_one_is_whole(upstream: Upstream, tmp_path: Path) -> None:
    save = upstream("utils.misc").save_model
    save(model="G", when="current", step=1, ckpt_dir=str(tmp_path), states={"state_dict": {}})

    class Fails:
        def __reduce__(self) -> Any:
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        save(model="G", when="current", step=2, ckpt_dir=str(tmp_path), states={"x": Fails()})
    assert [path.name for path in tmp_path.iterdir()] == ["model=G-current-weights-step=1.pth"]
    save(model="G", when="current", step=2, ckpt_dir=str(tmp_path), states={"state_dict": {}})
    save(model="G", when="best", step=2, ckpt_dir=str(tmp_path), states={"state_dict": {}})
    assert {path.name for path in tmp_path.iterdir()} == {f"model=G-{w}-weights-step=2.pth" for w in ("current", "best")}


def test_no_best_checkpoint_is_no_error(upstream: Upstream, tmp_path: Path) -> None:
    ckpt = upstream("utils.ckpt")
    networks = {"Gen": torch.nn.Linear(1, 1), "Dis": torch.nn.Linear(1, 1), "apply_g_ema": False, "Gen_ema": None, "ema": None}
    with pytest.raises(IndexError):
        ckpt.load_best_model.upstream(ckpt_dir=str(tmp_path), **networks)
    assert ckpt.load_best_model(ckpt_dir=str(tmp_path), **networks) == 0
    (tmp_path / "model=D-current-weights-step=40.pth").touch()
    assert ckpt.load_best_model(ckpt_dir=str(tmp_path), **networks) == 40


def test_fakes_are_drawn_from_live_labels_only(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    from rcas_plugin.studiogan.active import RUN

    plan = LabelPlan(6, {4: 0}, {1: 1, 5: 5}, tuple("abcdef"), tuple("abcdef"))
    settings = parse_settings({"method": "fine_tune", "swap": {"e": "x"}, "share": 0.75})
    swap = SimpleNamespace(plan=plan, settings=settings)
    sample = upstream("utils.sample").sample_y
    assert set(sample("totally_random", 200, 6, "cpu").tolist()) == set(range(6)), "no swap: all of them"
    monkeypatch.setattr(RUN, "swap", swap)
    assert set(sample(y_sampler="totally_random", batch_size=200, num_classes=6, device="cpu").tolist()) == {1, 4, 5}
    assert sample("acending_all", 8, 6, "cpu").tolist() == [1] * 8 + [4] * 8 + [5] * 8
    assert set(sample("acending_some", 16, 6, "cpu").tolist()) <= {1, 4, 5}
    assert sample(2, 3, 6, "cpu").tolist() == [2, 2, 2], "a label that is asked for is given"
    with RUN.passes.generating(training=False):
        judged = sample("totally_random", 400, 6, "cpu")
    with RUN.passes.generating(training=True):
        trained = sample("totally_random", 400, 6, "cpu")
    assert 80 < int((judged == 4).sum()) < 190, "a third: what is judged has every label alike"
    assert 270 < int((trained == 4).sum()) < 330, "the new class has its share of what is trained on"


def test_the_table_of_the_contributing_guide_has_every_cure() -> None:
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
    assert not [name for name in CURES if not re.search(rf"\b{name}\b", text)]


class OnTheGpu(torch.Tensor):
    """A tensor that `Tensor.cuda` has made, on a machine without a GPU."""

    def cpu(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        return self.as_subclass(torch.Tensor)


def test_a_run_that_goes_on_counts_adams_steps_on_the_cpu(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upstream moves whatever tensor an optimiser holds; torch then asks the GPU for each counter at each step."""
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    torch.save({"state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "model.pth")
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self.as_subclass(OnTheGpu))
    load = upstream("utils.ckpt").load_ckpt
    path = str(tmp_path / "model.pth")
    options = {"model": model, "optimizer": optimizer, "ckpt_path": path, "load_model": True, "load_opt": True}
    load.upstream(**options)
    assert all(type(state["step"]) is OnTheGpu for state in optimizer.state.values()), "the fault is upstream's"
    load(**options)
    assert len(optimizer.state) == 2
    for state in optimizer.state.values():
        assert type(state["step"]) is torch.Tensor
        assert float(state["step"]) == 1
        assert type(state["exp_avg"]) is OnTheGpu
