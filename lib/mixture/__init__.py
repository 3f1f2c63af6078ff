"""Interpolation between nets: in feature-distribution space (Algorithm 2 of Gu et al. 2020) and in
weight space."""

from lib.mixture.adam import Matching
from lib.mixture.assembly import Mixture
from lib.mixture.barriers import Bands, Barrier, barrier, bootstrap
from lib.mixture.channels import candidates, chosen, counts
from lib.mixture.curve import Path
from lib.mixture.hybrid import mix, mixtures
from lib.mixture.path import measure, weight_path
from lib.mixture.top import refit_top

__all__ = [
    "Bands",
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
    "refit_top",
    "weight_path",
]
