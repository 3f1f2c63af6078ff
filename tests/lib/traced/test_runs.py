"""Runs of channels against a union-find of single channels."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.traced.runs import Run, atoms, freeze, unite, width


def single(layouts: list[list[tuple[int, int]]]) -> dict[tuple[int, int], set[tuple[int, int]]]:
    """Channel -> all that belong together with it, where layouts[0] meets layouts[1], and so on."""
    classes: dict[tuple[int, int], set[tuple[int, int]]] = {}
    for one, other in zip(layouts[::2], layouts[1::2], strict=True):
        for a, b in zip(one, other, strict=True):
            merged = classes.get(a, {a}) | classes.get(b, {b})
            for c in merged:
                classes[c] = merged
    return classes


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6))
def test_channels_belong_together_as_one_by_one(seed: int) -> None:
    draw = random.Random(seed)
    runs = [Run(draw.randint(1, 5)) for _ in range(5)]
    layouts = []
    for _ in range(draw.randint(1, 4)):
        pair = [[draw.choice(runs) for _ in range(draw.randint(1, 3))] for _ in range(2)]
        if width(pair[0]) == width(pair[1]):
            channels = [[(runs.index(r), i) for r in side for i in range(r.width)] for side in pair]
            layouts += channels
            sizes = [r.width for r in runs]
            unite(*pair)
            assert [width([r]) for r in runs] == sizes
    expected = single(layouts)
    own = {
        (number, i): (atom, place)
        for number, run in enumerate(runs)
        for i, (atom, place) in enumerate((a, p) for a in atoms([run]) for p in range(a.width))
    }
    for a in own:
        together = {b for b in own if own[b] == own[a]}
        assert together == expected.get(a, {a})


def test_what_is_frozen_freezes_what_it_meets_and_the_parts_of_both() -> None:
    whole, one, other = Run(5), Run(2), Run(3)
    freeze([one], "why")
    unite([whole], [one, other])
    assert [run.frozen for run in atoms([whole])] == ["why", None]


def test_layouts_of_other_widths_do_not_meet() -> None:
    with pytest.raises(ValueError, match="5 and 4 channels"):
        unite([Run(5)], [Run(2), Run(2)])
