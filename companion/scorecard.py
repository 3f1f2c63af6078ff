"""The scorecard: counts per verdict, the findings that a reader should know, and every claim with
the verdicts of this run and of the recorded ones side by side."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from companion import records, stale
from companion.claims import VERDICTS, Claim
from companion.ledger import MARKS, anchor, mark, one_line
from companion.measurement import Measurement, as_json
from companion.provenance import commit

MARKER = "<!-- scorecard -->"
FINDINGS = 10
RECORDED = ("cpu", "wide", "paper")
Table = Mapping[str, Mapping[str, Measurement | None]]
OUR_OWN = "What this book adds"


def columns(
    ledger: Mapping[str, Claim], fresh: Mapping[str, Measurement], profile: str, root: Path
) -> dict[str, dict[str, Measurement | None]]:
    """claim id -> column -> measurement, for "<profile> run", "cpu record" and "paper record".

    Args:
        fresh: claim id -> what this build measured.
    """
    chapters = list(dict.fromkeys(c.chapter for c in ledger.values()))
    found: dict[str, Mapping[str, Measurement]] = {profile + " run": fresh}
    larger = recorded(chapters, root)
    found |= {title: larger.get(title, {}) for title in (f"{p} record" for p in RECORDED)}
    return {name: {title: column.get(name) for title, column in found.items()} for name in ledger}


def recorded(chapters: Sequence[str], root: Path) -> dict[str, dict[str, Measurement]]:
    """What the recorded runs of these chapters measured: "<profile> record" -> claim id -> it."""
    found: dict[str, dict[str, Measurement]] = {}
    for profile in RECORDED:
        for chapter in chapters:
            if record := records.load(chapter, profile, root):
                found.setdefault(f"{profile} record", {}).update(record.measurements)
    return found


def quoted(text: str, ledger: Mapping[str, Claim], fresh: Mapping[str, Measurement]) -> str:
    """A page with its claims filled in: `[[A8]]` becomes what was measured, `[[A8 verdict]]` the
    verdict, linked to the place in its chapter.

    Raises:
        ValueError: a claim that the ledger does not have.
    """

    def fill(found: re.Match[str]) -> str:
        name, wanted = found.group(1), found.group(2)
        if name not in ledger:
            raise ValueError(f"the page quotes claim {name}, which is not in book/claims.yaml")
        m = fresh.get(name)
        if m is None:
            return "not run"
        return _link(ledger[name], mark(ledger[name], m)) if wanted else m.text

    return re.sub(r"\[\[([A-Z]\d+[\w-]*)( verdict)?\]\]", fill, text)


def _link(claim: Claim, text: str) -> str:
    """A text that leads to the claim's verdict in its chapter."""
    return f'<a href="{claim.chapter}.html#{anchor(claim.id)}">{text}</a>'


def markdown(ledger: Mapping[str, Claim], table: Table, old: stale.Stale | None = None) -> str:
    """The scorecard page: counts, findings worst first, then a table for each paper.

    Args:
        table: as `columns` gives it;  old: the records that are stale.
    """
    old = old or {}
    if not ledger:
        return "No claim has been entered yet."
    printed = {n: c for n, c in ledger.items() if c.kind == "paper"}
    own = {n: c for n, c in ledger.items() if n not in printed}
    titles = list(next(iter(table.values())))
    parts = [
        "\n## How many\n",
        _counts(printed, table, titles),
        *(f"\n{text}\n" for text in [stale.words(old)] if text),
        "\n## What to know first\n",
        _findings(printed, table, titles[0]),
    ]
    for paper in dict.fromkeys(c.paper for c in printed.values()):
        chosen = {n: c for n, c in printed.items() if c.paper == paper}
        parts += [f"\n## Paper {paper}\n", _claims(chosen, table, old)]
    if own:
        words = (
            "Theorems checked to rounding and results of our own; none counts as a reproduction."
        )
        parts += [f"\n## {OUR_OWN}\n", words + "\n", _claims(own, table, old)]
    return "\n".join(parts)


def _counts(ledger: Mapping[str, Claim], table: Table, titles: Sequence[str]) -> str:
    lines = [
        "| claims of the papers | " + " | ".join(titles) + " |",
        "|---" * (1 + len(titles)) + "|",
    ]
    for verdict in VERDICTS:
        counts = [
            sum(_verdict(c, table[n][t]) == verdict for n, c in ledger.items()) for t in titles
        ]
        lines.append(f"| {MARKS[verdict]} | " + " | ".join(map(str, counts)) + " |")
    none = [sum(table[n][t] is None for n in ledger) for t in titles]
    return "\n".join([*lines, "| no record yet | " + " | ".join(map(str, none)) + " |"])


def _findings(ledger: Mapping[str, Claim], table: Table, title: str) -> str:
    """The first FINDINGS claims by verdict, worst first, as a list."""
    ranked = sorted(
        (VERDICTS.index(_verdict(claim, m)), place, claim, m)
        for place, (name, claim) in enumerate(ledger.items())
        if (m := table[name][title]) is not None and not m.skipped
    )
    lines = []
    for _, _, claim, m in ranked[:FINDINGS]:
        printed = f", printed {claim.printed_text}" if claim.printed is not None else ""
        lines.append(
            f"1. **{mark(claim, m)}**: {claim.statement} Measured {m.text}{printed}."
            f" ({_link(claim, claim.id)})"
        )
    return "\n".join(map(one_line, lines)) or "Nothing has been measured yet."


def _claims(ledger: Mapping[str, Claim], table: Table, old: stale.Stale) -> str:
    titles = list(next(iter(table.values())))
    lines = ["| claim | statement | printed | demanded | " + " | ".join(titles) + " |"]
    lines.append("|---" * (4 + len(titles)) + "|")
    for name, claim in ledger.items():
        cells = [f"{_link(claim, name)}<br>{claim.source}", claim.statement]
        cells += [claim.printed_text, claim.bound_text]
        for title in titles:
            mark = " †" if (title.removesuffix(" record"), claim.chapter) in old else ""
            cells.append(_cell(claim, table[name][title]) + mark)
        lines.append("| " + " | ".join(one_line(c) for c in cells) + " |")
    return "\n".join(lines)


def _verdict(claim: Claim, measurement: Measurement | None) -> str:
    return "" if measurement is None else measurement.verdict(claim)


def _cell(claim: Claim, m: Measurement | None) -> str:
    if m is None:
        return "no record yet"
    measured = "" if m.text == "–" else m.text
    return "<br>".join(part for part in (mark(claim, m), measured, m.skipped) if part)


def as_json_text(ledger: Mapping[str, Claim], table: Table, root: Path) -> str:
    """The same for machines: claims.json of the built site."""
    claims = []
    for name, claim in ledger.items():
        results = {
            title: None if m is None else {"verdict": m.verdict(claim), **as_json(m)}
            for title, m in table[name].items()
        }
        claims.append({**vars(claim), "expected": dict(claim.expected), "results": results})
    return json.dumps({"commit": commit(root), "claims": claims}, indent=1) + "\n"
