"""Whatever is given to a chapter as parameters is either in their ranges or refused by name, before
anything runs. FUZZ_CASES: how many draws a chapter gets."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from companion import assignments, params
from companion.parameter import LARGEST, MANY, Parameter
from companion.params import ParameterError

CHAPTERS = sorted((Path(__file__).resolve().parents[2] / "book").glob("[0-9]*.py"))
KNOWN = {p.stem: params.declared(p.read_text(encoding="utf-8")) for p in CHAPTERS}
fuzzed = settings(
    max_examples=int(os.environ.get("FUZZ_CASES", "40")),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
ODD = ["", "nan", "inf", "-inf", "1e400", "0", "-1", "1_000", "True", "none", "[1, 2]", "--seed=3"]
ODD += [
    str(10**23),
    str(2**31),
    "0x10",
    "1.5",
    "½",
    "٣",
    "1e-320",
    "[[1]]",
    "\x00",
    "'",
    "{x}",
    "$(ls)",
]
odd_texts = st.one_of(st.sampled_from(ODD), st.text(max_size=8), st.lists(st.sampled_from(ODD)))
odd_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**25), 10**25),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.one_of(st.integers(), st.floats(), st.none()), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.binary(max_size=3),
)
chapters = pytest.mark.parametrize("chapter", sorted(KNOWN))


def inside(p: Parameter, value: object) -> bool:
    """Whether a value is of the declared type, finite and within the numbers of its range."""
    if p.is_list:
        return (
            isinstance(value, list)
            and p.least <= len(value) <= MANY
            and all(
                inside(Parameter(p.name, p.scalar, None, "", p.bounds, p.choices), v) for v in value
            )
        )
    if type(value).__name__ != p.scalar or (p.choices and str(value) not in p.choices):
        return False
    if p.scalar in ("bool", "str"):
        return True
    low, high = limits(p)
    return math.isfinite(value) and low <= value <= high


def limits(p: Parameter) -> tuple[float, float]:
    """The least and the largest number that the range names, where it names numbers."""
    numbers = [(o, b) for o, b in p.bounds if isinstance(b, int | float)]
    low = [b for o, b in numbers if o[0] == ">"]
    high = [b for o, b in numbers if o[0] == "<"]
    largest = LARGEST if p.scalar == "int" else math.inf
    return max(low, default=-largest), min(high, default=largest)


@chapters
def test_every_number_has_a_range_on_both_sides(chapter) -> None:
    """What is far too large is refused at once, and not by the memory after minutes."""
    for p in KNOWN[chapter].values():
        if p.scalar in ("int", "float") and not p.choices:
            sides = {o[0] for o, _ in p.bounds}
            assert sides == {"<", ">"} or (p.name == "seed" and sides == {">"}), p.name


@chapters
@fuzzed
@given(st.data())
def test_texts_are_in_range_or_refused_by_name(chapter, data) -> None:
    known = KNOWN[chapter]
    names = data.draw(st.lists(st.sampled_from(sorted(known)), unique=True, min_size=1, max_size=4))
    given = {name: data.draw(st.one_of(odd_texts, near(known[name]).map(text))) for name in names}
    judge(chapter, given, texts=True)


@chapters
@fuzzed
@given(st.data())
def test_values_are_in_range_or_refused_by_name(chapter, data) -> None:
    known = KNOWN[chapter]
    names = data.draw(st.lists(st.sampled_from(sorted(known)), unique=True, min_size=1, max_size=4))
    judge(
        chapter, {n: data.draw(st.one_of(odd_values, near(known[n]))) for n in names}, texts=False
    )


def judge(chapter, given, texts) -> None:
    known = KNOWN[chapter]
    try:
        values = params.resolve(known, given, chapter, texts=texts)
    except ParameterError as refusal:
        last = str(refusal).splitlines()
        told = " ".join(
            last[last.index(next(li for li in last if li.startswith(f"{chapter}: "))) :]
        )
        assert any(name in told for name in given)
        return
    for name, value in values.items():
        assert inside(known[name], value), name
    again = assignments.parse(assignments.write(values))
    assert params.resolve(known, again, chapter, texts=True) == values


def near(p: Parameter) -> st.SearchStrategy:
    """Values in the range and just beside it."""
    if p.choices:
        one = st.sampled_from([*map(int, p.choices), 7] if p.scalar == "int" else [*p.choices, "x"])
    elif p.scalar in ("bool", "str"):
        one = {"bool": st.booleans(), "str": st.sampled_from(["", "a b", "it's"])}[p.scalar]
    else:
        low, high = limits(p)
        values = [low, high, low - 1, high + 1, (low + min(high, 10**6)) / 2]
        one = st.sampled_from([v for v in values if math.isfinite(v)] or [0.0])
        one = one.map(int) if p.scalar == "int" else one.map(float)
    return st.lists(one, max_size=4) if p.is_list else one


def text(value: object) -> assignments.Text:
    return [str(v) for v in value] if isinstance(value, list) else str(value)


@chapters
@fuzzed
@given(st.text(max_size=40))
def test_any_line_is_read_or_refused(chapter, line) -> None:
    try:
        given = assignments.parse(line)
    except ValueError:
        return
    if given:
        judge(chapter, given, texts=True)
