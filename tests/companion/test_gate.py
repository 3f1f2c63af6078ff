"""The gate: each way in which a chapter or a book is not fit to be published, spoilt on purpose and
refused."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import nbformat
import pytest

from companion import claims, gate, plan
from companion.gate import Refused

pytestmark = pytest.mark.xdist_group("toybook")  # one worker builds it, once


class Chapter:
    """The executed toy chapter with all that the gate compares it with."""

    def __init__(self, root: Path, nb: nbformat.NotebookNode) -> None:
        self.nb, self.job = nb, plan.job("01_toy", "quick", {}, root)
        self.source = (root / "book" / "01_toy.py").read_text()
        self.ledger = {
            k: c
            for k, c in claims.load(root / "book" / "claims.yaml").items()
            if c.chapter == "01_toy"
        }

    def pass_gate(self) -> None:
        gate.check_chapter(self.nb, self.job, self.source, self.ledger)

    def cell(self, text: str) -> nbformat.NotebookNode:
        return next(c for c in self.nb.cells if c.cell_type == "code" and text in c.source)

    def drop(self, kind: str) -> None:
        for cell in self.nb.cells:
            cell.outputs = [
                o
                for o in cell.get("outputs", ())
                if kind not in o.get("metadata", {}).get("book", {})
            ]


@pytest.fixture
def chapter(built, executed) -> Chapter:
    return Chapter(built, executed)


def refused(chapter: Chapter, says: str) -> None:
    with pytest.raises(Refused, match=says) as caught:
        chapter.pass_gate()
    assert str(caught.value).startswith("01_toy is refused:")


def test_a_sound_chapter_passes(chapter) -> None:
    chapter.pass_gate()


def test_an_error_output_is_refused(chapter) -> None:
    error = nbformat.v4.new_output(
        "error", ename="ValueError", evalue="loss is nan\nmore", traceback=[]
    )
    chapter.cell("np.linspace").outputs.append(error)
    refused(chapter, r"cell \d ended in an error, ValueError: loss is nan$")


def test_a_warning_on_the_page_is_refused(chapter) -> None:
    chapter.cell("np.linspace").outputs.append(
        nbformat.v4.new_output("stream", name="stderr", text="Warning: slow\n")
    )
    refused(chapter, "printed a warning: Warning: slow")


def test_a_cell_that_was_not_executed_is_refused(chapter) -> None:
    chapter.cell("np.linspace").execution_count = None
    refused(chapter, "was not executed: x = np.linspace")


def test_a_cell_out_of_order_is_refused(chapter) -> None:
    chapter.cell("np.linspace").execution_count = 99
    refused(chapter, r"was executed out of order \(4 after 99\)")


def test_a_missing_figure_is_refused(chapter) -> None:
    chapter.drop("figure")
    refused(chapter, "figure odd is missing")


def test_a_figure_without_an_image_is_refused(chapter) -> None:
    ((output, _),) = gate.entries(chapter.nb, "figure")
    output.data = {"text/plain": "Figure"}
    refused(chapter, "figure odd has no image")


def test_a_missing_claim_is_refused(chapter) -> None:
    chapter.drop("claim")
    refused(chapter, "claim T1 is missing: The hyperbolic tangent is odd")


def test_a_claim_outside_the_ledger_is_refused(chapter) -> None:
    chapter.ledger = {}
    refused(chapter, "claim T1 is not in book/claims.yaml")


def test_a_changed_verdict_is_refused(chapter) -> None:
    chapter.ledger["T1"] = dataclasses.replace(
        chapter.ledger["T1"], expected={"quick": "undecided"}
    )
    refused(
        chapter, "claim T1: the verdict is “reproduced” .* expects “undecided” at the quick profile"
    )


def test_a_verdict_that_no_longer_follows_is_refused(chapter) -> None:
    chapter.ledger["T1"] = dataclasses.replace(chapter.ledger["T1"], exact=False)
    refused(chapter, "claim T1 is empirical: trials=... is missing")


def test_another_verdict_with_parameters_of_ones_own_is_a_result(chapter) -> None:
    chapter.ledger["T1"] = dataclasses.replace(
        chapter.ledger["T1"], expected={"quick": "undecided"}
    )
    chapter.job = dataclasses.replace(chapter.job, overrides={"seed": 0})
    chapter.pass_gate()


@pytest.mark.parametrize("what", ["code", "parameters", "data", "pins"])
def test_a_stamp_of_another_state_is_refused(what, chapter) -> None:
    chapter.job = dataclasses.replace(
        chapter.job, stamp=dataclasses.replace(chapter.job.stamp, **{what: "0" * 20})
    )
    refused(chapter, f"stamped with other {what} ")


def test_a_notebook_without_a_stamp_is_refused(chapter) -> None:
    del chapter.nb.metadata["book"]
    refused(chapter, "it carries no stamp")


def test_a_run_with_other_parameters_than_stamped_is_refused(chapter) -> None:
    ((_, record),) = gate.entries(chapter.nb, "record")
    record["parameters"]["points"] = 3
    refused(chapter, "it ran with the parameters .*'points': 3.* expected .*'points': 50")


def test_a_chapter_without_table_or_provenance_is_refused(chapter) -> None:
    for kind in ("claims_table", "record"):
        spoilt = copy.copy(chapter)
        spoilt.nb = copy.deepcopy(chapter.nb)
        spoilt.drop(kind)
        refused(
            spoilt, {"claims_table": "call run.claims_table", "record": "call run.provenance"}[kind]
        )


def test_every_fault_is_named(chapter) -> None:
    chapter.drop("figure")
    chapter.drop("claim")
    chapter.cell("np.linspace").execution_count = None
    with pytest.raises(Refused) as caught:
        chapter.pass_gate()
    assert str(caught.value).count("\n  - ") == 3


def test_the_name_of_a_figure_is_a_literal() -> None:
    with pytest.raises(ValueError, match="line 2: write the name of a figure as a literal"):
        gate.figure_names("for i in range(3):\n    run.figure(fig, f'loss-{i}', 'c', 'a', {})\n")
    assert gate.figure_names("run.figure(fig, caption='c', name='loss')") == ["loss"]


@pytest.fixture
def html(tmp_path) -> Path:
    for name in ("index", "01_toy"):
        (tmp_path / f"{name}.html").write_text('<h1>Title</h1><figure id="fig-toy-odd"></figure>')
    for name in ("searchindex.js", "claims.json", "_static/mathjax/startup.js"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    return tmp_path


def check_site(html: Path) -> None:
    gate.check_site(html, ["index", "01_toy"], {"01_toy": ["fig-toy-odd"]})


def test_a_whole_book_passes(html) -> None:
    check_site(html)


@pytest.mark.parametrize(
    "name",
    ["01_toy.html", "index.html", "searchindex.js", "claims.json", "_static/mathjax/startup.js"],
)
def test_a_book_that_lacks_a_page_or_a_part_is_refused(name, html) -> None:
    (html / name).unlink()
    with pytest.raises(Refused, match=f"{name.removesuffix('.html')}.* is missing"):
        check_site(html)


def test_a_page_that_lost_a_figure_is_refused(html) -> None:
    (html / "01_toy.html").write_text("<h1>Title</h1>")
    with pytest.raises(Refused, match="page 01_toy lacks figure fig-toy-odd"):
        check_site(html)


def test_a_page_that_needs_the_network_is_refused(html) -> None:
    with (html / "index.html").open("a") as page:
        page.write('<script async src="https://cdn.example/x.js"></script>')
    with pytest.raises(Refused, match="page index takes https://cdn.example/x.js from the network"):
        check_site(html)
