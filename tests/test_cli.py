"""The rcas command."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from rcas_plugin import repository
from rcas_plugin.cli import COMMANDS, build_parser, main
from rcas_plugin.studiogan.__main__ import _split


@pytest.mark.parametrize("command", ["doctor", "install", "uninstall"])
def test_without_a_studiogan(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--studiogan", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert "--studiogan PATH" in out + err
    assert ("git submodule update --init --depth 1" in out + err) == repository.is_clone(), "a wheel has no submodule"


def test_studiogan_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("STUDIOGAN_ROOT", str(tmp_path / "mine"))
    assert main(["install"]) == 2
    assert str(tmp_path / "mine") in capsys.readouterr().err


def test_config_prints_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    assert "RCAS.selection.generator_ratio" in capsys.readouterr().out


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    assert "--plugin rcas -t -cfg swap.yaml" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--help"], ["swp"], []])
def test_help_and_a_mistyped_command_do_not_wait_for_torch(words: list[str]) -> None:
    code = (
        "import sys; from rcas_plugin.cli import COMMANDS, build_parser, main\n"
        f"try: main({words!r})\n"
        "except SystemExit: sys.exit(1 if {'torch', 'numpy', 'pydantic'} & set(sys.modules) else 0)\n"
        "sys.exit(2)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_alone_has_the_options_that_it_has_among_all(name: str) -> None:
    def help_of(parser: argparse.ArgumentParser) -> str:
        (subparsers,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
        text: str = subparsers.choices[name].format_help()
        return text

    assert help_of(build_parser([name])) == help_of(build_parser())
    assert "show this help message and exit" in help_of(build_parser([name]))


def test_the_module_takes_the_plugin_out_of_the_options(tmp_path: Path) -> None:
    path = tmp_path / "main.py"
    path.touch()
    assert _split([str(path), "-t", "--plugin", "x", "-cfg", "c"]) == (path, ["-t", "-cfg", "c"], "x")
    assert _split([str(path), "--plugin=y"]) == (path, [], "y")
    assert _split([str(path)])[2] == "rcas"
    with pytest.raises(SystemExit) as end:
        _split([str(tmp_path / "none.py")])
    assert end.value.code == 2
