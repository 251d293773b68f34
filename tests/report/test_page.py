"""The report's words and figures are those of the runs' own files."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rcas_plugin import RcasError, cli
from rcas_plugin.metrics.curves import mean_interval
from rcas_plugin.report.figures import duration
from rcas_plugin.report.page import write_report
from rcas_plugin.report.runs import Run, common_level, find_runs, group
from rcas_plugin.report.verdict import verdict
from rcas_plugin.watch.observer import METRICS

from ..shared import Watched


class Page(HTMLParser):
    """What a page holds: its tags with their attributes, and the text of its headings, paragraphs and cells."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.text.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.mark.usefixtures("short_runs")
def test_the_four_numbers_are_those_of_the_file(watched: Watched, tmp_path: Path) -> None:
    page = Page(write_report([watched.run], tmp_path))
    last = json.loads((watched.run / METRICS).read_text())["steps"][str(Run.read(watched.run).best_step)]
    shown = {number["data-key"]: float(number["value"] or "nan") for number in page.all("data")}
    assert shown == {
        "new.recognised": last["new"]["recognised"],
        "old.left": last["old"]["left"],
        "remaining.recognised": last["remaining"]["recognised"],
        "elapsed_s": Run.read(watched.run).last["elapsed_s"],
    }


def test_it_is_one_file_that_reads_without_its_pictures(watched: Watched, tmp_path: Path) -> None:
    path = write_report([watched.run], tmp_path)
    page = Page(path)
    images = page.all("img")
    assert len(images) >= 8
    for image in images:
        assert (image["src"] or "").startswith("data:image/png;base64,")
        assert len(image["alt"] or "") > 20
    text = path.read_text()
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", text)
    assert "<script" not in text
    assert page.all("html")[0]["lang"] == "en"
    assert page.all("meta")[1]["name"] == "viewport"
    assert all("scope" in head for head in page.all("th"))
    scrolling = [tag for tag in page.all("div") if tag.get("class") == "scroll"]
    assert all(tag["tabindex"] == "0" and tag["aria-label"] for tag in scrolling), (
        "a table that scrolls is reached by the keyboard"
    )
    for png in tmp_path.glob("*.png"):
        with Image.open(png) as image:
            image.verify()


@pytest.mark.usefixtures("short_runs")
def test_it_says_what_the_run_was(watched: Watched, tmp_path: Path) -> None:
    text = " ".join(Page(write_report([watched.run], tmp_path)).text)
    metrics = json.loads((watched.run / METRICS).read_text())
    for said in (
        metrics["machine"],
        metrics["commit"] or "not known",
        metrics["date"],
        str(watched.pretrained),
        "method: fine_tune",
        "b → d",
    ):
        assert said in text
    assert "images of the pre-trained GAN stand for them" in text
    assert "0 of" in text, "fine_tune edits nothing before the first step"


@pytest.mark.usefixtures("short_runs")
def test_names_are_text_and_nothing_else(watched: Watched, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    content = (watched.run / METRICS).read_text().replace('"d"', '"<b>&d"')
    (run / METRICS).write_text(content)
    page = Page(write_report([run], tmp_path / "report"))
    assert not page.all("b")
    assert "Class swap: b → <b>&d" in page.text


@pytest.mark.usefixtures("short_runs")
@pytest.mark.parametrize("method", ["../elsewhere/x", "{root}/elsewhere/x", "a\0b", "x" * 5000, "nul", "", ["a"], None])
def test_a_strangers_method_is_no_path(method: Any, tmp_path: Path) -> None:
    """S2: whatever rcas.json calls its method, every file lands in the folder that was asked for."""
    if isinstance(method, str):
        method = method.replace("{root}", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    runs = [a_run(tmp_path / name, method, [100, 4], retain=retain) for name, retain in (("a", 0), ("b", 1))]
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    out = tmp_path / "room" / "out"
    page = Page(write_report(runs, out))
    written = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert {path.parent for path in written} == {out}
    assert len([path for path in written if path.name.endswith("_confusion.png")]) == 2
    assert all(len(path.name) < 120 and path.name.isprintable() for path in written)
    assert not page.all("script")


def a_run(folder: Path, method: str, distances: list[float], **settings: Any) -> Path:
    """A run's folder with nothing but its figures."""
    none = dict.fromkeys(("kernel_distance", "precision", "recall", "density", "coverage"))
    steps = {}
    for index, distance in enumerate(distances):
        new = {"recognised": 1 - distance / 200, "frechet_distance": distance, **none}
        row = {"label": 0, "class": "n", "part": "new", **new}
        steps[str(10 * index)] = {
            "elapsed_s": 7.0 * index, "evaluation_s": 0.5, "new": new, "old": {"left": distance / 200, **none},
            "remaining": {"recognised": 0.9, "frechet_distance": 3.0, **none}, "labels": [row], "confusion": {"0": [1, 2]},
        }  # fmt: skip
    judge = {"classes": ["n", "o"], "accuracy": 0.9, "held_out": 10, "accuracy_by_class": {"n": 1.0}, "about": ""}
    folder.mkdir(parents=True)
    (folder / METRICS).write_text(json.dumps({
        "machine": "m", "judge": judge, "images_a_label": 3, "labels": ["n", "r"], "slots": {"0": {"new": "n", "old": "o"}},
        "before": steps["0"], "steps": steps}))  # fmt: skip
    (folder / "rcas.json").write_text(json.dumps({"swap": {"method": method, **settings}, "source": "GAN"}))
    return folder


@pytest.mark.usefixtures("short_runs")
def test_runs_that_differ_in_the_seed_are_one_line(tmp_path: Path) -> None:
    folders = [a_run(tmp_path / "a", "x", [100, 60, 20]), a_run(tmp_path / "b", "x", [100, 40, 10]),
               a_run(tmp_path / "c", "y", [100, 80, 50])]  # fmt: skip
    groups = group(find_runs(folders))
    assert [(one.name, len(one.runs)) for one in groups] == [("x", 2), ("y", 1)]
    assert groups[0].curve("new", "frechet_distance")[10] == mean_interval([60, 40])
    assert groups[0].at_end("old", "left") == mean_interval([0.1, 0.05])
    # the levels are the medians of the last three: 60, 40, 80
    assert common_level(groups) == 80
    assert groups[0].steps_to(80) == pytest.approx([10 * 20 / 40, 10 * 20 / 60])
    page = Page(write_report(folders, tmp_path / "out"))
    text = " ".join(page.text)
    assert "3 to 5" in text, "the seeds' steps to the level"
    assert "At a distance of 80 to the new class: x after 3 to 5 steps (3 s), y after 10 steps (7 s)." in text
    assert "15 [" in text, "the mean of 20 and 10 with its interval"
    assert "shaded bands are 95 % intervals" in text
    assert [link["href"] for link in page.all("a")][1:] == ["#run-1", "#run-2"]


def test_runs_of_one_method_are_told_apart_by_their_settings(tmp_path: Path) -> None:
    folders = [a_run(tmp_path / "a", "x", [9, 8], retain=0.0), a_run(tmp_path / "b", "x", [9, 8], retain=10.0)]
    assert [one.name for one in group(find_runs(folders))] == ["x, retain 0.0", "x, retain 10.0"]


def test_a_save_folder_stands_for_its_runs(tmp_path: Path) -> None:
    for name in "ab":
        a_run(tmp_path / "save" / "checkpoints" / name, "x", [9, 8])
    assert [run.folder.name for run in find_runs([tmp_path / "save"])] == ["a", "b"]


@pytest.mark.parametrize(
    ("distances", "remaining", "wanted"),
    [
        ([100, 4], 0.9, "The new class n is there, the old class o is gone and the remaining labels are intact."),
        (
            [100, 100],
            0.8,
            "The new class n is only partly there, the old class o is not gone and the remaining labels have suffered.",
        ),
        (
            [100, 190],
            0.9,
            "The new class n is not there, the old class o is not gone and the remaining labels are intact: training made it "
            "worse (distance 100 to 190, old class left 50.0% to 95.0%).",
        ),
    ],
)
def test_the_verdict(tmp_path: Path, distances: list[float], remaining: float, wanted: str) -> None:
    folder = a_run(tmp_path / "a", "x", distances)
    content = json.loads((folder / METRICS).read_text())
    content["steps"]["10"]["remaining"]["recognised"] = remaining
    (folder / METRICS).write_text(json.dumps(content))
    assert verdict(Run.read(folder)) == wanted


def test_a_folder_without_metrics_is_named(tmp_path: Path) -> None:
    with pytest.raises(RcasError, match=r"holds no swap_metrics.json; give the checkpoint folder of a swap"):
        write_report([tmp_path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("short_runs")
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = a_run(tmp_path / "a", "x", [100, 4])
    assert cli.main(["report", str(run)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "a: The new class n is there, the old class o is gone and the remaining labels are intact.",
        f"{run}/report/report.html",
    ]
    assert (run / "report" / "report.html").is_file()
    assert cli.main(["report", str(run), str(a_run(tmp_path / "b", "y", [100, 4]))]) == 0
    assert (tmp_path / "report" / "report.html").is_file()
    assert cli.main(["report", str(tmp_path)]) == 2


def test_durations() -> None:
    assert [duration(seconds) for seconds in (8.4, 89, 600, 7200)] == ["8 s", "89 s", "10 min", "2.0 h"]


@pytest.mark.usefixtures("short_runs")
def test_a_second_judge_and_what_is_forgotten_are_on_the_page(watched: Watched, tmp_path: Path) -> None:
    runs = [watched.swap(second_judge=True), watched.swap(second_judge=True, retain=1.0)]
    content = json.loads((runs[0] / METRICS).read_text())
    assert content["second_judge"]["classes"] == content["judge"]["classes"]
    assert set(content["steps"]["0"]["second"]) == {"new", "old", "remaining", "worst"}
    text = " ".join(Page(write_report(runs, tmp_path)).text)
    assert "A second judge" in text
    assert "by the distance to the new class" in text
    assert "What is forgotten?" in text
    worst = content["steps"]["0"]["worst"]["recognised"]
    assert f"{worst['class']}: {worst['value']:.1%}" in text
    assert "A second judge" not in " ".join(Page(write_report([watched.run], tmp_path / "one")).text)
