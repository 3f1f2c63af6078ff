"""What a build has to run: the chapters, their parameters, and the digests of all that they rest
on.

An executed notebook is kept under the digest of its chapter's source, of the `lib/` files that it
imports, of its parameters, its data and the pins. It is run again exactly when one of them changes
in content: touching a file runs nothing, and going back to an earlier state finds the earlier
result."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from companion import data, params, paths
from companion.closure import closure
from companion.contents import chapters, profile_values


@dataclass(frozen=True)
class Stamp:
    """Digests of what a run rests on; the executed notebook carries them."""

    code: str
    parameters: str
    data: str
    pins: str

    @property
    def digest(self) -> str:
        return digest_of(self.code, self.parameters, self.data, self.pins)


@dataclass(frozen=True)
class Job:
    """One chapter at one profile.

    Args:
        parameters: every parameter with its value;  changed: those that differ from the chapter's
            defaults;
        overrides: those given on the command line.
    """

    chapter: str
    profile: str
    parameters: Mapping[str, object]
    changed: Mapping[str, object]
    overrides: Mapping[str, object]
    stamp: Stamp

    @property
    def executed(self) -> str:
        """Where the executed notebook lies, relative to the checkout."""
        return f"_build/runs/{self.chapter}-{self.stamp.digest}.ipynb"

    @property
    def command(self) -> str:
        """The command that repeats this run."""
        words = (
            "".join(f" {k}={json.dumps(v)}" for k, v in self.overrides.items())
            .strip()
            .replace('"', "")
        )
        profile = "" if self.profile == "quick" else f" PROFILE={self.profile}"
        return f"make chapter CH={self.chapter}{profile}" + (f' P="{words}"' if words else "")

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


def digest_of(*parts: str | bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        part = part.encode() if isinstance(part, str) else part
        whole.update(f"{len(part)}:".encode() + part)
    return whole.hexdigest()[:20]


def digest_files(files: Iterable[Path], root: Path) -> str:
    """One digest of names and contents; of when they were touched nothing.

    Args:
        files: files;  root: names are relative to it, or absolute when a file lies elsewhere.
    """
    named = sorted(
        (f.relative_to(root).as_posix() if f.is_relative_to(root) else f.name, f) for f in files
    )
    return digest_of(*(part for name, f in named for part in (name, f.read_bytes())))


def pins(root: Path) -> str:
    """Digest of the exact pins and of the Python they are installed for; comments do not count."""
    lines = [
        line.split("#")[0].strip() for line in (root / "requirements.txt").read_text().splitlines()
    ]
    return digest_of(
        f"python {sys.version_info.major}.{sys.version_info.minor}", *filter(None, lines)
    )


def _data_digest(
    chapter: str, profile: str, source: str, values: Mapping[str, object], root: Path
) -> str:
    named = {
        v for value in values.values() for v in (value if isinstance(value, list) else [value])
    }
    used: list[Path] = []
    for name in data.DOWNLOADED:
        if name in named:
            found = data.files(name, paths.data_dir())
            if not found:
                raise data.MissingData(
                    f"{chapter} reads {name} at the {profile} profile, and {paths.data_dir()} has"
                    " none: run `make data`, or set DATA_DIR to a folder that has it"
                )
            used += found
    used += [
        root / "book" / "printed" / f"{name}.csv"
        for name in re.findall(r"run\.printed\(\"([^\"]+)\"\)", source)
    ]
    if "run.benchmarks(" in source:
        used += (root / "benchmarks" / "results").glob("*.json")
    if "run.record(" in source:
        used += [
            f
            for p in (*paths.PROFILES, paths.MORE)
            if p != profile
            for f in (root / "book" / "records" / p).glob(f"{chapter}.*")
        ]
    # the folder a downloaded file lies in does not matter, its set and name do
    return digest_of(
        *(part for f in sorted(used) for part in (f"{f.parent.name}/{f.name}", f.read_bytes()))
    )


def job(chapter: str, profile: str, overrides: Mapping[str, str], root: Path) -> Job:
    """Everything about one run, before it runs.

    Args:
        overrides: name -> text, from the command line.
    Raises:
        ParameterError: in the profile or in the overrides.  MissingData: to be downloaded first.
    """
    source = root / "book" / f"{chapter}.py"
    if not source.is_file():
        raise FileNotFoundError(
            f"no chapter {chapter!r}: there are {', '.join(chapters(root)) or 'none'}"
        )
    text = source.read_text()
    known = params.declared(text)
    given = profile_values(profile, root).get(chapter, {})
    values = params.resolve(known, {**given, **overrides}, f"{chapter} ({profile})", texts=True)
    stamp = Stamp(
        code=digest_files(closure(source, root), root),
        parameters=digest_of(profile, json.dumps(values, sort_keys=True)),
        data=_data_digest(chapter, profile, text, values, root),
        pins=pins(root),
    )
    changed = {k: v for k, v in values.items() if v != known[k].default}
    return Job(chapter, profile, values, changed, {k: values[k] for k in overrides}, stamp)


def plan(
    profile: str,
    only: Sequence[str] = (),
    overrides: Mapping[str, str] | None = None,
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
    jobs, faults = [], []
    for chapter in chosen:
        try:
            jobs.append(job(chapter, profile, overrides or {}, root))
        except (ValueError, OSError) as fault:
            faults.append(fault)
    if faults:
        raise faults[0] if len(faults) == 1 else ValueError("\n".join(map(str, faults)))
    return jobs
