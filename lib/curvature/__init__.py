"""Curvature of the empirical risk: exact Hessians, their inertia, and matrix-free spectra of large
nets."""

from lib.curvature.exact import decompose, hessian
from lib.curvature.matrix_free import extreme_eigenvalues
from lib.curvature.signs import Inertia, NoSpectralGap, inertia

__all__ = [
    "Inertia",
    "NoSpectralGap",
    "decompose",
    "extreme_eigenvalues",
    "hessian",
    "inertia",
]
