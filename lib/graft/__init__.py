"""Neural network grafting (Gu et al. 2020): the exact joint, Algorithm 1, and how the mismatch
travels downstream."""

from lib.graft.downstream import downstream_distances
from lib.graft.exact import Graft, graft, graft_layers, matching_loss
from lib.graft.training import JointTraining, graft_fresh, graft_trained

__all__ = [
    "Graft",
    "JointTraining",
    "downstream_distances",
    "graft",
    "graft_fresh",
    "graft_layers",
    "graft_trained",
    "matching_loss",
]
