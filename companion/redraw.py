"""Figures drawn from the numbers that are stored behind them, plainly: without running a chapter.

A chapter's own drawing needs more than the numbers, such as nets. Here columns of one length become
lines over the first of them, a matrix an image, so that a reader sees what a record holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from companion import figures, plan, verify

Columns = Mapping[str, np.ndarray]
LINES = 12  # in one panel


def run(job: plan.Job, figure: str, root: Path) -> list[str]:
    """Redraw one figure of what is published, or list all.

    Args:
        figure: its name, "" for the list.
    Returns:
        lines for the terminal.
    Raises:
        ValueError: no such figure, or one that cannot be drawn so; with the list.
        FileNotFoundError: nothing is published.
    """
    found = verify.published(job, root)
    faults = {name: fault(columns) for name, columns in found.curves.items()}
    listed = [
        f"  {name}{f' cannot be drawn: {why}' if why else ''}" for name, why in faults.items()
    ]
    head = f"The figures of {job.chapter} ({found.where}):"
    if not figure:
        return [head, *listed, "One of them: make figure CH=... FIG=<name>"]
    if faults.get(figure, "there is no such figure"):
        why = faults.get(figure, "there is no such figure")
        raise ValueError("\n".join([f"{figure}: {why}.", head, *listed]))
    target = root / "_build" / "figures" / f"{job.chapter}-{figure}.svg"
    draw(found.curves[figure], figure, target)
    return [f"Drawn from the numbers of {found.where}: {target}"]


def fault(columns: Columns) -> str:
    """Why these numbers cannot be drawn, "" when they can."""
    drawable = [a for a in columns.values() if _numeric(a) and a.ndim in (1, 2) and a.size > 1]
    if drawable:
        return ""
    return "it holds no column or matrix of numbers"


def _numeric(array: np.ndarray) -> bool:
    return array.dtype.kind in "iufb"


def draw(columns: Columns, title: str, path: Path) -> None:
    """One panel for the columns of each length, one for each matrix."""
    figures.use_style()
    import matplotlib.pyplot as plt

    panels = _panels(columns)
    size = (figures.WIDTH, 0.6 + 2.6 * len(panels))
    fig, axes = plt.subplots(len(panels), 1, figsize=size, squeeze=False)
    for ax, panel in zip(axes.flat, panels, strict=True):
        name, first = next(iter(panel.items()))
        if first.ndim == 2:
            ax.imshow(np.asarray(first, float), aspect="auto")
            ax.grid(False)
            ax.set_title(name)
            continue
        over, lines = (name, dict(list(panel.items())[1:])) if len(panel) > 1 else ("", panel)
        x = panel[over] if over else np.arange(len(first))
        for label, y in list(lines.items())[:LINES]:
            ax.plot(x, y, ".-", label=label)
        ax.set_xlabel(over or "place")
        ax.legend()
    fig.suptitle(f"{title}, from its stored numbers")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}")
    fig.savefig(beside, format="svg", metadata={"Date": None})
    beside.replace(path)
    plt.close(fig)


def _panels(columns: Columns) -> list[dict[str, np.ndarray]]:
    found: dict[object, dict[str, np.ndarray]] = {}
    for name, array in columns.items():
        if _numeric(array) and array.ndim in (1, 2) and array.size > 1:
            found.setdefault(len(array) if array.ndim == 1 else name, {})[name] = array
    return list(found.values())
