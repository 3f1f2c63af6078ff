"""How the figures of the chapter on certified landscapes are drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm

from companion import panels
from companion.figures import BLUE, INK, ORANGE, SKY
from experiments.atlas.shares import Plane

COLOURS = (SKY, ORANGE, "#e9ecef", INK)  # empty, one zero, another chart, undecided


def cover(ax: Axes, boxes: np.ndarray) -> None:
    """The boxes of one chart: (count, 5) as `complete.boxes_as_numbers` gives them."""
    for kind, colour in enumerate(COLOURS):
        corners = [
            [(a, c), (b, c), (b, d), (a, d)] for a, b, c, d, k in boxes.tolist() if k == kind
        ]
        shown = PolyCollection(
            corners, facecolor=colour, edgecolor="white", lw=0.15, rasterized=True
        )
        ax.add_collection(shown)
    ax.set(xlim=(boxes[:, 0].min(), boxes[:, 1].max()), ylim=(boxes[:, 2].min(), boxes[:, 3].max()))


def counts(ax: Axes, found: Plane, levels: Sequence[int]) -> None:
    """Negative eigenvalues over the plane of shares, the simplex outlined."""
    drawn = ax.pcolormesh(
        found.axis,
        found.axis,
        found.negative,
        cmap="Blues",
        vmin=min(levels) - 1,
        vmax=max(levels) + 1,
        rasterized=True,
    )
    ax.figure.colorbar(drawn, ax=ax, ticks=sorted(levels), shrink=0.8)
    _simplex(ax)


def escape_times(ax: Axes, found: Plane) -> None:
    """1 / |lowest eigenvalue| over the plane of shares, where it is negative."""
    time = np.where(found.lowest < -1e-9, -1 / np.minimum(found.lowest, -1e-9), np.nan)
    low, high = np.nanpercentile(time, (1, 99))
    drawn = ax.pcolormesh(
        found.axis, found.axis, time, cmap="viridis", norm=LogNorm(low, high), rasterized=True
    )
    ax.figure.colorbar(drawn, ax=ax, shrink=0.8)
    _simplex(ax)


def _simplex(ax: Axes) -> None:
    ax.plot([0, 1, 0, 0], [0, 0, 1, 0], color=BLUE, lw=1.2)
    ax.set(xlabel="share of copy 1", ylabel="share of copy 2", aspect="equal")


def shares_of_definite(
    ax: Axes, widths: Sequence[int], shares: Sequence[float], colour: str
) -> None:
    """One dot a task, and their mean, for each width."""
    for place in sorted(set(widths)):
        values = [s for w, s in zip(widths, shares, strict=True) if w == place]
        across = place + np.linspace(-0.2, 0.2, len(values))
        ax.plot(across, values, ".", color=colour, ms=4, alpha=0.6)
        ax.plot([place - 0.25, place + 0.25], [np.mean(values)] * 2, color=INK, lw=1.5)
    panels.limit(ax, 0.5)
    ax.set(xlabel="width", xticks=sorted(set(widths)), ylim=(-0.05, 1.05))
