"""A sweep: which chapter, through which parameters, and its points, all checked before any runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from companion import assignments, contents, params, plan
from companion.digests import digest_of
from companion.sweeps import axes

FIELDS = ("chapter", "profile", "seed", "parameters")


@dataclass(frozen=True)
class Sweep:
    """What to run.

    Args:
        given: name, or "(a,b)" -> what it runs through, as in `companion.sweeps.axes`;
        seed: of its random draws.
    """

    chapter: str
    profile: str = "quick"
    given: Mapping[str, object] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True)
class Point:
    """One point of a sweep.

    Args:
        key: digest of the code, the data, the pins and all parameters: its results are kept under
            it;
        overrides: the parameters that the sweep sets;  changed: those that differ from the
            chapter's defaults.
    """

    key: str
    overrides: Mapping[str, object]
    changed: Mapping[str, object]

    @property
    def name(self) -> str:
        """Its parameters, as a reader types them."""
        return assignments.write(self.overrides)


def load(path: Path, chapter: str | None, profile: str) -> Sweep:
    """The sweep that a YAML file describes: chapter, profile, seed, parameters.

    Args:
        chapter, profile: of the command line; the file's own come first.
    Raises:
        ValueError: not such a file.
    """
    # texts: the declared type, not YAML's guess, says what a value is
    found = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)
    if not isinstance(found, dict) or not isinstance(found.get("parameters"), dict):
        raise ValueError(f"{path}: expected chapter: ... and name: values lines below parameters:")
    if unknown := set(found) - set(FIELDS):
        raise ValueError(
            f"{path}: {', '.join(sorted(unknown))}: expected no field but {', '.join(FIELDS)}"
        )
    seed = str(found.get("seed", "0"))
    if not seed.isdigit():
        raise ValueError(f"{path}: seed: {seed}: expected a whole number of 0 or more")
    wanted = found.get("chapter", chapter)
    if not wanted:
        raise ValueError(f"{path} names no chapter: write chapter: 01_width, or give CH=01_width")
    return Sweep(wanted, found.get("profile", profile), found["parameters"], int(seed))


def points(sweep: Sweep, reader: plan.Reader) -> list[Point]:
    """Every point of a sweep, in order.

    Raises:
        ParameterError: what is wrong with the parameters of all points, each fault once.
        ValueError: an axis that cannot be read.
    """
    lists = {name for name, p in reader.known.items() if p.is_list}
    found: dict[str, Point] = {}
    faults: Counter[str] = Counter()
    for given in axes.points(axes.axes(sweep.given, lists, sweep.seed)):
        try:
            job = reader.job(given)
        except params.ParameterError as fault:
            faults[str(fault).rpartition("\n")[2]] += 1
            continue
        point = Point(job.stamp.digest, job.overrides, job.changed)
        found.setdefault(point.key, point)
    if faults:
        raise params.ParameterError("\n".join(_told(faults, reader)))
    return list(found.values())


def _told(faults: Counter[str], reader: plan.Reader) -> Iterator[str]:
    yield f"The parameters of {reader.chapter} are"
    yield params.table(reader.known)
    for fault, times in list(faults.items())[:20]:
        yield fault + (f" ({times} points)" if times > 1 else "")
    if len(faults) > 20:
        yield f"and {len(faults) - 20} faults more. Nothing has run."
    else:
        yield f"{sum(faults.values())} points have a fault. Nothing has run."


def folder(reader: plan.Reader, root: Path) -> Path:
    """Where the points of a chapter in its present state are kept, those of every sweep."""
    state = digest_of(reader.code, reader.pins)[:12]
    return root / "_build" / "sweeps" / reader.chapter / f"{reader.profile}-{state}"


def results(sweep: Sweep, root: Path) -> Path:
    """Where the tables and the figure of one sweep go."""
    said = digest_of(sweep.profile, repr(sorted(sweep.given.items())), str(sweep.seed))
    return root / "_build" / "sweeps" / sweep.chapter / f"sweep-{said[:8]}"


def chapter_of(name: str, root: Path) -> str:
    """The chapter by its name.

    Raises:
        FileNotFoundError: there is none.
    """
    there = contents.chapters(root)
    if name not in there:
        raise FileNotFoundError(f"no chapter {name!r}: there are {', '.join(there) or 'none'}")
    return name
