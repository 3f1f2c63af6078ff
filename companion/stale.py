"""Records whose code or parameters have changed since they were taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from companion import plan, records

Stale = Mapping[tuple[str, str], str]  # (profile, chapter) -> why


def reasons(
    chapters: Sequence[str], profiles: Sequence[str], root: Path
) -> dict[tuple[str, str], str]:
    """The stale records, (profile, chapter) -> why; what has no record is not among them."""
    found: dict[tuple[str, str], str] = {}
    for chapter in chapters:
        for profile in profiles:
            record = records.load(chapter, profile, root)
            if record is not None and (why := reason(record, root)):
                found[profile, chapter] = why
    return found


def reason(record: records.Record, root: Path) -> str:
    """Why a record does not stand for the present state of its chapter, "" when it does.

    Comments, docstrings and layout of the code do not count (`companion.digests`).
    """
    if not record.stamp:
        return "it does not say which code it was taken with"
    reader = plan.Reader(record.chapter, record.profile, root)
    if record.stamp["code"] != reader.code:
        return "its code has changed since"
    if record.stamp["parameters"] != reader.parameters_digest(reader.values({})):
        return "its parameters have changed since"
    return ""


def words(stale: Stale) -> str:
    """The stale records as a paragraph of the scorecard, "" without any."""
    lines = [f"{profile} {chapter} ({why})" for (profile, chapter), why in stale.items()]
    if not lines:
        return ""
    return (
        f"Stale records, marked † below: {'; '.join(lines)}."
        " `make record PROFILE=... CH=...` takes them anew."
    )
