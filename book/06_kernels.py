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
rounds: int = 5  # rounds of the live measurements, in [1, 1000]
steps: int = 2000  # steps of descent in each, a tenth for large problems, in [10, 1000000]
seed: int = 0  # seed of every random draw, >= 0

# %% tags=["hide-input"]
import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown, display

from companion import chapter
from companion.trials import Trials
from experiments.kernels import accuracy, timing
from experiments.kernels.results import Results, Rounds, by_round
from lib.curvature import decompose
from lib.train.descent.checks import MAX_BYTES
from lib.train.descent.gpu import tile

run = chapter.start("06_kernels", globals())
from companion import layouts, panels  # after start()
from companion.figures import BLUE, COLOURS, GREEN, GREY, INK, ORANGE, RED, SKY

known = Results(run.benchmarks())


def table(lines: list[dict]) -> None:
    frame = pd.DataFrame(lines)
    display(HTML(frame.to_html(index=False, border=0, justify="left", classes="table")))


def claim(name: str, benchmark: str, measured, note) -> None:
    """The claim that rests on a benchmark, or that nobody has run it."""
    if benchmark in known:
        run.claim(name, measured(), note=note())
    else:
        run.skip(name, f"no result is committed; `python -m benchmarks {benchmark}` measures it")


def timed(name: str, benchmark: str, found: Rounds | None, null: str, note: str = "") -> None:
    """The claim that rests on the rounds of a benchmark."""
    if benchmark not in known or found is None:
        why = "No rounds are there" if benchmark in known else "No result is there"
        run.skip(name, f"{why}; `python -m benchmarks {benchmark}` measures them. {note}")
        return

    def rounds_of(values: list[float]) -> Trials:
        return Trials({"resample": range(len(values)), "value": values}, "median")

    run.claim(name, trials=rounds_of(found.value), nulls={null: rounds_of(found.null)}, note=note)


def over_target(row, ratios):
    return ratios / row["target"]


ITSELF = "our own kernel, in the next round"


# %% [markdown]
# ## All of them at a glance

# %% tags=["hide-input"]
shown = known.competitors
colours = dict(zip(known.by_name, [*COLOURS, *COLOURS], strict=False))
fig, (ax,) = panels.frame(height=1.1 + 0.24 * len(shown))
for place, r in enumerate(shown):
    colour = colours[r["benchmark"]]
    ax.plot(r["spread"], [place] * 2, color=colour, lw=3, alpha=0.45, solid_capstyle="butt")
    ax.plot(r["ratio"], place, "o", color=colour)
    if r["target"]:
        ax.plot([r["target"]] * 2, [place - 0.38, place + 0.38], color=INK, lw=1.4)
panels.limit(ax, 1, "x")
panels.logarithmic(ax, "x", xlabel="times faster than the rival")
panels.names(ax, [f"{r['name']}\nagainst {r['rival_name']}" for r in shown], size=6)
columns = {"problem": "name", "rival": "rival_name", "ours_seconds": "ours"}
columns |= {"benchmark": "benchmark", "rival_seconds": "rival", "ratio": "ratio"}
run.figure(
    fig,
    "ratios",
    "How many times faster each kernel is than each rival: median and middle half. Black ticks: the"
    " ratio aimed at, where there is one. Dashed: equal speed. The colour is that of the"
    " benchmark.",
    f"A dot plot of {len(shown)} speed ratios on a logarithmic axis, from below one to several"
    " thousand.",
    {name: [r[key] for r in shown] for name, key in columns.items()}
    | {"target": [r["target"] or float("nan") for r in shown]},
)
display(Markdown(f"Measured on {' and '.join(known.processors)}."))
told = ("threads", "load", "rounds", "date", "commit")
machines = {name: known.environment(name) for name in known.by_name}
table([{"benchmark": name} | {key: at.get(key) for key in told} for name, at in machines.items()])

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
fig, axes = panels.frame(2, 3.1)
layouts.lanes(axes[0], "many nets: eight side by side", "net", "neuron", SKY)
layouts.lanes(axes[1], "one wide net: eight neurons", "neuron", "row", GREEN)
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
z = accuracy.arguments()
errors = accuracy.last_place_errors(z)
fig, (ax,) = panels.frame(height=2.7)
for (name, error), colour in zip(errors.items(), (BLUE, ORANGE, GREEN), strict=True):
    ax.plot(z, error, ".", ms=1.6, color=colour, label=name, alpha=0.6)
panels.limit(ax, 0.5)
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
pace = known.fact("descent", "operations and ns") or {}
problems = [r for r in known.of("descent") if "limit" in r["rival_name"]]
shares, places = np.array([r["ratio"] for r in problems]), np.arange(len(problems))
more = known.fact("descent", "operations of a step over those of tanh") or float("nan")
counted = shares * more
fig, axes = panels.frame(2, 3.5, ratios=(1, 1.5))
middle = np.array([r["spread"] for r in problems]).T
axes[0].barh(places - 0.2, shares, color=BLUE, height=0.36, label="$\\tanh$ alone")
axes[0].barh(places + 0.2, counted, color=SKY, height=0.36, label="all operations at its pace")
axes[0].errorbar(shares, places - 0.2, xerr=np.abs(middle - shares), fmt="none", ecolor=INK, lw=1)
axes[0].legend(fontsize=6.5, loc="lower center", bbox_to_anchor=(0.4, 1), ncols=2)
panels.limit(axes[0], 1, "x")
axes[0].set(xlabel="limit over time of the step", xlim=(0, 1.08 * max(1, counted.max())))
short = [r["name"].split(",")[0].replace(" of ", "\nof ") for r in problems]
axes[0].set_yticks(places, short, fontsize=8)
base = pace["1-3-1, tanh, gd"]
top = max(p[0] for p in pace.values()) * 1.08
panels.equality(axes[1], [0, top], base[1] / base[0], "pace of tanh descent")
markers = {"tanh": "o", "sigmoid": "s", "relu": "^", "leaky_relu": "v", "elu": "D"}
for name, (count, ns) in pace.items():
    widths, activation, optimizer = name.split(", ")
    colour, label = RED if optimizer == "adam" else BLUE, f"{activation}, {optimizer}, {widths}"
    axes[1].plot(count, ns, markers[activation], color=colour, label=label, ms=5)
axes[1].set(xlabel="operations a neuron and sample", ylabel="ns a neuron, sample and thread")
axes[1].set(xlim=(0, top), ylim=(0, 1.45 * max(p[1] for p in pace.values())))
axes[1].legend(fontsize=6.2, ncols=2, loc="upper left")
run.figure(
    fig,
    "limit",
    "Two limits as a share of the time of a step: the $\\tanh$ evaluations alone (with the middle"
    " half), and all additions and multiplications of the step at the pace that $\\tanh$ alone"
    " reaches. Right: time against the number of operations for other activations, widths and Adam"
    " (red); below the dashed line a case is faster for each operation than $\\tanh$ descent.",
    "Three pairs of bars near one half and near one. Right, times against operation counts, with a"
    " line through the origin.",
    {"problem": [r["name"] for r in problems], "share": shares, "share_of_all_operations": counted}
    | {"case": list(pace), "operations": [p[0] for p in pace.values()]}
    | {"ns": [p[1] for p in pace.values()]},
)

# %% tags=["hide-input"]
relative = {name: (ns / count) / (base[1] / base[0]) for name, (count, ns) in pace.items()}
slowest = max(relative, key=relative.get)
words = (
    f"For each operation the slowest case is {slowest}, by a factor of {relative[slowest]:.3g};"
    " where the arithmetic is little, loads and stores set the pace, and with Adam the root and"
    " the division of each parameter."
)
display(Markdown(words))
run.glue("limit-shares", shares.tolist(), digits=2)
run.glue("limit-operations", counted.tolist(), digits=2)
jax = [r for r in known.of("descent") if "JAX" in r["rival_name"]]
ratios = ", ".join(f"{r['ratio']:.3g} (aim {r['target']:g}, {r['name']})" for r in jax)
timed("K2", "descent", by_round(jax, over_target), ITSELF, f"Medians of the ratios: {ratios}.")
single = known.row("descent", "200 nets of width 3", "torch, one net at a time")
found = by_round([single], lambda _, ratios: ratios)
timed("K3", "descent", found, ITSELF, f"Median: {single['ratio']:,.0f} times.")
apart = list(known.facts("descent", "difference to JAX").values())
run.claim("K4", apart, note="After 1,000 steps and more.")

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
here = timing.descent_growth(seed, steps, rounds)
threads = known.environment("descent")["threads"]
tanh = known.row("descent", "200 nets of width 3", "tanh alone")["rival"] * threads


def growth(ax, name, live, benchmark_fact, data):
    """Live times against one size, and the committed ones where there are some."""
    sizes, committed = np.array(live[1]), known.fact("scaling", benchmark_fact + name)
    data |= {name: sizes, f"seconds by {name}": live[0]}
    if committed:
        sizes = np.array(committed[name])
        ax.plot(sizes, committed["seconds"], "o-", color=BLUE, ms=4, label="committed")
        data |= {f"committed {name}": sizes, f"committed seconds by {name}": committed["seconds"]}
    ax.plot(live[1], live[0], "x" if committed else "x-", color=RED, label="live")
    panels.logarithmic(ax, xlabel=axis_names[name])
    return sizes


fig, axes = panels.frame(4, 2.7, share="y")
data = {}
for ax, (name, seconds) in zip(axes, here.items(), strict=True):
    sizes = growth(ax, name, (seconds, timing.DESCENT_SIZES[name]), "seconds a step by ", data)
    bound = tanh * (sizes / timing.DESCENT[name] if name != "inputs" else np.ones(len(sizes)))
    ax.plot(sizes, bound, color=GREY, ls="--", lw=1, label="tanh alone")
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

# %% tags=["hide-input"]
counted = known.fact("scaling", "seconds a step by nets") or {"nets": [], "seconds": []}
speed_ups = {
    r["name"]: (r["ratio"], known.fact("scaling", f"{r['name']}: speed-up of tanh"))
    for r in known.of("scaling")
}
slopes, others = known.slopes("nets", 1), known.slopes("inputs", 0)
note = f"Slope in the logarithmic plot from {counted['nets'][1]} to {counted['nets'][-1]:,} nets."
grown = Rounds(slopes, others) if slopes else None
timed("K5", "scaling", grown, "growth with the inputs, of which a step has a fixed part", note)
possible = known.facts("scaling", "the same in every round")
together = by_round(
    known.of("scaling") if possible else [],
    lambda r, ratios: ratios / possible[f"{r['name']}: the same in every round"],
)
note = "; ".join(
    f"{name}: {ours:.3g} times one thread, tanh alone {tanh:.3g}"
    for name, (ours, tanh) in speed_ups.items()
)
load = f". Load of the machine: {known.environment('scaling').get('load')}."
timed("K6", "scaling", together, "one thread, in the next round", note + load)

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
fig, (ax,) = panels.frame(height=3.2)
layouts.warp(ax)
shapes = [(1, 1, 1), (1, 3, 1), (1, 8, 1), (4, 2, 3), (1, 64, 1), (1, 500, 1)]
tiles = [tile(m, d, k, 50) for d, m, k in shapes]
sizes = {name: [s[i] for s in shapes] for i, name in enumerate(("inputs", "neurons", "outputs"))}
run.figure(
    fig,
    "gpu",
    "A warp of 32 threads (t0 to t31) trains eight nets, four samples at a time. Neurons lie in the"
    " registers of a thread, so that outputs need no exchange between threads.",
    "A grid of four rows, samples, and eight columns, nets, each cell a thread; arrows and notes"
    " say what is kept in registers and what is exchanged.",
    sizes
    | {"nets a program": [t.T for t in tiles], "samples at a time": [t.B for t in tiles]}
    | {"warps": [t.warps for t in tiles]},
)
measured = [r for r in known.of("descent_gpu") if r["target"]]
ratios = "; ".join(f"{r['name']}: {r['ratio']:.3g} times {r['rival_name']}" for r in measured)
words = f"Measured on {known.fact('descent_gpu', 'device')}: {ratios}."
if not measured:
    words = (
        "No result of `python -m benchmarks descent_gpu` is committed: it needs a CUDA device. What"
        " is missing is the ratio to CUDA-graphed batched torch and to the CPU kernel. What the"
        " tests show without one: the kernel follows the reference over whole trajectories in"
        " Triton's interpreter, and for an H100 it compiles to code that stays in registers, with"
        " no exchange between threads but the sums of a step."
    )
display(Markdown(words))
timed("K7", "descent_gpu", by_round(measured, over_target), ITSELF, words)

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
net, x, y = timing.problem(seed, 1, 4, 50, 1)
parts = decompose(net[0], x, y)
shown = {
    "$H^{(1)}$: scaled blocks of $G$": parts.gauss_newton,
    "$H^{(2)}$: within a neuron": parts.second_order,
    "$H$": parts.total,
}
top = float(parts.total.abs().max())
fig, axes = panels.frame(3, 2.9)
for ax, (title, h) in zip(axes, shown.items(), strict=True):
    image = ax.imshow(h, cmap="RdBu_r", vmin=-top, vmax=top)
    ax.set(title=title, xlabel="parameter")
    for set_ticks in (ax.set_xticks, ax.set_yticks):
        set_ticks([1.5, 5.5, 9.5, 12], ["$w$", "$b$", "$a$", "$c$"])
    panels.blocks(ax, (3.5, 7.5, 11.5))
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
now = timing.hessian_growth(seed, rounds)
pace_one = known.environment("scaling").get("multiply-adds a second")  # on one thread
fig, axes = panels.frame(3, 2.6, share="y")
data = {}
for ax, (name, seconds) in zip(axes, now.items(), strict=True):
    live = (seconds, timing.HESSIAN_SIZES[name])
    values = growth(ax, name, live, "seconds of Hessians by ", data)
    if pace_one:
        size = timing.HESSIANS | {name: values}
        entries = 3 * size["width"] + 1  # parameters; half of H, float64 counted twice
        bound = size["nets"] * size["samples"] * entries * (entries + 1) / pace_one
        bound = np.broadcast_to(bound, values.shape)
        ax.plot(values, bound, color=GREY, ls="--", lw=1, label="limit")
        data |= {f"limit by {name}": bound}
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
made = [r["name"].removeprefix("10000 nets ") for r in known.of("hessian")]
found = by_round(known.of("hessian"), lambda _, ratios: ratios)
ratios = ", ".join(f"{r['ratio']:.3g}" for r in known.of("hessian"))
timed("K8", "hessian", found, ITSELF, f"Ten thousand nets: {', '.join(made)}; medians {ratios}.")
run.claim("K9", known.fact("hessian", "difference of the results"))

# %% [markdown]
# A large net's Hessian is not formed at all. Its product with a vector, about the cost of two more
# gradients, goes into a Lanczos iteration for the ends of the spectrum. The library `curvlinops`
# offers the same product for any module, and is what ours is compared with.

# %% tags=["hide-input"]
claim(
    "K10",
    "spectra",
    lambda: list(known.facts("spectra", "relative difference").values()),
    lambda: "Products with the Hessian, and the three largest eigenvalues.",
)

# %% [markdown]
# ## Convolutional nets and the rest
#
# **Conv Gram from shift structure.** The least-squares problem of a convolution needs the Gram
# matrix of unfolded patches. Entry ((c, a), (c', a')) is the correlation of channel c with channel
# c' at the offset a' − a, but for rows and columns that padding cuts off. So most of its blocks
# repeat: a correlation for every *offset* is enough, with corrections at the border, and no patch
# is ever unfolded.
#
# **Grafting.** The pre-activations of the joint layer are linear in its weights, so the best
# weights solve one least-squares problem. Gram matrices of all layers are gathered in a single
# pass over the images, which stream; no iteration, no learning rate.
#
# **Grouping of neurons.** Cosines are taken in blocks of rows: a block of the similarity matrix is
# one matrix product, after which each vector is placed by vectorised comparisons with the groups
# so far. Memory grows with the number of neurons, not its square.
#
# **Mixtures.** Interpolation in the space of features picks, for every neuron, one of two parents.
# When every layer is fitted to what the layer below is meant to compute, all mixtures of a path
# share the parents' Gram matrices, of which each takes its rows and columns; when it reads the
# mixture's own features, each has Gram matrices of its own.
#
# **Deeper nets.** Nets of any depth take the same idea with samples in the lanes: a feature of
# eight samples is one vector, and products of layers run over rows of such vectors in the cache.
#
# **VGG training.** A narrow convolutional net is limited by how convolutions move memory. With the
# channels of a pixel side by side the same steps take much less time; crops and flips are drawn
# for a whole minibatch at once instead of image by image.
#
# **Products with the Hessian** against `curvlinops`.

# %% tags=["hide-input"]
drawn = [name for name in layouts.PICTURES if name in known]
lines = -(-len(drawn) // 3)
fig, axes = panels.frame(3, 2.5 * lines, rows=lines)
for ax in axes[len(drawn) :]:
    ax.remove()
for ax, name in zip(axes, drawn, strict=False):
    layouts.PICTURES[name](ax)
    ax.set_title(ax.get_title("left"), fontsize=7.5)
run.figure(
    fig,
    "pictures",
    "How the work is laid out, a panel for each of the kernels above that has one.",
    "Schematic panels: " + ", ".join(drawn) + ".",
    {"panel": drawn},
)

# %% tags=["hide-input"]
own = ("descent", "scaling", "descent_gpu")
shown_here = [name for name in known.by_name if name not in own and known.of(name)]
flat = [r for name in shown_here for r in known.of(name)]
shares = [0.8 + len(known.of(name)) for name in shown_here]
fig, axes = panels.frame(rows=len(shown_here), height=0.9 * len(shown_here) + 0.32 * len(flat))
axes[0].get_gridspec().set_height_ratios(shares)
for ax, name in zip(axes, shown_here, strict=True):
    for place, r in enumerate(known.of(name)):
        ax.plot([r["ours"], r["rival"]], [place, place], color=GREY, lw=0.8, zorder=0)
        ax.plot(r["ours"], place, "o", color=BLUE)
        ax.plot(r["rival"], place, "D", color=ORANGE, ms=4)
        if r.get("operations"):
            roof = r["operations"] / known.environment(name)["multiply-adds a second"]
            ax.plot([roof, roof], [place - 0.35, place + 0.35], color=INK, lw=1.4)
    panels.keys(ax, {"ours": ("o", BLUE), "rival": ("D", ORANGE), "limit": ("|", INK)})
    named = [f"{r['name'][:60]}\n{r['rival_name'][:60]}" for r in known.of(name)]
    panels.names(ax, named, size=5.8)
    panels.logarithmic(ax, "x", title=name)
    panels.beside(ax, 7)
axes[-1].set_xlabel("seconds a unit of work")
columns = {"benchmark": "benchmark", "problem": "name", "rival": "rival_name"}
columns |= {"ours": "ours", "rival_seconds": "rival"}
run.figure(
    fig,
    "others",
    "Time of ours (blue) and of each rival (orange) in all benchmarks but descent; a longer grey"
    " line is a larger ratio. Black ticks: the limit, our multiply-adds at the pace of a large"
    " matrix product (those in float64 count twice, elementwise work not at all), where they were"
    " counted.",
    f"Dumbbell plots of times for {len(flat)} problems of {len(shown_here)} benchmarks.",
    {name: [r[key] for r in flat] for name, key in columns.items()},
)

# %% tags=["hide-input"]
room = [v for v in known.facts("grouping", "MiB").values() if v > 1]
found = known.facts("graft", "matching loss").items()
losses = ", ".join(f"{name.replace('matching loss, ', '')}: {v:.3g}" for name, v in found)
small = ", ".join(f"{r['ratio']:.3g}" for r in known.of("graft"))
unfold = known.row("conv_gram", "64 channels 32x32", "unfold")
shared = [r for r in known.of("mixture") if "teacher" in r["name"]]
loops = [r for r in known.of("grouping") if "loop" in r["rival_name"]]
taken = np.array(list(known.facts("grouping", ": rounds").values()))
slow = [np.array(r["rounds"][1]) * (10_000 / 500) ** 2 for r in loops if r.get("rounds")]

# %% tags=["hide-input"]
timed(
    "K11",
    "conv_gram",
    by_round([unfold], lambda _, ratios: ratios),
    ITSELF,
    f"Median {unfold['ratio']:.3g}; largest relative difference"
    f" {known.fact('conv_gram', 'difference'):.1e}.",
)
timed(
    "K12",
    "graft",
    by_round(known.of("graft"), lambda _, ratios: ratios * 4096 / 49_920),
    ITSELF,
    "Both read the same 49,920 images, those of the rival's 4,680 steps, at our pace on 4,096. On"
    f" these the medians are {small}. Matching losses: {losses}.",
)
timed(
    "K13",
    "grouping",
    Rounds(np.maximum(taken.max(0) / 5, max(room) / 2048).tolist(), (np.max(slow, 0) / 5).tolist())
    if taken.size and slow
    else None,
    "the double loop in Python, from its time for 500",
    f"The slowest of all linkages and cases; at most {max(room):,.0f} MiB, libraries included.",
)
timed(
    "K15",
    "mixture",
    by_round(shared, lambda _, ratios: 11 / ratios, np.max),
    "eleven mixtures that share nothing",
    f"Each reading its own features: {known.fact('mixture', 'own inputs: eleven'):.3g} times one,"
    " since no Gram but that of the second layer is shared.",
)

# %% [markdown]
# How the cost of training grows with the images is measured live on a net narrow enough for that:
# one epoch of minibatches of 64.

# %% tags=["hide-input"]
counts = (64, 128, 256)
epochs = timing.training_growth(counts, seed, rounds)
fig, (ax,) = panels.frame(height=2.8, width=4.6)
for (name, seconds), colour in zip(epochs.items(), (ORANGE, BLUE), strict=True):
    ax.plot(counts, seconds, "o-", color=colour, label=name)
one = epochs["channels last"][-1] / counts[-1]
ax.plot(counts, one * np.array(counts), color=GREY, ls="--", lw=1, label="∝ images")
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
    {"benchmark": name, "what": key, "MiB": f"{v:,.1f}"}
    for name in known.by_name
    for key, v in known.facts(name, "MiB").items()
    if v is not None
]
run.glue("descent-bound", MAX_BYTES / 2**30)
table(peaks)

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
