"""Pruning by merging (Zhang et al. 2021, Sec. 3.2; Bai et al. 2024): the embeddings in width and depth read backwards."""

from lib.prune.batchnorm import fold_batchnorm
from lib.prune.channels import ChannelMerge, merge_channels
from lib.prune.grouping import group_directions, group_duplicates
from lib.prune.layers import LayerMerge, MergedLayer, merge_layers
from lib.prune.neurons import LayerReport, NeuronMerge, merge_neurons
from lib.prune.reduce import Reduction, Step, reduce

__all__ = [
    "ChannelMerge",
    "LayerMerge",
    "LayerReport",
    "MergedLayer",
    "NeuronMerge",
    "Reduction",
    "Step",
    "fold_batchnorm",
    "group_directions",
    "group_duplicates",
    "merge_channels",
    "merge_layers",
    "merge_neurons",
    "reduce",
]
