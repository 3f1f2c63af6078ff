"""A store is refused where it cannot be written to, or belongs to a run of other parameters."""

from __future__ import annotations

from pathlib import Path

import pytest

from companion import chapter, plan, stores
from companion.parameter import ParameterError

VALUES = {"seed": 3, "widths": [0.5], "device": "cpu", "minutes": 2.0}


def test_a_run_goes_on_from_its_own_store_on_another_machine(tmp_path) -> None:
    values = {**VALUES, "store": str(tmp_path / "new" / "store")}
    stores.claim("04_grafting", values, tmp_path)
    stores.claim("04_grafting", {**values, "device": "cuda", "minutes": 9.0}, tmp_path)
    assert stores.check("04_grafting", values, tmp_path) == tmp_path / "new" / "store"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": 4}, "holds results of seed = 3, not 4: take another folder"),
        ({"widths": [0.5, 1.0]}, r"widths = \[0.5\], not \[0.5, 1.0\]"),
        ({"depth": 16}, "depth = None, not 16"),
    ],
)
def test_results_of_other_parameters_are_not_taken_for_ones_own(change, says, tmp_path) -> None:
    values = {**VALUES, "store": "kept"}
    stores.claim("04_grafting", values, tmp_path)
    with pytest.raises(ParameterError, match=says):
        stores.check("04_grafting", {**values, **change}, tmp_path)
    with pytest.raises(ParameterError, match="chapter = '04_grafting', not '05_interpolation'"):
        stores.check("05_interpolation", values, tmp_path)


def test_a_place_that_cannot_be_written_to_is_refused(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ParameterError, match="file is no folder to write to"):
        stores.check("x", {"store": "file/store"}, tmp_path)


def test_build_and_chapter_look_at_the_store(toy, monkeypatch) -> None:
    source = toy / "book" / "02_slow.py"
    line = 'store: str = ""  # folder that keeps what is finished\n'
    source.write_text(source.read_text().replace("wait: float", line + "wait: float", 1))
    stores.claim("02_slow", plan.job("02_slow", "quick", {"store": "s"}, toy).parameters, toy)
    with pytest.raises(ParameterError, match="wait = 0.0, not 1.0"):
        plan.job("02_slow", "quick", {"store": "s", "wait": "1"}, toy)
    monkeypatch.setattr(chapter.paths, "root", lambda: toy)
    with pytest.raises(ParameterError, match="fail = False, not True"):
        chapter.start("02_slow", {"store": "s", "fail": True})
    assert Path(toy / "s" / stores.NOTE).is_file()
