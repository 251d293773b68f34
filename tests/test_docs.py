"""README and docs/ say what the code does, their links lead somewhere, and every page is reached."""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from rcas_plugin.cli import build_parser
from rcas_plugin.lifelong.plan import Plan
from rcas_plugin.settings import parse_settings, reference

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]
RESULTS = ROOT / "docs" / "results"

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    """A page without its code, fenced and inline."""
    return re.sub(r"`[^`\n]+`", "", FENCE.sub("", page.read_text(encoding="utf-8")))


def fences(page: Path, language: str) -> list[str]:
    """The code blocks of a language."""
    return [textwrap.dedent(code) for _, of, code in FENCE.findall(page.read_text(encoding="utf-8")) if of == language]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    slugs = [re.sub(r"[^\w\- ]", "", LINK.sub("", heading).lower()).strip().replace(" ", "-") for heading in headings]
    return {slug if not slugs[:place].count(slug) else f"{slug}-{slugs[:place].count(slug)}" for place, slug in enumerate(slugs)}


def broken_link(page: Path, target: str) -> str | None:
    """What is wrong with a link, or None."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return None if parts.scheme == "https" and "." in parts.netloc else "an address is https://host/…"
    path = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not path.is_relative_to(ROOT):
        return "it leads out of the repository"
    if not path.exists():
        return "there is no such file"
    if parts.fragment and parts.fragment not in (anchors(path) if path.suffix == ".md" else ()):
        return f"the page has no heading of that anchor; it has {', '.join(sorted(anchors(path)))}"
    return None


# the pages -------------------------------------------------------------------------------------------------------------------


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


@pages
def test_links_lead_somewhere(page: Path) -> None:
    wrong = {target: what for target in LINK.findall(prose(page)) if (what := broken_link(page, target))}
    assert not wrong


def test_a_broken_link_is_seen() -> None:
    assert broken_link(README, "docs/guide.md#guide") is None
    assert broken_link(README, "https://example.org/x") is None
    for target in ("docs/none.md", "docs/guide.md#none", "../x", "http://example.org", "https://nowhere", "#none", "LICENSE#x"):
        assert broken_link(README, target), target


def test_every_page_is_reached_from_the_readme() -> None:
    reached, ahead = set(), [README]
    while ahead:
        page = ahead.pop()
        if page not in reached:
            reached.add(page)
            paths = [(page.parent / unquote(target.partition("#")[0])).resolve() for target in LINK.findall(prose(page))]
            ahead += [path for path in paths if path.suffix == ".md" and path.is_file()]
    assert not {*PAGES} - reached
    assert len(reached) > 10


@pages
def test_nothing_is_taken_for_a_tag(page: Path) -> None:
    """Markdown leaves out what looks like a tag: `train/<class>/` outside of code reads `train//`."""
    assert not re.findall(r"<(?!!--|/?(?:sub|sup|br|kbd)\b)/?[A-Za-z][^>\n]*>", prose(page))


# what they say ---------------------------------------------------------------------------------------------------------------


def test_the_reference_is_what_the_code_has(load_script: Callable[[str], ModuleType]) -> None:
    script = load_script("reference")
    text = script.PAGE.read_text(encoding="utf-8")
    assert script.updated(text) == text, "run: python scripts/reference.py"
    assert script.updated(text.replace("RCAS.retain", "RCAS.retained")) == text
    assert all(f"| `{row.key}` | " in text for row in reference())


def test_every_option_has_help(load_script: Callable[[str], ModuleType]) -> None:
    text = "\n".join(load_script("reference").commands(build_parser()))
    assert text.count("### rcas ") >= 8
    assert not re.findall(r"^\|.*\| (?:\||default: \d|one of|required).*$", text, re.MULTILINE)


def test_the_yaml_examples_are_valid_sections() -> None:
    blocks = [yaml.safe_load(block) for page in (README, *DOCS) for block in fences(page, "yaml")]
    examples = [block["RCAS"] for block in blocks if "tasks" not in block]
    assert len(examples) >= 5
    for section in examples:
        parse_settings(section)


def test_the_yaml_examples_of_plans_are_valid() -> None:
    plans = [block for page in DOCS for block in map(yaml.safe_load, fences(page, "yaml")) if "tasks" in block]
    assert plans
    for plan in plans:
        Plan.model_validate(plan).check()


def shell_lines() -> list[list[str]]:
    """The commands in the sh blocks of every page, comments left out."""
    blocks = [block for page in PAGES for block in fences(page, "sh")]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def test_the_commands_are_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    commands = [words[1:] for words in shell_lines() if words[0] == "rcas"]
    assert {words[0] for words in commands} >= {"swap", "report", "importance", "fold", "doctor", "install"}
    for words in commands:
        try:
            build_parser().parse_args(words)
        except SystemExit:
            pytest.fail(f"rcas {shlex.join(words)}: {capsys.readouterr().err}")


def test_the_scripts_are_there() -> None:
    named = {word for words in shell_lines() for word in words if re.fullmatch(r"(\./)?scripts/[\w.]+", word)}
    assert {"./scripts/quickstart", "./scripts/test"} <= named
    for word in named:
        assert (ROOT / word).is_file(), word


def test_the_step_by_step_command_is_the_one_that_is_run() -> None:
    """tests/upstream/test_data.py runs the README's; the guide's is the same one."""
    commands = [words for words in shell_lines() if words[:2] == ["python", "src/main.py"] and {"-t", "swap.yaml"} <= {*words}]
    assert len(commands) == 2
    assert commands[0] == commands[1]


def test_the_python_examples_import_what_is_there() -> None:
    blocks = [ast.parse(block) for page in PAGES for block in fences(page, "python")]
    imports = [node for block in blocks for node in ast.walk(block)
               if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rcas_plugin")]  # fmt: skip
    assert imports
    for node in imports:
        module = importlib.import_module(str(node.module))
        assert all(hasattr(module, name.name) for name in node.names)


# the figures -----------------------------------------------------------------------------------------------------------------

DATA = {"mnist": "MNIST", "cifar": "CIFAR-10 subset"}


def table_of(name: str, part: str) -> dict[str, dict[str, Any]]:
    """Method -> its figures in a file of scripts/bench_swap.py."""
    table: dict[str, dict[str, Any]] = json.loads((RESULTS / name).read_text())[part]["table"]
    return table


def cell_of(load_script: Callable[[str], ModuleType]) -> Callable[..., str]:
    """The text of an interval, as the tables of scripts/bench_swap.py print it."""
    load_script("bench_swap")
    cell: Callable[..., str] = importlib.import_module("swap_grid.table").cell
    return cell


@pytest.mark.parametrize("part", DATA)
def test_the_evidence_has_the_figures_of_the_grid(
    part: str, load_script: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    load_script("bench_swap").print_table(part, table_of("bench_swap.json", part))
    rows = [line[2:] for line in capsys.readouterr().out.splitlines() if re.match(r"\| [a-z_]+", line)]
    assert len(rows) >= 4
    evidence = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    for row in rows:
        assert f"| {DATA[part]}, {row}" in evidence


NARROW = {"mnist, narrow": "MNIST", "cifar, narrow": "CIFAR-10 subset", "tiles, narrow": "magnetic tiles"}


@pytest.mark.parametrize("part", NARROW)
def test_the_evidence_has_the_kept_states(
    part: str, load_script: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    load_script("bench_swap").print_kept(part, json.loads((RESULTS / "bench_swap_narrow.json").read_text())[part]["kept"])
    rows = [line[2:] for line in capsys.readouterr().out.splitlines() if re.match(r"\| [a-z_]+", line)]
    assert len(rows) >= 2
    evidence = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    for row in rows:
        assert f"| {NARROW[part]}, {row}" in evidence


def test_the_evidence_has_what_the_judges_say_of_real_images() -> None:
    judges = json.loads((RESULTS / "bench_swap_narrow.json").read_text())["tiles, narrow"]["judge"]
    first, second = (judges[which]["real test images"]["crack"] for which in ("first", "second"))
    evidence = " ".join((ROOT / "docs" / "evidence.md").read_text(encoding="utf-8").split())
    assert (
        f"are at {first['distance']:.0f} from the training ones, and it calls {first['called']['blowhole']:.0%}".replace(
            "%", " %"
        )
        in evidence
    )
    assert f"by the second judge they are at {second['distance']:.1f}, and none is" in evidence
    assert second["called"]["blowhole"] == 0


@pytest.mark.parametrize("part", DATA)
def test_the_evidence_has_the_figures_of_few_images(part: str, load_script: Callable[[str], ModuleType]) -> None:
    cell, table = cell_of(load_script), table_of("bench_few.json", part)
    evidence = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    for images in (10, 50, 200):
        for method in ("fine_tune", "class_swap", "bn_propagation"):
            figures = table[f"{method}, {images} images"]
            cells = [cell(figures["distance at the end"], False), cell(figures["remaining at the end"], True),
                     cell(figures["remaining distance at the end"], False)]  # fmt: skip
            assert f"| {DATA[part]}, {images}, {method} | {figures['runs']} | {' | '.join(cells)} |" in evidence


def test_the_evidence_has_the_figures_of_two_tasks(
    load_script: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    results = json.loads((RESULTS / "paired_translation.json").read_text())
    load_script("paired_translation").print_table(results)
    printed, evidence = capsys.readouterr().out, (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    rows = [line for line in printed.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + 7
    assert "\n".join(rows) in evidence
    assert results["first_restored_to_the_bit"]
    assert results["second_restored_to_the_bit"]
    assert f"a U-Net of {results['numbers_of_the_network']:,} numbers" in evidence
    assert (
        f"file is {results['numbers_of_the_second_task'] / results['numbers_of_the_network'] * 100:.1f} % of the network"
        in evidence
    )


def test_the_readme_has_the_figures_of_the_evidence(load_script: Callable[[str], ModuleType]) -> None:
    cell, readme = cell_of(load_script), README.read_text(encoding="utf-8")
    grid = {part: table_of("bench_swap.json", part) for part in DATA}
    few = {part: table_of("bench_few.json", part) for part in DATA}

    def mean(table: dict[str, Any], method: str, figure: str, percent: bool = True) -> str:
        return str(cell(table[method][figure], percent)).partition(" ")[0] + (" %" if percent else "")

    def both(shown: Callable[[str], str]) -> str:
        return f"| {shown('mnist')} | {shown('cifar')} |\n"

    def pair(figure: str) -> str:
        return both(lambda part: "; ".join(mean(grid[part], method, figure) for method in ("fine_tune", "class_swap")))

    kept = {name: json.loads((RESULTS / "bench_swap_narrow.json").read_text())[name]["kept"] for name in NARROW}

    def of_kept(figure: str) -> str:
        return "| " + " | ".join(str(cell(table["class_swap"][figure], False)) for table in kept.values()) + " |\n"

    rows = [
        of_kept("kept, of fine_tune's best"),
        of_kept("kept, of fine_tune's best, second judge"),
        of_kept("remaining, of fine_tune's"),
        of_kept("time to fine_tune's best, of its own"),
        "| " + " | ".join("; ".join(mean(table, method, "old class left") for method in ("fine_tune", "class_swap"))
                          for table in kept.values()) + " |\n",
        both(lambda part: cell(grid[part]["class_swap"]["steps, of fine_tune's"], False)),
        pair("remaining at the end"),
        both(lambda part: "; ".join(mean(few[part], f"{method}, 10 images", "distance at the end", percent=False)
                                    for method in ("fine_tune", "class_swap", "bn_propagation"))),
    ]  # fmt: skip
    for row in rows:
        assert row in readme
