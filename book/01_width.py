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
# # Embedding critical points in width
#
# The loss landscape of any fully connected net contains every critical point of every narrower net. That is the
# *embedding principle* {cite}`zhang2021embedding,zhang2022embedding`. It rests on one operation, splitting a neuron, and it
# explains why the training of a wide net stalls at loss values, and with outputs, that belong to much narrower nets.
#
# This chapter states the operation and its theorems, checks each of them to rounding error, and then redoes every figure
# of the paper on it, at the paper's own sizes. Two of the printed results do not follow from the printed settings; what
# does give them is found below and said where it matters.

# %% tags=["parameters"]
trials: int = 200           # trained nets of each width in the diagram of critical points, >= 10
epochs: int = 300000        # epochs of gradient descent in that diagram, >= 1000
width: int = 500            # hidden neurons of the wide net of Fig. 1, >= 10
wide_epochs: int = 200000   # epochs of the wide net, >= 20000
iris_epochs: int = 500000   # epochs of Adam on Iris, >= 1000
escapes: int = 25           # embeddings of each width that leave the plateau, >= 3
seed: int = 0               # seed of every random draw, >= 0

# %%
import itertools

import matplotlib.pyplot as plt
import numpy as np
import torch

from lib.book import chapter
from lib.book.figures import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, SKY
from lib.book.sketch import draw_net
from lib.certificate import certify
from lib.critical import polish
from lib.curvature import hessian, inertia
from lib.descent import descend
from lib.mlp import MLP, flatten, forward, init, stack, unflatten
from lib.planted import plant
from lib.risk import gradient, risk
from lib.width import (
    affine_family,
    append,
    embedding,
    general_dimension,
    null_embed,
    random_embedding,
    rescale,
    split,
    split_into,
    tangent_dimension,
)
from lib.width.channels import split_channel
from lib.width.saddle import saddle_witness

run = chapter.start("01_width", globals())
draws = torch.Generator().manual_seed(seed)


def gaussian(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=draws, dtype=torch.float64)


# %% [markdown]
# ## The operation
#
# A net of depth $L$ computes $f^{[0]} = x$, $f^{[l]} = \sigma(W^{[l]} f^{[l-1]} + b^{[l]})$ for $l < L$, and
# $f = W^{[L]} f^{[L-1]} + b^{[L]}$. *Splitting* neuron $s$ of layer $l$ gives it a copy with the same input weights and
# bias, and shares its output weights between the two:
#
# $$
# \mathcal{T}^{\alpha}_{l,s}:\qquad
# W'^{[l]} = \begin{pmatrix} W^{[l]} \\ W^{[l]}_{s,:} \end{pmatrix},\qquad
# W'^{[l+1]}_{:,s} = (1-\alpha)\, W^{[l+1]}_{:,s},\qquad
# W'^{[l+1]}_{:,\mathrm{new}} = \alpha\, W^{[l+1]}_{:,s},
# $$
#
# for any real $\alpha$, also outside $[0, 1]$. In the library this is `split(net, layer, neuron, alpha)`.

# %%
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.2))
into = {((0, k), (1, 2)): INK for k in (0, 1)} | {((0, k), (1, 3)): INK for k in (0, 1)}
out = {((1, j), (2, k)): c for j, c in ((2, BLUE), (3, PURPLE)) for k in (0, 1)}
draw_net(axes[0], (2, 3, 2), {(1, 2): INK}, into | {((1, 2), (2, k)): INK for k in (0, 1)}, {((1, 2), (2, 1)): "$a$"})
draw_net(
    axes[1],
    (2, 4, 2),
    {(1, 2): BLUE, (1, 3): PURPLE},
    into | out,
    {((1, 2), (2, 0)): r"$(1-\alpha)\,a$", ((1, 3), (2, 1)): r"$\alpha\,a$"},
)
axes[0].set_title("narrow net")
axes[1].set_title("after splitting one neuron")
run.figure(
    fig,
    "splitting",
    "One-step embedding (Fig. 2 of the paper). The black neuron becomes the blue and the purple one: both read what it read, "
    r"and they write the parts $1-\alpha$ and $\alpha$ of what it wrote.",
    "Two drawings of a small net. In the second, one hidden neuron is replaced by two with equal input weights, whose "
    "output weights are the parts one minus alpha and alpha of the original ones.",
    {"narrow widths": [2, 3, 2], "wide widths": [2, 4, 2]},
)

# %% [markdown]
# ```{prf:theorem} Criticality is preserved (Zhang et al. 2021, Prop. 1 and Thm 1)
# :label: thm-width-critical
# For every input, every loss, every $\theta$ and every real $\alpha$, the net $\mathcal{T}^{\alpha}_{l,s}\theta$ has the output of
# $\theta$; and if $\nabla R_S(\theta) = 0$ then $\nabla R_S(\mathcal{T}^{\alpha}_{l,s}\theta) = 0$.
# ```
#
# ```{prf:proof}
# The two copies have equal features, which enter layer $l+1$ with weights that add up to the old ones; so all other
# features, and all errors $e^{[k]}$ (derivatives of the loss by pre-activations) outside the pair, stay as they were. The errors
# of the pair are $(1-\alpha)\,e_s$ and $\alpha\,e_s$. Every gradient is an average of error times feature, hence the rows of the
# pair are $1-\alpha$ and $\alpha$ times the old row, the new column of $\nabla W^{[l+1]}$ equals column $s$, and all else is
# unchanged: $\nabla R'(\mathcal{T}\theta) = C\,\nabla R(\theta)$ with a fixed matrix $C$. It vanishes with $\nabla R(\theta)$.
# ```
#
# The proof says more than the theorem: the gradient is *transported* at every point, critical or not. We check the output, on
# the sample and a hundred times further out, the transport at random points, and the gradient after splitting exact
# critical points. (`plant` makes any net an exact critical point by choosing targets whose residual is orthogonal to all its
# tangents, so no training is involved.)

# %%
x, far = gaussian(60, 3), 100 * gaussian(60, 3)
rows = []
for sigma, depth in itertools.product(("tanh", "sigmoid", "relu", "leaky_relu", "elu"), (2, 3, 4)):
    net = init((3, *[4] * (depth - 1), 2), sigma, std=0.7, generator=draws)
    y_any, y_critical = gaussian(60, 2), plant(net, x, draws)
    for layer, alpha in itertools.product(range(1, depth), (-2.0, 0.3, 1.0, 4.0)):
        op = embedding(net, [(layer, 1, alpha)])
        free = certify(net, None, x, y_any, embedding=op, off_sample=far, curvature=False)
        critical = certify(net, None, x, y_critical, embedding=op, curvature=False)
        scale = float(forward(net, far).abs().max()), float(free.gradient_before)
        rows.append((sigma, float(free.off_sample_gap) / scale[0], float(free.transport_gap) / scale[1], float(critical.gradient_after)))

# %%
checks = {"output, relative": 1, "gradient transport, relative": 2, "gradient at critical points, $L^1$ norm": 3}
fig, axes = plt.subplots(1, 3, figsize=(7.2, 2.7), sharey=True)
names = sorted({r[0] for r in rows})
for ax, (title, column) in zip(axes, checks.items(), strict=True):
    for place, name in enumerate(names):
        values = np.array([r[column] for r in rows if r[0] == name])
        ax.plot(np.maximum(values, 1e-18), place + np.linspace(-0.25, 0.25, len(values)), ".", ms=4, alpha=0.6)
    ax.axvline(np.finfo(float).eps, color=GREY, lw=1, ls="--")
    ax.set(xscale="log", xlim=(3e-19, 1e-9), title=title.split(",")[0], xlabel=title.split(", ")[1])
axes[0].set_yticks(range(len(names)), names)
run.figure(
    fig,
    "exact",
    r"Splitting preserves outputs and criticality to rounding error, whatever the activation, depth (2 to 4), layer and "
    r"$\alpha \in \{-2, 0.3, 1, 4\}$; one dot a case, exact zeros drawn at the left edge. Dashed: machine precision.",
    "Three strip plots of rounding errors for five activations; nearly all lie below 1e-13.",
    {"activation": [names.index(r[0]) for r in rows], "output": [r[1] for r in rows], "transport": [r[2] for r in rows], "gradient": [r[3] for r in rows]},
)

# %%
run.claim("A1", max(r[1] for r in rows), note=f"Largest relative gap over {len(rows)} cases, on inputs a hundred times larger than the data.")
run.claim("A2", [max(r[2] for r in rows), max(r[3] for r in rows)], note="Transport at random points; gradient $L^1$ norm after splitting exact critical points.")

# %% [markdown]
# ## Families of critical points
#
# ```{prf:theorem} Degeneracy of embedded critical points (Zhang et al. 2021, Thm 2)
# :label: thm-width-family
# If no $W^{[l]}$ of a critical point $\theta$ is zero, then a net with $K$ more neurons has a $K$-dimensional affine space of
# critical points with the output of $\theta$: $\{\theta_B + \sum_i \alpha_i v_i\}$, where $\theta_B$ splits with all $\alpha_i = 0$.
# ```
#
# ```{prf:proof}
# $\mathcal{T}^{\alpha} = \mathcal{T} + \alpha \mathcal{V}$ is affine in $\alpha$, and a composition of splittings at neurons of the *narrow* net is
# affine in all $\alpha_i$ together up to products that change no rank at $\theta_B$. $v_i$ is non-zero exactly when the split neuron has
# a non-zero output weight; the $v_i$ of different copies live on different coordinates, so they are independent.
# ```
#
# Along each direction the loss is constant, so each split adds one zero eigenvalue to the Hessian. A *silent* neuron (no
# output weights) adds none this way. Below, four splits give rank four, and rank three when one of the split neurons is silent.

# %%
net = init((2, 3, 3, 1), std=0.8, generator=draws)
x = gaussian(80, 2)
y = plant(net, x, draws)
quiet = MLP((net.weights[0], net.weights[1] * torch.tensor([0.0, 1, 1], dtype=torch.float64), net.weights[2]), net.biases)
steps = [(1, 0), (1, 1), (2, 2), (2, 2)]
family = affine_family(net, steps)
members = family.member(2 * gaussian(50, 4))
worst = float(flatten(gradient(members, x, y)).abs().sum(-1).max())
ranks = [int(affine_family(n, steps).dimension().value) for n in (net, quiet)]
run.claim("A3", ranks, holds=worst < 1e-12, note=f"Rank of the family, and with one silent neuron; gradient $L^1$ norm of 50 random members at most {worst:.1e}.")

# %% [markdown]
# The long paper {cite}`zhang2022embedding` describes all embeddings of this kind at once. A *general compatible embedding* assigns to each wide
# neuron a neuron of the narrow net, or none (a *null* neuron), multiplies every weight by a coefficient, and is critical if
# the coefficients satisfy a forward and a backward condition. The family then has dimension
#
# $$ K + \sum_{l} K_l K_{l-1}, \qquad K_l = m'_l - m_l , $$
#
# which exceeds the $K$ of {prf:ref}`thm-width-family` as soon as two neighbouring hidden layers are widened. We draw random
# members of the family for $1\text{-}2\text{-}2\text{-}1$ nets and measure the rank of its tangent space.

# %%
sizes = list(itertools.product(range(5), repeat=2))
net = init((1, 2, 2, 1), generator=draws)
predicted, found = [], []
for k1, k2 in sizes:
    wide = (1, 2 + k1, 2 + k2, 1)
    predicted.append(general_dimension(net.widths, wide))
    found.append(int(tangent_dimension(random_embedding(net, wide, draws), net).value))

# %%
fig, ax = plt.subplots(figsize=(3.9, 3.1))
image = ax.imshow(np.array(found).reshape(5, 5), origin="lower", cmap="Blues", vmin=0, vmax=max(found) * 1.3)
for (k1, k2), p, f in zip(sizes, predicted, found, strict=True):
    ax.text(k2, k1, str(f) if p == f else f"{f} ≠ {p}", ha="center", va="center", color=INK)
ax.set(xlabel="neurons added to layer 2, $K_2$", ylabel="neurons added to layer 1, $K_1$", xticks=range(5), yticks=range(5))
ax.grid(False)
run.figure(
    fig,
    "dimension",
    "Measured tangent dimension of the family of general compatible embeddings of a 1-2-2-1 net, at a random member. "
    "Every entry equals $K_1 + K_2 + K_1 K_2$.",
    "A five by five table of dimensions from 0 to 24.",
    {"K1": [s[0] for s in sizes], "K2": [s[1] for s in sizes], "predicted": predicted, "measured": found},
)
run.claim("A12", int(np.abs(np.array(found) - predicted).max()), note="Largest difference between measured and predicted dimension, 25 pairs $(K_1, K_2)$.")

# %% [markdown]
# ### Null neurons
#
# The other one-step embedding adds a *null* neuron, which neither reads nor writes. Both zeros are needed: a neuron that
# only fails to write still has a gradient on its output weights, and one that only fails to read shifts the output.

# %%
net = init((2, 3, 1), std=0.8, generator=draws)
x = gaussian(60, 2)
y = plant(net, x, draws)
both = null_embed(net, 1, 0.7)
reads = append(net, 1, gaussian(2), 0.7, torch.zeros(1, dtype=torch.float64))
writes = append(net, 1, torch.zeros(2, dtype=torch.float64), 0.7, gaussian(1))
norms = [float(flatten(gradient(n, x, y)).abs().sum()) for n in (both, reads, writes)]
run.claim("A11", holds=norms[0] < 1e-12 and min(norms[1:]) > 1e-3, note=f"Gradient $L^1$ norms: null {norms[0]:.1e}; reading {norms[1]:.2g}; writing {norms[2]:.2g}.")

# %% [markdown]
# ## Curvature
#
# ```{prf:theorem} No way back (Zhang et al. 2022, Thm 6.2)
# :label: thm-width-inertia
# Under a critical embedding, the numbers of negative, zero and positive eigenvalues of the Hessian never decrease.
# ```
#
# ```{prf:proof}
# Write the embedding as $\theta' = A\theta + c$ with $A$ of full column rank. $R'(A\theta + c) = R(\theta)$ for all $\theta$, so $A^\top H' A = H$, and the
# signed counts of $H$ are those of $H'$ restricted to a subspace: they cannot exceed the counts of $H'$. This settles the negative and
# positive ones. For the zeros, differentiate the transport of the gradient, $\nabla R'(A\theta + c) = C\,\nabla R(\theta)$, which
# gives $H' A = C H$: the image of $\ker H$ under $A$ lies in $\ker H'$.
# ```
#
# The second identity is ours: compression alone does not bound the number of zeros. Both hold at every $\theta$. We test them on
# random general compatible embeddings of exact critical points with two hidden layers.

# %%
gaps, kept, lines = [], [], []
for trial in range(12):
    net = init((2, 2, 2, 1), std=0.8, generator=draws)
    x = gaussian(60, 2)
    y = plant(net, x, draws, residual=0.5)
    c = certify(net, None, x, y, embedding=random_embedding(net, (2, 3 + trial % 2, 3, 1), draws))
    gaps += [float(c.compression_gap), float(c.intertwining_gap)]
    kept.append(bool(c.inertia_kept) and int(c.found_zeros) >= int(c.predicted_zeros))
    lines.append((*c.inertia_before.counts, *c.inertia_after.counts))

run.claim("A7", max(gaps), holds=all(kept), note=f"Largest entry of $A^\\top H'A - H$ and $H'A - CH$ over 12 embeddings; counts kept in {sum(kept)} of 12.")

# %% [markdown]
# ### From minimum to strict saddle
#
# Embedding can add negative eigenvalues, and then a minimum turns into a saddle that a wider net can leave.
#
# ```{prf:theorem} Strict saddles by three-fold splitting (Zhang et al. 2022, Thm 6.3)
# :label: thm-width-saddle
# Let $H = H^{(1)} + H^{(2)} \succeq 0$ at a critical point, with $H^{(2)} = \mathbb{E}\sum_i \partial_i \ell\, \nabla^2 f_i$. If $H^{(2)} \neq 0$, three copies of the
# net side by side with output weights $(W, W, -W)$ are a strict saddle.
# ```
#
# ```{prf:proof}
# Take an eigenpair $(\lambda, v)$ of the block of $H^{(2)}$ at the hidden parameters and move the three copies by $u = (v/2, v/2, v)$ if $\lambda > 0$, by
# $(v, -v, 0)$ if $\lambda < 0$. To first order the output does not change, so $H^{(1)}$ does not contribute, and
# $u^\top H' u = -\lambda/2$ or $2\lambda$: negative.
# ```

# %%
predicted, measured, before, after = [], [], [], []
while len(predicted) < 8:  # exact minima: keep the planted points without negative eigenvalues
    net = init((2, 3, 1), generator=draws)
    x = gaussian(60, 2)
    y = plant(net, x, draws, residual=0.03)
    if inertia(hessian(net, x, y)).counts[0]:
        continue
    witness = saddle_witness(net, x, y)
    wide = witness.embedding(net)
    h, u = hessian(wide, x, y), flatten(witness.direction)
    predicted.append(float(witness.curvature))
    measured.append(float(u @ h @ u))
    after.append(inertia(h).counts[0])

run.claim(
    "A13",
    float(np.abs(np.array(measured) / predicted - 1).max()),
    holds=min(after) > 0 and max(measured) < 0,
    note=f"Relative gap between $u^\\top H' u$ and its prediction at 8 planted minima; negative eigenvalues after: {min(after)} to {max(after)}, before: none.",
)

# %% [markdown]
# ### Beyond plain nets
#
# Two remarks of the papers, checked: in a convolutional net the same splitting acts on *channels*, with one $\alpha$ for all
# kernels that a channel writes to; and for a homogeneous activation such as ReLU, rescaling a neuron
# ($w \to \beta w$, $a \to a/\beta$) adds a zero eigenvalue for every neuron that both reads and writes.

# %%
net = torch.nn.Sequential(
    torch.nn.Conv2d(1, 3, 3, padding=1), torch.nn.Tanh(), torch.nn.MaxPool2d(2), torch.nn.Conv2d(3, 2, 3), torch.nn.Tanh(),
    torch.nn.Flatten(), torch.nn.Linear(8, 2),
).double()  # fmt: skip
images = gaussian(200, 1, 8, 8)
torch.nn.init.normal_(net[0].weight, std=0.5, generator=draws)
