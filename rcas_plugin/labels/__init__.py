"""Label slots, remaining labels, and the images behind them.

A conditional GAN knows labels 0 to K-1; a data set knows classes by folder. `name_labels` says which class each label was
trained on, `resolve_labels` which class's images stand behind which label during a swap, and `SwapDataset` shows a data set
that way, opening no image to do it.
"""

from rcas_plugin.data.folders import DataClasses
from rcas_plugin.labels.dataset import SwapDataset, repeat_factors
from rcas_plugin.labels.names import How, label_of, name_labels, reference_of
from rcas_plugin.labels.plan import LabelPlan, resolve_labels

__all__ = [
    "DataClasses",
    "How",
    "LabelPlan",
    "SwapDataset",
    "label_of",
    "name_labels",
    "reference_of",
    "repeat_factors",
    "resolve_labels",
]
