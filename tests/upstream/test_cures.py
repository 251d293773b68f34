"""Each cure, and that the fault it names is upstream's: the same call fails without it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from torch.utils.data import TensorDataset

from rcas_plugin import RcasError
from rcas_plugin.studiogan.cures import CURES
from rcas_plugin.studiogan.locate import REPOSITORY
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


def make(upstream: Upstream, root: Path) -> str:
    DATA, RUN = SimpleNamespace(name="toy", img_size=32), SimpleNamespace(data_dir=str(root), num_workers=0)
    path: str = upstream("utils.hdf5").make_hdf5(name="toy", img_size=32, crop_long_edge=True, resize_size=32, data_dir=str(root),
                                                 resizer="lanczos", DATA=DATA, RUN=RUN)[0]  # fmt: skip
    return path


def test_hdf5_of_few_images_written_whole_and_renewed(upstream: Upstream, tmp_path: Path) -> None:
    write_images(tmp_path, "ab", count=3)
    path = make(upstream, tmp_path)
    with h5py.File(path) as file:
        assert file["imgs"].shape == (6, 32, 32, 3)
        assert sorted(file["labels"][:].tolist()) == [0, 0, 0, 1, 1, 1]
    stamp = Path(path).stat().st_mtime_ns
    assert Path(make(upstream, tmp_path)).stat().st_mtime_ns == stamp, "a whole file is not written again"
    write_images(tmp_path, "c", count=2)
    with h5py.File(make(upstream, tmp_path)) as file:
        assert len(file["labels"]) == 8, "a class folder was added"
    Path(path).write_bytes(Path(path).read_bytes()[:2000])
    with h5py.File(make(upstream, tmp_path)) as file:
        assert len(file["labels"]) == 8, "the file was cut off"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_an_interrupted_hdf5_file_is_not_left_behind(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path, "ab", count=3)

    class Stops:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(upstream("utils.hdf5"), "DataLoader", Stops)
    with pytest.raises(KeyboardInterrupt):
        make(upstream, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"train", "valid"}


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
    from rcas_plugin.studiogan import wiring

    swap = SimpleNamespace(plan=SimpleNamespace(live=(1, 4, 5)))
    sample = upstream("utils.sample").sample_y
    assert set(sample("totally_random", 200, 6, "cpu").tolist()) == set(range(6)), "no swap: all of them"
    monkeypatch.setattr(wiring.RUN, "swap", swap)
    assert set(sample(y_sampler="totally_random", batch_size=200, num_classes=6, device="cpu").tolist()) == {1, 4, 5}
    assert sample("acending_all", 8, 6, "cpu").tolist() == [1] * 8 + [4] * 8 + [5] * 8
    assert set(sample("acending_some", 16, 6, "cpu").tolist()) <= {1, 4, 5}
    assert sample(2, 3, 6, "cpu").tolist() == [2, 2, 2], "a label that is asked for is given"


def test_the_table_of_the_contributing_guide_has_every_cure() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    assert not [name for name in CURES if not re.search(rf"\b{name}\b", text)]
