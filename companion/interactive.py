"""Drawings that a reader moves: a figure's own numbers behind a slider, without a kernel.

book/interactive.yaml names, for a chapter, one of its figures, the controls, and which of the
figure's numbers are drawn for each of their settings. The page carries the outcome as JSON, which
book/_static/interactive.js draws; without scripts and in print the figure above stands alone.
"""

from __future__ import annotations

import base64
import csv
import html
import io
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

Numbers = Mapping[str, np.ndarray]
Spec = Mapping[str, Any]


def load(root: Path) -> dict[str, Spec]:
    """Chapter -> what book/interactive.yaml says of it, none without that file."""
    file = root / "book" / "interactive.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8")) or {} if file.is_file() else {}


def numbers(data: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The arrays behind a figure, from what its output carries: file name -> base64."""
    ((name, text),) = data.items()
    raw = base64.b64decode(text)
    if name.endswith(".npz"):
        with np.load(io.BytesIO(raw)) as packed:
            return {key: packed[key] for key in packed.files}
    head, *rows = csv.reader(io.StringIO(raw.decode()))
    columns: dict[str, np.ndarray] = {}
    for key, column in zip(head, zip(*rows, strict=True), strict=True):
        try:
            columns[key] = np.array([float(v) for v in column])
        except ValueError:
            columns[key] = np.array(column)
    return columns


def block(name: str, spec: Spec, data: Numbers) -> str:
    """The Markdown that stands below the figure, "" where a setting would show nothing.

    Args:
        name: of the place on the page;  spec: of one chapter;  data: the figure's numbers.
    Raises:
        ValueError: the specification asks for numbers that the figure does not have.
    """
    drawn = drawing(spec, data)
    if not all(drawn["frames"]):
        return ""  # parameters of one's own leave nothing to draw somewhere
    text = json.dumps(drawn, separators=(",", ":"), ensure_ascii=False)
    # a script ends at the first "</", wherever that stands
    inner = text.replace("</", "<\\/")
    label = html.escape(str(spec["title"]))
    return (
        f'```{{raw}} html\n<section class="interactive" id="try-{name}" aria-label="{label}">'
        f'<script type="application/json">{inner}</script></section>\n```'
    )


def drawing(spec: Spec, data: Numbers) -> dict[str, Any]:
    """What the script draws: the controls with their settings, and a frame for each combination.

    A frame is a list of series: name, colour, x, y and how it is drawn. A control with `cursor`
    makes no frames: it moves along x and reads off what stands there.
    """
    try:
        return _drawing(spec, data)
    except (KeyError, IndexError) as fault:
        raise ValueError(
            f"book/interactive.yaml, {spec.get('figure')}: {fault} is not among {', '.join(data)}"
        ) from None


def _drawing(spec: Spec, data: Numbers) -> dict[str, Any]:
    controls = [_control(c, data) for c in spec["controls"]]
    moving = [c for c in controls if not c["cursor"]]
    settings = [
        dict(zip([c["name"] for c in moving], places, strict=True))
        for places in itertools.product(*(range(len(c["options"])) for c in moving))
    ]
    frames = []
    for places in settings:
        chosen = {c["name"]: c["options"][places[c["name"]]] for c in moving}
        frames.append([s for each in spec["series"] for s in _series(each, places, chosen, data)])
    axes = {axis: spec[axis] for axis in ("x", "y")}
    return {"title": spec["title"], **axes, "controls": controls, "frames": frames}


def _control(control: Spec, data: Numbers) -> dict[str, Any]:
    values = control.get("values", [])
    if isinstance(values, str):
        found = data[values]
        kept = np.unique(found)[:: -1 if control.get("falling") else 1]
        values = [_short(v) for v in (kept if control.get("distinct") else found).tolist()]
        values = [v for v in values if v not in control.get("without", ())]
    return {
        "name": control["name"],
        "label": control["label"],
        "options": [str(v) for v in values],
        "unit": control.get("unit", ""),
        "cursor": bool(control.get("cursor")),
        "choice": bool(control.get("choice")),
        "start": int(control.get("start", 0)),
    }


def _series(
    series: Spec, places: Mapping[str, int], chosen: Mapping[str, str], data: Numbers
) -> Iterator[dict[str, Any]]:
    """One series of a frame, or several where a table is taken apart by a column."""
    common = {"kind": series.get("kind", "line"), "colour": int(series.get("colour", 0))}
    if "value" in series:
        yield from _rows(series, chosen, data, common)
        return
    y = data[series["y"].format(**chosen)]
    axes = list(series.get("axes", ["x"] if "x" in series else ["each"]))
    for axis in [a for a in axes if a not in ("x", "each")]:
        y = np.take(y, places[axis], axis=axes.index(axis))
        axes.remove(axis)
    name = series["name"].format(**chosen)
    if "x" not in series:
        yield {"name": name, **common, "y": _list(y.ravel())}
        return
    x = _list(data[series["x"].format(**chosen)])
    lines = np.moveaxis(y, axes.index("x"), -1).reshape(-1, len(x))
    for line in lines:
        yield {"name": name, **common, "x": x, "y": _list(line)}


def _rows(
    series: Spec, chosen: Mapping[str, str], data: Numbers, common: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """A category for each value of the column `by`, among the rows that `where` keeps."""
    kept = np.ones(len(data[series["value"]]), bool)
    for column, wanted in series.get("where", {}).items():
        texts = np.array([_short(v) for v in data[column].tolist()])
        kept &= texts == str(wanted).format(**chosen)
    by = data[series["by"]]
    names = series.get("names", {})
    for place, group in enumerate(dict.fromkeys(by[kept].tolist())):
        values = data[series["value"]][kept & (by == group)]
        own = {**common, "colour": common["colour"] + place}
        yield {"name": names.get(group, str(group)), **own, "y": _list(values)}


def _short(value: object) -> str:
    """A number as a reader would write it.

    >>> _short(0.30000000000000004), _short(9.0), _short("relu")
    ('0.3', '9', 'relu')
    """
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)


def _list(values: np.ndarray) -> list[float | None]:
    return [float(f"{v:.5g}") if np.isfinite(v) else None for v in values.astype(float)]
