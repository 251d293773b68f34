"""Writes down what each update of a swap draws, trains and moves, in the embedded loop and in StudioGAN's.

The plugin is watched from outside, through the life cycle that both loops go through. In the process of a main.py it is run from
the end of upstream's worker.py (`WATCHED_WORKER`), told by the environment where to write and when to stop.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from rcas_plugin.gan import Gan, sample_images
from rcas_plugin.methods.base import Batch, Method
from rcas_plugin.registry import methods
from rcas_plugin.run.lifecycle import Lifecycle

#: What goes to the end of upstream's worker.py, which every process of a run imports.
WATCHED_WORKER = """

import os as _os, runpy as _runpy
if "RCAS_TEST_RECORDER" in _os.environ:
    _runpy.run_path(_os.environ["RCAS_TEST_RECORDER"])["record_this_process"]()
"""

#: How a process ends that is stopped as if it were killed: at once.
KILLED = 9

Line = dict[str, Any]


def digest(tensor: Tensor) -> str:
    """Tells tensors apart that differ by a bit."""
    return hashlib.sha256(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()).hexdigest()[:16]


def digests(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, str]:
    return {name: digest(tensor) for name, tensor in tensors}


class Recorder:
    """One line for the start, one an update and one a step.

    Args:
        write: takes a line: of the start `before`, `prepared`; of an update `updated`, `step`, `drawn`, `trained`, `moved`,
            `unequal`; of a step `done`, `averaged`,
            `moved`.
        stop: called when the losses of step `stop_at` are computed.
        stop_at: a step, from 0.
    """

    def __init__(self, write: Callable[[Line], None], stop_at: int | None = None, stop: Callable[[], None] = sys.exit) -> None:
        self._write, self._stop_at, self._stop = write, stop_at, stop
        self._pending: tuple[Lifecycle, Line, dict[str, dict[str, str]]] | None = None
        self._average: dict[str, str] | None = None

    def prepare(self, method: Method, gan: Gan) -> None:
        """Prepare the networks, and note each label's images before and after, in evaluation mode."""
        before = images_by_label(method, gan)
        type(method).prepare(method, gan)
        self._write({"before": before, "prepared": images_by_label(method, gan)})

    def losses(self, lifecycle: Lifecycle, role: str, batch: Batch) -> None:
        """An update is about to be made: nothing has moved yet."""
        if batch.step == self._stop_at:
            self._stop_at = None
            self._stop()
        gan = lifecycle.gan
        trained = set(lifecycle.method.trained(gan))
        line = {
            "updated": role, "step": batch.step, "drawn": drawn(batch),
            "trained": [f"{name}.{key}" for name in ("generator", "discriminator")
                        for key, parameter in gan.networks[name].named_parameters() if parameter in trained],
        }  # fmt: skip
        self._pending = lifecycle, line, {name: digests(network.named_parameters()) for name, network in gan.networks.items()}
        if self._average is None and gan.ema is not None:
            self._average = _tensors(gan.ema)

    def updated(self, *_: object) -> None:
        """An optimiser has made its step."""
        if self._pending is None:  # of a method's own, in preparation
            return
        (lifecycle, line, before), self._pending = self._pending, None
        line["moved"], line["unequal"] = [], {}
        for name, network in lifecycle.gan.networks.items():
            now = digests(network.named_parameters())
            line["moved"] += [f"{name}.{key}" for key, value in now.items() if before[name][key] != value]
            line["unequal"][name] = _unequal({**now, **digests(network.named_buffers())})
        self._write(line)

    def step_done(self, lifecycle: Lifecycle, step: int) -> None:
        """A step is done, the moving average with it."""
        gan, before = lifecycle.gan, self._average
        if gan.ema is None or before is None:
            return
        averaged = set(lifecycle.method.averaged(gan))
        own = dict(gan.generator.named_parameters()) | dict(gan.generator.named_buffers())
        self._average = _tensors(gan.ema)
        self._write({
            "done": step, "averaged": [name for name, tensor in own.items() if tensor in averaged],
            "moved": [name for name, value in self._average.items() if before[name] != value],
        })  # fmt: skip


def images_by_label(method: Method, gan: Gan) -> dict[str, dict[str, str]]:
    """`generator` and, where there is one, `ema` -> label -> the digest of its images for the same latents."""
    generators = {name: network for name, network in gan.networks.items() if name != "discriminator"}
    return {
        name: {str(label): digest(sample_images(network, torch.full((3,), label), gan.latents))
               for label in method.context.plan.live}
        for name, network in generators.items()
    }  # fmt: skip


def drawn(batch: Batch) -> dict[str, Any]:
    """What an update was shown: labels, the brightness (0 to 255) of each real image, and digests that tell draws apart."""
    line: dict[str, Any] = {"fake_labels": batch.fake_labels.tolist()}
    if batch.latents is not None:
        line["latents"] = digest(batch.latents)
    if batch.real_images is not None and batch.real_labels is not None:
        line |= {
            "real_labels": batch.real_labels.tolist(), "real_images": digest(batch.real_images),
            "brightness": ((batch.real_images.detach().float().mean((1, 2, 3)) + 1) * 127.5).tolist(),
        }  # fmt: skip
    return line


def _tensors(network: torch.nn.Module) -> dict[str, str]:
    return digests([*network.named_parameters(), *network.named_buffers()])


def _unequal(own: Mapping[str, str]) -> list[str]:
    """The tensors that are not equal in all processes."""
    if not dist.is_initialized():
        return []
    everywhere: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everywhere, dict(own))
    return [key for key in own if any(other[key] != own[key] for other in everywhere)]


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Inside the block every swap of this process is recorded."""
    term, step_done, begin = Lifecycle.term, Lifecycle.step_done, Lifecycle.begin

    def watched_term(self: Lifecycle, role: str, batch: Batch) -> Tensor | None:
        recorder.losses(self, role, batch)
        return term(self, role, batch)

    def watched_step_done(self: Lifecycle, step: int) -> None:
        recorder.step_done(self, step)
        step_done(self, step)

    def watched_begin(method: Method, gan: Gan, *args: Any, **kwargs: Any) -> Lifecycle:
        method.prepare = lambda gan: recorder.prepare(method, gan)  # type: ignore[method-assign]
        return begin(method, gan, *args, **kwargs)

    hook = register_optimizer_step_post_hook(recorder.updated)
    Lifecycle.term, Lifecycle.step_done = watched_term, watched_step_done  # type: ignore[method-assign]
    Lifecycle.begin = staticmethod(watched_begin)  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        hook.remove()
        Lifecycle.term, Lifecycle.step_done, Lifecycle.begin = term, step_done, begin  # type: ignore[method-assign]


def environment(lines: Path, *, stop_at: int | None = None, stop_by: str = "kill", traced: str | None = None) -> dict[str, str]:
    """What tells a main.py whose worker.py ends with `WATCHED_WORKER` to write lines.

    The checkpoint files that it opens go to a file beside, `.opened`.
    """
    told = {
        "RCAS_TEST_RECORDER": __file__, "RCAS_TEST_UPDATES": str(lines), "RCAS_TEST_OPENED": str(lines.with_suffix(".opened")),
        "RCAS_TEST_STOP_BY": stop_by, **({} if stop_at is None else {"RCAS_TEST_STOP_AT": str(stop_at)}),
    }  # fmt: skip
    return told | ({} if traced is None else {"RCAS_TEST_TRACED": traced})


def read_lines(path: Path) -> list[Line]:
    """What a main.py has written; nothing where there is no file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def contract() -> list[str]:
    """The calls that a method answers, by name."""
    called = (classmethod, type(contract))
    return [name for name, value in vars(Method).items() if isinstance(value, called) and not name.startswith("_")]


@contextmanager
def tracing(name: str, write: Callable[[Line], None]) -> Iterator[None]:
    """Inside the block each call of the contract to the method of that name is a line, `call`, as the loop makes it.

    Not inside of `recording`, which asks the method as well.
    """
    original: type[Method] = methods[name]

    def traced(call: str) -> Any:
        answer = vars(Method)[call]
        if isinstance(answer, classmethod):
            return classmethod(lambda cls, *args, **kwargs: (write({"call": call}), getattr(original, call)(*args, **kwargs))[1])
        return lambda self, *args, **kwargs: (write({"call": call}), getattr(original, call)(self, *args, **kwargs))[1]

    methods._entries[name] = type(original.__name__, (original,), {call: traced(call) for call in contract()})
    try:
        yield
    finally:
        methods._entries[name] = original


def record_this_process() -> None:
    """Record the rest of this process, as the environment says.

    RCAS_TEST_UPDATES is the file of lines, RCAS_TEST_STOP_AT a step and RCAS_TEST_STOP_BY how, RCAS_TEST_TRACED a method,
    RCAS_TEST_OPENED a file for the checkpoint files that are opened.
    """
    lines, stop_at = Path(os.environ["RCAS_TEST_UPDATES"]), os.environ.get("RCAS_TEST_STOP_AT")

    def write(line: Line) -> None:
        if not dist.is_initialized() or dist.get_rank() == 0:
            with lines.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    if "RCAS_TEST_TRACED" in os.environ:
        watching = tracing(os.environ["RCAS_TEST_TRACED"], write)
    else:
        watching = recording(Recorder(write, None if stop_at is None else int(stop_at), STOPS[os.environ["RCAS_TEST_STOP_BY"]]))
    watching.__enter__()
    _watching.append(watching)  # what nobody holds ends at once
    if "RCAS_TEST_OPENED" in os.environ:
        sys.addaudithook(_note_opened(Path(os.environ["RCAS_TEST_OPENED"])))


#: How a run is stopped: at once, as a killed process ends, or by Ctrl-C in the middle of a step.
STOPS: dict[str, Callable[[], None]] = {
    "kill": lambda: os._exit(KILLED),
    "interrupt": lambda: os.kill(os.getpid(), signal.SIGINT),
}
_watching: list[AbstractContextManager[None]] = []


def _note_opened(lines: Path) -> Callable[[str, tuple[Any, ...]], None]:
    """An audit hook that notes which checkpoint file is opened to be read, and whether by the plugin or by upstream."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event != "open" or not str(args[0]).endswith(".pth") or args[2] & (os.O_WRONLY | os.O_RDWR):
            return
        files = [frame.filename for frame in traceback.extract_stack(limit=60)]
        callers = [name for name in files if "/rcas_plugin/" in name or "/src/" in name]
        by = next((name for name in reversed(callers) if not name.endswith(("safe_load.py", "cures/files.py"))), "")
        with lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"file": str(args[0]), "by": "plugin" if "/rcas_plugin/" in by else "upstream"}) + "\n")

    return hook
