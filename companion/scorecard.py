"""The scorecard: every claim of the papers, with the verdict of this run and of the recorded ones
side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from companion import records
from companion.claims import Claim, Measurement
from companion.ledger import MARKS, one_line
from companion.numbers import pretty
from companion.provenance import commit

Table = Mapping[str, Mapping[str, Measurement | None]]
MARKER = "<!-- scorecard -->"


def columns(
    ledger: Mapping[str, Claim], fresh: Mapping[str, Measurement], profile: str, root: Path
) -> dict[str, dict[str, Measurement | None]]:
    """claim id -> column -> measurement, for the columns "<profile> run", "cpu record" and "paper
    record".

    Args:
        fresh: claim id -> what this build measured.
    """
    found = {profile + " run": fresh}
    for recorded in ("cpu", "paper"):
        column: dict[str, Measurement] = {}
        for chapter in dict.fromkeys(c.chapter for c in ledger.values()):
            record = records.load(chapter, recorded, root)
            column |= record.measurements if record else {}
        found[recorded + " record"] = column
    return {name: {title: column.get(name) for title, column in found.items()} for name in ledger}


def markdown(ledger: Mapping[str, Claim], table: Table) -> str:
    """The tables of the scorecard page, a paper each, with counts above them.

    Args:
        table: as `columns` gives it.
    """
    if not ledger:
        return "No claim has been entered yet."
    titles = list(next(iter(table.values())))
    lines = [_counts(ledger, table, titles)]
    for paper in dict.fromkeys(c.paper for c in ledger.values()):
        title = f"Paper {paper}" if paper != "project" else "Targets of this project"
        lines += [
            f"\n## {title}\n",
            "| claim | what the paper says | printed | " + " | ".join(titles) + " |",
        ]
        lines.append("|" + "---|" * (3 + len(titles)))
        for name, claim in ledger.items():
            if claim.paper == paper:
                cells = [
                    f"[{name}]({claim.chapter}.ipynb)<br>{claim.place}",
                    claim.statement,
                    claim.printed_text,
                ]
                cells += [_cell(claim, table[name][title]) for title in titles]
                lines.append("| " + " | ".join(one_line(c) for c in cells) + " |")
    return "\n".join(lines)


def _counts(ledger: Mapping[str, Claim], table: Table, titles: Sequence[str]) -> str:
    lines = ["| | " + " | ".join(titles) + " |", "|---|" + "---|" * len(titles)]
    for verdict, mark in MARKS.items():
        counts = [
            sum(m is not None and m.verdict(ledger[n]) == verdict for n, m in _column(table, t))
            for t in titles
        ]
        lines.append(f"| {mark} | " + " | ".join(map(str, counts)) + " |")
    lines.append(
        "| no record yet | "
        + " | ".join(str(sum(m is None for _, m in _column(table, t))) for t in titles)
        + " |"
    )
    return "\n".join(lines)


def _column(table: Table, title: str) -> list[tuple[str, Measurement | None]]:
    return [(name, row[title]) for name, row in table.items()]


def _cell(claim: Claim, measurement: Measurement | None) -> str:
    if measurement is None:
        return "no record yet"
    mark = MARKS[measurement.verdict(claim)]
    return mark if measurement.measured is None else f"{mark}<br>{pretty(measurement.measured)}"


def as_json(ledger: Mapping[str, Claim], table: Table, root: Path) -> str:
    """The same for machines: claims.json of the built site."""
    claims = []
    for name, claim in ledger.items():
        results = {
            title: (
                None
                if m is None
                else {
                    "verdict": m.verdict(claim),
                    "measured": m.measured,
                    "why": m.why,
                    "note": m.note,
                }
            )
            for title, m in table[name].items()
        }
        fields = ("id", "chapter", "paper", "place", "statement", "printed", "tolerance")
        claims.append(
            {
                **{f: getattr(claim, f) for f in fields},
                "expected": dict(claim.expected),
                "results": results,
            }
        )
    return json.dumps({"commit": commit(root), "claims": claims}, indent=1) + "\n"
