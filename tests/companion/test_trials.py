"""The interval that rows of trials support."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from companion.trials import Trials


def test_the_interval_of_a_mean_covers_as_often_as_it_says() -> None:
    rng, inside = np.random.default_rng(0), 0
    for _ in range(200):
        drawn = Trials({"seed": range(5), "value": rng.normal(3.0, 1.0, 5)})
        low, high = drawn.interval()
        inside += low <= 3.0 <= high
    # four standard errors of 200 trials at 95 % are 6 %
    assert 0.89 <= inside / 200 <= 1.0


def test_rows_of_one_seed_count_as_one_unit() -> None:
    rng = np.random.default_rng(1)
    level = rng.normal(size=6)
    few = Trials({"seed": range(6), "value": level})
    many = Trials({"seed": np.repeat(range(6), 50), "value": np.repeat(level, 50)})
    assert many.interval() == pytest.approx(few.interval(), rel=1e-12)
    assert len(many.by_unit) == 6 and len(many.values) == 300


def test_a_share_has_wilsons_interval() -> None:
    found = Trials({"resample": range(10), "value": [1] * 9 + [0]}, "share").interval()
    z = stats.norm.ppf(0.975)
    p, n = 0.9, 10
    middle, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    expected = [(middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)]
    assert found == pytest.approx(expected, rel=1e-12)


def test_a_range_is_that_of_all_rows() -> None:
    found = Trials({"pair": [0, 0, 1], "value": [3.0, -1.0, 2.0]}, "range")
    assert found.interval() == (-1.0, 3.0)


@pytest.mark.parametrize(
    ("columns", "statistic", "says"),
    [
        ({"seed": [0]}, "mean", "expected value, and one of"),
        ({"value": [0.0]}, "mean", "expected value, and one of"),
        ({"seed": [0, 1], "value": [1.0]}, "mean", "columns of lengths"),
        ({"seed": [], "value": []}, "mean", "columns of lengths"),
        ({"seed": [0], "value": [math.nan]}, "mean", "not finite"),
        ({"seed": [0], "value": [0.5]}, "share", "values 0 and 1"),
        ({"seed": [0], "value": [0.5]}, "mode", "statistic 'mode'"),
    ],
)
def test_tables_that_say_nothing_are_refused(columns, statistic, says) -> None:
    with pytest.raises(ValueError, match=says):
        Trials(columns, statistic)
