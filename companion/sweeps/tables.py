"""The results of a sweep as two tidy tables, each as parquet and CSV.

`claims`: one row for each number that a point measured: the parameters that the sweep sets, claim,
part (of a list or dict), value, interval, bound and verdict, then where it came from. A point that
failed has one row with its error. `rows`: one row for each trial behind an empirical claim.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from companion import claims
from companion.measurement import Measurement, from_json
from companion.sweeps.store import Result
from companion.trials import UNITS, Trials

FIRST = ("point", "claim", "part", "value", "low", "high", "bound", "verdict")
LAST = ("note", "error", "warned", "seconds", "started", "commit", "device", "platform", "versions")
ROWS = ("point", "claim", "trials", "unit", "label", "value", "more")


def write(
    results: Iterable[Result], ledger: Mapping[str, claims.Claim], folder: Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write claims.parquet, claims.csv, rows.parquet and rows.csv.

    Args:
        results: one for each point;  ledger: the claims of the chapter, which judge them.
    Returns:
        both tables.
    """
    found = list(results)
    names = list(dict.fromkeys(name for r in found for name in r.overrides))
    renamed = {n: f"{n}_parameter" if n in (*FIRST, *LAST) else n for n in names}
    columns = [*FIRST[:1], *renamed.values(), *FIRST[1:], *LAST]
    table = _frame((line for r in found for line in _lines(r, ledger, renamed)), columns)
    rows = _frame((line for r in found for line in _trials(r)), list(ROWS))
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in {"claims": table, "rows": rows}.items():
        # beside it, then renamed: nobody reads half a table
        for suffix, save in {"parquet": frame.to_parquet, "csv": frame.to_csv}.items():
            beside = folder / f".{name}.{suffix}"
            save(beside, index=False)
            beside.replace(folder / f"{name}.{suffix}")
    return table, rows


def _frame(lines: Iterator[Mapping[str, object]], columns: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame.from_records(list(lines), columns=columns)
    for name in frame:
        if name in ("value", "low", "high", "seconds"):
            frame[name] = frame[name].astype(float)
        elif name in (*FIRST, *LAST, *ROWS):
            frame[name] = frame[name].fillna("").astype(str)
    return frame


def _lines(
    result: Result, ledger: Mapping[str, claims.Claim], renamed: Mapping[str, str]
) -> Iterator[dict[str, object]]:
    origin = {k: result.origin.get(k, "") for k in ("started", "commit", "device", "platform")}
    common: dict[str, object] = {
        "point": result.key,
        **{renamed[k]: _cell(v) for k, v in result.overrides.items()},
        "seconds": result.seconds,
        "warned": result.warned,
        **origin,
        "versions": json.dumps(result.origin.get("versions", {})),
    }
    if result.error:
        yield {**common, "error": result.error}
        return
    for name, found in result.claims.items():
        claim, m = ledger[name], from_json(found)
        said = {
            "claim": name,
            "bound": claim.bound_text,
            "verdict": m.verdict(claim),
            "note": m.skipped or m.note,
        }
        for part, numbers in _parts(m):
            yield {**common, **said, "part": part, **numbers}


def _cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, list) else value


def _parts(m: Measurement) -> Iterator[tuple[str, dict[str, float]]]:
    if m.trials is not None:
        low, high = m.trials.interval()
        estimate = m.trials.estimate
        value = math.nan if isinstance(estimate, list) else estimate
        yield "", {"value": value, "low": low, "high": high}
        return
    yield from ((part, {"value": value}) for part, value in _flat(m.measured))


def _flat(value: object, name: str = "") -> Iterator[tuple[str, float]]:
    inner: Iterable[tuple[object, object]]
    if isinstance(value, Mapping):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    else:
        number = isinstance(value, int | float)
        yield name, float(value) if number else math.nan  # type: ignore[arg-type]
        return
    for key, entry in inner:
        yield from _flat(entry, f"{name}.{key}" if name else str(key))


def _trials(result: Result) -> Iterator[dict[str, Any]]:
    for name, found in result.claims.items():
        m = from_json(found)
        tables = {"measured": m.trials, **{f"null: {k}": t for k, t in m.nulls.items()}}
        for label, table in tables.items():
            for row in _of_table(table) if table is not None else ():
                yield {"point": result.key, "claim": name, "trials": label, **row}


def _of_table(table: Trials) -> Iterator[dict[str, Any]]:
    unit = next(u for u in UNITS if u in table.columns)
    others = [c for c in table.columns if c not in (unit, "value")]
    for i, value in enumerate(table.values.tolist()):
        more = json.dumps({c: table.columns[c][i] for c in others}) if others else ""
        yield {"unit": unit, "label": table.columns[unit][i], "value": value, "more": more}
