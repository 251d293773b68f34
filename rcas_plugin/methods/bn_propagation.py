"""BN propagation: new classes borrow from the pre-trained ones, by similarity scores and a residual in each layer.

After cGANTransfer (Shahbazi et al., 2021): stage `bn` trains only the scores, the residuals and the pre-trained tables of G,
stage `ft` then all of G but scores and tables. D's label embedding is propagated likewise; the rest of D trains as usual.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rcas_plugin.errors import RcasError
from rcas_plugin.fold import fold_network, rebuild_adapters
from rcas_plugin.gan import Gan
from rcas_plugin.importance import DISCRIMINATOR, GENERATOR
from rcas_plugin.label_bound import find_label_bound, stretch_steps
from rcas_plugin.label_start import UPDATES, fit_features
from rcas_plugin.labels import LabelPlan
from rcas_plugin.methods.base import Batch, Context, Method, multiplier_at
from rcas_plugin.propagation import propagate, propagations, refresh_norm, table_of
from rcas_plugin.settings import RcasSettings


@dataclass(frozen=True)
class OwnNames:
    """The parameters of one network that propagation has put there or taken over, by name."""

    scores: frozenset[str]
    residuals: frozenset[str]
    tables: frozenset[str]

    @classmethod
    def of(cls, network: nn.Module) -> OwnNames:
        own = propagations(network)

        def names(parameters: Iterable[nn.Parameter]) -> frozenset[str]:
            wanted = set(parameters)
            return frozenset(name for name, parameter in network.named_parameters() if parameter in wanted)

        return cls(
            names(one.scores for one in own.values()),
            names(one.residual for one in own.values()),
            names(table_of(network, name) for name in own),
        )


class BnPropagation(Method):
    """Stage `bn`, then stage `ft`; the number of labels may change."""

    changes_labels = True
    freezes = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.stages = stages_of(context.settings, context.plan, context.total_steps)
        self._stage = "bn" if self.stages[0] else "ft"
        self._plain_parameters: dict[str, int] = {}
        self._own: dict[str, OwnNames] = {}

    @classmethod
    def check(cls, settings: RcasSettings, plan: LabelPlan, total_steps: int) -> None:
        stages_of(settings, plan, total_steps)

    # putting it in -------------------------------------------------------------------------------------------------------

    def load(self, gan: Gan, states: Mapping[str, Mapping[str, Any]]) -> None:
        plan = self.context.plan
        before = len(plan.names_before)
        places = {(one.role, one.name): one.dim for one in find_label_bound(gan, plan.num_classes)}
        for role in (GENERATOR, DISCRIMINATOR):  # a class's row of an auxiliary classifier, where the number of labels changes
            for name, own in gan.networks[role].state_dict(keep_vars=True).items():
                given = states[role][name]
                if isinstance(own, nn.Parameter) and own.shape != given.shape and (role, name) not in places:
                    dim = next(dim for dim in range(own.ndim) if own.shape[dim] != given.shape[dim])
                    if (own.shape[dim], given.shape[dim]) != (plan.num_classes, before):
                        raise RcasError(
                            f"RCAS.method: bn_propagation cannot give {name} of the {role} other labels, as it has "
                            f"{given.shape[dim]} rows for {before}; allowed for this config: RCAS.swap"
                        )
                    places[role, name] = dim
        new = sorted(plan.slots)
        order = [before + new.index(label) if label in plan.slots else plan.kept[label] for label in range(plan.num_classes)]
        for network_name, network in gan.networks.items():
            role = DISCRIMINATOR if network_name == "discriminator" else GENERATOR
            own, given = network.state_dict(), states[network_name]
            fitting = {name: value for name, value in given.items() if value.shape == own[name].shape}
            network.load_state_dict({**own, **fitting})
            for (of, name), dim in places.items():
                if of == role:
                    propagate(network, name, given[name], order, dim)
        self._start(gan, "keep")
        self.keep(gan)

    def prepare(self, gan: Gan) -> None:
        if self.gan is not gan:
            self.load(gan, {name: network.state_dict() for name, network in gan.networks.items()})
        settings = self.context.settings.label_start
        own = propagations(gan.generator)
        if not own:
            raise RcasError("RCAS.method: bn_propagation finds no row or column a label in this generator; allowed: fine_tune")
        self._start(gan, settings.how)
        if settings.how == "match":
            self._match(gan)
        self._find_own(gan)
        judged = propagations(gan.discriminator)
        numbers = sum(p.scores[0].numel() + p.residual[0].numel() for p in (*own.values(), *judged.values()))
        new = len(self.context.plan.slots)
        self.context.log(
            f"bn_propagation: scores and residuals for {len(own)} weights in G and {len(judged)} in D, "
            f"{numbers:,} parameters a new class, {new * numbers:,} for {new}; "
            f"stage bn {self.stages[0]} steps, stage ft {self.stages[1]} steps"
        )
        self._hold_statistics(gan.generator)

    def restore(self, gan: Gan, states: Mapping[str, Mapping[str, Any]]) -> None:
        super().restore(gan, states)
        rebuild_adapters(gan, states)
        self._find_own(gan)
        self._hold_statistics(gan.generator)

    def record(self) -> dict[str, Any]:
        return {"plain_parameters": self._plain_parameters}

    def _find_own(self, gan: Gan) -> None:
        self._own = {role: OwnNames.of(gan.networks[role]) for role in (GENERATOR, DISCRIMINATOR)}

    @torch.no_grad()
    def _start(self, gan: Gan, how: str) -> None:
        """Scores before anything is learned: a slot's old class alone (`keep`, `match`), or all alike (`mean`, other labels)."""
        new = sorted(self.context.plan.slots)
        for network in gan.networks.values():
            for name, propagation in propagations(network).items():
                scores = propagation.scores
                for row, label in enumerate(new):
                    if how == "mean" or label >= propagation.rows or self.context.settings.classes is not None:
                        scores[row] = 1 / propagation.rows
                    else:
                        scores[row] = 0
                        scores[row, label] = 1
                refresh_norm(network.get_submodule(name.rpartition(".")[0]))

    def _match(self, gan: Gan) -> None:
        """Fit each new label's scores and residuals in G to the features that its real images have in D."""
        plan, settings, images = self.context.plan, self.context.settings, self.context.real_images
        if images is None:
            self.context.log("bn_propagation: no real images are at hand to match; scores start from one class or all alike")
            return
        own = list(propagations(gan.generator).values())
        parameters = [parameter for one in own for parameter in (one.scores, one.residual)]
        for row, label in enumerate(sorted(plan.slots)):

            def only_this_row(row: int = row) -> None:
                for parameter in parameters:
                    assert parameter.grad is not None
                    kept = parameter.grad[row].clone()
                    parameter.grad.zero_()[row] = kept

            updates = settings.label_start.iterations or (FEW_UPDATES if has_few(plan, label) else UPDATES)
            losses = fit_features(
                gan, label, images(label, settings.label_start.images), parameters, only_this_row,
                iterations=updates, batch_size=settings.label_start.batch_size,
                lr=settings.label_start.lr, seed=self.context.seed, accelerated=settings.accelerate,
            )  # fmt: skip
            self.context.log(
                f"bn_propagation: matched D's features of {plan.names[label]} by the scores and residuals of label {label}: "
                f"loss {losses[0]:.3g} to {losses[-1]:.3g} in {len(losses)} updates"
            )
        for name in propagations(gan.generator):
            refresh_norm(gan.generator.get_submodule(name.rpartition(".")[0]))
        if gan.ema is not None:
            gan.ema.load_state_dict(gan.generator.state_dict())

    def _hold_statistics(self, generator: nn.Module) -> None:
        """In stage bn nothing but scores, residuals and tables changes: batch norm's statistics, spectral norm's vectors and
        StyleGAN's mean latent stay, so the layers that hold such buffers work as in evaluation."""
        held: list[nn.Module] = []

        def hold(module: nn.Module, args: Any) -> None:
            if self._stage == "bn" and module.training:
                module.training = False
                held.append(module)

        def release(module: nn.Module, args: Any, output: Any) -> None:
            if module in held:
                held.remove(module)
                module.training = True

        for module in generator.modules():
            if next(module.buffers(recurse=False), None) is not None:
                module.register_forward_pre_hook(hold, prepend=True)
                module.register_forward_hook(release, always_call=True)

    # training ------------------------------------------------------------------------------------------------------------

    def optimizers_built(self, gan: Gan, optimizers: Mapping[str, torch.optim.Optimizer], step: Callable[[], int]) -> None:
        self._stage = self.stage_at(step())
        for role, optimizer in optimizers.items():  # a plain network's optimiser has no scores and no residuals
            own = 2 * len(propagations(gan.networks[role]))
            self._plain_parameters[role] = sum(len(group["params"]) for group in optimizer.param_groups) - own
        super().optimizers_built(gan, optimizers, step)

    def scale_steps(self, gan: Gan, optimizers: Mapping[str, torch.optim.Optimizer], step: Callable[[], int]) -> None:
        settings = self.context.settings.label_lr
        for role, optimizer in optimizers.items():
            factor: float = getattr(settings, role)
            if factor != 1:
                own = propagations(gan.networks[role]).values()
                views = [parameter.detach() for one in own for parameter in (one.scores, one.residual)]
                stretch_steps(optimizer, views, multiplier_at(factor, settings.steps, step))

    def stage_at(self, step: int) -> str:
        """The stage that a step of training, from 0, belongs to: `bn` or `ft`."""
        return "bn" if step < self.stages[0] else "ft"

    def trainable(self, role: str, name: str) -> bool:
        own = self._own[role]
        if self._stage == "ft":
            return name not in own.scores and name not in own.tables
        return role == DISCRIMINATOR or name in own.scores or name in own.residuals or name in own.tables

    def generator_loss(self, batch: Batch) -> Tensor | None:
        """`l1 * mean |scores| + l2 * mean residual^2`, the means over all new labels and weights of G; in stage ft the base's.

        In stage bn the remaining labels move by their tables alone, and stay good without a term (docs/results/README.md).
        """
        assert self.gan is not None
        retained = super().generator_loss(batch) if self._stage == "ft" else None
        settings, own = self.context.settings.propagation, list(propagations(self.gan.generator).values())
        if not settings.l1 and not settings.l2:
            return retained
        scores = torch.cat([one.scores.flatten() for one in own])
        residuals = torch.cat([one.residual.flatten() for one in own])
        penalty = settings.l1 * scores.abs().mean() + settings.l2 * residuals.square().mean()
        return penalty if retained is None else penalty + retained

    def after_step(self, step: int) -> None:
        stage = self.stage_at(step + 1)
        if stage != self._stage and self.gan is not None:
            self._stage = stage
            self.choose_trained(self.gan)
            self.context.log(f"bn_propagation: stage ft begins after {step + 1} steps")

    def fold(self, gan: Gan) -> None:
        for network in gan.networks.values():
            fold_network(network)


#: With fewer images of a new class the whole run is stage bn where the section does not say otherwise: fine-tuning G on so few
#: undoes what the scores have learned (docs/results/README.md).
FEW = 100
#: So few images are matched for longer, as hardly anything follows that would still bring the new class nearer.
FEW_UPDATES = 150


def has_few(plan: LabelPlan, label: int) -> bool:
    """Whether a label is known to have under `FEW` images."""
    return plan.counts.get(label, FEW) < FEW


def stages_of(settings: RcasSettings, plan: LabelPlan, total_steps: int) -> tuple[int, int]:
    """Steps of the two stages: as the section says, or a tenth and the rest, or under `FEW` images: stage bn alone.

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
