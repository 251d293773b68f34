"""The life cycle of a swap: the calls of its method in the one order that StudioGAN's loop and the embedded one keep.

begin:   attach -> load -> the pre-trained generator is kept for `retain` and replay -> prepare
go_on:   the kept generator is read -> attach; the engine loads weights and optimisers from the run's checkpoint
evaluate: attach alone
then, in both engines: build_optimizers -> term at each update, averaging, step_done after each step -> finish
at each checkpoint, that of step 0 included where a swap starts: saving -> the engine writes it -> saved
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from rcas_plugin.checkpoints.best import keep_best, kept_step
from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.checkpoints.lineage import inherit
from rcas_plugin.gan import GENERATOR, Gan
from rcas_plugin.methods.base import Batch, Method
from rcas_plugin.methods.pretrained import Pretrained
from rcas_plugin.methods.replay import ReplayedBatches
from rcas_plugin.record import Inheritance, write_record
from rcas_plugin.registry import losses
from rcas_plugin.run.optimizers import Optimizers, plain_parameters
from rcas_plugin.watch.observer import Observer
from rcas_plugin.weights.average import Average, tensors_of

#: Makes what watches a run, given the pre-trained GAN where a swap starts; None in a process that writes nothing.
Observe = Callable[[Gan | None], Observer | None]


class Lifecycle:
    """One swap by one method, in one process.

    Attributes:
        method: the method at work.
        gan: its networks.
        observer: what watches the run; None where nothing does.
        inherited: where the swap starts, what its folder got from the checkpoint that it starts from; None in other processes.
        step: the step of training that goes on, from 0.
        starts: whether the swap starts here, and does not go on.
        average: of G's weights, where `RCAS.average` asks for it and StudioGAN has none of its own; in the process that writes.
    """

    def __init__(self, method: Method, gan: Gan, observer: Observer | None = None, step: int = 0) -> None:
        self.method, self.gan, self.observer, self.step = method, gan, observer, step
        self.inherited: Inheritance | None = None
        self.starts = False
        decay, judged = method.context.settings.average, observer is not None and observer.judge is not None
        self.average = Average(gan.generator, decay) if decay and judged and gan.ema is None else None
        self._optimizers: Optimizers | None = None
        self._trained: set[nn.Parameter] = set()
        frozen = method.context.frozen
        self._frozen = {parameter for name, parameter in gan.discriminator.named_parameters() if name in frozen}

    # putting it in -------------------------------------------------------------------------------------------------------

    @classmethod
    def begin(cls, method: Method, gan: Gan, checkpoint: Checkpoint, observe: Observe | None = None) -> Lifecycle:
        """Start a swap: pre-trained weights go in, the method prepares them.

        Args:
            method: newly made.
            gan: newly built networks of the config.
            checkpoint: the pre-trained one; adapters in it are folded.
            observe: called once the weights are in, before anything is edited.
        """
        plain = checkpoint.folded
        cls.attach(method, gan, plain)
        method.load(gan, plain)
        pretrained = _keep(method, gan)
        directory = method.context.directory
        if pretrained is not None and directory is not None:
            pretrained.save(directory)
        observer = observe(gan) if observe is not None else None
        if observer is not None:
            observer.before(gan)
        method.prepare(gan)
        if observer is not None:
            observer.prepared(gan)
        lifecycle = cls(method, gan, observer)
        lifecycle.starts = True
        if directory is not None and checkpoint.folder is not None:
            lifecycle.inherited = inherit(checkpoint, directory, method.context.settings.method)
        return lifecycle

    @classmethod
    def go_on(cls, method: Method, gan: Gan, checkpoint: Checkpoint, observe: Observe | None = None) -> Lifecycle:
        """Go on with a swap: the networks get their shapes; the engine then loads the checkpoint's weights and optimisers.

        Args:
            method: newly made.
            gan: newly built networks of the config.
            checkpoint: the run's own.
            observe: called with None: the pre-trained GAN is not at hand.
        """
        pretrained = _keep(method, gan)  # of plain networks, which its file is one of
        if pretrained is not None and method.context.directory is not None:
            pretrained.load(method.context.directory, "RCAS.retain" if method.retained is not None else "RCAS.remaining_data")
        cls.attach(method, gan, checkpoint)
        lifecycle = cls(method, gan, observe(None) if observe is not None else None, checkpoint.step)
        lifecycle._take_up(checkpoint)
        return lifecycle

    @staticmethod
    def attach(method: Method, gan: Gan, checkpoint: Checkpoint) -> None:
        """Give newly built networks the shape of a checkpoint's; all that an evaluation needs before it loads the weights."""
        method.gan = gan
        method.attach(gan, checkpoint)

    # training ------------------------------------------------------------------------------------------------------------

    def build_optimizers(self, optimizers: Mapping[str, torch.optim.Optimizer]) -> None:
        """Take over the optimisers by role, once: what is not trained leaves them, the slot's own gets its own step."""
        self._optimizers = Optimizers(optimizers, self.method.context.log)
        self.choose_trained()
        settings = self.method.context.settings.label_lr
        for role in optimizers:
            multiplier: float = getattr(settings, role)
            if multiplier == 1:
                continue
            views = self.method.slot_views(self.gan, role)
            self._optimizers.scale(role, views, multiplier, settings.steps, lambda: self.step)
            if not views:
                self.method.context.log(f"label_lr: nothing in the {role} belongs to one label alone; it has no effect there")

    def choose_trained(self) -> None:
        """Ask the method what is trained; nothing else has a gradient or is in an optimiser from now on."""
        self._trained = set(self.method.trained(self.gan))
        self.let_gradients()
        if self._optimizers is not None:
            self._optimizers.keep(self._trained)

    def let_gradients(self) -> None:
        """Let what is trained have a gradient, and nothing else of G and D; what is frozen stays in its optimiser without one."""
        for network in (self.gan.generator, self.gan.discriminator):
            for parameter in network.parameters():
                moves = parameter in self._trained and parameter not in self._frozen
                parameter.requires_grad_(moves)
                if not moves:
                    parameter.grad = None

    def freeze(self, network: nn.Module) -> None:
        """Let no parameter of a network have a gradient that is not trained; upstream turns all of them on for each turn."""
        for parameter in network.parameters():
            if parameter not in self._trained or parameter in self._frozen:
                parameter.requires_grad_(False)

    @property
    def freezes(self) -> bool:
        """True where the method may leave parameters untrained at some step."""
        return type(self.method).trained is not Method.trained

    def term(self, role: str, batch: Batch) -> Tensor | None:
        """The term that the method adds to the loss of G or D."""
        return self.method.generator_loss(batch) if role == GENERATOR else self.method.discriminator_loss(batch)

    @contextmanager
    def averaging(self) -> Iterator[None]:
        """Wrap an update of G's moving average; tensors that the method keeps out of it (`averaged`) are restored after it."""
        average, averaged = self.gan.ema, set(self.method.averaged(self.gan))
        held: list[tuple[Tensor, Tensor]] = []
        if average is not None:
            tensors = tensors_of(average)
            held = [
                (tensors[n].detach(), tensors[n].detach().clone())
                for n, t in tensors_of(self.gan.generator).items()
                if t not in averaged
            ]
        yield
        with torch.no_grad():
            for tensor, value in held:
                tensor.copy_(value)

    def step_done(self, step: int) -> None:
        """Tell the method that step `step` of training, from 0, is done, and ask it what is trained in the next."""
        if self.average is not None:
            self.average.update(self.method.averaged(self.gan))
        self.method.after_step(step)
        self.step = step + 1
        if set(self.method.trained(self.gan)) != self._trained:
            self.choose_trained()

    # checkpoints ---------------------------------------------------------------------------------------------------------

    @property
    def keeps_best(self) -> bool:
        """True where swap metrics say which checkpoint is the best; else the newest is, or the one that upstream says."""
        return self.observer is not None and (self.observer.judge is not None or self.observer.best is not None)

    @property
    def stops(self) -> bool:
        """True where the run ends by itself: as many states as `RCAS.stop` allows were judged since the best one."""
        patience = self.method.context.settings.stop.patience
        return self.observer is not None and 0 < patience <= self.observer.waited

    def say_stopped(self) -> None:
        """Tell the user, where the run ends by itself, why, and how it goes on."""
        if self.stops and self.observer is not None:
            self.method.context.log(
                f"the run ends by itself: of the last {self.observer.waited} save steps none was better than step "
                f"{self.observer.best}, which is kept as the best (RCAS.stop.patience; with 0 the same command goes on)"
            )

    def saving(self, step: int) -> None:
        """Write what belongs to the checkpoint of `step` steps that the engine is about to write."""
        if self.average is not None and self.observer is not None:
            self.average.save(self.observer.folder, step)

    def saved(self, step: int, *, judged: bool = True) -> dict[str, Any] | None:
        """Judge the state of a checkpoint that is written, and keep it where it is the best so far.

        Args:
            step: of the checkpoint; the state of step 0 was judged as it was prepared.
            judged: False where nobody waits for a judge.

        Returns:
            Its swap metrics; None where it is not judged here.
        """
        if self.observer is None:
            return None
        metrics = None
        if step or not judged:
            with nullcontext() if self.average is None else self.average.shown():
                metrics = self.observer.saved(step, self.gan, judged=judged)
        if self.average is not None:
            self.average.forget_before(self.observer.folder, step)
        if judged:
            self._keep_best(step)
        return metrics

    def _keep_best(self, step: int) -> None:
        assert self.observer is not None
        folder = self.observer.folder
        if self.observer.best == step:
            keep_best(folder, step, None if self.average is None else self.average.state_dict())
        if self.observer.best_record:
            write_record(folder, {"best": self.observer.best_record})

    def _take_up(self, checkpoint: Checkpoint) -> None:
        """Take up the average and the best state where the run's checkpoint was written."""
        if self.observer is None or checkpoint.folder is None:
            return
        if self.average is not None and not self.average.load(checkpoint.folder, checkpoint.step):
            self.method.context.log("no file holds the average of G's weights at this step; it begins anew")
            self.average.start(checkpoint.states["generator"])
        self.observer.forget_after(checkpoint.step)
        # of a process that was killed after it had judged, before the files were there
        if self.observer.folder.resolve() == checkpoint.folder.resolve() and kept_step(checkpoint.folder) != self.observer.best:
            self._keep_best(checkpoint.step)

    def finish(self) -> None:
        """Tell the method that the last step is done and its checkpoint written."""
        self.method.finish(self.gan)

    def record(self) -> dict[str, Any]:
        """The part of the record under `method`: the method's own, and the numbers of parameters that folding needs."""
        counts = plain_parameters(self.gan, self._optimizers)
        return {**({"plain_parameters": counts} if counts else {}), **self.method.record()}


def _keep(method: Method, gan: Gan) -> Pretrained | None:
    """The generator as it is now, where the method is to retain the remaining labels' images or to replay them; else None."""
    settings, plan, seed = method.context.settings, method.context.plan, method.context.seed
    replays = settings.remaining_data == "replay"
    if not set(plan.remaining) & set(method.drawn(settings, plan)) or not (settings.retain or replays):
        return None
    pretrained = Pretrained(gan, accelerated=settings.accelerate)
    if settings.retain:
        method.retained = losses["class_swap"](pretrained, plan, weight=settings.retain, seed=seed)
    if replays:
        method.replay = ReplayedBatches(pretrained, plan, drawn=method.drawn(settings, plan), seed=seed)
    return pretrained
