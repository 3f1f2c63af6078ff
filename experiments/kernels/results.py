"""Committed results of the benchmarks, by benchmark, problem and rival."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BOUNDS = ("limit", "alone", "one thread")  # a rival that is a bound, not a competitor


@dataclass(frozen=True)
class Rounds:
    """A score of every round, and what it would be if ours raced against itself: its own times,
    each against those of the next round."""

    value: list[float]
    null: list[float]


def by_round(
    rows: Sequence[Mapping[str, Any]],
    score: Callable[[Mapping[str, Any], NDArray[np.float64]], NDArray[np.float64]],
    worst: Callable[..., NDArray[np.float64]] = np.min,
) -> Rounds | None:
    """The worst score of all rows in every round, from the ratios rival over ours.

    Args:
        rows: of a benchmark;  score: (row, ratios of the rounds) -> scores;  worst: min or max.
    Returns:
        None where a row has no rounds: results committed before rows kept them.

    >>> row = {"rounds": [[1.0, 2.0], [8.0, 18.0]], "target": 4.0}
    >>> by_round([row], lambda r, ratio: ratio / r["target"])
    Rounds(value=[2.0, 2.25], null=[0.5, 0.125])
    """
    if not rows or not all(len(r.get("rounds", ((), ()))[0]) for r in rows):
        return None
    scores, nulls = [], []
    for row in rows:
        ours, rival = np.array(row["rounds"])
        scores.append(score(row, rival / ours))
        nulls.append(score(row, np.roll(ours, -1) / ours))
    value, null = worst(np.stack(scores), axis=0), worst(np.stack(nulls), axis=0)
    return Rounds(value.tolist(), null.tolist())


@dataclass(frozen=True)
class Results:
    """What `python -m benchmarks` measured.

    Args:
        by_name: benchmark -> rows, facts and environment.
    """

    by_name: Mapping[str, Mapping[str, Any]]

    def __contains__(self, benchmark: str) -> bool:
        return benchmark in self.by_name

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All rows, each with the name of its benchmark."""
        named = self.by_name.items()
        return [r | {"benchmark": name} for name, result in named for r in result["rows"]]

    @property
    def competitors(self) -> list[dict[str, Any]]:
        """The rows whose rival is no bound."""
        return [r for r in self.rows if not any(word in r["rival_name"] for word in BOUNDS)]

    def of(self, benchmark: str) -> list[dict[str, Any]]:
        """The rows of one benchmark."""
        return [r for r in self.rows if r["benchmark"] == benchmark]

    def row(self, benchmark: str, name: str, rival: str) -> dict[str, Any]:
        """The row of a benchmark whose problem and rival begin like this."""
        begins = ((r, r["name"].startswith(name), r["rival_name"]) for r in self.of(benchmark))
        return next(r for r, fits, other in begins if fits and other.startswith(rival))

    def facts(self, benchmark: str, part: str) -> dict[str, Any]:
        """The facts of a benchmark whose names contain this."""
        known = self.by_name[benchmark]["facts"] if benchmark in self.by_name else {}
        return {name: value for name, value in known.items() if part in name}

    def fact(self, benchmark: str, part: str) -> Any:
        """The first of them, None where it has not been measured."""
        return next(iter(self.facts(benchmark, part).values()), None)

    def environment(self, benchmark: str) -> Mapping[str, Any]:
        """The machine that a benchmark ran on."""
        return self.by_name[benchmark]["environment"] if benchmark in self.by_name else {}

    def slopes(self, name: str, first: int) -> list[float]:
        """Slope of log seconds a step over the log of one size, between its `first` value and its
        last, in every round; none where the rounds were not kept."""
        curve = self.fact("scaling", f"seconds a step by {name}") or {}
        times, sizes = np.array(curve.get("rounds", ())), curve.get(name, ())
        if not times.size:
            return []
        rise = np.log(times[-1] / times[first]) / np.log(sizes[-1] / sizes[first])
        return rise.tolist()

    @property
    def processors(self) -> list[str]:
        """The names of all processors, with their speeds."""
        names = {r["environment"]["cpu"] for r in self.by_name.values()}
        parted = (
            n.split(" MHz")[0].rpartition(", ")[0] + f" ({n.rpartition(', ')[2]})" for n in names
        )
        return sorted(set(parted))
