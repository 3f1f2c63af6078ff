"""The ledger of claims: what a paper prints, what a run measured, and the verdict that follows from
the two.

book/claims.yaml is a list of entries:

    - id: A5                        # as in run.claim("A5", ...)
      chapter: 01_width
      paper: A                      # A, B or C, or project for a target of our own
      place: Fig. 3a
      statement: Equal splitting adds one negative eigenvalue for each extra neuron.
      printed: [0, 1, 2]            # number, list, or a bound such as "<= 1e-10"; absent when
          nothing is printed
      tolerance: 0                  # absolute (0.005), relative ("5%") or a factor ("x2"); default
          0
      expected: reproduced          # or one for each profile: {quick: reproduced, cpu: differs,
          paper: not run}

Where nets at the scale of a profile are so small that the rounding of the machine that trains them
decides, a profile may expect `reproduced or differs`.

The verdict is computed, never typed: `reproduced` when the measurement agrees with the printed
value within the tolerance (and the chapter's condition `holds`, if it gave one); otherwise
`differs` when the chapter says why, and `not reproduced` when it does not. `not run` means not run
at this profile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from companion import paths
from companion.numbers import pretty

VERDICTS = ("reproduced", "differs", "not reproduced", "not run")
OR = " or "


@dataclass(frozen=True)
class Claim:
    """One entry of the ledger; see the module's docstring."""

    id: str
    chapter: str
    paper: str
    place: str
    statement: str
    expected: Mapping[str, str]
    printed: object = None
    tolerance: object = 0

    def agrees(self, measured: object) -> bool:
        """Whether a measurement lies within the tolerance of what is printed: item by item, and as
        many, for lists.

        Raises:
            ValueError: not numbers, or several for one that is printed.

        >>> Claim("A5", "01_width", "A", "Fig. 3a", "", {}, printed=[0, 1, 2]).agrees([0, 1, 2])
        True
        """
        if isinstance(self.printed, str):
            return all(_bound(self.printed, m, self.id) for m in _items(measured))
        printed, got = _items(self.printed), _items(measured)
        if not isinstance(self.printed, list) and len(got) != 1:
            raise ValueError(
                f"claim {self.id}: measured {len(got)} values, printed one: expected one"
            )
        return len(got) == len(printed) and all(
            _near(m, p, self.tolerance) for m, p in zip(got, printed, strict=True)
        )

    @property
    def printed_text(self) -> str:
        """The printed value with its tolerance, for tables."""
        if self.printed is None:
            return "–"
        if isinstance(self.printed, str):
            bound, value = _split_bound(self.printed, self.id)
            return f"{ {'<=': '≤', '>=': '≥'}.get(bound, bound) } {pretty(value)}"
        unit = str(self.tolerance)
        within = (
            f" (within a factor {unit[1:]})"
            if unit.startswith("x")
            else f" ± {unit if '%' in unit else pretty(self.tolerance)}"
        )
        return pretty(self.printed) + (within if self.tolerance else "")


@dataclass(frozen=True)
class Measurement:
    """What a run says about a claim; the verdict follows from it and from the ledger.

    Args:
        measured: number, or list of numbers, or None.
        holds: the outcome of the chapter's own condition, or None.
        why: the reason of a difference;  note: how it was measured;  skipped: why it was not run,
            "" when it was.
    """

    measured: object = None
    holds: bool | None = None
    why: str = ""
    note: str = ""
    skipped: str = ""

    def verdict(self, claim: Claim) -> str:
        """One of VERDICTS.

        Raises:
            ValueError: neither a measurement for the printed value nor a condition.

        >>> c = Claim("A8", "01_width", "A", "Fig. 1a", "", {}, printed=0.105, tolerance=0.005)
        >>> Measurement(0.109).verdict(c), Measurement(0.12).verdict(c)
        ('reproduced', 'not reproduced')
        >>> Measurement(0.12, why="other optimiser").verdict(c)
        'differs'
        """
        if self.skipped:
            return "not run"
        if claim.printed is not None and self.measured is None:
            raise ValueError(f"claim {claim.id} prints {claim.printed}: measured=... is missing")
        if claim.printed is None and self.holds is None:
            raise ValueError(
                f"claim {claim.id} prints no value: say holds=..., a condition that is true or"
                " false"
            )
        good = (claim.printed is None or claim.agrees(self.measured)) and self.holds is not False
        return "reproduced" if good else "differs" if self.why else "not reproduced"


def _items(value: object) -> list[float]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return [item for v in value for item in _items(v)]
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    return [value]


def _near(measured: float, printed: float, tolerance: object) -> bool:
    text = str(tolerance).strip()
    if text.startswith("x"):
        factor = float(text[1:])
        return measured * printed > 0 and 1 / factor <= measured / printed <= factor
    slack = abs(printed) * float(text[:-1]) / 100 if text.endswith("%") else float(text)
    # one part in 10^12 of room: 0.105 + 0.005 is not 0.11 in binary
    return abs(measured - printed) <= slack + 1e-12 * abs(printed)


def _split_bound(text: str, name: str) -> tuple[str, float]:
    for bound in ("<=", ">=", "<", ">"):
        if text.strip().startswith(bound):
            return bound, float(text.strip()[len(bound) :])
    raise ValueError(
        f"claim {name}: printed {text!r} is no number, list or bound such as '<= 1e-10'"
    )


def _bound(text: str, measured: float, name: str) -> bool:
    bound, value = _split_bound(text, name)
    return {
        "<=": measured <= value,
        ">=": measured >= value,
        "<": measured < value,
        ">": measured > value,
    }[bound]


def load(path: Path | None = None) -> dict[str, Claim]:
    """The ledger, id -> claim, in its order.

    Raises:
        ValueError: a fault in the file, naming the entry and the field.
    """
    path = path or paths.root() / "book" / "claims.yaml"
    ledger: dict[str, Claim] = {}
    for entry in yaml.safe_load(path.read_text(encoding="utf-8")) or []:
        name = entry.get("id", "?")
        fields = {"id", "chapter", "paper", "place", "statement", "expected"}
        if missing := fields - set(entry):
            raise ValueError(f"{path.name}: claim {name} lacks {', '.join(sorted(missing))}")
        if unknown := set(entry) - fields - {"printed", "tolerance"}:
            raise ValueError(
                f"{path.name}: claim {name} has unknown fields {', '.join(sorted(unknown))}"
            )
        if name in ledger:
            raise ValueError(f"{path.name}: claim {name} is there twice")
        expected = entry["expected"]
        expected = (
            expected if isinstance(expected, dict) else dict.fromkeys(paths.PROFILES, expected)
        )
        if set(expected) != set(paths.PROFILES) or not {
            v for e in expected.values() for v in e.split(OR)
        } <= set(VERDICTS):
            raise ValueError(
                f"{path.name}: claim {name} expects {expected}: one of {VERDICTS} for each of"
                f" {paths.PROFILES}"
            )
        claim = Claim(
            **{**entry, "printed": _yaml_number(entry.get("printed")), "expected": expected}
        )
        if isinstance(claim.printed, str):
            _split_bound(claim.printed, name)
        ledger[name] = claim
    return ledger


def _yaml_number(value: object) -> object:
    # YAML 1.1 reads 1e-3 as a text
    if isinstance(value, list):
        return [_yaml_number(v) for v in value]
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
