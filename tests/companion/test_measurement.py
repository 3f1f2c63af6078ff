"""Every verdict can come out, and each from data: reproduced, differs, not reproduced, undecided,
not testable."""

from __future__ import annotations

import csv
import io
import json

import pytest

from companion.claims import Claim
from companion.measurement import Cause, Measurement, Need, as_json, from_json, rows
from companion.trials import Trials


def claim(**fields) -> Claim:
    given = {
        "id": "X1",
        "chapter": "01_toy",
        "paper": "A",
        "place": "Fig. 1",
        "statement": "It rises.",
        "expected": {},
        "bound": ">= 0.1",
        "reason": "A third of the printed height.",
        "null": "Two copies of one net.",
        "oracle": "torch",
    }
    return Claim(**{**given, **fields})


def trials(*values: float) -> Trials:
    return Trials({"seed": range(len(values)), "value": values})


HIGH, LOW = trials(0.2, 0.3, 0.25, 0.22, 0.31), trials(0.01, 0.0, 0.02, 0.01, 0.0)
MIXED = trials(0.0, 0.2, 0.05, 0.3, 0.01)
NULL = {"copies": LOW}
SHOWN, UNSHOWN = (
    Cause("height without it", 0.3, ">= 0.1"),
    Cause("height without it", 0.0, ">= 0.1"),
)


@pytest.mark.parametrize(
    ("measurement", "verdict"),
    [
        (Measurement(trials=HIGH, nulls=NULL), "reproduced"),
        (Measurement(trials=HIGH, nulls=NULL, cause=UNSHOWN), "reproduced"),
        (Measurement(trials=LOW, nulls=NULL), "not reproduced"),
        (Measurement(trials=LOW, nulls=NULL, cause=UNSHOWN), "not reproduced"),
        (Measurement(trials=LOW, nulls=NULL, cause=SHOWN), "differs, cause shown"),
        (Measurement(trials=MIXED, nulls=NULL), "undecided"),
        (Measurement(trials=MIXED, nulls=NULL, cause=SHOWN), "undecided"),
        # a criterion that its null passes is no criterion
        (Measurement(trials=HIGH, nulls={"copies": HIGH}), "undecided"),
        (Measurement(trials=HIGH, nulls={"copies": MIXED}), "reproduced"),
        # four nets decide nothing, neither for nor against
        (Measurement(trials=trials(0.2, 0.3, 0.2, 0.3), nulls=NULL), "undecided"),
        (Measurement(trials=trials(0.0, 0.0, 0.0, 0.0), nulls=NULL), "undecided"),
        (
            Measurement(trials=HIGH, nulls=NULL, requires=(Need("accuracy", 0.2, ">= 0.4"),)),
            "not testable at this scale",
        ),
        (
            Measurement(trials=HIGH, nulls=NULL, requires=(Need("accuracy", 0.5, ">= 0.4"),)),
            "reproduced",
        ),
        (Measurement(skipped="Needs a GPU."), "not run"),
    ],
)
def test_the_verdict_follows_from_the_data(measurement, verdict) -> None:
    assert measurement.verdict(claim()) == verdict


def test_an_exact_claim_is_decided_by_its_numbers() -> None:
    exact = claim(exact=True, bound=["1 ± 0.1", "<= 0"])
    assert Measurement([1.05, 0.0]).verdict(exact) == "reproduced"
    assert Measurement([1.5, 0.0]).verdict(exact) == "not reproduced"
    assert Measurement([1.5, 0.0], cause=SHOWN).verdict(exact) == "differs, cause shown"


@pytest.mark.parametrize(
    ("fields", "measurement", "says"),
    [
        ({"exact": True}, Measurement(), "measured=... is missing"),
        ({}, Measurement(0.3), "trials=... is missing"),
        ({}, Measurement(trials=HIGH), "nulls=... is missing"),
    ],
)
def test_no_verdict_without_grounds(fields, measurement, says) -> None:
    with pytest.raises(ValueError, match=says):
        measurement.verdict(claim(**fields))


def test_remarks_say_what_the_verdict_rests_on() -> None:
    m = Measurement(
        trials=LOW, nulls={"copies": LOW}, requires=(Need("accuracy", 0.5, ">= 0.4"),), cause=SHOWN
    )
    words = " ".join(m.remarks(claim()))
    assert "Null “copies”" in words and "fails, as it must" in words
    assert "Precondition: accuracy: 0.5 (demanded ≥ 0.4)." in words
    assert "Cause tested: height without it: 0.3 (demanded ≥ 0.1)." in words
    passing = " ".join(Measurement(trials=HIGH, nulls={"copies": HIGH}).remarks(claim()))
    assert "passes too, so the bound decides nothing" in passing
    few = " ".join(Measurement(trials=trials(1.0), nulls=NULL).remarks(claim()))
    assert "Only 1 independent trials: expected at least 5" in few


def test_a_measurement_survives_a_notebook() -> None:
    m = Measurement(
        trials=HIGH,
        nulls=NULL,
        requires=(Need("accuracy", 0.5, ">= 0.4"),),
        cause=SHOWN,
        note="Five nets.",
    )
    assert from_json(json.loads(json.dumps(as_json(m)))) == m
    assert from_json(as_json(Measurement([1, 2]))) == Measurement([1, 2])


def test_an_old_record_is_not_judged() -> None:
    old = from_json({"measured": 0.2, "holds": None, "why": "", "note": "", "skipped": ""})
    assert old.verdict(claim()) == "not run" and old.measured == 0.2
    assert old.skipped == "Recorded under an earlier criterion."


def test_the_rows_hold_every_trial_and_every_null() -> None:
    table = list(csv.DictReader(io.StringIO(rows(Measurement(trials=HIGH, nulls=NULL)))))
    assert [r["trials"] for r in table] == ["measured"] * 5 + ["null: copies"] * 5
    assert [float(r["value"]) for r in table[:5]] == [0.2, 0.3, 0.25, 0.22, 0.31]
