"""The 72 printed eigenvalues of Fig. 3(b), read as spectra of equal splits of one neuron.

Split into k equal copies, a neuron adds k - 1 times the spectrum of M_k = [[B/k, C], [C^T, 0]], so
that at width 4 (k = 3) eight values stand twice, and at width 3 (k = 2) the eight of M_2 stand
once."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
ZERO = -11.0  # log10 of the paper's threshold
READ = 0.0006  # a value read off the figure is off by at most this in log10


@dataclass(frozen=True)
class PrintedSpectrum:
    """One column of the figure: log10 of the sizes, and the signs."""

    sizes: Numbers
    signs: Numbers

    @property
    def values(self) -> Numbers:
        """The eigenvalues themselves."""
        return self.signs * 10**self.sizes

    @property
    def zero(self) -> NDArray[np.bool_]:
        """Which lie below the paper's threshold."""
        return self.sizes < ZERO

    def counts(self) -> tuple[int, int, int]:
        """Negative, zero and positive ones."""
        away = ~self.zero
        return (
            int((away & (self.signs < 0)).sum()),
            int(self.zero.sum()),
            int((away & (self.signs > 0)).sum()),
        )

    def doublets(self) -> PrintedSpectrum:
        """The values that stand exactly twice, each once."""
        pairs = list(zip(self.sizes.tolist(), self.signs.tolist(), strict=True))
        twice = sorted({p for p in pairs if pairs.count(p) == 2}, reverse=True)
        return PrintedSpectrum(np.array([p[0] for p in twice]), np.array([p[1] for p in twice]))


def by_width(printed: Mapping[str, Numbers]) -> dict[int, PrintedSpectrum]:
    """The columns of the figure, width -> spectrum, from columns width, log10_size and sign."""
    widths = printed["width"]
    return {
        int(m): PrintedSpectrum(printed["log10_size"][widths == m], printed["sign"][widths == m])
        for m in np.unique(widths)
    }


@dataclass(frozen=True)
class SplitOfTwo:
    """What the doublets of M_3 say about M_2 among the printed values at width 3.

    Args:
        largest: log10 of M_2's largest eigenvalue.
        trace_gap: its size over 3/2 times the trace of M_3, less one.
        choices: ways to pick two negative and five positive values;  fitting: those with the trace
            and the product that M_3 demands, within what can be read.
    """

    largest: float
    trace_gap: float
    choices: int
    fitting: int


def split_of_two(three: PrintedSpectrum, doublets: PrintedSpectrum) -> SplitOfTwo:
    """Find M_2 among the values at width 3: tr M_2 = 3/2 tr M_3, and the product of the seven
    nonzero eigenvalues is (3/2)^3 times that of M_3, since rank C = 2 takes two of the five powers.

    Args:
        three: the column of width 3;  doublets: `doublets()` of width 4.
    """
    away = ~doublets.zero
    trace = 1.5 * doublets.values[away].sum()
    product = doublets.sizes[away].sum() + 3 * np.log10(1.5)
    keep = ~three.zero
    sizes, signs = three.sizes[keep], three.signs[keep]
    negative, positive = sizes[signs < 0], sizes[signs > 0]
    near = positive[np.abs(10**positive / trace - 1).argmin()]
    rest = positive[positive != near]
    fives = np.array(list(itertools.combinations(rest.tolist(), 4)))
    twos = np.array(list(itertools.combinations(negative.tolist(), 2)))
    logs = near + fives.sum(1)[:, None] + twos.sum(1)[None]
    sums = 10**near + (10**fives).sum(1)[:, None] - (10**twos).sum(1)[None]
    room = np.log(10) * READ * (10**near + trace)
    fit = (np.abs(logs - product) < 14 * READ) & (np.abs(sums - trace) < room)
    return SplitOfTwo(float(near), float(10**near / trace - 1), logs.size, int(fit.sum()))
