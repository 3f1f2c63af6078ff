"""The books of one chapter with parameters of the reader's own: a page that lists them."""

from __future__ import annotations

import html
import json
from dataclasses import asdict
from pathlib import Path

from companion import assignments, paths, request

PAGE = """<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Runs of your own</title>
<h1>Runs of your own</h1>
<ul>
{}
</ul></html>
"""


def enter(wanted: request.Request, root: Path) -> Path:
    """Note what a folder below _build/mine/ was made for, and list all of them.

    Returns:
        The page with the list.
    """
    folder = root / wanted.folder
    paths.write_atomic(folder / "request.json", json.dumps(asdict(wanted), indent=1))
    lines = []
    for note in sorted(folder.parent.glob("*/request.json")):
        made = request.load(note)
        name = f"{made.chapter} {assignments.write(made.given)}".strip()
        where = f"{note.parent.name}/html/{made.chapter}.html"
        lines.append(f'<li><a href="{where}">{html.escape(name)}</a> ({made.profile})</li>')
    page = folder.parent / "index.html"
    paths.write_atomic(page, PAGE.format("\n".join(lines)))
    return page
