"""The vocabulary that figures share: frames, bands over trials, marks, axes and tables in colour.

A chapter draws what its figure shows; how a median with its band looks, where a limit is dashed and
how a table of numbers is coloured is said here, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import FancyArrowPatch, Rectangle
from numpy.typing import ArrayLike, NDArray

from companion.figures import BLUE, GREY, INK, RED, WIDTH

Numbers = NDArray[np.float64]


def frame(
    columns: int = 1,
    height: float = 3.1,
    *,
    rows: int = 1,
    width: float = WIDTH,
    share: str = "",
    ratios: Sequence[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    """A figure with its axes in one list, row by row.

    Args:
        columns, rows: how many axes;  height, width: of the whole figure, in inches.
        share: "x", "y" or "xy": the axes that all panels have in common.
        ratios: relative widths of the columns.

    >>> fig, axes = frame(2, rows=2, share="y"); len(axes)
    4
    >>> plt.close(fig)
    """
    fig, grid = plt.subplots(
        rows,
        columns,
        figsize=(width, height),
        sharex="x" in share,
        sharey="y" in share,
        squeeze=False,
        width_ratios=ratios,
    )
    return fig, list(grid.flat)


def logarithmic(ax: Axes, axes: str = "xy", **settings: object) -> None:
    """Make the named axes logarithmic and pass the other settings to `ax.set`.

    >>> fig, (ax,) = frame(); logarithmic(ax, "y", ylabel="loss"); ax.get_yscale()
    'log'
    >>> plt.close(fig)
    """
    ax.set(**{f"{name}scale": "log" for name in axes}, **settings)


def band(
    ax: Axes,
    x: ArrayLike,
    trials: ArrayLike,
    colour: str,
    label: str | None = None,
    *,
    quantiles: tuple[float, float] = (0.25, 0.75),
    style: str = "-",
) -> Numbers:
    """Draw the median over trials and a band between two quantiles; quantiles (0, 1) are extremes.

    Args:
        x: (n,);  trials: (trials, n), NaN where a trial has no value.
    Returns:
        (3, n): lower quantile, median, upper quantile, for the data of the figure.

    >>> fig, (ax,) = frame(); band(ax, [1, 2], [[0, 1], [2, 3], [4, 8]], INK)[1].tolist()
    [2.0, 3.0]
    >>> plt.close(fig)
    """
    low, middle, high = np.nanquantile(
        np.asarray(trials, dtype=float), (quantiles[0], 0.5, quantiles[1]), axis=0
    )
    across = np.asarray(x)
    ax.fill_between(across, low, high, color=colour, alpha=0.17, lw=0)
    ax.plot(across, middle, style, color=colour, label=label)
    return np.stack([low, middle, high])


def limit(
    ax: Axes, value: float, across: str = "y", *, style: str = "--", label: str | None = None
) -> None:
    """A thin grey line at a value of the named axis: a bound, a level, a threshold.

    >>> fig, (ax,) = frame(); limit(ax, 0.5); limit(ax, 1, "x", style=":"); len(ax.lines)
    2
    >>> plt.close(fig)
    """
    draw = ax.axhline if across == "y" else ax.axvline
    draw(value, color=GREY, lw=1, ls=style, label=label, zorder=1)


def equality(ax: Axes, values: ArrayLike, slope: float = 1.0, label: str | None = None) -> None:
    """The line y = slope x over the range of the values: prediction equals measurement."""
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    ends = np.array([finite.min(), finite.max()])
    ax.plot(ends, slope * ends, color=GREY, lw=1, ls="--" if label else "-", zorder=0, label=label)


def layers(ax: Axes, count: int, *, first: int = 1, label: str = "layer", size: float = 9) -> None:
    """An axis over the layers of a net: a tick for each, numbered from `first`.

    >>> fig, (ax,) = frame(); layers(ax, 3, first=2); ax.get_xticks().tolist()
    [2, 3, 4]
    >>> plt.close(fig)
    """
    ax.set_xticks(range(first, first + count))
    ax.tick_params(axis="x", labelsize=size)
    ax.set(xlabel=label, xlim=(first - 0.4, first + count - 0.6))


def names(ax: Axes, words: Sequence[str], across: str = "y", size: float = 8) -> None:
    """Ticks 0, 1, ... of the named axis with words; the first word of a y axis stands on top."""
    set_ticks = ax.set_yticks if across == "y" else ax.set_xticks
    set_ticks(range(len(words)), list(words), fontsize=size)
    if across == "y":
        ax.set_ylim(len(words) - 0.4, -0.6)


def strips(ax: Axes, groups: Mapping[str, ArrayLike], *, floor: float | None = None) -> None:
    """One strip of dots per group, names on the y axis; values below `floor` are drawn at it.

    >>> fig, (ax,) = frame(); strips(ax, {"a": [1, 2], "b": [3]}, floor=1e-18); len(ax.lines)
    2
    >>> plt.close(fig)
    """
    for place, values in enumerate(groups.values()):
        dots = np.asarray(values, dtype=float)
        if floor is not None:
            dots = np.maximum(dots, floor)
        ax.plot(dots, place + np.linspace(-0.25, 0.25, len(dots)), ".", ms=4, alpha=0.6)
    ax.set_yticks(range(len(groups)), list(groups))


def share_table(
    ax: Axes,
    table: ArrayLike,
    texts: Sequence[Sequence[str]] | None = None,
    *,
    top: float | None = None,
    bottom: float = 0.0,
    cmap: str = "Blues",
    size: float = 9,
) -> AxesImage:
    """A table of numbers as shades of one colour, with a text in each cell that stays readable.

    Args:
        table: (rows, columns);  texts: one for each cell, default the number itself.
        top, bottom: the values that get the darkest and lightest shade.

    >>> fig, (ax,) = frame(); _ = share_table(ax, [[0, 1], [2, 3]]); len(ax.texts)
    4
    >>> plt.close(fig)
    """
    values = np.asarray(table, dtype=float)
    dark = float(np.nanmax(values)) if top is None else top
    image = ax.imshow(values, cmap=cmap, vmin=bottom, vmax=dark, aspect="auto")
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            shade = (value - bottom) / ((dark - bottom) or 1)
            ax.text(
                j,
                i,
                texts[i][j] if texts else f"{value:g}",
                ha="center",
                va="center",
                color="white" if shade > 0.62 else INK,
                fontsize=size,
            )
    ax.grid(False)
    return image


def blocks(ax: Axes, edges: Sequence[float]) -> None:
    """Lines between the blocks of a matrix, in both directions."""
    for edge in edges:
        ax.axhline(edge, color=GREY, lw=0.6)
        ax.axvline(edge, color=GREY, lw=0.6)
    ax.grid(False)


def keys(ax: Axes, marks: Mapping[str, tuple[str, str]]) -> None:
    """Legend entries for marks that are not drawn as one series: label -> (marker, colour)."""
    for label, (marker, colour) in marks.items():
        ax.plot([], [], marker, color=colour, label=label)


def beside(ax: Axes, size: float = 9) -> None:
    """The legend to the right of the axes."""
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=size)


def drawing(
    ax: Axes, across: tuple[float, float], up: tuple[float, float], title: str = ""
) -> None:
    """Axes for a schematic drawing: no frame, no ticks, given ranges."""
    ax.set(xlim=across, ylim=up, title=title)
    ax.set_axis_off()


def boxes(
    ax: Axes,
    corners: Sequence[tuple[float, float]],
    colour: str | Sequence[str],
    *,
    size: tuple[float, float] = (0.92, 0.8),
    alpha: float | Sequence[float] = 0.45,
) -> None:
    """Rectangles of one size with their lower left corners here, in one colour or one for each."""
    count = len(corners)
    colours = [colour] * count if isinstance(colour, str) else colour
    shades = [alpha] * count if isinstance(alpha, (int, float)) else alpha
    for corner, fill, shade in zip(corners, colours, shades, strict=True):
        ax.add_patch(Rectangle(corner, *size, color=fill, alpha=shade))


def arrow(
    ax: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = GREY
) -> None:
    """A thin arrow of a schematic drawing."""
    ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color=colour))


def word(ax: Axes, x: float, y: float, text: str, size: float = 8, **settings: Any) -> None:
    """A text of a schematic drawing, centred on its place unless the settings say otherwise."""
    ax.text(x, y, text, fontsize=size, **({"ha": "center", "va": "center"} | settings))


def strip(
    ax: Axes, place: float, values: ArrayLike, colour: str, *, across: str = "x", alpha: float = 0.6
) -> None:
    """Dots of one group side by side around its place, values along the other axis.

    >>> fig, (ax,) = frame(); strip(ax, 1, [0.5, 2.0], INK); ax.lines[0].get_xdata().tolist()
    [0.75, 1.25]
    >>> plt.close(fig)
    """
    dots = np.asarray(values, dtype=float)
    beside_place = place + np.linspace(-0.25, 0.25, len(dots))
    pair = (beside_place, dots) if across == "x" else (dots, beside_place)
    ax.plot(*pair, ".", ms=4, alpha=alpha, color=colour)


def spectrum(
    ax: Axes,
    place: float,
    eigenvalues: ArrayLike,
    threshold: float,
    *,
    marker: str = ".",
    size: float = 5,
    spread: float = 0.22,
) -> None:
    """Sizes of the eigenvalues of one Hessian in a column: positive blue, negative red, zero grey.

    >>> fig, (ax,) = frame(); spectrum(ax, 0, [-1.0, 0.0, 2.0], 1e-9); len(ax.lines)
    3
    >>> plt.close(fig)
    """
    values = np.asarray(eigenvalues, dtype=float)
    signs = np.where(np.abs(values) <= threshold, 0, np.sign(values))
    for sign, colour in ((1, BLUE), (-1, RED), (0, GREY)):
        sizes = np.maximum(np.abs(values[signs == sign]), 1e-19)
        at = place + np.linspace(-spread, spread, max(len(sizes), 1))[: len(sizes)]
        ax.plot(at, sizes, marker, color=colour, ms=size)
