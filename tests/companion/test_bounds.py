"""What the ledger demands: how it is written, and what satisfies it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.bounds import Bound, Place, agrees


@pytest.mark.parametrize(
    ("written", "measured", "good"),
    [
        ("0.105 ± 0.005", 0.110, True),
        ("0.105 ± 0.005", 0.1101, False),
        ("0.105 +- 0.005", 0.110, True),
        ("0.105 within 5%", 0.110, True),
        ("0.105 within 5%", 0.111, False),
        ("2.4e-4 within x2", 1.3e-4, True),
        ("2.4e-4 within x2", 1.1e-4, False),
        ("2.4e-4 within x2", -2.4e-4, False),
        ([0, 1, 2], [0, 1, 2], True),
        ([0, 1, 2], [0, 1, 3], False),
        ([0, 1, 2], [0, 1], False),  # a point too few was found: that is a result
        ([["0.109 ± 0.001", 1], ["0.07 ± 0.001", 2]], [[0.1095, 1], [0.0698, 2]], True),
        ("<= 1e-10", [1e-12, 1e-10], True),
        ("<= 1e-10", [1e-12, 1.1e-10], False),
        ("> 0.6", 0.6, False),
        ("≥ 0.6", {"layer 1": 0.6, "layer 2": 0.7}, True),
    ],
)
def test_what_satisfies_a_bound(written, measured, good) -> None:
    assert agrees(written, measured) is good


@pytest.mark.parametrize(
    ("written", "low", "high", "place"),
    [
        (">= 0.1", 0.1, 0.3, Place.INSIDE),
        ("> 0.1", 0.1, 0.3, Place.STRADDLES),
        (">= 0.1", 0.05, 0.3, Place.STRADDLES),
        (">= 0.1", -0.2, 0.09, Place.OUTSIDE),
        ("> 0.1", -0.2, 0.1, Place.OUTSIDE),
        ("1 ± 0.5", 0.4, 1.6, Place.STRADDLES),
        ("1 ± 0.5", 1.6, 1.7, Place.OUTSIDE),
        ("1 ± 0.5", 0.5, 1.5, Place.INSIDE),
    ],
)
def test_where_an_interval_lies(written, low, high, place) -> None:
    assert Bound.parse(written).place(low, high) is place


@pytest.mark.parametrize("written", ["about 3", "<= much", "1 ± x", "", "within 5%"])
def test_a_bound_that_cannot_be_read_is_refused(written) -> None:
    with pytest.raises(ValueError, match="claim X1: cannot read the bound"):
        Bound.parse(written, "X1")


@pytest.mark.parametrize("measured", [math.nan, math.inf, "much", True, None])
def test_what_is_no_finite_number_is_refused(measured) -> None:
    with pytest.raises(ValueError, match="is not a finite number"):
        agrees("<= 1", measured)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.floats(-1e6, 1e6), st.floats(0, 1e3), st.floats(-2, 2))
def test_a_wider_bound_never_loses_agreement(value, slack, shift) -> None:
    measured = value + shift * slack
    if agrees(f"{value!r} ± {slack!r}", measured):
        assert agrees(f"{value!r} ± {2 * slack!r}", measured)
