"""What the ledger demands of a measurement: a set of numbers, written as people write it.

`<= x`, `< x`, `>= x`, `> x`, `x ± y`, `x within 5%`, `x within x2` (a factor), or a number alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from companion.numbers import pretty

# one part in 10^12 of room: 0.105 + 0.005 is not 0.11 in binary
ROOM = 1e-12


class Place(Enum):
    """Where an interval lies with respect to a bound."""

    INSIDE = "inside"
    OUTSIDE = "outside"
    STRADDLES = "straddles"


@dataclass(frozen=True)
class Bound:
    """The numbers from `low` to `high`, ends included as `closed` says.

    >>> Bound.parse("0.105 ± 0.005").contains(0.11), Bound.parse("< 2").contains(2)
    (True, False)
    """

    low: float
    high: float
    closed: bool
    text: str

    @classmethod
    def parse(cls, written: object, name: str = "?") -> Bound:
        """A bound from a number or a text.

        Raises:
            ValueError: of none of the forms above; the message names the claim.
        """
        text = str(written).strip()
        if found := re.fullmatch(r"(<=|>=|<|>|≤|≥)\s*(\S+)", text):
            sign, value = (
                found[1].replace("≤", "<=").replace("≥", ">="),
                _number(found[2], text, name),
            )
            shown = f"{sign.replace('<=', '≤').replace('>=', '≥')} {pretty(value)}"
            low, high = (-math.inf, value) if "<" in sign else (value, math.inf)
            return cls(low, high, "=" in sign, shown)
        if found := re.fullmatch(r"(\S+)\s*(?:±|\+-|\+/-)\s*(\S+)", text):
            value, slack = (_number(part, text, name) for part in found.groups())
            return cls(value - slack, value + slack, True, f"{pretty(value)} ± {pretty(slack)}")
        if found := re.fullmatch(r"(\S+)\s+within\s+(\S+)%", text):
            value, share = (_number(part, text, name) for part in found.groups())
            slack = abs(value) * share / 100
            return cls(value - slack, value + slack, True, f"{pretty(value)} ± {share:g} %")
        if found := re.fullmatch(r"(\S+)\s+within\s+x(\S+)", text):
            value, factor = (_number(part, text, name) for part in found.groups())
            low, high = sorted((value / factor, value * factor))
            return cls(low, high, True, f"{pretty(value)} within a factor {factor:g}")
        value = _number(text, text, name)
        return cls(value, value, True, pretty(int(value) if value.is_integer() else value))

    def contains(self, value: float) -> bool:
        """Whether a number lies in it, with room for rounding at an end that belongs to it."""
        if not self.closed:
            return self.low < value < self.high
        return self.low - self._room(self.low) <= value <= self.high + self._room(self.high)

    def place(self, low: float, high: float) -> Place:
        """Where the interval from `low` to `high` lies."""
        if self.contains(low) and self.contains(high):
            return Place.INSIDE
        below = high < self.low or (high == self.low and not self.closed)
        above = low > self.high or (low == self.high and not self.closed)
        return Place.OUTSIDE if below or above else Place.STRADDLES

    def _room(self, end: float) -> float:
        return ROOM * abs(end) if math.isfinite(end) else 0.0


def bounds(written: object, name: str = "?") -> list[Bound]:
    """The bounds of an entry of the ledger, several for a list, flattened."""
    if isinstance(written, list):
        return [bound for item in written for bound in bounds(item, name)]
    return [Bound.parse(written, name)]


def agrees(written: object, measured: object, name: str = "?") -> bool:
    """Whether a measurement satisfies a bound: item by item, and as many, when both are lists.

    Raises:
        ValueError: something measured is not a finite number.

    >>> agrees("<= 1e-10", {"a": 1e-12, "b": 1e-11}), agrees([0, 1, 2], [0, 1])
    (True, False)
    """
    demanded, got = bounds(written, name), numbers(measured, name)
    if not isinstance(written, list):
        return all(demanded[0].contains(value) for value in got)
    return len(got) == len(demanded) and all(
        bound.contains(value) for bound, value in zip(demanded, got, strict=True)
    )


def numbers(value: object, name: str = "?") -> list[float]:
    """All numbers of a number, list or dict, flattened.

    Raises:
        ValueError: one of them is not a finite number.
    """
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [number for item in value for number in numbers(item, name)]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"claim {name}: {value!r} is not a finite number")
    return [float(value)]


def _number(text: str, whole: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(
            f"claim {name}: cannot read the bound {whole!r}: expected a number, '<= x', '>= x',"
            " '< x', '> x', 'x ± y', 'x within 5%' or 'x within x2'"
        ) from None
