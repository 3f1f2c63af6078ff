"""Rows of an empirical measurement, one per trial, and the interval that they support."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from companion.numbers import plain

STATISTICS = ("mean", "median", "share", "range")
UNITS = ("seed", "pair", "resample")  # what is drawn anew from trial to trial
CONFIDENCE = 0.95
ENOUGH = 5  # units below which no verdict but "undecided" follows


@dataclass(frozen=True, init=False)
class Trials:
    """A table of trials with a column `value`, and what is said of it.

    The interval (95 %) is that of the mean over units (Student's; rows of one unit are averaged
    first), of their median (bootstrap), of a share of successes (Wilson's, values 0 or 1), or the
    range of all values (when every trial must meet the bound).

    Args:
        columns: column -> one entry per trial; "value" and one of "seed", "pair", "resample".
        statistic: one of STATISTICS.
    Raises:
        ValueError: no such columns, columns of different lengths, values that are not finite.

    >>> Trials({"seed": [0, 1, 2, 3, 4], "value": [1.0, 1.0, 1.0, 1.0, 1.0]}).interval()
    (1.0, 1.0)
    """

    columns: Mapping[str, list[object]]
    statistic: str

    def __init__(self, columns: Mapping[str, Sequence[object]], statistic: str = "mean") -> None:
        table = {name: [plain(entry) for entry in column] for name, column in columns.items()}
        object.__setattr__(self, "columns", table)
        object.__setattr__(self, "statistic", statistic)
        self._check()

    def _check(self) -> None:
        if self.statistic not in STATISTICS:
            raise ValueError(
                f"statistic {self.statistic!r}: expected one of {', '.join(STATISTICS)}"
            )
        if "value" not in self.columns or not set(UNITS) & set(self.columns):
            raise ValueError(
                f"trials have the columns {', '.join(self.columns)}: expected value, and one of"
                f" {', '.join(UNITS)}"
            )
        lengths = {len(column) for column in self.columns.values()}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"columns of lengths {sorted(lengths)}: expected one length >= 1")
        if not np.isfinite(self.values).all():
            raise ValueError("trials with values that are not finite: expected numbers")
        if self.statistic == "share" and not np.isin(self.values, (0, 1)).all():
            raise ValueError("a share is of values 0 and 1: expected no others")

    @property
    def values(self) -> NDArray[np.float64]:
        """The column `value`."""
        return np.asarray(self.columns["value"], float)

    @property
    def by_unit(self) -> NDArray[np.float64]:
        """One mean per seed, pair or resample."""
        unit = next(name for name in UNITS if name in self.columns)
        labels = np.array([str(label) for label in self.columns[unit]])
        return np.array([self.values[labels == label].mean() for label in dict.fromkeys(labels)])

    @property
    def estimate(self) -> float | list[float]:
        """The statistic itself; both ends for a range."""
        if self.statistic == "range":
            return [float(self.values.min()), float(self.values.max())]
        if self.statistic == "median":
            return float(np.median(self.by_unit))
        return float(self.values.mean() if self.statistic == "share" else self.by_unit.mean())

    def interval(self) -> tuple[float, float]:
        """The ends of the interval; equal for one unit or units without spread."""
        if self.statistic == "range":
            return float(self.values.min()), float(self.values.max())
        if self.statistic == "share":
            test = stats.binomtest(int(self.values.sum()), len(self.values))
            low, high = test.proportion_ci(CONFIDENCE, method="wilson")
            return float(low), float(high)
        units = self.by_unit
        if len(units) == 1 or np.ptp(units) <= 1e-12 * np.abs(units).max():
            return float(units.min()), float(units.max())
        if self.statistic == "mean":
            # of five seeds a bootstrap covers too seldom
            half = stats.t.ppf((1 + CONFIDENCE) / 2, len(units) - 1) * stats.sem(units)
            return float(units.mean() - half), float(units.mean() + half)
        found = stats.bootstrap(
            (units,),
            np.median,
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
        return float(found.low), float(found.high)
