"""Lists of results as columns, for the numbers behind figures and for the rows of claims."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def columns(trials: Sequence[object], *names: str) -> dict[str, np.ndarray]:
    """One array for each named attribute, in the order of the trials.

    >>> from fractions import Fraction
    >>> columns([Fraction(1, 2), Fraction(3, 4)], "numerator")
    {'numerator': array([1, 3])}
    """
    return {name: np.array([getattr(trial, name) for trial in trials]) for name in names}
