"""How the figures of chapter 03 are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import Tensor

from companion import panels
from companion.figures import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, SKY
from experiments.pruning import contest
from experiments.pruning.comparison import Point
from experiments.pruning.loss_spectra import target
from experiments.pruning.shortening import Shorter
from lib.critical.windows import Window
from lib.nets import MLP, forward
from lib.train.descent import Trajectory

METHODS = {
    "merge": ("merging", BLUE, "o-"),
    "torch-pruning": ("Torch-Pruning, best", ORANGE, "s-"),
    "magnitude": ("magnitude", RED, "^-"),
    "ticket": ("lottery ticket", PURPLE, "D"),
    "narrow": ("narrow net", GREEN, "v-"),
}


def windows(ax: Axes, found: Sequence[Window]) -> None:
    """Slow windows shaded, with one entry of the legend."""
    for k, w in enumerate(found):
        label = "slow windows" if k == 0 else None
        ax.axvspan(w.first, w.last, color=SKY, alpha=0.25, lw=0, label=label)


def curves(ax: Axes, steps: Tensor, losses: Mapping[str, tuple[Sequence[float], str]]) -> None:
    """Losses from the first epoch on: label -> (values, colour); "stuck images alone" thin."""
    after = (steps > 0).numpy()
    for label, (values, colour) in losses.items():
        lw = 1 if label == "stuck images alone" else 1.6
        ax.plot(steps[after], np.asarray(values)[after], color=colour, label=label, lw=lw)
    panels.logarithmic(ax, xlabel="epoch", ylabel="loss")


def image_costs(ax: Axes, output: Tensor, y: Tensor, given_up: int, mark: int) -> None:
    """Costs of the costliest images, and the values 1 + 1/s at which images stay."""
    cost = (output.softmax(-1) - y).square().sum(-1).sort(descending=True).values
    shown = cost[: max(30, 2 * given_up)]
    ax.plot(np.arange(1, len(shown) + 1), shown, ".", color=BLUE, ms=5)
    for s in (1, 2, 3, 4):
        ax.axhline(1 + 1 / s, color=GREY, lw=0.8, ls=":")
    ax.set(xlabel="image, by its cost", ylabel=r"$\sum_k (p_k - y_k)^2$", ylim=(0, 2.1))
    ax.set_title(f"at epoch {mark:,}")


def search(ax: Axes, epochs: Sequence[int], curves: Mapping[str, Tensor]) -> None:
    """Losses of all settings, reds for the outputs and blues for their softmax."""
    for kind, colour in (("outputs", "Reds"), ("softmax", "Blues")):
        names = sorted(name for name in curves if name.startswith(kind))
        for k, name in enumerate(names):
            tint, style = 0.9 - 0.55 * k / len(names), ("-", "--", ":")[k % 3]
            shade = colormaps[colour](tint)
            ax.plot(epochs[1:], curves[name][1:], color=shade, ls=style, lw=1.4, label=name)
    panels.logarithmic(ax, xlabel="epoch", ylabel="loss")
    panels.beside(ax, 6.5)


def groups(axes: Sequence[Axes], cosine: NDArray[np.float64], amplitude: Tensor, live: int) -> None:
    """Cosine similarities by group, and amplitudes; a line behind the live neurons."""
    image = axes[0].imshow(cosine, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    for line in (axes[0].axhline, axes[0].axvline, axes[1].axvline):
        line(live - 0.5, color=INK, lw=0.8)
    axes[0].set(xlabel="neuron, by group", ylabel="neuron, by group")
    axes[0].grid(False)
    axes[0].figure.colorbar(image, ax=axes[0], label="cosine similarity", shrink=0.85)
    axes[1].plot(np.arange(len(amplitude)), amplitude, ".", color=BLUE, ms=3)
    axes[1].set(xlabel="neuron, by group", ylabel="amplitude")


def predictions(ax: Axes, table: Tensor) -> None:
    """How often, in per cent, two nets predict which classes."""
    per_cent = 100 * table.numpy()
    texts = [["" if v == 0 else _short(v) for v in row] for row in per_cent]
    panels.share_table(ax, per_cent, texts, size=6)
    ax.set_aspect("equal")
    ax.set(xlabel="prediction of the wide net", ylabel="prediction of the merged net")
    ax.set(xticks=range(len(table)), yticks=range(len(table)))


def spectra(ax: Axes, widths: Sequence[int], frequency: NDArray[np.float64]) -> None:
    """Loss spectra, (widths, bins), as shades."""
    seen = np.where(frequency > 0, frequency, np.nan)
    extent = (-0.5, len(widths) - 0.5, -5, 0)
    options = {"origin": "lower", "aspect": "auto", "interpolation": "nearest"}
    image = ax.imshow(np.log10(seen.T), extent=extent, **options)
    ax.figure.colorbar(image, ax=ax, label=r"$\log_{10}$ frequency")
    ax.set(xticks=range(len(widths)), xlabel="width", ylabel=r"$\log_{10}$ loss")
    ax.set_xticklabels([f"{m:,}" for m in widths])
    ax.grid(False)


def outputs_on_plateau(ax: Axes, seated: Mapping[int, Sequence[MLP]]) -> None:
    """One net of each width at the plateau, broad lines below thin ones, as they coincide."""
    x, y = target()
    ax.plot(x, y, ".", color=GREY, ms=4, label="data")
    line = torch.linspace(-2, 2, 200, dtype=torch.float64)[:, None]
    colours = (RED, BLUE, GREEN, PURPLE, ORANGE, SKY) * 3
    for k, ((m, nets), colour) in enumerate(zip(seated.items(), colours, strict=False)):
        lw = 1 + 6 * (1 - k / max(1, len(seated) - 1))
        ax.plot(line, forward(nets[0], line), color=colour, lw=lw, label=f"width {m:,}")
    ax.set(xlabel="x", title="outputs on the plateau")
    ax.legend(fontsize=7)


def slow_layers(axes: Sequence[Axes], trained: Trajectory, points: Sequence[Shorter]) -> None:
    """Losses of deep nets with their slow points, and linearisation errors of the layers there."""
    after = trained.steps > 0
    axes[0].plot(trained.steps[after], trained.losses[after], color=SKY, lw=0.9)
    for p in points:
        colour = BLUE if p.gone else ORANGE
        errors = np.maximum(p.errors, 1e-6)
        axes[0].plot(p.at.step, p.at.loss, "o", color=colour, ms=4)
        axes[1].plot(range(1, 4), errors, ".-", color=colour, lw=0.8, alpha=0.8)
    panels.logarithmic(axes[0], xlabel="epoch", ylabel="loss", title="deep nets on Iris")
    panels.logarithmic(axes[1], "y", xlabel="hidden layer", title="at the dots")
    axes[1].set(ylabel="linearisation error", xticks=(1, 2, 3))


def rivals(axes: Sequence[Axes], points: Sequence[Point], tuning: int) -> None:
    """Accuracy against weights just pruned and tuned, and against compute."""
    dense = contest.mean_accuracy([p for p in points if p.method == "dense"])
    for ax, tuned in ((axes[0], False), (axes[1], True)):
        for method, (label, colour, style) in METHODS.items():
            sets = list(contest.pick(points, method, tuned).values())
            every = [p for s in sets for p in s]
            size = [np.mean([p.n_weights for p in s]) / 1000 for s in sets]
            means = [contest.mean_accuracy(s) for s in sets]
            if sets:
                ax.plot(size, means, style, color=colour, ms=4, lw=1.2, label=label)
            pairs = [(p.n_weights / 1000, 100 * p.accuracy) for p in every]
            ax.plot(*np.array(pairs).reshape(-1, 2).T, ".", color=colour, ms=2.5, alpha=0.6)
        panels.limit(ax, dense)
        ax.set(xlabel="weights, thousands")
        ax.set_title(f"tuned, {tuning} epochs" if tuned else "just pruned")
    axes[0].set_ylabel("test accuracy, %")
    axes[1].legend(fontsize=7, loc="lower right")
    for method, (_, colour, style) in METHODS.items():
        for s in contest.pick(points, method, True).values():
            work = np.mean([p.work for p in s]) / 1e9
            axes[2].plot(work, contest.mean_accuracy(s), style[0], color=colour, ms=4)
    panels.limit(axes[2], dense)
    axes[2].set(xlim=(0, None), xlabel="multiply-adds, $10^9$", title="against compute")


def _short(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.1g}".lstrip("0")
