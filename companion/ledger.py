"""The claims of one chapter with what a run measured of them, as lines and tables of Markdown."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

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
# the same, as the first lines of a chapter sum it up
SHORT = {
    "not reproduced": "not reproduced",
    "differs, cause shown": "differs, cause shown",
    "undecided": "undecided",
    "not testable at this scale": "not testable at this scale",
    "reproduced": "held",
    "not run": "not run",
}
# what is ours, or a theorem, cannot be reproduced: it holds or it does not
OURS = {"reproduced": "✓ holds", "not reproduced": "✗ does not hold"}


def mark(claim: Claim, measurement: Measurement) -> str:
    """The verdict as a reader sees it."""
    verdict = measurement.verdict(claim)
    return MARKS[verdict] if claim.kind == "paper" else OURS.get(verdict, MARKS[verdict])


def anchor(name: str) -> str:
    """The id of a claim's verdict on its page.

    >>> anchor("A6-counts")
    'claim-a6-counts'
    """
    return f"claim-{name.lower()}"


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

    def summary(
        self, recorded: Mapping[str, Mapping[str, Measurement]] = MappingProxyType({})
    ) -> str:
        """The chapter in a few lines of Markdown: which claims held, differ or stay open, here and
        in the recorded runs.

        Args:
            recorded: title of a recorded run -> its measurements.
        """
        lines = ["**In short.** What this run found, each claim with its place below:", ""]
        theirs = {n for n, c in self.claims.items() if c.kind == "paper"}
        for verdict in sorted(SHORT, key=lambda v: v != "reproduced"):
            if names := self._with(verdict, self.measurements, theirs):
                lines.append(f"- {SHORT[verdict]}: {self._links(names)}")
        for title, words in (("reproduced", "holds"), ("not reproduced", "does not hold")):
            ours = self._with(title, self.measurements, set(self.claims) - theirs)
            if ours:
                lines.append(f"- beyond the paper, {words}: {self._links(ours)}")
        for title, found in recorded.items():
            told = [
                f"{len(names)} {SHORT[verdict]}"
                for verdict in SHORT
                if (names := self._with(verdict, found, theirs)) and verdict != "not run"
            ]
            lines.append(f"- {title}: {', '.join(told) or 'made under an earlier criterion'}")
        return "\n".join(lines)

    def _with(
        self, verdict: str, found: Mapping[str, Measurement], among: Collection[str]
    ) -> list[str]:
        claims = {n: c for n, c in self.claims.items() if n in among and n in found}
        return [n for n, c in claims.items() if found[n].verdict(c) == verdict]

    def _links(self, names: Iterable[str]) -> str:
        return ", ".join(f'<a href="#{anchor(n)}">{n}</a>' for n in names)

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
