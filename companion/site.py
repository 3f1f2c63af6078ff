"""The pages: staged notebooks and Markdown -> one jupyter-book build -> gate -> the folder that a
reader opens."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import nbformat
import yaml

from companion import claims, contents, gate, paths, plan, scorecard
from companion.stage import figure_id, stage

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
    return plan.digest_of(
        plan.digest_files(files, root), plan.pins(root), *(j.stamp.digest for j in jobs)
    )


def checked(job: plan.Job, root: Path) -> nbformat.NotebookNode:
    """The executed notebook of a job, having passed the gate.

    Raises:
        Refused: with every fault.
    """
    nb = nbformat.read(root / job.executed, 4)
    source = (root / "book" / f"{job.chapter}.py").read_text()
    ledger = {
        k: c
        for k, c in claims.load(root / "book" / "claims.yaml").items()
        if c.chapter == job.chapter
    }
    gate.check_chapter(nb, job, source, ledger)
    return nb


def build(jobs: Sequence[plan.Job], place: Path, root: Path, alone: bool = False) -> None:
    """Make the pages and put them in place of the former ones, in one step.

    Args:
        jobs: the chapters, executed;  place: the folder of the site;
        alone: make the pages of these chapters only, and let references to other pages fail.
    Raises:
        Refused: a chapter or the built book.  BuildFailed: jupyter-book complained.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pages-", dir=place.parent) as scratch:
        source = Path(scratch) / "book"
        notebooks = _checked_all(jobs, root)
        pages = _gather(notebooks, jobs[0].profile if jobs else "quick", source, root, alone)
        _jupyter_book(source, strict=not alone)
        html = source / "_build" / "html"
        _finish(html)
        drawn = {
            c: [figure_id(c, m["name"]) for _, m in gate.said(nb, "figure")]
            for c, nb in notebooks.items()
        }
        gate.check_site(html, pages, drawn)
        former = Path(scratch) / "former"
        if place.exists():
            place.rename(former)
        html.rename(place)


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


def _gather(notebooks, profile: str, source: Path, root: Path, alone: bool) -> list[str]:
    chapters = list(notebooks)
    pages = contents.pages(root)
    ignored = shutil.ignore_patterns("*.py", "*.ipynb", "records", "profiles", "claims.yaml", ".*")
    shutil.copytree(root / "book", source, ignore=ignored)
    for name in FILES:
        shutil.copy(root / name, source / name)
    ledger = claims.load(root / "book" / "claims.yaml")
    fresh = {}
    for chapter, nb in notebooks.items():
        stage(nb, chapter, {k: c for k, c in ledger.items() if c.chapter == chapter}, source)
        fresh |= gate.measurements(nb)
    table = scorecard.columns(ledger, fresh, profile, root)
    extra = source / "_extra"
    extra.mkdir()
    (extra / "claims.json").write_text(scorecard.as_json_text(ledger, table, root))
    if alone:
        pages = [*chapters, *ALONE]
        toc = {
            "format": "jb-book",
            "root": chapters[0],
            "chapters": [{"file": page} for page in ALONE],
        }
        (source / "_toc.yml").write_text(yaml.safe_dump(toc))
    else:
        page = source / "scorecard.md"
        page.write_text(
            page.read_text().replace(scorecard.MARKER, scorecard.markdown(ledger, table))
        )
    return pages


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
        env={**os.environ, "PYTHONWARNINGS": "ignore", "NO_COLOR": "1"},
    )
    if run.returncode:
        said = run.stdout + run.stderr
        complaints = [
            line for line in said.splitlines() if "WARNING" in line or "ERROR" in line
        ] or said.splitlines()[-20:]
        lines = "\n".join("  " + line.replace(f"{source}{os.sep}", "") for line in complaints)
        raise BuildFailed(f"jupyter-book refused the pages:\n{lines}")


# What jupyter-book puts on every page for cells that run on a remote server (declared twice, which
# is a script error), and hints to load icon fonts early, which a browser refuses for pages opened
# as files.
_UNWANTED = re.compile(
    r"\s*(?:<script>const THEBE_JS_URL.*?</script>|<script[^>]*sphinx-thebe\.js[^>]*></script>|"
    r"<script type=\"text/x-thebe-config\">.*?</script>|<script>kernelName = .*?</script>|"
    r"<link rel=\"preload\" as=\"font\"[^>]*>)",
    re.DOTALL,
)


def _finish(html: Path) -> None:
    for page in html.rglob("*.html"):
        page.write_text(_UNWANTED.sub("", page.read_text()))
    # The package is named with dashes, so that it cannot be imported; it serves as a source of
    # files. After the build, as jupyter-book would load every script below _static on every page.
    mathjax = (
        Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent
        / "static"
        / "mathjax"
    )
    target = html / "_static" / "mathjax"
    shutil.copytree(mathjax / "output" / "chtml", target / "output" / "chtml")
    for part in ("tex-chtml.js", "input/tex/extensions", "ui", "a11y", "sre"):
        if (mathjax / part).is_dir():
            shutil.copytree(mathjax / part, target / part)
        else:
            shutil.copy(mathjax / part, target / part)


def locate(profile: str, alone: bool) -> Path:
    """Where the site of a profile, or of chapters with parameters of one's own, lies.

    >>> locate("quick", alone=False).relative_to(paths.root()).as_posix()
    '_build/quick/html'
    """
    return paths.root() / "_build" / ("mine" if alone else profile) / "html"
