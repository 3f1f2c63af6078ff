"""Where the book's sources lie and where its products go."""

from __future__ import annotations

import os
from pathlib import Path

import lib

PROFILES = ("quick", "cpu", "wide", "paper")
MORE = "more"  # in their place, for the record of a run with parameters of its own


def root() -> Path:
    """The checkout that this `lib` was imported from.

    >>> (root() / "companion" / "paths.py").is_file()
    True
    """
    return Path(lib.__file__).resolve().parents[1]


def source(chapter: str) -> Path:
    """The py:percent source of a chapter.

    Raises:
        FileNotFoundError: no such chapter; the message lists those there are.

    >>> source("99_nothing")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    FileNotFoundError: no chapter '99_nothing' in ...
    """
    path = root() / "book" / f"{chapter}.py"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("[0-9]*.py"))) or "none"
        raise FileNotFoundError(f"no chapter {chapter!r} in {path.parent}: there are {known}")
    return path


def data_dir() -> Path:
    """Image data: the environment variable DATA_DIR, otherwise data/ in the checkout."""
    return Path(os.environ.get("DATA_DIR") or root() / "data").resolve()


def cache_dir(root: Path) -> Path:
    """Where other programs may keep their caches, whatever the home of the user is like."""
    return root / "_build" / "cache"


def cores() -> int:
    """The cores that this process may use.

    >>> cores() >= 1
    True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write beside the file, then rename: an interrupted build never leaves half a file.

    >>> import tempfile; p = Path(tempfile.mkdtemp()) / "deep" / "a.txt"
    >>> write_atomic(p, "whole"); p.read_text()
    'whole'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())  # a name that is there after a power cut has its content
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)  # on a full disk, what was begun would keep it full
