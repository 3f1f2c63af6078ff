"""The folder in which a long run keeps what is finished (the parameter `store` of a chapter): that
it can be written to, and that it belongs to the run that wants to go on from it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from companion import paths
from companion.parameter import ParameterError

# what may differ between a run and the one that goes on from it
FREE = ("store", "minutes", "device")
NOTE = "parameters.json"


def check(chapter: str, values: Mapping[str, object], root: Path) -> Path | None:
    """The store that the parameters name, or None.

    Args:
        root: a relative store lies in the checkout.
    Raises:
        ParameterError: nothing can be written there, or it holds results of other parameters.
    """
    if not values.get("store"):
        return None
    folder = root / str(values["store"])
    there = next(p for p in (folder, *folder.parents) if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ParameterError(f"{chapter}: store = {folder}: {there} is no folder to write to")
    note = folder / NOTE
    if note.is_file():
        former = json.loads(note.read_text(encoding="utf-8"))
        wanted = _kept(chapter, values)
        other = sorted(k for k in former | wanted if former.get(k) != wanted.get(k))
        if other:
            pairs = ", ".join(f"{k} = {former.get(k)!r}, not {wanted.get(k)!r}" for k in other)
            raise ParameterError(
                f"{chapter}: the store {folder} holds results of {pairs}: take another folder, or"
                " remove it"
            )
    return folder


def claim(chapter: str, values: Mapping[str, object], root: Path) -> None:
    """Check the store and note in it which parameters it belongs to.

    >>> claim("04_grafting", {"store": "", "seed": 3}, paths.root())
    """
    folder = check(chapter, values, root)
    if folder is not None:
        paths.write_atomic(folder / NOTE, json.dumps(_kept(chapter, values), indent=1))


def _kept(chapter: str, values: Mapping[str, object]) -> dict[str, object]:
    kept = {k: v for k, v in values.items() if k not in FREE}
    return {"chapter": chapter, **json.loads(json.dumps(kept))}
