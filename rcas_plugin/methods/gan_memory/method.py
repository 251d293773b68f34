"""GAN Memory: the pre-trained GAN stays as it is, and a new class is a style of its kernels (Cong et al., 2020).

In G the input layer and the convolutions of the blocks get a style, in D the convolutions; shortcuts of one pixel, attention and
the convolution that makes the image stay frozen. Biases are trained, and D's head.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from rcas_plugin.gan import GENERATOR
from rcas_plugin.methods.gan_memory.adapter import Style
from rcas_plugin.methods.gan_memory.settings import GanMemorySettings
from rcas_plugin.methods.tasks_apart import TasksApart, bias_of
from rcas_plugin.weights.synapses import Synapse


class GanMemory(TasksApart):
    """GAN Memory as a method: a style of every kernel, a task."""

    Settings = GanMemorySettings
    settings: GanMemorySettings

    def _styled(self, role: str) -> tuple[Synapse, ...]:
        """The layers of a network that get a style."""
        if role == GENERATOR:
            return (*self.layers.inputs, *self.layers.convolutions[role])
        return self.layers.convolutions[role] if self.settings.style_discriminator else ()

    def adapters_for(self, role: str, network: nn.Module) -> Mapping[str, nn.Module]:
        return {layer.name: Style.of(layer.weight) for layer in self._styled(role)}

    def own(self, role: str) -> frozenset[str]:
        biases = {bias_of(layer.name) for layer in self._styled(role) if getattr(layer.module, "bias", None) is not None}
        return super().own(role) | biases
