"""Whether nets of different depths stall at the same losses, beyond what chance grants (claim
B7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

NEAR = 0.02  # a level is met within this difference of logarithms, two per cent
LOWER = 0.95  # slow periods above this part of the constant's loss are those of the constant
MOVED = (0.04, 0.2)  # by how much the levels of a null are moved, in logarithms


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
    number of slow periods: (2,), nan where no deeper net stalls twice.

    >>> float(met_below({1: np.array([1.0, 0.1]), 2: np.array([1.0, 0.1])})[0])
    1.0
    """
    depths = list(found)
    shares, weights = [], []
    for k in range(1, len(depths)):
        values = found[depths[k]]
        levels = np.concatenate([found[d] for d in depths[: 1 if only_first else k]])
        if len(values) > 1 and len(levels):
            shares.append(met(levels, values))
            weights.append(len(values))
    return np.average(shares, axis=0, weights=weights) if shares else np.full(2, np.nan)


def by_net(
    stalls: Mapping[int, Sequence[Sequence[float]]], levels: Mapping[int, np.ndarray]
) -> dict[str, list[float | str]]:
    """One row for every net deeper than the first that stalls: the share of its slow periods that
    are near a level of shallower nets.

    Args:
        stalls: hidden layers -> losses of the slow periods of every net.
        levels: hidden layers -> levels, of these nets or, for a null, of others.

    >>> by_net({1: [[1.0]], 2: [[1.0, 2.0]]}, {1: np.array([1.0])})
    {'seed': ['2.0'], 'hidden': [2], 'periods': [2], 'value': [0.5]}
    """
    table: dict[str, list] = {"seed": [], "hidden": [], "periods": [], "value": []}
    for k, hidden in list(enumerate(stalls))[1:]:
        known = np.concatenate([levels[h] for h in list(stalls)[:k] if h in levels])
        for number, losses in enumerate(stalls[hidden]):
            if len(losses):
                share = share_near(known, np.asarray(losses)) if len(known) else 0.0
                row = (f"{hidden}.{number}", hidden, len(losses), share)
                for name, entry in zip(table, row, strict=True):
                    table[name].append(entry)
    return table


def below_constant(
    stalls: Mapping[int, Sequence[Sequence[float]]], constant: float
) -> dict[int, list[list[float]]]:
    """The slow periods without those of the constant output, a level that every depth has for free.

    >>> below_constant({1: [[1.0, 0.5]]}, 1.0)
    {1: [[0.5]]}
    """
    return {
        h: [[v for v in losses if v < LOWER * constant] for losses in nets]
        for h, nets in stalls.items()
    }


def of_depths(stalls: Mapping[int, Sequence[Sequence[float]]]) -> dict[int, np.ndarray]:
    """All levels of each depth."""
    return {h: np.array([v for losses in nets for v in losses]) for h, nets in stalls.items()}


def moved(
    stalls: Mapping[int, Sequence[Sequence[float]]], seed: int
) -> dict[int, list[list[float]]]:
    """Every slow period moved up or down by 4 to 20 per cent: as many, as dense, elsewhere."""
    source, found = np.random.default_rng(seed), {}
    for hidden, nets in stalls.items():
        shifts = [source.uniform(*MOVED, len(v)) * source.choice([-1, 1], len(v)) for v in nets]
        found[hidden] = [
            (np.asarray(v) * np.exp(s)).tolist() for v, s in zip(nets, shifts, strict=True)
        ]
    return found


def spread_out(
    stalls: Mapping[int, Sequence[Sequence[float]]], seed: int
) -> dict[int, list[list[float]]]:
    """As many slow periods at losses drawn evenly over the logarithmic range of each depth's."""
    source, found = np.random.default_rng(seed), {}
    for hidden, nets in stalls.items():
        every = np.log([v for losses in nets for v in losses] or [1.0])
        drawn = [source.uniform(every.min(), every.max(), len(losses)) for losses in nets]
        found[hidden] = [np.exp(d).tolist() for d in drawn]
    return found
