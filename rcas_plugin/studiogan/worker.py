"""Upstream's training worker with the method's calls, a progress bar and a checkpoint at Ctrl-C."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from tqdm.auto import tqdm

from rcas_plugin.gan import device_of
from rcas_plugin.record import write_record
from rcas_plugin.run.lifecycle import Lifecycle
from rcas_plugin.run.random_state import DataPosition, RandomState, load_random_state, save_random_state
from rcas_plugin.studiogan.active import ActiveRun
from rcas_plugin.studiogan.data_order import OrderedBatches
from rcas_plugin.studiogan.interrupt import Interrupt
from rcas_plugin.watch.observer import has_stopped, newest, scalars


def make_worker(upstream: Any, run: ActiveRun) -> Any:
    """A subclass of upstream's `WORKER` for one run."""

    class Worker(upstream):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            run.worker = self
            self.done: int | None = None
            self.bar: Any = None
            self.interrupted = False
            self._interrupt = Interrupt()
            self._first: tuple[int, float] | None = None
            self._data = DataPosition()
            self._draws: RandomState | None = None
            self._ends = False
            self._asked: int | None = None
            if run.lifecycle is not None:
                run.passes.watch(self.Gen, self.Gen_mapping if self.is_stylegan else None, self.Dis)

        def prepare_train_iter(self, epoch_counter: int) -> None:
            """Put the data where the run was, and start to draw them; upstream calls this once, right before the first step."""
            lifecycle = run.lifecycle
            if lifecycle is not None:
                self._data = DataPosition(epoch_counter)
                if not lifecycle.starts:
                    self._draws = load_random_state(Path(self.RUN.ckpt_dir), self.global_rank, lifecycle.step, self._sources)
                    if self._draws is None:
                        self._log("no file says where the run's random draws were; they begin anew")
                    else:
                        self._data = self._draws.data
                OrderedBatches(self.train_dataloader, self.RUN.seed, self._data)
            super().prepare_train_iter(epoch_counter=self._data.epoch)
            self._interrupt.listen()
            if lifecycle is not None:
                self._save_or_stop(lifecycle)

        def _save_or_stop(self, lifecycle: Lifecycle) -> None:
            """Save what preparation has made, as it may be the best there will be; train no further where the run had stopped."""
            patience = lifecycle.method.context.settings.stop.patience
            if lifecycle.starts and lifecycle.method.context.settings.swap_metrics:
                if self.global_rank == 0:
                    self.save(step=0, is_best=False)
                else:
                    self._keep_draws(0)
            elif patience and has_stopped(Path(self.RUN.ckpt_dir), lifecycle.step, patience):
                lifecycle.say_stopped()
                self._end_after(lifecycle.step)

        def sample_data_basket(self) -> Any:
            epoch = self.epoch_counter
            images, labels = super().sample_data_basket()
            drawn = self._data.drawn + 1 if self.epoch_counter == epoch else 1
            self._data = DataPosition(self.epoch_counter, drawn)
            replay = None if run.lifecycle is None else run.lifecycle.method.replay
            if replay is not None:
                replay.begin()
                mixed = [replay(*batch, self._device) for batch in zip(images, labels, strict=True)]
                images, labels = ([batch[part] for batch in mixed] for part in (0, 1))
            return images, labels

        @property
        def _sources(self) -> Mapping[str, torch.Generator]:
            return {} if run.lifecycle is None else run.lifecycle.method.random_sources()

        @property
        def _device(self) -> torch.device:
            return device_of(self.Gen)

        def _log(self, line: str) -> None:
            if self.logger is not None:
                self.logger.info(line)

        def _draw_on(self) -> None:
            """Set every source of randomness to where the run was, before its first step; once."""
            if self._draws is not None:
                self._draws.draw_on(self._device)
                self._draws = None

        def _keep_draws(self, step: int) -> None:
            if run.lifecycle is not None:
                save_random_state(Path(self.RUN.ckpt_dir), self.global_rank, step, self._sources, self._data, self._device)

        def train_discriminator(self, current_step: int) -> Any:
            self._step_begins(current_step)
            losses = super().train_discriminator(current_step=current_step)
            if not self.OPTIMIZATION.d_first:
                self._step_is_done(current_step)
            return losses

        def train_generator(self, current_step: int) -> Any:
            self._step_begins(current_step)
            loss = super().train_generator(current_step=current_step)
            if self.OPTIMIZATION.d_first:
                self._step_is_done(current_step)
            return loss

        def _end_after(self, step: int) -> None:
            """Let upstream's loop end after `step` steps, as it does after the last one."""
            self.OPTIMIZATION.total_steps = step - 1  # it goes on up to total_steps and with it

        def _agree(self, step: int) -> None:
            """Ask the first process, after each save, whether the run ends; this step is then the last one of all processes."""
            if self.DDP and step % self.RUN.save_freq == 0 and step != self._asked:
                self._asked = step
                ends = torch.tensor([int(self._ends)], device=self._device)
                dist.broadcast(ends, 0)
                if ends.item():
                    self._end_after(step + 1)

        def _step_begins(self, step: int) -> None:
            if run.lifecycle is not None and run.lifecycle.method.context.settings.stop.patience:
                self._agree(step)
            self._interrupt.step_begins()
            self._draw_on()
            if run.lifecycle is not None:
                run.lifecycle.step = step

        def _step_is_done(self, step: int) -> None:
            if run.lifecycle is not None:
                run.lifecycle.step_done(step)
            if self.global_rank != 0 and (step + 1) % self.RUN.save_freq == 0:
                self._keep_draws(step + 1)  # the first process writes its own as it saves
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
            self._interrupt.step_is_done()

        def save(self, step: int, is_best: bool) -> None:
            lifecycle = run.lifecycle
            if lifecycle is not None:
                lifecycle.saving(step)
            if lifecycle is not None and lifecycle.keeps_best:
                super().save(step=step, is_best=False)
            else:
                # where no metric judges the steps, the newest is the best: upstream's evaluation options load "best" alone
                super().save(step=step, is_best=is_best or not self.RUN.eval_metrics)
            if record := run.record():
                write_record(self.RUN.ckpt_dir, record)
            if lifecycle is not None:
                self._keep_draws(step)
                metrics = lifecycle.saved(step, judged=not self.interrupted)
                if metrics is not None:
                    self._show(metrics)
                if lifecycle.stops and not self.interrupted:
                    lifecycle.say_stopped()
                    self._ends = True
                    if not self.DDP:
                        self._end_after(step)

        def _show(self, found: dict[str, Any]) -> None:
            """The newest swap metrics beside the bar, and in wandb where that is on."""
            if self.bar is not None:
                self.bar.set_postfix(newest(found))
            wandb = importlib.import_module("worker").wandb
            if wandb.run is not None:
                wandb.log({f"swap/{name}": value for name, value in scalars(found).items()}, step=self.wandb_step)

        def save_interrupted(self) -> str | None:
            """Save the steps done so far; returns the folder, or None where there is nothing to save."""
            if self.done is None:
                return None
            if self.global_rank != 0:
                self._keep_draws(self.done)
                return None
            self.interrupted = True  # who presses Ctrl-C waits for no metrics
            self.save(step=self.done, is_best=False)
            return str(self.RUN.ckpt_dir)

    return Worker
