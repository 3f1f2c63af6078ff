"""How the figures of chapter 02 on training are drawn."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import Tensor

from companion import panels
from companion.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY
from experiments.depth.training import accuracy, median_net, windows_of
from lib.train.descent import Trajectory

Numbers = NDArray[np.float64]
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED)


def colours_of(depths: Sequence[int]) -> dict[int, str]:
    """The colour of each number of hidden layers."""
    return dict(zip(depths, COLOURS, strict=False))


def fig1_column(
    above: Axes, below: Axes, runs: Mapping[int, Trajectory], x: Tensor, y: Tensor, title: str
) -> dict[str, Tensor]:
    """Loss and accuracy of a typical net of each depth, slow periods shaded; the numbers drawn."""
    drawn = {}
    for h, result in runs.items():
        k, colour = median_net(result), colours_of(list(runs))[h]
        right, losses = accuracy(result, k, x, y), result.losses[:, k]
        label = f"{h} hidden layer{'s' * (h > 1)}"
        above.plot(result.steps + 1, losses, color=colour, label=label)
        below.plot(result.smallest_step[:, k] + 1, right, color=colour)
        for ax, w in itertools.product((above, below), windows_of(result, k)):
            ax.axvspan(w.first, w.last, color=colour, alpha=0.13, lw=0)
        drawn[f"{title} {h} epoch"], drawn[f"{title} {h} loss"] = result.steps, losses
        drawn[f"{title} {h} accuracy"] = right
    panels.logarithmic(above, title=f"{title}: loss")
    below.set(xlabel="epoch", title=f"{title}: accuracy", ylim=(0, 1.02))
    return drawn


def levels(axes: Sequence[Axes], stalls: Mapping[str, Mapping[int, Numbers]]) -> None:
    """Losses of all slow periods by depth, one panel for each activation."""
    for ax, (sigma, found) in zip(axes, stalls.items(), strict=True):
        colours = colours_of(list(found))
        for h, values in found.items():
            panels.strip(ax, h, values, colours[h])
        for value in np.unique(np.round(next(iter(found.values())), 4)):
            ax.axhspan(0.98 * value, 1.02 * value, color=GREY, alpha=0.12, lw=0)
        panels.logarithmic(ax, "y", xlabel="hidden layers", title=sigma, xticks=list(found))
    axes[0].set_ylabel("loss of slow periods")


def plateaus(axes: Sequence[Axes], depths: Sequence[int], on_way: Numbers, exact: Numbers) -> None:
    """Distances from shallower critical functions, and shares of linearised plateaus, from tables
    with the columns hidden, loss, distance, nearest loss, and linear."""
    for h, colour in list(colours_of(depths).items())[1:]:
        style = {"ms": 5, "mec": colour, "alpha": 0.7}
        for linear, fill in ((1, colour), (0, "none")):
            at = on_way[(on_way[:, 0] == h) & (on_way[:, 4] == linear)]
            axes[0].plot(at[:, 1], np.maximum(at[:, 2], 1e-10), "o", mfc=fill, **style)
        at, label = exact[exact[:, 0] == h], f"{h} hidden layers"
        axes[0].plot(at[:, 1], np.maximum(at[:, 2], 1e-10), "x", ms=5, color=colour, label=label)
    panels.logarithmic(axes[0], xlabel="loss", title="outputs on plateaus")
    axes[0].set_ylabel("distance from shallower one")
    axes[0].legend(fontsize=8, loc="lower left")
    bins = {"below 0.05": (0, 0.05), "0.05 to 0.2": (0.05, 0.2), "above 0.2": (0.2, 1)}
    for place, (low, high) in enumerate(bins.values()):
        part = on_way[(on_way[:, 1] > low) & (on_way[:, 1] <= high), 4]
        share = 100 * part.mean() if len(part) else 0
        axes[1].bar(place, share, color=SKY)
        panels.word(axes[1], place, share + 2, f"{int(part.sum())} of {len(part)}", va="bottom")
    axes[1].set_xticks(range(3), list(bins))
    axes[1].set(xlabel="loss of the plateau", title="linearisation", ylim=(0, 112))
    axes[1].set_ylabel("all layers affine, %")


def normalisation(
    axes: Sequence[Axes], groups: Mapping[str, tuple[Tensor, Tensor, Tensor]]
) -> None:
    """Losses and shares of linearised neurons of groups of nets: name -> (steps, losses, share)."""
    for (name, (steps, losses, share)), colour in zip(
        groups.items(), (BLUE, RED, GREEN), strict=False
    ):
        axes[0].plot(steps + 1, losses, color=colour, lw=0.8, alpha=0.7)
        curve = share if share.dim() > 1 else share[:, None]
        axes[1].plot(steps[: len(share)] + 1, curve, color=colour)
        panels.keys(axes[0], {name: ("-", colour)})
    panels.logarithmic(axes[0], xlabel="epoch", title="loss")
    axes[0].legend(fontsize=8)
    panels.logarithmic(axes[1], "x", xlabel="epoch", title="linearised neurons")
    axes[1].set_ylim(-0.05, 1.05)


def by_size(ax: Axes, sizes: Sequence[int], leave: Sequence[Tensor], shares: Numbers) -> None:
    """Median epochs to leave the first plateau, and linearised shares, by number of flowers."""
    ax.plot(sizes, torch.stack(list(leave)).median(1).values, "o-", color=BLUE)
    panels.logarithmic(ax, "x", xlabel="flowers $n$", title="less data")
    ax.set(ylabel="epochs to leave", ylim=(0, None))
    ax.set_xticks(sizes, [str(n) for n in sizes])
    ax.minorticks_off()
    second = ax.twinx()
    second.plot(sizes, shares, "s--", color=ORANGE, ms=4)
    second.set(ylim=(0, 1.05), ylabel="linearised share (dashed)")
    second.grid(False)
