"""Running again what is published, and comparing claims, rows and the numbers behind the figures.

Two numbers agree when |a - b| <= 1e-9 + 1e-6 |b|: residuals of rounding lie below the first, and on
one machine with the pinned versions everything else is equal to the last digit. On another
processor long training may end elsewhere; then the verdicts are what is left to compare. Columns
whose names say that they are seconds are not compared.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nbformat
import numpy as np

from companion import build, claims, gate, paths, plan, records
from companion.measurement import Measurement, as_json
from companion.request import Request

ABSOLUTE, RELATIVE = 1e-9, 1e-6
SHOWN = 5  # differences of a chapter that are named


@dataclass(frozen=True)
class Published:
    """What a run measured: claims, and the numbers behind its figures."""

    where: str
    claims: Mapping[str, Measurement]
    curves: Mapping[str, Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Comparison:
    """How a rerun compares with what was published.

    Args:
        equal, close: numbers that are the same to the last digit, or within the tolerance;
        other: where others stand;  verdicts: claims whose verdict is another one.
    """

    equal: int
    close: int
    other: tuple[str, ...]
    verdicts: tuple[str, ...]

    @property
    def good(self) -> bool:
        return not self.other and not self.verdicts


def run(request: Request, options: build.Options, root: Path) -> int:
    """Run again, compare, print one line for each chapter and write _build/verify/<profile>.json.

    Returns:
        0 when everything agrees, 1 when something does not.
    Raises:
        FileNotFoundError: nothing is published for a chapter.
    """
    jobs = request.jobs(root)
    there = {job.chapter: published(job, root) for job in jobs}
    again = replace(request, again=True)
    code = build.snakemake(again, replace(options, until="chapters"), root)
    if code:
        print("Not verified: what ran is kept, the same command goes on.", file=sys.stderr)
        return code
    ledger = claims.load(root / "book" / "claims.yaml")
    report, good = {}, True
    for job in again.jobs(root):
        found = compare(there[job.chapter], of_notebook(root / job.executed), ledger)
        good &= found.good
        report[job.chapter] = {"published": there[job.chapter].where, **vars(found)}
        _tell(job.chapter, there[job.chapter].where, found)
    target = root / "_build" / "verify" / f"{request.profile}.json"
    paths.write_atomic(target, json.dumps(report, indent=1))
    for job in again.jobs(root):  # the next call runs them again
        (root / job.executed).unlink()
    return 0 if good else 1


def published(job: plan.Job, root: Path) -> Published:
    """The record of a chapter at the profile, otherwise its run in the built book.

    Raises:
        FileNotFoundError: there is neither.
    """
    record = None if job.overrides else records.load(job.chapter, job.profile, root)
    if record is not None:
        text, _ = records.files(job.chapter, job.profile, root)
        return Published(text.relative_to(root).as_posix(), record.measurements, record.curves)
    if (root / job.executed).is_file():
        return of_notebook(root / job.executed)
    raise FileNotFoundError(
        f"{job.chapter} has no record of the {job.profile} profile and is not built in its present"
        f" state: make book PROFILE={job.profile} first"
    )


def of_notebook(path: Path) -> Published:
    """What an executed notebook says."""
    nb = nbformat.read(path, 4)
    drawn = {meta["name"]: meta["data"] for _, meta in gate.entries(nb, "figure")}
    return Published(path.name, gate.measurements(nb), records.curves(drawn))


def compare(old: Published, new: Published, ledger: Mapping[str, claims.Claim]) -> Comparison:
    """Compare claims with their rows, and the numbers behind the figures."""
    verdicts, counts = [], {"equal": 0, "close": 0}
    other: list[str] = []
    for name in old.claims.keys() | new.claims.keys():
        a, b = old.claims.get(name), new.claims.get(name)
        if a is None or b is None or name not in ledger:
            verdicts.append(f"claim {name} is not in both")
        elif (was := a.verdict(ledger[name])) != (now := b.verdict(ledger[name])):
            verdicts.append(f"claim {name}: “{now}”, published “{was}”")
    for what, first, second in (
        ("claim", _plain(old.claims), _plain(new.claims)),
        ("figure", old.curves, new.curves),
    ):
        for place, alike in _leaves(first, second, what):
            if alike in counts:
                counts[alike] += 1
            elif not alike:
                other.append(place)
    return Comparison(counts["equal"], counts["close"], tuple(other), tuple(sorted(verdicts)))


def _plain(found: Mapping[str, Measurement]) -> dict[str, Any]:
    kept = ("measured", "trials", "nulls")
    return {k: {part: as_json(m)[part] for part in kept} for k, m in found.items()}


def _leaves(a: Any, b: Any, place: str) -> Iterator[tuple[str, str]]:
    """(place, "equal", "close", "same" or "") of every number and text; texts are the same."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        a, b = a.tolist(), b.tolist()
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in list(dict.fromkeys([*a, *b])):
            if "second" not in str(key):
                yield from _leaves(a.get(key), b.get(key), f"{place} {key}")
    elif isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from _leaves(x, y, f"{place} {i}")
    else:
        yield place, _alike(a, b)


def _alike(a: Any, b: Any) -> str:
    numbers = all(isinstance(v, int | float) for v in (a, b))
    if a == b or (a != a and b != b):
        return "equal" if numbers else "same"
    if numbers and math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE):
        return "close"
    return ""


def _tell(chapter: str, where: str, found: Comparison) -> None:
    print(
        f"{chapter}: {found.equal:,} numbers equal, {found.close:,} within the tolerance,", end=""
    )
    print(f" {len(found.other):,} others; {len(found.verdicts)} verdicts changed ({where})")
    for line in [*found.verdicts, *found.other[:SHOWN]]:
        print(f"  {line}")
    if len(found.other) > SHOWN:
        print(f"  and {len(found.other) - SHOWN} more")
