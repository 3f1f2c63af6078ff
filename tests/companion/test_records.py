"""Records: what is written comes back, and only for profiles that exist."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from companion import claims, figures, plan, records, scorecard, stale
from companion.measurement import Measurement, as_json


def test_a_record_comes_back(tmp_path) -> None:
    said = {
        "chapter": "01_toy",
        "profile": "cpu",
        "parameters": {"trials": 3},
        "provenance": {"commit": "abc"},
        "figures": ["loss", "eig"],
        "claims": {"T1": as_json(Measurement([1.5, 2], note="n"))},
    }
    eig = np.array([[1.0, -2.0]])
    drawn = {
        "loss": figures.numbers("loss", {"epoch": [1, 2], "loss": [0.5, 0.25]}),
        "eig": figures.numbers("eig", {"h": eig}),
    }
    text, packed = records.save(said, drawn, tmp_path)
    assert [p.relative_to(tmp_path).as_posix() for p in (text, packed)] == [
        "book/records/cpu/01_toy.json",
        "book/records/cpu/01_toy.npz",
    ]
    back = records.load("01_toy", "cpu", tmp_path)
    assert back.measurements == {"T1": Measurement([1.5, 2], note="n")}
    assert (back.parameters, back.provenance) == (said["parameters"], said["provenance"])
    assert back.curves["loss"]["epoch"].tolist() == [1, 2] and np.array_equal(
        back.curves["eig"]["h"], eig
    )
    before = text.read_bytes(), packed.read_bytes()
    records.save(said, drawn, tmp_path)
    assert before == (
        text.read_bytes(),
        packed.read_bytes(),
    )  # no change in git where nothing changed


def test_no_record_yet_is_none(tmp_path) -> None:
    assert records.load("01_toy", "paper", tmp_path) is None


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(
        ValueError, match="profile 'gpu': expected one of quick, cpu, wide, paper, more"
    ):
        records.load("01_toy", "gpu")


def test_printed_numbers_are_columns_and_a_wrong_name_lists_the_right_ones(tmp_path) -> None:
    folder = tmp_path / "book" / "printed"
    folder.mkdir(parents=True)
    (folder / "a2021-fig1.csv").write_text("# where from\nx,y\n1,2\n3,4.5\n")
    found = records.printed("a2021-fig1", tmp_path)
    assert {k: v.tolist() for k, v in found.items()} == {"x": [1.0, 3.0], "y": [2.0, 4.5]}
    with pytest.raises(ValueError, match="no printed numbers 'b': there are a2021-fig1"):
        records.printed("b", tmp_path)


def test_a_record_is_stale_when_its_code_or_its_parameters_changed(toy) -> None:
    job = plan.job("01_toy", "cpu", {}, toy)
    said = {"chapter": "01_toy", "profile": "cpu", "parameters": {}, "provenance": {}, "claims": {}}

    def why() -> str:
        return stale.reasons(["01_toy", "02_slow"], ["cpu", "paper"], toy).get(
            ("cpu", "01_toy"), ""
        )

    records.save(said, {}, toy)
    assert why() == "it does not say which code it was taken with"
    records.save({**said, "stamp": asdict(job.stamp)}, {}, toy)
    assert why() == "" and stale.words({}) == ""
    source = toy / "book" / "01_toy.py"
    text = source.read_text()
    source.write_text(text.replace("# %%\nx =", "# %%\n# a comment\nx ="))
    assert why() == ""
    source.write_text(text.replace("np.tanh(-x)).max()", "np.tanh(-x)).min()"))
    assert why() == "its code has changed since"
    source.write_text(text)
    (toy / "book" / "profiles" / "cpu.yaml").write_text("01_toy: {points: 7}\n")
    assert why() == "its parameters have changed since"
    table = {"T1": {"quick run": Measurement(0.0), "cpu record": Measurement(0.0)}}
    ledger = {"T1": claims.load(toy / "book" / "claims.yaml")["T1"]}
    card = scorecard.markdown(ledger, table, {("cpu", "01_toy"): why()})
    assert "marked † below: cpu 01_toy (its parameters have changed since)" in card
    assert card.count("†") == 2 and "†" not in scorecard.markdown(ledger, table)
