"""How the figures of chapter 01 are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from companion import panels
from companion.figures import BLUE, GREY, INK, ORANGE, RED
from experiments.width.diagram import CriticalFunction
from experiments.width.escape import Escapes
from experiments.width.line import CriticalLine
from lib.curvature import Inertia
from lib.nets import MLP, forward
from lib.train.descent import Trajectory

SIGNS = {"positive": ("^", BLUE), "negative": ("v", RED), "zero": ("o", GREY)}


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


def along(line: CriticalLine) -> Figure:
    """Eigenvalues over the shares of a split: positive blue, negative red, zero grey."""
    fig, ax = plt.subplots(figsize=(6.4, 3.2))
    limit = 1e-9 * line.eigenvalues.abs().max()
    for curve in line.eigenvalues.T:
        ax.plot(line.alphas, curve, color=GREY if curve.abs().max() < limit else BLUE, lw=1.3)
        down = torch.where(curve < -limit, curve, torch.nan)
        ax.plot(line.alphas, down, color=RED, lw=2.2)
    for edge in (0, 1):
        ax.axvline(edge, color=GREY, lw=0.8, ls="--")
    ax.set_yscale("symlog", linthresh=1e-3)
    ax.set(xlabel=r"share $\alpha$ of the copy", ylabel="eigenvalue")
    return fig


def escapes(found: Mapping[tuple[int, bool], Escapes]) -> tuple[Figure, dict[str, object]]:
    """Escape times against eigenvalue and prediction, by width and shares, and their columns."""
    fig, axes = panels.frame(2, 3.1)
    for (m, inside), at in found.items():
        colour, marker = {2: BLUE, 3: ORANGE}[m], "o" if inside else "^"
        label = f"width {m}, shares " + ("in [0, 1]" if inside else "outside")
        for ax, across in zip(axes, (at.eigenvalue, at.predicted), strict=True):
            ax.plot(across, at.measured, marker, color=colour, ms=4, alpha=0.8, label=label)
    columns = {
        "width": [m for (m, _), at in found.items() for _ in at.measured],
        "shares_inside": [float(inside) for (_, inside), at in found.items() for _ in at.measured],
        "eigenvalue": -torch.cat([at.eigenvalue for at in found.values()]),
        "predicted": torch.cat([at.predicted for at in found.values()]),
        "measured": torch.cat([at.measured for at in found.values()]),
    }
    panels.equality(axes[1], columns["predicted"])
    lambdas = r"$|\lambda|$, most negative eigenvalue"
    panels.logarithmic(axes[0], xlabel=lambdas, ylabel="escape time $t$ (rate × epochs)")
    panels.logarithmic(axes[1], xlabel="predicted $t^*$", ylabel="measured $t$")
    axes[0].legend(fontsize=7.5)
    return fig, columns
