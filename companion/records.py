"""Recorded runs: what a profile that takes long, or a GPU, measured once; committed under
book/records/.

book/records/<profile>/<chapter>.json (<profile> is "more" for a run with parameters of its own)
holds the measured claims, the parameters and the provenance; <chapter>.npz beside it holds the
numbers behind the figures."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from companion import paths
from companion.digests import digest_of
from companion.measurement import Measurement, from_json


@dataclass(frozen=True)
class Record:
    """A recorded run of one chapter.

    Args:
        measurements: claim id -> what was measured.
        curves: figure name -> array name -> array, the numbers behind the figures.
        stamp: digests of what it was measured with, empty in records that have none.
    """

    chapter: str
    profile: str
    parameters: Mapping[str, object]
    provenance: Mapping[str, object]
    measurements: Mapping[str, Measurement]
    curves: Mapping[str, Mapping[str, np.ndarray]]
    stamp: Mapping[str, str] = field(default_factory=dict)


def files(chapter: str, profile: str, root: Path | None = None) -> tuple[Path, Path]:
    """Where the JSON and the npz of a record lie."""
    folder = (root or paths.root()) / "book" / "records" / profile
    return folder / f"{chapter}.json", folder / f"{chapter}.npz"


def load(chapter: str, profile: str, root: Path | None = None) -> Record | None:
    """The record, or None when there is none yet.

    Raises:
        ValueError: the profile's name is unknown, or the two files are of different runs.

    >>> load("99_nothing", "cpu") is None
    True
    """
    if profile not in (*paths.PROFILES, paths.MORE):
        raise ValueError(
            f"profile {profile!r}: expected one of {', '.join((*paths.PROFILES, paths.MORE))}"
        )
    text, packed = files(chapter, profile, root)
    if not text.is_file():
        return None
    record = json.loads(text.read_text(encoding="utf-8"))
    stored: dict[str, dict[str, np.ndarray]] = {}
    content = packed.read_bytes() if packed.is_file() else b""
    if record.get("numbers", digest_of(content)) != digest_of(content):
        raise ValueError(
            f"{packed} does not belong to {text.name}: a former `make record` was stopped between"
            " the two; run it again"
        )
    if content:
        with np.load(io.BytesIO(content)) as arrays:
            for key in arrays.files:
                figure, column = key.split("/", 1)
                stored.setdefault(figure, {})[column] = arrays[key]
    measured = {k: from_json(m) for k, m in record["claims"].items()}
    return Record(
        chapter,
        profile,
        record["parameters"],
        record["provenance"],
        measured,
        stored,
        record.get("stamp", {}),
    )


def save(
    record: Mapping[str, object], drawn: Mapping[str, Mapping[str, str]], root: Path | None = None
) -> tuple[Path, Path]:
    """Write what `Run.provenance` put into a notebook, and the numbers behind its figures.

    Args:
        record: chapter, profile, parameters, provenance, claims;  drawn: figure name -> file name
            -> base64.
    Returns:
        The two files written.
    """
    text, packed = files(str(record["chapter"]), str(record["profile"]), root)
    arrays: dict[str, Any] = {
        f"{figure}/{name}": array
        for figure, columns in curves(drawn).items()
        for name, array in columns.items()
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    whole = {**record, "numbers": digest_of(buffer.getvalue())}
    paths.write_atomic(packed, buffer.getvalue())
    paths.write_atomic(text, json.dumps(whole, indent=1, sort_keys=True) + "\n")
    return text, packed


def curves(drawn: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, np.ndarray]]:
    """The numbers behind the figures of a notebook, figure -> array name -> array.

    Args:
        drawn: figure name -> file name -> base64.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    for figure, data in drawn.items():
        for file, content in data.items():
            found.setdefault(figure, {}).update(_arrays(file, base64.b64decode(content)))
    return found


def _arrays(file: str, content: bytes) -> dict[str, np.ndarray]:
    if file.endswith(".npz"):
        with np.load(io.BytesIO(content)) as arrays:
            return {k: arrays[k] for k in arrays.files}
    head, *rows = csv.reader(io.StringIO(content.decode()))
    return {name: _column([r[i] for r in rows]) for i, name in enumerate(head)}


def _column(texts: list[str]) -> np.ndarray:
    for kind in (int, float):
        try:
            return np.array([kind(t) for t in texts])
        except ValueError:
            continue
    return np.array(texts)


def printed(name: str, root: Path | None = None) -> dict[str, np.ndarray]:
    """Numbers that a paper prints, column -> array, from book/printed/<name>.csv.

    Raises:
        ValueError: no such file; the message lists those there are.

    >>> len(printed("gu2020-fig3b-right")["gamma"])
    11
    """
    folder = (root or paths.root()) / "book" / "printed"
    path = folder / f"{name}.csv"
    if not path.is_file():
        raise ValueError(
            f"no printed numbers {name!r}: there are"
            f" {', '.join(sorted(p.stem for p in folder.glob('*.csv')))}"
        )
    lines = [
        line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    ]
    columns = np.array([[float(v) for v in line.split(",")] for line in lines[1:]]).T
    return dict(zip(lines[0].split(","), columns, strict=True))


def benchmarks(root: Path | None = None) -> dict[str, dict[str, Any]]:
    """The committed measurements of the kernels, name -> content of benchmarks/results/<name>.json.

    >>> {"rows", "facts", "environment"} <= set(benchmarks()["descent"])
    True
    """
    folder = (root or paths.root()) / "benchmarks" / "results"
    return {
        p.stem: json.loads(p.read_text(encoding="utf-8")) for p in sorted(folder.glob("*.json"))
    }
