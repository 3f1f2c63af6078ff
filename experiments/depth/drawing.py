"""How the figures of chapter 02 on lifting itself are drawn."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import Tensor

from companion import panels
from companion.figures import BLUE, GREEN, GREY, INK, ORANGE, RED
from experiments.depth.exactness import Growth, LiftTrial
from experiments.depth.persistence import Persistence
from experiments.depth.rims import Rim
from experiments.depth.smooth import Approximation, Exact, Polished
from experiments.tables import columns
from lib.curvature import Inertia
from lib.train.descent import Trajectory

Numbers = NDArray[np.float64]


def exact_lifts(axes: Sequence[Axes], trials: Sequence[LiftTrial]) -> None:
    """Strips of output gaps on and off the sample, and of gradients; minima blue, saddles red."""
    names = sorted({t.activation for t in trials})
    shown = {
        "output_gap": ("on the sample", "output gap"),
        "off_sample_gap": ("off the sample", "relative output gap"),
        "gradient": ("gradient", "$L^1$ norm"),
    }
    for ax, (what, (title, label)) in zip(axes, shown.items(), strict=True):
        for place, key in enumerate(itertools.product(names, (False, True))):
            of = [getattr(t, what) for t in trials if (t.activation, t.saddle) == key]
            colour = RED if key[1] else BLUE
            panels.strip(ax, place, np.maximum(of, 1e-18), colour, across="y", alpha=0.7)
        panels.logarithmic(ax, "x", title=title, xlabel=label)
    axes[0].set_xlim(1e-18, 1e-9)
    axes[2].set_xlim(1e-18, 1e-9)
    kinds = [f"{name}\n{kind}" for name in names for kind in ("minimum", "saddle")]
    axes[0].set_yticks(range(len(kinds)), kinds, fontsize=7.5)


def degeneracy(axes: Sequence[Axes], spectra: Sequence[Inertia], grown: Sequence[Growth]) -> None:
    """Columns of eigenvalues of one saddle, and zeros against parameters added."""
    ax, label = axes[0], {"ha": "center", "fontsize": 8, "color": INK}
    for place, s in enumerate(spectra):
        panels.spectrum(ax, place, s.eigenvalues, float(s.threshold))
        ax.text(place, 3e-21, "{} | {} | {}".format(*s.counts), **label)
    panels.limit(ax, float(spectra[-1].threshold))
    panels.logarithmic(ax, "y", ylim=(1e-21, 1e6), xticks=range(4), title="spectrum of one saddle")
    ax.set(xlabel="layers inserted", ylabel="|eigenvalue|")
    panels.keys(ax, {"positive": (".", BLUE), "negative": (".", RED), "zero": (".", GREY)})
    ax.legend(loc="upper left", ncols=3, fontsize=8, columnspacing=0.8, handletextpad=0.1)
    added, zeros = columns(grown, "parameters", "zeros").values()
    panels.equality(axes[1], [0, added.max() * 1.05])
    axes[1].plot(added, zeros, "o", color=BLUE, ms=4, alpha=0.6)
    axes[1].set(xlabel="parameters added, $M' - M$", ylabel="zero eigenvalues added")
    axes[1].set_title("all cases")


def exits(
    axes: Sequence[Axes], opened: Sequence[Rim], ends: Sequence[Trajectory], beyond: Numbers
) -> None:
    """Falls past opened exits over their predicted rates (first axes), and descent (last)."""
    kinds = dict.fromkeys(rim.activation for rim in opened)
    colours = dict(zip(kinds, (BLUE, ORANGE, GREEN), strict=True))
    thin = {"lw": 0.7, "ms": 3, "alpha": 0.7}
    for rim, away in zip(opened, ends, strict=True):
        colour, fall = colours[rim.activation], (1 - away.losses / rim.base).clamp_min(1e-16)
        axes[0].plot(beyond, np.array(rim.falls) / rim.rate, ".-", color=colour, **thin)
        axes[2].plot(away.steps + 1, fall[:, 1], color=colour, lw=0.9, alpha=0.8)
        axes[2].plot(away.steps + 1, fall[:, 0], color=GREY, lw=0.9, ls=":")
    for order in (1, 2):
        axes[0].plot(beyond, beyond**order, color=INK, lw=0.8, ls="--")
    panels.keys(axes[0], {name: (".-", colour) for name, colour in colours.items()})
    panels.logarithmic(axes[0], xlabel="distance $d$ past the boundary", title="just outside")
    axes[0].set_ylabel("fall of the risk / predicted rate")
    axes[0].legend(fontsize=8)
    panels.logarithmic(axes[2], xlabel="epoch", title="descent", ylim=(3e-17, 3))
    axes[2].set_ylabel("fall of the risk, relative")
    panels.keys(axes[2], {"from inside": (":", GREY), "from the exit": ("-", INK)})
    axes[2].legend(fontsize=8, loc="center right")


def through_exit(ax: Axes, position: Numbers, risk: Numbers, smallest: Numbers) -> None:
    """Risk and smallest eigenvalue on the straight way through one exit."""
    ax.plot(position, risk, color=GREEN, label="risk, relative change")
    ax.plot(position, smallest, color=RED, lw=1.2, label="smallest eigenvalue")
    panels.limit(ax, 0, "x")
    ax.set(xlabel="inside ← $d$ → outside", title="through an exit (ELU)")
    ax.set_yscale("symlog", linthresh=1e-3)
    ax.legend(fontsize=7.5, loc="upper left")


def smooth_lifts(
    axes: Sequence[Axes],
    tanh: Sequence[Approximation],
    exact: Sequence[Exact],
    polished: Sequence[Polished],
) -> None:
    """What approximate lifts cost, how they bend, and spectra of the last net of each kind."""
    t = columns(tanh, "scale", "error", "gradient", "smallest", "form")
    for what, colour, label in (("error", BLUE, "output gap"), ("gradient", ORANGE, "gradient")):
        axes[0].plot(t["scale"], t[what], ".", color=colour, label=f"tanh, {label}")
        most = max(getattr(trial, what) for trial in exact)
        axes[0].axhline(most, color=colour, lw=1, ls="--", label=f"ELU, {label}")
    panels.logarithmic(axes[0], xlabel="scale $s$", title="lifts", ylim=(1e-17, 1e2))
    axes[0].legend(fontsize=7, loc="lower right", bbox_to_anchor=(1, 0.22))
    axes[1].plot(t["scale"], -t["smallest"], ".", color=RED, label="Hessian")
    axes[1].plot(t["scale"], -t["form"], "_", color=INK, ms=9, label="form $K$")
    panels.logarithmic(axes[1], xlabel="scale $s$", title="curvature (tanh)")
    axes[1].set_ylabel("− smallest eigenvalue")
    axes[1].legend(fontsize=8)
    last = [p for p in polished if p.scale == 0.1][-1]
    names = ("ELU\nexact", "tanh\n$s = 0.1$", "polished")
    for place, s in enumerate((exact[-1].inertia, last.before, last.after)):
        level = float(s.threshold)
        panels.spectrum(axes[2], place, s.eigenvalues, level, marker="_", size=16, spread=0)
        axes[2].text(place, 2e-22, "{} | {} | {}".format(*s.counts), ha="center", fontsize=7.5)
    panels.logarithmic(axes[2], "y", ylim=(2e-23, 1e5), xlim=(-0.6, 2.6), title="spectra")
    axes[2].set_ylabel("|eigenvalue|")
    axes[2].set_xticks(range(3), names, fontsize=7.5)


def volumes(
    axes: Sequence[Axes],
    sizes: Sequence[int],
    probability: Mapping[int | str, Tensor],
    kept: Persistence,
) -> None:
    """Probability of one piece against the number of points, and lifts that stay lifts."""
    dimensions = [d for d in probability if d != "hull"]
    shades = plt.get_cmap("viridis")(np.linspace(0, 0.85, len(dimensions)))
    for d, colour in zip(dimensions, shades, strict=True):
        shares = probability[d].clamp_min(1e-6)
        axes[0].plot(sizes, shares, ".-", color=colour, label=f"{d} inputs")
    axes[0].plot(sizes, probability["hull"], "s--", color=RED, ms=4, label="4, rest in the hull")
    panels.logarithmic(axes[0], xlabel="points $n$", title="one random neuron", ylim=(5e-6, 1.3))
    axes[0].set_ylabel("probability of one piece")
    axes[0].legend(fontsize=7.5, loc="lower left")
    fresh, hull = kept.shares["cloud"], kept.shares["hull"]
    axes[1].plot(kept.counts, fresh, ".-", color=BLUE, label="fresh points")
    axes[1].plot(kept.counts, hull, "s--", color=RED, ms=4, label="points of the hull")
    panels.logarithmic(axes[1], "x", xlabel="points $n$", title="lifts on 16 points")
    axes[1].set(ylabel="share still a lift", ylim=(-0.05, 1.1))
    axes[1].set_xticks([16, 64, 256], ["16", "64", "256"])
    axes[1].minorticks_off()
    axes[1].legend(fontsize=8, loc="center right")
