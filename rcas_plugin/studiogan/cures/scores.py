"""The cure of upstream's classification accuracy score, which gives no number that means anything."""

from __future__ import annotations

import functools
from typing import Any

from rcas_plugin.studiogan.accuracy_score import compute_score
from rcas_plugin.studiogan.cures import cure
from rcas_plugin.studiogan.seams import replace


@cure(
    "worker.py",
    "--GAN_train and --GAN_test zero the gradients once an epoch, validate on the training loader, name a file by an unbound "
    "name, know the settings and rates of four data sets alone, ask for the best 5 of fewer labels, and are on 'cuda'",
)
def accuracy_score_of_a_classifier() -> None:
    """Compute the scores by `rcas_plugin.studiogan.accuracy_score`, for any data set and on any device."""

    def make(original: Any) -> Any:
        @functools.wraps(original)
        def compute(self: Any, GAN_train: bool = False, GAN_test: bool = False) -> None:
            for option, wanted in (("GAN_train", GAN_train), ("GAN_test", GAN_test)):
                if wanted:
                    compute_score(self, option)

        return compute

    replace("worker.WORKER.compute_GAN_train_or_test_classifier_accuracy_score", "score", make)
