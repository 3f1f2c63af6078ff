"""What the sweeps of chapter 04 say about each claim: rows of trials, one per pair of nets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Rows = dict[str, list[float]]


def pairs_of(count: int) -> list[tuple[int, int]]:
    """Every net before the next one: as many ordered pairs as nets, each net first once.

    >>> pairs_of(3)
    [(0, 1), (1, 2), (2, 0)]
    """
    return [(k, (k + 1) % count) for k in range(count)]


def rows(values: Sequence[float], unit: str = "pair") -> Rows:
    """One row for each value.

    >>> rows([1.0, 2.0])
    {'pair': [0, 1], 'value': [1.0, 2.0]}
    """
    return {unit: list(range(len(values))), "value": [float(v) for v in values]}


def upper_half(points: Numbers) -> Numbers:
    """Mean over the upper half of the layers: the last axis."""
    return points[..., points.shape[-1] // 2 :].mean(-1)


def fall(curves: Numbers) -> Numbers:
    """Increase at the end over the largest on the way, (pairs,), of (epochs, pairs, layers)."""
    level = curves.mean(-1)
    return level[-1] / np.maximum(level.max(0), 1e-12)


def kept_share(accuracy: Numbers, own: Numbers, chance: float) -> Numbers:
    """Of what net 2 knows beyond guessing, the share that a graft keeps; all in percent.

    >>> kept_share(np.array([55.0]), np.array([100.0]), 10.0)
    array([0.5])
    """
    return (accuracy - chance) / (own - chance)
