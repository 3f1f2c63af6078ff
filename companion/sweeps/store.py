"""Where the results of points are kept: files of JSON lines that only grow.

A batch of points appends one line for each, so that what is finished survives whatever ends the
batch, and many points need few files. A line that was cut off is passed over, its point runs again.
What all points of a batch have in common, such as commit and machine, stands in lines of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from companion.digests import digest_of

OWN = ("started", "seconds", "data")  # what differs from point to point in where it came from


@dataclass(frozen=True)
class Result:
    """What one point gave.

    Args:
        overrides: its parameters, as far as the sweep sets them;  seconds: of its cells;
        claims: id -> what was measured, as `measurement.from_json` reads it;
        origin: where it came from;  warned: the first line of a warning;
        error: why it failed, "" when it did not.
    """

    key: str
    overrides: Mapping[str, Any]
    seconds: float
    claims: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)
    warned: str = ""
    error: str = ""


class Shard:
    """One file of results, open for more.

    Args:
        path: the file; what is in it stays.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._told = path, set[str]()
        path.touch()
        self._mend()

    def _mend(self) -> None:
        # a line that was cut off is closed, so that the next does not hang on to it
        content = self._path.read_bytes()
        if content and not content.endswith(b"\n"):
            with self._path.open("ab") as file:
                file.write(b"\n")

    def add(self, result: Result) -> None:
        """Append a result; it is on its way to the disk when this returns."""
        common = {k: v for k, v in result.origin.items() if k not in OWN}
        own = {k: v for k, v in result.origin.items() if k in OWN}
        name = digest_of(json.dumps(common, sort_keys=True))[:8]
        lines = []
        if name not in self._told:
            lines.append(json.dumps({"origin": name, "common": common}))
            self._told.add(name)
        fields = {**vars(result), "origin": own, "from": name}
        lines.append(json.dumps(fields))
        with self._path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))


def read(folder: Path) -> Iterator[Result]:
    """All results of a folder, the newest of a file last."""
    for path in sorted(folder.glob("points-*.jsonl")):
        yield from read_file(path)


def read_file(path: Path) -> Iterator[Result]:
    """The results of one file, those of a point that ran again after its first."""
    common: dict[str, dict[str, Any]] = {}
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:  # cut off: that point runs again
                continue
            if "common" in entry:
                common[entry["origin"]] = entry["common"]
                continue
            origin = {**common.get(entry.pop("from"), {}), **entry.pop("origin")}
            yield Result(**entry, origin=origin)


def done(folder: Path) -> dict[str, float]:
    """The points that are finished, key -> seconds."""
    return {r.key: r.seconds for r in read(folder) if not r.error}
