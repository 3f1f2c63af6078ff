"""One figure of a sweep: every claim that has numbers, over the parameter with the most values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from companion import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 12  # claims
POINTS = 2000  # above, the dots are drawn as an image
MARKS = {"reproduced": figures.GREEN, "not reproduced": figures.RED}


def draw(table: pd.DataFrame, parameters: list[str], path: Path) -> bool:
    """Draw a table of claims.

    Args:
        table: as `tables.write` makes it;  parameters: its columns that the sweep sets.
    Returns:
        whether there was anything to draw.
    """
    drawn = table[np.isfinite(table["value"]) | np.isfinite(table["low"])]
    if drawn.empty or not parameters:
        return False
    numeric = [p for p in parameters if pd.api.types.is_numeric_dtype(drawn[p])]
    over = max(numeric or parameters, key=lambda p: drawn[p].nunique())
    panels = list(drawn.groupby(["claim", "part"], sort=False))
    figures.use_style()
    import matplotlib.pyplot as plt

    count = min(len(panels), MOST)
    across = min(count, 3)
    down = -(-count // across)
    size = (figures.WIDTH, 0.5 + 2.1 * down)
    fig, axes = plt.subplots(down, across, figsize=size, squeeze=False, sharex=True)
    for ax in axes.flat[count:]:
        ax.set_visible(False)
    for ax, ((claim, part), rows) in zip(axes.flat, panels[:MOST], strict=False):
        _panel(ax, rows, over)
        ax.set_title(f"{claim} {part}".strip())
    for ax in axes[-1]:
        ax.set_xlabel(over)
    beside = path.with_name(f".{path.name}")
    fig.savefig(beside, format="svg", metadata={"Date": None})
    beside.replace(path)
    plt.close(fig)
    return True


def _panel(ax: Axes, rows: pd.DataFrame, over: str) -> None:
    middle = rows["value"].fillna((rows["low"] + rows["high"]) / 2)
    x = rows[over] if pd.api.types.is_numeric_dtype(rows[over]) else rows[over].astype(str)
    colours = [MARKS.get(v, figures.GREY) for v in rows["verdict"]]
    many = len(rows) > POINTS
    ax.scatter(x, middle, s=8, c=colours, alpha=0.6, linewidths=0, rasterized=many)
    medians = middle.groupby(x.to_numpy()).median()
    if len(medians) < len(middle) and len(medians) <= 200:
        ax.plot(medians.index, medians, color=figures.INK, linewidth=1.2)
