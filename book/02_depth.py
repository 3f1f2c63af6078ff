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
image_width: int = 20  # neurons of each hidden layer of nets on images, in [2, 1000]
image_epochs: int = 3000  # epochs of Adam on images, in [200, 1000000]
image_seeds: int = 5  # nets of each depth on images, in [1, 100]
hidden: list[int] = [1, 2, 3, 4]  # hidden layers of Fig. 1, at least 2 of them, rising, in [1, 20]
seeds: int = 30  # nets of each depth on Iris, in [4, 1000]
epochs: int = 10000  # epochs of Adam on Iris, in [500, 10000000]
polished: int = 20  # of these, polished on their plateaus, in [2, seeds]
lifts: int = 12  # random lifts of each kind, in [2, 1000]
exits_tried: int = 12  # lifted minima of each kind to leave, in [3, 1000]
descent: int = 20000  # epochs of descent from there, in [1000, 10000000]
norm_epochs: int = 2000  # epochs with batch normalisation, in [200, 1000000]
seed: int = 0  # seed of every random draw, >= 0

# %% tags=["hide-input"]
import numpy as np
import torch

from companion import chapter, panels
from companion.measurement import Cause, Need
from companion.sketch import draw_net
from companion.trials import Trials
from experiments.depth import (
    blocks,
    combined,
    drawing,
    drawing_training,
    exactness,
    levels,
    meetings,
    normalisation,
    persistence,
    rims,
    smooth,
    training,
)
from experiments.depth.normalised import descend_normalised
from experiments.depth.planted import gaussian, strict_minimum
from experiments.depth.volume import in_hull, one_piece_probability
from experiments.tables import columns
from lib.nets.activations import leaky_relu
from lib.train.descent import descend

run = chapter.start("02_depth", globals())
from companion.figures import BLUE, INK, PURPLE  # after start()

torch.set_num_threads(1)
draws = torch.Generator().manual_seed(seed)
more_draws = torch.Generator().manual_seed(seed + 1)  # of what was added later

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
fig, axes = panels.frame(2, 3.0)
shallow = {((1, j), (2, k)): INK for j in range(3) for k in range(2)}
draw_net(axes[0], (2, 3, 2), {}, shallow, {((1, 1), (2, 0)): "$W$"})
into = {((1, j), (2, k)): BLUE for j in range(3) for k in range(4)}
out = {((2, j), (3, k)): PURPLE for j in range(4) for k in range(2)}
words = {((1, 0), (2, 0)): "$W'$", ((2, 0), (3, 0)): "$A$"}
draw_net(axes[1], (2, 3, 4, 2), {(2, j): BLUE for j in range(4)}, into | out, words)
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
# Let $R_S$ be twice differentiable near the critical point $\theta$ (on the sample no neuron of a
# ReLU net may sit on its kink), and let $\Lambda W'$ have full column rank or $A \Lambda$ full row
# rank.
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
# ```{prf:theorem} Representations in depth
# :label: thm-depth-representation
# On $S$ the features $h$ of the inserted layer obey $\mathrm{span}\{W^{[q+1]} f^{[q]}, 1\} \subset
# \mathrm{span}\{h, 1\} \subset \mathrm{span}\{f^{[q]}, 1\}$, and the last two are equal if
# $\Lambda W'$ has full column rank. All old layers keep their features.
# ```
#
# ```{prf:proof}
# $h = \Lambda (W' f^{[q]} + b') + \mu$ is affine in $f^{[q]}$, and $A h + c = W^{[q+1]} f^{[q]} +
# b^{[q+1]}$ is affine in $h$. With full column rank $\Lambda W'$ has a left inverse, which gives
# $f^{[q]}$ back.
# ```
#
# We lift exact critical points, minima and strict saddles, of nets with one and two hidden layers,
# at every position and with widths from the least possible up. (`plant` makes any net critical by
# choosing targets whose residual is orthogonal to all its tangents; nothing is trained.)


# %%
sigmas = ("relu", leaky_relu(0.3), "elu")
lifted = exactness.exact_lifts(sigmas, lifts, draws)

# %% tags=["hide-input"]
fig, axes = panels.frame(3, 2.9, share="y")
drawing.exact_lifts(axes, lifted)
names = sorted({t.activation for t in lifted})
run.figure(
    fig,
    "exact",
    "Random lifts of exact minima (blue) and strict saddles (red), one dot each; exact zeros at the"
    " left edge. On the data the outputs stay to rounding and the gradient is zero to rounding; on"
    " inputs thirty times further out the lifted nets compute other functions.",
    "Three strip plots for three activations, minima and saddles: output gaps on the sample below"
    " 1e-12, relative gaps off the sample between nothing and order one, gradients below 1e-10.",
    {
        "activation": [names.index(t.activation) for t in lifted],
        "on": [t.output_gap for t in lifted],
        "off": [t.off_sample_gap for t in lifted],
        **columns(lifted, "saddle", "gradient"),
    },
)

# %% tags=["hide-input"]
differ = sum(t.off_sample_gap > 1e-3 for t in lifted)
run.glue("off-sample-share", f"{differ} of the {len(lifted)}")
note = f"Over {len(lifted)} lifts of minima and saddles, three activations."
run.claim("B1", [max(t.output_gap for t in lifted), differ], note=note)
run.claim("B2", max(t.gradient for t in lifted), note=note)
run.claim("B4", max(abs(t.dimension_error) for t in lifted), note=note)
run.claim("B14", max(t.representation_error for t in lifted), note=note)

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
spectra = exactness.tower(draws)
grown, blurred = exactness.growth(sigmas, lifts, draws)
both = combined.combine(sigmas, max(2, lifts // 4), more_draws)

# %% tags=["hide-input"]
fig, axes = panels.frame(2, 3.3, ratios=(3, 2))
drawing.degeneracy(axes, spectra, grown)
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
    | {"added": [g.parameters for g in grown], "zeros": [g.zeros for g in grown]},
)

# %% tags=["hide-input"]
wrong = [t for t in (*lifted, *grown) if not t.is_exact]
counted = sum(bool(t.inertia_errors) for t in lifted)
run.claim(
    "B3",
    len(wrong),
    note=f"Exceptions among {counted} one-layer lifts and {len(grown)} by one to three layers;"
    f" {blurred} more have a spectrum without a clear gap and are not counted.",
)
run.claim(
    "B15",
    [max(getattr(c, w) for c in both) for w in ("gradient", "signs_lost", "zeros_missing")],
    note=f"Largest gradient, and eigenvalues missing, over {len(both)} nets in both orders.",
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


# %%
beyond = np.geomspace(1e-5, 1e-2, 10)
opened = [rims.open_rim(s, beyond, draws) for s in sigmas for _ in range(exits_tried)]
ends = [rims.depart(rim, descent) for rim in opened]
first_elu = next(rim for rim in opened if rim.order == 2)
position = np.linspace(-0.3, 0.3, 81)
profile, smallest = rims.through(first_elu, position)

# %% tags=["hide-input"]
fig, axes = panels.frame(3)
drawing.exits(axes, opened, ends, beyond)
drawing.through_exit(axes[1], position, profile, smallest)
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
        "falls": np.array([rim.falls for rim in opened]),
        "rates": [rim.rate for rim in opened],
        "position": position,
        "risk": profile,
        "eigenvalue": smallest,
        "epoch": ends[0].steps,
        "descents": torch.stack([a.losses / r.base for a, r in zip(ends, opened, strict=True)]),
    },
)

# %% tags=["hide-input"]
ratios = [rim.ratio(beyond) for rim in opened]
left = np.array([float(a.losses[-1, 1]) / r.base for a, r in zip(ends, opened, strict=True)])
facets = np.concatenate([rim.descends for rim in opened])
clear = [rim for rim in opened if rim.clear]
fall = float(np.mean([rim.falls[0] < 0 for rim in opened]))
run.glue("exit-minima", exits_tried)
run.glue("exit-facets", f"{100 * np.mean(facets):.0f} %")
run.glue("exit-left", f"{int((left < 1 - 1e-6).sum())} of {len(left)}")
run.glue("exit-best", f"{100 * (1 - left.min()):.2g} %")
run.glue("exit-median", f"{100 * (1 - np.median(left)):.2g} %")
run.glue("exit-unclear", f"{len(opened) - len(clear)} of {len(opened)}")
run.claim(
    "B6",
    trials=Trials(
        {"seed": range(len(clear)), "value": [float(rim.negative > 0) for rim in clear]}, "range"
    ),
    nulls={
        "the minima before lifting": Trials(
            {"seed": range(len(clear)), "value": [0.0] * len(clear)}, "range"
        )
    },
    cause=Cause("share of opened exits past which the risk falls", fall, ">= 0.95"),
    note=f"1 where a lift of a minimum has a negative eigenvalue; {len(opened) - len(clear)} more"
    " have a spectrum without a clear gap. Least change of the risk at 2,000 random points around"
    f" each: {min(rim.around for rim in opened):+.0e}.",
)
run.claim(
    "B6-exit",
    [min(ratios), max(ratios), max(rim.level_gap for rim in opened)],
    note=f"Smallest and largest ratio over {len(ratios)} exits at distance {beyond[0]:g}; then the"
    " largest change of the risk along the paths to them.",
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
# with $A\, \delta W' = 0$, $A\, \delta b' = 0$ that an affine layer leaves free (there are some if
# and only if $\hat m > \mathrm{rank}\, A$), tends to the form
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
# So with $\hat m > \mathrm{rank}\, A$ the most negative eigenvalue does not go to zero with the
# gradient: an approximate lift of a strict *minimum* is a *saddle* up to its small gradient, at
# every scale. The zero modes of an exact lift split into positive and negative ones. With $\hat m =
# \mathrm{rank}\, A$ nothing is free, and the curvature vanishes with the scale
# ({glue:text}`tanh-tight`). We lift strict minima of ELU nets exactly and of tanh nets
# approximately, and then polish the latter, which Newton-like steps would make exact if a critical
# point lay near.

# %%
scales, nets_tried = np.geomspace(0.3, 1e-3, 6), max(3, exits_tried // 2)
exact_lifts, tanh_lifts, tight, polished_lifts = [], [], [], []
for _ in range(nets_tried):
    point = strict_minimum((2, 2, 1), "elu", samples=60, generator=draws)
    exact_lifts.append(smooth.exact(point, draws))
for number in range(nets_tried):
    point = strict_minimum((2, 2, 1), "tanh", samples=60, generator=draws)
    tanh_lifts.append([smooth.approximate(point, number, float(s)) for s in scales])
    tight += [smooth.approximate(point, number, s, width=2) for s in (0.1, 0.01, 0.003)]
    polished_lifts += [smooth.polish_lift(point, number, s) for s in (0.3, 0.1, 0.03)]

# %% tags=["hide-input"]
fig, axes = panels.frame(3)
every = [t for trials in tanh_lifts for t in trials]
drawing.smooth_lifts(axes, every, exact_lifts, polished_lifts)
tanh = columns(every, "scale", "error", "gradient", "smallest", "form")
norms = columns(polished_lifts, "scale", "gradient", "gradient_after", "converged")
before, after = ([getattr(t, w).counts for t in polished_lifts] for w in ("before", "after"))
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
        "eigenvalue": tanh.pop("smallest"),
        **tanh,
        "polished": np.column_stack([*norms.values(), before, after]),
    },
)

# %% tags=["hide-input"]
finest = [trials[-1] for trials in tanh_lifts]
order = [smooth.order_of(trials) for trials in tanh_lifts]
bent = [t.smallest / t.form for t in finest]
before, after = np.array(before), np.array(after)
run.glue("tanh-tried", len(polished_lifts))
run.glue("tanh-converged", int(norms["converged"].sum()))
run.glue("tanh-negative", f"{before[:, 0].min()} to {before[:, 0].max()}")
run.glue("tanh-zero", f"{before[:, 1].min()} to {before[:, 1].max()}")
run.glue("tanh-added", int(exact_lifts[-1].inertia.counts[1]))
run.glue("tanh-fall", float(np.median(norms["gradient"] / norms["gradient_after"])), digits=1)
run.glue("tanh-left", float(norms["gradient_after"].min()), digits=1)
run.glue("tanh-after", f"{after[:, 0].min()} to {after[:, 0].max()}")
by_scale = [np.median([t.smallest for t in tight if t.scale == s]) for s in (0.1, 0.01, 0.003)]
run.glue("tanh-tight", ", ".join(f"{v:.0e}" for v in by_scale) + " at scales 0.1, 0.01, 0.003")
run.claim(
    "B12",
    [min(order), max(order)],
    note=f"Smallest and largest fitted order of the output gap over {nets_tried} minima; exact ELU"
    f" lifts of such minima have gaps up to {max(t.error for t in exact_lifts):.0e}.",
)
run.claim(
    "B6-tanh",
    [min(bent), max(bent), max(t.form for t in finest), abs(by_scale[-1] / by_scale[0])],
    note=f"Smallest eigenvalue over that of $K$, at scale {scales[-1]:g}; the largest of $K$; and,"
    " with no free direction, the eigenvalue at scale 0.003 over that at 0.1. Polished to a"
    f" critical point: {int(norms['converged'].sum())} of {len(polished_lifts)}.",
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
# at every place of a stream that a linear layer with bias reads.
# ```
#
# ```{prf:proof}
# The gradient of a bias on the stream is $\sum_i e_i$ at its place; skipping connections pass it
# on, and a block contributes $U^\top \sum_i (\ldots)_i$ to the difference, which is
# $U^\top \nabla_b = 0$. The rest is the chain rule: with $e$ at the stream,
# $\nabla_V = \sum_i e_i \sigma(U x_i + b)^\top$, $\nabla_c = \sum_i e_i$,
# $\nabla_U = \sum_i \bigl(\sigma'(U x_i + b) \circ V^\top e_i\bigr) x_i^\top$, and likewise for
# $b$. In (b) $\nabla_V = (\sum_i e_i)\, \sigma(b)^\top = 0$; in (c) every one of them is a linear
# map of $\sum_i e_i$ and $\sum_i e_i x_i^\top$. The second sum is the same at all places of the
# stream: passing a block changes it by $U^\top \nabla_U$ and by $\nabla_V V^\top + \nabla_c
# c^\top$, which are 0, and before the reader $W$ it is $W^\top \nabla_W = 0$. Tests:
# `test_zero_output_block_keeps_the_function_but_is_not_critical`,
# `test_theorem_null_block_is_critical_on_a_stream_with_biases`,
# `test_theorem_linearised_block_is_critical_anywhere_on_the_stream`.
# ```

# %%
compared = blocks.blocks_compared(draws)
norms = {kind: trial.gradient for kind, trial in compared.items()}
run.claim(
    "B13",
    [
        norms["neither reads nor writes"],
        norms["linearised"],
        norms["does not write"],
        max(trial.gap for trial in compared.values()),
    ],
    note="Gradient norms with a null block, a linearised one, and one that only does not write;"
    " largest output gap.",
)

# %% [markdown]
# ## How much of parameter space the data leave
#
# Lifting depends on the sample. More inputs are more conditions:
#
# ```{prf:theorem} Lifted manifolds shrink with data
# :label: thm-depth-data
# $S \subset S'$ implies $\mathcal{T}_{S'}(\theta) \subset \mathcal{T}_S(\theta)$. For $\hat m >
# \mathrm{rank}\, W^{[q+1]}$ and a piece that ends, the two are equal if and only if the features
# $f^{[q]}(x)$ of the new inputs lie in the convex hull of the old ones; for $\hat m =
# \mathrm{rank}\, W^{[q+1]}$ if and only if this is so of $W^{[q+1]} f^{[q]}(x)$.
# ```
#
# ```{prf:proof}
# Condition (ii) does not mention the sample, and (i) asks for every $x$ in it, which gives the
# inclusion. An affine piece is an interval, and $w \cdot f + b$ is affine in $f$: if it lies in the
# interval at some points, it does so on their hull. A point outside the hull is cut off by some
# $v \cdot f$. If $\hat m > \mathrm{rank}\, W$, one neuron can read $v$ and not write ($A_j = 0$),
# and the others do the work; its bias puts $S$ inside the piece and the point outside. If $\hat m =
# \mathrm{rank}\, W$, then $A \Lambda$ has full column rank, so $W' = (A \Lambda)^+ W$ reads $f$
# through $W f$ alone, and every direction of $W f$ can be one of its rows. Test:
# `test_theorem_volume_shrinks_with_data_unless_they_fall_into_the_hull`.
# ```
#
# How fast? For a random ReLU neuron with standard normal weights and bias we estimate the
# probability that $n$ points lie in its affine piece; a layer of $m$ independent neurons is
# linearised with the $m$-th power of it.

# %%
sizes, dimensions = [2, 4, 8, 16, 32, 64, 128, 256, 512], (1, 2, 4, 8, 16)
cloud = {d: gaussian(draws, 512, d) for d in dimensions}
chance = {"sizes": sizes, "activation": "relu", "draws": 100_000, "generator": draws}
volumes = {d: one_piece_probability(cloud[d], **chance) for d in dimensions}
few = cloud[4][:16]
within = torch.cat([few, persistence.hull_points(few, 496, draws)])
volumes["hull"] = one_piece_probability(within, **chance)
kept = persistence.persistence({"cloud": cloud[4], "hull": within}, sizes[3:], draws)

# %% tags=["hide-input"]
fig, axes = panels.frame(2)
drawing.volumes(axes, sizes, volumes, kept)
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
    | {"sizes": sizes, "counts": kept.counts}
    | {f"share {k}": v for k, v in kept.shares.items()},
)

# %% tags=["hide-input"]
tight, loose = (persistence.kept_off_the_hull(m, 500, more_draws) for m in (1, 2))
run.glue("volume-one", float(volumes[1][-1] / volumes[1][0]), digits=2)
run.glue("volume-eight", float(volumes[8][-1] / volumes[8][0]), digits=2)
run.glue("hull-tight", f"{round(500 * tight)} of 500")
run.glue("hull-loose", f"{round(500 * loose)} of 500")
run.claim(
    "B5",
    [
        sum(not nested for nested in kept.nested),
        float(1 - kept.shares["hull"].min()),
        1 - tight,
        loose,
        int((~in_hull(within[16:], few)).sum()),
    ],
    note=f"Lifts on more points that are none on 16, of {len(kept.nested)}; share lost though the"
    r" new points lie in the hull; share lost with $\hat m = \mathrm{rank}\, W$ to a point outside"
    r" the hull of $f$ but inside that of $Wf$, and share kept there with $\hat m = 2$; points that"
    " are not in the hull after all.",
)

# %% [markdown]
# From 2 to 512 points the probability falls to {glue:text}`volume-one` of what it was in one
# dimension, and to {glue:text}`volume-eight` in eight. So it is not the number of data as such that
# empties the lifted manifold, but how much of space their hull comes to fill; in few dimensions, or
# with repeated data, it hardly does. How many neurons are inserted matters too: of random lifts of
# a 2-1-1 net, {glue:text}`hull-tight` with one new neuron survive a new point far outside the hull
# of the inputs whose $W f$ is an old one, and {glue:text}`hull-loose` with two.
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


# %%
flowers, species = run.data("iris", "all")
iris_x, iris_y = torch.tensor(flowers / flowers.max()), training.one_hot(species, 3)
pixels, labels = run.data(data, "train")
image_x = torch.tensor(pixels[:images].reshape(images, -1) / pixels.max())
image_y = training.one_hot(labels[:images], 10)
on_iris = training.Setting(6, seeds, epochs, lr=2e-3, records=150, seed=seed)
on_images = training.Setting(image_width, image_seeds, image_epochs, lr=1e-3, records=80, seed=seed)
iris_runs = training.train_depths(hidden, "relu", iris_x, iris_y, on_iris)
image_runs = training.train_depths(hidden[:3], "relu", image_x, image_y, on_images)
shuffled = iris_y[
    np.random.default_rng(seed).permutation(len(iris_y))
]  # a null: no species to learn
few_on_iris = training.Setting(6, polished, epochs, lr=2e-3, records=150, seed=seed)
null_runs = training.train_depths(hidden, "relu", iris_x, shuffled, few_on_iris)
run.glue("image-width", image_width)
run.glue("image-count", images)
run.glue("image-data", data)

# %% tags=["hide-input"]
fig, axes = panels.frame(2, 5.2, rows=2, share="x")
drawn = drawing_training.fig1_column(axes[0], axes[2], iris_runs, iris_x, iris_y, "Iris")
drawn |= drawing_training.fig1_column(axes[1], axes[3], image_runs, image_x, image_y, data)
axes[0].set_ylabel("training loss")
axes[2].set_ylabel("training accuracy")
axes[0].legend(fontsize=8, loc="lower left")
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


# %%
stalls = {"relu": training.stalls(iris_runs)}
for sigma in ("elu", "tanh"):
    smooth_runs = training.train_depths(hidden[:3], sigma, iris_x, iris_y, few_on_iris)
    stalls[sigma] = training.stalls(smooth_runs)
shares = {sigma: levels.met_below(found) for sigma, found in stalls.items()}
first = levels.met_below(stalls["relu"], only_first=True)
null_levels, image_levels = training.stalls(null_runs), training.stalls(image_runs)
image_first = [float(v.max()) for v in image_levels.values() if len(v)]

# %% tags=["hide-input"]
fig, axes = panels.frame(3, 3.2, share="y", ratios=(4, 3, 3))
drawing_training.levels(axes, stalls)
run.figure(
    fig,
    "levels",
    "Loss of every slow period of every net on Iris, by depth, for three activations; one dot a"
    " period. Grey: within 2 % of a level at which a net with one hidden layer stalls.",
    "Three strip plots. Dots of all depths line up on an upper and a middle level; for ReLU those"
    " of two and more hidden layers line up on two lower ones as well.",
    {f"{sigma} {h}": values for sigma, found in stalls.items() for h, values in found.items()},
)

# %% tags=["hide-input"]
run.glue("level-share", f"{100 * shares['relu'][0]:.0f} %")
run.glue("level-chance", f"{100 * shares['relu'][1]:.0f} %")
run.glue("level-first", f"{100 * first[0]:.0f} % against {100 * first[1]:.0f} %")
run.glue("level-elu", f"{100 * shares['elu'][0]:.0f} % against {100 * shares['elu'][1]:.0f} %")
run.glue("level-tanh", f"{100 * shares['tanh'][0]:.0f} % against {100 * shares['tanh'][1]:.0f} %")
run.glue("level-images", image_first)
constant = float(iris_y.var(0, correction=0).mean())
found = levels.below_constant(training.stalls_of_nets(iris_runs), constant)
other = levels.below_constant(training.stalls_of_nets(null_runs), constant)
known_levels, even = levels.of_depths(found), levels.spread_out(found, seed)
lower = levels.by_net(found, known_levels)
run.glue("level-lower", f"{100 * np.mean(lower['value']):.0f} %" if lower["value"] else "none")
if lower["value"]:
    run.claim(
        "B7",
        trials=Trials(lower),
        nulls={
            "levels of nets on shuffled species": Trials(
                levels.by_net(found, levels.of_depths(other))
            ),
            "losses spread evenly": Trials(levels.by_net(even, known_levels)),
            "every loss moved by 4 to 20 %": Trials(
                levels.by_net(levels.moved(found, seed), known_levels)
            ),
        },
        note=f"One row for each deeper ReLU net on Iris, {seeds} of each depth: the share of its"
        " slow periods within 2 % of a level of shallower nets, whose bands cover"
        f" {100 * shares['relu'][1]:.0f} % of the logarithmic range.",
    )
else:
    run.skip("B7", "No deeper net stalls below the level of the constant output.")
image_constant = float(image_y.var(0, correction=0).mean())
of_images = levels.below_constant(training.stalls_of_nets(image_runs), image_constant)
image_known = levels.of_depths(of_images)
rows = levels.by_net(of_images, image_known)
if rows["value"] and len(image_known[hidden[0]]):
    even = levels.spread_out(of_images, seed)
    run.claim(
        "B7-images",
        trials=Trials(rows),
        nulls={"losses spread evenly": Trials(levels.by_net(even, image_known))},
        requires=[Need("slow periods of deeper nets", sum(rows["periods"]), ">= 10")],
        note=f"The same for {image_seeds} nets of each depth on {images} images ({data}).",
    )
else:
    run.skip("B7-images", "On these images nets stall at the constant output alone.")

# %% [markdown]
# {glue:text}`level-share` of the slow periods of deeper ReLU nets lie in the bands of shallower
# ones, which cover {glue:text}`level-chance` of the range; for ELU {glue:text}`level-elu`, for tanh
# {glue:text}`level-tanh`. Without the level of the constant output, which every depth has for free,
# it is {glue:text}`level-lower` (mean over the nets). (Deeper ELU and tanh nets hardly stall below
# the first level, so that their shares say little.) Against nets of one hidden layer alone it is
# {glue:text}`level-first`: the upper two levels belong to all depths, while on the lower ones nets
# of two and more hidden layers agree with each other and lie apart from those of one. On the images
# the depths that stall at all share one level, the first ({glue:text}`level-images`), which is that
# of a constant output; after it the loss falls without a rest. So there the likeness of the curves
# is weaker than on Iris.
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


# %%
other = meetings.catalogue(null_runs[hidden[0]], polished, iris_x, shuffled)
known = meetings.catalogue(iris_runs[hidden[0]], seeds, iris_x, iris_y)
deeper = {h: iris_runs[h] for h in hidden[1:]}
met = meetings.meetings(deeper, known, other, polished, iris_x, iris_y)
as_rows = meetings.as_rows
on_way = as_rows(met.on_the_way, "hidden", "loss", "distance", "nearest_loss", "linear")
exact = as_rows(met.polished, "hidden", "loss", "distance", "nearest_loss", "layers")
merged = as_rows(met.merged, "loss", "regular", "gradient", "gap")

# %% tags=["hide-input"]
fig, axes = panels.frame(2, 3.3, ratios=(3, 2))
drawing_training.plateaus(axes, hidden, on_way, exact)
run.figure(
    fig,
    "plateaus",
    "Deep ReLU nets on Iris. Left: distance of the output on each plateau from the nearest exact"
    " critical function of shallower nets; circles: the iterate of training, filled if every layer"
    " from the second on is affine up to 1 % of its variance; crosses: polished to an exact"
    " critical point. Right: share of plateaus on which all these layers are affine, by loss.",
    "Left, circles at distances of a few per cent and crosses mostly far below, at a few loss"
    " levels. Right, three bars: high for the two upper groups, low for the lowest.",
    {"iterates": on_way, "exact": exact, "merged": merged},
)

# %% tags=["hide-input"]
same = exact[:, 2] < meetings.SAME
varied = [p for p in met.polished if not p.constant]
match = [float(p.distance < meetings.SAME) for p in varied]
upper = on_way[on_way[:, 1] > 0.05]
lower = on_way[on_way[:, 1] <= 0.05]
run.glue("plateau-levels", np.unique(exact[:, 1].round(5)).tolist(), digits=4)
run.glue("plateau-exact", len(exact))
run.glue("plateau-same", int(same.sum()))
run.glue("plateau-way", float(np.median(on_way[:, 2])), digits=2)
run.glue("plateau-upper", f"{int(upper[:, 4].sum())} of {len(upper)}")
run.glue("plateau-lower", f"{int(lower[:, 4].sum())} of {len(lower)}")
run.glue("plateau-merged", len(merged))
run.glue("plateau-regular", int(merged[:, 1].sum()))
run.glue("plateau-critical", int((merged[:, 2] < 1e-9).sum()))
run.glue("plateau-merge-gap", float(merged[:, 3].max(initial=0)), digits=1)
run.glue("plateau-constant", sum(p.constant for p in met.polished))
run.glue("plateau-varied", len(varied))
run.glue("plateau-matched", int(sum(match)))
seed_of = [f"{p.hidden}.{p.net}" for p in varied]
if varied:
    run.claim(
        "B8",
        trials=Trials({"seed": seed_of, "loss": [p.loss for p in varied], "value": match}),
        nulls={
            "critical functions for shuffled species": Trials(
                {"seed": seed_of, "value": [float(p.null < meetings.SAME) for p in varied]}
            )
        },
        requires=[Need("polished plateaus that are not constant", len(varied), ">= 10")],
        note=f"Of {len(exact)} deep plateaus polished to a gradient below $10^{{-11}}$,"
        f" {len(exact) - len(varied)} are the constant function, which every depth has; of the"
        f" others {int(sum(match))} have the output of a known critical point of a shallower net"
        f" within $10^{{-6}}$ of the spread of the targets. Regular lifts among"
        f" {len(merged)} with exactly linearised layers: {int(merged[:, 1].sum())}.",
    )
else:
    run.skip("B8", "No plateau but that of the constant function could be polished.")
run.claim(
    "B8-layers",
    trials=Trials({"seed": range(len(lower)), "value": lower[:, 4]}, "share"),
    nulls={"plateaus above": Trials({"seed": range(len(upper)), "value": upper[:, 4]}, "share")},
    note="1 where all layers from the second on are affine up to 1 % of their variance, on plateaus"
    " below a loss of 0.05; null: above it.",
)

# %% [markdown]
# Of {glue:text}`plateau-exact` deep plateaus that could be polished, {glue:text}`plateau-same`
# have, to rounding, the output of an exact critical point of a shallower net (losses met:
# {glue:text}`plateau-levels`). But {glue:text}`plateau-constant` of them are the constant function,
# which is critical at every depth and says nothing; of the other {glue:text}`plateau-varied`,
# {glue:text}`plateau-matched` match. Unpolished, the outputs are {glue:text}`plateau-way` from a
# known critical function in the median. On the upper two levels the layers are linearised as the
# theory wants ({glue:text}`plateau-upper` plateaus), on the lower ones only in
# {glue:text}`plateau-lower`: there several layers bend the data.
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

# %%
through = normalisation.through_normalisation(draws)
start = training.small_nets((4, 6, 6, 6, 3), "relu", 10, gain=0.3, seed=seed)
gd = {"steps": 4 * norm_epochs, "lr": 0.1, "records": 400}
plain = descend(start, iris_x, iris_y, **gd)
marks = [0, *np.unique(np.geomspace(1, norm_epochs, 40).astype(int)).tolist()]
normed = descend_normalised(start, iris_x, iris_y, steps=norm_epochs, lr=0.1, records=marks)
share_plain = normalisation.shares_on_way(plain, iris_x)
parts, leave, share_of, judged = (15, 30, 75, 150), {}, {}, {}
for n in parts:
    chosen = normalisation.some_flowers(n, draws)
    fewer = descend(start, iris_x[chosen], iris_y[chosen], **gd)
    leave[n] = normalisation.departures(fewer.steps, fewer.losses)
    share_of[n] = normalisation.shares_on_way(fewer, iris_x[chosen])
    judged[n] = normalisation.shares_on_way(fewer, iris_x).mean(0)

# %% tags=["hide-input"]
control = {
    "other": training.small_nets((4, 6, 6, 6, 3), "relu", 10, gain=0.3, seed=seed + 1),
    "ordinary": training.small_nets((4, 6, 6, 6, 3), "relu", 10, gain=2**0.5, seed=seed),
}
control = {name: descend(net, iris_x, iris_y, **gd) for name, net in control.items()}
again = normalisation.some_flowers(15, more_draws)
again = descend(start, iris_x[again], iris_y[again], **gd)
on_all = {name: normalisation.shares_on_way(r, iris_x).mean(0) for name, r in control.items()}
on_all |= {
    "plain": share_plain.mean(0),
    "again": normalisation.shares_on_way(again, iris_x).mean(0),
}

# %% tags=["hide-input"]
fig, axes = panels.frame(3)
mean_share = normed.share.mean((1, 2))
groups = {
    "plain": (plain.steps, plain.losses, share_plain),
    "normalised": (normed.steps, normed.losses, mean_share),
}
drawing_training.normalisation(axes, groups)
by_size = [float(share_of[n].mean()) for n in parts]
on_150 = [float(judged[n].mean()) for n in parts]
drawing_training.by_size(axes[2], parts, list(leave.values()), by_size)
axes[2].figure.axes[-1].plot(parts, on_150, "d:", color=PURPLE, ms=4)
run.figure(
    fig,
    "normalisation",
    "Nets with three hidden layers on Iris, gradient descent. Left: loss of ten nets with and"
    " without batch normalisation. Middle: share of their hidden neurons that stay in one affine"
    " piece or are constant on the data. Right: epochs to leave the first plateau (solid, median)"
    " and mean linearised share over the training for parts of the data without normalisation, on"
    " the flowers trained on (dashed), and on all 150 (dotted).",
    "Left, plain nets rest on the first plateau for hundreds of epochs, normalised ones fall at"
    " once. Middle, a blue curve high up and a red one at zero. Right, a solid curve nearly level"
    " and above it a dashed one that falls slightly and a dotted one that rises.",
    {
        "epoch": plain.steps,
        "plain": plain.losses,
        "epoch normalised": normed.steps,
        "normalised": normed.losses,
        "share plain": share_plain,
        "share normalised": mean_share,
        "n": parts,
        "leave": torch.stack(list(leave.values())),
        "share": by_size,
        "share on all": on_150,
    },
)

# %% tags=["hide-input"]
left = {n: normalisation.departures(r.steps, r.losses) for n, r in control.items()}
left |= {
    n: normalisation.departures(r.steps, r.losses)
    for n, r in (("plain", plain), ("normed", normed), ("again", again))
}
stay = [float(leave[n].median()) for n in parts]
run.glue("norm-plain", float(left["plain"].median()), digits=2)
run.glue("norm-normed", float(left["normed"].median()), digits=2)
run.glue("norm-ordinary", float(left["ordinary"].median()), digits=2)
run.glue("norm-share", float(share_plain.mean()), digits=2)
run.glue("norm-share-ordinary", float(on_all["ordinary"].mean()), digits=2)
run.glue("size-shares", by_size, digits=2)
run.glue("size-all", on_150, digits=3)
run.glue("size-turn", "falls" if on_150[-1] < on_150[0] else "rises")
run.glue("size-leave", stay, digits=3)


def rows(values: torch.Tensor) -> Trials:
    return Trials(normalisation.by_net(values))


share_normed = normed.share.mean((0, 2))
run.claim(
    "B9",
    trials=rows(share_normed / on_all["plain"]),
    nulls={"no normalisation, another start": rows(on_all["other"] / on_all["plain"])},
    note="Linearised share with normalisation over that without, net by net. Lifts through a"
    f" normalised net: output gap and gradient at most {through:.0e}.",
)
run.claim(
    "B9-length",
    trials=rows(left["normed"] / left["plain"]),
    nulls={"no normalisation, another start": rows(left["other"] / left["plain"])},
    note="Epochs to leave the first plateau with normalisation over those without.",
)
run.claim(
    "B9-control",
    trials=rows(left["ordinary"] / left["plain"]),
    nulls={"another small start": rows(left["other"] / left["plain"])},
    note="Epochs to leave the first plateau from ordinary weights over those from small ones,"
    " without normalisation.",
)

# %% tags=["hide-input"]
run.claim(
    "B10",
    trials=rows(judged[150] - judged[15]),
    nulls={"another 15 flowers": rows(on_all["again"] - judged[15])},
    note="Linearised share on all 150 flowers of nets trained on 150, less that of nets trained on"
    " 15, net by net.",
)
run.claim(
    "B10-length",
    trials=rows(leave[150] / leave[15]),
    nulls={"another 15 flowers": rows(left["again"] / leave[15])},
    note="Epochs to leave the first plateau with 150 flowers over those with 15.",
)

# %% [markdown]
# The first plateau is that of a constant output, of loss $2/9 = 0.222$ for three equally frequent
# species. With normalisation no neuron is ever linearised ({prf:ref}`thm-depth-norm`), and the
# first plateau is gone after {glue:text}`norm-normed` epochs instead of {glue:text}`norm-plain`.
# (From small weights the time on it grows as a power of their size with the number of layers that
# are small {cite}`rawal2026escape`.) But two things change at once: normalised features have unit
# size however small the weights are, so these nets do not start near the zero net. The control
# changes this alone: from weights of deviation $\sqrt{2/\text{inputs}}$ and without normalisation
# the nets leave after {glue:text}`norm-ordinary` epochs, with a linearised share of
# {glue:text}`norm-share-ordinary` against {glue:text}`norm-share`. How much of the effect is due to
# normalisation itself cannot be more than what is left between the two.
#
# More data lower the share of linearised neurons if each net is judged on the flowers it was
# trained on (from left to right {glue:text}`size-shares`). But then the larger sample is the harder
# test: fewer neurons stay in one piece on more points, whatever the net. Judged on the same 150
# flowers, the share {glue:text}`size-turn` with the data ({glue:text}`size-all`). The plateau lasts
# {glue:text}`size-leave` epochs.
#
# ## What was found

# %%
run.claims_table()

# %% [markdown]
# What differs from the paper. Of its figures we know only the first, and of that no setting, so a
# difference in numbers would mean nothing; what can be compared is what it claims, in part as we
# understand it from its abstract. A lifted minimum does not become a strict saddle (B6), except, in
# a one-sided sense, at the boundary of its manifold, and approximately for tanh with more neurons
# than $\mathrm{rank}\, A$. The verdicts on B7 to B10 above come from trials and their nulls.
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
