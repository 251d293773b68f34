"""The registration, by name, of everything that this plugin adds to StudioGAN. Start reading here.

A package of one's own does the same: it imports `rcas_plugin.registry`, registers a `Method` under a name, and offers a
module that does so as an entry point of the group `rcas_plugin.methods`; `RCAS.method: that_name` then loads and runs it.
"""

from __future__ import annotations

from rcas_plugin.importance.estimate import synapse_importance
from rcas_plugin.importance.objectives import adversarial_logit, class_logit, class_probability, feature_norm
from rcas_plugin.methods.bn_propagation.adapter import ADAPTER, Propagation
from rcas_plugin.methods.bn_propagation.method import BnPropagation
from rcas_plugin.methods.class_swap.method import ClassSwap
from rcas_plugin.methods.feature_replay.method import FeatureReplay
from rcas_plugin.methods.fine_tune.method import FineTune
from rcas_plugin.methods.gan_memory.adapter import STYLE, Style
from rcas_plugin.methods.gan_memory.low_rank import LOW_RANK, LowRankStyle
from rcas_plugin.methods.gan_memory.method import GanMemory
from rcas_plugin.methods.piggyback.adapter import FILTERS, Filters
from rcas_plugin.methods.piggyback.method import Piggyback
from rcas_plugin.methods.retain import RetainLoss
from rcas_plugin.registry import adapters, callbacks, losses, methods, objectives
from rcas_plugin.weights.own_labels import OWN_LABELS, OwnLabels

methods.register("bn_propagation")(BnPropagation)
methods.register("class_swap")(ClassSwap)
methods.register("feature_replay")(FeatureReplay)
methods.register("fine_tune")(FineTune)
methods.register("gan_memory")(GanMemory)
methods.register("piggyback")(Piggyback)
adapters.register(ADAPTER)(Propagation)
adapters.register(FILTERS)(Filters)
adapters.register(OWN_LABELS)(OwnLabels)
adapters.register(STYLE)(Style)
adapters.register(LOW_RANK)(LowRankStyle)
losses.register("class_swap")(RetainLoss)
callbacks.register("synapse_importance")(synapse_importance)
objectives.register("adv_output")(adversarial_logit)
objectives.register("class_logit")(class_logit)
objectives.register("class_probability")(class_probability)
objectives.register("feature_norm")(feature_norm)
