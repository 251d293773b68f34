"""BN propagation: new classes borrow from the pre-trained ones, by similarity scores and a residual in each layer.

After cGANTransfer (Shahbazi et al., 2021): stage `bn` trains only the scores, the residuals and the pre-trained tables of G,
stage `ft` then all of G but scores and tables. D's label embedding is propagated likewise; the rest of D trains as usual.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.errors import RcasError
from rcas_plugin.gan import DISCRIMINATOR, GENERATOR, Gan
from rcas_plugin.labels import LabelPlan
from rcas_plugin.methods.base import Batch, Context, Method
from rcas_plugin.methods.bn_propagation.adapter import (
    NormLimit,
    PropagatedParameters,
    norm_in_state,
    norm_limits,
    propagate,
    propagations,
    refresh_norms,
    set_norm,
)
from rcas_plugin.methods.bn_propagation.label_tables import find_label_tables
from rcas_plugin.methods.bn_propagation.settings import PRESETS, BnPropagationSettings
from rcas_plugin.methods.label_start import UPDATES, fit_features
from rcas_plugin.weights.adapters import table_of
from rcas_plugin.weights.held import hold_buffers
from rcas_plugin.weights.synapses import SpectralNorm

NO_TABLE = "RCAS.method: bn_propagation finds no row or column a label in this generator; allowed: fine_tune"


class BnPropagation(Method):
    """BN propagation as a method: stage `bn`, then stage `ft`; the number of labels may change."""

    Settings = BnPropagationSettings
    presets = PRESETS
    settings: BnPropagationSettings
    changes_labels = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.stages = stages_of(self.settings, context.plan, context.total_steps)
        self._stage = self.stage_at(0)
        self._propagated: dict[str, PropagatedParameters] = {}
        self._pretrained: list[tuple[nn.Module, str, Tensor, SpectralNorm | None]] = []

    @classmethod
    def check(cls, settings: BnPropagationSettings, plan: LabelPlan, total_steps: int) -> None:
        stages_of(settings, plan, total_steps)

    @classmethod
    def check_networks(
        cls, settings: BnPropagationSettings, plan: LabelPlan, gan: Gan, states: Mapping[str, Mapping[str, Any]]
    ) -> None:
        if all(table.role != GENERATOR for table in find_label_tables(gan, states, plan)):
            raise RcasError(NO_TABLE)

    # putting it in -------------------------------------------------------------------------------------------------------

    def attach(self, gan: Gan, checkpoint: Checkpoint) -> None:
        super().attach(gan, checkpoint)
        if propagations(gan.generator):
            self._stage = self.stage_at(checkpoint.step)
        else:
            self._attach_tables(gan, checkpoint.states)
        self._propagated = {role: PropagatedParameters.of(gan.networks[role]) for role in (GENERATOR, DISCRIMINATOR)}
        for network in (gan.generator, gan.ema):  # in stage bn no forward pass changes a buffer, of G or its average
            if network is not None:
                hold_buffers(network, lambda: self._stage == "bn")

    def _attach_tables(self, gan: Gan, states: Mapping[str, Mapping[str, Any]]) -> None:
        """Put a propagation around every weight with a row or a column a label, and remember what `load` puts into it."""
        plan = self.context.plan
        tables = find_label_tables(gan, states, plan)
        if all(table.role != GENERATOR for table in tables):
            raise RcasError(NO_TABLE)
        new_labels = sorted(plan.slots)
        before = len(plan.names_before)
        order = [
            before + new_labels.index(label) if label in plan.slots else plan.kept[label] for label in range(plan.num_classes)
        ]
        for network_name, network in gan.networks.items():
            role = DISCRIMINATOR if network_name == "discriminator" else GENERATOR
            state = states[network_name]
            for table in (table for table in tables if table.role == role):
                rows = table.rescaled(network, state[table.name])
                norm = norm_in_state(network, table.name, state)
                propagate(network, table.name, rows, order, table.dim, labels=(table.offset, before), norm=norm)
                self._pretrained.append((network, table.name, rows, norm))

    def load(self, gan: Gan, checkpoint: Checkpoint) -> None:
        super().load(gan, checkpoint)
        for network, name, rows, norm in self._pretrained:
            with torch.no_grad():
                table_of(network, name).copy_(rows)
            set_norm(network, name, rows, norm)
        self._pretrained.clear()
        self._start(gan, "keep")

    def prepare(self, gan: Gan) -> None:
        settings = self.settings.label_start
        self._start(gan, settings.how)
        if settings.how == "match":
            self._match(gan)
        for network in gan.networks.values():
            refresh_norms(network)
        in_generator, in_discriminator = propagations(gan.generator), propagations(gan.discriminator)
        both = (*in_generator.values(), *in_discriminator.values())
        numbers = sum(p.scores[0].numel() + p.residual[0].numel() for p in both)
        count = len(self.context.plan.slots)
        self.context.log(
            f"bn_propagation: scores and residuals for {len(in_generator)} weights in G and {len(in_discriminator)} in D, "
            f"{numbers:,} parameters a new class, {count * numbers:,} for {count}; "
            f"stage bn {self.stages[0]} steps, stage ft {self.stages[1]} steps"
        )

    @torch.no_grad()
    def _start(self, gan: Gan, how: str) -> None:
        """Set the scores' start: a slot's old class alone (`keep`, `match`), or all classes alike (`mean`, other labels)."""
        new_labels = sorted(self.context.plan.slots)
        for network in gan.networks.values():
            for propagation in propagations(network).values():
                scores = propagation.scores
                for row, label in enumerate(new_labels):
                    if how == "mean" or label >= propagation.rows or self.settings.classes is not None:
                        scores[row] = 1 / propagation.rows
                    else:
                        scores[row] = 0
                        scores[row, label] = 1

    def _match(self, gan: Gan) -> None:
        """Fit each new label's scores and residuals in G to the features that its real images have in D."""
        plan, settings, images = self.context.plan, self.settings, self.context.real_images
        if images is None:
            self.context.log("bn_propagation: no real images are at hand to match; scores start from one class or all alike")
            return
        in_generator = list(propagations(gan.generator).values())
        parameters = [parameter for propagation in in_generator for parameter in (propagation.scores, propagation.residual)]
        for row, label in enumerate(sorted(plan.slots)):

            def only_this_row(row: int = row) -> None:
                for parameter in parameters:
                    assert parameter.grad is not None
                    gradient = parameter.grad[row].clone()
                    parameter.grad.zero_()[row] = gradient

            limits = norm_limits(gan.generator, label)

            def within_the_norms(row: int = row, limits: Sequence[NormLimit] = limits) -> None:
                for limit in limits:
                    limit.keep(row)

            updates = settings.label_start.iterations or (FEW_UPDATES if has_few(plan, label) else UPDATES)
            losses = fit_features(
                gan, label, images(label, settings.label_start.images), parameters, only_this_row, within_the_norms,
                iterations=updates, batch_size=settings.label_start.batch_size,
                lr=settings.label_start.lr, seed=self.context.seed, accelerated=settings.accelerate,
            )  # fmt: skip
            self.context.log(
                f"bn_propagation: matched D's features of {plan.names[label]} by the scores and residuals of label {label}: "
                f"loss {losses[0]:.3g} to {losses[-1]:.3g} in {len(losses)} updates"
            )
        if gan.ema is not None:  # the average of the pre-trained weights stays what it is
            averaged = propagations(gan.ema)
            with torch.no_grad():
                for name, propagation in propagations(gan.generator).items():
                    averaged[name].scores.copy_(propagation.scores)
                    averaged[name].residual.copy_(propagation.residual)

    # training ------------------------------------------------------------------------------------------------------------

    def slot_views(self, gan: Gan, role: str) -> list[Tensor]:
        in_network = propagations(gan.networks[role]).values()
        return [parameter.detach() for propagation in in_network for parameter in (propagation.scores, propagation.residual)]

    def stage_at(self, step: int) -> str:
        """The stage that a step of training, from 0, belongs to: `bn` or `ft`; never one of no steps.

        Upstream makes one step more than `OPTIMIZATION.total_steps`, which belongs to the last stage.
        """
        bn, ft = self.stages
        return "bn" if step < bn or not ft else "ft"

    def trained(self, gan: Gan) -> list[nn.Parameter]:
        of_generator, of_discriminator = self._propagated[GENERATOR], self._propagated[DISCRIMINATOR]
        if self._stage == "bn":
            return [*of_generator.every, *gan.discriminator.parameters()]
        fixed = {*of_generator.fixed_in_ft, *of_discriminator.fixed_in_ft}
        return [parameter for parameter in super().trained(gan) if parameter not in fixed]

    def averaged(self, gan: Gan) -> Iterable[Tensor]:
        """The tensors of G that its moving average takes in: in stage bn only those that are trained."""
        return super().averaged(gan) if self._stage == "ft" else self._propagated[GENERATOR].every

    def generator_loss(self, batch: Batch) -> Tensor | None:
        """`l1 * mean |scores| + l2 * mean residual^2`, the means over all new labels and weights of G; in stage ft the base's.

        In stage bn the remaining labels move by their tables alone, and stay good without a term (docs/results/README.md).
        """
        retained = super().generator_loss(batch) if self._stage == "ft" else None
        settings, propagated = self.settings.propagation, self._propagated[GENERATOR]
        if not settings.l1 and not settings.l2:
            return retained
        scores = torch.cat([of_weight.flatten() for of_weight in propagated.scores])
        residuals = torch.cat([of_weight.flatten() for of_weight in propagated.residuals])
        penalty = settings.l1 * scores.abs().mean() + settings.l2 * residuals.square().mean()
        return penalty if retained is None else penalty + retained

    def after_step(self, step: int) -> None:
        stage = self.stage_at(step + 1)
        if stage != self._stage:
            self._stage = stage
            self.context.log(f"bn_propagation: stage ft begins after {step + 1} steps")


#: With fewer images of a new class the whole run is stage bn where the section does not say otherwise: fine-tuning G on so few
#: undoes what the scores have learned (docs/results/README.md).
FEW = 100
#: So few images are matched for longer, as hardly anything follows that would still bring the new class nearer.
FEW_UPDATES = 150


def has_few(plan: LabelPlan, label: int) -> bool:
    """True where a label is known to have under `FEW` images."""
    return plan.counts.get(label, FEW) < FEW


def stages_of(settings: BnPropagationSettings, plan: LabelPlan, total_steps: int) -> tuple[int, int]:
    """Steps of the two stages: the section's; else a tenth and the rest, or, under `FEW` images, stage bn alone.

    Raises:
        RcasError: they do not make up the run.
    """
    bn, ft = settings.stages.bn, settings.stages.ft
    few = any(has_few(plan, label) for label in plan.slots)
    if bn is None:
        bn = total_steps - ft if ft is not None else total_steps if few else total_steps // 10
    if ft is None:
        ft = total_steps - bn
    if bn < 0 or ft < 0 or bn + ft != total_steps:
        raise RcasError(
            f"RCAS.stages: bn {bn} and ft {ft} do not make up OPTIMIZATION.total_steps {total_steps}; "
            "give two that do, or only one of them"
        )
    return bn, ft
