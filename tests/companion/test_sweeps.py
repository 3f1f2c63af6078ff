"""Sweeps: what is asked for, what is kept, and the tables that come out."""

from __future__ import annotations

import json
import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toybook import call

from companion import claims, plan
from companion.measurement import Measurement, as_json
from companion.params import ParameterError
from companion.sweeps import running, store, sweep, tables
from companion.sweeps.axes import axes, points
from companion.trials import Trials


def through(given: dict[str, object], lists: tuple[str, ...] = (), seed: int = 0) -> list[dict]:
    return list(points(axes(given, set(lists), seed)))


def test_grids_ranges_and_zips_multiply() -> None:
    found = through({"a": "1,2", "(b,c)": "(5,x),(6,y)", "s": "0..2"})
    assert len(found) == 12 and found[0] == {"a": "1", "b": "5", "c": "x", "s": "0"}
    assert {(p["b"], p["c"]) for p in found} == {("5", "x"), ("6", "y")}


@pytest.mark.parametrize(
    "text, values",
    [
        ("0..1..0.25", ["0", "0.25", "0.5", "0.75", "1"]),
        ("98..100", ["98", "99", "100"]),
        ("-1..1", ["-1", "0", "1"]),
        ("0..0.3..0.1,7", ["0", "0.1", "0.2", "0.3", "7"]),
        ("linspace(0,1,3)", ["0.0", "0.5", "1.0"]),
        ("logspace(0.25,4,3)", ["0.25", "1.0", "4.0"]),
    ],
)
def test_a_range_has_both_ends(text, values) -> None:
    assert [p["a"] for p in through({"a": text})] == values


def test_a_parameter_that_takes_lists_is_one_value_on_the_line_and_several_in_yaml() -> None:
    assert through({"h": ["1", "2"]}, ("h",)) == [{"h": ["1", "2"]}]
    assert through({"h": "1,2"}, ("h",)) == [{"h": "1,2"}]
    assert len(through({"h": [["1", "2"], ["3"]]}, ("h",))) == 2


@given(st.integers(0, 2**32), st.integers(1, 20), st.integers(0, 20))
def test_draws_depend_on_seed_and_name_alone_and_more_begin_with_the_same(seed, few, more) -> None:
    kinds = {"u": "uniform(2,3,%d)", "l": "loguniform(1e-3,1,%d)", "i": "integers(-4,9,%d)"}
    short = through({k: v % few for k, v in kinds.items()}, seed=seed)
    back = {k: v % (few + more) for k, v in reversed(kinds.items())}
    assert through(back, seed=seed)[:few] == short  # drawn together: as many, no grid
    for p in short:
        assert 2 <= float(p["u"]) < 3 and 1e-3 <= float(p["l"]) <= 1 and -4 <= int(p["i"]) <= 9


@pytest.mark.parametrize(
    "given, says",
    [
        ({"a": "1,,2"}, "a: an empty value"),
        ({"a": "3..1"}, "'3..1' is no range"),
        ({"a": "0..1..0"}, "'0..1..0' is no range"),
        ({"a": "x..y"}, "cannot read 'x..y'"),
        ({"a": "0..99999999"}, "is no range"),
        ({"a": "0..9999", "b": "0..9999"}, "100,000,000 points: expected at most 10,000,000"),
        ({"a": "uniform(0,1,3)", "b": "uniform(0,1,4)"}, r"as many of each \(a: 3, b: 4\)"),
        ({"a": "loguniform(0,1,3)"}, "expected low > 0"),
        ({"a": "uniform(1,0,3)"}, "expected low <= high"),
        ({"a": "uniform(0,nan,3)"}, "expected low <= high"),
        ({"a": "uniform(0,1)"}, r"expected uniform\(low, high, how many\)"),
        ({"a": "integers(0.5,2,3)"}, "expected whole ends"),
        ({"a": "1", "(a,b)": "(1,2)"}, "a: given twice"),
        ({"(a,b)": "(1,2),(3)"}, "expected 2 values in each"),
        ({"(a,b)": "(1,2);(3,4)"}, "cannot read ';'"),
        ({"a": []}, "a has no values"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(given, says) -> None:
    with pytest.raises(ValueError, match=says):
        through(given)


def test_every_point_is_checked_before_any_runs(toy) -> None:
    reader = plan.Reader("01_toy", "quick", toy)
    found = sweep.points(sweep.Sweep("01_toy", given={"points": "5,6", "seed": "0..2"}), reader)
    assert len({p.key for p in found}) == 6
    assert (
        found[0].key == plan.job("01_toy", "quick", {"points": "5", "seed": "0"}, toy).stamp.digest
    )
    assert found[1].name == "points=5 seed=1" and found[1].changed == {"points": 5, "seed": 1}
    wrong = sweep.Sweep("01_toy", given={"points": "1,2", "seed": "0..2", "scales": "1"})
    with pytest.raises(ParameterError) as caught:
        sweep.points(wrong, reader)
    assert "scales is not a parameter" in str(caught.value)
    assert "points = 1 is out of range: expected >= 2" in str(caught.value)
    assert "(3 points)" in str(caught.value) and "Nothing has run" in str(caught.value)


def test_a_file_describes_a_sweep_and_a_wrong_one_is_refused(tmp_path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("chapter: 01_toy\nseed: 3\nparameters:\n  points: [5, 6]\n  (a, b): [[1, x]]\n")
    found = sweep.load(file, None, "cpu")
    assert found == sweep.Sweep("01_toy", "cpu", {"points": ["5", "6"], "(a, b)": [["1", "x"]]}, 3)
    assert through(dict(found.given))[0] == {"points": "5", "a": "1", "b": "x"}
    for text, says in {
        "chapter: 01_toy\n": "expected chapter",
        "chapter: 01_toy\npoints: 3\nparameters: {}\n": "points: expected no field but",
        "parameters: {}\n": "names no chapter",
        "chapter: a\nseed: -1\nparameters: {}\n": "expected a whole number",
    }.items():
        file.write_text(text)
        with pytest.raises(ValueError, match=says):
            sweep.load(file, None, "quick")


def result(key: str, error: str = "", **claims: Measurement) -> store.Result:
    origin = {"commit": "abc", "versions": {"torch": "2"}, "seconds": 1.5, "started": "now"}
    said = {name: as_json(m) for name, m in claims.items()}
    return store.Result(key, {"width": 3, "seed": 1}, 0.5, said, origin, "", error)


def test_results_outlive_a_line_that_was_cut_off(tmp_path) -> None:
    file = tmp_path / "points-a.jsonl"
    shard = store.Shard(file)
    shard.add(result("a", T1=Measurement(0.0)))
    shard.add(result("b", error="under “x”: RuntimeError: no"))
    whole = file.read_bytes()
    shard.add(result("c"))
    file.write_bytes(file.read_bytes()[:-20])
    assert list(store.done(tmp_path)) == ["a"]
    store.Shard(file).add(result("d"))
    found = {r.key: r for r in store.read(tmp_path)}
    assert list(found) == ["a", "b", "d"] and found["d"] == result("d")
    assert found["a"] == result("a", T1=Measurement(0.0)) and file.read_bytes().startswith(whole)
    assert whole.count(b"abc") == 1  # what all have in common is there once


LEDGER = {
    "T1": claims.Claim("T1", "x", "A", "p", "s", {}, bound=[0, "<= 1"], reason="r", exact=True),
    "T2": claims.Claim("T2", "x", "A", "p", "s", {}, bound=">= 0.9", reason="r", null="n"),
}


def test_tables_are_tidy_and_both_formats_say_the_same(tmp_path) -> None:
    seeds = list(range(6))
    good = Trials(
        {"seed": seeds, "value": [1.0, 0.95, 1.0, 0.97, 1.0, 0.99], "run": list("abcdef")}
    )
    null = Trials({"seed": seeds, "value": [0.1, 0.2, 0.1, 0.2, 0.1, 0.2]})
    given = [
        result("a", T1=Measurement([0, 0.5]), T2=Measurement(trials=good, nulls={"no": null})),
        result("b", T1=Measurement({"x": 0, "y": 2.0}), T2=Measurement(skipped="too small")),
        result("c", error="its process was ended by SIGKILL"),
    ]
    table, rows = tables.write(given, LEDGER, tmp_path)
    assert list(table.columns[:3]) == ["point", "width", "seed"]
    first = table.set_index(["point", "claim", "part"])
    assert first.loc[("a", "T1", "1"), "value"] == 0.5
    assert first.loc[("b", "T1", "y"), "verdict"] == "not reproduced"
    assert first.loc[("b", "T2", ""), "note"] == "too small"
    low, high = first.loc[("a", "T2", ""), ["low", "high"]]
    assert (low, high) == good.interval() and math.isnan(first.loc[("b", "T2", ""), "value"])
    assert first.loc[("c", "", ""), "error"] == "its process was ended by SIGKILL"
    assert len(table) == 7 and len(rows) == 12 and set(rows["trials"]) == {"measured", "null: no"}
    assert json.loads(rows["more"][2]) == {"run": "c"}
    for name, frame in {"claims": table, "rows": rows}.items():
        packed = pd.read_parquet(tmp_path / f"{name}.parquet")
        text = pd.read_csv(tmp_path / f"{name}.csv", keep_default_na=False, na_values={"value": ""})
        pd.testing.assert_frame_equal(packed, frame)
        assert list(text.columns) == list(frame.columns) and len(text) == len(frame)


@pytest.mark.parametrize(
    "points, cost, options, batches",
    [
        (1000, 1.0, running.Options(2), 4),  # of five minutes at most, as many for each core
        (100, 0.01, running.Options(4), 1),  # a start costs more than all of them
        (100, 0.15, running.Options(4), 3),
        (3, 100.0, running.Options(8), 3),  # at most one for each point
        (100_000, 10.0, running.Options(2), 2000),
        (1000, 60.0, running.Options(2, on="slurm"), 112),
        (1000, 0.1, running.Options(2, on="slurm"), 2),
    ],
)
def test_batches_take_minutes_and_more_of_them_on_a_cluster(points, cost, options, batches) -> None:
    split = running._split(list(range(points)), cost, options)
    assert len(split) == batches and sorted(p for b in split for p in b) == list(range(points))


@pytest.mark.slow
@pytest.mark.xdist_group("toybook")
def test_a_sweep_runs_keeps_what_is_done_and_reports_what_fails(toy) -> None:
    given = ["sweep", "--chapter", "02_slow", "--set", "wait=0,0.01 fail=false,true"]
    dry = call(toy, *given, "--dry")
    assert dry.returncode == 0 and "4 points of 02_slow, 0 done" in dry.stdout, dry.stderr
    assert "to run  wait=0.0 fail=true" in dry.stdout and not (toy / "_build" / "sweeps").exists()
    first = call(toy, *given, timeout=900)
    assert first.returncode == 1 and "2 points done" in first.stdout, first.stdout + first.stderr
    assert "failed: wait=0.01 fail=true: under “A second chapter”: RuntimeError" in first.stderr
    (folder,) = (toy / "_build" / "sweeps" / "02_slow").glob("sweep-*")
    table = pd.read_parquet(folder / "claims.parquet")
    assert list(table["verdict"]) == ["reproduced", "", "reproduced", ""]
    assert table["bound"][0] == "≥ 0.99" and table["error"][1].endswith("told to fail")
    assert len(pd.read_parquet(folder / "rows.parquet")) == 20
    assert (folder / "figure.svg").is_file()
    again = call(toy, "sweep", "--chapter", "02_slow", "--set", "wait=0..0.01..0.01")
    assert again.returncode == 0 and "2 points of 02_slow, 2 done" in again.stdout
    assert "Assuming" not in again.stdout + again.stderr  # Snakemake was not needed
    assert not list((toy / "_build" / "sweeps").rglob("batches-*"))
