"""Class swap: re-initialise the old class's weights, give the slot a better start, then fine-tune (RCAS and what followed)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.nn.modules.batchnorm import _BatchNorm

from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.errors import RcasError
from rcas_plugin.gan import DISCRIMINATOR, GENERATOR, Gan
from rcas_plugin.importance.estimate import Importance
from rcas_plugin.importance.reinit import reinitialize
from rcas_plugin.importance.selection import Selection, Stable, select_synapses
from rcas_plugin.labels import LabelPlan
from rcas_plugin.methods.base import Method
from rcas_plugin.methods.class_swap.settings import FORMER_PRESETS, PRESETS, ClassSwapSettings
from rcas_plugin.methods.label_start import UPDATES, match_features, start_at_mean
from rcas_plugin.registry import callbacks
from rcas_plugin.watch.snapshots import save_snapshot
from rcas_plugin.weights.batch_norm import reestimate_batch_norm
from rcas_plugin.weights.blocks import synapses_in
from rcas_plugin.weights.held import hold_buffers
from rcas_plugin.weights.label_bound import find_label_bound
from rcas_plugin.weights.synapses import find_synapses


class ClassSwap(Method):
    """Importance -> selection -> re-initialisation -> the slot's start -> batch norm's statistics; training is upstream's."""

    Settings = ClassSwapSettings
    presets = PRESETS
    former_presets = FORMER_PRESETS
    settings: ClassSwapSettings

    @classmethod
    def check(cls, settings: ClassSwapSettings, plan: LabelPlan, total_steps: int) -> None:
        super().check(settings, plan, total_steps)
        if not plan.remaining and settings.selection.against != "nothing":
            raise RcasError("RCAS.selection.against: no label remains to select against; allowed: nothing")
        if not plan.remaining and settings.label_start.how == "mean":
            raise RcasError("RCAS.label_start.how: no label remains to take the mean of; allowed: keep, match")

    @classmethod
    def check_networks(
        cls, settings: ClassSwapSettings, plan: LabelPlan, gan: Gan, states: Mapping[str, Mapping[str, Any]]
    ) -> None:
        _selectable(settings, gan)
        how = settings.label_start.how
        if how != "keep" and all(bound.role != GENERATOR for bound in find_label_bound(gan, plan.num_classes)):
            raise RcasError(
                f"RCAS.label_start.how: {how} finds no row or column of one label alone in this generator; allowed: keep"
            )

    def attach(self, gan: Gan, checkpoint: Checkpoint) -> None:
        super().attach(gan, checkpoint)
        if self.settings.batch_norm == "running":
            # the slot's images move a batch's statistics, and with them what every other label looks like
            hold_buffers(gan.generator, lambda: gan.generator.training, _BatchNorm)

    def prepare(self, gan: Gan) -> None:
        self.edit(gan)
        directory, settings = self.context.directory, self.settings
        if settings.bn_batches and directory is not None:  # both states are kept: stale statistics fake forgetting
            save_snapshot(directory, "stale", gan, self.context.plan.live, settings.snapshot_images)
        self.recalibrate(gan)

    def edit(self, gan: Gan) -> None:
        """Re-initialise the selected weights, and give the slot its start."""
        settings = self.settings
        chosen, labels = settings.selection, sorted(self.context.plan.slots)
        if chosen.generator_ratio or chosen.discriminator_ratio or chosen.scope == "threshold":
            selection = self._select(gan, labels)
            models = [gan.generator, gan.discriminator, *([gan.ema] if gan.ema is not None else [])]
            reinitialize(models, selection, value=settings.reinit, seed=self.context.seed)
            if self.context.directory is not None:
                selection.save(self.context.directory / "selection.safetensors")
            self.context.log(
                f"class_swap: re-initialised ({settings.reinit}) {selection.fraction(GENERATOR):.1%} of G's and "
                f"{selection.fraction(DISCRIMINATOR):.1%} of D's weights, by their importance for "
                + ", ".join(f"label {label}" for label in labels)
            )
        self._start_labels(gan)

    def recalibrate(self, gan: Gan) -> None:
        """Estimate the generators' batch-norm statistics anew."""
        settings = self.settings
        for generator in (gan.generator, gan.ema):
            if generator is not None:
                reestimate_batch_norm(
                    generator, self.context.plan.live, gan.latents, batches=settings.bn_batches, seed=self.context.seed
                )

    def _select(self, gan: Gan, labels: list[int]) -> Selection:
        chosen = self.settings.selection
        within = _selectable(self.settings, gan, self.context.frozen)
        against = self._importance(gan, sorted(self.context.plan.remaining)) if chosen.against != "nothing" else None

        def select(importance: Importance) -> Selection:
            return select_synapses(
                importance,
                ratio={GENERATOR: chosen.generator_ratio, DISCRIMINATOR: chosen.discriminator_ratio},
                scope=chosen.scope,
                threshold=chosen.threshold,
                unit=chosen.unit,
                against=against,
                rule="ratio" if chosen.against == "nothing" else chosen.against,
                damping=chosen.damping,
                exponent=chosen.exponent,
                cap=chosen.cap,
                kinds=chosen.kinds,
                within=within,
            )

        stable_overlap = self.settings.importance.stable
        stable = Stable(stable_overlap, select) if stable_overlap < 1 else None
        importance = self._importance(gan, labels, stable)
        if stable is not None and stable.reached is not None:
            self.context.log(
                f"class_swap: the selection after {importance.settings['samples']} samples overlaps by {stable.reached:.1%} "
                "with the one of half as many"
            )
        return select(importance)

    def _importance(self, gan: Gan, labels: list[int], stop: Stable | None = None) -> Importance:
        settings = self.settings
        importance: Importance = callbacks["synapse_importance"](
            gan.generator,
            gan.discriminator,
            labels=labels,
            num_samples=settings.importance.samples,
            estimator=settings.importance.estimator,
            objective=settings.importance.objective,
            stop=stop,
            latents=gan.latents,
            kinds=settings.selection.kinds,
            seed=self.context.seed,
            memory_mb=settings.importance.memory_mb,
        )
        return importance

    def _start_labels(self, gan: Gan) -> None:
        settings, plan, images = self.settings, self.context.plan, self.context.real_images
        if settings.label_start.how == "mean":
            start_at_mean(gan, plan.num_classes, sorted(plan.slots), sorted(plan.remaining))
        if settings.label_start.how != "match":
            return
        if images is None:
            self.context.log("class_swap: no real images are at hand to match; the slot starts from the old class's columns")
            return
        for slot in sorted(plan.slots):
            losses = match_features(
                gan,
                plan.num_classes,
                slot,
                images(slot, settings.label_start.images),
                iterations=settings.label_start.iterations or UPDATES,
                batch_size=settings.label_start.batch_size,
                lr=settings.label_start.lr,
                seed=self.context.seed,
                accelerated=settings.accelerate,
            )
            if losses:
                self.context.log(
                    f"class_swap: matched D's features of {plan.names[slot]} by the columns of label {slot} alone: "
                    f"loss {losses[0]:.3g} to {losses[-1]:.3g} in {len(losses)} updates"
                )
            else:
                self.context.log("class_swap: no label has columns of its own in this generator; label_start has no effect")


def _selectable(settings: ClassSwapSettings, gan: Gan, frozen: frozenset[str] = frozenset()) -> dict[str, frozenset[str]]:
    """Role -> the only weights that may be selected there: those in `RCAS.selection.blocks`, and of D none that is frozen.

    A network that is not in it may be selected in all over. Raises `RcasError` where there is no such block.
    """
    names = {}
    for role in (GENERATOR, DISCRIMINATOR):
        wanted, network = getattr(settings.selection.blocks, role), gan.networks[role]
        if wanted != "all":
            names[role] = frozenset(synapses_in(network, wanted, f"RCAS.selection.blocks.{role}"))
    if frozen:
        names[DISCRIMINATOR] = names.get(DISCRIMINATOR, frozenset(find_synapses(gan.discriminator))) - frozen
    return names
