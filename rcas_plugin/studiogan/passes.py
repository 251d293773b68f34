"""The passes through upstream's G and D in one update, gathered by hooks and handed to the method as a `Batch`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from rcas_plugin.methods.base import Batch


@dataclass
class _Judged:
    images: Tensor
    labels: Tensor
    outputs: Mapping[str, Any]


@dataclass
class Passes:
    """The passes since the last fakes were made.

    D's first pass with the labels of those fakes is theirs, its first with others is the real images'. Whatever else upstream
    sends through D in an update (consistency, penalties) comes later. The fakes' latents are those of the pass through G whose
    images upstream took: latent optimisation makes others before.

    Attributes:
        training: True while the fakes of an update are made.
    """

    training: bool = False

    _generating: bool = False
    _generated: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    _latents: Tensor | None = None
    _raw_fakes: Tensor | None = None
    _fake_labels: Tensor | None = None
    _fake: _Judged | None = None
    _real: _Judged | None = None

    def watch(self, generator: nn.Module, mapping: nn.Module | None, discriminator: nn.Module) -> None:
        """Hook networks as upstream calls them, which may be DDP's wrappers.

        Args:
            generator: G.
            mapping: of StyleGAN, whose G is called in two parts; else None.
            discriminator: D.
        """
        (generator if mapping is None else mapping).register_forward_hook(self._note_generated)
        discriminator.register_forward_hook(self._note_judged)

    @contextmanager
    def generating(self, *, training: bool) -> Iterator[None]:
        """Note the passes through G inside the block, in which upstream makes images, for an update or for a judge."""
        self._generating, self.training = True, training
        try:
            yield
        finally:
            self._generating = self.training = False

    def _note_generated(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if self._generating:
            self._generated.append((args[0], output))

    def _note_judged(self, module: nn.Module, args: tuple[Any, ...], outputs: Any) -> None:
        if len(args) < 2:
            return
        judged = _Judged(args[0], args[1], outputs)
        if args[1] is self._fake_labels:
            self._fake = self._fake or judged
        else:
            self._real = self._real or judged

    def fakes_made(self, images: Tensor, labels: Tensor, styles: Tensor | None) -> None:
        """Note the fakes that upstream has made for an update, and forget the passes before.

        Args:
            images: (n, channels, height, width), before any augmentation.
            labels: (n,), the very tensor that D will be shown.
            styles: of StyleGAN, what its synthesis made them from; it may be mixed from two latents.
        """
        taken = images if styles is None else styles
        latents = next((latents for latents, output in self._generated if output is taken), None)
        self._forget()
        self._latents, self._raw_fakes, self._fake_labels = latents, images, labels

    def _forget(self) -> None:
        self._generated.clear()
        self._latents = self._raw_fakes = self._fake_labels = self._fake = self._real = None

    def take(self, step: int, *, generator: bool) -> Batch | None:
        """The batch of an update whose loss is computed now; None where it was taken already (multi-hinge asks twice for D's).

        Args:
            step: the step of training, from 0.
            generator: whether it is the generator's turn, in which no real images count.
        """
        fake, real = self._fake, None if generator else self._real
        if fake is None or (real is None and not generator):
            return None
        batch = Batch(step, fake.images, fake.labels, latents=self._latents, raw_fakes=self._raw_fakes, fake_outputs=fake.outputs)
        if real is not None:
            batch = replace(batch, real_images=real.images, real_labels=real.labels, real_outputs=real.outputs)
        self._forget()
        return batch
