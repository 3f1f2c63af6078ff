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
# # Certified landscapes
#
# The chapters before this one find critical points by floating point numbers: a gradient of
# $10^{-15}$ is called zero, an eigenvalue of $10^{-17}$ too. Nets of a few neurons are small enough
# to do better. This chapter *proves* that critical points are there and what their inertia is,
# says what any split of them does to the inertia, and, for one neuron, proves that the points that
# were found are all there are.
#
# It goes beyond the papers, whose Figs. 3 and 4 {cite}`zhang2021embedding` it takes as its
# examples. Read chapter 1 first.

# %% tags=["parameters"]
starts: int = 40  # trained nets of each width in which critical points are sought, in [20, 10000]
iris_starts: int = 60  # nets polished on Iris, in [20, 10000]
cases: int = 40  # random splits that test the theorem on shares, in [10, 10000]
tasks: int = 6  # random tasks on which minima are sought, in [5, 10000]
nets: int = 6  # trained nets a task and width, in [4, 10000]
halvings: int = 30  # of a box before it counts as undecided, in [10, 60]
seed: int = 0  # seed of every random draw, >= 0

# %% tags=["hide-input"]
import numpy as np
import pandas as pd
import torch
from IPython.display import HTML, display

from companion import chapter
from companion.trials import Trials
from experiments.atlas import complete, drawing, points, shares
from experiments.width.spectra import iris_saddles, scaled_inputs, three_steps

run = chapter.start("07_atlas", globals())
from companion import panels  # after start()
from companion.figures import BLUE

draws = torch.Generator().manual_seed(seed)


def table(lines: list[dict]) -> None:
    frame = pd.DataFrame(lines).fillna("")
    display(HTML(frame.to_html(index=False, border=0, justify="left", classes="table")))


# %% [markdown]
# ## A proof for a point
#
# Let $g$ be the gradient of the loss, $H$ its Hessian, $\hat\theta$ the point that was found, $C$
# any matrix near $H(\hat\theta)^{-1}$, and $X$ the box of radius $r$ around $\hat\theta$. *Ball
# arithmetic* {cite}`johansson2017arb` computes with numbers $m \pm \varepsilon$ such that the true
# result of every operation lies in the computed one. So it can enclose $g(\hat\theta)$, and $H$ at
# *every* point of $X$ at once; the floats of net and data enter as the rationals that they are.
#
# Krawczyk's theorem, in the form of {cite}`moore2009interval`:
#
# ```{prf:theorem} Krawczyk
# :label: thm-atlas-krawczyk
# If $K(X) = \hat\theta - C\,g(\hat\theta) + (I - C\,H(X))\,(X - \hat\theta)$ lies in the interior
# of $X$, then $X$ holds exactly one critical point.
# ```
#
# ```{prf:proof}
# The map $\theta \mapsto \theta - C\,g(\theta)$ sends $X$ into $K(X)$, by the mean value theorem
# row by row. The interior of $X$ can only hold $K(X)$ if the row sums of $|I - C\,H|$ are below
# one for every $H$ in $H(X)$, with entries from different points as well; so the map contracts in
# the maximum norm, and $C$ is regular. Its one fixed point is the one zero of $g$.
# ```
#
# The signs of the Hessian follow from a second enclosure. With $Q$ the floating eigenvectors over
# the roots of $|$eigenvalues$|$, $S = Q^\top H(X)\, Q$ is nearly a diagonal of $\pm 1$. If no
# Gershgorin disc of $S$ holds zero, then $S$ is regular, hence $Q$ is, and by Sylvester's law $H$
# has the inertia of $S$, which its diagonal shows. That $Q$ is inexact only widens the discs.

# %%
x1, y1 = three_steps()
found = [
    net
    for width in (1, 2, 3)
    for net in points.functions_of_width(width, x1, y1, starts=starts, generator=draws)
]
entries = [points.examine(f"Fig. 4, width {net.widths[1]}", net, x1, y1) for net in found]

# %% [markdown]
# These are the functions of Fig. 4 and whatever else training and polishing nets of up to three
# neurons finds on its data (the minimum of Fig. 3(a) is the lowest of width 2). The saddles of Iris
# come from chapter 1, the lifts from chapter 2. A degenerate point, one with zero eigenvalues, is
# never alone, and no interval method can prove it. `certify_point` refuses it and says so.

# %%
flowers, species = run.data("iris", "all")
xi = torch.tensor(flowers, dtype=torch.float64)
yi = torch.eye(3, dtype=torch.float64)[torch.tensor(species)]
zi = scaled_inputs(xi)[0]
saddles = iris_saddles(xi, yi, draws, iris_starts).nets
entries += [points.examine("Fig. 3(b), Iris, width 1", net, zi, yi) for net in saddles]
shallow, lifted, kinked = points.lifted(draws)
isolated = [*entries, shallow]

# %% tags=["hide-input"]
copies = [points.examine("copy", points.copied(e), e.x, e.y) for e in isolated]
table([points.line(e) for e in (*isolated, lifted, kinked)])
refused = [*copies, lifted, kinked]
certified = [e.certificate for e in isolated if e.certificate is not None]
run.glue("certified", len(certified))
run.glue("refused", sum(e.certificate is None for e in refused))
radii = [c.radius for c in certified]
run.claim(
    "L1",
    [len(isolated) - len(certified), max(radii), sum(e.certificate is not None for e in refused)],
    note=f"{len(certified)} certificates, radii {min(radii):.0e} to {max(radii):.0e}."
    f" {len(refused)} degenerate points were tried: a split of each, a lift, a ReLU net.",
)

# %% [markdown]
# Of the points, {glue:text}`certified` have a certificate: within the *radius*, in every parameter,
# there is one true critical point with these numbers of negative, zero and positive eigenvalues,
# and no other one within the *isolation*. What is refused is as telling. A ReLU net has a zero
# eigenvalue for each neuron, along its rescalings, so that none of its critical points is isolated.
# Embedded and lifted points are degenerate by the theorems of chapters 1 and 2; but the same
# theorems carry over what is proved of the narrow or shallow net. For a lift in depth the signs
# stay, and each parameter that is added adds a zero: the lift of the ELU net in the table has the
# signs of that net. For a split the next section says what happens; the last column of the table is
# proved by it.
#
# ## Any shares
#
# {prf:ref}`thm-width-spectrum` treats equal copies. Let the copies have arbitrary shares $s_1,
# \dots, s_k$ with sum one, of which $p$ are positive, $q$ negative and $z$ zero. $B$ and $C$ are
# the matrices of that theorem; the inertia $\operatorname{In}$ is (negative, zero, positive).
#
# ```{prf:theorem} What copies of any shares add to the inertia
# :label: thm-atlas-shares
# Split a neuron of layer $l$ with shares $s_1, \dots, s_k$. At any $\theta$, critical or not, with
# $r = \operatorname{rank} C$ and $B_0$ the restriction of $B$ to $\ker C^\top$,
#
# $$ \operatorname{In}(H') = \operatorname{In}(H) + (k-1)\,(r,\; m_{l+1} - r,\; r) +
# (p-1) \operatorname{In}(B_0) + q \operatorname{In}(-B_0) + z\,(0,\, \dim \ker C^\top,\, 0). $$
# ```
#
# ```{prf:proof}
# Move input weights and bias of copy $i$ by $\delta_i$, its output weights by $\varepsilon_i$. The
# directions $\delta_i = \delta$, $\varepsilon_i = s_i\, \varepsilon$ are the image of the narrow
# net's parameters under the embedding $A$; let $V$ be the directions with $\sum_i s_i \delta_i = 0$
# and $\sum_i \varepsilon_i = 0$, all else fixed. The two only meet in zero, since $\sum_i s_i = 1$,
# and together they are everything. On the former $A^\top H' A = H$. For $v \in V$, $v^\top H' A =
# v^\top T H$, where $T$ transports gradients ({prf:ref}`thm-width-critical`); copy $i$ receives
# $s_i$ times the gradient of the neuron's input weights, and the gradient of its output weights,
# so that $v^\top T$ consists of the two sums, and vanishes. Hence $H'$ is congruent to $H \oplus
# H'|_V$.
#
# On $V$ the pre-activations above change by $\sum_i \varepsilon_i \sigma'(z)\, \delta_i \cdot u +
# \frac12 s_i\, a\, \sigma''(z) (\delta_i \cdot u)^2$ to second order and not to first, so half of
# $H'|_V$ is $\sum_i \delta_i^\top C\, \varepsilon_i + \frac12 s_i\, \delta_i^\top B\, \delta_i$.
# The $\varepsilon_i$ with sum zero pair with the $\delta_i$ through $C$ with rank $(k-1)\,r$: they
# pair to zero exactly if all $C^\top \delta_i$ are equal, and then these are zero, because $\sum_i
# s_i\, C^\top \delta_i = 0$. By Haynsworth this gives $(k-1)\,r$ of each sign, $(k-1)(m_{l+1} -
# r)$ zeros, and the inertia of $\sum_i s_i\, \delta_i^\top B\, \delta_i$ on the $\delta_i \in \ker
# C^\top$ with $\sum_i s_i \delta_i = 0$. That is $B_0$ times the form $\operatorname{diag}(s)$ on
# the vectors $t$ with $\sum_i s_i t_i = 0$, the complement of $(1, \dots, 1)$ in that form; as it
# takes the value $\sum_i s_i = 1 > 0$ there, the complement has $q$ negative, $z$ zero and $p - 1$
# positive signs.
# ```
#
# At a critical point with one output and $a \neq 0$, $C = 0$: each copy adds a zero, copies beyond
# the first with positive shares add the signs of $B$, those with negative shares the opposite ones.
# So a minimum whose $B$ is positive stays a minimum inside the simplex of shares and becomes a
# saddle outside; where $B$ is indefinite, every split is a strict saddle. For one output and two
# copies this is Theorem 3 of {cite}`fukumizu2000local`. Any number of copies, several outputs,
# shares of zero, degenerate $B$ and points that are not critical are not in that paper; we derived
# them here, and do not claim that nobody did before. In particular {cite}`ding2026plateau` classify
# the points of a plateau by $B$ and the shares, and we have not read how far that goes.

# %%
tried, blurred = shares.random_cases(cases, draws)
wrong = sum(case.predicted != case.measured for case in tried)
writing = [e for e in isolated if e.certificate is not None]
carried = [points.carried(e, s) for e in writing for s in (points.EQUAL, points.MIXED)]

# %% tags=["hide-input"]
carried = [pair for pair in carried if pair is not None]
run.claim(
    "L2",
    [wrong, sum(proved != counted for proved, counted in carried)],
    note=f"{len(tried)} random cases of {len(shares.ACTIVATIONS)} activations, half of them at"
    f" planted critical points ({blurred} more have no clear zeros); {len(carried)} splits of"
    " certified points, with shares 1/2, 1/2 and 3/2, -1/2.",
)

# %% [markdown]
# `certify_split` proves $\operatorname{rank} C$ and the signs of $B_0$ on the box of the narrow
# certificate, and so the inertia at every point of the wide net that splitting makes. (That $C\,a
# = 0$ is used, not enclosed: it holds exactly at the true critical point.)
# {numref}`fig-atlas-shares` shows the plane of shares of three copies for a neuron of the width-2
# minimum, whose $B$ is indefinite, and for one of a planted minimum with a positive $B$. How fast
# descent leaves such a point is another matter: $1/|\lambda_{\min}|$ is the time in which the
# distance grows by a factor $e$. It changes by orders of magnitude where the inertia does not
# change at all.

# %%
two = min((e for e in entries if e.net.widths[1] == 2), key=points.loss_of)
planes = [
    shares.plane(two.net, x1, y1, 0),
    shares.plane(*shares.minimum_with_positive_bend(draws), 0),
]

# %% tags=["hide-input"]
fig, axes = panels.frame(2, 6.2, rows=2)
levels = sorted({int(v) for p in planes for v in np.unique(p.negative)})
for row, (kind, at) in enumerate(zip(("indefinite", "positive"), planes, strict=True)):
    drawing.counts(axes[2 * row], at, levels)
    drawing.escape_times(axes[2 * row + 1], at)
    axes[2 * row].set_title(f"$B$ {kind}: negative eigenvalues", fontsize=9)
    axes[2 * row + 1].set_title(r"escape time $1/|\lambda_{\min}|$", fontsize=9)
run.figure(
    fig,
    "shares",
    "A neuron split into three, with the shares of the first two copies on the axes; the triangle"
    " is the simplex, where all shares are positive. Above: of the minimum of Fig. 3(a); below: of"
    " a planted one. Left: negative eigenvalues, by {prf:ref}`thm-atlas-shares`. Right: time to"
    " escape, from the exact Hessian (white: no way down).",
    "Four maps over the plane of shares, two for each neuron. Where B is indefinite the number of"
    " negative eigenvalues is two everywhere; where it is positive it is zero in the simplex and"
    " two"
    " or four outside; escape times vary by orders of magnitude.",
    {f"negative {k + 1}": p.negative for k, p in enumerate(planes)}
    | {f"lowest eigenvalue {k + 1}": p.lowest for k, p in enumerate(planes)}
    | {"shares": planes[0].axis},
)

# %% [markdown]
# ### How often is B definite?
#
# Whether a split can keep a minimum depends on $B$ being definite. We train nets of widths 1 to 3
# on random tasks with two inputs, polish them, keep the minima whose residual is not zero (else $B
# = 0$), and count the neurons with a definite $B$.

# %%
rows = shares.definite_shares(tasks, nets, 2, draws)
rows_of = {"seed": rows.seed, "width": rows.width, "minima": rows.minima}

# %% tags=["hide-input"]
fig, (ax,) = panels.frame(height=2.8, width=4.2)
drawing.shares_of_definite(ax, rows.width, rows.share, BLUE)
ax.set_ylabel("share of neurons\nwith a definite $B$")
run.figure(
    fig,
    "definite",
    "Share of neurons with a definite $B$ at the minima found, one dot a random task, and the mean."
    " The dashed line is the bound of claim L4.",
    "A dot plot of shares between zero and one for each width, with their means.",
    rows_of | {"share": rows.share},
)
run.claim(
    "L4",
    trials=Trials(rows_of | {"value": rows.share}),
    nulls={"signs removed": Trials(rows_of | {"value": rows.unsigned})},
    note=f"{sum(rows.minima)} minima of {tasks} tasks; rows of one task are averaged.",
)

# %% [markdown]
# ## All critical points of one neuron
#
# A certificate says that a point is there, not that there is no other. For one neuron the whole
# landscape can be searched. Its loss on the data of Fig. 4 is $\frac1n \sum_i (a\,h_i - y_i)^2$
# with $h_i = \tanh(w x_i + b)$. If $a \neq 0$ at a critical point, then $a = c/s$ with $c = \sum_i
# y_i h_i$, $s = \sum_i h_i^2$ and $c \neq 0$, and what remains are two equations in $(w, b)$:
#
# $$ \sum_i h_i'\, r_i = 0, \qquad \sum_i x_i\, h_i'\, r_i = 0, \qquad r_i = s\, y_i - c\, h_i. $$
#
# (If $a = 0$, the function is zero, and any $(w, b)$ with $c = 0$ is critical: a curve.) The signs
# $(w, b, a) \to (-w, -b, -a)$ and the mirror $b \to -b$, which data and target obey exactly when
# $x_i$ and $y_i$ are taken as the real numbers that they are meant to be, leave $w, b \ge 0$.
#
# This quarter plane is not compact, and at its edges the equations degenerate: all $h_i'$ decay
# where the neuron saturates, and this is why steps at infinity pass for critical points ($w
# \approx 30$, gradient below $10^{-10}$). So each end gets coordinates in which the equations,
# divided by what makes them vanish, extend to infinity:
#
# - small $w$: $h/w$ is analytic in $w^2$ and the slope $m = b/w$; small $w/b$: likewise in $b^2$;
# - all samples saturated: $e^{-2 z_1}$ and $e^{-2 w \Delta}$, with $z_i = w x_i + b$ and the
#   spacing $\Delta$; both may be zero;
# - $w \ge 3$ and the step at sample $j$: $z_j$ and $t = e^{-2w\Delta}$, where $h_{j \pm k}$ is a
#   function of $t^k$; the second equation, with sample $j$ eliminated, is divided by $t$;
# - $w \ge 3$ and the step between two samples: $e^{-2|z_j|}$ and $e^{-2|z_{j+1}|}$, one or the
#   other sample eliminated.
#
# In each chart boxes are halved until an enclosure of one equation excludes zero, or Krawczyk's
# operator proves that there is exactly one solution.

# %%
covers = complete.prove(complete.Neuron(), halvings)
single = [box for cover in covers.values() for box in cover.single]
rest = [cover for cover in covers.values() if not cover.complete]

# %% tags=["hide-input"]
plain = list(covers)[:4]
table(complete.lines(covers))
one = [e for e in entries if tuple(e.net.widths) == (1, 1, 1)]
where = [complete.inside(e.net, single) for e in one]
run.glue("boxes", sum(len(c.empty) for c in covers.values()))
run.glue("one-loss", min(map(points.loss_of, one)), digits=7)
run.claim(
    "L3",
    [len(single), sum(len(c.undecided) for c in covers.values()), len(rest)],
    note=f"{sum(len(c.empty) for c in covers.values()):,} boxes without a critical point in"
    f" {len(covers)} charts. The net of width 1 that training finds lies in the one box:"
    f" {'yes' if any(where) else 'no'}.",
)

# %% tags=["hide-input"]
fig, axes = panels.frame(2, 3.2)
for ax, name in zip(axes, ("middle $w$", "step at sample 20"), strict=True):
    drawing.cover(ax, complete.boxes_as_numbers(covers[name]))
    ax.set_title(name, fontsize=9)
axes[0].set(xscale="log", xlabel="$w$", ylabel="$m = b / w$")
axes[1].set(xlabel=r"$t = e^{-2 w \Delta}$", ylabel="$z_{20}$")
run.figure(
    fig,
    "boxes",
    "The proof, in two of its charts. Blue: boxes without a critical point. Orange: the box with"
    " exactly one. Grey: covered by another chart. The edge $t = 0$ on the right is at infinity.",
    "Two rectangles tiled by boxes. On the left the boxes shrink around one point at small w; on"
    " the right some forty boxes cover a chart that reaches infinity.",
    {name: complete.boxes_as_numbers(covers[name]) for name in plain}
    | {"step at sample 20": complete.boxes_as_numbers(covers["step at sample 20"])},
)

# %% [markdown]
# Together {glue:text}`boxes` boxes without a critical point and one with exactly one prove: apart
# from zero, one tanh neuron has a single critical function on these data, that of loss
# {glue:text}`one-loss`. What descent meets at width 1 is the complete diagram, and steps at
# infinity are not in it.
#
# The same search for two neurons has four dimensions, and their coincidence, the embedded line,
# must be treated by {prf:ref}`thm-atlas-shares` instead of by halving. It is not run here.
#
# ## What was found

# %% tags=["remove-input"]
run.claims_table()

# %% tags=["remove-input"]
run.provenance()
