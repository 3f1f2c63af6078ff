"""Neural network grafting (Gu et al. 2020): the exact joint, Algorithm 1, and how the mismatch travels downstream."""

from lib.graft.geometry import Geometry, geometry
from lib.graft.exact import Graft, assemble, graft, graft_layers, matching_loss
from lib.graft.gram import patch_cross, patch_gram, patch_sums
from lib.graft.normal import NormalEquations
from lib.graft.solve import Solution, solve

__all__ = [
    "Geometry",
    "Graft",
    "NormalEquations",
    "Solution",
    "assemble",
    "geometry",
    "graft",
    "graft_layers",
    "matching_loss",
    "patch_cross",
    "patch_gram",
    "patch_sums",
    "solve",
]
