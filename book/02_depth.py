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
# # Lifting critical points in depth
#
# The loss landscape of a deep net contains, in a sense to be made exact, every critical point of every shallower net. That is the
# *embedding principle in depth* {cite}`bai2024depth`. It rests on *lifting*: a layer is inserted that acts as an affine map on the training
# data, so that the net computes there what it computed before. It is to explain why nets of different depths stall at the same
# loss values when they are trained.
#
# Of the paper we could use the abstract, the introduction and Fig. 1. The theorems below are therefore stated and proved here, and every setting
# of an experiment is ours and is named. One statement of the paper's early versions, that a lifted minimum can become a strict saddle, turns out to
# be false where lifting is defined, and true in a precise sense at its boundary.

# %% tags=["parameters"]
data: str = "digits"           # images to train on, one of digits, mnist
images: int = 300              # training images, in [50, 60000]
image_width: int = 20          # neurons of each hidden layer of nets on images, >= 2
image_epochs: int = 3000       # epochs of Adam on images, >= 200
image_seeds: int = 3           # nets of each depth on images, >= 1
hidden: list[int] = [1, 2, 3, 4]  # numbers of hidden layers of Fig. 1, >= 1
seeds: int = 30                # nets of each depth on Iris, >= 4
epochs: int = 10000            # epochs of Adam on Iris, >= 500
polished: int = 10             # nets of each depth whose plateaus are polished, >= 2
lifts: int = 12                # random lifts of each kind that are certified, >= 2
exits_tried: int = 12          # lifted minima of each kind taken to their boundary, >= 3
descent: int = 20000           # epochs of gradient descent from there, >= 1000
norm_epochs: int = 2000        # epochs of nets with and without batch normalisation, >= 200
seed: int = 0                  # seed of every random draw, >= 0

# %% tags=["hide-input"]
import itertools

import matplotlib.pyplot as plt
import numpy as np
import torch

from lib.activations import get, leaky_relu
from lib.book import chapter
from lib.book.sketch import draw_net
from lib.certificate import certify
from lib.critical import polish, slow_windows, smallest_gradient_iterates
from lib.curvature import hessian, inertia
from lib.depth import (
    approximate_lift,
    bending,
    descend_normalised,
    drift,
    exits,
    in_hull,
    insert_block,
    insert_layer,
    kink_errors,
    layer_affine_error,
    lift,
    lift_layers,
    lifted_dimension,
    lifted_from,
    linearised_block,
    linearised_share,
    membership,
    merge,
    merging_jacobian,
    null_block,
    one_piece_probability,
    open_exit,
    pieces_of,
    slide,
    stream_at,
    zero_output_block,
)
from lib.descent import descend
from lib.mlp import MLP, flatten, forward, init, stack, unflatten
from lib.planted import plant
from lib.prune import merge_layers
from lib.risk import gradient, risk

run = chapter.start("02_depth", globals())
from lib.book.figures import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, SKY  # after start()

torch.set_num_threads(1)
draws = torch.Generator().manual_seed(seed)


def gaussian(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=draws, dtype=torch.float64)


def norm(net: MLP, x: torch.Tensor, y: torch.Tensor) -> float:
    """Euclidean norm of the gradient of the risk."""
    return float(flatten(gradient(net, x, y)).norm())


# %% [markdown]
# ## The operation
#
# A net of depth $L$ computes $f^{[0]} = x$, $f^{[l]} = \sigma(W^{[l]} f^{[l-1]} + b^{[l]})$ for $l < L$, and
# $f = W^{[L]} f^{[L-1]} + b^{[L]}$. An {term}`affine piece` of $\sigma$ is an open interval on which $\sigma(t) = \lambda t + \mu$ with
# $\lambda \neq 0$: a ReLU has one, $(0, \infty)$, a leaky ReLU two, an ELU one, tanh none. To *lift* a net on the sample $S$, replace
# $W^{[q+1]}, b^{[q+1]}$ by a new layer of $\hat m \ge \min(m_q, m_{q+1})$ neurons with weights $W'$, $b'$, and by weights $A$, $c$ that read it, such that
#
# $$
# \text{(i)}\quad (W' f^{[q]}(x) + b')_j \in \text{an affine piece } (\lambda_j, \mu_j) \text{ for every } x \in S,
# \qquad
# \text{(ii)}\quad A \Lambda W' = W^{[q+1]}, \quad A(\lambda \circ b' + \mu) + c = b^{[q+1]},
# $$
#
# with $\Lambda = \mathrm{diag}(\lambda)$. All nets that satisfy both form the *lifted manifold* $\mathcal{T}_S(\theta)$. The library draws a random element of it, with
# `lift(net, x, position, width)`, for any position, any width that is possible, and any mixture of pieces; `merge` is its left inverse $\pi$.

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.0))
shallow_edges = {((1, j), (2, k)): INK for j in range(3) for k in range(2)}
draw_net(axes[0], (2, 3, 2), {}, shallow_edges, {((1, 1), (2, 0)): "$W$"})
into = {((1, j), (2, k)): BLUE for j in range(3) for k in range(4)}
out = {((2, j), (3, k)): PURPLE for j in range(4) for k in range(2)}
draw_net(
    axes[1],
    (2, 3, 4, 2),
    {(2, j): BLUE for j in range(4)},
    into | out,
    {((1, 0), (2, 0)): "$W'$", ((2, 0), (3, 0)): "$A$"},
)
axes[0].set_title("shallow net")
axes[1].set_title("lifted net")
run.figure(
    fig,
    "lifting",
    r"Lifting: the black weights $W$ become the blue and purple ones, with $A \Lambda W' = W$. On the training data the blue neurons "
    "never leave one affine piece of their activation.",
    "Two drawings of a small net. In the second, a layer of four neurons stands between the hidden layer and the output.",
    {"shallow widths": [2, 3, 2], "deep widths": [2, 3, 4, 2]},
)

# %% [markdown]
# ```{prf:theorem} The embedding principle in depth
# :label: thm-depth-critical
# Let $\theta' \in \mathcal{T}_S(\theta)$. On $S$, $\theta'$ has the outputs of $\theta$, and the same risk. If $\nabla R_S(\theta) = 0$ then
# $\nabla R_S(\theta') = 0$.
# ```
#
# ```{prf:proof}
# On $S$ the new layer computes $h = \lambda \circ (W' f^{[q]} + b') + \mu$, and by (ii) layer $q+1$ receives $A h + c = W^{[q+1]} f^{[q]} + b^{[q+1]}$ as
# before: all later features and all errors $e^{[l]} = \partial \ell / \partial z^{[l]}$ of old layers are unchanged. With $e = e^{[q+1]}$, $f = f^{[q]}$ the four new gradients are
# $\nabla_A = \mathbb{E}\, e h^\top = \mathbb{E}[e f^\top] W'^\top \Lambda + \mathbb{E}[e]\,(\lambda \circ b' + \mu)^\top$, $\nabla_c = \mathbb{E}[e]$,
# $\nabla_{W'} = \Lambda A^\top \mathbb{E}[e f^\top]$, $\nabla_{b'} = \Lambda A^\top \mathbb{E}[e]$. At a critical point $\mathbb{E}[e f^\top] = \nabla_{W^{[q+1]}} = 0$
# and $\mathbb{E}[e] = \nabla_{b^{[q+1]}} = 0$. Test: `test_theorem_embedding_principle_in_depth`.
# ```
#
# ```{prf:theorem} Curvature and dimension
# :label: thm-depth-inertia
# Let $\theta$ be critical, and let $\Lambda W'$ have full column rank or $A \Lambda$ full row rank. Then the Hessian at $\theta'$ has as many positive and as many
# negative eigenvalues as that at $\theta$, and its corank is larger by
# $$ M' - M = \hat m\,(m_q + m_{q+1} + 1) - m_q\, m_{q+1} , $$
# which is also the dimension of $\mathcal{T}_S(\theta)$ at $\theta'$.
# ```
#
# ```{prf:proof}
# (i) is an open condition, so $R_S = R_S \circ \pi$ in a neighbourhood of $\theta'$, where $\pi$ is the smooth map (ii) from $(W', b', A, c)$ to $(W^{[q+1]}, b^{[q+1]})$. At a critical
# point this gives $H' = J^\top H J$ with $J = D\pi$. If $J$ is onto, $J^\top H J$ has the signs of $H$ on a complement of $\ker J$, and $\ker H'$ is the preimage of $\ker H$, of
# dimension $\dim\ker H + \dim\ker J$. A change of $A$ moves $W^{[q+1]}$ by $\delta A\, \Lambda W'$, of $W'$ by $A \Lambda\, \delta W'$: onto under either rank condition, and $\delta c$ reaches every
# bias. Hence $\dim \ker J = M' - M$, and near $\theta'$ the lifted manifold is the fibre $\pi^{-1}(\theta)$, whose tangent space is $\ker J$. Tests: `test_theorem_hessian_of_a_lift_is_a_congruence`,
# `test_theorem_dimension_of_the_lifted_manifold`.
# ```
#
# We lift exact critical points, minima and strict saddles, of nets with one and two hidden layers, at every position and with widths from the least possible up.
# (`plant` makes any net critical by choosing targets whose residual is orthogonal to all its tangents; nothing is trained.)

# %%
def critical_net(widths, sigma, saddle: bool):
    """A net, data for which it is critical, and the inertia of its Hessian, with a gap that rounding cannot blur."""
    while True:
        net, x = init(widths, sigma, std=0.8, generator=draws), gaussian(30, widths[0])
        y = plant(net, x, draws, residual=30.0 if saddle else 1e-3)
        found = inertia(hessian(net, x, y), gap=1e6, require=False)
        if bool(found.clear) and (found.counts[0] > 0) == saddle:
            return net, x, y


sigmas, rows = ("relu", leaky_relu(0.3), "elu"), []
for sigma, saddle, widths in itertools.product(sigmas, (False, True), ((2, 3, 2), (2, 2, 2, 1), (3, 2, 2))):
    net, x, y = critical_net(widths, sigma, saddle)
    far = 30 * gaussian(200, widths[0])
    for turn in range(lifts):
        q = turn % net.depth
        width = min(net.widths[q : q + 2]) + turn % 3
        deep = lift(net, x, q, width, generator=draws)
        c = certify(net, deep, x, y, off_sample=far, curvature=net.n_parameters < 20)
        rank = torch.linalg.matrix_rank(merging_jacobian(deep, x, q + 1))
        off = float(c.off_sample_gap / forward(net, far).abs().max())
        fit = [int(deep.n_parameters - rank) - lifted_dimension(net.widths, q, width)]
        if c.inertia_after is not None:
            a, b = c.inertia_before.counts, c.inertia_after.counts
            fit += [b[0] - a[0], b[1] - a[1] - (deep.n_parameters - net.n_parameters), b[2] - a[2]]
        rows.append((str(get(sigma)), saddle, float(c.output_gap), off, float(c.gradient_after), fit))

# %% tags=["hide-input"]
names = sorted({r[0] for r in rows})
fig, axes = plt.subplots(1, 3, figsize=(7.2, 2.9), sharey=True)
panels = {"on the sample": (2, "output gap"), "off the sample": (3, "relative output gap"), "gradient": (4, "$L^1$ norm")}
for ax, (title, (column, label)) in zip(axes, panels.items(), strict=True):
    for place, (name, saddle) in enumerate(itertools.product(names, (False, True))):
        values = np.array([r[column] for r in rows if r[0] == name and r[1] == saddle])
        spread = place + np.linspace(-0.25, 0.25, len(values))
        ax.plot(np.maximum(values, 1e-18), spread, ".", ms=4, alpha=0.7, color=RED if saddle else BLUE)
    ax.set(xscale="log", title=title, xlabel=label)
axes[0].set_xlim(1e-18, 1e-9)
axes[2].set_xlim(1e-18, 1e-9)
kinds = [f"{name}\n{kind}" for name in names for kind in ("minimum", "saddle")]
axes[0].set_yticks(range(len(kinds)), kinds, fontsize=7.5)
run.figure(
    fig,
    "exact",
    "Random lifts of exact minima (blue) and strict saddles (red), one dot each; exact zeros at the left edge. On the data the outputs stay "
    "to rounding and the gradient is zero to rounding; on inputs thirty times further out the lifted nets compute other functions.",
    "Three strip plots for three activations, minima and saddles: output gaps on the sample below 1e-12, relative gaps off the sample between "
    "nothing and order one, gradients below 1e-10.",
    {
        "activation": [names.index(r[0]) for r in rows],
        "saddle": [r[1] for r in rows],
        "on": [r[2] for r in rows],
        "off": [r[3] for r in rows],
        "gradient": [r[4] for r in rows],
    },
)

# %%
differ = sum(r[3] > 1e-3 for r in rows)
run.glue("off-sample-share", f"{differ} of the {len(rows)}")
run.claim(
    "B1",
    max(r[2] for r in rows),
    holds=differ > 0,
    note=f"Largest output gap on the sample over {len(rows)} lifts; {differ} of them compute another function off the sample.",
)
run.claim("B2", max(r[4] for r in rows), note="Largest gradient $L^1$ norm, at minima and saddles, three activations.")
run.claim("B4", max(abs(r[5][0]) for r in rows), note="Largest difference between the dimension of the fibre of $\\pi$ and the formula.")

# %% [markdown]
# {glue:text}`off-sample-share` lifts compute another function off the sample. Nothing is promised there in either direction: a neuron whose weights are all positive on
# non-negative features, say, stays in its piece for every input.
#
# ## Degeneracy grows with depth
#
# By {prf:ref}`thm-depth-inertia` a lift changes nothing in the spectrum but adds zeros, as many as it adds parameters. Below, one saddle is lifted again and again.

# %%
net, x, y = critical_net((2, 3, 2), "elu", True)
towers = [net] + [lift_layers(net, x, [(1, 3)] * k, generator=draws) for k in (1, 2, 3)]
spectra = [inertia(hessian(tower, x, y)) for tower in towers]
grown = []
for sigma, saddle, turn in itertools.product(sigmas, (False, True), range(lifts)):
    if turn % 4 == 0:
        base, at, to = critical_net((2, 2, 2), sigma, saddle)
        before = inertia(hessian(base, at, to)).counts
    inserts = [(turn % 2, 2 + turn % 3)] + [(1, 2)] * (turn % 3)
    deep = lift_layers(base, at, inserts, generator=draws)
    after = inertia(hessian(deep, at, to), require=False)
    if bool(after.clear):  # long chains blur small eigenvalues: no count is better than a wrong one
        grown.append((deep.n_parameters - base.n_parameters, after.counts[1] - before[1], after.counts[0] - before[0], after.counts[2] - before[2]))
grown = np.array(grown)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.3), width_ratios=(3, 2))
for place, (tower, s) in enumerate(zip(towers, spectra, strict=True)):
    values = s.eigenvalues.numpy()
    for sign, colour in ((values > float(s.threshold), BLUE), (values < -float(s.threshold), RED), (np.abs(values) <= float(s.threshold), GREY)):
        axes[0].plot(np.full(sign.sum(), place) + np.linspace(-0.22, 0.22, max(sign.sum(), 1))[: sign.sum()], np.maximum(np.abs(values[sign]), 1e-19), ".", color=colour, ms=5)
    axes[0].text(place, 3e-21, "{} | {} | {}".format(*s.counts), ha="center", fontsize=8, color=INK)
axes[0].axhline(float(spectra[-1].threshold), color=GREY, lw=0.8, ls="--")
axes[0].set(yscale="log", ylim=(1e-21, 1e6), xlabel="layers inserted", ylabel="|eigenvalue|", title="spectrum of one saddle", xticks=range(4))
for colour, label in ((BLUE, "positive"), (RED, "negative"), (GREY, "zero")):
    axes[0].plot([], [], ".", color=colour, label=label)
axes[0].legend(loc="upper left", ncols=3, fontsize=8, columnspacing=0.8, handletextpad=0.1)
ends = [0, grown[:, 0].max() * 1.05]
axes[1].plot(ends, ends, color=GREY, lw=1)
axes[1].plot(grown[:, 0], grown[:, 1], "o", color=BLUE, ms=4, alpha=0.6)
axes[1].set(xlabel="parameters added, $M' - M$", ylabel="zero eigenvalues added", title="all cases")
run.figure(
    fig,
    "degeneracy",
    "Left: the Hessian's eigenvalues at a strict saddle of a 2-3-2 net (ELU) with none to three inserted layers; below, the numbers of negative, zero and positive ones. Right: zero "
    "eigenvalues that lifting added, against parameters added, for lifts of minima and saddles by one to three layers of several widths, three activations; the line is equality.",
    "Left, four columns of eigenvalues: the positive and negative ones keep their numbers, the zeros grow from column to column. Right, all points lie on the diagonal.",
    {f"eigenvalues {k}": s.eigenvalues for k, s in enumerate(spectra)} | {"added": grown[:, 0], "zeros": grown[:, 1]},
)

# %%
wrong = [r[5] for r in rows if any(r[5])]
run.claim(
    "B3",
    len(wrong) + int((grown[:, 1] != grown[:, 0]).sum() + (grown[:, 2:] != 0).any(1).sum()),
    note=f"Exceptions among {sum(len(r[5]) > 1 for r in rows)} one-layer lifts and {len(grown)} by one to three layers, at minima and saddles.",
)

# %% [markdown]
# ## Can a lifted minimum become a strict saddle?
#
# The abstracts of the first three versions of the paper said so; the journal's abstract does not. Inside the manifold the answer is no:
#
# ```{prf:theorem} Interior lifts of minima are minima
# :label: thm-depth-minimum
# Let $\theta$ be a local minimum of $R_S$. Every $\theta' \in \mathcal{T}_S(\theta)$ is a local minimum.
# ```
#
# ```{prf:proof}
# Near $\theta'$, $R_S = R_S \circ \pi$ with $\pi$ continuous and $\pi(\theta') = \theta$: points close to $\theta'$ have the risk of points close to $\theta$, which is not below $R_S(\theta)$.
# Test: `test_theorem_interior_lift_of_a_minimum_is_a_minimum`.
# ```
#
# No rank condition, no smoothness is needed. But $\mathcal{T}_S(\theta)$ is not closed: it ends where a neuron of the new layer has a sample on the kink of $\sigma$. There the argument stops, and so does the minimum.
#
# ```{prf:theorem} Exits
# :label: thm-depth-exit
# Let neuron $j$ of the inserted layer lose its affine piece, as its bias moves on by $d > 0$ past the boundary (while $c$ takes the change back), first at the samples $I$, and let
# $p_j = \langle \sum_{i \in I} e_i, A_j \rangle$ with $e_i = \partial R_S / \partial z^{[q+1]}(x_i)$ and column $A_j$. Then for a piece that ends below,
#
# $$ R_S(d) - R_S(\theta) = \bigl( \lambda_j - \sigma'_{\mathrm{out}} \bigr)\, p_j\, d + O(d^2) \quad\text{(ReLU, leaky ReLU)}, \qquad
#    R_S(d) - R_S(\theta) = \tfrac12\, p_j\, d^2 + O(d^3) \quad\text{(ELU, } \alpha = 1). $$
#
# If $\hat m > m_q$, the kernel of $(\Lambda W')^\top$ touches neuron $j$ and $\sum_I e_i \neq 0$, then a path of constant risk inside $\mathcal{T}_S(\theta)$ leads from any of its points to a point of its boundary with $p_j < 0$.
# ```
#
# ```{prf:proof}
# Past the boundary only the samples $I$ leave the piece. There $\sigma(z)$ differs from its affine continuation by $(\lambda_j - \sigma'_{\mathrm{out}})\, d + O(d^2)$, or by $e^{-d} - 1 + d = d^2/2 + O(d^3)$
# for the ELU; this difference times $A_j$ is added to $z^{[q+1]}$, which changes $R_S$ by $p_j$ times it, up to second order in it. For the path, add $-t\, e\, v^\top$ to $A$, with $e = \sum_I e_i$ and $v$ the projection of the unit vector of
# neuron $j$ on the kernel of $(\Lambda W')^\top$, and let $c$ compensate: $A \Lambda W'$ and all outputs stay, while $p_j$ falls linearly in $t$. Then slide the bias to the kink. Tests:
# `test_theorem_every_lifted_minimum_has_a_flat_path_to_an_exit`, `test_theorem_boundary_exits_of_elu_are_of_second_order`.
# ```
#
# So the truth behind the early statement: a wide enough lift never turns a minimum into a saddle, but it always opens a level way to a place where the risk falls. For an ELU, whose derivative is continuous, that place *is* a critical point, flat
# on one side and with a negative second derivative on the other: a strict saddle in the one-sided sense. For a ReLU the risk has no gradient there and falls at first order.
#
# We take lifts of exact minima ({glue:text}`exit-minima` of each activation), ask at how many of their boundaries the risk falls as they are, then open an exit and measure.

# %%
def lifted_minimum(sigma):
    """A strict shallow minimum and a lift of it, one layer of five neurons."""
    while True:
        net, x = init((2, 3, 1), sigma, generator=draws), gaussian(30, 2)
        y = plant(net, x, draws, residual=0.1)
        found = inertia(hessian(net, x, y), require=False)
        deep = lift(net, x, 1, 5, generator=draws)
        if bool(found.clear) and found.counts[0] == 0 and kink_errors(deep, x, y, 2).norm(dim=-1).min() > 1e-4:
            return net, deep, x, y


beyond = np.geomspace(1e-4, 1e-1, 13)
measured, facets, inside, ends, starts = [], [], [], [], {str(get(s)): [] for s in sigmas}
for sigma in sigmas:
    for _ in range(exits_tried):
        net, deep, x, y = lifted_minimum(sigma)
        base = risk(net, x, y)
        facets += exits(deep, x, y, 2).descends.tolist()
        opened = open_exit(deep, x, y, 2, 0, pull=1.0)
        edge = slide(opened, x, 2, 0, 1e-3)
        level = [risk(unflatten((1 - s) * flatten(deep) + s * flatten(opened), deep), x, y) for s in (0.25, 0.5, 0.75)]
        spectrum = inertia(hessian(edge, x, y), require=False)
        around = unflatten(flatten(edge) + 1e-6 * gaussian(2000, edge.n_parameters), edge)
        inside.append((float((torch.stack(level) - base).abs().max()), spectrum.counts[0] if bool(spectrum.clear) else -1, float((risk(around, x, y) - base).min())))
        out = exits(opened, x, y, 2)
        rate = float(out.second[0] / 2 if sigma == "elu" else out.first[0])
        falls = [float(risk(slide(opened, x, 2, 0, -d), x, y) - base) for d in beyond]
        measured.append((str(get(sigma)), rate, falls))
        starts[str(get(sigma))].append((edge, slide(opened, x, 2, 0, -1e-2), x, y, float(base)))
    # descent from just inside, and from just outside, at a rate well below 2 / largest eigenvalue
    for edge, out, x, y, base in starts[str(get(sigma))]:
        rate = 0.5 / float(torch.linalg.eigvalsh(hessian(edge, x, y))[-1])
        away = descend(stack([edge, out]), x, y, steps=descent, lr=rate, records=60, keep_smallest=False)
        ends.append((str(get(sigma)), away.steps, away.losses / base))

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(7.2, 3.1))
colours = dict(zip(starts, (BLUE, ORANGE, GREEN), strict=True))
for name, colour in colours.items():
    of = [(rate, np.array(falls)) for kind, rate, falls in measured if kind == name]
    for k, (rate, falls) in enumerate(of):
        axes[0].plot(beyond, falls / rate, ".-", color=colour, ms=3, lw=0.7, alpha=0.7, label=name if k == 0 else None)
    for k, (_, steps, losses) in enumerate(e for e in ends if e[0] == name):
        axes[2].plot(steps + 1, losses[:, 1], color=colour, lw=0.9, alpha=0.8)
        axes[2].plot(steps + 1, losses[:, 0], color=GREY, lw=0.9, ls=":")
axes[0].plot(beyond, beyond, color=INK, lw=0.8, ls="--")
axes[0].plot(beyond, beyond**2, color=INK, lw=0.8, ls="--")
axes[0].set(xscale="log", yscale="log", xlabel="distance $d$ past the boundary", ylabel="fall of the risk / predicted rate", title="just outside")
axes[0].legend(fontsize=8)
net_in, net_out, x, y, base = starts["elu(1)"][0]
position = np.linspace(-1, 1, 81)
profile = [(float(risk(slide(net_in, x, 2, 0, -d), x, y)) - base) / base for d in position]
curve = [float(torch.linalg.eigvalsh(hessian(slide(net_in, x, 2, 0, -d), x, y))[0]) for d in position]
axes[1].plot(position, np.array(profile), color=GREEN, label="risk, relative change")
axes[1].plot(position, np.array(curve), color=RED, lw=1.2, label="smallest eigenvalue")
axes[1].axvline(0, color=GREY, lw=0.8, ls="--")
axes[1].set(xlabel="inside ← $d$ → outside", title="through an exit (ELU)")
axes[1].set_yscale("symlog", linthresh=1e-3)
axes[1].legend(fontsize=7.5, loc="lower left")
axes[2].set(xscale="log", yscale="log", xlabel="epoch", ylabel="risk / risk of the minimum", title="descent")
axes[2].plot([], [], color=GREY, ls=":", label="from inside")
axes[2].plot([], [], color=INK, label="from the exit")
axes[2].legend(fontsize=8, loc="lower left")
run.figure(
    fig,
    "exit",
    "What becomes of a lifted minimum at the boundary of its manifold. Left: fall of the risk past an opened exit over the predicted rate, first order for ReLU and leaky ReLU, second order for "
    "the ELU; dashed: $d$ and $d^2$, nothing fitted. Middle: risk and smallest Hessian eigenvalue on the straight way through one exit, level and without negative curvature inside, a saddle outside. "
    "Right: gradient descent from just inside (dotted) stays at the minimum, from $0.01$ outside it leaves.",
    "Three panels. Left, curves of slope one and two on the dashed lines. Middle, two curves that are zero left of the boundary and negative right of it. Right, dotted curves that stay at one and solid ones that fall below one.",
    {"distance": beyond, "falls": np.array([m[2] for m in measured]), "rates": [m[1] for m in measured], "position": position, "risk": profile, "eigenvalue": curve}
    | {"epoch": ends[0][1], "descents": torch.stack([e[2] for e in ends])},
)

# %%
ratios = np.array([m[2][0] / (m[1] * beyond[0] ** (2 if m[0] == "elu(1)" else 1)) for m in measured])
stayed = [float(e[2][-1, 0]) for e in ends]
left = np.array([float(e[2][-1, 1]) for e in ends])
run.glue("exit-minima", exits_tried)
run.glue("exit-facets", f"{100 * np.mean(facets):.0f} %")
run.glue("exit-left", f"{int((left < 1 - 1e-6).sum())} of {len(left)}")
run.glue("exit-best", f"{100 * (1 - left.min()):.2g} %")
run.glue("exit-median", f"{100 * (1 - np.median(left)):.2g} %")
run.claim(
    "B6",
    holds=max(i[1] for i in inside) > 0,
    why="Inside the lifted manifold a minimum stays a minimum ({prf:ref}`thm-depth-minimum`); only at its boundary the risk can fall",
    note=f"Negative eigenvalues at {len(inside)} lifts of minima: at most {max(i[1] for i in inside)}; least change of the risk at 2,000 random points around each: {min(i[2] for i in inside):+.0e}.",
)
run.claim(
    "B6-exit",
    [float(ratios.min()), float(ratios.max())],
    holds=max(i[0] for i in inside) < 1e-12,
    note=f"Smallest and largest ratio over {len(ratios)} exits at distance {beyond[0]:g}; risk along the paths to them constant within {max(i[0] for i in inside):.0e}.",
)
