"""How far curves are from convex, free of their scale, and rows of trials for the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from experiments.interpolation.trials import PairTrial
from lib.mixture import barrier
from lib.mixture.curve import LossCurve

Rows = dict[str, list[float]]


def height(curve: LossCurve) -> float:
    """The largest excess of the overall loss over its chord."""
    return barrier(curve.gammas, curve.overall).height


def relative_height(curve: LossCurve) -> float:
    """`height` as a share of the range of the curve."""
    return height(curve) / _range(curve)


def bend(curve: LossCurve) -> float:
    """The smallest second difference of the overall loss as a share of the range of the curve: 0 or
    more where it is convex, whatever its scale; taken on eleven points where there are more."""
    curve = curve.every(max(1, (len(curve.gammas) - 1) // 10))
    return barrier(curve.gammas, curve.overall).second / _range(curve)


def rows(values: Callable[[PairTrial], float], trials: Sequence[PairTrial]) -> Rows:
    """One row per seed: seed, width and value.

    >>> rows(lambda t: 1.0, [])
    {'seed': [], 'width': [], 'value': []}
    """
    return {
        "seed": [t.seed for t in trials],
        "width": [t.width for t in trials],
        "value": [float(values(t)) for t in trials],
    }


def differences(first: Sequence[float], second: Sequence[float]) -> Rows:
    """One row per seed: first less second."""
    found = np.subtract(first, second).tolist()
    return {"seed": list(range(len(found))), "value": found}


def next_differences(values: Sequence[float]) -> Rows:
    """One row per seed: the value of the next seed less its own, cyclically. What separates two
    settings must separate more than two seeds of one setting.

    >>> next_differences([1.0, 3.0, 2.0])["value"]
    [2.0, -1.0, -1.0]
    """
    return differences(np.roll(values, -1), values)


def _range(curve: LossCurve) -> float:
    return float(curve.overall.max() - curve.overall.min())
