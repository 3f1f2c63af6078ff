"""What a chapter calls, outside a notebook: what is refused, and what is put into the outputs."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from companion import chapter, paths, records
from companion.measurement import Measurement, as_json
from companion.params import ParameterError


@pytest.fixture
def start(toy, monkeypatch):
    """`chapter.start` of the toy's first chapter, with everything it shows caught."""
    monkeypatch.setattr(paths, "root", lambda: toy)
    monkeypatch.setenv("BOOK_PROFILE", "quick")
    shown: list[tuple[dict, dict]] = []
    monkeypatch.setattr(
        chapter, "display", lambda bundle, raw, metadata: shown.append((bundle, metadata))
    )

    def begin(**namespace) -> chapter.Run:
        with plt.rc_context():
            run = chapter.start("01_toy", {"points": 50, "scale": 1.0, "seed": 0, **namespace})
        run.shown = shown
        return run

    return begin


def figure():
    fig, ax = plt.subplots()
    ax.plot([0, 1])
    return fig


def test_only_what_papermill_put_in_is_taken_for_a_parameter(start) -> None:
    run = start(
        In=["", "points = 5\nrows = []", "# Parameters\npoints = 50\n"],
        rows=[],
        BLUE="#00f",
        plt=plt,
    )
    assert run.params == {"points": 50, "scale": 1.0, "seed": 0} and "01_toy, quick" in repr(run)


@pytest.mark.parametrize("extra", [{"trails": 5}, {"points": 2.5}, {"scale": 99.0}])
def test_a_parameter_that_does_not_fit_stops_the_chapter(extra, start) -> None:
    (name,) = extra
    with pytest.raises(
        ParameterError, match=f"(?s)The parameters of 01_toy are.*\n01_toy: {name} "
    ):
        start(In=["", f"# Parameters\n{name} = {extra[name]}\n"], **extra)


def test_a_figure_is_shown_with_its_words_and_numbers_and_closed(start) -> None:
    run, fig = start(), figure()
    run.figure(fig, "odd", "Caption.", "Alt.", {"x": [1, 2]})
    ((bundle, metadata),) = run.shown
    assert bundle["image/svg+xml"].startswith("<?xml") and bundle["text/plain"] == "Alt.\nCaption."
    assert metadata["book"]["figure"]["name"] == "odd" and list(
        metadata["book"]["figure"]["data"]
    ) == ["odd.csv"]
    assert not plt.fignum_exists(fig.number)
    with pytest.raises(ValueError, match="figure odd was shown before"):
        run.figure(figure(), "odd", "Caption.", "Alt.", {"x": [1]})
    plt.close("all")


def test_a_claim_is_entered_once_and_only_in_its_chapter(start) -> None:
    run = start()
    run.claim("T1", np.float64(1e-16))
    assert run.verdict("T1") == "reproduced"
    assert run.shown[0][1]["book"]["claim"] == {"id": "T1", **as_json(Measurement(1e-16))}
    with pytest.raises(ValueError, match="claim T1 was entered before"):
        run.claim("T1", 0.0)
    with pytest.raises(ValueError, match="T2 is not a claim of 01_toy: book/claims.yaml has T1"):
        run.claim("T2", 1.0)


def test_a_claim_without_grounds_is_not_entered(start) -> None:
    run = start()
    with pytest.raises(ValueError, match="measured=... is missing"):
        run.claim("T1", note="Seen.")
    with pytest.raises(TypeError, match="set is not a number"):
        run.claim("T1", {1, 2})
    with pytest.raises(ValueError, match="say why it is not run"):
        run.skip("T1", "")
    assert not run.shown
    run.skip("T1", "Needs a GPU.")
    assert run.verdict("T1") == "not run"


def test_the_table_names_claims_that_are_missing(start) -> None:
    run = start()
    run.claims_table()
    assert run.shown[0][0]["text/markdown"].endswith("Not entered: T1.")


@pytest.mark.parametrize(
    "value, text",
    [
        (0.10902, "0.109"),
        (2129.0, "2,129"),
        (2.4e-4, "2.4\u00a0×\u00a010⁻⁴"),
        ("as it is", "as it is"),
        (np.int64(3), "3"),
    ],
)
def test_glue_formats_numbers(value, text, start) -> None:
    run = start()
    run.glue("x", value)
    ((bundle, metadata),) = run.shown
    assert bundle == {"application/papermill.record/text/plain": repr(text)}
    assert metadata["scrapbook"] == {"name": "x", "mime_prefix": "application/papermill.record/"}


def test_data_are_noted_with_their_checksum_at_the_foot(start) -> None:
    run = start()
    x, y = run.data("iris", "all")
    assert x.shape == (150, 4) and y.shape == (150,)
    run.provenance()
    bundle, metadata = run.shown[-1]
    record = metadata["book"]["record"]
    assert (
        list(record["provenance"]["data"]) == ["iris all"] and record["parameters"]["points"] == 50
    )
    for word in (
        "commit",
        "profile",
        "parameters",
        "seed",
        "device",
        "versions",
        "data",
        "run it again",
    ):
        assert f"| {word} |" in bundle["text/markdown"], word


def test_downloaded_data_have_to_be_named_by_a_parameter(start) -> None:
    with pytest.raises(ValueError, match="01_toy reads mnist, but no parameter of it says so"):
        start().data("mnist", "train")


def test_the_record_of_another_profile_can_be_quoted(start, toy) -> None:
    run = start()
    assert run.record("cpu") is None
    said = {
        "chapter": "01_toy",
        "profile": "cpu",
        "parameters": {},
        "provenance": {},
        "claims": {"T1": {"measured": 0.5}},
    }
    records.save(said, {}, toy)
    assert run.record("cpu").measurements["T1"].measured == 0.5
    with pytest.raises(ValueError, match="cannot quote its own record"):
        run.record("quick")


def test_an_unknown_chapter_lists_those_there_are(toy, monkeypatch) -> None:
    monkeypatch.setattr(paths, "root", lambda: toy)
    with pytest.raises(
        FileNotFoundError, match="no chapter '09_none' .* there are 01_toy, 02_slow"
    ):
        chapter.start("09_none", {})
