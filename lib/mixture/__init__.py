"""Interpolation between nets: in feature-distribution space (Algorithm 2 of Gu et al. 2020) and in
weight space."""

from lib.mixture.barriers import barrier
from lib.mixture.between_weights import weight_path
from lib.mixture.curve import loss_curve
from lib.mixture.hybrid import mix, mixtures
from lib.mixture.options import MixtureOptions
from lib.mixture.top import refit_top

__all__ = [
    "MixtureOptions",
    "barrier",
    "loss_curve",
    "mix",
    "mixtures",
    "refit_top",
    "weight_path",
]
