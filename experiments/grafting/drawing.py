"""How the figures of chapter 04 are drawn. Bands are the median and the range over pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from companion import panels
from companion.figures import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED
from experiments.families import checkpoint_epochs
from experiments.grafting.features import MEASURES, Scatter
from experiments.grafting.joints import Joints
from experiments.grafting.scores import upper_half
from experiments.grafting.width_law import Law

Columns = Mapping[str, np.ndarray]
AUTHORS = "the authors, full width"
CONTROLS = {
    "untrained": (ORANGE, r"untrained $\theta_1$"),
    "shuffled": (GREEN, r"$\theta_1$ of shuffled labels"),
    "filters": (PURPLE, "random filters"),
    "fresh": (GREY, "fresh joint"),
}


def band(ax: Axes, at: Sequence[float], values, colour, label: str | None = None) -> None:
    """Median and range over pairs."""
    panels.band(ax, at, values, colour, label, quantiles=(0, 1))


@dataclass(frozen=True)
class Layers:
    """The layers that are grafted at, from dark to bright; some of them get curves of their own."""

    all: Sequence[int]
    picks: Sequence[int]

    def shade(self, layer: int):
        """The colour of a layer in every figure."""
        return plt.get_cmap("viridis")(0.9 * (layer - 1) / (len(self.all) - 1))

    def curves(self, ax: Axes, at: Sequence[float], by_layer: np.ndarray) -> None:
        """One band for each picked layer; by_layer is (pairs, at, layers)."""
        for l in self.picks:
            band(ax, at, by_layer[:, :, l - 1], self.shade(l), f"$l = {l}$")
        ax.legend(ncols=2, fontsize=8)

    def increase(self, axes: Sequence[Axes], over_layers: Sequence[Axes] = ()) -> None:
        """Zero lines and names of the axes of increases against epochs, or against layers."""
        for ax in axes:
            ax.axhline(0, color=INK, lw=0.6)
            ax.set_xlabel("grafted layer $l$" if ax in over_layers else "epoch of both nets")
            if ax in over_layers:
                ax.set_xticks(self.all if len(self.all) < 10 else self.all[::2])
        axes[0].set_ylabel("error increase [points]")


def training(at: Sequence[int], normal, uniform, authors: Columns) -> Figure:
    """Test accuracy of both initialisers against the epoch, beside the authors' net."""
    fig, axes = panels.frame(2, share="y")
    band(axes[0], at, 100 * normal, BLUE, "normal")
    band(axes[0], at, 100 * uniform, ORANGE, "uniform")
    axes[0].set(xlabel="epoch", ylabel="test accuracy [%]", title="here")
    axes[0].legend()
    axes[1].plot(authors["epoch"], 100 * authors["accuracy"], "o--", color=INK, ms=3)
    axes[1].set(xlabel="epoch", title=AUTHORS, xscale="log")
    return fig


def joints_compared(found: Joints) -> tuple[Figure, dict[str, np.ndarray]]:
    """Matching losses of the joints, a dot for each layer and way; and the numbers."""
    ways = {
        "exact": (found.exact, "exact", BLUE, "o"),
        "adam_1e-3": (found.adam[:, 0], "Algorithm 1, rate $10^{-3}$", ORANGE, "s"),
        "adam_1e-4": (found.adam[:, 1], "Algorithm 1, rate $10^{-4}$", RED, "D"),
        "fresh": (found.fresh, "fresh joint, not matched", GREY, "x"),
    }
    fig, (ax,) = panels.frame(1, 2.9)
    for values, label, colour, marker in ways.values():
        ax.plot(range(len(values)), values, marker, color=colour, ms=7, label=label)
    panels.limit(ax, 1, style=":", label="predicting the mean")
    panels.names(ax, [f"$l = {l}$" for l in found.layers], "x", 9)
    panels.logarithmic(ax, "y", ylabel="matching loss / variance")
    ax.set_xlim(-0.5, len(found.layers) - 0.5)
    panels.beside(ax, 8)
    return fig, {name: values for name, (values, *_) in ways.items()}


def clouds(found: Sequence[Scatter], depth: int, seed: int) -> tuple[Figure, dict[str, np.ndarray]]:
    """Channel means of the graft against those of the net grafted onto; and the numbers."""
    fig, axes = panels.frame(len(found), 2.3, share="xy")
    thinned = {}
    for ax, cloud in zip(axes, found, strict=True):
        u, v = cloud.thinned(1500, seed)
        thinned[f"theta2_{cloud.layer}"], thinned[f"graft_{cloud.layer}"] = u, v
        ax.plot(u, v, ".", ms=2, alpha=0.4, color=BLUE, rasterized=True)
        ax.plot([-3, 6], [-3, 6], color=GREY, lw=1, zorder=0)
        name = "output" if cloud.layer == depth else f"layer {cloud.layer}"
        ax.set_title(f"{name}, $r = {cloud.correlation:.2f}$", fontsize=9)
        ax.set(xlim=(-3, 6), ylim=(-3, 6), xlabel=r"$\theta_2$")
    axes[0].set_ylabel(r"$\tilde\theta$")
    return fig, thinned


def increase(layers: Layers, at: Sequence[int], same: np.ndarray, controls: Columns) -> Figure:
    """Fig. 2(a): over training for some layers, and at the end for all, beside the controls."""
    fig, axes = panels.frame(2, 3.4, share="y")
    layers.curves(axes[0], at, np.moveaxis(same, 0, 1))
    _at_the_end(axes[1], {"layers": layers.all, "trained": same, **controls})
    layers.increase(axes, axes[1:])
    axes[0].set_title("Fig. 2(a)")
    axes[1].set(title=f"after epoch {at[-1]}")
    axes[1].legend(fontsize=7.5, loc="lower left", ncols=2)
    # linear up to 10: the fresh joint loses nearly all
    axes[0].set_yscale("symlog", linthresh=10)
    axes[0].set_yticks([-5, 0, 5, 10, 20, 50, 100], ["−5", "0", "5", "10", "20", "50", "100"])
    axes[0].set_ylim(min(-5, 1.2 * same.min()), 110)
    axes[0].minorticks_off()
    return fig


def recorded(record: Mapping[str, Columns], authors: Columns) -> Figure:
    """A recorded run: accuracies beside the authors', increases at its end beside its controls."""
    fig, axes = panels.frame(2, 3.3)
    axes[0].plot(authors["epoch"], 100 * authors["accuracy"], "o--", color=INK, ms=3, label=AUTHORS)
    if record:
        found, nets = record["training"], record["increase"]["self"].shape[0]
        band(axes[0], found["epoch"], 100 * found["accuracy"][:nets], BLUE, "here, width 1/4")
        _at_the_end(axes[1], record["increase"])
        axes[1].legend(fontsize=7.5, ncols=2)
    else:
        axes[1].text(0.5, 0.5, "not recorded yet", transform=axes[1].transAxes, ha="center")
        axes[1].set(xticks=[], yticks=[])
    axes[0].set(xlabel="epoch", ylabel="test accuracy [%]", xscale="symlog", xlim=(0, 210))
    axes[0].legend()
    axes[1].axhline(0, color=INK, lw=0.6)
    axes[1].set(xlabel="grafted layer $l$", ylabel="error increase [points]")
    return fig


def recorded_numbers(record: Mapping[str, Columns]) -> dict[str, str]:
    """What the text says of a recorded run, name -> text."""
    names = ("accuracy", "worst", "upper", *CONTROLS)
    if not record:
        return dict.fromkeys(names, "(no record)")
    found, nets = record["increase"], record["increase"]["self"].shape[0]
    end = found["trained"][-1]
    points = {"worst": end.mean(0).max(), "upper": upper_half(end).mean()}
    points |= {name: upper_half(found[name]).mean() for name in CONTROLS}
    accuracy = 100 * record["training"]["accuracy"][:nets, -1].mean()
    return {"accuracy": f"{accuracy:.1f}%", **{k: f"{v:.1f}" for k, v in points.items()}}


def _at_the_end(ax: Axes, found: Columns) -> None:
    band(ax, found["layers"], found["trained"][-1], BLUE, "trained")
    for name, (colour, label) in CONTROLS.items():
        band(ax, found["layers"], found[name], colour, label)


def weights(layers: Layers, at: Sequence[int], distance: np.ndarray, authors: Columns) -> Figure:
    """Fig. 2(b): aligned distances of weights (pairs, epochs, layers), here and by the authors."""
    fig, axes = panels.frame(2, 3.3, share="y")
    for l in [1, *layers.picks]:
        band(axes[0], at, distance[:, :, l - 1], layers.shade(l), f"$l = {l}$")
    for l in range(1, 13):
        label = f"$l = {l}$" if l in (1, 2, 4, 6, 12) else None
        style = {"lw": 1.2 if label else 0.5, "label": label}
        shade = plt.get_cmap("viridis")(0.9 * (l - 1) / 11)
        axes[1].plot(checkpoint_epochs(200), authors[f"layer_{l}"], "--", color=shade, **style)
    for ax, title in zip(axes, ("here", AUTHORS), strict=True):
        panels.limit(ax, 0.6, style=":")
        ax.set(xlabel="epoch", title=title, ylim=(0, 2.1))
        ax.legend(ncols=3, fontsize=8, loc="lower right")
    axes[0].set_ylabel("aligned weight distance")
    return fig


def fading(
    layers: Layers, depth: int, found: Mapping[int, np.ndarray], untrained: tuple[int, np.ndarray]
) -> Figure:
    """Fig. 2(c): distances of features behind each joint, and behind one of an untrained net."""
    fig, (ax,) = panels.frame(1, 3.1)
    for l, d in found.items():
        band(ax, range(l + 1, depth + 1), d, layers.shade(l), f"$l = {l}$")
    at, curve = untrained
    label = rf"untrained $\theta_1$, $l = {at}$"
    band(ax, range(at + 1, depth + 1), curve, ORANGE, label)
    ax.set(xlabel=r"layer $l'$", ylabel="feature distance, Eq. (6)", ylim=(0, None))
    ax.set_xticks(range(3, depth + 1))
    ax.legend(ncols=2, fontsize=8)
    return fig


def similarity(
    layers: Layers,
    trained: tuple[np.ndarray, np.ndarray],
    untrained: tuple[np.ndarray, np.ndarray],
) -> Figure:
    """Costs of grafts against three similarities: a pair of (pairs, layers, measures) and costs
    (pairs, layers) for trained and for untrained first nets."""
    fig, axes = panels.frame(len(MEASURES), 3.0, share="y")
    for k, (ax, name) in enumerate(zip(axes, MEASURES, strict=True)):
        for (values, cost), marker in ((untrained, "x"), (trained, "o")):
            for l in layers.all:
                style = {"color": layers.shade(l), "ms": 3.5, "alpha": 0.8}
                ax.plot(values[:, l - 1, k], cost[:, l - 1], marker, **style)
        ax.axhline(0, color=INK, lw=0.6)
        ax.set(xlabel=name, xlim=(0, 1.02))
    axes[0].set_ylabel("error increase [points]")
    panels.keys(axes[0], {"both trained": ("o", GREY), r"$\theta_1$ untrained": ("x", GREY)})
    axes[0].legend(fontsize=8)
    return fig


def different(layers: Layers, at: Sequence[int], found: Columns) -> Figure:
    """Fig. 3(a): increases (epochs, pairs, layers) named different, same and frozen."""
    fig, axes = panels.frame(2, 3.2)
    layers.curves(axes[0], at, np.moveaxis(found["different"], 0, 1))
    lines = {
        "same": (BLUE, "same initialiser"),
        "different": (ORANGE, "different initialisers"),
        "frozen": (GREY, rf"$\theta_1$ left at epoch {at[0]}"),
    }
    for name, (colour, label) in lines.items():
        band(axes[1], at, found[name].mean(2).T, colour, label)
    layers.increase(axes)
    axes[0].set_title("Fig. 3(a)")
    axes[1].set_title("mean over layers")
    axes[1].legend(fontsize=8)
    return fig


def wrong_layers(maps: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Triangular maps of accuracy: title -> (from layer, onto layer, accuracy in percent)."""
    fig, axes = panels.frame(len(maps), 3.3)
    for ax, (title, (first, onto, value)) in zip(axes, maps.items(), strict=True):
        size = int(first.max())
        grid = np.full((size, size), np.nan)
        grid[first.astype(int) - 1, onto.astype(int) - 2] = value
        extent = (1.5, size + 1.5, 0.5, size + 0.5)
        image = ax.imshow(grid, origin="lower", vmin=0, vmax=100, extent=extent, aspect="auto")
        ax.set(title=title, xlabel="onto layer $l_2$")
        ax.set(xticks=range(2, size + 2, 2), yticks=range(1, size + 1, 2))
        ax.grid(False)
    axes[0].set_ylabel("from layer $l_1$")
    fig.colorbar(image, ax=axes, label="accuracy [%]", shrink=0.85)
    return fig


def immature(
    layers: Layers, by_age: Mapping[int, np.ndarray], authors: Columns, data: str
) -> Figure:
    """Increases (pairs, layers) by the age of the first net, the last one its full age."""
    fig, axes = panels.frame(2, 3.2, share="y")
    *young, last = by_age
    for k, e in enumerate(young):
        colour = plt.get_cmap("plasma")(0.85 * k / len(young))
        band(axes[0], layers.all, by_age[e], colour, f"epoch {e}")
    band(axes[0], layers.all, by_age[last], INK, f"epoch {last}")
    at = authors["onto"] - 1
    # trained, that net has an accuracy of 66.9 % (the header of the printed numbers)
    axes[1].plot(at, 100 * (0.669 - authors["accuracy"]), "o--", color=INK, ms=3)
    layers.increase(axes, axes)
    axes[1].set_xticks(at)
    axes[0].set_title(f"here, {data}")
    axes[1].set_title("the authors, CIFAR-100")
    axes[0].legend(fontsize=8)
    return fig


def ages(layers: Layers, first: Sequence[int], second: Sequence[int], lost: np.ndarray) -> Figure:
    """Shares lost, (ages of the first, of the second net, layers), a map for each picked layer."""
    fig, axes = panels.frame(len(layers.picks), 2.6, share="y")
    low, high = 100 * lost.min(), 100 * lost.max()
    for ax, l in zip(axes, layers.picks, strict=True):
        percent = 100 * lost[:, :, l - 1]
        image = ax.imshow(percent, vmin=low, vmax=high, cmap="viridis", aspect="auto")
        for (row, column), value in np.ndenumerate(percent):
            colour = "white" if value < (low + high) / 2 else "black"
            ax.text(column, row, f"{value:.0f}", color=colour, ha="center", va="center", fontsize=8)
        ax.set(title=f"$l = {l}$", xlabel=r"epoch of $\theta_2$")
        ax.set_xticks(range(len(second)), [str(e) for e in second])
        ax.set_yticks(range(len(first)), [str(e) for e in first])
        ax.grid(False)
    axes[0].set_ylabel(r"epoch of $\theta_1$")
    fig.colorbar(image, ax=axes, label="share lost [%]", shrink=0.9)
    return fig


def width_law(law: Law) -> Figure:
    """What the best joint leaves of the variance against the width, with its null."""
    fig, (ax,) = panels.frame(1, 3.1)
    band(ax, law.widths, law.left, BLUE, "two untrained nets")
    band(ax, law.widths, law.mispaired, GREY, "images in another order")
    middle = np.median(law.left, 0)
    ax.plot(law.widths, middle[0] * law.widths[0] / law.widths, ":", color=INK, label="1 / width")
    panels.logarithmic(ax, "xy", xlabel="width multiplier", ylabel="variance left over")
    ax.set_xticks(law.widths, [f"{w:g}" for w in law.widths])
    ax.minorticks_off()
    ax.legend(fontsize=8)
    return fig


def widths(layers: Layers, at: Sequence[int], between: Columns, within: Columns) -> Figure:
    """Grafts between nets of two widths (pairs, layers), and within each over training (epochs,
    pairs, layers)."""
    fig, axes = panels.frame(2, 3.2)
    for (name, values), colour in zip(between.items(), (BLUE, ORANGE, GREY, GREEN), strict=True):
        band(axes[0], layers.all, values, colour, name)
    for (name, values), colour in zip(within.items(), (GREY, GREEN), strict=True):
        band(axes[1], at, values.mean(2).T, colour, name)
    layers.increase(axes, axes[:1])
    axes[0].set_title("between two widths")
    axes[1].set_title("within a width, over training")
    axes[0].legend(fontsize=7.5)
    axes[1].legend(title="width", fontsize=7.5, title_fontsize=7.5)
    return fig


def penalties(accuracy: Mapping[float, np.ndarray], authors: Columns) -> Figure:
    """Accuracy in percent against the weight of the penalty, a dot per net."""
    fig, (ax,) = panels.frame(1, 3.0, width=5.2)
    for weight, values in accuracy.items():
        ax.plot([weight] * len(values), values, "o", color=BLUE, ms=4, alpha=0.6)
    at = list(accuracy)
    medians = [float(np.median(accuracy[w])) for w in at]
    ax.plot(at, medians, "_", color=BLUE, ms=22, mew=2, label="here, median")
    style = {"color": INK, "ms": 4, "label": f"{AUTHORS}, CIFAR-10"}
    ax.plot(authors["weight"], 100 * authors["accuracy"], "s--", **style)
    ax.set(xlabel=r"$\lambda$ / width multiplier", ylabel="test accuracy [%]", xscale="log")
    ax.set_xticks(at, [f"{w:g}" for w in at])
    ax.minorticks_off()
    ax.legend(fontsize=8)
    return fig
