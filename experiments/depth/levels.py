"""Whether nets of different depths stall at the same losses, beyond what chance grants (claim
B7)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

NEAR = 0.02  # a level is met within this difference of logarithms, two per cent


def share_near(levels: np.ndarray, values: np.ndarray) -> float:
    """Share of the values within 2 % of one of the levels.

    >>> share_near(np.array([1.0]), np.array([1.01, 2.0]))
    0.5
    """
    gaps = np.abs(np.log(values)[:, None] - np.log(levels)).min(1)
    return float((gaps < NEAR).mean())


def met(levels: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """`share_near`, and the share of the values' range of logarithms that is near a level.

    >>> met(np.array([1.0]), np.array([1.0, 1.05]))[0]
    0.5
    """
    grid = np.geomspace(min(values), max(values), 20001)
    return share_near(levels, values), share_near(levels, grid)


def met_below(found: Mapping[int, np.ndarray], only_first: bool = False) -> np.ndarray:
    """`met` of every depth against all smaller depths, or the smallest alone, weighted by the
    number of slow periods: (2,).

    >>> float(met_below({1: np.array([1.0, 0.1]), 2: np.array([1.0, 0.1])})[0])
    1.0
    """
    depths = list(found)
    shares, weights = [], []
    for k in range(1, len(depths)):
        values = found[depths[k]]
        if len(values) > 1:
            levels = np.concatenate([found[d] for d in depths[: 1 if only_first else k]])
            shares.append(met(levels, values))
            weights.append(len(values))
    return np.average(shares, axis=0, weights=weights)
