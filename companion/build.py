"""The build: check every parameter, then let Snakemake run what is not there yet."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat

from companion import children, claims, data, gate, paths, plan, provenance, site
from companion.request import Request

# Snakemake orders the work, runs it side by side and goes on when a chapter fails. Its own records
# of what is out of date, its lock and its notes of incomplete files are switched off, because the
# names of our outputs say it better: an executed chapter is named by a digest of all that it rests
# on, through every import, without comments and docstrings (companion/plan.py).
# - It is up to date exactly when its file exists. The triggers "code", "input" and "params" would
#   see a change of the Snakefile but none of a module that a chapter imports, and would run again
#   what an earlier build had already found in the same state.
# - It appears by a rename when it is whole: a file that is there is never incomplete, and two
#   builds at once can only write the same content.
# - A lock would wait for a human after a power cut.
BOOKKEEPING = (
    *("--rerun-triggers", "mtime"),
    *("--ignore-incomplete", "--keep-incomplete"),
    "--nolock",
)
# The reader's own settings for clusters and the like do not belong to this build.
UNTOUCHED = ("--profile", "none", "--workflow-profile", "none")

CHANGED = "  changed:"


@dataclass(frozen=True)
class Options:
    """How to build.

    Args:
        cores: how many to use;  until: stop at this rule;  verbose: let Snakemake say why.
    """

    cores: int = 1
    until: str | None = None
    verbose: bool = False


def run(request: Request, options: Options, root: Path) -> int:
    """Build what was asked for.

    Returns:
        The status for the shell: 0 when all was built, 128 + the signal when it was stopped.
    Raises:
        ValueError, OSError: a fault of parameters or data, before anything runs.
    """
    provenance.require_commit(root)
    jobs = request.jobs(root)
    book = root / request.folder / "html"
    if options.until is None and site.is_built(jobs, request, root):
        print(f"Nothing has changed. The book: {book / 'index.html'}")
        return 0
    waiting = [job.chapter for job in jobs if not (root / job.executed).is_file()]
    if waiting:
        _check_data([job for job in jobs if job.chapter in waiting])
        print(f"To run at the {request.profile} profile: {', '.join(waiting)}", flush=True)
    try:
        code = snakemake(request, options, root)
    except children.Stopped as stop:
        print(f"\nStopped. {_kept(jobs, root)} The same command goes on from there.", flush=True)
        return 128 + stop.number
    if code:
        print(f"The book was not built. {_kept(jobs, root)}", file=sys.stderr)
    elif options.until is None:
        # of the whole book only what came out otherwise than the ledger expects
        lines = [v for v in verdicts(jobs, root) if request.chapter or v.startswith(CHANGED)]
        print("".join(f"{line}\n" for line in lines), end="")
        print(f"The book: {book / 'index.html'}")
        if request.chapter:
            print(f"All runs of your own: {book.parents[1] / 'index.html'}")
    return code


def _check_data(jobs: list[plan.Job]) -> None:
    """Read the downloaded sets once, so that a damaged file is told before anything runs."""
    for name in sorted({name for job in jobs for name in plan.sets(job.parameters)}):
        data.load(name, "all", paths.data_dir())


def _kept(jobs: list[plan.Job], root: Path) -> str:
    done = [job.chapter for job in jobs if (root / job.executed).is_file()]
    return f"Kept: {', '.join(done) or 'nothing'}."


def snakemake(request: Request, options: Options, root: Path) -> int:
    """Let Snakemake run what is not there yet, without a word about the rest."""
    command = [sys.executable, "-m", "companion.executors"]
    command += [options.until] if options.until else []
    command += ["--cores", str(options.cores), "--keep-going", "--scheduler", "greedy"]
    command += [*BOOKKEEPING, *UNTOUCHED]
    command += [] if options.verbose else ["--quiet", "host", "rules", "reason"]
    command += ["--config", f"request={request.save(root).as_posix()}"]
    # /tmp and not $TMPDIR: the path of a socket may have about a hundred characters
    with tempfile.TemporaryDirectory(prefix="book-", dir="/tmp") as scratch:
        return children.run(command, root, environment(root, scratch))


def environment(root: Path, scratch: str) -> dict[str, str]:
    """The caller's environment without what would change a build."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SNAKEMAKE_")}
    return {
        **kept,
        "PYTHONPATH": str(root),
        "PYTHONUTF8": "1",  # whatever the locale
        "XDG_CACHE_HOME": str(paths.cache_dir(root)),
        "BOOK_SCRATCH": scratch,
    }


def verdicts(jobs: list[plan.Job], root: Path) -> Iterator[str]:
    """A line for every claim of some executed chapters."""
    ledger = claims.load(root / "book" / "claims.yaml")
    for job in jobs:
        executed = nbformat.read(root / job.executed, 4)
        measured = gate.measurements(executed)
        for name, m in measured.items():
            found = "" if m.skipped else f": measured {m.text}, bound {ledger[name].bound_text}"
            yield f"  {name} {m.verdict(ledger[name])}{found}"
        for line in gate.changed_verdicts(measured, ledger, job.profile):
            yield f"{CHANGED} {line}"
