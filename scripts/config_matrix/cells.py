"""The columns of the table: which runs a config goes through, in order, and what each one needs and must show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from config_matrix import judges
from config_matrix.main_run import run_rcas
from config_matrix.site import Site, propagation_section, swap_section

Start = Callable[[Site, str], Callable[[], None]]
Judge = Callable[[Site, str], str]


@dataclass(frozen=True)
class Cell:
    """One run of a config, or one more look at another cell's run.

    Attributes:
        name: of the column.
        judge: (site, cell) -> what is wrong with the result, or nothing.
        start: (site, cell) -> the run, for a process of its own; None where `of` names the cell whose run is looked at.
        of: see `start`.
        needs: cells that must have passed.
        uses: cells whose files are looked at where they are there.
    """

    name: str
    judge: Judge
    start: Start | None = None
    of: str = ""
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()


def _pretrain(site: Site, cell: str) -> Callable[[], None]:
    return site.train(cell, site.old_data, None)


def _swap(**keys: object) -> Start:
    return lambda site, cell: site.train(cell, site.data / "new", site.pretrained(), rcas=swap_section(**keys))


def _propagate(**stages: int) -> Start:
    section = propagation_section(stages)
    return lambda site, cell: site.train(cell, site.data / "new", site.pretrained(), rcas=section)


def _add(site: Site, cell: str) -> Callable[[], None]:
    section = propagation_section({"bn": 1}, add=True)
    return site.train(cell, site.data / "new", site.pretrained(), labels=1, rcas=section)


def _stage_bn(site: Site, cell: str) -> Callable[[], None]:
    section = propagation_section({"bn": 2, "ft": 0})  # saved at each step: upstream makes one more than it is asked for
    return site.train(cell, site.data / "new", site.pretrained(), save_freq=1, rcas=section)


def _fold(site: Site, cell: str) -> Callable[[], None]:
    options = ("fold", "-ckpt", site.checkpoint("bn_propagation"), "-o", site.folder(cell) / "checkpoints" / "folded")
    return lambda: run_rcas(options)


PRETRAIN = ("pre-train",)
FEW_IMAGES: dict[str, Any] = {"train_classifier": {"width": 4, "images": 8, "epochs": 1}, "warm_up": 2}
CELLS: tuple[Cell, ...] = (
    Cell("pre-train", judges.trained, _pretrain),
    Cell("pre-train on", judges.went_on, lambda site, cell: site.go_on(cell, "pre-train", site.old_data), needs=PRETRAIN),
    Cell("fine_tune", judges.starts_from_the_checkpoint, _swap(method="fine_tune"), needs=PRETRAIN, uses=("pre-train on",)),
    Cell("class_swap", judges.trained, _swap(method="class_swap"), needs=PRETRAIN, uses=("pre-train on",)),
    Cell("class_swap stay", judges.others_stay, of="class_swap", needs=("class_swap",), uses=("fine_tune",)),
    Cell("class_swap on", judges.went_on, lambda site, cell: site.go_on(
        cell, "class_swap", site.data / "new", swap_section(method="class_swap")), needs=("class_swap",)),
    Cell("class_swap plain", judges.went_on, lambda site, cell: site.go_on(cell, "class_swap", site.data / "swapped"),
         needs=("class_swap",)),
    Cell("rcas", judges.selected, _swap(preset="rcas", bn_batches=2), needs=PRETRAIN, uses=("pre-train on",)),
    Cell("bn_propagation", judges.trained, _propagate(bn=1), needs=PRETRAIN, uses=("pre-train on",)),
    Cell("bn_propagation stay", judges.others_stay, of="bn_propagation", needs=("bn_propagation",), uses=("fine_tune",)),
    Cell("bn_propagation on", judges.went_on, lambda site, cell: site.go_on(
        cell, "bn_propagation", site.data / "new", propagation_section({"bn": 1})), needs=("bn_propagation",)),
    Cell("fold", judges.folded, _fold, needs=("bn_propagation",)),
    Cell("fold plain", judges.folded_trains_on, lambda site, cell: site.go_on(cell, "fold", site.data / "swapped"),
         needs=("fold",), uses=("bn_propagation on",)),
    Cell("add", judges.trained, _add, needs=PRETRAIN, uses=("pre-train on",)),
    Cell("add stay", judges.all_stay, of="add", needs=("add",), uses=("fine_tune",)),
    Cell("gan_memory", judges.trained, _swap(method="gan_memory"), needs=PRETRAIN, uses=("pre-train on",)),
    Cell("piggyback", judges.trained, _swap(method="piggyback"), needs=PRETRAIN, uses=("pre-train on",)),
    Cell("feature_replay", judges.trained, _swap(method="feature_replay", **FEW_IMAGES), needs=PRETRAIN, uses=("pre-train on",)),
    Cell("stage bn", judges.stage_bn_holds, _stage_bn, needs=PRETRAIN, uses=("pre-train on",)),
)  # fmt: skip


def cell_of(name: str) -> Cell:
    """The cell of a name."""
    return next(cell for cell in CELLS if cell.name == name)
