"""The ledger's file, its faults, and how a chapter and the scorecard show it."""

from __future__ import annotations

import pytest

from companion import claims, scorecard
from companion.claims import Claim
from companion.ledger import Ledger
from companion.measurement import Cause, Measurement
from companion.trials import Trials

LEDGER = """
- {id: X1, chapter: 01_toy, kind: theorem, paper: A, place: Fig. 1, statement: It is so.,
   bound: "<= 1e-3", reason: Rounding., oracle: NumPy, expected: reproduced}
- {id: X2, chapter: 01_toy, kind: paper, paper: A, place: Fig. 2, statement: And so.,
   printed: [1e-3, 2], bound: ">= 1", null: Copies., reason: Size., oracle: NumPy,
   expected: {quick: undecided, cpu: "differs, cause shown", paper: not run}}
"""


def test_the_file_is_read(tmp_path) -> None:
    (tmp_path / "claims.yaml").write_text(LEDGER)
    ledger = claims.load(tmp_path / "claims.yaml")
    assert list(ledger) == ["X1", "X2"]
    assert set(ledger["X1"].expected.values()) == {"reproduced"} and ledger["X1"].exact
    assert ledger["X2"].printed == [0.001, 2]  # YAML 1.1 alone would leave the first as a text
    assert ledger["X2"].printed_text == "0.001, 2" and ledger["X2"].bound_text == "≥ 1"


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("place: Fig. 1, ", "", "claim X1 lacks place"),
        ("place: Fig. 1", "place: Fig. 1, colour: red", "claim X1 has unknown fields colour"),
        ("id: X2", "id: X1", "claim X1 is there twice"),
        ("expected: reproduced", "expected: surely", "claim X1 expects"),
        ("expected: reproduced", "expected: reproduced or undecided", "claim X1 expects"),
        (", paper: not run", ", gpu: not run", "claim X2 expects"),
        ('"<= 1e-3"', '"about 3"', "claim X1: cannot read the bound 'about 3'"),
        ("kind: paper, paper: A", "kind: paper", "claim X2 lacks paper"),
        ("kind: theorem", "kind: rumour", "claim X1 is of kind 'rumour'"),
        ("null: Copies., ", "", "claim X2 is empirical and names no null"),
        ('bound: ">= 1"', 'bound: [">= 1", 2]', "claim X2 is empirical: expected one bound"),
        ('bound: "<= 1e-3", ', "", "claim X1 lacks bound"),
        ("reason: Rounding., ", "", "lacks reason or oracle"),
    ],
)
def test_a_fault_in_the_file_is_named(before, after, says, tmp_path) -> None:
    assert before in LEDGER
    (tmp_path / "claims.yaml").write_text(LEDGER.replace(before, after))
    with pytest.raises(ValueError, match=says):
        claims.load(tmp_path / "claims.yaml")


def claim(**fields) -> Claim:
    given = {
        "id": "X1",
        "chapter": "01_toy",
        "paper": "A",
        "place": "Fig. 1",
        "statement": "A plateau, $|x| = 1$.",
        "expected": {},
        "printed": 0.105,
        "bound": "0.105 ± 0.005",
        "reason": "As read off the figure.",
        "oracle": "SciPy.",
        "exact": True,
    }
    return Claim(**{**given, **fields})


def test_lines_and_tables_keep_printed_demanded_and_measured_apart() -> None:
    cause = Cause("loss of the other optimiser", 0.105, "0.105 ± 0.005")
    ledger = Ledger(
        {"X1": claim(), "X2": claim(id="X2", seen=False), "X3": claim(id="X3", kind="ours")},
        {
            "X1": Measurement(0.2, cause=cause, note="200 nets."),
            "X2": Measurement(skipped="Needs MNIST."),
            "X3": Measurement(0.104),
        },
    )
    line = ledger.line("X1")
    assert "≠ differs, cause shown" in line
    for part in ("Printed: 0.105.", "Demanded: 0.105 ± 0.005 (as read off", "Measured: 0.2."):
        assert part in line
    assert "Cause tested: loss of the other optimiser: 0.105" in line
    assert "– not run" in ledger.line("X2") and "as we understand it" in ledger.line("X2")
    assert "✓ holds" in ledger.line("X3")
    head, rule, *rows = ledger.table().splitlines()
    # a bar inside a formula must not end the cell
    assert {len(r.replace("\\|", "").split("|")) for r in (head, rule, *rows)} == {8}


def test_the_scorecard_counts_reproductions_only_of_papers_and_lists_the_worst_first(tmp_path):
    low = Trials({"seed": range(5), "value": [0.0, 0.01, 0.0, 0.02, 0.0]})
    ledger = {
        "X1": claim(),
        "X2": claim(id="X2", exact=False, bound=">= 0.1", null="Copies."),
        "X3": claim(id="X3", kind="ours", paper=""),
    }
    fresh = {
        "X1": Measurement(0.105),
        "X2": Measurement(trials=low, nulls={"copies": low}),
        "X3": Measurement(0.105),
    }
    table = {name: {"quick run": fresh[name], "cpu record": None} for name in ledger}
    page = scorecard.markdown(ledger, table)
    counts = page.split("## What to know first")[0]
    assert "| ✓ reproduced | 1 | 0 |" in counts and "| ✗ not reproduced | 1 | 0 |" in counts
    findings = page.split("## What to know first")[1].split("## Paper A")[0]
    assert findings.index("✗ not reproduced") < findings.index("✓ reproduced")
    assert page.index("## Paper A") < page.index("## What this book adds") < page.index("X3")
