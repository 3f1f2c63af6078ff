"""Neural network grafting (Gu et al. 2020): the exact joint, Algorithm 1, and how the mismatch travels downstream."""

from lib.graft.geometry import Geometry, geometry
from lib.graft.algorithm1 import Algorithm1, graft_fresh, graft_sgd
from lib.graft.downstream import Downstream, downstream_distances
from lib.graft.exact import Graft, assemble, graft, graft_layers, matching_loss
from lib.graft.gram import patch_cross, patch_gram, patch_sums
from lib.graft.increase import Increase, error_increase, graft_errors, increases, random_features
from lib.graft.normal import NormalEquations
from lib.graft.solve import Solution, solve

__all__ = [
    "Algorithm1",
    "Downstream",
    "Geometry",
    "Graft",
    "Increase",
    "NormalEquations",
    "Solution",
    "assemble",
    "downstream_distances",
    "error_increase",
    "geometry",
    "graft",
    "graft_errors",
    "graft_fresh",
    "graft_layers",
    "graft_sgd",
    "increases",
    "matching_loss",
    "patch_cross",
    "patch_gram",
    "patch_sums",
    "random_features",
    "solve",
]
