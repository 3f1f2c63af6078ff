"""Pruning by merging (Zhang et al. 2021, Sec. 3.2; Bai et al. 2024): the embeddings in width and
depth read backwards."""

from lib.merge.batchnorm import fold_batchnorm
from lib.merge.channels import merge_channels
from lib.merge.grouping import group_directions
from lib.merge.layers import merge_layers
from lib.merge.neurons import merge_neurons
from lib.merge.reduction import reduce

__all__ = [
    "fold_batchnorm",
    "group_directions",
    "merge_channels",
    "merge_layers",
    "merge_neurons",
    "reduce",
]
