"""Running a sweep: points -> batches -> Snakemake -> tables."""

from __future__ import annotations

import math
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
import yaml

from companion import build, children, claims, gate, plan, provenance
from companion.sweeps import picture, store, tables
from companion.sweeps.sweep import Point, Sweep, folder, points, results
from companion.sweeps.worker import Batch

LISTED = 20  # points that are named one by one
# seconds of points in a batch: its start costs a few; every point that is done is kept at once
LOCAL, CLUSTER = 300.0, 600.0
UNKNOWN = 60.0  # of a point, where the first has failed
MOST = 2000  # batches, as Snakemake's own work grows with them


@dataclass(frozen=True)
class Options:
    """How to run a sweep.

    Args:
        cores: of this machine;  on: "" for this machine, or the name of a folder in profiles/;
        dry: only say what would run;  verbose: let Snakemake say why.
    """

    cores: int = 1
    on: str = ""
    dry: bool = False
    verbose: bool = False

    def profile(self, root: Path) -> Path | None:
        """The folder of the workflow profile, None on this machine.

        Raises:
            ValueError: there is no such profile.
        """
        if not self.on:
            return None
        for found in (root / "profiles" / self.on, Path(self.on)):
            if (found / "config.yaml").is_file():
                return found.resolve()
        there = ", ".join(sorted(p.parent.name for p in root.glob("profiles/*/config.yaml")))
        raise ValueError(f"ON={self.on}: there is no such profile: expected one of {there}")


def run(sweep: Sweep, options: Options, root: Path) -> int:
    """Run the points of a sweep that have not run, and write its tables.

    Returns:
        The status for the shell: 0 when every point is there, 1 when some failed.
    Raises:
        ValueError, OSError: a fault of the parameters or the data, before anything runs.
    """
    provenance.require_commit(root)
    reader = plan.Reader(sweep.chapter, sweep.profile, root)
    options.profile(root)
    wanted, place = points(sweep, reader), folder(reader, root)
    done = store.done(place)
    waiting = [p for p in wanted if p.key not in done]
    cost = _cost(list(done.values()), sweep.chapter, root)
    print(f"{len(wanted)} points of {sweep.chapter}, {len(wanted) - len(waiting)} done", flush=True)
    if options.dry:
        _list(wanted, set(done), cost, options)
        return 0
    before = time.monotonic()
    try:
        code = _all(waiting, sweep, place, options, root)
    except children.Stopped as stop:
        there = sum(p.key in store.done(place) for p in wanted)
        print(f"\nStopped: {there} of {len(wanted)} points are done.", flush=True)
        print("The same command goes on from there.", flush=True)
        return 128 + stop.number
    own = sum(store.done(place).values()) - sum(done.values())
    spent = f"{own:.0f} s of points in {time.monotonic() - before:.0f} s" if waiting else ""
    return max(code, _finish(sweep, wanted, place, root, spent))


def _all(waiting: Sequence[Point], sweep: Sweep, place: Path, options: Options, root: Path) -> int:
    """Batches of what waits; the first point alone, which compiles kernels and shows the cost."""
    if not waiting:
        return 0
    known, code = list(store.done(place).values()), 0
    if not known and len(waiting) > 1:
        code = _batches([[waiting[0]]], sweep, place, options, root)
        known = list(store.done(place).values())
        waiting = waiting[1:]
    cost = statistics.median(known) if known else UNKNOWN
    return max(code, _batches(_split(waiting, cost, options), sweep, place, options, root))


def _split(waiting: Sequence[Point], cost: float, options: Options) -> list[list[Point]]:
    """Batches of about one length; points that follow each other, and so are alike, are dealt
    out."""
    target, short, lanes = (CLUSTER, 60.0, 16) if options.on else (LOCAL, 5.0, options.cores)
    total = len(waiting) * cost
    # all lanes get as many, unless there is too little for all of them
    full = math.ceil(total / target / lanes) * lanes
    count = full if total > short * lanes else math.ceil(total / short)
    count = max(1, min(MOST, count, len(waiting)))
    return [list(waiting[i::count]) for i in range(count)]


def _batches(
    split: list[list[Point]], sweep: Sweep, place: Path, options: Options, root: Path
) -> int:
    # a name of its own for each run: nothing appends to what an earlier one has left
    name = f"{time.time_ns():x}"
    work = place / f"batches-{name}"
    for i, batch in enumerate(split):
        file, shard = work / f"{i:05}.json", place / f"points-{name}-{i:05}.jsonl"
        done = file.with_suffix(".done")
        entries = [vars(p) for p in batch]
        where = [p.relative_to(root).as_posix() for p in (shard, done)]
        Batch(sweep.chapter, sweep.profile, entries, *where).save(file)
    try:
        if len(split) == 1 and not options.on:
            return _alone(work / "00000.json", root)
        return _snakemake(work.relative_to(root), options, root)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _alone(file: Path, root: Path) -> int:
    """One batch needs no scheduler."""
    command = [sys.executable, "-m", "companion", "batch", "--file", str(file)]
    return children.run(command, root, build.environment(root, "/tmp"))


def _snakemake(work: Path, options: Options, root: Path) -> int:
    profile = options.profile(root)
    command = [sys.executable, "-m", "companion.executors"]
    command += ["--snakefile", str(Path(__file__).parent / "Snakefile"), "--directory", str(root)]
    command += ["--keep-going", "--retries", "1", "--scheduler", "greedy", *build.BOOKKEEPING]
    command += ["--profile", "none", "--workflow-profile", str(profile or "none")]
    command += [] if profile else ["--cores", str(options.cores)]
    command += [] if options.verbose else ["--quiet", "host", "rules", "reason", "progress"]
    command += ["--config", f"batches={work.as_posix()}"]
    with tempfile.TemporaryDirectory(prefix="book-", dir="/tmp") as scratch:
        seen = build.environment(root, scratch)
        if profile:
            text = (profile / "config.yaml").read_text(encoding="utf-8")
            seen["BOOK_EXECUTOR"] = yaml.safe_load(text)["executor"]
        return children.run(command, root, seen)


def _finish(sweep: Sweep, wanted: Sequence[Point], place: Path, root: Path, spent: str) -> int:
    """Write the tables and the figure, and tell what failed."""
    keys = {p.key for p in wanted}
    found: dict[str, store.Result] = {}
    for result in store.read(place):
        if result.key in keys and (not result.error or result.key not in found):
            found[result.key] = result
    ledger = claims.load(root / "book" / "claims.yaml")
    target = results(sweep, root)
    ordered = [found[p.key] for p in wanted if p.key in found]
    table, rows = tables.write(ordered, ledger, target)
    set_by = [c for c in table.columns[1:] if c not in (*tables.FIRST, *tables.LAST)]
    drawn = picture.draw(table, set_by, target / "figure.svg")
    failed = [r for r in ordered if r.error]
    names = {p.key: p.name for p in wanted}
    for result in failed[:LISTED]:
        print(f"failed: {names[result.key]}: {result.error}", file=sys.stderr)
    missing = len(wanted) - len(ordered)
    if failed or missing:
        print(f"{len(failed)} points failed, {missing} did not run.", file=sys.stderr)
        print("The same command tries them again.", file=sys.stderr)
    done = len(ordered) - len(failed)
    print(
        f"{done} points done{f', {spent}' if spent else ''}: {len(table)} rows of claims,", end=""
    )
    print(f" {len(rows)} of trials. {target / 'claims.parquet'}")
    if drawn:
        print(f"The figure: {target / 'figure.svg'}")
    return 1 if failed or missing else 0


def _cost(known: list[float], chapter: str, root: Path) -> float | None:
    """Seconds of a point: of points that ran, otherwise of the chapter when it last ran."""
    if known:
        return statistics.median(known)
    runs = sorted((root / "_build" / "runs").glob(f"{chapter}-*.ipynb"), key=os.path.getmtime)
    for path in reversed(runs):
        for _, record in gate.entries(nbformat.read(path, 4), "record"):
            return float(record["provenance"]["seconds"])
    return None


def _list(wanted: Sequence[Point], done: set[str], cost: float | None, options: Options) -> None:
    for point in wanted[:LISTED]:
        print(f"  {'done' if point.key in done else 'to run':7} {point.name}")
    if len(wanted) > LISTED:
        print(f"  and {len(wanted) - LISTED} more")
    left = sum(p.key not in done for p in wanted)
    if cost is None:
        print(f"{left} to run; what one costs is known when the first has run.")
    else:
        lanes = "the cluster" if options.on else f"{options.cores} cores"
        total = left * cost
        each = total if options.on else total / options.cores
        print(f"{left} to run, {cost:.2g} s each: {total:.0f} s of points on {lanes}", end="")
        print("" if options.on else f", about {each:.0f} s")
