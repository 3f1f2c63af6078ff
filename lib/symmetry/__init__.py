"""Symmetries of nets: permutations, rescalings, canonical forms, alignment and weight matching."""

from lib.symmetry.alignment import aligned_distance
from lib.symmetry.canonical_form import canonical, orbit_distance
from lib.symmetry.permutation import permute
from lib.symmetry.rescaling import rescale, rescaling_direction
from lib.symmetry.weight_matching import rebasin

__all__ = [
    "aligned_distance",
    "canonical",
    "orbit_distance",
    "permute",
    "rebasin",
    "rescale",
    "rescaling_direction",
]
