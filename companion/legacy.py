"""Entries of the ledger from before it had bounds; goes when every chapter has moved."""

from __future__ import annotations

from collections.abc import Mapping


def converted(entry: Mapping[str, object]) -> dict[str, object]:
    """An old entry in the new form; only `printed` with its tolerance is judged."""
    new = {k: v for k, v in entry.items() if k not in ("tolerance", "printed")}
    printed, tolerance = entry.get("printed"), str(entry.get("tolerance", 0))
    if printed is None:
        new["bound"] = 0
    elif isinstance(printed, str) and printed.strip()[0] in "<>":
        new["bound"] = printed
    else:
        new |= {"printed": printed, "bound": _bound(printed, tolerance)}
    if entry["paper"] == "project":
        new |= {"kind": "ours", "paper": ""}
    new["expected"] = "not run"
    return new | {"exact": True, "reason": "(to be said)", "oracle": "(to be said)"}


def _bound(printed: object, tolerance: str) -> object:
    if isinstance(printed, list):
        return [_bound(item, tolerance) for item in printed]
    if tolerance == "0":
        return printed
    if tolerance[0] == "x" or tolerance[-1] == "%":
        return f"{printed} within {tolerance}"
    return f"{printed} ± {tolerance}"
