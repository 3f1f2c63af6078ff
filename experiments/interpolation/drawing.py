"""How the figures of chapter 05 are drawn. Bands are the median and the range over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from companion import panels
from companion.figures import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED
from experiments.interpolation.convexity import Ensemble, Segments, Swapped
from experiments.interpolation.descent import Descents
from experiments.interpolation.minimum import Minimum
from experiments.interpolation.pairs import KINDS
from experiments.interpolation.triangle import Triangle
from experiments.two_layer import Optimum
from lib.mixture.curve import LossCurve

SHARE = r"$\gamma$, share of $\theta_1$"
PARTS = {"overall": INK, "cross_entropy": BLUE, "regulariser": ORANGE}
WAYS = {
    "weights": (RED, "weights"),
    "aligned": (PURPLE, "aligned weights"),
    "features": (BLUE, "features"),
}
NAMES = dict(zip(KINDS, ("normal", "uniform (code)", "uniform (He)"), strict=True))


def band(ax: Axes, at: Sequence[float], values, colour: str, label: str | None = None) -> None:
    """Median and range over seeds."""
    panels.band(ax, at, values, colour, label, quantiles=(0, 1))


def part(curve: LossCurve, name: str) -> np.ndarray:
    """Overall loss, cross entropy, or the regulariser times its weight."""
    return getattr(curve, name) * (curve.weight if name == "regulariser" else 1)


def segments(jensen: Segments, swapped: Swapped) -> Figure:
    """How far the objective lies below its chords, and between two orders of two neurons."""
    fig, axes = panels.frame(2, 3.0)
    axes[0].plot(jensen.gammas, jensen.slack.T, color=BLUE, lw=0.7, alpha=0.5)
    axes[0].axhline(0, color=INK, lw=1)
    axes[0].set(ylabel="(chord − $Q$) / largest $Q$", title="random pairs of points")
    axes[1].plot(swapped.gammas, swapped.weights, color=RED, label="between the weights")
    axes[1].plot(swapped.gammas, swapped.features, color=BLUE, label="between the distributions")
    axes[1].set(ylabel="$Q$", title="two neurons, swapped", ylim=(0, 0.75))
    axes[1].legend(loc="upper left")
    for ax in axes:
        ax.set_xlabel(r"$\gamma$")
    return fig


def optimum(ladder: Sequence[int], found: Descents, best: Optimum) -> Figure:
    """What descent reaches by width, and where the best net's neurons lie."""
    fig, axes = panels.frame(2, 3.2)
    axes[0].plot(ladder, found.gaps, ".", color=BLUE, ms=5, alpha=0.6)
    axes[0].plot(ladder, found.median, color=BLUE, label="descent, median")
    again = np.median(found.reweighted, 1)
    axes[0].plot(ladder, again, color=ORANGE, label="same neurons, best masses")
    panels.limit(axes[0], best.gap / best.value, label="certified gap")
    panels.logarithmic(axes[0], xlabel="width $m$", ylabel="$Q$ above the optimum, relative")
    axes[0].set_xticks(ladder, [str(m) for m in ladder])
    axes[0].minorticks_off()
    nearest = int(found.gaps[-1].argmin())
    dots = {"color": BLUE, "alpha": 0.5, "lw": 0, "label": f"descent, $m = {ladder[-1]}$"}
    area = 14 * found.outputs[nearest].abs().flatten() + 1
    axes[1].scatter(*found.neurons[nearest].T, s=area, **dots)
    heavy = best.p > 1e-3
    rings = {"facecolors": "none", "edgecolors": RED, "lw": 1.5, "label": "optimum (area: mass)"}
    axes[1].scatter(*best.w[heavy].T, s=600 * best.p[heavy], **rings)
    axes[1].set(xlabel="weight on $t$", ylabel="weight on 1", title="neurons", ylim=(-9, 13))
    axes[0].legend()
    axes[1].legend(fontsize=8, loc="upper left", markerscale=0.6)
    return fig


def minimum(found: Minimum) -> Figure:
    """The chord, the ensemble and F between two nets of one hidden layer."""
    fig, (ax,) = panels.frame(1, 3.0, width=5.2)
    for curve, colour, label in (
        (found.chord, GREY, "chord"),
        (found.ensemble, INK, "weights mixed: the ensemble"),
        (found.minimum, BLUE, "$F$: weights chosen anew"),
    ):
        ax.plot(found.gammas, curve, "o-", ms=3, color=colour, label=label)
    ax.set(xlabel=SHARE, ylabel="$Q$")
    ax.legend(fontsize=8)
    return fig


def learning(learned: Mapping[str, np.ndarray], losses: Mapping[str, np.ndarray]) -> Figure:
    """Accuracy and cross entropy of every initialiser, (seeds, epochs) each, from epoch 1 on."""
    fig, axes = panels.frame(2, 3.0)
    for how, colour in zip(KINDS, (BLUE, ORANGE, GREEN), strict=True):
        at = range(1, 1 + learned[how].shape[1])
        band(axes[0], at, 100 * learned[how], colour, NAMES[how])
        band(axes[1], at, losses[how], colour)
    panels.limit(axes[1], np.log(10))
    axes[0].set(xlabel="epoch", ylabel="training accuracy [%]")
    axes[1].set(xlabel="epoch", ylabel="cross entropy")
    axes[0].legend()
    return fig


def paths(
    printed: Mapping[str, Mapping[str, np.ndarray]],
    curves: Mapping[str, Sequence[LossCurve]],
    by_adam: LossCurve,
) -> Figure:
    """Fig. 3(b), the authors' above ours: way -> columns, and way -> one curve per seed."""
    fig, axes = panels.frame(2, 5.4, rows=2, share="x")
    for k, way in enumerate(("weights", "features")):
        for name, colour in PARTS.items():
            axes[k].plot(printed[way]["gamma"], printed[way][name], color=colour)
            each = [part(c, name) for c in curves[way]]
            band(axes[2 + k], curves[way][0].gammas, each, colour, name.replace("_", " "))
        axes[k].set_title(f"the authors, {way.removesuffix('s')} space")
        axes[2 + k].set(title=f"here, {way.removesuffix('s')} space", xlabel=SHARE)
    for name, colour in PARTS.items():
        axes[3].plot(by_adam.gammas, part(by_adam, name), "--", color=colour)
    axes[3].plot([], [], "--", color=GREY, label="by Adam, one pair")
    axes[2].legend(loc="center")
    axes[3].legend(loc="center")
    axes[0].set_ylabel("loss")
    axes[2].set_ylabel("loss")
    return fig


def ensemble(first: Mapping[str, LossCurve], averaged: Ensemble) -> Figure:
    """Cross entropy of one pair along its paths, and of the theorem's mixture."""
    fig, (ax,) = panels.frame(1, 3.2, width=5.2)
    for way, colour, label in (
        ("weights", RED, "weights"),
        ("refitted", PURPLE, "weights, last layer refitted"),
        ("features", BLUE, "mixtures, last layer refitted"),
    ):
        ax.plot(first[way].gammas, first[way].cross_entropy, color=colour, label=label)
    label = "the theorem's mixture: averaged outputs"
    ax.plot(averaged.gammas, averaged.cross_entropy, color=INK, label=label)
    panels.limit(ax, np.log(10))
    ax.set(xlabel=SHARE, ylabel="cross entropy")
    ax.legend(fontsize=8)
    return fig


def initialisers(
    gammas: Mapping[str, np.ndarray], cases: Mapping[str, str], overall: Mapping[str, np.ndarray]
) -> Figure:
    """Overall losses of several pairs in both spaces: case_way -> (seeds, points)."""
    fig, axes = panels.frame(2, 3.4)
    for (case, label), colour in zip(cases.items(), (ORANGE, GREEN, PURPLE, GREY), strict=True):
        for ax, way in zip(axes, ("weights", "features"), strict=True):
            band(ax, gammas[way], overall[f"{case}_{way}"], colour, label)
    axes[0].set(xlabel=SHARE, ylabel="overall loss", title="weight space")
    axes[1].set(xlabel=SHARE, title="feature space")
    axes[1].legend(fontsize=7.5)
    return fig


def aligned(
    gammas: Mapping[str, np.ndarray], cases: Mapping[str, str], above: Mapping[str, np.ndarray]
) -> Figure:
    """Losses less their chords along three paths: case_way -> (seeds, points)."""
    fig, axes = panels.frame(len(cases), 3.2, share="y")
    for ax, (case, title) in zip(axes, cases.items(), strict=True):
        for way, (colour, label) in WAYS.items():
            band(ax, gammas[way], above[f"{case}_{way}"], colour, label)
        ax.axhline(0, color=INK, lw=0.8)
        ax.set(xlabel=SHARE, title=title)
    axes[0].set_ylabel("overall loss − chord")
    axes[1].legend()
    return fig


def triangle(of: Triangle, level: np.ndarray) -> Figure:
    """The loss of mixtures of three nets over the triangle of their shares."""
    corner = np.array([[0, 0], [1, 0], [0.5, np.sqrt(3) / 2]])
    place = of.shares @ corner
    fig, (ax,) = panels.frame(1, 3.6, width=4.6)
    image = ax.tricontourf(*place.T, level, levels=12, cmap="viridis")
    ax.plot(*place.T, "o", color="white", ms=3)
    for (px, py), how, up in zip(corner, KINDS, (-0.07, -0.07, 0.04), strict=True):
        panels.word(ax, px, py + up, NAMES[how], 9)
    panels.drawing(ax, (-0.2, 1.2), (-0.12, 0.97))
    ax.set_aspect("equal")
    fig.colorbar(image, ax=ax, label="overall loss", shrink=0.8)
    return fig


def widths(
    scale: Sequence[float], values: Mapping[str, np.ndarray], recorded: Mapping[str, np.ndarray]
) -> Figure:
    """Height above the chord and bend by width: way_kind -> (widths, seeds).

    Slim nets can reach heights in the hundreds, so the heights are logarithmic above 1.
    """
    fig, axes = panels.frame(2, 3.2)
    for way, (colour, label) in WAYS.items():
        for ax, kind in zip(axes, ("height", "bend"), strict=True):
            band(ax, scale, values[f"{way}_{kind}"].T, colour, label)
            ax.plot(scale, values[f"{way}_{kind}"], ".", ms=4, color=colour)
        style = {"ms": 6, "mfc": "none", "lw": 0.8, "color": colour}
        axes[0].plot(recorded["width"], recorded.get(f"{way}_height", []), "D--", **style)
    axes[0].set_yscale("symlog", linthresh=1)
    for ax, label in zip(axes, ("height above the chord", "bend / range"), strict=True):
        ticks = sorted({*scale, *(recorded["width"].tolist() if ax is axes[0] else [])})
        ax.set(xscale="log", xlabel="width multiplier", ylabel=label)
        ax.set_xticks(ticks, [f"1/{1 / m:g}" if m < 1 else f"{m:g}" for m in ticks])
        ax.minorticks_off()
        ax.axhline(0, color=INK, lw=0.8)
    axes[0].legend()
    return fig
