"""How the figures of chapter 01 are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from companion import panels
from companion.figures import BLUE, GREY, INK, RED
from experiments.width.diagram import CriticalFunction
from lib.curvature import Inertia
from lib.nets import MLP, forward
from lib.train.descent import Trajectory

SIGNS = {"positive": ("^", RED), "negative": ("v", BLUE), "zero": ("o", GREY)}


def spectra_by_width(ax: Axes, found: Sequence[Inertia], first: int, scale: float = 1.0) -> None:
    """|eigenvalue| of each width from `first` on, in order, by sign."""
    for place, at in enumerate(found):
        e = at.eigenvalues.numpy()
        zero = np.abs(e) <= float(at.threshold)
        shown = {"positive": ~zero & (e > 0), "negative": ~zero & (e < 0), "zero": zero}
        across = place + np.linspace(-0.3, 0.3, len(e))
        for kind, (marker, colour) in SIGNS.items():
            size = np.maximum(scale * np.abs(e), 1e-17)[shown[kind]]
            ax.plot(across[shown[kind]], size, marker, color=colour, ms=5)
    panels.limit(ax, 1e-11)
    panels.names(ax, [str(first + k) for k in range(len(found))], "x", 9)
    panels.logarithmic(ax, "y", xlabel="width $m$", ylim=(3e-18, 1e3))


def functions(
    axes: Sequence[Axes],
    found: Sequence[CriticalFunction],
    data: tuple[Tensor, Tensor],
    line: Tensor,
) -> None:
    """Critical functions over the data, minima blue and saddles red, with their counts."""
    for ax, f in zip(axes, found, strict=True):
        ax.plot(*data, ".", color=GREY, ms=3)
        ax.plot(line, forward(f.net, line), color=BLUE if f.minimum else RED)
        ax.set(title=f"{f.loss:.4f}" if f.loss > 1e-9 else "0", xlabel="x")
        text = f"$m_0 = {f.width}$\nzeros {f.wide[1]}\nnegative {f.wide[0]}"
        ax.text(0.05, 0.95, text, transform=ax.transAxes, va="top", fontsize=7.5)
    axes[0].set_ylabel("output")


def losses(
    axes: Sequence[Axes],
    printed: Mapping[str, np.ndarray],
    close: Trajectory,
    stated: Trajectory,
    best: int,
    level: float,
) -> None:
    """The printed loss, descent as stated, and all seeds of Adam with short memory, one of them
    strong; the whole training and its first 400 epochs."""
    for ax in axes:
        ax.plot(printed["epoch"], printed["loss"], color=INK, lw=5, alpha=0.35, label="printed")
        for k in range(close.losses.shape[1]):
            strong = {"lw": 1.3, "label": "Adam, short memory"}
            shown = strong if k == best else {"lw": 0.6, "alpha": 0.5}
            ax.plot(close.steps + 1, close.losses[:, k], color=BLUE, **shown)
        ax.plot(stated.steps + 1, stated.losses[:, 0], color=RED, lw=1.2, label="GD, as stated")
        panels.limit(ax, level, style=":")
        ax.set_xlabel("epoch")
    axes[0].plot([5000, 2e5], [0.105, 2.4e-4], "o", color=INK, ms=6, zorder=5)
    panels.logarithmic(axes[0], ylabel="loss", ylim=(3e-5, 10), title="whole training")
    axes[1].set(xlim=(0, 400), title="first 400 epochs")
    axes[0].legend(loc="lower left")


def outputs(
    axes: Sequence[Axes],
    pairs: Mapping[str, tuple[MLP, MLP]],
    data: tuple[Tensor, Tensor],
    line: Tensor,
) -> None:
    """Outputs of a wide net and of the narrow one that it resembles, one panel each."""
    for ax, (title, (net, other)) in zip(axes, pairs.items(), strict=True):
        ax.plot(*data, ".", color=GREY, ms=4, label="data")
        ax.plot(line, forward(net, line), color=RED, label=f"width {net.widths[1]}")
        label = f"width-{other.widths[1]} minimum"
        ax.plot(line, forward(other, line), color=INK, ls="--", lw=1.2, label=label)
        ax.set(xlabel="x", title=title)
        ax.legend(fontsize=8)
    axes[0].set_ylabel("output")
