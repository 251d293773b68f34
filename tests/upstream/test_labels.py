"""Which class is which label through the real main.py: what goes on, what is refused, and that a refusal writes nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rcas_plugin.checkpoints.folder import checkpoint_files, read_checkpoint
from rcas_plugin.record import RECORD, read_record

from .conftest import TRAIN, Trained, write_config, write_images
from .test_bad_input import DRIVER, files

pytestmark = pytest.mark.slow

#: name -> exit code, what was printed.
Ended = dict[str, tuple[int, str]]
SWAP: dict[str, Any] = {"method": "fine_tune", "swap": {"b": "d"}, "snapshot_images": 0, "swap_metrics": 0}
LOOK = ("-metrics", "none", "--num_workers", "0", "--seed", "1")


def run_all(trained: Trained, cases: dict[str, list[Any]]) -> Ended:
    """Run main.py with each case's options, one after the other, in forks of one activated process."""
    ended = subprocess.run([sys.executable, "-c", DRIVER, str(trained.studiogan / "src")], check=True, capture_output=True,
                           input=json.dumps({name: [str(part) for part in options] for name, options in cases.items()}),
                           text=True)  # fmt: skip
    return {name: (code, text) for name, code, text in json.loads(ended.stdout.splitlines()[-1])}


@pytest.fixture(scope="module")
def swapped(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a swap of b for d."""
    save = tmp_path_factory.mktemp("labels")
    config = write_config(save / "swap.yaml", steps=2, RCAS=SWAP)
    options = [*TRAIN, "-cfg", config, "-data", trained.new_data, "-save", save, "-ckpt", trained.checkpoint]
    ((code, text),) = run_all(trained, {"swap": options}).values()
    assert code == 0, text[-3000:]
    (run,) = (save / "checkpoints").iterdir()
    assert read_record(run).labels == ("a", "d", "c")
    return run


def test_what_is_refused_writes_nothing(trained: Trained, swapped: Path, tmp_path: Path) -> None:
    """L1, L2, L3, L6, L9, L11: one sentence, exit code 2, no file written and the record as it was."""
    room, out = tmp_path / "room", tmp_path / "out"
    room.mkdir()
    out.mkdir()
    no_record = room / "no_record"
    shutil.copytree(trained.checkpoint, no_record)
    (no_record / RECORD).unlink()
    odd = room / "odd"
    shutil.copytree(swapped, odd)
    (odd / RECORD).write_text('{"labels": true}')
    old_gone = write_images(room / "old_gone", "acd", count=2)
    renamed = write_images(room / "renamed", "abd", count=2)
    for part in ("train", "valid"):
        (renamed / part / "b").rename(renamed / part / "A_renamed")
        (renamed / part / "a").rename(renamed / part / "c")
    plain = write_config(room / "plain.yaml")
    cases: dict[str, tuple[str, list[Any]]] = {}

    def case(
        name: str, sentence: str, ckpt: Path | None, data: Path | None, *options: str, cfg: Path = plain, **rcas: Any
    ) -> None:
        cfg = write_config(room / f"{name}.yaml", steps=2, RCAS={**SWAP, **rcas}) if rcas else plain
        given = [*(options or TRAIN), "-cfg", cfg, "-save", out / name]
        given += ["-ckpt", ckpt] if ckpt else []
        given += ["-data", data] if data else []
        cases[name] = (sentence, given)

    recorded = "-ckpt: rcas.json beside the checkpoint records the labels a, d, c, in order, and the data set's are "
    case("L6 old folders", recorded + "a, b, c; without an RCAS section", swapped, trained.data)
    case("L6 new folder beside", recorded + "a, b, c, d; without an RCAS section", swapped, trained.new_data)
    case("L6 ifid", recorded + "a, b, c;", swapped, trained.data, *LOOK, "-ifid")
    case("L6 more folders", "DATA.num_classes: 3 labels, and the data set has 4 class folders (a, b, c, d); set it to 4", None,
         trained.new_data)  # fmt: skip
    case("L1", "label 0 is to stay, and the data set has no images of its class 'a_renamed'; the nearest folder is 'A_renamed'",
         no_record, renamed, labels=["a_renamed", "b", "c"])  # fmt: skip
    case("L2", "RCAS.labels: 'a' is named for two labels", no_record, trained.new_data, labels=["a", "b", "a"])
    case("L3", "RCAS.labels: 'c' is named for label 0, and rcas.json beside the checkpoint has it at label 2", trained.checkpoint,
         trained.new_data, labels=["c", "b", "a"])  # fmt: skip
    case("L9", 'list the class folder of each label at pre-training, in order: labels: ["a", "b", "c"]', no_record, old_gone,
         balance=True)  # fmt: skip
    case("L11", "RCAS.swap: the new class 'c' stands behind label 2 already", trained.checkpoint, trained.new_data,
         swap={"b": "c"})  # fmt: skip
    case("S3", f"{odd / RECORD} cannot be read (labels: ", odd, trained.new_data, balance=True)
    case("S3 plain", f"{odd / RECORD} cannot be read (labels: ", odd, trained.data)

    before = files(tmp_path) | files(trained.root) | files(swapped)
    record = (swapped / RECORD).read_bytes()
    wrong = []
    for name, (code, text) in run_all(trained, {name: options for name, (_, options) in cases.items()}).items():
        said = [line for line in text.splitlines() if line.startswith("rcas: error: ")]
        if code != 2 or len(said) != 1 or cases[name][0] not in said[0] or "Traceback" in text:
            wrong.append(f"{name}: exit code {code}, wanted {cases[name][0]!r} in\n{text[-1500:]}")
    assert not wrong, "\n\n".join(wrong)
    assert files(tmp_path) | files(trained.root) | files(swapped) == before, "something was written"
    assert (swapped / RECORD).read_bytes() == record


def test_what_goes_on_and_on(trained: Trained, swapped: Path, tmp_path: Path) -> None:
    """L6, L11: a swapped checkpoint is looked at, moved, swapped back; two slots from best weights alone, with one image."""
    plain = write_config(tmp_path / "plain.yaml")
    moved, best = tmp_path / "elsewhere" / "renamed", tmp_path / "best"
    shutil.copytree(swapped, moved)
    best.mkdir()
    for path in trained.checkpoint.glob("model=*-best-*"):
        shutil.copy(path, best)
    few = write_images(tmp_path / "few", "cde", count=3)
    for path in [*(few / "train" / "d").iterdir()][1:]:
        path.unlink()
    shutil.rmtree(few / "valid")
    longer = write_config(tmp_path / "longer.yaml", steps=4, RCAS={**SWAP, "swap": {1: "d"}, "snapshot_images": 1})
    back = write_config(tmp_path / "back.yaml", steps=2, RCAS={**SWAP, "swap": {"d": "b"}})
    two = write_config(tmp_path / "two.yaml", steps=2, RCAS={**SWAP, "swap": {0: "d", "b": "e"}, "labels": ["a", "b", "c"]})
    ended = run_all(trained, {
        "look": [*LOOK, "-v", "-sf", "-sf_num", "8", "-cfg", plain, "-save", tmp_path / "look", "-ckpt", swapped],
        "look with data": [*LOOK, "-v", "-sf", "-cfg", plain, "-save", tmp_path / "look2", "-ckpt", swapped, "-data",
                           trained.data],
        "look at best": [*LOOK, "-sf", "-cfg", plain, "-save", tmp_path / "look3", "-ckpt", best],
        "moved": [*TRAIN, "-cfg", longer, "-save", tmp_path / "moved", "-ckpt", moved, "-data", trained.new_data],
        "back": [*TRAIN, "-cfg", back, "-save", tmp_path / "back", "-ckpt", swapped, "-data", trained.new_data],
        "two": [*TRAIN, "-cfg", two, "-save", tmp_path / "two", "-ckpt", best, "-data", few],
    })  # fmt: skip
    wrong = [f"{name}: {code}\n{text[-2500:]}" for name, (code, text) in ended.items() if code]
    assert not wrong, "\n\n".join(wrong)

    assert list((tmp_path / "look" / "figures").rglob("*.png"))
    assert list((tmp_path / "look" / "samples").rglob("*.png"))
    assert list((tmp_path / "look2" / "figures").rglob("*.png"))
    assert "holds best weights alone; they are taken" in ended["look at best"][1]

    assert "goes on in" in ended["moved"][1], "label 1 is what the section called b"
    assert read_checkpoint(checkpoint_files(moved)["D"])["step"] == 4
    assert read_record(moved).source == str(trained.checkpoint.resolve())
    assert not list((tmp_path / "moved").glob("checkpoints/*"))

    assert "starts from" in ended["back"][1]
    (run,) = (tmp_path / "back" / "checkpoints").iterdir()
    assert (read_record(run).labels_before, read_record(run).labels) == (("a", "d", "c"), ("a", "b", "c"))

    (run,) = (tmp_path / "two" / "checkpoints").iterdir()
    assert (read_record(run).labels, read_record(run).slots) == (("d", "e", "c"), {0: "d", 1: "e"})
    assert "label 0: d, new (1 images)" in ended["two"][1]


def test_plain_training_goes_on_with_the_labels_that_are_recorded(trained: Trained, swapped: Path, tmp_path: Path) -> None:
    """L6: where the data set's folders in order are the recorded labels, the record keeps slots, source and section."""
    run = tmp_path / "run"
    shutil.copytree(swapped, run)
    content = json.loads((run / RECORD).read_text())
    (run / RECORD).write_text(json.dumps({**content, "labels": ["a", "bb", "c"], "slots": {"1": "bb"}}))
    data = write_images(tmp_path / "data", "abc", count=4)
    for part in ("train", "valid"):
        (data / part / "b").rename(data / part / "bb")
    plain = write_config(tmp_path / "plain.yaml", steps=4)
    ended = run_all(trained, {"on": [*TRAIN, "-cfg", plain, "-save", tmp_path / "on", "-ckpt", run, "-data", data]})
    assert ended["on"][0] == 0, ended["on"][1][-3000:]
    assert read_checkpoint(checkpoint_files(run)["D"])["step"] == 4
    record = read_record(run)
    assert (record.labels, record.slots, record.source) == (("a", "bb", "c"), {1: "bb"}, content["source"])
    assert record.swap == content["swap"]
