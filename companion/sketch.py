"""Drawings of nets: neurons as discs in columns, weights as lines, for figures that explain an
operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from companion.figures import GREY, INK, PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Neuron = tuple[int, int]


def places(widths: Sequence[int], gap: float = 1.0) -> dict[Neuron, tuple[float, float]]:
    """Where each neuron (layer, index) is drawn: layers left to right, a layer's neurons centred,
    first on top.

    >>> places([1, 2])
    {(0, 0): (0.0, 0.0), (1, 0): (1.7, 0.5), (1, 1): (1.7, -0.5)}
    """
    return {
        (layer, i): (1.7 * layer, gap * ((width - 1) / 2 - i))
        for layer, width in enumerate(widths)
        for i in range(width)
    }


def draw_net(
    ax: Axes,
    widths: Sequence[int],
    fill: Mapping[Neuron, str] | None = None,
    edges: Mapping[tuple[Neuron, Neuron], str] | None = None,
    labels: Mapping[tuple[Neuron, Neuron], str] | None = None,
    names: Mapping[Neuron, str] | None = None,
) -> None:
    """Draw a fully connected net.

    Args:
        ax: a matplotlib Axes; its frame is hidden.
        widths: (m_0, ..., m_L).
        fill: colours of neurons, else white;  edges: colours of weights (from, to), which are then
            drawn bold.
        labels: text beside weights;  names: text inside neurons.
    """
    fill, edges, labels, names = fill or {}, edges or {}, labels or {}, names or {}
    at = places(widths)
    for start in at:
        for end in at:
            if end[0] != start[0] + 1:
                continue
            (x0, y0), (x1, y1) = at[start], at[end]
            colour = edges.get((start, end))
            ax.plot(
                [x0, x1],
                [y0, y1],
                color=colour or GREY,
                lw=2.2 if colour else 0.7,
                alpha=1 if colour else 0.55,
                zorder=1,
            )
            if (start, end) in labels:
                ax.annotate(
                    labels[start, end],
                    (0.55 * x0 + 0.45 * x1, 0.55 * y0 + 0.45 * y1),
                    ha="center",
                    va="center",
                    fontsize=9,
                    color=colour or INK,
                    bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.0},
                    zorder=2,
                )
    for neuron, (x, y) in at.items():
        colour = fill.get(neuron, "white")
        ax.scatter([x], [y], s=420, color=colour, edgecolor=INK, linewidth=1.1, zorder=3)
        if neuron in names:
            ax.text(
                x,
                y - 0.02,
                names[neuron],
                ha="center",
                va="center",
                fontsize=9,
                color=INK if colour == "white" else "white",
                zorder=4,
            )
    ax.set_axis_off()
    ax.set_aspect("equal")
    ax.margins(0.12)
