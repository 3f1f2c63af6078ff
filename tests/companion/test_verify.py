"""Verifying: equal, within the tolerance, other numbers, other verdicts."""

from __future__ import annotations

import itertools
import json
import shutil

import numpy as np
import pytest
from toybook import call

from companion import claims, plan, verify
from companion.measurement import Measurement
from companion.request import Request
from companion.trials import Trials

LEDGER = {
    "T1": claims.Claim("T1", "x", "A", "p", "s", {}, bound="<= 1", reason="r", exact=True),
    "T2": claims.Claim("T2", "x", "A", "p", "s", {}, bound=">= 0.9", reason="r", null="n"),
}
CLOCK = itertools.count()


def run(
    measured: float = 0.5, value: float = 1.0, x: float = 2.0, **more: object
) -> verify.Published:
    trials = Trials({"seed": range(6), "value": [value] * 6})
    null = Trials({"seed": range(6), "value": [0.1] * 6})
    found = {"T1": Measurement(measured), "T2": Measurement(trials=trials, nulls={"n": null})}
    curves = {"f": {"x": np.array([[1.0, x]]), "seconds": np.array([next(CLOCK)]), **more}}
    return verify.Published("x", found, curves)


def test_the_same_numbers_are_equal_and_seconds_do_not_count() -> None:
    found = verify.compare(run(), run(), LEDGER)
    assert found.good and found.close == 0 and found.equal == 1 + 2 * 12 + 2
    assert verify.compare(run(measured=float("1e-16")), run(measured=3e-16), LEDGER).close == 1


@pytest.mark.parametrize(
    "other, place",
    [
        (run(measured=0.5 + 1e-5), "claim T1 measured"),
        (run(x=2.1), "figure f x 0 1"),
        (run(more=np.zeros(1)), "figure f more"),
    ],
)
def test_other_numbers_are_named(other, place) -> None:
    found = verify.compare(run(), other, LEDGER)
    assert found.other == (place,) and not found.verdicts and not found.good


def test_another_verdict_is_named_with_both() -> None:
    found = verify.compare(run(), run(value=0.2), LEDGER)
    assert found.verdicts == ("claim T2: “not reproduced”, published “reproduced”",)
    lost = verify.Published("x", {}, {})
    assert "claim T1 is not in both" in verify.compare(run(), lost, LEDGER).verdicts


def test_a_rerun_has_a_place_of_its_own_and_changes_no_other_digest(toy) -> None:
    (job,) = Request("quick", "01_toy").jobs(toy)
    (again,) = Request("quick", "01_toy", again=True).jobs(toy)
    assert again.executed == job.executed.replace("/runs/", "/verify/")
    with pytest.raises(FileNotFoundError, match="make book PROFILE=quick first"):
        verify.published(job, toy)


@pytest.mark.slow
@pytest.mark.xdist_group("toybook")
def test_what_is_built_is_run_again_and_compared(built, tmp_path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(built, root, ignore=shutil.ignore_patterns("html", ".snakemake"))
    done = call(root, "verify", "--chapter", "01_toy", timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "01_toy: 101 numbers equal, 0 within the tolerance, 0 others" in done.stdout
    report = json.loads((root / "_build" / "verify" / "quick.json").read_text())
    assert report["01_toy"]["equal"] == 101 and not list(
        (root / "_build" / "verify").glob("*.ipynb")
    )
    job = plan.job("01_toy", "quick", {}, root)
    text = (root / job.executed).read_text()
    (root / job.executed).write_text(text.replace('"measured": 0.0', '"measured": 0.25'))
    done = call(root, "verify", "--chapter", "01_toy", timeout=900)
    assert done.returncode == 1 and "“reproduced”, published “not reproduced”" in done.stdout
