"""Pruning by merging (Zhang et al. 2021, Sec. 3.2; Bai et al. 2024): the embeddings in width and
depth read backwards."""

from lib.merge.batchnorm import fold_batchnorm
from lib.merge.channels import ChannelMerge, merge_channels
from lib.merge.grouping import group_directions, group_duplicates
from lib.merge.layers import LayerMerge, MergedLayer, merge_layers
from lib.merge.neurons import LayerReport, NeuronMerge, merge_neurons
from lib.merge.reduction import Reduction, Step, reduce

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
