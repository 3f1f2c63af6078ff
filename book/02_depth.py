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
# The loss landscape of a deep net contains, in a sense to be made exact, every critical point of
# every shallower net. That is the *embedding principle in depth* {cite}`bai2024depth`. It rests on
# *lifting*: a layer is inserted that acts as an affine map on the training data, so that the net
# computes there what it computed before. It is to explain why nets of different depths stall at the
# same loss values when they are trained.
#
# Of the paper we could use the abstract, the introduction and Fig. 1. The theorems below are
# therefore stated and proved here, and every setting of an experiment is ours and is named. One
# statement of the paper's early versions, that a lifted minimum can become a strict saddle, turns
# out to be false where lifting is defined, and true in a precise sense at its boundary.

# %% tags=["parameters"]
data: str = "digits"  # images to train on, one of digits, mnist
images: int = 300  # training images, in [50, train(data)]
image_width: int = 20  # neurons of each hidden layer of nets on images, >= 2
image_epochs: int = 3000  # epochs of Adam on images, >= 200
image_seeds: int = 3  # nets of each depth on images, >= 1
hidden: list[int] = [1, 2, 3, 4]  # numbers of hidden layers of Fig. 1, >= 1
seeds: int = 30  # nets of each depth on Iris, >= 4
epochs: int = 10000  # epochs of Adam on Iris, >= 500
polished: int = 10  # of these, polished on their plateaus, in [2, seeds]
lifts: int = 12  # random lifts of each kind, >= 2
exits_tried: int = 12  # lifted minima of each kind to leave, >= 3
descent: int = 20000  # epochs of descent from there, >= 1000
norm_epochs: int = 2000  # epochs with batch normalisation, >= 200
seed: int = 0  # seed of every random draw, >= 0

# %% tags=["hide-input"]
import itertools

import matplotlib.pyplot as plt
import numpy as np
import torch

from companion import chapter
from companion.sketch import draw_net
from experiments.depth.escape import open_exit
from experiments.depth.nonlinearity import bending
from experiments.depth.normalised import descend_normalised
from experiments.depth.volume import in_hull, one_piece_probability
from lib.certificate import certify, module_gradient
from lib.critical import plant, polish, slow_windows, smallest_gradient_iterates
from lib.curvature import hessian, inertia
from lib.depth import (
    approximate_lift,
    exits,
    insert_block,
    insert_layer,
    layer_affine_error,
    layer_on_data,
    lift,
    lift_layers,
    lifted_dimension,
    lifted_from,
    linearised_block,
    linearised_share,
    null_block,
    slide,
    stream_at,
    unlift,
    zero_output_block,
)
from lib.nets import MLP, flatten, forward, gradient, init, risk, stack, unflatten
from lib.nets.activations import get, leaky_relu
from lib.train.descent import descend

run = chapter.start("02_depth", globals())
from companion.figures import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, SKY  # after start()

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
# A net of depth $L$ computes $f^{[0]} = x$, $f^{[l]} = \sigma(W^{[l]} f^{[l-1]} + b^{[l]})$ for
# $l < L$, and $f = W^{[L]} f^{[L-1]} + b^{[L]}$. An {term}`affine piece` of $\sigma$ is an open
# interval on which $\sigma(t) = \lambda t + \mu$ with $\lambda \neq 0$: a ReLU has one,
# $(0, \infty)$, a leaky ReLU two, an ELU one, tanh none. To *lift* a net on the sample $S$, replace
# $W^{[q+1]}, b^{[q+1]}$ by a new layer of $\hat m \ge \min(m_q, m_{q+1})$ neurons with weights
# $W'$, $b'$, and by weights $A$, $c$ that read it, such that
#
# $$
# \begin{aligned}
# \text{(i)}\quad & (W' f^{[q]}(x) + b')_j \in \text{ a piece } (\lambda_j, \mu_j) \text{ for all }
# x \in S, \\ \text{(ii)}\quad & A \Lambda W' = W^{[q+1]}, \quad A(\lambda \circ b' + \mu) + c =
# b^{[q+1]},
# \end{aligned}
# $$
#
# with $\Lambda = \mathrm{diag}(\lambda)$. All nets that satisfy both form the
# {term}`lifted manifold` $\mathcal{T}_S(\theta)$. The library draws a random element of it, with
# `lift(net, x, position, width)`, for any position, any width that is possible, and any mixture of
# pieces; `unlift` is its left inverse $\pi$.

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
    r"Lifting: the black weights $W$ become the blue and purple ones, with $A \Lambda W' = W$. On"
    r" the training data the blue neurons "
    "never leave one affine piece of their activation.",
    "Two drawings of a small net. In the second, a layer of four neurons stands between the hidden"
    " layer and the output.",
    {"shallow widths": [2, 3, 2], "deep widths": [2, 3, 4, 2]},
)

# %% [markdown]
# ```{prf:theorem} The embedding principle in depth
# :label: thm-depth-critical
# Let $\theta' \in \mathcal{T}_S(\theta)$. On $S$, $\theta'$ has the outputs of $\theta$, and the
# same risk. If $\nabla R_S(\theta) = 0$ then $\nabla R_S(\theta') = 0$.
# ```
#
# ```{prf:proof}
# On $S$ the new layer computes $h = \lambda \circ (W' f^{[q]} + b') + \mu$, and by (ii) layer $q+1$
# receives $A h + c = W^{[q+1]} f^{[q]} + b^{[q+1]}$ as before: all later features and all errors
# $e^{[l]} = \partial \ell / \partial z^{[l]}$ of old layers are unchanged. With $e = e^{[q+1]}$,
# $f = f^{[q]}$ the four new gradients are $\nabla_A = \mathbb{E}\, e h^\top = \mathbb{E}[e f^\top]
# W'^\top \Lambda + \mathbb{E}[e]\,(\lambda \circ b' + \mu)^\top$, $\nabla_c =
# \mathbb{E}[e]$, $\nabla_{W'} = \Lambda A^\top \mathbb{E}[e f^\top]$, $\nabla_{b'} = \Lambda A^\top
# \mathbb{E}[e]$. At a critical point $\mathbb{E}[e f^\top] = \nabla_{W^{[q+1]}} =
# 0$ and $\mathbb{E}[e] = \nabla_{b^{[q+1]}} = 0$. Test:
# `test_theorem_embedding_principle_in_depth`.
# ```
#
# ```{prf:theorem} Curvature and dimension
# :label: thm-depth-inertia
# Let $\theta$ be critical, and let $\Lambda W'$ have full column rank or $A \Lambda$ full row rank.
# Then the Hessian at $\theta'$ has as many positive and as many negative eigenvalues as that at
# $\theta$, and its corank is larger by
#
# $$ M' - M = \hat m\,(m_q + m_{q+1} + 1) - m_q\, m_{q+1} , $$
#
# which is also the dimension of $\mathcal{T}_S(\theta)$ at $\theta'$.
# ```
#
# ```{prf:proof}
# (i) is an open condition, so $R_S = R_S \circ \pi$ in a neighbourhood of $\theta'$, where $\pi$ is
# the smooth map (ii) from $(W', b', A, c)$ to $(W^{[q+1]}, b^{[q+1]})$. At a critical point this
# gives $H' = J^\top H J$ with $J = D\pi$. If $J$ is onto, $J^\top H J$ has the signs of $H$ on a
# complement of $\ker J$, and $\ker H'$ is the preimage of $\ker H$, of dimension
# $\dim\ker H + \dim\ker J$. A change of $A$ moves $W^{[q+1]}$ by $\delta A\, \Lambda W'$, of $W'$
# by $A \Lambda\, \delta W'$: onto under either rank condition, and $\delta c$ reaches every bias.
# Hence $\dim \ker J = M' - M$, and near $\theta'$ the lifted manifold is the fibre
# $\pi^{-1}(\theta)$, whose tangent space is $\ker J$. Tests:
# `test_theorem_hessian_of_a_lift_is_a_congruence`, `test_theorem_dimension_of_the_lifted_manifold`.
# ```
#
# We lift exact critical points, minima and strict saddles, of nets with one and two hidden layers,
# at every position and with widths from the least possible up. (`plant` makes any net critical by
# choosing targets whose residual is orthogonal to all its tangents; nothing is trained.)


# %% tags=["hide-input"]
def critical_net(widths, sigma, saddle: bool):
    """A net, data for which it is critical, and the inertia of its Hessian, with a gap that
    rounding cannot blur."""
    while True:
        net, x = init(widths, sigma, std=0.8, generator=draws), gaussian(30, widths[0])
        y = plant(net, x, draws, residual=30.0 if saddle else 1e-3)
        found = inertia(hessian(net, x, y), gap=1e6, require=False)
        if bool(found.clear) and (found.counts[0] > 0) == saddle:
            return net, x, y


sigmas, rows = ("relu", leaky_relu(0.3), "elu"), []
for sigma, saddle, widths in itertools.product(
    sigmas, (False, True), ((2, 3, 2), (2, 2, 2, 1), (3, 2, 2))
):
    net, x, y = critical_net(widths, sigma, saddle)
    far = 30 * gaussian(200, widths[0])
    for turn in range(lifts):
        q = turn % net.depth
        width = min(net.widths[q : q + 2]) + turn % 3
        deep = lift(net, x, q, width, generator=draws)
        counts = inertia if net.n_parameters < 20 else None
        c = certify(net, x, y, after=deep, off_sample=far, spectrum=counts)
        rank = torch.linalg.matrix_rank(layer_on_data(deep, x, q + 1).jacobian())
        off = float(c.off_sample_gap / forward(net, far).abs().max())
        fit = [int(deep.n_parameters - rank) - lifted_dimension(net.widths, q, width)]
        if c.inertia_after is not None:
            a, b = c.inertia_before.counts, c.inertia_after.counts
            fit += [
                b[0] - a[0],
                b[1] - a[1] - (deep.n_parameters - net.n_parameters),
                b[2] - a[2],
            ]
        rows.append(
            (str(get(sigma)), saddle, float(c.output_gap), off, float(c.gradient_after), fit)
        )

# %% tags=["hide-input"]
names = sorted({r[0] for r in rows})
fig, axes = plt.subplots(1, 3, figsize=(7.2, 2.9), sharey=True)
panels = {
    "on the sample": (2, "output gap"),
    "off the sample": (3, "relative output gap"),
    "gradient": (4, "$L^1$ norm"),
}
for ax, (title, (column, label)) in zip(axes, panels.items(), strict=True):
    for place, (name, saddle) in enumerate(itertools.product(names, (False, True))):
        values = np.array([r[column] for r in rows if r[0] == name and r[1] == saddle])
        spread = place + np.linspace(-0.25, 0.25, len(values))
        ax.plot(
            np.maximum(values, 1e-18),
            spread,
            ".",
            ms=4,
            alpha=0.7,
            color=RED if saddle else BLUE,
        )
    ax.set(xscale="log", title=title, xlabel=label)
axes[0].set_xlim(1e-18, 1e-9)
axes[2].set_xlim(1e-18, 1e-9)
kinds = [f"{name}\n{kind}" for name in names for kind in ("minimum", "saddle")]
axes[0].set_yticks(range(len(kinds)), kinds, fontsize=7.5)
run.figure(
    fig,
    "exact",
    "Random lifts of exact minima (blue) and strict saddles (red), one dot each; exact zeros at the"
    " left edge. On the data the outputs stay to rounding and the gradient is zero to rounding; on"
    " inputs thirty times further out the lifted nets compute other functions.",
    "Three strip plots for three activations, minima and saddles: output gaps on the sample below"
    " 1e-12, relative gaps off the sample between nothing and order one, gradients below 1e-10.",
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
    note=(
        f"Largest output gap on the sample over {len(rows)} lifts; {differ} of them compute another"
        " function off the sample."
    ),
)
run.claim(
    "B2",
    max(r[4] for r in rows),
    note="Largest gradient $L^1$ norm, at minima and saddles, three activations.",
)
run.claim(
    "B4",
    max(abs(r[5][0]) for r in rows),
    note="Largest difference between the dimension of the fibre of $\\pi$ and the formula.",
)

# %% [markdown]
# {glue:text}`off-sample-share` lifts compute another function off the sample. Nothing is promised
# there in either direction: a neuron whose weights are all positive on non-negative features, say,
# stays in its piece for every input.
#
# ## Degeneracy grows with depth
#
# By {prf:ref}`thm-depth-inertia` a lift changes nothing in the spectrum but adds zeros, as many as
# it adds parameters. Below, one saddle is lifted again and again.

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
        grown.append(
            (
                deep.n_parameters - base.n_parameters,
                after.counts[1] - before[1],
                after.counts[0] - before[0],
                after.counts[2] - before[2],
            )
        )
grown = np.array(grown)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.3), width_ratios=(3, 2))
for place, (tower, s) in enumerate(zip(towers, spectra, strict=True)):
    values = s.eigenvalues.numpy()
    for sign, colour in (
        (values > float(s.threshold), BLUE),
        (values < -float(s.threshold), RED),
        (np.abs(values) <= float(s.threshold), GREY),
    ):
        axes[0].plot(
            np.full(sign.sum(), place) + np.linspace(-0.22, 0.22, max(sign.sum(), 1))[: sign.sum()],
            np.maximum(np.abs(values[sign]), 1e-19),
            ".",
            color=colour,
            ms=5,
        )
    axes[0].text(place, 3e-21, "{} | {} | {}".format(*s.counts), ha="center", fontsize=8, color=INK)
axes[0].axhline(float(spectra[-1].threshold), color=GREY, lw=0.8, ls="--")
axes[0].set(
    yscale="log",
    ylim=(1e-21, 1e6),
    xlabel="layers inserted",
    ylabel="|eigenvalue|",
    title="spectrum of one saddle",
    xticks=range(4),
)
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
    "Left: the Hessian's eigenvalues at a strict saddle of a 2-3-2 net (ELU) with none to three"
    " inserted layers; below, the numbers of negative, zero and positive ones. Right: zero"
    " eigenvalues that lifting added, against parameters added, for lifts of minima and saddles by"
    " one to three layers of several widths, three activations; the line is equality.",
    "Left, four columns of eigenvalues: the positive and negative ones keep their numbers, the"
    " zeros grow from column to column. Right, all points lie on the diagonal.",
    {f"eigenvalues {k}": s.eigenvalues for k, s in enumerate(spectra)}
    | {"added": grown[:, 0], "zeros": grown[:, 1]},
)

# %%
wrong = [r[5] for r in rows if any(r[5])]
run.claim(
    "B3",
    len(wrong) + int((grown[:, 1] != grown[:, 0]).sum() + (grown[:, 2:] != 0).any(1).sum()),
    note=(
        f"Exceptions among {sum(len(r[5]) > 1 for r in rows)} one-layer lifts and {len(grown)} by"
        " one to three layers, at minima and saddles."
    ),
)

# %% [markdown]
# ## Can a lifted minimum become a strict saddle?
#
# The abstracts of the first three versions of the paper said so; the journal's abstract does not.
# Inside the manifold the answer is no:
#
# ```{prf:theorem} Interior lifts of minima are minima
# :label: thm-depth-minimum
# Let $\theta$ be a local minimum of $R_S$. Every $\theta' \in \mathcal{T}_S(\theta)$ is a local
# minimum.
# ```
#
# ```{prf:proof}
# Near $\theta'$, $R_S = R_S \circ \pi$ with $\pi$ continuous and $\pi(\theta') = \theta$: points
# close to $\theta'$ have the risk of points close to $\theta$, which is not below $R_S(\theta)$.
# Test: `test_theorem_interior_lift_of_a_minimum_is_a_minimum`.
# ```
#
# No rank condition, no smoothness is needed. But $\mathcal{T}_S(\theta)$ is not closed: it ends
# where a neuron of the new layer has a sample on the kink of $\sigma$. There the argument stops,
# and so does the minimum.
#
# ```{prf:theorem} Exits
# :label: thm-depth-exit
# Let neuron $j$ of the inserted layer lose its affine piece, as its bias moves on by $d > 0$ past
# the boundary (while $c$ takes the change back), first at the samples $I$, and let
# $p_j = \langle \sum_{i \in I} e_i, A_j \rangle$ with
# $e_i = \partial R_S / \partial z^{[q+1]}(x_i)$ and column $A_j$. Then for a piece that ends below,
#
# $$
# R_S(d) - R_S(\theta) = \begin{cases} ( \lambda_j - \sigma'_{\mathrm{out}} )\, p_j\, d + O(d^2) &
# \text{(ReLU, leaky ReLU)}, \\ \tfrac12\, p_j\, d^2 + O(d^3) & \text{(ELU, } \alpha = 1).
# \end{cases}
# $$
#
# If $\hat m > m_q$, the kernel of $(\Lambda W')^\top$ touches neuron $j$ and $\sum_I e_i \neq 0$,
# then a path of constant risk inside $\mathcal{T}_S(\theta)$ leads from any of its points to a
# point of its boundary with $p_j < 0$.
# ```
#
# ```{prf:proof}
# Past the boundary only the samples $I$ leave the piece. There $\sigma(z)$ differs from its affine
# continuation by $(\lambda_j - \sigma'_{\mathrm{out}})\, d + O(d^2)$, or by
# $e^{-d} - 1 + d = d^2/2 + O(d^3)$ for the ELU; this difference times $A_j$ is added to
# $z^{[q+1]}$, which changes $R_S$ by $p_j$ times it, up to second order in it. For the path, add
# $-t\, e\, v^\top$ to $A$, with $e = \sum_I e_i$ and $v$ the projection of the unit vector of
# neuron $j$ on the kernel of $(\Lambda W')^\top$, and let $c$ compensate: $A \Lambda W'$ and all
# outputs stay, while $p_j$ falls linearly in $t$. Then slide the bias to the kink. Tests:
# `test_theorem_every_lifted_minimum_has_a_flat_path_to_an_exit`,
# `test_theorem_boundary_exits_of_elu_are_of_second_order`.
# ```
#
# So the truth behind the early statement: lifting never turns a minimum into a saddle, but a wide
# enough lift has a level way to a place where the risk falls, unless the samples at the rim are
# fitted. For an ELU, whose derivative is continuous, that place *is* a critical point, flat on one
# side and with a negative second derivative on the other: a strict saddle in the one-sided sense.
# For a ReLU the risk has no gradient there and falls at first order.
#
# We take lifts of exact minima ({glue:text}`exit-minima` of each activation), ask at how many of
# their boundaries the risk falls as they are, then open an exit and measure.


# %% tags=["hide-input"]
def lifted_minimum(sigma):
    """A strict shallow minimum and a lift of it, one layer of five neurons."""
    while True:
        net, x = init((2, 3, 1), sigma, generator=draws), gaussian(30, 2)
        y = plant(net, x, draws, residual=0.1)
        found = inertia(hessian(net, x, y), require=False)
        deep = lift(net, x, 1, 5, generator=draws)
        if (
            bool(found.clear)
            and found.counts[0] == 0
            and exits(deep, x, y, 2).errors.norm(dim=-1).min() > 1e-4
        ):
            return net, deep, x, y


beyond = np.geomspace(1e-5, 1e-2, 10)
measured, facets, inside, ends, starts = [], [], [], [], {str(get(s)): [] for s in sigmas}
for sigma in sigmas:
    for _ in range(exits_tried):
        net, deep, x, y = lifted_minimum(sigma)
        base = risk(net, x, y)
        facets += exits(deep, x, y, 2).descends.tolist()
        opened = open_exit(deep, x, y, 2, 0, pull=1.0)
        edge = slide(opened, x, 2, 0, 1e-3)
        level = [
            risk(unflatten((1 - s) * flatten(deep) + s * flatten(opened), deep), x, y)
            for s in (0.25, 0.5, 0.75)
        ]
        spectrum = inertia(hessian(edge, x, y), require=False)
        around = unflatten(flatten(edge) + 1e-6 * gaussian(2000, edge.n_parameters), edge)
        inside.append(
            (
                float((torch.stack(level) - base).abs().max()),
                spectrum.counts[0] if bool(spectrum.clear) else -1,
                float((risk(around, x, y) - base).min()),
            )
        )
        out = exits(opened, x, y, 2)
        rate = float(out.second[0] / 2 if sigma == "elu" else out.first[0])
        falls = [float(risk(slide(opened, x, 2, 0, -d), x, y) - base) for d in beyond]
        measured.append((str(get(sigma)), rate, falls))
        starts[str(get(sigma))].append((edge, slide(opened, x, 2, 0, -1e-2), x, y, float(base)))
    # descent from just inside, and from just outside, at a rate well below 2 / largest eigenvalue
    for edge, out, x, y, base in starts[str(get(sigma))]:
        rate = 0.5 / float(torch.linalg.eigvalsh(hessian(edge, x, y))[-1])
        away = descend(
            stack([edge, out]), x, y, steps=descent, lr=rate, records=60, keep_smallest=False
        )
        ends.append((str(get(sigma)), away.steps, away.losses / base))

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(7.2, 3.1))
colours = dict(zip(starts, (BLUE, ORANGE, GREEN), strict=True))
for name, colour in colours.items():
    of = [(rate, np.array(falls)) for kind, rate, falls in measured if kind == name]
    for k, (rate, falls) in enumerate(of):
        axes[0].plot(
            beyond,
            falls / rate,
            ".-",
            color=colour,
            ms=3,
            lw=0.7,
            alpha=0.7,
            label=name if k == 0 else None,
        )
    for k, (_, steps, losses) in enumerate(e for e in ends if e[0] == name):
        axes[2].plot(
            steps + 1, (1 - losses[:, 1]).clamp_min(1e-16), color=colour, lw=0.9, alpha=0.8
        )
        axes[2].plot(steps + 1, (1 - losses[:, 0]).clamp_min(1e-16), color=GREY, lw=0.9, ls=":")
axes[0].plot(beyond, beyond, color=INK, lw=0.8, ls="--")
axes[0].plot(beyond, beyond**2, color=INK, lw=0.8, ls="--")
axes[0].set(
    xscale="log",
    yscale="log",
    xlabel="distance $d$ past the boundary",
    ylabel="fall of the risk / predicted rate",
    title="just outside",
)
axes[0].legend(fontsize=8)
net_in, net_out, x, y, base = starts["elu(1)"][0]
position = np.linspace(-0.3, 0.3, 81)
profile = [(float(risk(slide(net_in, x, 2, 0, -d), x, y)) - base) / base for d in position]
curve = [
    float(torch.linalg.eigvalsh(hessian(slide(net_in, x, 2, 0, -d), x, y))[0]) for d in position
]
axes[1].plot(position, np.array(profile), color=GREEN, label="risk, relative change")
axes[1].plot(position, np.array(curve), color=RED, lw=1.2, label="smallest eigenvalue")
axes[1].axvline(0, color=GREY, lw=0.8, ls="--")
axes[1].set(xlabel="inside ← $d$ → outside", title="through an exit (ELU)")
axes[1].set_yscale("symlog", linthresh=1e-3)
axes[1].legend(fontsize=7.5, loc="upper left")
axes[2].set(
    xscale="log",
    yscale="log",
    xlabel="epoch",
    ylabel="fall of the risk, relative",
    ylim=(3e-17, 3),
    title="descent",
)
axes[2].plot([], [], color=GREY, ls=":", label="from inside")
axes[2].plot([], [], color=INK, label="from the exit")
axes[2].legend(fontsize=8, loc="center right")
run.figure(
    fig,
    "exit",
    "What becomes of a lifted minimum at the boundary of its manifold. Left: fall of the risk past"
    " an opened exit over the predicted rate, first order for ReLU and leaky ReLU, second order for"
    " the ELU; dashed: $d$ and $d^2$, nothing fitted; a line that bends or ends shows where the"
    " next order takes over. Middle: risk and smallest Hessian eigenvalue on the straight way"
    " through one exit, level and without negative curvature inside, a saddle outside. Right:"
    " gradient descent from just inside (dotted) keeps the risk of the minimum to rounding, from"
    " $0.01$ outside it goes on falling.",
    "Three panels. Left, curves of slope one and two on the dashed lines. Middle, two curves that"
    " are zero left of the boundary and negative right of it. Right, dotted curves at the level of"
    " rounding and solid ones that rise far above it.",
    {
        "distance": beyond,
        "falls": np.array([m[2] for m in measured]),
        "rates": [m[1] for m in measured],
        "position": position,
        "risk": profile,
        "eigenvalue": curve,
    }
    | {"epoch": ends[0][1], "descents": torch.stack([e[2] for e in ends])},
)

# %%
ratios = np.array(
    [m[2][0] / (m[1] * beyond[0] ** (2 if m[0] == "elu(1)" else 1)) for m in measured]
)
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
    why=(
        "Inside the lifted manifold a minimum stays a minimum ({prf:ref}`thm-depth-minimum`); only"
        " at its boundary the risk can fall"
    ),
    note=(
        f"Negative eigenvalues at {len(inside)} lifts of minima: at most"
        f" {max(i[1] for i in inside)}; least change of the risk at 2,000 random points around"
        f" each: {min(i[2] for i in inside):+.0e}."
    ),
)
run.claim(
    "B6-exit",
    [float(ratios.min()), float(ratios.max())],
    holds=max(i[0] for i in inside) < 1e-12,
    note=(
        f"Smallest and largest ratio over {len(ratios)} exits at distance {beyond[0]:g}; risk along"
        f" the paths to them constant within {max(i[0] for i in inside):.0e}."
    ),
)

# %% [markdown]
# {glue:text}`exit-facets` of the boundaries of random lifts are exits as they stand, about half,
# since the sign of $p_j$ is that of a random weight; the rest can be opened. Descent from the exit
# leaves in {glue:text}`exit-left` cases, and ends up to {glue:text}`exit-best` (median
# {glue:text}`exit-median`) below the shallow minimum, at which the deep net would have stayed had
# it started inside. The lifted manifold of a minimum is thus a plateau of minima with an open rim,
# not a trap.
#
# ## ELU and tanh
#
# Tanh and the sigmoid have no affine piece, so nothing of the above applies to them literally. Near
# one point $t_0$ they are nearly affine: give the inserted layer weights of size $s$, let $A$ grow
# as $1/s$, and the net is kept up to $O(s^2)$ if $t_0$ is an inflection point, with a gradient of
# order $s$ (`approximate_lift`). One would expect an exact critical point nearby.
#
# ```{prf:theorem} Approximate lifts bend
# :label: thm-depth-bending
# Let $\theta$ be critical, $t_0 = 0$ an inflection point of $\sigma$ with $\sigma(0) = 0$,
# $\sigma'(0) = 1$, and let $\theta'_s$ be the lift with inserted weights $s W'$, $s b'$, and
# $A / s$. As $s \to 0$ the Hessian at $\theta'_s$, on the directions $u = (\delta W', \delta b')$
# with $A\, \delta W' = 0$, $A\, \delta b' = 0$ that an affine layer leaves free, tends to the form
#
# $$ K(u) = \sigma'''(0) \sum_i \sum_j \langle e_i, A_j \rangle\, (W'_j f_i + b'_j)\, (\delta W'_j
# f_i + \delta b'_j)^2 , $$
#
# which vanishes for $\delta W' = 0$, and so takes both signs unless these directions lie in its
# kernel.
# ```
#
# ```{prf:proof}
# Along a free direction the input of layer $q+1$ changes at second order by
# $\tfrac12 \sum_j (A_j/s)\, \sigma''(z_{ij})\, (\delta W'_j f_i + \delta b'_j)^2$ and at first
# order by $\sum_j (A_j / s)(\sigma'(z_{ij}) - 1)(\delta W'_j f_i + \delta b'_j) = O(s)$, with
# $z = s (W' f + b')$. Since $\sigma''(z) = \sigma'''(0)\, z + O(s^2)$, the former, paired with
# $e_i$, gives $K$; the latter vanishes in the limit. For $\delta W' = 0$ neuron $j$ contributes
# $\sigma'''(0)\, \delta b_j'^2\, A_j^\top (\sum_i e_i f_i^\top W_j'^\top + \sum_i e_i\, b'_j) = 0$,
# because $\theta$ is critical; and a semi-definite form has every vector on which it vanishes in
# its kernel. Test: `test_theorem_bending_makes_tanh_lifts_of_minima_saddles`.
# ```
#
# So the most negative eigenvalue does not go to zero with the gradient: an approximate lift of a
# strict *minimum* is close to a *saddle*, at every scale. The zero modes of an exact lift split
# into positive and negative ones. We lift strict minima of ELU nets exactly and of tanh nets
# approximately, and then polish the latter, which Newton-like steps would make exact if a critical
# point lay near.

# %% tags=["hide-input"]
scales, nets_tried = np.geomspace(0.3, 1e-3, 6), max(3, exits_tried // 2)
tanh_rows, exact_rows, slopes, columns = [], [], [], {}
for kind, number in itertools.product(("elu", "tanh"), range(nets_tried)):
    while True:
        net, x = init((2, 2, 1), kind, generator=draws), gaussian(60, 2)
        y = plant(net, x, draws, residual=0.05)
        if inertia(hessian(net, x, y), require=False).counts[:2] == (0, 0):
            break
    if kind == "elu":
        deep = lift(net, x, 0, 3, generator=draws)
        exact_rows.append(
            (float((forward(deep, x) - forward(net, x)).abs().max()), norm(deep, x, y))
        )
        columns["ELU, exact"] = inertia(hessian(deep, x, y))
        continue
    for s in scales:
        found = approximate_lift(
            net, x, 0, 3, scale=float(s), generator=torch.Generator().manual_seed(number)
        )
        smallest = float(torch.linalg.eigvalsh(hessian(found.net, x, y))[0])
        tanh_rows.append(
            (
                number,
                s,
                found.error,
                norm(found.net, x, y),
                smallest,
                float(bending(found.net, x, y, 1)[0]),
            )
        )
    for s in (0.3, 0.1, 0.03):
        found = approximate_lift(
            net, x, 0, 3, scale=s, generator=torch.Generator().manual_seed(number)
        )
        point = polish(found.net, x, y, max_steps=300)
        both = [inertia(hessian(n, x, y), require=False) for n in (found.net, point.net)]
        slopes.append(
            (
                s,
                norm(found.net, x, y),
                norm(point.net, x, y),
                float(point.converged),
                *both[0].counts,
                *both[1].counts,
            )
        )
        if s == 0.1:
            columns["tanh, $s = 0.1$"], columns["polished"] = both
tanh_rows, slopes = np.array(tanh_rows), np.array(slopes)
added = found.net.n_parameters - net.n_parameters
fits = [tanh_rows[tanh_rows[:, 0] == k] for k in range(nets_tried)]
order = [float(np.polyfit(np.log(f[:, 1]), np.log(f[:, 2]), 1)[0]) for f in fits]

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(7.2, 3.1))
for column, colour, label in ((2, BLUE, "output gap"), (3, ORANGE, "gradient")):
    axes[0].plot(tanh_rows[:, 1], tanh_rows[:, column], ".", color=colour, label=f"tanh, {label}")
    axes[0].axhline(
        max(r[column - 2] for r in exact_rows),
        color=colour,
        lw=1,
        ls="--",
        label=f"ELU, {label}",
    )
axes[0].set(xscale="log", yscale="log", xlabel="scale $s$", title="lifts", ylim=(1e-17, 1e2))
axes[0].legend(fontsize=7, loc="lower right", bbox_to_anchor=(1, 0.22))
axes[1].plot(tanh_rows[:, 1], -tanh_rows[:, 4], ".", color=RED, label="Hessian")
axes[1].plot(tanh_rows[:, 1], -tanh_rows[:, 5], "_", color=INK, ms=9, label="form $K$")
axes[1].set(
    xscale="log",
    yscale="log",
    xlabel="scale $s$",
    ylabel="− smallest eigenvalue",
    title="curvature (tanh)",
)
axes[1].legend(fontsize=8)
for place, (title, found) in enumerate(columns.items()):
    values = found.eigenvalues.numpy()
    for sign, colour in (
        (values > float(found.threshold), BLUE),
        (values < -float(found.threshold), RED),
        (np.abs(values) <= float(found.threshold), GREY),
    ):
        axes[2].plot(
            np.full(sign.sum(), place),
            np.maximum(np.abs(values[sign]), 1e-19),
            "_",
            ms=16,
            color=colour,
        )
    axes[2].text(place, 2e-22, "{} | {} | {}".format(*found.counts), ha="center", fontsize=7.5)
axes[2].set(
    yscale="log", ylim=(2e-23, 1e5), xlim=(-0.6, 2.6), ylabel="|eigenvalue|", title="spectra"
)
axes[2].set_xticks(range(3), [c.replace(", ", "\n") for c in columns], fontsize=7.5)
run.figure(
    fig,
    "elu-tanh",
    "Left: output gap and gradient of approximate lifts of tanh minima against their scale, and the"
    " largest ones of exact ELU lifts (dashed). Middle: the most negative eigenvalue of the lifted"
    " Hessian does not vanish with the scale but tends to that of the form $K$. Right: spectra of"
    " an exact ELU lift, an approximate tanh lift, and the latter after polishing (blue positive,"
    " red negative, grey zero; their numbers below, negative first).",
    "Left, dots fall with slopes two and one; dashed lines near rounding. Middle, eigenvalues level"
    " off at the predicted marks. Right, three columns of eigenvalues: the zeros of the first are"
    " gone in the others, which have negative ones.",
    {
        "scale": tanh_rows[:, 1],
        "error": tanh_rows[:, 2],
        "gradient": tanh_rows[:, 3],
        "eigenvalue": tanh_rows[:, 4],
        "form": tanh_rows[:, 5],
        "polished": slopes,
    },
)

# %%
last = tanh_rows[tanh_rows[:, 1] == scales[-1]]
run.glue("tanh-tried", len(slopes))
run.glue("tanh-converged", int(slopes[:, 3].sum()))
run.glue("tanh-negative", f"{int(slopes[:, 4].min())} to {int(slopes[:, 4].max())}")
run.glue("tanh-zero", f"{int(slopes[:, 5].min())} to {int(slopes[:, 5].max())}")
run.glue("tanh-added", added)
run.glue("tanh-fall", float(np.median(slopes[:, 1] / slopes[:, 2])), digits=1)
run.glue("tanh-left", float(slopes[:, 2].min()), digits=1)
run.glue("tanh-after", f"{int(slopes[:, 7].min())} to {int(slopes[:, 7].max())}")
run.claim(
    "B12",
    [min(order), max(order)],
    note=(
        f"Smallest and largest fitted order of the output gap over {nets_tried} minima; exact ELU"
        f" lifts of such minima have gaps up to {max(r[0] for r in exact_rows):.0e}."
    ),
)
run.claim(
    "B6-tanh",
    [float((last[:, 4] / last[:, 5]).min()), float((last[:, 4] / last[:, 5]).max())],
    holds=bool((last[:, 5] < 0).all()),
    note=(
        f"Smallest eigenvalue over that of $K$, at scale {scales[-1]:g}. Polished to a critical"
        f" point: {int(slopes[:, 3].sum())} of {len(slopes)}."
    ),
)

# %% [markdown]
# Does the corank survive? At an exact lift {glue:text}`tanh-added` zero eigenvalues are added. At
# the approximate ones {glue:text}`tanh-zero` cannot be told from zero, at the rounding of a Hessian
# whose norm grows as $1/s^2$, and {glue:text}`tanh-negative` are negative, although each shallow
# point is a strict minimum. Polishing lowers the gradient by a factor of {glue:text}`tanh-fall` in
# the median, but of {glue:text}`tanh-tried` lifts it brought {glue:text}`tanh-converged` to a
# critical point (smallest gradient left: {glue:text}`tanh-left`), and what it left has
# {glue:text}`tanh-after` negative eigenvalues. So for smooth activations we can say this much: the
# degenerate manifold of the exact theory is replaced by a narrow region of small gradient with ways
# down, and the statement of the early abstracts describes it better than the exact theory does.
# Whether exact critical points exist somewhere in that region is open; our polishing found none.

# %% [markdown]
# ## Residual blocks
#
# In a residual net {cite}`he2016residual` a layer could be inserted in a simpler way: a block
# $x + V \sigma(U x + b) + c$ with $V = 0$, $c = 0$ adds nothing. But it is not critical for that
# reason.
#
# ```{prf:theorem} Blocks that add nothing
# :label: thm-depth-residual
# Let a residual net be critical, let $e_i$ be the derivative of the risk by its stream $x_i$ at the
# place of the new block, and let some bias be added to the stream, before or after. Then
# $\sum_i e_i = 0$, and (a) a block with $V = c = 0$ has
# $\nabla_V = \sum_i e_i\, \sigma(U x_i + b)^\top$, which need not vanish; (b) a null block,
# $U = V = 0$, $c = 0$, is critical for every $b$; (c) a block whose neurons each stay in one affine
# piece on the data, with $V \Lambda U = 0$ and $V(\lambda \circ b + \mu) + c = 0$, is critical
# wherever $\sum_i e_i x_i^\top = 0$ as well, as before a linear layer with bias.
# ```
#
# ```{prf:proof}
# The gradient of a bias on the stream is $\sum_i e_i$ at its place; skipping connections pass it
# on, and a block contributes $U^\top \sum_i (\ldots)_i$ to the difference, which is
# $U^\top \nabla_b = 0$. The rest is the chain rule: with $e$ at the stream,
# $\nabla_V = \sum_i e_i \sigma(U x_i + b)^\top$, $\nabla_c = \sum_i e_i$,
# $\nabla_U = \sum_i \bigl(\sigma'(U x_i + b) \circ V^\top e_i\bigr) x_i^\top$, and likewise for
# $b$. In (b) $\nabla_V = (\sum_i e_i)\, \sigma(b)^\top = 0$; in (c) every one of them is a linear
# map of $\sum_i e_i$ and $\sum_i e_i x_i^\top$. Tests:
# `test_zero_output_block_keeps_the_function_but_is_not_critical`,
# `test_theorem_null_block_is_critical_on_a_stream_with_biases`,
# `test_theorem_linearised_block_is_critical_anywhere_on_the_stream`.
# ```

# %%
net = torch.nn.Sequential(
    torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 3), null_block(3, 2, "tanh", dtype=torch.float64), torch.nn.Linear(3, 1)
).double()  # fmt: skip
for p in net.parameters():
    torch.nn.init.normal_(p, std=0.6, generator=draws)
x = gaussian(80, 2)
y = plant(net, x, draws)
blocks = {
    "neither reads nor writes": null_block(3, 5, "elu", bias=0.7, dtype=torch.float64),
    "does not write": zero_output_block(3, 5, "elu", dtype=torch.float64, generator=draws),
    "linearised": linearised_block(3, 5, "elu", stream_at(net, 3, x), generator=draws),
}
gaps, norms = {}, {}
for kind, block in blocks.items():
    deep = insert_block(net, 3, block)
    gaps[kind] = float((deep(x) - net(x)).detach().abs().max())
    norms[kind] = float(module_gradient(deep, x, y).norm())
run.claim(
    "B13",
    holds=max(gaps.values()) < 1e-12
    and norms["does not write"] > 1e-6
    and max(norms["neither reads nor writes"], norms["linearised"]) < 1e-10,
    note="Gradient norms at a planted critical point: "
    + "; ".join(f"{kind} {value:.1e}" for kind, value in norms.items())
    + f". Largest output gap {max(gaps.values()):.0e}.",
)

# %% [markdown]
# ## How much of parameter space the data leave
#
# Lifting depends on the sample. More inputs are more conditions:
#
# ```{prf:theorem} Lifted manifolds shrink with data
# :label: thm-depth-data
# $S \subset S'$ implies $\mathcal{T}_{S'}(\theta) \subset \mathcal{T}_S(\theta)$. If the features
# $f^{[q]}(x)$ of the new inputs lie in the convex hull of the old ones, the two are equal.
# ```
#
# ```{prf:proof}
# Condition (ii) does not mention the sample, and (i) asks for every $x$ in it, which gives the
# inclusion. An affine piece is an interval, and $w \cdot f + b$ is affine in $f$: if it lies in the
# interval at some points, it does so on their hull. Test:
# `test_theorem_volume_shrinks_with_data_unless_they_fall_into_the_hull`.
# ```
#
# How fast? For a random ReLU neuron with standard normal weights and bias we estimate the
# probability that $n$ points lie in its affine piece; a layer of $m$ independent neurons is
# linearised with the $m$-th power of it.

# %%
sizes, dimensions = [2, 4, 8, 16, 32, 64, 128, 256, 512], (1, 2, 4, 8, 16)
cloud = {d: gaussian(512, d) for d in dimensions}
volumes = {
    d: one_piece_probability(cloud[d], sizes, "relu", draws=100_000, generator=draws)
    for d in dimensions
}
mixing = torch.rand(496, 16, generator=draws, dtype=torch.float64) ** 8
within = torch.cat([cloud[4][:16], (mixing / mixing.sum(1, keepdim=True)) @ cloud[4][:16]])
volumes["hull"] = one_piece_probability(within, sizes, "relu", draws=100_000, generator=draws)
# the same for whole lifts: of random lifts on 16 points, how many are lifts on more, and the
# reverse
net, counts = init((4, 3, 1), "relu", generator=draws), sizes[3:]
shares, nested = {"cloud": [], "hull": []}, []
on_few = [lift(net, cloud[4][:16], 0, 4, generator=draws) for _ in range(60)]
for n in counts:
    for name, points in (("cloud", cloud[4][:n]), ("hull", within[:n])):
        shares[name].append(
            np.mean([lifted_from(deep, net, points) is not None for deep in on_few])
        )
    nested += [
        lifted_from(lift(net, cloud[4][:n], 0, 4, generator=draws), net, cloud[4][:16]) is not None
        for _ in range(10)
    ]

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.1))
for d, colour in zip(dimensions, plt.cm.viridis(np.linspace(0, 0.85, 5)), strict=True):
    axes[0].plot(sizes, volumes[d].clamp_min(1e-6), ".-", color=colour, label=f"{d} inputs")
axes[0].plot(sizes, volumes["hull"], "s--", color=RED, ms=4, label="4, rest in the hull")
axes[0].set(
    xscale="log",
    yscale="log",
    xlabel="points $n$",
    ylabel="probability of one piece",
    title="one random neuron",
    ylim=(5e-6, 1.3),
)
axes[0].legend(fontsize=7.5, loc="lower left")
axes[1].plot(counts, shares["cloud"], ".-", color=BLUE, label="fresh points")
axes[1].plot(counts, shares["hull"], "s--", color=RED, ms=4, label="points of the hull")
axes[1].set(
    xscale="log",
    xlabel="points $n$",
    ylabel="share still a lift",
    ylim=(-0.05, 1.1),
    title="lifts on 16 points",
)
axes[1].set_xticks([16, 64, 256], ["16", "64", "256"])
axes[1].minorticks_off()
axes[1].legend(fontsize=8, loc="center right")
run.figure(
    fig,
    "volume",
    "Left: probability that $n$ Gaussian points lie in the affine piece of a random ReLU neuron,"
    " for 1 to 16 inputs; red: the first 16 points in 4 dimensions are Gaussian, all others lie in"
    " their convex hull. Right: share of random lifts on 16 points that are still lifts on $n$"
    " points, fresh ones or points of the hull.",
    "Left, curves that fall with the number of points, the faster the more inputs; the red one is"
    " flat from 16 points on. Right, the blue curve falls, the red one stays at one.",
    {f"inputs {k}": v for k, v in volumes.items()}
    | {"sizes": sizes, "counts": counts}
    | {f"share {k}": v for k, v in shares.items()},
)
inner = volumes["hull"][3:]
run.claim(
    "B5",
    holds=all(nested)
    and bool((inner == inner[0]).all())
    and min(shares["hull"]) == 1
    and shares["cloud"][-1] < 1
    and bool(in_hull(within[16:], within[:16]).all()),
    note=(
        f"All {len(nested)} lifts on more points are lifts on 16; of 60 lifts on 16 points"
        f" {round(60 * shares['cloud'][-1])} are lifts on {counts[-1]} fresh points, and"
        f" {round(60 * shares['hull'][-1])} when the new ones lie in the hull."
    ),
)
run.glue("volume-one", float(volumes[1][-1] / volumes[1][0]), digits=2)
run.glue("volume-eight", float(volumes[8][-1] / volumes[8][0]), digits=2)

# %% [markdown]
# From 2 to 512 points the probability falls to {glue:text}`volume-one` of what it was in one
# dimension, and to {glue:text}`volume-eight` in eight. So it is not the number of data as such that
# empties the lifted manifold, but how much of space their hull comes to fill; in few dimensions, or
# with repeated data, it hardly does.
#
# ## Training: nets of different depths stall alike
#
# Now Fig. 1 of the paper. Its settings are not known to us. Ours: nets of width 6 on Iris
# {cite}`fisher1936iris` (150 flowers, inputs divided by the largest, one-hot targets, mean squared
# error), ReLU, with one to four hidden layers; on images, hidden layers of {glue:text}`image-width`
# neurons and {glue:text}`image-count` images of {glue:text}`image-data`. Weights are drawn with
# standard deviation $0.1/\sqrt{\text{inputs}}$, small enough to start near the zero net, biases
# start at zero; full-batch Adam with rate $0.002$ (Iris) and $0.001$ (images). A stretch counts as
# slow if $|\mathrm{d} \log R / \mathrm{d} \log k| \le 0.1$ in epochs $k$ over a factor of at
# least 1.5, which is found automatically.


# %% tags=["hide-input"]
def small_nets(widths, sigma, count: int, gain: float = 0.1, start: int = 0) -> MLP:
    """Nets with weights of standard deviation gain / sqrt(inputs) and no biases yet."""
    net = init(
        widths,
        sigma,
        batch=(count,),
        generator=torch.Generator().manual_seed(1000 * seed + start + len(widths)),
    )
    return MLP(
        [gain * w / w.shape[-1] ** 0.5 for w in net.weights], [0 * b for b in net.biases], sigma
    )


def one_hot(labels, classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(labels), classes).double()


flowers, species = run.data("iris", "all")
iris_x, iris_y = torch.tensor(flowers / flowers.max()), one_hot(species, 3)
pixels, labels = run.data(data, "train")
image_x = torch.tensor(pixels[:images].reshape(images, -1) / pixels.max())
image_y = one_hot(labels[:images], 10)
slow = {"slope": 0.1, "ratio": 1.5, "smooth": 1.2, "begin": 30}
iris_runs = {
    h: descend(
        small_nets((4, *[6] * h, 3), "relu", seeds),
        iris_x,
        iris_y,
        steps=epochs,
        lr=2e-3,
        optimizer="adam",
        records=150,
    )
    for h in hidden
}
image_runs = {
    h: descend(
        small_nets((image_x.shape[1], *[image_width] * h, 10), "relu", image_seeds),
        image_x,
        image_y,
        steps=image_epochs,
        lr=1e-3,
        optimizer="adam",
        records=80,
    )
    for h in hidden[:3]
}
run.glue("image-width", image_width)
run.glue("image-count", images)
run.glue("image-data", data)


def windows_of(result, k: int):
    losses = result.losses[:, k]
    return (
        slow_windows(result.steps, losses, **slow)
        if bool((torch.isfinite(losses) & (losses > 0)).all())
        else ()
    )


def accuracy(result, k: int, x, y) -> torch.Tensor:
    """Of the iterate of smallest gradient between each two records."""
    answers = torch.stack(
        [forward(result.smallest[i][k], x).argmax(-1) for i in range(len(result.steps) - 1)]
    )
    return (answers == y.argmax(-1)).double().mean(-1)


# %% tags=["hide-input"]
def median_seed(result) -> int:
    """The net whose plateaus last longest in the median: a typical one, not the finest."""
    spans = np.array(
        [sum(np.log(w.ratio) for w in windows_of(result, k)) for k in range(result.losses.shape[1])]
    )
    return int(np.argsort(spans)[len(spans) // 2])


depth_colours = dict(zip(hidden, (BLUE, ORANGE, GREEN, PURPLE, SKY, RED), strict=False))
fig, axes = plt.subplots(2, 2, figsize=(7.2, 5.2), sharex="col")
drawn = {}
for column, (runs, x, y, title) in enumerate(
    ((iris_runs, iris_x, iris_y, "Iris"), (image_runs, image_x, image_y, data))
):
    for h, result in runs.items():
        k, colour = median_seed(result), depth_colours[h]
        middle = result.smallest_step[:, k]
        right = accuracy(result, k, x, y)
        axes[0, column].plot(
            result.steps + 1,
            result.losses[:, k],
            color=colour,
            label=f"{h} hidden layer{'s' * (h > 1)}",
        )
        axes[1, column].plot(middle + 1, right, color=colour)
        for w in windows_of(result, k):
            for ax in axes[:, column]:
                ax.axvspan(w.first, w.last, color=colour, alpha=0.13, lw=0)
        drawn |= {
            f"{title} {h} epoch": result.steps,
            f"{title} {h} loss": result.losses[:, k],
            f"{title} {h} accuracy": right,
        }
    axes[0, column].set(xscale="log", yscale="log", title=f"{title}: loss")
    axes[1, column].set(xlabel="epoch", title=f"{title}: accuracy", ylim=(0, 1.02))
axes[0, 0].set_ylabel("training loss")
axes[1, 0].set_ylabel("training accuracy")
axes[0, 0].legend(fontsize=8, loc="lower left")
run.figure(
    fig,
    "training",
    "Fig. 1 of the paper: training loss and accuracy of ReLU nets of several depths, for each depth"
    " the seed with median length of plateaus. Shaded in the same colour: slow periods, found"
    " automatically.",
    "Four panels of loss and accuracy against epochs. All depths rest at the same first loss level,"
    " then at common lower levels, in shaded periods of different lengths.",
    drawn,
)

# %% [markdown]
# Do depths share their levels, beyond what the eye grants? For every net of every seed we collect
# the mean losses of its slow periods. A level of shallower nets is met if a deeper net stalls
# within 2 % of it. Since there are many levels, some would be met by chance; so we also count how
# much of the range of log losses these bands cover.


# %% tags=["hide-input"]
def stalls(runs) -> dict[int, np.ndarray]:
    """Mean losses of the slow periods of all nets, by number of hidden layers."""
    return {
        h: np.array([w.loss for k in range(r.losses.shape[1]) for w in windows_of(r, k)])
        for h, r in runs.items()
    }


def met(levels, others) -> tuple[float, float]:
    """Share of the others within 2 % of a level, and share of their range of logarithms within 2 %
    of one."""
    grid = np.geomspace(min(others), max(others), 20001)
    return tuple(
        float((np.abs(np.log(v)[:, None] - np.log(levels)).min(1) < 0.02).mean())
        for v in (others, grid)
    )


smooth_runs = {
    sigma: {
        h: descend(
            small_nets((4, *[6] * h, 3), sigma, polished),
            iris_x,
            iris_y,
            steps=epochs,
            lr=2e-3,
            optimizer="adam",
            records=150,
        )
        for h in hidden[:3]
    }
    for sigma in ("elu", "tanh")
}
levels = {"relu": stalls(iris_runs)} | {sigma: stalls(runs) for sigma, runs in smooth_runs.items()}


def met_below(found, only_first: bool) -> np.ndarray:
    """`met` of every depth against all smaller depths, or the smallest, weighted by the number of
    slow periods."""
    depths = list(found)
    parts = [
        (
            met(
                np.concatenate([found[d] for d in depths[: 1 if only_first else k]]),
                found[depths[k]],
            ),
            len(found[depths[k]]),
        )
        for k in range(1, len(depths))
        if len(found[depths[k]]) > 1
    ]
    return np.average([p for p, _ in parts], axis=0, weights=[w for _, w in parts])


shares = {sigma: met_below(found, False) for sigma, found in levels.items()}
first = met_below(levels["relu"], True)
image_levels = stalls(image_runs)
image_first = [float(v.max()) for v in image_levels.values() if len(v)]

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(7.2, 3.2), sharey=True, width_ratios=(4, 3, 3))
for ax, (sigma, found) in zip(axes, levels.items(), strict=True):
    for h, values in found.items():
        ax.plot(
            h + np.linspace(-0.25, 0.25, len(values)),
            values,
            ".",
            ms=4,
            alpha=0.6,
            color=depth_colours[h],
        )
    for value in np.unique(np.round(found[hidden[0]], 4)):
        ax.axhspan(0.98 * value, 1.02 * value, color=GREY, alpha=0.12, lw=0)
    ax.set(yscale="log", xlabel="hidden layers", title=sigma, xticks=list(found))
axes[0].set_ylabel("loss of slow periods")
run.figure(
    fig,
    "levels",
    "Loss of every slow period of every net on Iris, by depth, for three activations; one dot a"
    " period. Grey: within 2 % of a level at which a net with one hidden layer stalls.",
    "Three strip plots. Dots of all depths line up on an upper and a middle level; for ReLU those"
    " of two and more hidden layers line up on two lower ones as well.",
    {f"{sigma} {h}": values for sigma, found in levels.items() for h, values in found.items()},
)

# %%
run.glue("level-share", f"{100 * shares['relu'][0]:.0f} %")
run.glue("level-chance", f"{100 * shares['relu'][1]:.0f} %")
run.glue("level-first", f"{100 * first[0]:.0f} % against {100 * first[1]:.0f} %")
run.glue("level-elu", f"{100 * shares['elu'][0]:.0f} % against {100 * shares['elu'][1]:.0f} %")
run.glue("level-tanh", f"{100 * shares['tanh'][0]:.0f} % against {100 * shares['tanh'][1]:.0f} %")
run.glue("level-images", image_first)
run.claim(
    "B7",
    holds=shares["relu"][0] > 0.8 and shares["relu"][0] > 2 * shares["relu"][1],
    note=(
        f"ReLU on Iris, {seeds} seeds a depth: {100 * shares['relu'][0]:.0f} % of the slow periods"
        " of deeper nets lie within 2 % of a level of shallower nets; these bands cover"
        f" {100 * shares['relu'][1]:.0f} % of the logarithmic range."
    ),
)

# %% [markdown]
# {glue:text}`level-share` of the slow periods of deeper ReLU nets lie in the bands of shallower
# ones, which cover {glue:text}`level-chance` of the range; for ELU {glue:text}`level-elu`, for tanh
# {glue:text}`level-tanh`. (Deeper ELU and tanh nets hardly stall below the first level, so that
# their shares say little.) Against nets of one hidden layer alone it is {glue:text}`level-first`:
# the upper two levels belong to all depths, while on the lower ones nets of two and more hidden
# layers agree with each other and lie apart from those of one. On the images the depths that stall
# at all share one level, the first ({glue:text}`level-images`), which is that of a constant output;
# after it the loss falls without a rest. So there the likeness of the curves is weaker than on
# Iris.
#
# ## What deep nets meet on their plateaus
#
# If a deep net on a plateau is near a lifted critical point, its layers are linearised there, and
# its output is that of a critical point of a shallow net. For every slow period of deep ReLU nets
# on Iris we take the iterate of least gradient and *polish* it to an exact critical point. The
# ReLU's kinks stop this in many cases; where it succeeds, we compare its output on the data with
# those of all exact critical points found in the same way in shallower nets. The distance is the
# root mean square difference relative to the spread of the targets. We also ask how linear the
# layers from the second on are: whether each is an affine map of its input up to 1 % of its
# variance; and for layers that are so exactly, we merge them and measure the gradient of the net
# that remains.


# %% tags=["hide-input"]
def plateaus(result, count: int):
    """The iterate of least gradient of every slow period of the first nets."""
    chosen = [windows_of(result, k) if k < count else () for k in range(result.losses.shape[1])]
    return smallest_gradient_iterates(result, chosen)


catalogue = polish(
    plateaus(iris_runs[hidden[0]], seeds).net, iris_x, iris_y, tolerance=1e-11, max_steps=150
).found
known, known_loss = forward(catalogue.net, iris_x), catalogue.loss
spread = float((iris_y - iris_y.mean(0)).square().mean().sqrt())


def nearest(net: MLP) -> tuple[float, float]:
    """Distance to the nearest critical function of the shallower nets so far, and its loss."""
    gaps = (forward(net, iris_x) - known).square().mean((-2, -1)).sqrt() / spread
    return float(gaps.min()), float(known_loss[gaps.argmin()])


met_on_way, exact, merged = [], [], []
for h in hidden[1:]:
    found = plateaus(iris_runs[h], polished)
    linear = (layer_affine_error(found.net, iris_x)[:, 1:] < 0.01).all(-1)
    met_on_way += [
        (h, float(found.loss[i]), *nearest(found.net[i]), float(linear[i]))
        for i in range(len(found.index))
    ]
    deep = polish(found.net, iris_x, iris_y, tolerance=1e-11, max_steps=60)
    for i in deep.converged.nonzero().flatten().tolist():
        net, layers = (
            deep.net[i],
            [
                k
                for k in range(2, h + 1)
                if bool((layer_on_data(deep.net[i], iris_x, k, flat=True).pieces >= 0).all())
            ],
        )
        exact.append((h, float(deep.loss[i]), *nearest(net), len(layers)))
        regular = True
        for layer in reversed(layers):
            regular &= layer_on_data(net, iris_x, layer, flat=True).is_regular
            net = unlift(net, iris_x, layer, flat=True)
        if layers:
            merged.append(
                (
                    float(deep.loss[i]),
                    float(regular),
                    norm(net, iris_x, iris_y),
                    float((risk(net, iris_x, iris_y) - deep.loss[i]).abs()),
                )
            )
    known, known_loss = (
        torch.cat([known, forward(deep.found.net, iris_x)]),
        torch.cat([known_loss, deep.found.loss]),
    )
met_on_way, exact, merged = (
    np.array(met_on_way),
    np.array(exact).reshape(-1, 5),
    np.array(merged).reshape(-1, 4),
)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.3), width_ratios=(3, 2))
for h in hidden[1:]:
    for linear, fill in ((1, depth_colours[h]), (0, "none")):
        at = (met_on_way[:, 0] == h) & (met_on_way[:, 4] == linear)
        axes[0].plot(
            met_on_way[at, 1],
            np.maximum(met_on_way[at, 2], 1e-10),
            "o",
            ms=5,
            mec=depth_colours[h],
            mfc=fill,
            alpha=0.7,
        )
    at = exact[:, 0] == h
    axes[0].plot(
        exact[at, 1],
        np.maximum(exact[at, 2], 1e-10),
        "x",
        ms=5,
        color=depth_colours[h],
        label=f"{h} hidden layers",
    )
axes[0].set(
    xscale="log",
    yscale="log",
    xlabel="loss",
    ylabel="distance from shallower one",
    title="outputs on plateaus",
)
axes[0].legend(fontsize=8, loc="lower left")
bins = np.array([0, 0.05, 0.2, 1])
names = ["below 0.05", "0.05 to 0.2", "above 0.2"]
part = [
    met_on_way[(met_on_way[:, 1] > a) & (met_on_way[:, 1] <= b), 4]
    for a, b in zip(bins, bins[1:], strict=False)
]
axes[1].bar(names, [100 * p.mean() if len(p) else 0 for p in part], color=SKY)
for place, p in enumerate(part):
    axes[1].text(
        place,
        100 * p.mean() + 2 if len(p) else 2,
        f"{int(p.sum())} of {len(p)}",
        ha="center",
        fontsize=8,
    )
axes[1].set(
    xlabel="loss of the plateau",
    ylabel="all layers affine, %",
    title="linearisation",
    ylim=(0, 112),
)
run.figure(
    fig,
    "plateaus",
    "Deep ReLU nets on Iris. Left: distance of the output on each plateau from the nearest exact"
    " critical function of shallower nets; circles: the iterate of training, filled if every layer"
    " from the second on is affine up to 1 % of its variance; crosses: polished to an exact"
    " critical point. Right: share of plateaus on which all these layers are affine, by loss.",
    "Left, circles at distances of a few per cent and crosses mostly far below, at a few loss"
    " levels. Right, three bars: high for the two upper groups, low for the lowest.",
    {"iterates": met_on_way, "exact": exact, "merged": merged},
)

# %%
same = exact[:, 2] < 1e-6
upper = met_on_way[met_on_way[:, 1] > 0.05]
lower = met_on_way[met_on_way[:, 1] <= 0.05]
run.glue("plateau-levels", np.unique(exact[:, 1].round(5)).tolist(), digits=4)
run.glue("plateau-exact", len(exact))
run.glue("plateau-same", int(same.sum()))
run.glue("plateau-way", float(np.median(met_on_way[:, 2])), digits=2)
run.glue("plateau-upper", f"{int(upper[:, 4].sum())} of {len(upper)}")
run.glue("plateau-lower", f"{int(lower[:, 4].sum())} of {len(lower)}")
run.glue("plateau-merged", len(merged))
run.glue("plateau-regular", int(merged[:, 1].sum()))
run.glue("plateau-critical", int((merged[:, 2] < 1e-9).sum()))
run.glue("plateau-merge-gap", float(merged[:, 3].max(initial=0)), digits=1)
run.claim(
    "B8",
    holds=bool(same.mean() >= 0.8) and len(exact) >= 5,
    note=(
        f"Of {len(exact)} deep plateaus that could be polished to a gradient below $10^{{-11}}$,"
        f" {int(same.sum())} have the output of an exact critical point of a shallower net within"
        " $10^{-6}$ of the spread of the targets; loss gap at most"
        f" {np.abs(exact[same, 1] - exact[same, 3]).max():.0e}."
    ),
)
run.claim(
    "B8-layers",
    holds=bool(lower[:, 4].mean() > 0.8),
    why=(
        "On the upper plateaus nearly all layers are affine on the data; on the lower ones neurons"
        " bend the data in several layers at once, so that the point is not a lift by these layers"
    ),
    note=(
        "All layers from the second on affine up to 1 % of their variance:"
        f" {int(upper[:, 4].sum())} of {len(upper)} plateaus above loss 0.05,"
        f" {int(lower[:, 4].sum())} of {len(lower)} below."
    ),
)

# %% [markdown]
# Of {glue:text}`plateau-exact` deep plateaus that could be polished, {glue:text}`plateau-same`
# have, to rounding, the output of an exact critical point of a shallower net (their losses:
# {glue:text}`plateau-levels`); unpolished, the outputs are {glue:text}`plateau-way` from it in the
# median. On the upper two levels the layers are linearised as the theory wants
# ({glue:text}`plateau-upper` plateaus), on the lower ones only in {glue:text}`plateau-lower`: there
# several layers bend the data.
#
# Merging is more delicate than the theory of lifting suggests. In {glue:text}`plateau-merged` cases
# layers are linearised exactly, most of them with neurons that are constant on the data. Without
# them the loss is the same (within {glue:text}`plateau-merge-gap`), but only
# {glue:text}`plateau-critical` of the merged nets are critical. {prf:ref}`thm-depth-inertia` says
# why: a critical deep net merges to a critical shallow one if $D\pi$ is onto, and near the zero
# net, with weights of deficient rank, it is onto in {glue:text}`plateau-regular` cases. So what
# training meets there has the function of a shallower critical point, without being a generic lift
# of it.
#
# ## Batch normalisation and more data
#
# ```{prf:theorem} Normalised neurons are not linearised
# :label: thm-depth-norm
# Let a neuron's pre-activation be normalised over the sample, $\gamma \hat z + \beta$ with $\hat z$
# of mean 0 and not constant. For ReLU and ELU it lies in the affine piece on the whole sample if
# and only if $\beta > \max(-\gamma \hat z)$; with $\gamma = 1$, $\beta = 0$, as every net starts,
# never. Yet every element of $\mathcal{T}_S(\theta)$ can be written with normalisation, with
# $\gamma^2 = \mathrm{var}\, z$ (plus its $\epsilon$) and $\beta = \mathbb{E} z$, and is critical in
# these variables too.
# ```
#
# ```{prf:proof}
# A non-constant $\hat z$ of mean 0 takes values of both signs. With these $\gamma$, $\beta$ the
# output on the batch is $z$ itself. The function of the normalised net depends on its weights only
# through $\gamma \hat z + \beta$, which is affine in $f$ on $S$ near the point, so that the risk is
# again $R_S \circ \pi$ with a smooth $\pi$. Tests:
# `test_batch_normalised_lift_needs_a_shift_beyond_its_gain`,
# `test_theorem_lift_through_batch_normalisation_is_critical`.
# ```
#
# We train the same deep nets on Iris by plain gradient descent with and without batch normalisation
# {cite}`ioffe2015batch`, from weights three times larger than above, and then without it on parts
# of the data.

# %% tags=["hide-input"]
net = torch.nn.Sequential(
    torch.nn.Linear(2, 3),
    torch.nn.BatchNorm1d(3),
    torch.nn.LeakyReLU(0.3),
    torch.nn.Linear(3, 2),
).double()
x = gaussian(20, 2)
y = plant(net, x, draws)
lifted = [
    insert_layer(net, x, 2, 4, leaky_relu(0.3), normalise=n, generator=draws) for n in (False, True)
]
through = [
    (float((deep(x) - net(x)).detach().abs().max()), float(module_gradient(deep, x, y).norm()))
    for deep in lifted
]

start = small_nets((4, 6, 6, 6, 3), "relu", 10, gain=0.3)
gd = {"steps": 4 * norm_epochs, "lr": 0.1, "records": 400}
plain = descend(start, iris_x, iris_y, **gd)
marks = [0, *np.unique(np.geomspace(1, norm_epochs, 40).astype(int)).tolist()]
normed = descend_normalised(start, iris_x, iris_y, steps=norm_epochs, lr=0.1, records=marks)


def departures(steps, losses) -> torch.Tensor:
    """First recorded epoch with a loss below 0.2: past the plateau at 0.222; the last epoch for
    nets that stay."""
    gone = losses < 0.2
    return torch.where(gone.any(0), steps[gone.to(torch.int64).argmax(0)], steps[-1]).double()


def share_on_way(result, x) -> torch.Tensor:
    """Share of linearised neurons (constant ones included), mean over nets and layers, at each
    record's iterate."""
    return torch.stack(
        [
            linearised_share(result.smallest[i], x, flat=True).mean()
            for i in range(len(result.steps) - 1)
        ]
    )


parts, of_size = (15, 30, 75, 150), {}
for n in parts:
    rows_of = np.concatenate(
        [50 * k + torch.randperm(50, generator=draws).numpy()[: n // 3] for k in range(3)]
    )
    fewer = descend(start, iris_x[rows_of], iris_y[rows_of], **gd)
    of_size[n] = departures(fewer.steps, fewer.losses), share_on_way(fewer, iris_x[rows_of])
left_plain, left_norm = (
    departures(plain.steps, plain.losses),
    departures(normed.steps, normed.losses),
)
share_plain = share_on_way(plain, iris_x)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(7.2, 3.1))
for k in range(10):
    axes[0].plot(
        plain.steps + 1,
        plain.losses[:, k],
        color=BLUE,
        lw=0.8,
        alpha=0.7,
        label="plain" if k == 0 else None,
    )
    axes[0].plot(
        normed.steps + 1,
        normed.losses[:, k],
        color=RED,
        lw=0.8,
        alpha=0.7,
        label="normalised" if k == 0 else None,
    )
axes[0].set(xscale="log", yscale="log", xlabel="epoch", title="loss")
axes[0].legend(fontsize=8)
axes[1].plot(plain.steps[:-1] + 1, share_plain, color=BLUE)
axes[1].plot(normed.steps + 1, normed.share.mean((1, 2)), color=RED)
axes[1].set(xscale="log", xlabel="epoch", ylim=(-0.05, 1.05), title="linearised neurons")
axes[2].plot(
    parts,
    [float(of_size[n][0].median()) for n in parts],
    "o-",
    color=BLUE,
    label="epochs to leave",
)
axes[2].set(
    xscale="log",
    xlabel="flowers $n$",
    ylabel="epochs to leave",
    title="less data",
    ylim=(0, None),
)
axes[2].set_xticks(parts, [str(n) for n in parts])
axes[2].minorticks_off()
second = axes[2].twinx()
second.plot(parts, [float(of_size[n][1].mean()) for n in parts], "s--", color=ORANGE, ms=4)
second.set(ylim=(0, 1.05), ylabel="linearised share (dashed)")
second.grid(False)
run.figure(
    fig,
    "normalisation",
    "Nets with three hidden layers on Iris, gradient descent. Left: loss of ten nets with and without batch normalisation. Middle: share of their hidden neurons that stay in one affine piece or are constant on the data. "
    "Right: epochs to leave the first plateau (solid, median) and mean linearised share over the training (dashed), for parts of the data without normalisation.",
    "Left, plain nets rest on the first plateau for hundreds of epochs, normalised ones fall at once. Middle, a blue curve high up and a red one at zero. Right, a solid curve nearly level and a dashed one that falls slightly.",
    {
        "epoch": plain.steps, "plain": plain.losses, "epoch normalised": normed.steps, "normalised": normed.losses, "share plain": share_plain,
        "share normalised": normed.share.mean((1, 2)), "n": parts, "leave": torch.stack([of_size[n][0] for n in parts]), "share": [float(of_size[n][1].mean()) for n in parts],
    },
)  # fmt: skip

# %%
ratio = float(of_size[150][0].median() / of_size[15][0].median())
by_size = [float(of_size[n][1].mean()) for n in parts]
run.glue("norm-plain", float(left_plain.median()), digits=2)
run.glue("norm-normed", float(left_norm.median()), digits=2)
run.glue("norm-share", float(share_plain.mean()), digits=2)
run.glue("size-shares", by_size, digits=2)
run.glue("size-leave", [float(of_size[n][0].median()) for n in parts], digits=3)
run.claim(
    "B9",
    holds=float(normed.share.max()) < 0.5 * float(share_plain.min())
    and float(left_norm.max()) < float(left_plain.min())
    and max(through[0] + through[1]) < 1e-10,
    note=(
        f"Linearised share with normalisation at most {float(normed.share.mean((1, 2)).max()):.2g},"
        f" without at least {float(share_plain.min()):.2g}; median epochs to leave the first"
        f" plateau {float(left_norm.median()):.0f} against {float(left_plain.median()):.0f}. Lifts"
        " through a normalised net: output gap and gradient at most"
        f" {max(through[0] + through[1]):.0e}."
    ),
)
run.claim(
    "B10",
    holds=by_size[-1] < by_size[0],
    note=(
        f"Mean share over training for {', '.join(map(str, parts))} flowers:"
        f" {', '.join(f'{v:.2f}' for v in by_size)}."
    ),
)
run.claim(
    "B10-length",
    ratio,
    why=(
        "The length of the first plateau is set by the initialisation and the second moments of the"
        " data, which more flowers of the same species hardly change"
    ),
    note=(
        f"Median epochs to leave the first plateau for {', '.join(map(str, parts))} flowers:"
        f" {', '.join(f'{float(of_size[n][0].median()):.0f}' for n in parts)}."
    ),
)

# %% [markdown]
# The first plateau is that of a constant output, of loss $2/9 = 0.222$ for three equally frequent
# species. Normalisation does what the paper says, and more thoroughly: no neuron is ever
# linearised, and the first plateau is gone after {glue:text}`norm-normed` epochs instead of
# {glue:text}`norm-plain`. Two things change at once, though. Normalised features have unit size
# however small the weights are, so these nets do not start near the zero net; that alone would
# remove a plateau of the zero net. The absence of linearised neurons is {prf:ref}`thm-depth-norm`;
# that it is the *cause* of the faster training is not shown here.
#
# More data lower the share of linearised neurons slightly (from left to right
# {glue:text}`size-shares`), but do not shorten the plateau ({glue:text}`size-leave` epochs).
#
# ## What was found

# %%
run.claims_table()

# %% [markdown]
# What differs from the paper. Of its figures we know only the first, and of that no setting, so a
# difference in numbers would mean nothing; what can be compared is what it claims. Three claims
# need a qualification. A lifted minimum does not become a strict saddle (B6), except, in a
# one-sided sense, at the boundary of its manifold, and approximately for tanh. Deep nets do meet
# the *functions* of shallower critical points, but layers are linearised on the upper plateaus only
# (B8-layers). And more data from the same distribution did not shorten the plateau (B10-length).
#
# ### To run this chapter with other parameters
#
# ```
# make chapter CH=02_depth P="seeds=50 epochs=20000 seed=3"
# ```
#
# or with papermill alone, on the notebook that the build leaves beside the executed one. The
# parameters, their types and ranges are in the first code cell.

# %%
run.provenance()
