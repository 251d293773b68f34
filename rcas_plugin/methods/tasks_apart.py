"""Methods whose tasks lie apart: the pre-trained GAN stays as it is, and each swap adds what is its own.

A task is made of adapters around frozen weights, of its labels' own rows and columns, of biases and norms, and of the buffers
that batch norms fill as it is trained. Every task starts from the same base, the evaluated generator and the discriminator of
the checkpoint that the first of them started from; nothing of an earlier task is written again. So a label's images come from
the state of its own task, or from the base, and are the same to the bit whatever is learned afterwards.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.checkpoints.lineage import Lineage, base_of, read_lineage, started_lineage
from rcas_plugin.checkpoints.router import route_by_label
from rcas_plugin.errors import RcasError
from rcas_plugin.gan import DISCRIMINATOR, GENERATOR, Gan, device_of, frozen_eval, generate, is_stylegan
from rcas_plugin.labels import LabelPlan
from rcas_plugin.methods.base import Context, Method
from rcas_plugin.record import LineageSwap
from rcas_plugin.weights.adapters import adapter_parameters, attach, attached, load_plain
from rcas_plugin.weights.label_bound import LabelBound, find_label_bound
from rcas_plugin.weights.own_labels import OwnLabels
from rcas_plugin.weights.synapses import Synapse, find_convolutions, find_synapses, kind_of


@dataclass(frozen=True)
class Layers:
    """The weights of G and D by what a task apart does with them; found by the types of modules, and in one pass.

    Attributes:
        convolutions: role -> the convolutions that an adapter may go around, transposed ones too: all but the one that makes the
            image, and those of one pixel, which shortcuts and attention have.
        inputs: the linear layers of G that its latents go into.
        tables: the weights with a row or a column a label, of both networks.
        output: the name of the weight of the convolution in G that makes the image; None where none does.
        own: role -> the names of the parameters that each task has for itself: norms' gains and biases, and what feeds
            conditional ones without a column a label; in D the head.
    """

    convolutions: Mapping[str, tuple[Synapse, ...]]
    inputs: tuple[Synapse, ...]
    tables: tuple[LabelBound, ...]
    output: str | None
    own: Mapping[str, frozenset[str]]


@torch.no_grad()
def find_layers(gan: Gan, num_classes: int) -> Layers:
    """The layers of newly built networks."""
    tables = find_label_bound(gan, num_classes)
    of_tables = {table.weight for table in tables}
    conditional = {layer for norm in gan.generator.modules() if _is_conditional_norm(norm) for layer in norm.children()}
    of_generator, of_discriminator = (find_convolutions(network).values() for network in (gan.generator, gan.discriminator))
    last = _last_called(gan, [conv.module for conv in of_generator])
    convolutions = {
        role: tuple(conv for conv in found if conv.weight[0, 0].numel() > 1 and conv.module is not last)
        for role, found in ((GENERATOR, of_generator), (DISCRIMINATOR, of_discriminator))
    }
    linear = [layer for layer in find_synapses(gan.generator, frozenset({"linear"})).values() if layer.weight not in of_tables]
    head = [
        layer
        for layer in find_synapses(gan.discriminator, frozenset({"linear", "embedding"})).values()
        if layer.weight not in of_tables
    ]
    return Layers(
        convolutions,
        tuple(layer for layer in linear if layer.module not in conditional),
        tuple(tables),
        next((conv.name for conv in of_generator if conv.module is last), None),
        {
            GENERATOR: frozenset(
                [*_norms(gan.generator), *(n for layer in linear if layer.module in conditional for n in _all_of(layer))]
            ),
            DISCRIMINATOR: frozenset([*_norms(gan.discriminator), *(n for layer in head for n in _all_of(layer))]),
        },
    )


def _is_conditional_norm(module: nn.Module) -> bool:
    """Whether a module is a batch norm whose gain and bias linear layers make."""
    parts = list(module.children())
    norms = [part for part in parts if isinstance(part, _BatchNorm)]
    return 0 < len(norms) < len(parts) and all(kind_of(part) == "linear" for part in parts if part not in norms)


def _all_of(layer: Synapse) -> Iterator[str]:
    """The names of a layer's own parameters: its weight, and its bias."""
    yield layer.name
    if isinstance(getattr(layer.module, "bias", None), nn.Parameter):
        yield bias_of(layer.name)


def bias_of(name: str) -> str:
    """The name of the bias beside a weight."""
    return f"{name.rpartition('.')[0]}.bias"


def _norms(network: nn.Module) -> list[str]:
    """The names of batch norms' gains and biases that serve all labels."""
    return [
        f"{path}.{name}"
        for path, module in network.named_modules()
        if isinstance(module, _BatchNorm)
        for name, _ in module.named_parameters(recurse=False)
    ]


def _last_called(gan: Gan, layers: list[nn.Module]) -> nn.Module | None:
    """Of some layers of G the one that is called last in a pass, which makes the image."""
    called: list[nn.Module] = []
    handles = [layer.register_forward_hook(lambda module, args, output: called.append(module)) for layer in layers]
    try:
        with frozen_eval(gan.generator):
            device = device_of(gan.generator)
            z = gan.latents(2, torch.Generator().manual_seed(0)).to(device)
            generate(gan.generator, z, torch.zeros(2, dtype=torch.long, device=device))
    finally:
        for handle in handles:
            handle.remove()
    return called[-1] if called else None


class TasksApart(Method):
    """A method that trains adapters around the frozen weights of a base; a subclass says which adapters, around what.

    Attributes:
        layers: of the networks, from `attach` on.
        lineage: of the swap, from `attach` on: the states that make the labels that are not its own.
    """

    draws: ClassVar[Literal["all", "new"]] = "new"
    apart: ClassVar[bool] = True
    layers: Layers
    lineage: Lineage

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._trained: list[nn.Parameter] = []
        self._counts: dict[str, int] = {}

    @classmethod
    def check(cls, settings: Any, plan: LabelPlan, total_steps: int) -> None:
        if settings.retain:
            raise RcasError(
                f"RCAS.retain: {settings.retain} has nothing to do with {settings.method}, which leaves the others as "
                "they are to the bit; set it to 0, or leave it out"
            )
        if settings.drawn_share:
            raise RcasError(
                f"RCAS.share: {settings.drawn_share} has nothing to do with {settings.method}, whose batches hold new classes "
                "alone; set it to 0, or leave it out"
            )

    @classmethod
    def check_networks(cls, settings: Any, plan: LabelPlan, gan: Gan, states: Mapping[str, Mapping[str, Any]]) -> None:
        if is_stylegan(gan.generator):
            raise RcasError(
                f"RCAS.method: {settings.method} puts adapters around plain convolutions, and StyleGAN's are modulated by each "
                "image's own style; allowed for this config: class_swap, bn_propagation, fine_tune"
            )
        if not any(table.role == GENERATOR for table in find_layers(gan, plan.num_classes).tables):
            raise RcasError(
                f"RCAS.method: {settings.method} finds no row or column a label in this generator; allowed: fine_tune"
            )

    # what a subclass says -------------------------------------------------------------------------------------------------

    @abstractmethod
    def adapters_for(self, role: str, network: nn.Module) -> Mapping[str, nn.Module]:
        """The adapters of a newly built network: name of the weight -> a parametrization, newly made, registered in `adapters`.

        `layers` is there. Each has a method `start(weight)` that sets its values from the base's weight, and is on the CPU.
        """

    def own(self, role: str) -> frozenset[str]:
        """The names of a network's plain parameters that each task has for itself; by default `Layers.own`."""
        return self.layers.own[role]

    # putting it in --------------------------------------------------------------------------------------------------------

    def attach(self, gan: Gan, checkpoint: Checkpoint) -> None:
        plain = deepcopy(gan.generator)
        self.layers = find_layers(gan, self.context.plan.num_classes)
        if checkpoint.adapted:
            super().attach(gan, checkpoint)
            assert checkpoint.folder is not None, "a run of tasks has the others beside it"
            self.lineage = read_lineage(checkpoint.folder)
        else:
            swap = LineageSwap.of_plan(self.settings.method, self.context.plan)
            self.lineage = started_lineage(checkpoint, swap)
            for name, network in gan.networks.items():
                self._attach(DISCRIMINATOR if name == DISCRIMINATOR else GENERATOR, network)
        generators = [network for name, network in gan.networks.items() if name != DISCRIMINATOR]
        route_by_label(generators, plain, self.lineage.states, self.lineage.routes)
        of_role = {role: self._task_of(role, gan.networks[role]) for role in (GENERATOR, DISCRIMINATOR)}
        self._trained = [parameter for parameters in of_role.values() for parameter in parameters]
        self._counts = {role: sum(parameter.numel() for parameter in parameters) for role, parameters in of_role.items()}
        self._counts["base"] = sum(parameter.numel() for parameter in plain.parameters())

    def _attach(self, role: str, network: nn.Module) -> None:
        """Put adapters around the weights of a newly built network."""
        slots = sorted(self.context.plan.slots)
        made = {
            table.name: OwnLabels(table.weight.shape, [table.offset + slot for slot in slots], table.dim)
            for table in self.layers.tables
            if table.role == role
        }
        frozen = self.context.frozen if role == DISCRIMINATOR else frozenset()
        for name, adapter in {**made, **self.adapters_for(role, network)}.items():
            if name not in frozen:
                attach(network, name, network.get_parameter(name), adapter)

    def _task_of(self, role: str, network: nn.Module) -> list[nn.Parameter]:
        """The parameters of a network that are the task's: of its adapters, and its own."""
        return [*adapter_parameters(network), *(network.get_parameter(name) for name in sorted(self.own(role)))]

    def load(self, gan: Gan, checkpoint: Checkpoint) -> None:
        generator, discriminator = base_of(checkpoint, self.lineage)
        for name, network in gan.networks.items():
            load_plain(network, discriminator if name == DISCRIMINATOR else generator)
            for adapter, table in attached(network).values():
                adapter.start(table.detach())  # type: ignore[operator]

    # training -------------------------------------------------------------------------------------------------------------

    def prepare(self, gan: Gan) -> None:
        generator, discriminator, base = self._counts[GENERATOR], self._counts[DISCRIMINATOR], self._counts["base"]
        self.context.log(
            f"{self.settings.method}: the task has {generator:,} parameters in G, {generator / base:.1%} of its {base:,}, "
            f"and {discriminator:,} in D"
        )

    def record(self) -> dict[str, Any]:
        """The numbers of the task's parameters, and of G's as it was pre-trained."""
        return {"parameters": dict(self._counts)}

    def trained(self, gan: Gan) -> list[nn.Parameter]:
        return self._trained

    def slot_views(self, gan: Gan, role: str) -> list[Tensor]:
        adapters = [adapter for adapter, _ in attached(gan.networks[role]).values()]
        return [adapter.values.detach() for adapter in adapters if isinstance(adapter, OwnLabels)]
