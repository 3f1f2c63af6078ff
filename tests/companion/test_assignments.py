"""Parameters on one line: what is read, what is refused, and that what is written comes back."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companion import assignments, params
from companion.params import Parameter

SCALARS = {
    "int": st.integers(-(10**9), 10**9),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "bool": st.booleans(),
    "str": st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("  trials=50\nseed=3 ", {"trials": "50", "seed": "3"}),
        ("widths=[1, 2,3 ]", {"widths": ["1", "2", "3"]}),
        ("widths=1,2", {"widths": "1,2"}),
        ("widths=[]", {"widths": []}),
        ("points=\"21\" note='it is' store=", {"points": "21", "note": "it is", "store": ""}),
        (
            r'note="say \"a\", b" names=["a b", c d]',
            {"note": 'say "a", b', "names": ["a b", "c d"]},
        ),
        ("store=/tmp/{x}/a=b", {"store": "/tmp/{x}/a=b"}),
        ("rate=-1e-3", {"rate": "-1e-3"}),
    ],
)
def test_what_is_read(text, values) -> None:
    assert assignments.parse(text) == values


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("trials", "cannot read the parameter 'trials': expected name=value"),
        ("=3", "cannot read the parameter '=3'"),
        ("trials=10 trials=20", "the parameter trials is given twice"),
        ('note="open', 'note: the quote " does not close'),
        ("note='open", "note: the quote ' does not close"),
        ("widths=[1, 2", "widths: the list does not close"),
        ("widths=[1,,2]", "widths: expected a list"),
        ('note="a"b', "cannot read 'b' behind the value of note"),
        (r'note="\q"', "note: cannot read"),
    ],
)
def test_what_is_refused(text, says) -> None:
    with pytest.raises(ValueError, match=says):
        assignments.parse(text)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.data(), st.sampled_from(sorted(SCALARS)), st.booleans())
def test_a_run_is_repeated_by_the_command_that_it_prints(data, kind, many) -> None:
    """Through the shell's quoting and make's, for every type and text."""
    value = data.draw(st.lists(SCALARS[kind], min_size=1, unique=True) if many else SCALARS[kind])
    declared = Parameter("x", f"list[{kind}]" if many else kind, value, "any")
    (word,) = shlex.split(assignments.quoted({"x": value, "seed": 3}))
    read = assignments.parse(word.replace("$$", "$"))
    assert declared.parse(read["x"]) == value
    assert read["seed"] == "3"


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data(), st.sampled_from(sorted(SCALARS)), st.booleans())
def test_papermill_reads_its_flags_as_the_same_values(data, kind, many) -> None:
    import yaml
    from papermill.cli import _resolve_type

    printable = st.text(st.characters(codec="ascii", exclude_categories=["C"]))
    scalar = printable if kind == "str" else SCALARS[kind]
    value = data.draw(st.lists(scalar, min_size=1, unique=True) if many else scalar)
    declared = Parameter("x", f"list[{kind}]" if many else kind, None, "any")
    flags = shlex.split(params.papermill_flags({"x": value}, {"x": declared}))
    if many:
        assert flags[0] == "-y"
        read = yaml.safe_load(flags[1])["x"]
    else:
        read = flags[2] if flags[0] == "-r" else _resolve_type(flags[2])
    assert declared.check(read) == value
