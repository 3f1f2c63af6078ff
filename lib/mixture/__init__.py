"""Interpolation between nets: in feature-distribution space (Algorithm 2 of Gu et al. 2020) and in weight space."""

from lib.mixture.adam import Matching
from lib.mixture.assembly import Mixture
from lib.mixture.barrier import Barrier, barrier, bootstrap
from lib.mixture.channels import candidates, chosen, counts
from lib.mixture.hybrid import mix, mixtures
from lib.mixture.path import Path, measure, weight_path
from lib.mixture.rebasin import permute, rebasin
from lib.mixture.top import refit_top

__all__ = [
    "Barrier",
    "Matching",
    "Mixture",
    "Path",
    "barrier",
    "bootstrap",
    "candidates",
    "chosen",
    "counts",
    "measure",
    "mix",
    "mixtures",
    "permute",
    "rebasin",
    "refit_top",
    "weight_path",
]
