"""Neural network grafting (Gu et al. 2020): the exact joint, Algorithm 1, and how the mismatch
travels downstream."""

from lib.graft.algorithm1 import Algorithm1, graft_fresh, graft_sgd
from lib.graft.downstream import Downstream, downstream_distances
from lib.graft.exact import Graft, assemble, graft, graft_layers, matching_loss
from lib.graft.increase import Increase, error_increase, graft_errors, increases, random_features

__all__ = [
    "Algorithm1",
    "Downstream",
    "Graft",
    "Increase",
    "assemble",
    "downstream_distances",
    "error_increase",
    "graft",
    "graft_errors",
    "graft_fresh",
    "graft_layers",
    "graft_sgd",
    "increases",
    "matching_loss",
    "random_features",
]
