"""Curvature of the empirical risk: exact Hessians, their inertia, and matrix-free spectra of large
nets."""

from lib.curvature.exact import Decomposition, decompose, hessian, working_bytes
from lib.curvature.matrix_free import ExtremeEigenvalues, extreme_eigenvalues, hvp
from lib.curvature.signs import Inertia, NoSpectralGap, inertia

__all__ = [
    "Decomposition",
    "ExtremeEigenvalues",
    "Inertia",
    "NoSpectralGap",
    "decompose",
    "extreme_eigenvalues",
    "hessian",
    "hvp",
    "inertia",
    "working_bytes",
]
