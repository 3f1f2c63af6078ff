"""The ledger of claims, book/claims.yaml: what a paper prints, what is demanded of a measurement.

    - id: C5                        # as in run.claim("C5", ...)
      chapter: 05_interpolation
      kind: paper                   # paper: a reproduction; ours: what this book adds; theorem
      paper: C                      # A, B or C; absent for a claim of our own
      place: Fig. 3(b)              # of what is printed
      seen: false                   # the passage was seen by nobody here: "as we understand it"
      statement: The loss on the straight line between two nets rises above its chord.
      printed: 0.339                # what the paper prints, absent when it prints nothing
      bound: ">= 0.1"               # what we demand, see companion.bounds
      reason: A third of the printed height, since our nets are an eighth as wide.
      exact: false                  # true: one number decides (always for a theorem); false: trials
      null: Two copies of one net.  # what would make it fail, measured beside it
      requires: Nets that learned.  # a precondition, absent when there is none
      oracle: torch's own forward.  # where the measurement is independent of the code it judges
      expected: {quick: not testable at this scale, cpu: reproduced}  # of others: not run

The verdict is computed, never typed: `companion.measurement.Measurement.verdict`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from companion import paths
from companion.bounds import bounds
from companion.numbers import pretty

VERDICTS = (
    "not reproduced",
    "differs, cause shown",
    "undecided",
    "not testable at this scale",
    "reproduced",
    "not run",
)  # worst first
KINDS = ("paper", "theorem", "ours")
UNSEEN = "as we understand it"
NEEDED = ("id", "chapter", "place", "statement", "expected")
FREE = (
    "kind",
    "paper",
    "printed",
    "bound",
    "reason",
    "null",
    "requires",
    "oracle",
    "seen",
    "exact",
)


@dataclass(frozen=True)
class Claim:
    """One entry of the ledger; see the module's docstring."""

    id: str
    chapter: str
    paper: str
    place: str
    statement: str
    expected: Mapping[str, str]
    kind: str = "paper"
    printed: object = None
    bound: object = None
    reason: str = ""
    null: str = ""
    requires: str = ""
    oracle: str = ""
    seen: bool = True
    exact: bool = False

    @property
    def source(self) -> str:
        """Paper and place, and whether the passage was seen."""
        where = f"{self.paper}, {self.place}" if self.paper else self.place
        return where if self.seen else f"{where}, {UNSEEN}"

    @property
    def printed_text(self) -> str:
        """What the paper prints, for tables."""
        return "–" if self.printed is None else pretty(self.printed)

    @property
    def bound_text(self) -> str:
        """What is demanded, for tables."""
        return ", ".join(b.text for b in bounds(self.bound, self.id))


def load(path: Path | None = None) -> dict[str, Claim]:
    """The ledger, id -> claim, in its order.

    Raises:
        ValueError: a fault in the file, naming the entry and the field.
    """
    path = path or paths.root() / "book" / "claims.yaml"
    return dict(_parsed(path.read_text(encoding="utf-8"), path.name))


@functools.lru_cache(maxsize=4)
def _parsed(text: str, file: str) -> Mapping[str, Claim]:
    ledger: dict[str, Claim] = {}
    for entry in yaml.safe_load(text) or []:
        entry = {"null" if k is None else k: v for k, v in entry.items()}  # YAML reads null as None
        name = entry.get("id", "?")
        try:
            claim = _claim(entry, name)
        except ValueError as fault:
            raise ValueError(f"{file}: {fault}") from None
        if name in ledger:
            raise ValueError(f"{file}: claim {name} is there twice")
        ledger[name] = claim
    return ledger


def _claim(entry: Mapping[str, object], name: str) -> Claim:
    if missing := [f for f in NEEDED if f not in entry]:
        raise ValueError(f"claim {name} lacks {', '.join(missing)}")
    if unknown := set(entry) - set(NEEDED) - set(FREE):
        raise ValueError(f"claim {name} has unknown fields {', '.join(sorted(unknown))}")
    expected = entry["expected"]
    if not isinstance(expected, dict):
        expected = dict.fromkeys(paths.PROFILES, expected)
    if not set(expected) <= set(paths.PROFILES) or not set(expected.values()) <= set(VERDICTS):
        raise ValueError(
            f"claim {name} expects {expected}: one of {VERDICTS} for some of {paths.PROFILES}"
        )
    expected = dict.fromkeys(paths.PROFILES, "not run") | expected
    claim = Claim(
        **{
            "paper": "",
            **entry,
            "printed": _yaml_number(entry.get("printed")),
            "exact": bool(entry.get("exact")) or entry.get("kind") == "theorem",
            "expected": expected,
        }  # type: ignore[arg-type]
    )
    _check(claim)
    return claim


def _check(claim: Claim) -> None:
    if claim.kind not in KINDS:
        raise ValueError(f"claim {claim.id} is of kind {claim.kind!r}: expected {', '.join(KINDS)}")
    if claim.kind == "paper" and not claim.paper:
        raise ValueError(f"claim {claim.id} lacks paper: expected A, B or C for a reproduction")
    if claim.bound is None or not bounds(claim.bound, claim.id):
        raise ValueError(f"claim {claim.id} lacks bound: say what is demanded of the measurement")
    if not claim.exact and isinstance(claim.bound, list):
        raise ValueError(f"claim {claim.id} is empirical: expected one bound, not a list")
    if not claim.exact and not claim.null:
        raise ValueError(f"claim {claim.id} is empirical and names no null: say what makes it fail")
    if not claim.reason or not claim.oracle:
        raise ValueError(f"claim {claim.id} lacks reason or oracle: one sentence each")


def _yaml_number(value: object) -> object:
    # YAML 1.1 reads 1e-3 as a text
    if isinstance(value, list):
        return [_yaml_number(v) for v in value]
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
