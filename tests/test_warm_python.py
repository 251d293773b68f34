"""The warm Python of the tests ends and says what a new one does, and each run starts with nothing of ours in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from . import warm_python

pytestmark = pytest.mark.slow

ENDS = {
    "falls off the end": "print('out'); print('err', file=sys.stderr)",
    "a number": "raise SystemExit(7)",
    "a sentence": "raise SystemExit('no')",
    "a mistake": "raise KeyError('key')",
    "a signal": "os.kill(os.getpid(), 15)",
    "an exit function": "import atexit; atexit.register(print, 'last'); print('first')",
    "a thread": "import threading, time; threading.Thread(target=lambda: (time.sleep(0.1), print('late'))).start()",
    "what it was given": "print(sys.argv, sys.stdin.read(), os.environ['WORD'], os.getcwd(), __name__)",
}


@pytest.mark.parametrize("name", ENDS)
def test_it_ends_as_a_new_python_does(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORD", "a word")
    command = ["-c", f"import os, sys\n{ENDS[name]}", "-x", "y"]
    new = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, input="read")
    warm = warm_python.run(*command, input="read")
    assert (warm.returncode, warm.stdout) == (new.returncode, new.stdout)
    assert warm.stderr.splitlines()[-1:] == new.stderr.splitlines()[-1:]


def test_a_module_and_a_file_run_as_a_new_python_runs_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "beside.py").write_text("word = 'beside'")
    (tmp_path / "program.py").write_text("import sys, beside\nprint(__name__, sys.argv[1:], sys.path[0], beside.word)")
    for start in (("-m", "program"), (str(tmp_path / "program.py"),)):
        new = subprocess.run([sys.executable, *start, "--option", "1"], capture_output=True, text=True, check=True)
        assert warm_python.run(*start, "--option", "1").stdout == new.stdout


def test_each_run_starts_anew() -> None:
    """No run sees what another has imported or set; neither the plugin nor StudioGAN is there; randomness is its own.

    A thread of the process that forks would be lost in the fork: it has none.
    """
    code = """
import os, random, sys
from pathlib import Path
import numpy, torch, wandb
ours = [name for name in sys.modules if name.partition(".")[0] in ("rcas_plugin", "loader", "worker", "models", "kornia")]
print(ours, hasattr(torch, "mark"), len(list(Path(f"/proc/{os.getppid()}/task").iterdir())))
print(random.random(), numpy.random.rand(), torch.rand(1))
torch.mark = True
import rcas_plugin
"""
    first, second = (warm_python.run("-c", code) for _ in range(2))
    assert first.returncode == second.returncode == 0, first.stderr
    assert first.stdout.splitlines()[0] == second.stdout.splitlines()[0] == "[] False 1"
    drawn = [ended.stdout.splitlines()[1].split() for ended in (first, second)]
    assert not set(drawn[0]) & set(drawn[1])
