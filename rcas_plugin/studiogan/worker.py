"""Upstream's training worker with the method's calls, a progress bar and a checkpoint at Ctrl-C."""

from __future__ import annotations

import importlib
import time
from typing import Any

from tqdm.auto import tqdm

from rcas_plugin.record import write_record
from rcas_plugin.studiogan.active import ActiveRun
from rcas_plugin.watch.observer import newest, scalars


def make_worker(upstream: Any, run: ActiveRun) -> Any:
    """A subclass of upstream's `WORKER` for one run."""

    class Worker(upstream):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            run.worker = self
            self.done: int | None = None
            self.bar: Any = None
            self.interrupted = False
            self._first: tuple[int, float] | None = None
            if run.swap is not None:
                self.Dis.register_forward_pre_hook(self._note_what_is_judged)

        def _note_what_is_judged(self, module: Any, args: Any) -> None:
            if len(args) > 1:
                run.seen.append((args[0], args[1]))

        def train_discriminator(self, current_step: int) -> Any:
            run.step = current_step
            losses = super().train_discriminator(current_step=current_step)
            if not self.OPTIMIZATION.d_first:
                self._step_is_done(current_step)
            return losses

        def train_generator(self, current_step: int) -> Any:
            run.step = current_step
            loss = super().train_generator(current_step=current_step)
            if self.OPTIMIZATION.d_first:
                self._step_is_done(current_step)
            return loss

        def _step_is_done(self, step: int) -> None:
            if run.method is not None:
                run.method.after_step(step)
            self.done = step + 1
            if self._first is None:  # the first step warms up
                self._first = (step, time.monotonic())
            elif step > self._first[0]:
                run.seconds_per_step = (time.monotonic() - self._first[1]) / (step - self._first[0])
            if self.global_rank == 0:
                if self.bar is None:
                    self.bar = tqdm(
                        total=self.OPTIMIZATION.total_steps,
                        initial=step,
                        desc="training",
                        unit="step",
                        disable=None,
                    )
                self.bar.update(min(1, self.bar.total - self.bar.n))

        def save(self, step: int, is_best: bool) -> None:
            # where no metric judges the steps, the newest is the best: upstream's evaluation options load "best" alone
            super().save(step=step, is_best=is_best or not self.RUN.eval_metrics)
            if record := run.record():
                write_record(self.RUN.ckpt_dir, record)
            if run.observer is not None and run.gan is not None:
                found = run.observer.saved(step, run.gan, judged=not self.interrupted)
                if found is not None:
                    self._show(found)

        def _show(self, found: dict[str, Any]) -> None:
            """The newest swap metrics beside the bar, and in wandb where that is on."""
            if self.bar is not None:
                self.bar.set_postfix(newest(found))
            wandb = importlib.import_module("worker").wandb
            if wandb.run is not None:
                wandb.log({f"swap/{name}": value for name, value in scalars(found).items()}, step=self.wandb_step)

        def save_interrupted(self) -> str | None:
            """Save the steps done so far; returns the folder, or None where there is nothing to save."""
            if self.done is None or self.global_rank != 0:
                return None
            self.interrupted = True  # who presses Ctrl-C waits for no metrics
            self.save(step=self.done, is_best=False)
            return str(self.RUN.ckpt_dir)

    return Worker
