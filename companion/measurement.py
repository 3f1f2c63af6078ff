"""What a run says about a claim, and the verdict that follows from it and from the ledger."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field

from companion.bounds import Bound, Place, agrees
from companion.claims import Claim
from companion.numbers import pretty
from companion.trials import ENOUGH, Trials

REPRODUCED = "reproduced"
DIFFERS = "differs, cause shown"
FAILED = "not reproduced"
UNDECIDED = "undecided"
UNTESTABLE = "not testable at this scale"
NOT_RUN = "not run"


@dataclass(frozen=True)
class Need:
    """A precondition, declared before the run: without it the claim cannot be tested.

    >>> Need("test accuracy", 0.3, ">= 0.4").met
    False
    """

    what: str
    value: float
    bound: str

    @property
    def met(self) -> bool:
        return agrees(self.bound, self.value, self.what)

    def __str__(self) -> str:
        return f"{self.what}: {pretty(self.value)} (demanded {Bound.parse(self.bound).text})"


class Cause(Need):
    """A second measurement that tests why a result differs: the run with the cause removed."""


@dataclass(frozen=True)
class Measurement:
    """What a run measured for one claim.

    Args:
        measured: number, list or dict of numbers, of an exact claim.
        trials: of an empirical claim;  nulls: name -> trials that must fail the same bound.
        requires: preconditions;  cause: tested when the result differs.
        note: how it was measured;  skipped: why it was not run, "" when it was.
    """

    measured: object = None
    trials: Trials | None = None
    nulls: Mapping[str, Trials] = field(default_factory=dict)
    requires: tuple[Need, ...] = ()
    cause: Cause | None = None
    note: str = ""
    skipped: str = ""

    def verdict(self, claim: Claim) -> str:
        """One of `companion.claims.VERDICTS`.

        Raises:
            ValueError: the measurement does not fit the claim: an exact one without a number, an
                empirical one without trials or without the null that its entry names.

        >>> c = Claim("X", "01", "A", "Fig. 1", "", {}, bound="0.105 ± 0.005", exact=True)
        >>> Measurement(0.109).verdict(c), Measurement(0.12).verdict(c)
        ('reproduced', 'not reproduced')
        """
        if self.skipped:
            return NOT_RUN
        self._check(claim)
        if not all(need.met for need in self.requires):
            return UNTESTABLE
        place = self._place(claim)
        few = self.trials is not None and len(self.trials.by_unit) < ENOUGH
        if place is Place.STRADDLES or few:
            return UNDECIDED
        if place is Place.INSIDE:
            return UNDECIDED if self.passing_nulls(claim) else REPRODUCED
        return DIFFERS if self.cause is not None and self.cause.met else FAILED

    def passing_nulls(self, claim: Claim) -> list[str]:
        """The nulls that meet the claim's bound: with one, the bound is no criterion."""
        if not self.nulls:
            return []
        bound = Bound.parse(claim.bound, claim.id)
        return [k for k, t in self.nulls.items() if bound.place(*t.interval()) is Place.INSIDE]

    def remarks(self, claim: Claim) -> list[str]:
        """Sentences that say what the verdict rests on."""
        lines = [self.note] if self.note else []
        if self.skipped:
            return [*lines, self.skipped]
        if self.trials is not None and (units := len(self.trials.by_unit)) < ENOUGH:
            lines.append(f"Only {units} independent trials: expected at least {ENOUGH}.")
        for name, trials in self.nulls.items():
            low, high = trials.interval()
            passes = name in self.passing_nulls(claim)
            what = "passes too, so the bound decides nothing" if passes else "fails, as it must"
            lines.append(f"Null “{name}”: {_span(low, high)}, {what}.")
        lines += [f"Precondition: {need}." for need in self.requires]
        if self.cause is not None and self.verdict(claim) in (DIFFERS, FAILED):
            holds = "" if self.cause.met else "; this does not show it"
            lines.append(f"Cause tested: {self.cause}{holds}.")
        return lines

    @property
    def text(self) -> str:
        """The measured value as a table shows it, with its interval."""
        if self.trials is None:
            return "–" if self.measured is None else pretty(self.measured)
        if self.trials.statistic == "range":
            return f"{_span(*self.trials.interval())} over {len(self.trials.values)} trials"
        low, high = self.trials.interval()
        return f"{pretty(self.trials.estimate)} ({_span(low, high)})"

    def _check(self, claim: Claim) -> None:
        if claim.exact:
            if self.measured is None:
                raise ValueError(f"claim {claim.id} is exact: measured=... is missing")
            return
        if self.trials is None:
            raise ValueError(f"claim {claim.id} is empirical: trials=... is missing")
        if not self.nulls:
            raise ValueError(f"claim {claim.id} names a null ({claim.null}): nulls=... is missing")

    def _place(self, claim: Claim) -> Place:
        if self.trials is None:
            good = agrees(claim.bound, self.measured, claim.id)
            return Place.INSIDE if good else Place.OUTSIDE
        return Bound.parse(claim.bound, claim.id).place(*self.trials.interval())


def _span(low: float, high: float) -> str:
    return pretty(low) if low == high else f"{pretty(low)} to {pretty(high)}"


def rows(m: Measurement) -> str:
    """The trials and those of every null as CSV, one row per trial."""
    tables = {"measured": m.trials, **{f"null: {name}": t for name, t in m.nulls.items()}}
    names = list(dict.fromkeys(n for t in tables.values() if t is not None for n in t.columns))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trials", *names])
    for label, table in tables.items():
        for i in range(0 if table is None else len(table.values)):
            cells = [table.columns[n][i] if n in table.columns else "" for n in names]  # type: ignore[union-attr]
            writer.writerow([label, *cells])
    return text.getvalue()


def as_json(m: Measurement) -> dict[str, object]:
    """A measurement as what a notebook or a record holds; `from_json` is the inverse."""

    def table(t: Trials) -> dict[str, object]:
        return {"columns": dict(t.columns), "statistic": t.statistic}

    return {
        "measured": m.measured,
        "trials": None if m.trials is None else table(m.trials),
        "nulls": {name: table(t) for name, t in m.nulls.items()},
        "requires": [vars(need) for need in m.requires],
        "cause": None if m.cause is None else vars(m.cause),
        "note": m.note,
        "skipped": m.skipped,
    }


def from_json(found: Mapping[str, object]) -> Measurement:
    """The measurement of a notebook or a record.

    One recorded before the ledger had bounds, nulls and trials cannot be judged: it counts as not
    run, and says what was measured.
    """
    if "trials" not in found:
        skipped = str(found.get("skipped") or "Recorded under an earlier criterion.")
        return Measurement(measured=found.get("measured"), skipped=skipped)
    return Measurement(
        measured=found["measured"],
        trials=_trials(found["trials"]),
        nulls={name: Trials(**t) for name, t in dict(found["nulls"]).items()},  # type: ignore[call-overload]
        requires=tuple(Need(**need) for need in found["requires"]),  # type: ignore[attr-defined]
        cause=Cause(**found["cause"]) if found["cause"] else None,  # type: ignore[arg-type]
        note=str(found["note"]),
        skipped=str(found["skipped"]),
    )


def _trials(found: object) -> Trials | None:
    return Trials(**found) if isinstance(found, Mapping) else None
