"""The claims of one chapter with what a run measured of them, as lines and tables of Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from companion.claims import Claim, Measurement
from companion.numbers import pretty

MARKS = {
    "reproduced": "✓ reproduced",
    "differs": "≠ differs",
    "not reproduced": "✗ not reproduced",
    "not run": "– not run",
}


@dataclass(frozen=True)
class Ledger:
    """The claims of one chapter with what a run measured of them."""

    claims: Mapping[str, Claim]
    measurements: dict[str, Measurement] = field(default_factory=dict)

    def line(self, name: str) -> str:
        """One claim as Markdown, to stand below the figure that shows it."""
        claim, m = self.claims[name], self.measurements[name]
        place = f"claim {name} ({claim.paper}, {claim.place})"
        parts = [f"**{MARKS[m.verdict(claim)]}** · {place}: {claim.statement}"]
        if m.measured is not None:
            parts.append(
                f"Measured {pretty(m.measured)}"
                + (f"; printed {claim.printed_text}." if claim.printed is not None else ".")
            )
        parts += [
            t for t in (m.note, m.why if m.verdict(claim) == "differs" else "", m.skipped) if t
        ]
        return " ".join(p.strip() for p in parts)

    def table(self) -> str:
        """All claims as a Markdown table."""
        rows = ["| claim | statement | printed | measured | verdict |", "|---|---|---|---|---|"]
        for name, claim in self.claims.items():
            m = self.measurements.get(name)
            if m is None:
                continue
            remark = " ".join(
                t for t in (m.why if m.verdict(claim) == "differs" else "", m.skipped) if t
            )
            # the reason stands below the statement, where there is room for a sentence
            statement = claim.statement + (f"<br>*{remark}*" if remark else "")
            measured = "–" if m.measured is None else pretty(m.measured)
            mark = MARKS[m.verdict(claim)]
            cells = (
                f"{name}<br>{claim.paper}, {claim.place}",
                statement,
                claim.printed_text,
                measured,
                mark,
            )
            rows.append("| " + " | ".join(one_line(c) for c in cells) + " |")
        return "\n".join(rows)


def one_line(text: str) -> str:
    """A text as a cell of a Markdown table."""
    # no str.split(): it would break the spaces inside a number, which do not break
    return re.sub(r"[ \n]+", " ", text).replace("|", "\\|")
