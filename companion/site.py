"""The pages: staged notebooks and Markdown -> one jupyter-book build -> gate -> the folder that a
reader opens."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import nbformat
import yaml

from companion import (
    claims,
    contents,
    finish,
    gate,
    interactive,
    launch,
    own,
    paths,
    plan,
    reference,
    scorecard,
    stale,
)
from companion.digests import digest_files, digest_of, digest_pins
from companion.measurement import Measurement
from companion.notebooks import notebook
from companion.request import Request
from companion.staging import figure_id, stage

FILES = ("_config.yml", "_toc.yml")
ALONE = ("glossary", "references")  # what a chapter refers to: a book of one chapter has them too


class BuildFailed(RuntimeError):
    """jupyter-book ended with warnings or errors."""


def digest(jobs: Sequence[plan.Job], root: Path) -> str:
    """Digest of all that the pages are made of: the runs, the prose, the ledger, the records and
    this package."""
    book = [
        f
        for f in (root / "book").rglob("*")
        if f.is_file() and not f.name.startswith(".") and "profiles" not in f.parts
    ]
    files = [*book, *(root / f for f in FILES), *(root / "companion").glob("*.py")]
    return digest_of(
        digest_files(files, root), digest_pins(root), *(job.stamp.digest for job in jobs)
    )


def is_built(jobs: Sequence[plan.Job], request: Request, root: Path) -> bool:
    """Whether the pages of these runs are there."""
    folder = root / request.folder
    return (folder / f"book-{digest(jobs, root)}").is_file() and (folder / "html").is_dir()


def checked(job: plan.Job, root: Path) -> nbformat.NotebookNode:
    """The executed notebook of a job, having passed the gate, with the comments of its source as
    they are at present: a change of them runs nothing.

    Raises:
        Refused: with every fault.
    """
    nb: nbformat.NotebookNode = nbformat.read(root / job.executed, 4)
    _refresh(nb, notebook(job.chapter, root))
    source = (root / "book" / f"{job.chapter}.py").read_text(encoding="utf-8")
    ledger = {
        k: c
        for k, c in claims.load(root / "book" / "claims.yaml").items()
        if c.chapter == job.chapter
    }
    gate.check_chapter(nb, job, source, ledger)
    return nb


def _refresh(nb: nbformat.NotebookNode, fresh: nbformat.NotebookNode) -> None:
    own = [c for c in nb.cells if "injected-parameters" not in c.metadata.get("tags", ())]
    if [c.cell_type for c in own] == [c.cell_type for c in fresh.cells]:  # else the gate refuses it
        for executed, present in zip(own, fresh.cells, strict=True):
            executed.source = present.source


def build(request: Request, root: Path) -> None:
    """Make the pages of executed chapters and put them in place of the former ones, in one step.

    For one chapter alone, references to pages of other chapters may fail.

    Raises:
        Refused: a chapter or the built book.  BuildFailed: jupyter-book complained.
    """
    place = root / request.folder / "html"
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pages-", dir=place.parent) as scratch:
        source = Path(scratch) / "book"
        notebooks = _checked_all(request.jobs(root), root)
        pages = _gather(notebooks, request, source, root)
        _jupyter_book(source, strict=request.chapter is None)
        html = source / "_build" / "html"
        finish.finish(html, notebooks)
        launch.write(notebooks, html)
        drawn = {
            c: [figure_id(c, m["name"]) for _, m in gate.entries(nb, "figure")]
            for c, nb in notebooks.items()
        }
        gate.check_site(html, pages, drawn)
        former = Path(scratch) / "former"
        if place.exists():
            place.rename(former)
        html.rename(place)
    if request.chapter is not None:
        own.enter(request, root)


def _checked_all(jobs: Sequence[plan.Job], root: Path) -> dict[str, nbformat.NotebookNode]:
    notebooks, refusals = {}, []
    for job in jobs:
        try:
            notebooks[job.chapter] = checked(job, root)
        except gate.Refused as refusal:
            refusals.append(str(refusal))
    if refusals:
        raise gate.Refused("\n".join(refusals))
    return notebooks


def _gather(
    notebooks: Mapping[str, nbformat.NotebookNode], request: Request, source: Path, root: Path
) -> list[str]:
    """Put all that jupyter-book needs into a folder.

    Returns:
        The names of its pages.
    """
    ignored = shutil.ignore_patterns("*.py", "*.ipynb", "records", "profiles", "*.yaml", ".*")
    shutil.copytree(root / "book", source, ignore=ignored)
    for name in FILES:
        shutil.copy(root / name, source / name)
    ledger = claims.load(root / "book" / "claims.yaml")
    fresh: dict[str, Measurement] = {}
    moved = interactive.load(root)
    for chapter, nb in notebooks.items():
        claimed = {k: c for k, c in ledger.items() if c.chapter == chapter}
        larger = scorecard.recorded([chapter], root)
        stage(nb, chapter, claimed, source, larger, moved.get(chapter))
        fresh |= gate.measurements(nb)
    table = scorecard.columns(ledger, fresh, request.profile, root)
    paths.write_atomic(
        source / "_extra" / "claims.json", scorecard.as_json_text(ledger, table, root)
    )
    if request.chapter is None:
        if (source / "reference.md").is_file():
            reference.write(root, source)
        page = source / "scorecard.md"
        text = page.read_text(encoding="utf-8")
        old = stale.reasons(list(notebooks), scorecard.RECORDED, root)
        card = scorecard.markdown(ledger, table, old)
        page.write_text(text.replace(scorecard.MARKER, card), encoding="utf-8")
        front = source / f"{contents.pages(root)[0]}.md"
        text = scorecard.quoted(front.read_text(encoding="utf-8"), ledger, fresh)
        front.write_text(text, encoding="utf-8")
        return contents.pages(root)
    others = [{"file": page} for page in ALONE]
    toc = {"format": "jb-book", "root": request.chapter, "chapters": others}
    (source / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    return [request.chapter, *ALONE]


def _jupyter_book(source: Path, strict: bool) -> None:
    flags = ["-W", "-n", "--keep-going"] if strict else []
    command = [
        sys.executable,
        "-c",
        "from jupyter_book.cli.main import main; main()",
        "build",
        str(source),
        *flags,
    ]
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "PYTHONWARNINGS": "ignore", "NO_COLOR": "1", "PYTHONUTF8": "1"},
    )
    if run.returncode:
        lines = (run.stdout + run.stderr).splitlines()
        complaints = [li for li in lines if "WARNING" in li or "ERROR" in li] or lines[-20:]
        told = "\n".join("  " + line.replace(f"{source}{os.sep}", "") for line in complaints)
        raise BuildFailed(f"jupyter-book refused the pages:\n{told}")
