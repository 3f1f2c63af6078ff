"""What a sweep runs through, as people write it, and the points that follow.

On one line (`P="width=100,500 seed=0..99"`), or in a YAML file below `parameters:`

    width=100,500                   these values
    seed=0..99   rate=0..1..0.25    a range, both ends included, in steps of 1 or of what is given
    rate=linspace(0,1,5)            evenly spaced;  logspace(1e-3,1,4): by equal factors
    rate=uniform(0,1,20)            random draws;  loguniform(1e-3,1,20), integers(0,99,20)
    (width,trials)=(100,50),(500,9) a zip: these pairs and no others
    hidden=[1, 2]                   one value, a list; several lists are given in YAML

Axes multiply, except that all random draws are drawn together: they are as many, and each point has
one of each. The draws of a parameter depend on the seed and on its name alone, and more draws begin
with the same ones.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

import numpy as np

from companion.assignments import Text

MOST = 10_000_000  # points of one sweep
DRAWS = ("uniform", "loguniform", "integers")
SPACED = ("linspace", "logspace")

_CALL = re.compile(r"(\w+)\(([^()]*)\)")
_ZIP = re.compile(r"\(([^()]*)\)")


@dataclass(frozen=True)
class Axis:
    """Parameters that change together.

    Args:
        names: their names;  entries: one tuple of texts for each step;  drawn: at random.
    """

    names: tuple[str, ...]
    entries: Sequence[tuple[Text, ...]]
    drawn: bool = False


def axes(given: Mapping[str, object], lists: set[str], seed: int) -> list[Axis]:
    """The axes of a sweep.

    Args:
        given: name, or "(a,b)" for a zip -> text or list;  lists: the parameters that take lists;
        seed: of the random draws.
    Raises:
        ValueError: something that is none of the forms above, a name given twice, or draws that
            are not as many.
    """
    found = [_axis(name, value, lists, seed) for name, value in given.items()]
    drawn = [axis for axis in found if axis.drawn]
    if len({len(axis.entries) for axis in drawn}) > 1:
        counts = ", ".join(f"{a.names[0]}: {len(a.entries)}" for a in drawn)
        raise ValueError(f"random draws are drawn together: expected as many of each ({counts})")
    if drawn:
        entries = [
            tuple(v for entry in row for v in entry)
            for row in zip(*(a.entries for a in drawn), strict=True)
        ]
        together = Axis(tuple(n for a in drawn for n in a.names), entries, True)
        found = [axis for axis in found if not axis.drawn] + [together]
    names = [name for axis in found for name in axis.names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)}: given twice in one sweep: give it once")
    count = math.prod(len(axis.entries) for axis in found)
    if count > MOST:
        raise ValueError(f"the sweep has {count:,} points: expected at most {MOST:,}")
    return found


def points(found: Sequence[Axis]) -> Iterator[dict[str, Text]]:
    """Every point, name -> text; the last axis changes fastest.

    >>> [p["a"] + p["b"] for p in points(axes({"a": "1,2", "b": "0..1"}, set(), 0))]
    ['10', '11', '20', '21']
    """
    for row in itertools.product(*(axis.entries for axis in found)):
        yield {
            name: value
            for axis, entry in zip(found, row, strict=True)
            for name, value in zip(axis.names, entry, strict=True)
        }


def _axis(name: str, value: object, lists: set[str], seed: int) -> Axis:
    if name.startswith("("):
        return _zip(name, value)
    if isinstance(value, list):
        # of a parameter that takes lists, a flat list is one value
        flat = name in lists and not any(isinstance(v, list) for v in value)
        return Axis((name,), [(value,)] if flat else [(v,) for v in value] or _empty(name))
    text = str(value).strip()
    if name in lists:
        return Axis((name,), [(text,)])
    call = _CALL.fullmatch(text)
    if call and call[1] in (*DRAWS, *SPACED):
        values = _called(name, call[1], call[2], seed)
        return Axis((name,), [(v,) for v in values], call[1] in DRAWS)
    return Axis((name,), [(v,) for item in text.split(",") for v in _range(name, item.strip())])


def _empty(name: str) -> list[tuple[Text, ...]]:
    raise ValueError(f"{name} has no values: expected at least one")


def _zip(name: str, value: object) -> Axis:
    names = tuple(part.strip() for part in name.strip("()").split(","))
    rows: list[list[Text]]
    if isinstance(value, list):
        rows = [list(v) if isinstance(v, list) else [str(v)] for v in value]
    else:
        rows = [[t.strip() for t in row.split(",")] for row in _ZIP.findall(str(value))]
        rest = _ZIP.sub("", str(value)).replace(",", "").strip()
        if rest:
            raise ValueError(f"{name}: cannot read {rest!r}: expected {name}=(1,2),(3,4)")
    if not rows or any(len(row) != len(names) for row in rows):
        raise ValueError(f"{name}: expected {len(names)} values in each of one or more brackets")
    return Axis(names, [tuple(row) for row in rows])


def _range(name: str, text: str) -> list[Text]:
    if ".." not in text:
        if not text:
            raise ValueError(f"{name}: an empty value: expected values with commas between them")
        return [text]
    parts = text.split("..")
    try:
        first, last, *step = (Decimal(part) for part in parts)
        size = step[0] if step else Decimal(1)
        count = int((last - first) / size) + 1 if size else 0
    except (ValueError, InvalidOperation, OverflowError):
        raise ValueError(f"{name}: cannot read {text!r}: expected 0..99 or 0..1..0.1") from None
    if len(parts) > 3 or size <= 0 or not 1 <= count <= MOST:
        raise ValueError(f"{name}: {text!r} is no range: expected 0..99, or 0..1..0.1, upwards")
    return [f"{(first + i * size).normalize():f}" for i in range(count)]


def _called(name: str, kind: str, arguments: str, seed: int) -> list[str]:
    try:
        low, high, many = (float(part) for part in arguments.split(","))
        count = int(many)
    except (ValueError, OverflowError):
        raise ValueError(f"{name}: expected {kind}(low, high, how many)") from None
    ordered = math.isfinite(low) and math.isfinite(high) and low <= high
    if not ordered or count != many or not 1 <= count <= MOST:
        raise ValueError(f"{name}: {kind}({arguments}): expected low <= high, and 1 or more")
    if kind in ("logspace", "loguniform") and low <= 0:
        raise ValueError(f"{name}: {kind}({arguments}): expected low > 0")
    random = np.random.default_rng([seed, *name.encode()])
    if kind == "integers":
        if low != int(low) or high != int(high):
            raise ValueError(f"{name}: integers({arguments}): expected whole ends")
        return [str(v) for v in random.integers(int(low), int(high) + 1, count).tolist()]
    if kind == "linspace":
        values = np.linspace(low, high, count)
    elif kind == "logspace":
        values = np.geomspace(low, high, count)
    elif kind == "uniform":
        values = random.uniform(low, high, count)
    else:
        values = np.exp(random.uniform(math.log(low), math.log(high), count))
    return [repr(v) for v in values.tolist()]
