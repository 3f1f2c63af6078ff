"""What the suite of faults tried, one row each, and the page of the book that shows it."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

from companion import provenance

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "book" / "faults.md"
BEGIN, END = "<!-- table -->", "<!-- end of table -->"


@dataclass(frozen=True)
class Row:
    """One kind of fault.

    Args:
        tried: how often;  right: how often the result was right, or the refusal clear;
        what: what counts as right;  note: the first that was not, or what was skipped and why.
    """

    kind: str
    tried: int
    right: int
    what: str
    note: str = ""

    @property
    def lost(self) -> int:
        return self.tried - self.right


def markdown(rows: list[Row], seconds: float) -> str:
    """The table with where and when it was measured.

    >>> print(markdown([Row("kill", 3, 3, "same numbers")], 60).splitlines()[2])
    | kill | 3 | 0 | same numbers |
    """
    lines = ["| fault | tried | lost or wrong | what counts as right |", "|---|---|---|---|"]
    for row in rows:
        note = f" ({row.note})" if row.note else ""
        lines.append(f"| {row.kind} | {row.tried} | {row.lost} | {row.what}{note} |")
    total = f"{sum(r.tried for r in rows)} tried, {sum(r.lost for r in rows)} lost or wrong"
    day = time.strftime("%Y-%m-%d", time.gmtime())
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    where = f"{day}, commit {provenance.commit(ROOT)}, {machine}, {seconds / 60:.0f} minutes"
    return "\n".join([*lines, "", f"{total}: {where}."])


def write(rows: list[Row], seconds: float, page: Path = PAGE) -> None:
    """Put the table into the page, in the place of the former one."""
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    whole = f"{before}{BEGIN}\n{markdown(rows, seconds)}\n{END}{after}"
    page.write_text(whole, encoding="utf-8")
