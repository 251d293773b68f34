"""The training of one task by Pix2Pix's losses, which Ctrl-C interrupts between two steps and the same command goes on with."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from paired.networks import PairJudge, initialise
from rcas_plugin.files import atomic_path
from rcas_plugin.safe_load import load
from rcas_plugin.studiogan.interrupt import Interrupt

#: Pix2Pix's, and Piggyback GAN's; but batches of one image take a CPU for hours.
LR, BETAS, L1, BATCH_SIZE = 2e-4, (0.5, 0.999), 100.0, 16


def fit(
    network: nn.Module, trained: Sequence[nn.Parameter], inputs: Tensor, targets: Tensor, steps: int, unfinished: Path,
    *, name: str, seed: int, lr: float = LR,
) -> float:  # fmt: skip
    """Train a translator on pairs; returns the seconds that it took. The judge is a new one.

    Half of the steps go at the full rate, then it falls to 0 along a line.

    Args:
        network: changed in place; in evaluation mode afterwards.
        trained: its parameters that move.
        inputs: (n, 1, size, size) in [-1, 1].
        targets: likewise.
        steps: of each network.
        unfinished: a file for the state of an interrupted training, which is gone on with where it is there.
        name: of the bar.
        seed: of the judge's weights and of the batches.
        lr: Adam's.

    Raises:
        KeyboardInterrupt: Ctrl-C; the state is in `unfinished`.
    """
    source = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        judge = PairJudge()
        initialise(judge)
    optimizers = [torch.optim.Adam(parameters, lr, BETAS) for parameters in (list(trained), list(judge.parameters()))]
    schedules = [torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, 2 * (1 - step / steps)))
                 for optimizer in optimizers]  # fmt: skip
    parts: list[Any] = [network, judge, *optimizers, *schedules]
    done, seconds = 0, 0.0
    if unfinished.is_file():
        state = load(unfinished)
        done, seconds = state["step"], state["seconds"]
        source.set_state(state["source"])
        for part, of_part in zip(parts, state["parts"], strict=True):
            part.load_state_dict(of_part)
    network.train()
    started = time.perf_counter()
    bar = tqdm(total=steps, initial=done, desc=name, unit="step", disable=None)
    try:
        with _whole_steps() as interrupt:
            while done < steps:
                interrupt.step_begins()
                pick = torch.randint(len(inputs), (BATCH_SIZE,), generator=source)
                _step(network, judge, optimizers, inputs[pick], targets[pick])
                for schedule in schedules:
                    schedule.step()
                done += 1
                bar.update(1)
                interrupt.step_is_done()
    except KeyboardInterrupt:
        seconds += time.perf_counter() - started
        state = {"step": done, "seconds": seconds, "source": source.get_state(), "parts": [part.state_dict() for part in parts]}
        with atomic_path(unfinished) as temporary:
            torch.save(state, temporary)
        raise
    finally:
        bar.close()
    network.eval()
    return seconds + time.perf_counter() - started


@contextmanager
def _whole_steps() -> Iterator[Interrupt]:
    """Let Ctrl-C wait for the end of a step inside the block; after it, it is answered as before."""
    before, interrupt = signal.getsignal(signal.SIGINT), Interrupt()
    interrupt.listen()
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)


def _step(network: nn.Module, judge: nn.Module, optimizers: Sequence[torch.optim.Optimizer], x: Tensor, y: Tensor) -> None:
    """One update of D, its loss halved, and one of G."""
    of_network, of_judge = optimizers
    made = network(x)
    real, fake = judge(x, y), judge(x, made.detach())
    loss = (_bce(real, 1.0) + _bce(fake, 0.0)) / 2
    of_judge.zero_grad()
    loss.backward()
    of_judge.step()
    loss = _bce(judge(x, made), 1.0) + L1 * (made - y).abs().mean()
    of_network.zero_grad()
    loss.backward()
    of_network.step()


def _bce(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))
