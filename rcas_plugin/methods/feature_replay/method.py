"""Feature replay: D judges a classifier's hidden features, and the previous generator keeps the remaining labels.

After Genifer. Half of each batch is replayed and shares its latents and labels with half of the fakes; `RCAS.retain` is Genifer's
distillation, L1 in pixels at the same latents. Its published code counts a penalty that is computed at one step in 16 no
more than 16/17 times; here it counts 16 times, so that it is the penalty that is meant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from tqdm.auto import tqdm

from rcas_plugin.adversarial import LOSSES
from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.errors import RcasError
from rcas_plugin.gan import Gan, device_of, discriminate, frozen_eval, generate, sample_images, seeded
from rcas_plugin.labels import LabelPlan
from rcas_plugin.methods.base import Batch, Context, Method
from rcas_plugin.methods.feature_replay.classifier import FeatureClassifier, load_classifier, save_classifier
from rcas_plugin.methods.feature_replay.discriminator import (
    FeatureDiscriminator,
    JudgedFeatures,
    gradient_penalty,
)
from rcas_plugin.methods.feature_replay.settings import PRESETS, FeatureReplaySettings
from rcas_plugin.metrics.classifier import train_classifier
from rcas_plugin.weights.adapters import ADDED, is_added, load_plain

#: The classifier's file in the run's folder.
FILE = "classifier.safetensors"
#: Images of an update of the warm-up, and its step size.
WARM_UP_BATCH, WARM_UP_LR = 32, 1e-3
#: Upstream's `MODEL.d_cond_mtd` with a loss on what D says of the label, and what D says beside its logit where it classifies.
CLASSIFYING = ("AC", "2C", "D2DCE")
OTHER_OUTPUTS = ("cls_output", "info_discrete_c_logits", "info_conti_mu")


class FeatureReplay(Method):
    """Feature replay as a method.

    Attributes:
        classifier: whose features are judged; frozen, in evaluation mode, from `attach` on.
    """

    Settings = FeatureReplaySettings
    presets = PRESETS
    draws_exactly = True
    settings: FeatureReplaySettings
    classifier: FeatureClassifier

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._trains_classifier = self._continues = False

    @classmethod
    def check_networks(
        cls, settings: FeatureReplaySettings, plan: LabelPlan, gan: Gan, states: Mapping[str, Mapping[str, Any]]
    ) -> None:
        images = _two_images(gan)
        with frozen_eval(gan.discriminator):
            outputs = discriminate(gan.discriminator, images, torch.zeros(2, dtype=torch.long, device=images.device))
        classifies = getattr(gan.discriminator, "d_cond_mtd", None) in CLASSIFYING
        if classifies or outputs["adv_output"][0].numel() > 1 or any(outputs.get(name) is not None for name in OTHER_OUTPUTS):
            raise RcasError(
                "RCAS.method: feature_replay puts a D of its own in the place of this config's, which classifies images too; "
                "allowed for this config: class_swap, bn_propagation, fine_tune"
            )
        if settings.classifier is not None:
            channels = load_classifier(Path(settings.classifier), "RCAS.classifier").classifier.channels
            if channels != images.shape[1]:
                raise RcasError(
                    f"RCAS.classifier: it takes images of {channels} channels, and this generator makes {images.shape[1]}; "
                    "train one on the images of this config"
                )

    # putting it in -------------------------------------------------------------------------------------------------------

    def attach(self, gan: Gan, checkpoint: Checkpoint) -> None:
        super().attach(gan, checkpoint)
        images = _two_images(gan)
        goes_on = any(is_added(key) for key in checkpoint.states["discriminator"])
        self.classifier = self._classifier(images.shape[1], checkpoint if goes_on else None)
        self.classifier.to(images).eval().requires_grad_(False)
        with torch.no_grad():
            _, channels, size, _ = self.classifier.hidden(images).shape
        with seeded(self.context.seed, torch.device("cpu")):
            judge = FeatureDiscriminator(channels, size, self.context.plan.num_classes,
                                         channels=self.settings.channels, group_size=self.settings.group_size)  # fmt: skip
        gan.discriminator.add_module(ADDED, judge.to(images))
        gan.discriminator.forward = JudgedFeatures(gan.discriminator, self.classifier)

    def _classifier(self, channels: int, goes_on: Checkpoint | None) -> FeatureClassifier:
        """The classifier of the run that goes on, of the file that the section names, or one that `prepare` trains."""
        settings = self.settings.train_classifier
        if goes_on is not None and goes_on.folder is not None:
            return load_classifier(goes_on.folder / FILE, "RCAS.classifier").classifier
        if self.settings.classifier is not None:
            return load_classifier(Path(self.settings.classifier), "RCAS.classifier").classifier
        self._trains_classifier = True
        return FeatureClassifier(channels, self.context.plan.num_classes, width=settings.width, depth=settings.depth)

    def load(self, gan: Gan, checkpoint: Checkpoint) -> None:
        """Put the pre-trained weights in; G starts from its moving average, as the generator that replays does.

        Where they come from a swap of this method, its D goes on, unless the classifier is to be trained anew: D would then be
        shown features that it has never seen.
        """
        super().load(gan, checkpoint)
        if gan.ema is not None:
            load_plain(gan.generator, checkpoint.states["ema"])
        before = (checkpoint.unfolded or checkpoint).states["discriminator"]
        judge = {name: value for name, value in gan.discriminator.state_dict().items() if is_added(name)}
        same = all(name in before and before[name].shape == value.shape for name, value in judge.items())
        self._continues = same and not self._trains_classifier
        if self._continues:
            for name, value in judge.items():
                value.copy_(before[name])

    def prepare(self, gan: Gan) -> None:
        fits = self.settings.warm_up > 0 and not self._continues
        if self._trains_classifier or fits:
            fakes = self._fakes(gan)
            real = self._real(*fakes)
        if self._trains_classifier:
            self._train_classifier(*real)
        if dist.is_initialized():
            for tensor in self.classifier.state_dict().values():
                dist.broadcast(tensor, 0)
        if self.context.directory is not None:
            save_classifier(self.context.directory / FILE, self.classifier, self.context.plan.names)
        if fits:
            self._warm_up(gan, real, fakes)

    def _train_classifier(self, images: Tensor, labels: Tensor) -> None:
        """Fill the classifier with the weights of one that is trained on images (n, channels, height, width)."""
        options = self.settings.train_classifier
        trained = train_classifier(
            images, labels, self.context.plan.num_classes, epochs=options.epochs, seed=self.context.seed,
            architecture=partial(FeatureClassifier, width=options.width, depth=options.depth), name="feature_replay: classifier",
        )  # fmt: skip
        self.classifier.load_state_dict(trained.state_dict())

    @property
    def _images(self) -> int:
        """How many images a label are shown to the classifier that is trained; to D alone, as many as its updates look at."""
        images, labels = self.settings.train_classifier.images, len(self.context.plan.live)
        return images if self._trains_classifier else min(images, math.ceil(self.settings.warm_up * WARM_UP_BATCH / labels))

    def _fakes(self, gan: Gan) -> tuple[Tensor, Tensor]:
        """Images (n, channels, height, width) of G as it is, and their labels (n,), of every live label alike; on the CPU."""
        labels = torch.tensor(self.context.plan.live).repeat_interleave(self._images)
        return sample_images(gan.evaluated, labels, gan.latents, seed=self.context.seed), labels

    def _real(self, fakes: Tensor, fake_labels: Tensor) -> tuple[Tensor, Tensor]:
        """What training will show as real: new classes' images, and the remaining labels' or G's own in their place."""
        plan, images, count = self.context.plan, self.context.real_images, self._images
        shown: dict[int, Tensor] = {}
        for label in plan.live:
            if images is not None and (label in plan.slots or self.settings.remaining_data == "real"):
                shown[label] = images(label, count).float().cpu()
            elif label in plan.remaining:
                shown[label] = fakes[fake_labels == label][:count]
        return torch.cat(list(shown.values())), torch.tensor([label for label, part in shown.items() for _ in part])

    def _warm_up(self, gan: Gan, real: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor]) -> None:
        """Fit a new D to G as it is: at the first step it would know nothing, and lead G astray."""
        judge, source = _judge(gan), torch.Generator().manual_seed(self.context.seed)
        weight = self.classifier.head.weight
        optimizer = torch.optim.Adam(judge.parameters(), WARM_UP_LR, (0.0, 0.99))

        def batch(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            drawn = torch.tensor(self.drawn(self.settings, self.context.plan))
            wanted = drawn[torch.randint(len(drawn), (WARM_UP_BATCH,), generator=source)]
            places = [(labels == label).nonzero().flatten() for label in wanted]
            there = [place[torch.randint(len(place), (), generator=source)] for place in places if len(place)]
            picked = torch.stack(there)
            with torch.no_grad():
                return self.classifier.hidden(images[picked].to(weight)), labels[picked].to(weight.device)

        steps = tqdm(range(self.settings.warm_up), desc="feature_replay: D", unit="update", delay=2, disable=None)
        for _ in steps:
            of_real, of_fake = batch(*real), batch(*fake)
            loss = LOSSES["logistic"].discriminator(judge(*of_real), judge(*of_fake))
            loss = loss + self.settings.r1.weight / 2 * gradient_penalty(judge, *of_real)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        self.context.log(f"feature_replay: a new D was fitted to G as it is in {self.settings.warm_up} updates")

    # training ------------------------------------------------------------------------------------------------------------

    def trained(self, gan: Gan) -> list[nn.Parameter]:
        """All of G, and D on the features; the layers of the config's own D stay as they are."""
        return [*gan.generator.parameters(), *_judge(gan).parameters()]

    def fakes_of(self, latents: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Beside a batch that D is shown: its labels, and for each replayed image the latents that it was made of."""
        if self.replay is None or not self.replay.batches:
            return latents, labels
        batch = self.replay.batches.popleft()
        latents = latents.clone()
        latents[batch.replayed] = batch.latents.to(latents.dtype)
        return latents, batch.labels.clone()

    def generator_loss(self, batch: Batch) -> Tensor | None:
        """`RCAS.retain` times the number of remaining labels for each new one, times the distance to the previous G's images."""
        term = super().generator_loss(batch)
        plan = self.context.plan
        return None if term is None else term * len(plan.remaining) / len(plan.slots)

    def discriminator_loss(self, batch: Batch) -> Tensor | None:
        """The penalty on D's gradient with respect to real images' features, at one step in `r1.every`."""
        penalty = self.settings.r1
        if not penalty.weight or batch.step % penalty.every or batch.real_outputs is None or batch.real_labels is None:
            return None
        squared = gradient_penalty(_judge(self.gan), batch.real_outputs["hidden"], batch.real_labels)
        return penalty.every * penalty.weight / 2 * squared


def _judge(gan: Gan) -> FeatureDiscriminator:
    judge = getattr(gan.discriminator, ADDED)
    assert isinstance(judge, FeatureDiscriminator)
    return judge


@torch.no_grad()
def _two_images(gan: Gan) -> Tensor:
    """Two images of G, to see what it makes: a single one would lose its batch in upstream's D."""
    device = device_of(gan.generator)
    with frozen_eval(gan.generator):
        z = gan.latents(2, torch.Generator().manual_seed(0)).to(device)
        return generate(gan.generator, z, torch.zeros(2, dtype=torch.long, device=device))
