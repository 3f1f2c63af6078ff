"""The parameters cell: what it may say, and what is said of a value that it does not allow."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companion import params
from companion.params import ParameterError

CELL = """# %% [markdown]
# # Title

# %% tags=["parameters"]
trials: int = 200  # nets per width, >= 1
rate: float = 0.005  # learning rate, in (0, 1]
data: str = "digits"  # images, one of digits, mnist
widths: list[int] = [1, 2, 3]  # hidden widths, one each, >= 1 and <= 500
plot: bool = True  # draw the figures
note: str = ""  # free text, shown in the title

# %%
x: int = 3
"""
KNOWN = params.declared(CELL)


def resolve(texts: bool = True, **given):
    return params.resolve(KNOWN, given, "01_toy", texts=texts)


def test_the_cell_is_read_with_types_defaults_meanings_and_ranges() -> None:
    assert list(KNOWN) == ["trials", "rate", "data", "widths", "plot", "note"]
    assert (
        KNOWN["rate"].bounds == ((">", 0.0), ("<=", 1.0))
        and KNOWN["rate"].meaning == "learning rate"
    )
    assert KNOWN["data"].choices == ("digits", "mnist")
    # a comma of the meaning is not the beginning of a range
    assert (
        KNOWN["widths"].meaning == "hidden widths, one each"
        and KNOWN["widths"].range == ">= 1 and <= 500"
    )
    assert KNOWN["note"].meaning == "free text, shown in the title" and KNOWN["note"].range == ""


def test_both_ways_of_writing_a_bound_are_one() -> None:
    bounds = [
        params._comment(f"number, {text}")[1]
        for text in (">= 1 and <= 5", "≥ 1 and ≤ 5", "in [1, 5]")
    ]
    assert bounds == [((">=", 1.0), ("<=", 5.0))] * 3


def test_texts_are_parsed_by_the_declared_type() -> None:
    values = resolve(
        trials="50", rate="1e-3", data="mnist", widths="[4, 5]", plot="false", note="yes"
    )
    assert values == {
        "trials": 50,
        "rate": 0.001,
        "data": "mnist",
        "widths": [4, 5],
        "plot": False,
        "note": "yes",
    }
    assert resolve(widths=["6"])["widths"] == [6]


def test_what_is_not_given_keeps_its_default() -> None:
    assert resolve() == {name: p.default for name, p in KNOWN.items()}


@pytest.mark.parametrize(
    "given, says",
    [
        ({"trails": "50"}, "trails is not a parameter"),
        ({"trials": "1.5"}, "trials = '1.5' is not an int"),
        ({"trials": "0"}, "trials = 0 is out of range: expected >= 1"),
        ({"rate": "fast"}, "rate = 'fast' is not a float"),
        ({"rate": "0"}, "rate = 0.0 is out of range: expected > 0 and <= 1"),
        ({"rate": "nan"}, "rate = nan: expected a finite number"),
        ({"data": "svhn"}, "data = 'svhn' is out of range: expected one of digits, mnist"),
        ({"widths": "1,0"}, "widths = 0 is out of range"),
        ({"widths": {"a": "1"}}, r"widths = {'a': '1'}: expected list\[int\]"),
        ({"trials": ["1"]}, r"trials = \['1'\]: expected one int"),
        ({"plot": "maybe"}, "plot = 'maybe' is not a bool"),
    ],
)
def test_a_bad_text_is_refused_with_all_parameters_listed(given, says) -> None:
    with pytest.raises(ParameterError, match=says) as caught:
        resolve(**given)
    for parameter in KNOWN.values():
        line = next(
            li
            for li in str(caught.value).splitlines()
            if li.strip().startswith(f"{parameter.name} ")
        )
        assert (
            parameter.kind in line and repr(parameter.default) in line and parameter.meaning in line
        )


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ParameterError) as caught:
        resolve(trails="1", rate="2", plot="maybe")
    assert str(caught.value).splitlines()[-1].count(";") == 2


@pytest.mark.parametrize(
    "given, says",
    [
        ({"trials": 1.5}, "trials = 1.5 is float: expected int"),
        ({"trials": True}, "trials = True is bool: expected int"),
        ({"plot": 1}, "plot = 1 is int: expected bool"),
        ({"rate": "0.1"}, "rate = '0.1' is str: expected float"),
        ({"widths": 3}, r"widths = 3 is int: expected list\[int\]"),
        ({"widths": [1, "2"]}, "widths = '2' is str"),
    ],
)
def test_a_value_that_papermill_put_in_is_checked_by_type(given, says) -> None:
    with pytest.raises(ParameterError, match=says):
        resolve(texts=False, **given)


def test_a_whole_number_serves_as_a_float() -> None:
    value = resolve(texts=False, rate=1)["rate"]
    assert value == 1.0 and isinstance(value, float)


@pytest.mark.parametrize(
    "line, says",
    [
        ("x = 3  # no type", "is not `name: type = default"),
        ("x: int  # no default", "is not `name: type = default"),
        ("x: complex = 1j  # odd", "has type complex"),
        ("x: int = 3", "has no comment"),
        ("x: int = 3  # wrong default, >= 5", "x = 3 is out of range"),
        ("x: int = 3  # bad range, >= 1 or so", "cannot read the range"),
        ("x: int = 3.5  # wrong type", "is float: expected int"),
    ],
)
def test_a_line_outside_the_grammar_is_refused(line, says) -> None:
    with pytest.raises(ValueError, match=says):
        params.declared(f'# %% tags=["parameters"]\n{line}\n')


@pytest.mark.parametrize("n", [0, 2])
def test_there_is_one_parameters_cell(n) -> None:
    with pytest.raises(ValueError, match=f"{n} cells tagged parameters"):
        params.declared('# %% tags=["parameters"]\nx: int = 1  # a\n' * n + "# %%\npass\n")


scalars = {
    "int": st.integers(-(10**9), 10**9),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "bool": st.booleans(),
    "str": st.text(alphabet="abcxyz-_.0123456789", min_size=1),
}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data(), st.sampled_from(sorted(scalars)), st.booleans())
def test_a_value_survives_its_text(data, kind, many) -> None:
    value = data.draw(st.lists(scalars[kind], unique=True, max_size=100) if many else scalars[kind])
    parameter = params.Parameter("x", f"list[{kind}]" if many else kind, value, "any", least=0)
    assert parameter.parse([str(v) for v in value] if many else str(value)) == value


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.floats(-10, 10),
    st.floats(-10, 10),
    st.floats(-11, 11),
    st.sampled_from("[("),
    st.sampled_from("])"),
)
def test_an_interval_holds_what_it_should(low, high, x, left, right) -> None:
    low, high, x = round(low, 3), round(high, 3), round(x, 3)
    inside = (x >= low if left == "[" else x > low) and (x <= high if right == "]" else x < high)
    _, bounds, _ = params._comment(f"anything, in {left}{low}, {high}{right}")
    parameter = params.Parameter("x", "float", 0.0, "anything", bounds)
    if inside:
        assert math.isclose(parameter.check(x), x)
    else:
        with pytest.raises(ParameterError, match="out of range"):
            parameter.check(x)


RELATED = """# %% tags=["parameters"]
data: str = "digits"  # images, one of digits, mnist
images: int = 300  # training images, in [50, train(data)]
tested: int = 100  # test images, <= test(data)
epochs: int = 20  # epochs, >= 1
marks: list[int] = [5, 10]  # epochs looked at, at least 2 of them, in [1, epochs]
neurons: int = (
    30  # neurons of a line that was broken, >= 1
)
# %%
"""


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"images": "1438"},
            "images = 1438 is out of range: expected <= 1437, the train images of d",
        ),
        (
            {"tested": "361"},
            "tested = 361 is out of range: expected <= 360, the test images of dig",
        ),
        ({"data": "mnist", "images": "60001"}, "expected <= 60000, the train images of mnist"),
        ({"marks": "[5, 21]"}, "marks = 21 is out of range: expected <= 20, the value of epochs"),
        ({"epochs": "7"}, "marks = 10 is out of range: expected <= 7, the value of epochs"),
        ({"marks": "[5]"}, r"marks = \[5\] has 1 items: expected at least 2"),
        ({"marks": []}, r"marks = \[\] has 0 items: expected at least 2"),
        ({"epochs": str(10**23)}, f"epochs = {10**23} is too large: expected at most 2147483647"),
    ],
)
def test_values_that_do_not_fit_each_other_or_the_data_are_refused(given, says) -> None:
    known = params.declared(RELATED)
    with pytest.raises(ParameterError, match=says) as caught:
        params.resolve(known, given, "01_toy (quick)", texts=True)
    assert str(caught.value).splitlines()[-1].startswith("01_toy (quick): ")  # the fault comes last


def test_bounds_by_other_parameters_are_in_the_table() -> None:
    known = params.declared(RELATED)
    assert known["images"].range == ">= 50 and <= train(data)"
    assert known["marks"].range == "at least 2 of them, >= 1 and <= epochs"
    assert known["neurons"].meaning == "neurons of a line that was broken"
    assert (
        params.resolve(known, {"epochs": "30", "marks": "3,30"}, "x", texts=True)["marks"][1] == 30
    )


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("x: int = 3  # a number, <= height", "height is neither a number nor a parameter"),
        ("y: int = 2  # one\nx: int = 3  # two, <= y", "x = 3 is out of range: expected <= 2"),
    ],
)
def test_a_bound_that_means_nothing_or_that_defaults_break_is_refused(cell, says) -> None:
    with pytest.raises(ValueError, match=says):
        params.declared(f'# %% tags=["parameters"]\n{cell}\n')


def test_a_gpu_that_is_not_there_is_refused(monkeypatch) -> None:
    import torch

    known = params.declared(
        '# %% tags=["parameters"]\ndevice: str = "cpu"  # where, one of cpu, cuda\n'
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ParameterError, match="torch finds no GPU here; expected device=cpu"):
        params.resolve(known, {"device": "cuda"}, "x", texts=True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert params.resolve(known, {"device": "cuda"}, "x", texts=True) == {"device": "cuda"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"pools": "4", "side": "8"}, r"pools = 4 is out of range: expected <= 3.0, the value of"),
        (
            {"batch": "64"},
            r"steps = 10 is out of range: expected <= 5, the value of images // batch",
        ),
        ({"images": "160"}, r"steps = 10 is out of range: expected <= 5"),
        ({"stones": "[2, 1]"}, r"stones = \[2, 1\]: expected rising numbers"),
        ({"stones": "[1, 1]"}, r"stones = \[1, 1\] has 1 twice: expected it once"),
        ({"stones": str(list(range(1, 102)))}, "stones has 101 items: expected at most 100"),
    ],
)
def test_quotients_logarithms_and_orders_are_ranges_too(given, says) -> None:
    known = params.declared("""# %% tags=["parameters"]
images: int = 320  # images, in [32, 10000000]
batch: int = 32  # of a step, >= 8
steps: int = 10  # steps an epoch, in [1, images // batch]
side: int = 16  # pixels, one of 8, 16
pools: int = 3  # halvings, in [1, log2(side)]
stones: list[int] = [7]  # epochs, after which something falls, rising, >= 1
""")
    assert known["images"].range == ">= 32 and <= 10000000"
    assert known["stones"].range == "rising, >= 1"
    assert params.resolve(known, {"pools": "4", "stones": "1, 2"}, "x", texts=True)["pools"] == 4
    with pytest.raises(ParameterError, match=says):
        params.resolve(known, given, "x", texts=True)
