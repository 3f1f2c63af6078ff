"""Verdicts follow from the measurement and the ledger, and the ledger's faults are named."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companion import claims
from companion.claims import Claim, Measurement
from companion.ledger import Ledger


def claim(printed=None, tolerance=0, **fields) -> Claim:
    given = {
        "id": "X1",
        "chapter": "01_toy",
        "paper": "A",
        "place": "Fig. 1",
        "statement": "It is so.",
        "expected": {},
    }
    return Claim(**{**given, **fields}, printed=printed, tolerance=tolerance)


@pytest.mark.parametrize(
    "printed, tolerance, measured, agrees",
    [
        (0.105, 0.005, 0.110, True),
        (0.105, 0.005, 0.1101, False),
        (0.105, "5%", 0.110, True),
        (0.105, "5%", 0.111, False),
        (2.4e-4, "x2", 1.3e-4, True),
        (2.4e-4, "x2", 1.1e-4, False),
        (2.4e-4, "x2", -2.4e-4, False),
        (0.0, "x2", 0.0, False),  # no factor leads from or to zero
        ([0, 1, 2], 0, [0, 1, 2], True),
        ([0, 1, 2], 0, [0, 1, 3], False),
        ([0, 1, 2], 0, [0, 1], False),  # a point too few was found: that is a result
        ([[0.109, 1], [0.07, 2]], 0.001, [[0.1095, 1], [0.0698, 2]], True),
        ("<= 1e-10", 0, [1e-12, 1e-10], True),
        ("<= 1e-10", 0, [1e-12, 1.1e-10], False),
        ("> 0.6", 0, 0.6, False),
        (">= 0.6", 0, {"layer 1": 0.6, "layer 2": 0.7}, True),
    ],
)
def test_agreement(printed, tolerance, measured, agrees) -> None:
    assert claim(printed, tolerance).agrees(measured) is agrees


def test_the_verdict_follows_from_measurement_condition_and_reason() -> None:
    c = claim(1.0, 0.1)
    assert Measurement(1.05).verdict(c) == "reproduced"
    assert Measurement(1.05, holds=False).verdict(c) == "not reproduced"
    assert Measurement(1.5, holds=True).verdict(c) == "not reproduced"
    assert Measurement(1.5, why="another optimiser").verdict(c) == "differs"
    assert Measurement(1.05, why="another optimiser").verdict(c) == "reproduced"
    assert Measurement(skipped="needs a GPU").verdict(c) == "not run"
    assert Measurement(holds=True).verdict(claim()) == "reproduced"


@pytest.mark.parametrize(
    "printed, measurement, says",
    [
        (1.0, Measurement(), "measured=... is missing"),
        (None, Measurement(3.0), "say holds=..."),
        (1.0, Measurement([1, 2]), "measured 2 values, printed one"),
        (1.0, Measurement(math.nan), "nan is not a finite number"),
        (1.0, Measurement("much"), "'much' is not a finite number"),
    ],
)
def test_no_verdict_without_grounds(printed, measurement, says) -> None:
    with pytest.raises(ValueError, match=says):
        measurement.verdict(claim(printed))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.floats(-1e6, 1e6), st.floats(0, 1e3), st.floats(-2, 2))
def test_a_wider_tolerance_never_loses_agreement(printed, slack, shift) -> None:
    measured = printed + shift * slack
    if claim(printed, slack).agrees(measured):
        assert claim(printed, 2 * slack).agrees(measured)
    # the allowance for rounding is one part in 10^12
    assert claim(printed, slack).agrees(measured) == (
        abs(measured - printed) <= slack + 1e-12 * abs(printed)
    )


LEDGER = """
- {id: X1, chapter: 01_toy, paper: A, place: Fig. 1, statement: It is so.,
   printed: "<= 1e-3", expected: reproduced}
- {id: X2, chapter: 01_toy, paper: A, place: Fig. 2, statement: And so.,
   printed: [1e-3, 2], tolerance: 5%,
   expected: {quick: reproduced or differs, cpu: differs, paper: not run}}
"""


def test_the_file_is_read(tmp_path) -> None:
    (tmp_path / "claims.yaml").write_text(LEDGER)
    ledger = claims.load(tmp_path / "claims.yaml")
    assert list(ledger) == ["X1", "X2"]
    assert ledger["X1"].expected == {
        "quick": "reproduced",
        "cpu": "reproduced",
        "paper": "reproduced",
    }
    assert ledger["X2"].printed == [0.001, 2]  # YAML 1.1 alone would leave the first as a text
    assert ledger["X1"].printed_text == "≤ 0.001" and ledger["X2"].printed_text == "0.001, 2 ± 5%"


@pytest.mark.parametrize(
    "before, after, says",
    [
        ("place: Fig. 1, ", "", "claim X1 lacks place"),
        ("place: Fig. 1", "place: Fig. 1, colour: red", "claim X1 has unknown fields colour"),
        ("id: X2", "id: X1", "claim X1 is there twice"),
        ("expected: reproduced", "expected: surely", "claim X1 expects"),
        ("expected: reproduced", "expected: reproduced or surely", "claim X1 expects"),
        (", paper: not run", "", "claim X2 expects"),
        ('"<= 1e-3"', '"about 3"', "claim X1: printed 'about 3' is no number"),
    ],
)
def test_a_fault_in_the_file_is_named(before, after, says, tmp_path) -> None:
    assert before in LEDGER
    (tmp_path / "claims.yaml").write_text(LEDGER.replace(before, after))
    with pytest.raises(ValueError, match=says):
        claims.load(tmp_path / "claims.yaml")


def test_lines_and_tables_say_what_was_found() -> None:
    ledger = Ledger(
        {"X1": claim(0.105, 0.005, statement="A plateau, $|x| = 1$."), "X2": claim(id="X2")},
        {
            "X1": Measurement(0.2, why="Another optimiser.", note="200 nets."),
            "X2": Measurement(skipped="Needs MNIST."),
        },
    )
    line = ledger.line("X1")
    assert (
        "≠ differs" in line
        and "Measured 0.2; printed 0.105 ± 0.005." in line
        and line.endswith("200 nets. Another optimiser.")
    )
    assert "– not run" in ledger.line("X2") and ledger.line("X2").endswith("Needs MNIST.")
    head, rule, *rows = ledger.table().splitlines()
    # a bar inside a formula must not end the cell
    assert [len(r.replace("\\|", "").split("|")) for r in (head, rule, *rows)] == [7, 7, 7, 7]
    assert "<br>*Another optimiser.* |" in rows[0] and rows[0].endswith("| ≠ differs |")
    assert "<br>*Needs MNIST.* |" in rows[1] and rows[1].endswith("| – not run |")
