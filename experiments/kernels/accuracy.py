"""Errors of the kernel's own activations against extended precision."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lib._simd.lanes import aligned, load, splat, store
from lib._simd.pointwise import KINDS, literal, two_values, unit

EXACT: dict[str, Callable[[NDArray], NDArray]] = {
    "tanh": lambda t: np.tanh(t),
    "sigmoid": lambda t: 1 / (1 + np.exp(-t)),
    "elu": lambda t: np.where(t > 0, t, np.expm1(t)),
}


def arguments() -> NDArray[np.float64]:
    """4,000 arguments of either sign, from 1e-6 to 20 in size."""
    return np.concatenate([-np.geomspace(20, 1e-6, 2000), np.geomspace(1e-6, 20, 2000)])


def applied(kind: int) -> Callable[[NDArray, NDArray], None]:
    """The kernel's function of a whole array, a multiple of sixteen long."""
    KIND, UNIT = kind, unit(kind)

    @njit
    def over(z, out):
        for i in range(0, z.size // 8, 2):
            first, second = load(z, i) * splat(UNIT), load(z, i + 1) * splat(UNIT)
            f, g = two_values(KIND, 1.0, first, second, False, literal(KIND))
            store(out, i, f)
            store(out, i + 1, g)

    return over


def last_place_errors(z: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Error of each activation in units in the last place, against 80-bit arithmetic."""
    room, out = aligned(len(z) // 8).reshape(-1), aligned(len(z) // 8).reshape(-1)
    room[:] = z
    errors = {}
    for name, function in EXACT.items():
        applied(KINDS[name])(room, out)
        true = function(z.astype(np.longdouble))
        size = np.spacing(np.abs(true.astype(float)))
        errors[name] = np.abs((out - true) / size).astype(float)
    return errors
