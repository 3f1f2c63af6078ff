"""The gate: what an executed chapter and a built book must show before they are published.

jupyter-book publishes a crashed notebook without complaint, so this is where a page is refused.
Every fault is named, not only the first.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from companion.claims import Claim
from companion.measurement import NOT_RUN, UNDECIDED, UNTESTABLE, Measurement, from_json
from companion.plan import Job

# Verdicts that decide nothing: on another processor trials near their bound may end there, and a
# claim with nothing to score is not run.
OPEN = {UNDECIDED, UNTESTABLE, NOT_RUN}


class Refused(RuntimeError):
    """A page or a book that is not fit to be published; the message lists why."""


def entries(nb: NotebookNode, kind: str) -> Iterator[tuple[NotebookNode, Any]]:
    """(output, what the run said) for every output of one kind: figure, claim, claims_table,
    record."""
    for cell in nb.cells:
        for output in cell.get("outputs", ()):
            book = output.get("metadata", {}).get("book", {})
            if kind in book:
                yield output, book[kind]


def check_chapter(nb: NotebookNode, job: Job, source: str, ledger: Mapping[str, Claim]) -> None:
    """Refuse an executed chapter that is not fit to be published.

    Args:
        nb: the executed notebook;  job: what it should be at present;  source: the chapter's
            present text;
        ledger: the claims of this chapter.
    Raises:
        Refused: with every fault found.
    """
    faults = [
        *_cells(nb),
        *_stamps(nb, job),
        *_figures(nb, figure_names(source)),
        *_claims(nb, ledger, job),
        *_foot(nb),
    ]
    if faults:
        raise Refused(f"{job.chapter} is refused:\n" + "\n".join(f"  - {f}" for f in faults))


def _cells(nb: NotebookNode) -> Iterator[str]:
    last = 0
    for number, cell in enumerate(nb.cells):
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        count, first = cell.get("execution_count"), cell.source.strip().splitlines()[0]
        if count is None:
            yield f"cell {number} was not executed: {first}"
        elif count <= last:
            yield f"cell {number} was executed out of order ({count} after {last}): {first}"
        last = count or last
        for output in cell.get("outputs", ()):
            if output.output_type == "error":
                yield (
                    f"cell {number} ended in an error, {output.ename}:"
                    f" {output.evalue.partition(chr(10))[0]}"
                )
            if output.output_type == "stream" and output.name == "stderr":
                yield f"cell {number} printed a warning: {output.text.strip().splitlines()[0]}"


def _stamps(nb: NotebookNode, job: Job) -> Iterator[str]:
    found = nb.metadata.get("book")
    if not found:
        yield "it carries no stamp: it was not executed by this build"
        return
    for what, fresh in asdict(job.stamp).items():
        if found["stamp"].get(what) != fresh:
            yield (
                f"it is stamped with other {what} ({found['stamp'].get(what)}) than the present"
                f" ones ({fresh})"
            )
    for _, record in entries(nb, "record"):
        if record["parameters"] != json.loads(json.dumps(job.parameters)):
            yield (
                f"it ran with the parameters {dict(record['parameters'])}: expected"
                f" {dict(job.parameters)}"
            )


def _figures(nb: NotebookNode, expected: Sequence[str]) -> Iterator[str]:
    shown = {meta["name"]: output for output, meta in entries(nb, "figure")}
    for name in expected:
        if name not in shown:
            yield f"figure {name} is missing"
        elif not any(
            str(v).strip() for k, v in shown[name].get("data", {}).items() if k.startswith("image/")
        ):
            yield f"figure {name} has no image"


def _claims(nb: NotebookNode, ledger: Mapping[str, Claim], job: Job) -> Iterator[str]:
    measured = measurements(nb)
    for name in measured.keys() - ledger.keys():
        yield f"claim {name} is not in book/claims.yaml"
    for name, claim in ledger.items():
        if name not in measured:
            yield f"claim {name} is missing: {claim.statement}"
            continue
        try:
            measured[name].verdict(claim)
        except ValueError as fault:
            yield str(fault)
    # with parameters of one's own another verdict is a result, not a regression
    if not job.overrides:
        yield from changed_verdicts(measured, ledger, job.profile, regressions=True)


def changed_verdicts(
    measured: Mapping[str, Measurement],
    ledger: Mapping[str, Claim],
    profile: str,
    *,
    regressions: bool = False,
) -> list[str]:
    """A line for every claim whose verdict is not the one that the ledger expects of a profile.

    Args:
        regressions: only those that no other processor's rounding explains: trials that are no
            longer decided, or decided at last, lie near their bound and are left out.
    """
    lines = []
    for name, m in measured.items():
        if name not in ledger:
            continue
        claim = ledger[name]
        try:
            verdict = m.verdict(claim)
        except ValueError:  # named by the gate
            continue
        both = {verdict, claim.expected[profile]}
        near = not claim.exact and bool(both & OPEN)
        if len(both) == 2 and not (regressions and near):
            lines.append(
                f"claim {name}: the verdict is “{verdict}” (measured {m.text}, bound"
                f" {claim.bound_text}), book/claims.yaml expects “{claim.expected[profile]}” at the"
                f" {profile} profile"
            )
    return lines


def measurements(nb: NotebookNode) -> dict[str, Measurement]:
    """What a run measured, claim id -> measurement."""
    return {str(meta["id"]): from_json(meta) for _, meta in entries(nb, "claim")}


def _foot(nb: NotebookNode) -> Iterator[str]:
    if not list(entries(nb, "claims_table")):
        yield "it has no table of claims: call run.claims_table() at its end"
    if len(list(entries(nb, "record"))) != 1:
        yield (
            "it does not say where the run came from: call run.provenance() as its last line, once"
        )


def check_site(html: Path, pages: Sequence[str], figures: Mapping[str, Sequence[str]]) -> None:
    """Refuse a built book that lacks what a reader expects.

    Args:
        html: folder of the built site;  pages: their names;  figures: page -> ids of its figures.
    Raises:
        Refused: a page, a figure, the search index, the claims or the local MathJax is missing.
    """
    faults = []
    for page in pages:
        file = html / f"{page}.html"
        if not file.is_file():
            faults.append(f"page {page} is missing")
            continue
        text = file.read_text(encoding="utf-8")
        faults += [
            f"page {page} lacks figure {f}"
            for f in figures.get(page, ())
            if f'id="{f}"' not in text
        ]
        faults += [f"page {page} takes {url} from the network" for url in _foreign(text)]
    needed = ("index.html", "searchindex.js", "claims.json", "_static/mathjax/startup.js")
    faults += [f"{name} is missing" for name in needed if not (html / name).is_file()]
    if faults:
        raise Refused("the book is refused:\n" + "\n".join(f"  - {f}" for f in faults))


def _foreign(text: str) -> list[str]:
    return re.findall(r"<(?:script|img|link)[^>]+(?:src|href)=\"(https?://[^\"]+)\"", text)


def figure_names(source: str) -> list[str]:
    """The figures that a chapter's source says it shows, in order.

    Raises:
        ValueError: a name that is not a literal.

    >>> figure_names("run.figure(fig, 'loss', 'c', 'a', data)\\nrun.claim('A1')")
    ['loss']
    """
    names = []
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "run.figure"):
            continue
        words = {k.arg: k.value for k in node.keywords}
        name = node.args[1] if len(node.args) > 1 else words.get("name")
        if not (isinstance(name, ast.Constant) and isinstance(name.value, str)):
            raise ValueError(
                f"line {node.lineno}: write the name of a figure as a literal, so that its absence"
                " is noticed"
            )
        names.append(name.value)
    return names
