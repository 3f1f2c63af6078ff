"""What a build has to run: the chapters, their parameters, and the digests of all that they rest
on.

An executed notebook is kept under the digest of its chapter's source, of the code that it imports,
of its parameters, its data and the pins. It is run again exactly when one of them changes in
content: touching a file or rewording a comment runs nothing, and going back to an earlier state
finds the earlier result.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from companion import asking, assignments, data, params, paths, stores
from companion.contents import chapters, profile_values
from companion.dependencies import all_imports
from companion.digests import digest_chapter, digest_files, digest_of, digest_pins


@dataclass(frozen=True)
class Stamp:
    """Digests of what a run rests on; the executed notebook carries them."""

    code: str
    parameters: str
    data: str
    pins: str

    @property
    def digest(self) -> str:
        """One digest of all."""
        return digest_of(self.code, self.parameters, self.data, self.pins)


@dataclass(frozen=True)
class Job:
    """One chapter at one profile.

    Args:
        parameters: every parameter with its value;  changed: those that differ from the chapter's
            defaults;
        overrides: those given on the command line;
        again: executed once more, beside what there is.
    """

    chapter: str
    profile: str
    parameters: Mapping[str, object]
    changed: Mapping[str, object]
    overrides: Mapping[str, object]
    stamp: Stamp
    again: bool = False

    @property
    def executed(self) -> str:
        """Where the executed notebook lies, relative to the checkout."""
        folder = "verify" if self.again else "runs"
        return f"_build/{folder}/{self.chapter}-{self.stamp.digest}.ipynb"

    @property
    def command(self) -> str:
        """The command that repeats this run."""
        profile = "" if self.profile == "quick" else f" PROFILE={self.profile}"
        given = f" P={assignments.quoted(self.overrides)}" if self.overrides else ""
        return f"make chapter CH={self.chapter}{profile}{given}"

    @property
    def metadata(self) -> dict[str, object]:
        """What is stamped into the executed notebook."""
        return {
            "chapter": self.chapter,
            "profile": self.profile,
            "parameters": dict(self.parameters),
            "overrides": dict(self.overrides),
            "stamp": asdict(self.stamp),
        }


class Reader:
    """A chapter at one profile, read once: the jobs of many parameters follow from it.

    Raises:
        FileNotFoundError: no such chapter.  ValueError: a fault of the profile, or the chapter
            imports or reads something that cannot be seen by reading it.
    """

    def __init__(self, chapter: str, profile: str, root: Path) -> None:
        path = root / "book" / f"{chapter}.py"
        if not path.is_file():
            raise FileNotFoundError(
                f"no chapter {chapter!r}: there are {', '.join(chapters(root)) or 'none'}"
            )
        source = path.read_text(encoding="utf-8")
        self.chapter, self.profile, self._root = chapter, profile, root
        self.known = params.declared(source)
        self._of_profile = profile_values(profile, root).get(chapter, {})
        imported = [f for f in all_imports(path, root) if f != path.resolve()]
        self.code = digest_of(digest_chapter(source), digest_files(imported, root.resolve()))
        self.pins = digest_pins(root)
        self._asked = asking.reads(source, path.name)
        self._read: dict[tuple[Path, ...], str] = {}

    def values(self, overrides: Mapping[str, assignments.Text]) -> dict[str, object]:
        """Every parameter with its value.

        Raises:
            ParameterError: in the profile or in the overrides.
        """
        given = {**self._of_profile, **overrides}
        return params.resolve(self.known, given, f"{self.chapter} ({self.profile})", texts=True)

    def parameters_digest(self, values: Mapping[str, object]) -> str:
        """Digest of the profile and of all parameters."""
        return digest_of(self.profile, json.dumps(values, sort_keys=True))

    def job(self, overrides: Mapping[str, assignments.Text]) -> Job:
        """Everything about one run, before it runs.

        Args:
            overrides: name -> text or list of texts, from the command line.
        Raises:
            ParameterError: as `values`.  MissingData: to be downloaded first.
        """
        values = self.values(overrides)
        stores.check(self.chapter, values, self._root)
        stamp = Stamp(
            code=self.code,
            parameters=self.parameters_digest(values),
            data=self._data_digest(values),
            pins=self.pins,
        )
        changed = {k: v for k, v in values.items() if v != self.known[k].default}
        given = {k: values[k] for k in overrides}
        return Job(self.chapter, self.profile, values, changed, given, stamp)

    def _data_digest(self, values: Mapping[str, object]) -> str:
        used = [
            *_downloaded(self.chapter, self.profile, values),
            *_committed(self.chapter, self.profile, self._asked, self._root),
        ]
        files = tuple(sorted(used))
        if files not in self._read:
            self._read[files] = _data_digest(files)
        return self._read[files]


def job(chapter: str, profile: str, overrides: Mapping[str, assignments.Text], root: Path) -> Job:
    """Everything about one run, before it runs; see `Reader`."""
    return Reader(chapter, profile, root).job(overrides)


def sets(values: Mapping[str, object]) -> list[str]:
    """The data sets among the values of parameters that must be downloaded.

    >>> sets({"data": "mnist", "seed": 3})
    ['mnist']
    """
    named = [
        v for value in values.values() for v in (value if isinstance(value, list) else [value])
    ]
    return [name for name in data.DOWNLOADED if name in named]


def _downloaded(chapter: str, profile: str, values: Mapping[str, object]) -> list[Path]:
    """The files of the data sets that the parameters name."""
    used: list[Path] = []
    for name in sets(values):
        found = data.files(name, paths.data_dir())
        if not found:
            raise data.MissingData(
                f"{chapter} reads {name} at the {profile} profile, and {paths.data_dir()} has"
                " none: run `make data`, or set DATA_DIR to a folder that has it"
            )
        used += found
    return used


def _committed(chapter: str, profile: str, asked: asking.Reads, root: Path) -> list[Path]:
    """The printed numbers, benchmarks and records that a chapter asks for."""
    used = [root / "book" / "printed" / f"{name}.csv" for name in asked.printed]
    for path in used:
        if not path.is_file():
            there = ", ".join(sorted(p.stem for p in path.parent.glob("*.csv"))) or "none"
            raise ValueError(f"{chapter} reads book/printed/{path.name}: there are {there}")
    if asked.benchmarks:
        used += (root / "benchmarks" / "results").glob("*.json")
    quoted = (*paths.PROFILES, paths.MORE) if asked.records is None else asked.records
    for name in quoted:
        if name != profile:
            used += (root / "book" / "records" / name).glob(f"{chapter}.*")
    return used


def _data_digest(files: Sequence[Path]) -> str:
    # the folder a downloaded file lies in does not matter, its set and name do
    return digest_of(
        *(part for f in sorted(files) for part in (f"{f.parent.name}/{f.name}", f.read_bytes()))
    )


def jobs(
    profile: str,
    only: Sequence[str] = (),
    overrides: Mapping[str, assignments.Text] | None = None,
    root: Path | None = None,
) -> list[Job]:
    """The jobs of a build, all faults of all chapters reported at once.

    Args:
        only: chapters to build, all when empty;  overrides: parameters given on the command line
            (one chapter only).
    """
    root = root or paths.root()
    chosen = list(only) or chapters(root)
    if overrides and len(chosen) != 1:
        raise ValueError(
            "parameters on the command line belong to one chapter: say which, CH=01_width"
        )
    found: list[Job] = []
    faults: list[ValueError | OSError] = []
    for chapter in chosen:
        try:
            found.append(job(chapter, profile, overrides or {}, root))
        except (ValueError, OSError) as fault:
            faults.append(fault)
    if faults:
        raise faults[0] if len(faults) == 1 else ValueError("\n".join(map(str, faults)))
    return found
