# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,mystnb
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The kernels, and how near they come to the machine
#
# The experiments of this book train thousands of small nets to their last digit, count the
# eigenvalues of their Hessians, and solve for the weights of convolutional nets. Each of these has
# a kernel in `lib/`. This chapter says how each works, how far it is ahead of what one would use
# otherwise, how far it is from what the machine could do, and how its cost grows.
#
# Ratios come from `python -m benchmarks`, which times every contender in turn, round after round,
# so that all of them meet the same noise; a ratio is the median over the rounds of the rival's time
# over ours, its spread the middle half. What was measured is committed in `benchmarks/results/`,
# with the machine it was measured on, and plotted here. What is marked *live* was measured while
# this page was made, on whatever machine made it.

# %% tags=["parameters"]
rounds: int = 5  # rounds of the live measurements, >= 1
steps: int = 2000  # steps of descent in each, a tenth for large problems, >= 10
seed: int = 0  # seed of every random draw, >= 0

# %% tags=["hide-input"]
import math
import time
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import HTML, Markdown, display
from matplotlib.patches import FancyArrowPatch, Rectangle
from numba import njit

from companion import chapter
from lib._simd.lanes import aligned, load, splat, store
from lib._simd.pointwise import KINDS, literal, two_values, unit
from lib.curvature import decompose, hessian
from lib.nets import VGG, init, initialise
from lib.train.descent import descend
from lib.train.descent.checks import MAX_BYTES
from lib.train.descent.gpu import tile
from lib.train.sgd.recipe import Recipe
from lib.train.sgd.training import Execution, train

run = chapter.start("06_kernels", globals())
from companion.figures import (  # after start()
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    RED,
    SKY,
)

results = run.benchmarks()
rows = [r | {"benchmark": name} for name, result in results.items() for r in result["rows"]]


def row(benchmark: str, name: str, rival: str) -> dict:
    """The row of a benchmark whose problem and rival begin like this."""
    return next(
        r
        for r in rows
        if (r["benchmark"], r["name"][: len(name)], r["rival_name"][: len(rival)])
        == (benchmark, name, rival)
    )


def fact(benchmark: str, part: str):
    """The fact of a benchmark whose name contains this, None where it has not been measured."""
    facts = results[benchmark]["facts"] if benchmark in results else {}
    return next((value for name, value in facts.items() if part in name), None)


def table(lines: list[dict]) -> None:
    display(
        HTML(pd.DataFrame(lines).to_html(index=False, border=0, justify="left", classes="table"))
    )


def live(job, *sizes) -> list[float]:
    """Seconds of job(size) for each size, the median of rounds in which all take their turn."""
    times = []
    for _ in range(rounds + 1):
        times.append([])
        for size in sizes:
            start = time.perf_counter()
            job(size)
            times[-1].append(time.perf_counter() - start)
    return np.median(times[1:], axis=0).tolist()  # the first round compiles


# %% [markdown]
# ## All of them at a glance

# %% tags=["hide-input"]
limits = ("limit", "alone", "one thread")  # a rival that is a bound, not a competitor
shown = [r for r in rows if not any(word in r["rival_name"] for word in limits)]
colours = dict(zip(results, [*COLOURS, *COLOURS], strict=False))
fig, ax = plt.subplots(figsize=(7.2, 1.1 + 0.24 * len(shown)))
for place, r in enumerate(shown):
    ax.plot(
        r["spread"],
        [place, place],
        color=colours[r["benchmark"]],
        lw=3,
        alpha=0.45,
        solid_capstyle="butt",
    )
    ax.plot(r["ratio"], place, "o", color=colours[r["benchmark"]])
    if r["target"]:
        ax.plot([r["target"]] * 2, [place - 0.38, place + 0.38], color=INK, lw=1.4)
ax.axvline(1, color=GREY, ls="--", lw=1)
ax.set(xscale="log", xlabel="times faster than the rival", ylim=(len(shown) - 0.4, -0.6))
ax.set_yticks(
    range(len(shown)), [f"{r['name']}\nagainst {r['rival_name']}" for r in shown], fontsize=6
)
run.figure(
    fig,
    "ratios",
    "How many times faster each kernel is than each rival: median and middle half. Black ticks: the"
    " ratio aimed at, where there is one. Dashed: equal speed. The colour is that of the"
    " benchmark.",
    f"A dot plot of {len(shown)} speed ratios on a logarithmic axis, from below one to several"
    " thousand.",
    {
        "benchmark": [r["benchmark"] for r in shown],
        "problem": [r["name"] for r in shown],
        "rival": [r["rival_name"] for r in shown],
        "ours_seconds": [r["ours"] for r in shown],
        "rival_seconds": [r["rival"] for r in shown],
        "ratio": [r["ratio"] for r in shown],
        "target": [r["target"] or float("nan") for r in shown],
    },
)
shown_of = ("threads", "load", "rounds", "date", "commit")
machines = {
    f"{r['environment']['cpu'].split(' MHz')[0].rpartition(', ')[0]}"
    f" ({r['environment']['cpu'].rpartition(', ')[2]})"
    for r in results.values()
}
display(Markdown(f"Measured on {' and '.join(sorted(machines))}."))
table(
    [
        {"benchmark": name} | {key: r["environment"].get(key) for key in shown_of}
        for name, r in results.items()
    ]
)

# %% [markdown]
# A load above the number of threads means that others used the machine at the same time; it moves
# all contenders of a round together, and shows in the spread.
#
# ## Descent on the CPU
#
# A step of full-batch gradient descent of one net with three neurons on fifty samples takes
# $3 \cdot 50$ evaluations of $\tanh$ and about ten times as many additions and multiplications:
# less than one call from Python into a tensor library. So nothing may be called. The kernel runs
# *all* steps of eight nets in one compiled loop, whose state fits into the first-level cache, and
# every number in it is a vector of eight, one for each net.

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.1))
for ax, title, across, down in (
    (axes[0], "many nets: eight side by side", "net", "neuron"),
    (axes[1], "one wide net: eight neurons", "neuron", "row"),
):
    for j in range(3):
        for lane in range(8):
            ax.add_patch(
                Rectangle(
                    (lane, -j),
                    0.92,
                    0.8,
                    color=SKY if across == "net" else COLOURS[2],
                    alpha=0.35 + 0.2 * (j == 0),
                )
            )
        ax.text(-0.2, 0.4 - j, f"{down} {j + 1}", ha="right", va="center", fontsize=8)
    for lane in range(8):
        ax.text(lane + 0.46, 1.0, str(lane + 1), ha="center", fontsize=8)
    ax.text(4, 1.6, f"{across} (lane)", ha="center", fontsize=8)
    ax.add_patch(FancyArrowPatch((0, -2.9), (7.9, -2.9), arrowstyle="-", color=GREY))
    ax.text(
        4,
        -3.6,
        "samples $x_1, x_2, \\ldots$ pass two by two,\neach number copied into all eight lanes",
        ha="center",
        va="center",
        fontsize=8,
    )
    ax.set(xlim=(-2.4, 8.4), ylim=(-4.4, 2.1), title=title)
    ax.set_axis_off()
run.figure(
    fig,
    "lanes",
    "The two arrangements of the CPU kernel; the one that leaves fewer lanes empty is taken. A row"
    " is one register of eight float64: the same weight of eight nets, or one weight of eight"
    " neurons of the same net, whose outputs are then added across the lanes.",
    "Two grids of three rows and eight columns. In the first, columns are nets and rows neurons; in"
    " the second, the eight columns are neurons of one net.",
    {"lanes": [8, 8], "nets in the lanes": [8, 1]},
)

# %% [markdown]
# What remains is $\tanh$ itself. With $z = (k + r) \ln 2 / 2$, $k$ an integer and $|r| \le 1/2$,
#
# $$
# \begin{aligned}
# \tanh\frac{r \ln 2}{2} &= \frac{P(r)}{Q(r)}, \\
# \tanh z &= \frac{G + P}{G + Q}, \quad G = \tfrac12 (2^k - 1)(Q + P),
# \end{aligned}
# $$
#
# with an odd polynomial $P$ of degree 5 and an even $Q$ of degree 4. Adding $1.5 \cdot 2^{52}$
# rounds $z$ to $k$, whose bits are then shifted into the exponent field to make $2^k$: one
# quotient, no table, no branch. For $k = 0$ the term $G$ vanishes exactly, so small arguments keep
# their relative accuracy. The same quotient gives the sigmoid and $e^z - 1$. Every operation is
# stated as one vector instruction with strict rounding, so that no compiler can simplify the
# rounding trick away. A division of eight numbers can take as long as all else in $\tanh$; two
# samples share one, since $1/q = s/(qs)$ and $1/s = q/(qs)$, which costs one more unit in the last
# place.


# %% tags=["hide-input"]
def applied(kind: int):
    """Our function of a whole array, a multiple of sixteen long."""
    KIND, UNIT = kind, unit(kind)

    @njit
    def over(z, out):
        for i in range(0, z.size // 8, 2):
            f, g = two_values(
                KIND,
                1.0,
                load(z, i) * splat(UNIT),
                load(z, i + 1) * splat(UNIT),
                False,
                literal(KIND),
            )
            store(out, i, f)
            store(out, i + 1, g)

    return over


z = np.concatenate([-np.geomspace(20, 1e-6, 2000), np.geomspace(1e-6, 20, 2000)])
room, out = aligned(len(z) // 8).reshape(-1), aligned(len(z) // 8).reshape(-1)
room[:] = z
exact = {
    "tanh": lambda t: np.tanh(t),
    "sigmoid": lambda t: 1 / (1 + np.exp(-t)),
    "elu": lambda t: np.where(t > 0, t, np.expm1(t)),
}
errors = {}
for name, function in exact.items():
    applied(KINDS[name])(room, out)
    true = function(z.astype(np.longdouble))
    errors[name] = np.abs((out - true) / np.spacing(np.abs(true.astype(float)))).astype(float)
fig, ax = plt.subplots(figsize=(7.2, 2.7))
for (name, error), colour in zip(errors.items(), (BLUE, ORANGE, GREEN), strict=True):
    ax.plot(z, error, ".", ms=1.6, color=colour, label=name, alpha=0.6)
ax.axhline(0.5, color=GREY, ls="--", lw=1)
ax.set(xlabel="$z$", ylabel="error, units in the last place", ylim=(0, None))
ax.set_xscale("symlog", linthresh=1e-3)
ax.legend(markerscale=5, ncols=3)
run.figure(
    fig,
    "ulp",
    "Error of the kernel's own activations against extended precision, live. Dashed: the half unit"
    " that the best possible rounding leaves.",
    "Scatter plot of errors for arguments from minus 20 to 20: mostly below two units in the last"
    " place, and up to a dozen for the sigmoid at large negative arguments.",
    {"z": z} | errors,
)
run.glue("ulp-tanh", float(errors["tanh"].max()), digits=2)
run.glue("ulp-sigmoid", float(errors["sigmoid"].max()), digits=2)
run.glue("ulp-sigmoid-right", float(errors["sigmoid"][z > -1].max()), digits=2)
run.claim(
    "K1",
    float(errors["tanh"].max()),
    note="Live, against 80-bit arithmetic, 4,000 arguments of either sign.",
)

# %% [markdown]
# The largest error of $\tanh$ is {glue:text}`ulp-tanh` units in the last place. The sigmoid has
# {glue:text}`ulp-sigmoid-right` for arguments above $-1$; far to the left, where it is $e^z$ and
# nearly zero, the rounding of the argument itself counts $|z|$ times, and the relative error grows
# to {glue:text}`ulp-sigmoid` units.
#
# How near is the whole step to the limit, which is $\tanh$ alone, run over arrays in the
# first-level cache?

# %% tags=["hide-input"]
pace = fact("descent", "operations and ns")
problems = [r for r in rows if r["benchmark"] == "descent" and "limit" in r["rival_name"]]
fig, axes = plt.subplots(
    1,
    2 if pace else 1,
    figsize=(7.2 if pace else 4.2, 3.5),
    squeeze=False,
    width_ratios=(1, 1.5) if pace else None,
)
axes = axes[0]
names = [r["name"].split(",")[0] for r in problems]
shares, places = np.array([r["ratio"] for r in problems]), np.arange(len(problems))
counted = shares * (fact("descent", "operations of a step over those of tanh") or float("nan"))
axes[0].barh(places - 0.2, shares, color=BLUE, height=0.36, label="$\\tanh$ alone")
axes[0].barh(places + 0.2, counted, color=SKY, height=0.36, label="all operations at its pace")
middle = np.array([r["spread"] for r in problems]).T
axes[0].errorbar(shares, places - 0.2, xerr=np.abs(middle - shares), fmt="none", ecolor=INK, lw=1)
axes[0].legend(fontsize=6.5, loc="lower center", bbox_to_anchor=(0.4, 1), ncols=2)
axes[0].axvline(1, color=GREY, ls="--", lw=1)
axes[0].set(xlabel="limit over time of the step", xlim=(0, 1.08 * max(1, counted.max())))
axes[0].set_yticks(range(len(problems)), [n.replace(" of ", "\nof ") for n in names], fontsize=8)
if pace:
    base = pace["1-3-1, tanh, gd"]
    top = max(p[0] for p in pace.values()) * 1.08
    axes[1].plot(
        [0, top],
        [0, top * base[1] / base[0]],
        color=GREY,
        ls="--",
        lw=1,
        label="pace of tanh descent",
    )
    markers = {"tanh": "o", "sigmoid": "s", "relu": "^", "leaky_relu": "v", "elu": "D"}
    for name, (count, ns) in pace.items():
        widths, activation, optimizer = name.split(", ")
        colour = RED if optimizer == "adam" else BLUE
        axes[1].plot(
            count,
            ns,
            markers[activation],
            color=colour,
            label=f"{activation}, {optimizer}, {widths}",
            ms=5,
        )
    axes[1].set(
        xlabel="operations a neuron and sample",
        ylabel="ns a neuron, sample and thread",
        xlim=(0, top),
        ylim=(0, 1.45 * max(p[1] for p in pace.values())),
    )
    axes[1].legend(fontsize=6.2, ncols=2, loc="upper left")
run.figure(
    fig,
    "limit",
    "Two limits as a share of the time of a step: the $\\tanh$ evaluations alone (with the middle"
    " half), and all additions and multiplications of the step at the pace that $\\tanh$ alone"
    " reaches."
    + (
        " Right: time against the number of operations for other activations, widths and Adam"
        " (red); below the dashed line a case is faster for each operation than $\\tanh$ descent."
        if pace
        else ""
    ),
    "Three pairs of bars near one half and near one."
    + (" Right, times against operation counts, with a line through the origin." if pace else ""),
    {"problem": [r["name"] for r in problems], "share": shares, "share_of_all_operations": counted}
    | (
        {
            "case": list(pace),
            "operations": [p[0] for p in pace.values()],
            "ns": [p[1] for p in pace.values()],
        }
        if pace
        else {}
    ),
)
if pace:
    relative = {name: (ns / count) / (base[1] / base[0]) for name, (count, ns) in pace.items()}
    slowest = max(relative, key=relative.get)
    display(
        Markdown(
            f"For each operation the slowest case is {slowest}, by a factor of"
            f" {relative[slowest]:.3g}; where the arithmetic is little, loads and stores set the"
            " pace, and with Adam the root and the division of each parameter."
        )
    )
run.glue("limit-shares", shares.tolist(), digits=2)
run.glue("limit-operations", counted.tolist(), digits=2)
jax = [r for r in rows if r["benchmark"] == "descent" and "JAX" in r["rival_name"]]
run.claim(
    "K2",
    min(r["ratio"] / r["target"] for r in jax),
    note="Ratios "
    + ", ".join(f"{r['ratio']:.3g} (aim {r['target']:g}, {r['name']})" for r in jax)
    + ".",
)
run.claim("K3", row("descent", "200 nets of width 3", "torch, one net at a time")["ratio"])
run.claim(
    "K4",
    [v for name, v in results["descent"]["facts"].items() if "difference to JAX" in name],
    note="After 1,000 steps and more.",
)

# %% [markdown]
# The share of the $\tanh$ limit is {glue:text}`limit-shares` for the three problems. It cannot be
# one: of the 31 operations of a step for each neuron and sample, $\tanh$ has 20; the others are
# pre-activations, residuals and the products of the way back. Were all 31 done at the pace of
# $\tanh$ alone, a step would take {glue:text}`limit-operations` of its time: that is how near the
# kernel is to what the arithmetic allows. (It may exceed one: a division counts as one operation
# and takes the time of several.)
#
# ### How the cost grows

# %% tags=["hide-input"]
axis_names = {"nets": "nets", "width": "neurons", "samples": "samples", "inputs": "inputs"}
default = {"nets": 200, "width": 3, "samples": 50, "inputs": 1}
few = {"nets": (8, 128, 2048), "width": (1, 8, 64), "samples": (8, 128, 1024), "inputs": (1, 8, 32)}


def problem(nets: int, width: int, samples: int, inputs: int):
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, inputs, generator=draws, dtype=torch.float64)
    return (
        init((inputs, width, 1), std=0.3, batch=(nets,), generator=draws),
        x,
        torch.tanh(x.sum(1, keepdim=True)),
    )


def taken(name: str, size: int) -> None:
    descend(
        *cases[name, size],
        steps=amounts[name, size],
        lr=1e-3,
        records=2,
        keep_smallest=False,
        threads=1,
    )


cases = {
    (name, size): problem(**default | {name: size}) for name, sizes in few.items() for size in sizes
}
amounts = {
    key: max(steps // 10, int(steps * 30_000 / (net.batch.numel() * net.widths[1] * x.numel())))
    for key, (net, x, _) in cases.items()
}
here = {
    name: np.array(live(partial(taken, name), *sizes)) / [amounts[name, s] for s in sizes]
    for name, sizes in few.items()
}
fig, axes = plt.subplots(1, 4, figsize=(7.2, 2.7), sharey=True)
tanh_ns = (
    row("descent", "200 nets of width 3", "tanh alone")["rival"]
    * results["descent"]["environment"]["threads"]
    / 30_000
)
data = {}
for ax, (name, label) in zip(axes, axis_names.items(), strict=True):
    curve = fact("scaling", f"seconds a step by {name}")
    sizes = np.array(few[name])
    data |= {name: sizes, f"seconds by {name}": here[name]}
    if curve:
        sizes = np.array(curve[name])
        ax.plot(sizes, curve["seconds"], "o-", color=BLUE, ms=4, label="committed")
        data |= {f"committed {name}": sizes, f"committed seconds by {name}": curve["seconds"]}
    ax.plot(few[name], here[name], "x" if curve else "x-", color=RED, label="live")
    bound = tanh_ns * 30_000 * (sizes / default[name] if name != "inputs" else np.ones(len(sizes)))
    ax.plot(sizes, bound, color=GREY, ls="--", lw=1, label="tanh alone")
    ax.set(xscale="log", yscale="log", xlabel=label)
axes[0].set_ylabel("seconds a step, one thread")
axes[0].legend(fontsize=7)
run.figure(
    fig,
    "growth",
    "Cost of a step of descent on one thread as one size grows, the others being 200 nets, 3"
    " neurons, 50 samples, one input. Blue: committed; red: live, on the machine that made this"
    " page; dashed: the $\\tanh$ evaluations alone.",
    "Four log-log plots of time against nets, neurons, samples and inputs; the curves rise in"
    " proportion once the vectors are full.",
    data,
)
if "scaling" in results:
    nets_curve = fact("scaling", "seconds a step by nets")
    slope = math.log(nets_curve["seconds"][-1] / nets_curve["seconds"][1]) / math.log(
        nets_curve["nets"][-1] / nets_curve["nets"][1]
    )
    run.claim(
        "K5",
        slope,
        note=(
            f"Slope in the logarithmic plot from {nets_curve['nets'][1]} to"
            f" {nets_curve['nets'][-1]:,} nets."
        ),
    )
    speedups = [r for r in rows if r["benchmark"] == "scaling"]
    run.claim(
        "K6",
        [r["ratio"] / fact("scaling", f"{r['name']}: speed-up of tanh") for r in speedups],
        note="; ".join(
            f"{r['name']}: {r['ratio']:.3g} times one thread, tanh alone"
            f" {fact('scaling', r['name'] + ': speed-up of tanh'):.3g}"
            for r in speedups
        )
        + ".",
        why=(
            "The targets lie within the middle half of the rounds: noise decides"
            if all(r["spread"][1] >= r["target"] for r in speedups)
            else (
                f"The machine had a load of {results['scaling']['environment']['load']} while this"
                " was measured, so the second core was not free."
            )
        ),
    )
else:
    for name in ("K5", "K6"):
        run.skip(name, "no quiet machine was at hand; `python -m benchmarks scaling` measures it")

# %% [markdown]
# Time is proportional to nets, to samples and to neurons, as soon as eight lanes are full: below
# eight nets, or eight neurons, lanes stay empty and the curves are flat. With more inputs the
# products take over from $\tanh$.
#
# ## Descent on a GPU
#
# On a GPU the same loop is a Triton kernel. A GPU has no large caches to keep thousands of nets in,
# but it has registers: 256 KiB on each of its multiprocessors. One program takes a tile of nets
# through all steps between two records, and nothing leaves the chip in between.

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7.2, 3.2))
for net in range(8):
    for s in range(4):
        ax.add_patch(Rectangle((net, 3 - s), 0.9, 0.85, color=SKY if s % 2 else BLUE, alpha=0.45))
        ax.text(
            net + 0.45,
            3.42 - s,
            f"t{4 * net + s}",
            ha="center",
            va="center",
            fontsize=6.5,
            color=INK,
        )
    ax.text(net + 0.45, 4.1, f"net {net + 1}", ha="center", fontsize=7.5)
for s in range(4):
    ax.text(-0.15, 3.42 - s, f"sample $i+{s}$", ha="right", va="center", fontsize=8)
ax.add_patch(
    FancyArrowPatch((-1.9, 3.9), (-1.9, 0), arrowstyle="-|>", mutation_scale=10, color=GREY)
)
ax.text(-2.0, 2, "blocks of\nsamples", ha="right", va="center", fontsize=8)
ax.text(
    8.4,
    3.4,
    "in the registers of each thread:\n$w, b, a$ of its net,\nits share of the gradient",
    fontsize=8,
    va="top",
)
ax.text(
    8.4, 1.2, "once a step: sums over the\nfour threads of a net", fontsize=8, va="top", color=RED
)
ax.text(
    8.4, 0.1, "once a record: losses and\niterates go to memory", fontsize=8, va="top", color=PURPLE
)
ax.set(xlim=(-3.6, 13), ylim=(-1.2, 4.6))
ax.set_axis_off()
shapes = [(1, 1, 1), (1, 3, 1), (1, 8, 1), (4, 2, 3), (1, 64, 1), (1, 500, 1)]
tiles = [tile(m, d, k, 50) for d, m, k in shapes]
run.figure(
    fig,
    "gpu",
    "A warp of 32 threads (t0 to t31) trains eight nets, four samples at a time. Neurons lie in the registers of a thread, so that outputs need no exchange between threads.",
    "A grid of four rows, samples, and eight columns, nets, each cell a thread; arrows and notes say what is kept in registers and what is exchanged.",
    {
        "inputs": [s[0] for s in shapes], "neurons": [s[1] for s in shapes], "outputs": [s[2] for s in shapes],
        "nets a program": [t.T for t in tiles], "samples at a time": [t.B for t in tiles], "warps": [t.warps for t in tiles],
    },
)  # fmt: skip
if "descent_gpu" in results:
    measured = [r for r in rows if r["benchmark"] == "descent_gpu" and r["target"]]
    words = (
        f"Measured on {fact('descent_gpu', 'device')}: "
        + "; ".join(f"{r['name']}: {r['ratio']:.3g} times {r['rival_name']}" for r in measured)
        + "."
    )
    run.claim("K7", min(r["ratio"] / r["target"] for r in measured), note=words)
else:
    words = (
        "No result of `python -m benchmarks descent_gpu` is committed: it needs a CUDA device. What"
        " is missing is the ratio to CUDA-graphed batched torch and to the CPU kernel. What the"
        " tests show without one: the kernel follows the reference over whole trajectories in"
        " Triton's interpreter, and for an H100 it compiles to code that stays in registers, with"
        " no exchange between threads but the sums of a step."
    )
    run.skip("K7", "no GPU was at hand; `python -m benchmarks descent_gpu` measures it")
display(Markdown(words))

# %% [markdown]
# ## Exact Hessians
#
# For a two-layer net every derivative of the output is a multiple of a row of one matrix $T$: with
# $s_j = \sigma(z_j)$ and $u_{jc} = \sigma'(z_j)\, x_c$ (where $x_c = 1$ for the bias),
# $\partial f_k / \partial w_{jc} = a_{kj} u_{jc}$ and $\partial f_k / \partial a_{kj} = s_j$. So
# the *jet* $(\sigma, \sigma', \sigma'')$ at every sample, and the Gram matrix $G = T T^\top$ over
# the samples, give the whole Gauss-Newton part by scaling blocks of $G$,
#
# $$
# \begin{aligned}
# H^{(1)}_{jc, j'c'} &= \kappa\, (A^\top A)_{jj'}\, G[u_{jc}, u_{j'c'}], \\
# H^{(1)}_{jc, kj'} &= \kappa\, a_{kj}\, G[u_{jc}, s_{j'}], \\
# H^{(1)}_{kj, kj'} &= \kappa\, G[s_j, s_{j'}],
# \end{aligned}
# $$
#
# with $\kappa = 2 / (n m_2)$, and the rest, $H^{(2)}$, couples a neuron with itself only. Nothing
# is differentiated twice. Wide nets take this way, by one matrix product.
#
# Small nets of any depth go through one loop over the samples, eight nets side by side as in
# descent. There the second derivatives $S_{ll'}$ of a sample's loss with respect to the
# pre-activations $z_l$ and $z_{l'}$, at fixed weights, follow from layer to layer, with errors
# $\delta_l$,
#
# $$
# S_{ll'} = \operatorname{diag}(\sigma')\, W^{[l+1]\top} S_{l+1,\,l'} + \mathbb{1}_{l = l'}
# \operatorname{diag}\!\big(\sigma''\, W^{[l+1]\top} \delta_{l+1}\big),
# $$
#
# from $S_{LL}$, the second derivative of the loss, and every entry is a sum over the samples of two
# features and one of these, plus what an error makes of a later feature:
#
# $$
# H[W^{[l]}_{ab}, W^{[l']}_{cd}] = \sum f^{[l-1]}_b \Big( S_{ll',\,ac}\, f^{[l'-1]}_d +
# \delta_{l',\,c}\, \frac{\partial f^{[l'-1]}_d}{\partial z_{l,a}} \Big), \qquad l \le l',
# $$
#
# the last term for $l < l'$ alone. What is neither small nor of two layers goes through matrix
# products of the same jets.

# %% tags=["hide-input"]
net, x, y = problem(1, 4, 50, 1)
parts = decompose(net[0], x, y)
fig, axes = plt.subplots(1, 3, figsize=(7.2, 2.9))
panels = {
    "$H^{(1)}$: scaled blocks of $G$": parts.gauss_newton,
    "$H^{(2)}$: within a neuron": parts.second_order,
    "$H$": parts.total,
}
top = float(parts.total.abs().max())
for ax, (title, h) in zip(axes, panels.items(), strict=True):
    image = ax.imshow(h, cmap="RdBu_r", vmin=-top, vmax=top)
    ax.set(title=title, xlabel="parameter")
    ax.set_xticks([1.5, 5.5, 9.5, 12], ["$w$", "$b$", "$a$", "$c$"])
    ax.set_yticks([1.5, 5.5, 9.5, 12], ["$w$", "$b$", "$a$", "$c$"])
    for edge in (3.5, 7.5, 11.5):
        ax.axhline(edge, color=GREY, lw=0.6)
        ax.axvline(edge, color=GREY, lw=0.6)
    ax.grid(False)
axes[0].set_ylabel("parameter")
fig.colorbar(image, ax=axes, shrink=0.75, label="entry")
run.figure(
    fig,
    "hessian",
    "The Hessian of a net with one input, four neurons and one output, and its two parts, live. The"
    " second part is zero but on the diagonals of its blocks.",
    "Three heat maps of 13 by 13 matrices with lines between the blocks of input weights, biases,"
    " output weights and output bias.",
    {"gauss_newton": parts.gauss_newton, "second_order": parts.second_order},
)

# %% tags=["hide-input"]
curves = {
    name: fact("scaling", f"seconds of Hessians by {name}") for name in ("nets", "width", "samples")
}
sizes = {"nets": (100, 1000), "width": (1, 4, 16), "samples": (10, 100, 1000)}
at = {"nets": 1000, "width": 3, "samples": 50, "inputs": 1}
made = {(name, s): problem(**at | {name: s}) for name in sizes for s in sizes[name]}
now = {name: live(lambda s, name=name: hessian(*made[name, s]), *sizes[name]) for name in sizes}
pace_one = (
    results["scaling"]["environment"].get("multiply-adds a second")
    if "scaling" in results
    else None
)  # on one thread
fig, axes = plt.subplots(1, 3, figsize=(7.2, 2.6), sharey=True)
data = {}
for ax, (name, curve) in zip(axes, curves.items(), strict=True):
    values = np.array(sizes[name])
    data |= {name: values, f"seconds by {name}": now[name]}
    if curve:
        values = np.array(curve[name])
        ax.plot(values, curve["seconds"], "o-", color=BLUE, ms=4, label="committed")
        data |= {f"committed {name}": values, f"committed seconds by {name}": curve["seconds"]}
    ax.plot(sizes[name], now[name], "x" if curve else "x-", color=RED, label="live")
    if pace_one:
        size = {
            key: values if key == name else np.full(len(values), at[key])
            for key in ("nets", "width", "samples")
        }
        entries = 3 * size["width"] + 1  # parameters
        bound = (
            size["nets"] * size["samples"] * entries * (entries + 1) / pace_one
        )  # half of H, float64 counted twice
        ax.plot(values, bound, color=GREY, ls="--", lw=1, label="limit")
        data |= {f"limit by {name}": bound}
    ax.set(xscale="log", yscale="log", xlabel=axis_names[name])
    ax.legend(fontsize=7)
axes[0].set_ylabel("seconds for all")
run.figure(
    fig,
    "hessian-growth",
    "Cost of the Hessians of 1,000 nets of width 3 on 50 samples as one size grows. Dashed: the"
    " limit, one multiply-add a sample and entry, half of them as the matrix is symmetric, at the"
    " pace of a large matrix product.",
    "Three log-log plots of time against nets, neurons and samples, each with a line below it that"
    " is the limit.",
    data,
)
run.claim(
    "K8",
    [r["ratio"] for r in rows if r["benchmark"] == "hessian"],
    note="Ten thousand nets: "
    + ", ".join(r["name"].removeprefix("10000 nets ") for r in rows if r["benchmark"] == "hessian")
    + ".",
)
run.claim("K9", fact("hessian", "difference of the results"))

# %% [markdown]
# A large net's Hessian is not formed at all. Its product with a vector, about the cost of two more
# gradients, goes into a Lanczos iteration for the ends of the spectrum. The library `curvlinops`
# offers the same product for any module, and is what ours is compared with.

# %% tags=["hide-input"]
if "spectra" in results:
    products = [
        value
        for name, value in results["spectra"]["facts"].items()
        if "relative difference" in name
    ]
    run.claim("K10", products, note="Products with the Hessian, and the three largest eigenvalues.")
else:
    run.skip("K10", "no result is committed; `python -m benchmarks spectra` measures it")

# %% [markdown]
# ## Convolutional nets and the rest

# %% tags=["hide-input"]
TEXTS = {
    "conv_gram": "**Conv Gram from shift structure.** The least-squares problem of a convolution needs the Gram matrix of unfolded patches. Entry ((c, a), (c', a')) is the correlation of channel c with "
    "channel c' at the offset a' − a, but for rows and columns that padding cuts off. So most of its blocks repeat: a correlation for every *offset* is enough, with corrections at the border, and no patch is ever "
    "unfolded.",
    "graft": "**Grafting.** The pre-activations of the joint layer are linear in its weights, so the best weights solve one least-squares problem. Gram matrices of all layers are gathered in a single pass over the images, "
    "which stream; no iteration, no learning rate.",
    "grouping": "**Grouping of neurons.** Cosines are taken in blocks of rows: a block of the similarity matrix is one matrix product, after which each vector is placed by vectorised comparisons with the groups so far. Memory grows "
    "with the number of neurons, not its square.",
    "mixture": "**Mixtures.** Interpolation in the space of features picks, for every neuron, one of two parents. When every layer is fitted to what the layer below is meant to compute, all mixtures of a path share the parents' "
    "Gram matrices, of which each takes its rows and columns; when it reads the mixture's own features, each has Gram matrices of its own.",
    "deep": "**Deeper nets.** Nets of any depth take the same idea with samples in the lanes: a feature of eight samples is one vector, and products of layers run over rows of such vectors in the cache.",
    "vgg": "**VGG training.** A narrow convolutional net is limited by how convolutions move memory. With the channels of a pixel side by side the same steps take much less time; crops and flips are drawn for a whole minibatch at once "
    "instead of image by image.",
    "spectra": "**Products with the Hessian** against `curvlinops`.",
}  # fmt: skip
own = ("descent", "hessian", "scaling", "descent_gpu")
others = [name for name in results if name not in own and results[name]["rows"]]
display(Markdown("\n\n".join(TEXTS.get(name, f"**{name}.**") for name in others)))


# %% tags=["hide-input"]
def cells(ax, letters: str, down: float) -> None:
    for place, letter in enumerate(letters):
        ax.add_patch(
            Rectangle((place, down), 0.92, 0.8, color=COLOURS["rgb".index(letter)], alpha=0.45)
        )
        ax.text(place + 0.46, down + 0.4, letter, ha="center", va="center", fontsize=7)


def vgg(ax) -> None:
    for down, title, letters in (
        (2, "channels first", "rrrrggggbbbb"),
        (0, "channels last: a pixel together", "rgbrgbrgbrgb"),
    ):
        cells(ax, letters, down)
        ax.text(0, down + 1.0, title, fontsize=8)
    ax.set(xlim=(-0.3, 12.3), ylim=(-0.5, 3.6), title="VGG training: memory\nof four pixels")
    ax.set_axis_off()


def conv_gram(ax) -> None:
    draws = torch.Generator().manual_seed(seed)
    image = torch.nn.functional.avg_pool2d(torch.randn(200, 1, 14, 14, generator=draws), 3, 1)
    patches = torch.nn.functional.unfold(image, 3, padding=1)
    ax.imshow(torch.einsum("nai,nbi->ab", patches, patches), cmap="Blues")
    ax.set(
        title="patch Gram: equal shifts,\nnearly equal entries",
        xlabel="pixel of the kernel",
        ylabel="pixel of the kernel",
    )
    ax.grid(False)


def grouping(ax) -> None:
    draws = torch.Generator().manual_seed(seed)
    centres = torch.randn(6, 12, generator=draws)
    v = torch.nn.functional.normalize(
        centres[torch.randint(6, (40,), generator=draws)]
        + 0.25 * torch.randn(40, 12, generator=draws),
        dim=1,
    )
    ax.imshow(torch.tril(v @ v.T), cmap="Blues", vmin=0, vmax=1)
    ax.add_patch(Rectangle((-0.5, 19.5), 30, 10, fill=False, edgecolor=RED, lw=1.6))
    ax.set(
        title="grouping: cosines,\na block at a time",
        xlabel="vectors placed so far",
        ylabel="vector",
    )
    ax.grid(False)


def graft(ax) -> None:
    for row, colour in ((2, BLUE), (0, ORANGE)):
        for k in range(6):
            used = k < 3 if row else k > 3
            ax.add_patch(Rectangle((k, row), 0.8, 0.8, color=colour, alpha=0.75 if used else 0.2))
    ax.add_patch(Rectangle((3, 1), 0.8, 0.8, color=RED, alpha=0.7))
    for start, end in (
        ((2.8, 2.3), (3.3, 1.85)),
        ((3.4, 0.85), (3.4, 0.98)),
        ((3.85, 1.2), (4.3, 0.85)),
    ):
        ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=8, color=INK))
    ax.text(-0.1, 3.0, "net 1: features $u$", fontsize=7.5)
    ax.text(-0.1, -0.5, "net 2: wanted $g$", fontsize=7.5)
    ax.text(4.0, 1.35, "sums of $uu^\\top$, $gu^\\top$", fontsize=7.5, color=RED)
    ax.set(xlim=(-0.3, 6.6), ylim=(-0.9, 3.5), title="grafting: one pass,\none linear system")
    ax.set_axis_off()


def mixture(ax) -> None:
    picked = (0, 2, 3, 6, 7)
    for row, title in ((2, "two parents"), (0, "their mixture")):
        for k in range(8):
            colour, shown = (BLUE if k < 4 else ORANGE), (row == 2 or k in picked)
            place = k if row == 2 else 1.5 + picked.index(k) if shown else 0
            if shown:
                ax.add_patch(
                    Rectangle(
                        (place, row), 0.85, 0.8, color=colour, alpha=0.75 if k in picked else 0.25
                    )
                )
            if row == 2 and k in picked:
                target = (1.9 + picked.index(k), 0.9)
                ax.add_patch(
                    FancyArrowPatch(
                        (k + 0.42, 1.95), target, arrowstyle="-|>", mutation_scale=7, color=GREY
                    )
                )
        ax.text(0, row + 0.95 if row else -0.5, title, fontsize=7.5)
    ax.set(xlim=(-0.3, 8.2), ylim=(-0.8, 3.5), title="mixture: channels drawn,\n$\\gamma = 0.6$")
    ax.set_axis_off()


def deep(ax) -> None:
    for j in range(4):
        for lane in range(8):
            ax.add_patch(
                Rectangle((lane, 3 - j), 0.92, 0.8, color=SKY, alpha=0.35 + 0.2 * (j == 0))
            )
        ax.text(-0.2, 3.4 - j, f"neuron {j + 1}", ha="right", va="center", fontsize=7)
    ax.text(4, 4.2, "eight samples (lanes)", ha="center", fontsize=7.5)
    ax.set(xlim=(-3, 8.2), ylim=(-0.3, 4.8), title="deeper nets:\nsamples side by side")
    ax.set_axis_off()


pictures = {
    "conv_gram": conv_gram, "graft": graft, "grouping": grouping, "mixture": mixture, "deep": deep, "vgg": vgg
}  # fmt: skip
drawn = [name for name in pictures if name in others]
lines = -(-len(drawn) // 3)
fig, axes = plt.subplots(lines, 3, figsize=(7.2, 2.5 * lines), squeeze=False, layout="constrained")
for ax in axes.flat[len(drawn) :]:
    ax.remove()
for ax, name in zip(axes.flat, drawn, strict=False):
    pictures[name](ax)
    ax.title.set_fontsize(6.5)
run.figure(
    fig,
    "pictures",
    "How the work is laid out, a panel for each of the kernels above that has one.",
    "Schematic panels: " + ", ".join(drawn) + ".",
    {"panel": drawn},
)

# %% tags=["hide-input"]
timed = [name for name in results if name in (*others, "hessian") and results[name]["rows"]]
count = sum(len(results[name]["rows"]) for name in timed)
fig, axes = plt.subplots(len(timed), 1, figsize=(7.2, 0.9 * len(timed) + 0.32 * count), squeeze=False,
                         height_ratios=[0.8 + len(results[name]["rows"]) for name in timed])  # fmt: skip
for ax, name in zip(axes[:, 0], timed, strict=True):
    for place, r in enumerate(results[name]["rows"]):
        ax.plot([r["ours"]], [place], "o", color=BLUE, label="ours" if place == 0 else None)
        ax.plot(
            [r["rival"]], [place], "D", color=ORANGE, ms=4, label="rival" if place == 0 else None
        )
        ax.plot([r["ours"], r["rival"]], [place, place], color=GREY, lw=0.8, zorder=0)
        if r.get("operations"):
            roof = r["operations"] / results[name]["environment"]["multiply-adds a second"]
            ax.plot(
                [roof, roof],
                [place - 0.35, place + 0.35],
                color=INK,
                lw=1.4,
                label="limit" if place == 0 else None,
            )
    ax.set_yticks(
        range(len(results[name]["rows"])),
        [f"{r['name'][:60]}\n{r['rival_name'][:60]}" for r in results[name]["rows"]],
        fontsize=5.8,
    )
    ax.set(xscale="log", title=name, ylim=(len(results[name]["rows"]) - 0.4, -0.6))
    ax.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
axes[-1, 0].set_xlabel("seconds a unit of work")
flat = [r for r in rows if r["benchmark"] in timed]
run.figure(
    fig,
    "others",
    "Time of ours (blue) and of each rival (orange) in all benchmarks but descent; a longer grey line is a larger ratio. Black ticks: the limit, our multiply-adds at the pace of a large matrix product (those in float64 count twice, elementwise work not at all), where they were counted.",
    f"Dumbbell plots of times for {count} problems of {len(timed)} benchmarks.",
    {
        "benchmark": [r["benchmark"] for r in flat], "problem": [r["name"] for r in flat], "rival": [r["rival_name"] for r in flat],
        "ours": [r["ours"] for r in flat], "rival_seconds": [r["rival"] for r in flat],
    },
)  # fmt: skip


# %% tags=["hide-input"]
def facts_of(benchmark: str, part: str) -> dict:
    return {name: value for name, value in results[benchmark]["facts"].items() if part in name}


def claim(name: str, benchmark: str, measured, note) -> None:
    """The claim that rests on a benchmark, or that nobody has run it."""
    if benchmark in results:
        run.claim(name, measured(), note=note())
    else:
        run.skip(name, f"no result is committed; `python -m benchmarks {benchmark}` measures it")


def losses() -> str:
    return ", ".join(
        f"{name.replace('matching loss, ', '')}: {value:.3g}"
        for name, value in facts_of("graft", "matching loss").items()
    )


claim(
    "K11",
    "conv_gram",
    lambda: row("conv_gram", "64 channels 32x32", "unfold")["ratio"],
    lambda: f"Largest relative difference {fact('conv_gram', 'difference'):.1e}.",
)
claim(
    "K12",
    "graft",
    lambda: [r["ratio"] for r in results["graft"]["rows"]],
    lambda: f"Matching losses: {losses()}.",
)
claim(
    "K13",
    "grouping",
    lambda: max(
        *(v / 5 for v in facts_of("grouping", ": seconds").values()),
        *(v / 2048 for v in facts_of("grouping", "MiB").values() if v > 1),
    ),
    lambda: (
        f"At most {max(facts_of('grouping', ': seconds').values()):.3g} s and"
        f" {max(facts_of('grouping', 'peak').values())} MiB, libraries included."
    ),
)
claim(
    "K15",
    "mixture",
    lambda: list(facts_of("mixture", "teacher inputs: eleven").values()),
    lambda: (
        f"Each reading its own features: {fact('mixture', 'own inputs: eleven'):.3g} times one,"
        " since no Gram but that of the second layer is shared."
    ),
)

# %% [markdown]
# How the cost of training grows with the images is measured live on a net narrow enough for that:
# one epoch of minibatches of 64.

# %% tags=["hide-input"]
counts = (64, 128, 256)
draws = torch.Generator().manual_seed(seed)
pictures_x, labels = (
    torch.randn(max(counts), 3, 32, 32, generator=draws),
    torch.randint(10, (max(counts),), generator=draws),
)
start_net = initialise(VGG(width=1 / 32), generator=seed)


def epoch(n: int, last: bool) -> None:
    train(
        [start_net],
        pictures_x[:n],
        labels[:n],
        Recipe(epochs=1),
        execution=Execution(channels_last=last),
    )


layouts = {"channels first": False, "channels last": True}
epochs = {name: live(partial(epoch, last=last), *counts) for name, last in layouts.items()}
fig, ax = plt.subplots(figsize=(4.6, 2.8))
for (name, seconds), colour in zip(epochs.items(), (ORANGE, BLUE), strict=True):
    ax.plot(counts, seconds, "o-", color=colour, label=name)
ax.plot(
    counts,
    epochs["channels last"][-1] * np.array(counts) / counts[-1],
    color=GREY,
    ls="--",
    lw=1,
    label="∝ images",
)
ax.set(xlabel="images", ylabel="seconds an epoch", xlim=(0, None), ylim=(0, None))
ax.legend()
run.figure(
    fig,
    "images",
    "Training time of a VGG-16 of width 1/32 against the number of images, live, in the two"
    " layouts. Dashed: proportion to the images.",
    "Two nearly straight lines of time against 64 to 256 images; the one for channels last lies"
    " lower.",
    {"images": counts} | epochs,
)

# %% [markdown]
# ## Memory
#
# Every kernel has a bound that does not depend on how long it runs. Descent holds the nets, their
# moments and what is recorded, and refuses a run that would take more than
# {glue:text}`descent-bound` GiB, naming the size; Hessians are made in pieces of a few megabytes,
# and refused when the result itself exceeds what `memory` allows; grouping holds a block of rows of
# the similarity matrix; images stream.

# %% tags=["hide-input"]
peaks = [
    (name, key, v)
    for name, result in results.items()
    for key, v in result["facts"].items()
    if "MiB" in key and v is not None
]
run.glue("descent-bound", MAX_BYTES / 2**30)
table([{"benchmark": name, "what": key, "MiB": f"{v:,.1f}"} for name, key, v in peaks])

# %% [markdown]
# ## What was found

# %%
run.claims_table()

# %% [markdown]
# ### To measure on your own machine
#
# ```
# uv pip install -e .[bench]        # the rivals: JAX, curvlinops
# python -m benchmarks              # all of them, or: python -m benchmarks hessian --threads 2
# make chapter CH=06_kernels P="rounds=9"
# ```
#
# Without a rival the others still run; without a GPU `descent_gpu` says what is missing. The first
# command overwrites `benchmarks/results/*.json`, from which this chapter is made.

# %%
run.provenance()
