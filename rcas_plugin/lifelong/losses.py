"""The classifier's loss with feature replay (Genifer): new images by their labels, generated ones by the previous classifier."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def distillation(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """The cross-entropy from the teacher's classes to the student's, the mean over images.

    The student's softmax is over all of its classes, the teacher's over the old ones, which come first. There is no factor of the
    squared temperature, as the published code has none.

    Args:
        student: logits (n, classes so far).
        teacher: logits (n, old classes).
        temperature: that both logits are divided by.
    """
    old = teacher.shape[1]
    wanted = (teacher / temperature).softmax(1)
    return -(wanted * (student / temperature).log_softmax(1)[:, :old]).sum(1).mean()


def feature_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """The Euclidean distance, not squared, between hidden features (n, …) of both, flattened; the mean over images."""
    distances: Tensor = (student - teacher).flatten(1).norm(dim=1)
    return distances.mean()


def new_classes(logits: Tensor, labels: Tensor) -> Tensor:
    """The cross-entropy of new images' logits (n, classes so far) with their labels (n,), over all classes."""
    loss: Tensor = F.cross_entropy(logits, labels)
    return loss
