"""What a moving drawing carries, against the numbers it was made of."""

import numpy as np
import pytest

from companion import figures, interactive, paths

SPEC = {
    "figure": "loss",
    "title": "Try",
    "controls": [
        {"name": "layer", "label": "layer", "values": "layers"},
        {"name": "at", "label": "epoch", "cursor": True},
    ],
    "x": {"label": "epoch"},
    "y": {"label": "loss"},
    "series": [{"name": "net", "x": "epoch", "y": "loss", "axes": ["layer", "each", "x"]}],
}
LOSS = np.arange(24.0).reshape(2, 4, 3)
DATA = {"layers": np.array([1, 5]), "epoch": np.array([0, 1, 2]), "loss": LOSS}


def test_a_frame_for_each_setting_and_none_for_the_cursor() -> None:
    drawn = interactive.drawing(SPEC, DATA)
    assert [c["options"] for c in drawn["controls"]] == [["1", "5"], []]
    assert [len(frame) for frame in drawn["frames"]] == [4, 4]
    assert [s["y"] for s in drawn["frames"][1]] == LOSS[1].tolist()
    assert drawn["frames"][0][0]["x"] == [0, 1, 2]


def test_rows_of_a_table_become_categories() -> None:
    table = {"at": np.array([0.9, 0.9, 0.5]), "by": np.array(["a", "b", "a"]), "v": np.arange(3.0)}
    controls = [{"name": "t", "label": "t", "values": "at", "distinct": True, "falling": True}]
    series = [{"value": "v", "by": "by", "where": {"at": "{t}"}, "names": {"b": "other"}}]
    drawn = interactive.drawing({**SPEC, "controls": controls, "series": series}, table)
    assert drawn["controls"][0]["options"] == ["0.9", "0.5"]
    assert [[(s["name"], s["y"]) for s in f] for f in drawn["frames"]] == [
        [("a", [0.0]), ("other", [1.0])],
        [("a", [2.0])],
    ]


def test_numbers_come_back_as_they_were_packed() -> None:
    for columns in ({"a": [1.0, 2.0], "b": ["x", "y"]}, {"a": np.eye(2), "b": np.ones(3)}):
        back = interactive.numbers(figures.numbers("n", columns))
        assert back.keys() == columns.keys()
        assert all((back[k] == np.asarray(v)).all() for k, v in columns.items())


def test_numbers_that_a_figure_does_not_have_are_named() -> None:
    with pytest.raises(ValueError, match="'layers' is not among epoch, loss"):
        interactive.drawing(SPEC, {"epoch": DATA["epoch"], "loss": LOSS})


def test_nothing_stands_where_a_setting_shows_nothing() -> None:
    spec = {**SPEC, "series": [{"value": "v", "by": "by", "where": {"by": "c"}}], "controls": []}
    assert interactive.block("n", spec, {"v": np.ones(1), "by": np.array(["a"])}) == ""


def test_a_text_does_not_end_the_script() -> None:
    spec = {**SPEC, "title": "</script>"}
    inner = interactive.block("n", spec, DATA).split('json">')[1]
    assert inner.count("</script>") == 1


def test_every_chapter_of_the_ledger_that_is_listed_exists() -> None:
    listed = interactive.load(paths.root())
    assert listed
    assert all(paths.source(chapter).is_file() for chapter in listed)
