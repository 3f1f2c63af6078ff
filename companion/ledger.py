"""The claims of one chapter with what a run measured of them, as lines and tables of Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from companion.claims import Claim
from companion.measurement import Measurement

MARKS = {
    "not reproduced": "✗ not reproduced",
    "differs, cause shown": "≠ differs, cause shown",
    "undecided": "? undecided",
    "not testable at this scale": "∅ not testable at this scale",
    "reproduced": "✓ reproduced",
    "not run": "– not run",
}
# what is ours, or a theorem, cannot be reproduced: it holds or it does not
OURS = {"reproduced": "✓ holds", "not reproduced": "✗ does not hold"}


def mark(claim: Claim, measurement: Measurement) -> str:
    """The verdict as a reader sees it."""
    verdict = measurement.verdict(claim)
    return MARKS[verdict] if claim.kind == "paper" else OURS.get(verdict, MARKS[verdict])


@dataclass(frozen=True)
class Ledger:
    """The claims of one chapter with what a run measured of them."""

    claims: Mapping[str, Claim]
    measurements: dict[str, Measurement] = field(default_factory=dict)

    def line(self, name: str) -> str:
        """One claim as Markdown, to stand below the figure that shows it."""
        claim, m = self.claims[name], self.measurements[name]
        head = f"**{mark(claim, m)}** · claim {name} ({claim.source}): {claim.statement}"
        numbers = [f"Printed: {claim.printed_text}."] if claim.printed is not None else []
        if not m.skipped:
            numbers += [f"Demanded: {claim.bound_text} ({_reason(claim)}).", f"Measured: {m.text}."]
        return " ".join(part.strip() for part in (head, *numbers, *m.remarks(claim)))

    def table(self) -> str:
        """All claims as a Markdown table."""
        lines = [
            "| claim | statement | printed | demanded | measured | verdict |",
            "|---|---|---|---|---|---|",
        ]
        for name, claim in self.claims.items():
            m = self.measurements.get(name)
            if m is None:
                continue
            # what the verdict rests on stands below the statement, where there is room for it
            remarks = " ".join(r for r in m.remarks(claim) if r != m.note)
            cells = (
                f"{name}<br>{claim.source}",
                claim.statement + (f"<br>*{remarks}*" if remarks else ""),
                claim.printed_text,
                claim.bound_text,
                m.text,
                mark(claim, m),
            )
            lines.append("| " + " | ".join(one_line(cell) for cell in cells) + " |")
        return "\n".join(lines)


def _reason(claim: Claim) -> str:
    return claim.reason[:1].lower() + claim.reason[1:].rstrip(".")


def one_line(text: str) -> str:
    """A text as a cell of a Markdown table."""
    # no str.split(): it would break the spaces inside a number, which do not break
    return re.sub(r"[ \n]+", " ", text).replace("|", "\\|")
