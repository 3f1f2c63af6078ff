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
# The loss landscape of any fully connected net contains every critical point of every narrower net.
# That is the *embedding principle* {cite}`zhang2021embedding,zhang2022embedding`. It rests on one
# operation, splitting a neuron, and it explains why the training of a wide net stalls at loss
# values, and with outputs, that belong to much narrower nets.
#
# This chapter states the operation and its theorems, checks each of them to rounding error, and
# then redoes every figure of the paper on it, at the paper's own sizes. Some of the printed results
# do not follow from the printed settings; what gives them, as far as we could find it, is said
# where it matters.

# %% tags=["parameters"]
trials: int = 200  # trained nets of each width in Fig. 4, >= 10
epochs: int = 300000  # epochs of gradient descent there, >= 1000
width: int = 500  # hidden neurons of the net of Fig. 1, >= 10
wide_epochs: int = 200000  # epochs of that net, >= 100000
iris_epochs: int = 500000  # epochs of Adam on Iris, >= 1000
escapes: int = 25  # embeddings of each kind to escape from, >= 3
seed: int = 0  # seed of every random draw, >= 0

# %% tags=["hide-input"]
import numpy as np
import torch

from companion import chapter
from companion.sketch import draw_net
from experiments.width import diagram, escape, spectra, theorems, wide_net
from experiments.width.theorems import gaussian
from lib.critical import plant
from lib.nets import flatten, forward, gradient, init, mse
from lib.width import affine_family, append, null_embed, split_spectrum

run = chapter.start("01_width", globals())
from companion import panels  # after start()
from companion.figures import BLUE, GREY, INK, ORANGE, PURPLE, RED, SKY

draws = torch.Generator().manual_seed(seed)


# %% [markdown]
# ## The operation
#
# A net of depth $L$ computes $f^{[0]} = x$, $f^{[l]} = \sigma(W^{[l]} f^{[l-1]} + b^{[l]})$ for
# $l < L$, and $f = W^{[L]} f^{[L-1]} + b^{[L]}$. *Splitting* neuron $s$ of layer $l$ gives it a
# copy with the same input weights and bias, and shares its output weights between the two:
#
# $$
# \mathcal{T}^{\alpha}_{l,s}:\qquad
# W'^{[l]} = \begin{pmatrix} W^{[l]} \\ W^{[l]}_{s,:} \end{pmatrix},\qquad
# W'^{[l+1]}_{:,s} = (1-\alpha)\, W^{[l+1]}_{:,s},\qquad
# W'^{[l+1]}_{:,\mathrm{new}} = \alpha\, W^{[l+1]}_{:,s},
# $$
#
# for any real $\alpha$, also outside $[0, 1]$. In the library this is
# `split(net, layer, neuron, alpha)`.

# %% tags=["hide-input"]
fig, axes = panels.frame(2, 3.2)
both = [((0, k), (1, j)) for k in (0, 1) for j in (2, 3)]
reads = dict.fromkeys(both, INK)
writes = {((1, j), (2, k)): c for j, c in ((2, BLUE), (3, PURPLE)) for k in (0, 1)}
narrow = {edge: INK for edge in reads if edge[1] == (1, 2)} | {
    ((1, 2), (2, k)): INK for k in (0, 1)
}
parts = {((1, 2), (2, 0)): r"$(1-\alpha)\,a$", ((1, 3), (2, 1)): r"$\alpha\,a$"}
draw_net(axes[0], (2, 3, 2), {(1, 2): INK}, narrow, {((1, 2), (2, 1)): "$a$"})
draw_net(axes[1], (2, 4, 2), {(1, 2): BLUE, (1, 3): PURPLE}, reads | writes, parts)
axes[0].set_title("narrow net")
axes[1].set_title("after splitting one neuron")
run.figure(
    fig,
    "splitting",
    "One-step embedding (Fig. 2 of the paper). The black neuron becomes the blue and the purple"
    " one: both read what it read, "
    r"and they write the parts $1-\alpha$ and $\alpha$ of what it wrote.",
    "Two drawings of a small net. In the second, one hidden neuron is replaced by two with equal"
    " input weights, whose output weights are the parts one minus alpha and alpha of the original"
    " ones.",
    {"narrow widths": [2, 3, 2], "wide widths": [2, 4, 2]},
)

# %% [markdown]
# ```{prf:theorem} Criticality is preserved (Zhang et al. 2021, Prop. 1 and Thm 1)
# :label: thm-width-critical
# For every input, every loss, every $\theta$ and every real $\alpha$, the net
# $\mathcal{T}^{\alpha}_{l,s}\theta$ has the output of $\theta$; and if $\nabla R_S(\theta) = 0$
# then $\nabla R_S(\mathcal{T}^{\alpha}_{l,s}\theta) = 0$.
# ```
#
# ```{prf:proof}
# The two copies have equal features, which enter layer $l+1$ with weights that add up to the old
# ones; so all other features, and all errors $e^{[k]}$ (derivatives of the loss by pre-activations)
# outside the pair, stay as they were. The errors of the pair are $(1-\alpha)\,e_s$ and
# $\alpha\,e_s$. Every gradient is an average of error times feature, hence the rows of the pair are
# $1-\alpha$ and $\alpha$ times the old row, the new column of $\nabla W^{[l+1]}$ equals column $s$,
# and all else is unchanged: $\nabla R'(\mathcal{T}\theta) = C\,\nabla R(\theta)$ with a fixed
# matrix $C$. It vanishes with $\nabla R(\theta)$.
# ```
#
# The proof says more than the theorem: the gradient is *transported* at every point, critical or
# not. We check the output, on the sample and a hundred times further out, the transport at random
# points, and the gradient after splitting exact critical points. (`plant` makes any net an exact
# critical point by choosing targets whose residual is orthogonal to all its tangents, so no
# training is involved.)

# %%
errors = theorems.splitting_errors(draws)
print(f"{len(errors.output)} cases of {len(theorems.ACTIVATIONS)} activations")

# %% tags=["hide-input"]
order = sorted(theorems.ACTIVATIONS)
checks = {
    "output": (errors.output, "relative gap"),
    "transport": (errors.transport, "relative gap"),
    "at critical points": (errors.gradient, "gradient $L^1$ norm"),
}
fig, axes = panels.frame(3, 2.7, share="y")
for ax, (title, (values, label)) in zip(axes, checks.items(), strict=True):
    groups = {
        name: [v for v, a in zip(values, errors.activation, strict=True) if a == name]
        for name in order
    }
    panels.strips(ax, groups, floor=1e-18)
    panels.limit(ax, np.finfo(float).eps, "x")
    panels.logarithmic(ax, "x", xlim=(3e-19, 1e-9), title=title, xlabel=label)
run.figure(
    fig,
    "exact",
    r"Splitting preserves outputs and criticality to rounding error, whatever the activation, depth"
    r" (2 to 4), layer and "
    r"$\alpha \in \{-2, 0.3, 1, 4\}$; one dot a case, exact zeros drawn at the left edge. Dashed:"
    r" machine precision.",
    "Three strip plots of rounding errors for five activations; nearly all lie below 1e-13.",
    {
        "activation": [order.index(name) for name in errors.activation],
        "output": errors.output,
        "transport": errors.transport,
        "gradient": errors.gradient,
    },
)

# %% tags=["hide-input"]
run.claim(
    "A1",
    max(errors.output),
    note=f"Largest relative gap over {len(errors.output)} cases, on inputs a hundred times larger"
    " than the data.",
)
run.claim(
    "A2",
    [max(errors.transport), max(errors.gradient)],
    note="Transport at random points; gradient $L^1$ norm after splitting exact critical points.",
)

# %% [markdown]
# ## Families of critical points
#
# ```{prf:theorem} Degeneracy of embedded critical points (Zhang et al. 2021, Thm 2)
# :label: thm-width-family
# If no $W^{[l]}$ of a critical point $\theta$ is zero, then a net with $K$ more neurons has a
# $K$-dimensional affine space of critical points with the output of $\theta$:
# $\{\theta_B + \sum_i \alpha_i v_i\}$, where $\theta_B$ splits with all $\alpha_i = 0$.
# ```
#
# ```{prf:proof}
# Compose splittings. The copies of a neuron $s$ share its output weights in parts that add up to
# one, and every choice of such parts occurs. The weight from a copy of $s$ to a copy of $t$ is the
# part of the former times $W_{ts}$, however $t$ was split, because a copy of $t$ reads all that $t$
# reads. So the wide net is affine in all parts together, and it is critical for all of them by
# {prf:ref}`thm-width-critical`. Each of the $K$ copies has a column of output weights of its own,
# which direction $v_i$ alone moves, and which is not zero if the split neuron writes; since
# $W^{[l+1]} \neq 0$, every layer has such a neuron.
# ```
#
# Along each direction the loss is constant, so each split adds one zero eigenvalue to the Hessian.
# A *silent* neuron (no output weights) adds none this way. Below, four splits give rank four, and
# rank three when one of the split neurons is silent.

# %%
net = init((2, 3, 3, 1), std=0.8, generator=draws)
x = gaussian(draws, 80, 2)
y = plant(net, x, draws)
steps = [(1, 0), (1, 1), (2, 2), (2, 2)]
members = affine_family(net, steps).member(2 * gaussian(draws, 50, 4))
worst = float(flatten(gradient(members, x, y)).abs().sum(-1).max())
nets = (net, theorems.silenced(net, 1, 0))
ranks = [int(affine_family(n, steps).dimension().value) for n in nets]

# %% tags=["hide-input"]
run.claim(
    "A3",
    ranks,
    holds=worst < 1e-12,
    note="Rank of the family, and with one silent neuron; gradient $L^1$ norm of 50 random members"
    f" at most {worst:.1e}.",
)

# %% [markdown]
# The long paper {cite}`zhang2022embedding` describes all embeddings of this kind at once. A
# *general compatible embedding* assigns to each wide neuron a neuron of the narrow net, or none (a
# *null* neuron), multiplies every weight by a coefficient, and is critical if the coefficients
# satisfy a forward and a backward condition. The family then has dimension
#
# $$ K + \sum_{l} K_l K_{l-1}, \qquad K_l = m'_l - m_l , $$
#
# which exceeds the $K$ of {prf:ref}`thm-width-family` as soon as two neighbouring hidden layers are
# widened. We draw random members of the family for $1\text{-}2\text{-}2\text{-}1$ nets and measure
# the rank of its tangent space.

# %%
family = theorems.family_dimensions(draws)

# %% tags=["hide-input"]
fig, (ax,) = panels.frame(height=3.1, width=3.9)
table = np.array(family.found).reshape(5, 5)
panels.share_table(ax, table, top=32)
ax.set(
    xlabel="neurons added to layer 2, $K_2$",
    ylabel="neurons added to layer 1, $K_1$",
    aspect="equal",
    ylim=(-0.5, 4.5),
)
run.figure(
    fig,
    "dimension",
    "Measured tangent dimension of the family of general compatible embeddings of a 1-2-2-1 net, at"
    " a random member. Every entry equals $K_1 + K_2 + K_1 K_2$.",
    "A five by five table of dimensions from 0 to 24.",
    {
        "K1": [k1 for k1, _ in family.added],
        "K2": [k2 for _, k2 in family.added],
        "predicted": family.predicted,
        "measured": family.found,
    },
)
run.claim(
    "A12",
    int(np.abs(np.array(family.found) - family.predicted).max()),
    note="Largest difference between measured and predicted dimension, 25 pairs $(K_1, K_2)$.",
)

# %% [markdown]
# ### Null neurons
#
# The other one-step embedding adds a *null* neuron, which neither reads nor writes. Both zeros are
# needed: a neuron that only fails to write still has a gradient on its output weights, and one that
# only fails to read shifts the output.

# %%
net = init((2, 3, 1), std=0.8, generator=draws)
x = gaussian(draws, 60, 2)
y = plant(net, x, draws)
zero = {d: torch.zeros(d, dtype=torch.float64) for d in (1, 2)}
null = null_embed(net, 1, 0.7)
reads = append(net, 1, gaussian(draws, 2), 0.7, zero[1])
writes = append(net, 1, zero[2], 0.7, gaussian(draws, 1))
norms = [float(flatten(gradient(n, x, y)).abs().sum()) for n in (null, reads, writes)]

# %% tags=["hide-input"]
run.claim(
    "A11",
    holds=norms[0] < 1e-12 and min(norms[1:]) > 1e-3,
    note="Gradient $L^1$ norms: null {:.1e}; reading {:.2g}; writing {:.2g}.".format(*norms),
)

# %% [markdown]
# ## Curvature
#
# ```{prf:theorem} No way back (Zhang et al. 2022, Thm 6.2)
# :label: thm-width-inertia
# Under a critical embedding, the numbers of negative, zero and positive eigenvalues of the Hessian
# never decrease.
# ```
#
# ```{prf:proof}
# Write the embedding as $\theta' = A\theta + c$ with $A$ of full column rank.
# $R'(A\theta + c) = R(\theta)$ for all $\theta$, so $A^\top H' A = H$, and the signed counts of $H$
# are those of $H'$ restricted to a subspace: they cannot exceed the counts of $H'$. This settles
# the negative and positive ones. For the zeros, differentiate the transport of the gradient,
# $\nabla R'(A\theta + c) = C\,\nabla R(\theta)$, which gives $H' A = C H$: the image of $\ker H$
# under $A$ lies in $\ker H'$.
# ```
#
# The second identity is ours: compression alone does not bound the number of zeros. Both hold at
# every $\theta$. We test them on random general compatible embeddings of exact critical points with
# two hidden layers.

# %%
embedded = theorems.embedding_gaps(draws)

# %% tags=["hide-input"]
run.claim(
    "A7",
    max(embedded.gaps),
    holds=all(embedded.kept),
    note="Largest entry of $A^\\top H'A - H$ and $H'A - CH$ over"
    f" {len(embedded.kept) + embedded.unclear} embeddings; counts kept in {sum(embedded.kept)} of"
    f" the {len(embedded.kept)} whose zero eigenvalues stand clear.",
)

# %% [markdown]
# ### From minimum to strict saddle
#
# Embedding can add negative eigenvalues, and then a minimum turns into a saddle that a wider net
# can leave.
#
# ```{prf:theorem} Strict saddles by three-fold splitting (Zhang et al. 2022, Thm 6.3)
# :label: thm-width-saddle
# Let $H = H^{(1)} + H^{(2)} \succeq 0$ at a critical point, with
# $H^{(2)} = \mathbb{E}\sum_i \partial_i \ell\, \nabla^2 f_i$. If $H^{(2)} \neq 0$, three copies of
# the net side by side with output weights $(W, W, -W)$ are a strict saddle.
# ```
#
# ```{prf:proof}
# Take an eigenpair $(\lambda, v)$ of the block of $H^{(2)}$ at the hidden parameters and move the
# three copies by $u = (v/2, v/2, v)$ if $\lambda > 0$, by $(v, -v, 0)$ if $\lambda < 0$. To first
# order the output does not change, so $H^{(1)}$ does not contribute, and $u^\top H' u = -\lambda/2$
# or $2\lambda$: negative.
# ```

# %%
saddles = theorems.strict_saddles(draws)

# %% tags=["hide-input"]
run.claim(
    "A13",
    float(np.abs(np.array(saddles.measured) / saddles.predicted - 1).max()),
    holds=min(saddles.negative) > 0 and max(saddles.measured) < 0,
    note="Relative gap between $u^\\top H' u$ and its prediction at 8 planted minima; negative"
    f" eigenvalues after: {min(saddles.negative)} to {max(saddles.negative)}, before: none.",
)

# %% [markdown]
# ### Beyond plain nets
#
# Two remarks of the papers, checked: in a convolutional net the same splitting acts on *channels*,
# with one $\alpha$ for all kernels that a channel writes to; and for a homogeneous activation such
# as ReLU, rescaling a neuron ($w \to \beta w$, $a \to a/\beta$) adds a zero eigenvalue for every
# neuron that both reads and writes.

# %%
gap, norm = theorems.split_planted_channel(draws)
modes = [v for sigma in ("relu", "leaky_relu") for v in theorems.rescaling_modes(draws, sigma)]

# %% tags=["hide-input"]
run.claim(
    "A15",
    [gap, norm],
    note="Output gap, and gradient $L^1$ norm at a planted critical point after splitting a"
    " channel.",
)
run.claim(
    "A16",
    modes,
    note="Hessian times rescaling direction, and gradient after rescaling by 3; ReLU, then leaky"
    " ReLU, 3 active neurons each.",
)

# %% [markdown]
# ## Hessian spectra of embedded minima
#
# From here on everything is trained. The one-dimensional data of the paper are 50 points of
# $y = \tanh(x-7) + \tanh x + \tanh(x+7)$ on $[-15, 15]$, the nets have one hidden layer of tanh
# neurons with biases and no output bias, and the loss is the mean squared error. (The paper does
# not state data and output bias; they are read off its figures: the dots of Fig. 1 and the number
# of eigenvalues in Fig. 3.)
#
# For Fig. 3(a) a net of width 2 is trained to its minimum and one neuron is split equally into two,
# then three.

# %%
x1, y1 = spectra.three_steps()
two = spectra.width_two_minimum(x1, y1, epochs=epochs, generator=draws)
steps_up = spectra.equal_splits(two.net, x1, y1, (1, 2, 3))


# %% tags=["hide-input"]
SIGNS = {"positive": ("^", RED), "negative": ("v", BLUE), "zero": ("o", GREY)}


def draw_spectra(ax, found, first):
    """|eigenvalue| of each width in order, by sign."""
    for place, at in enumerate(found):
        e = at.eigenvalues.numpy()
        zero = np.abs(e) <= float(at.threshold)
        shown = {"positive": ~zero & (e > 0), "negative": ~zero & (e < 0), "zero": zero}
        across = place + np.linspace(-0.3, 0.3, len(e))
        for kind, (marker, colour) in SIGNS.items():
            size = np.maximum(np.abs(e), 1e-17)[shown[kind]]
            ax.plot(across[shown[kind]], size, marker, color=colour, ms=5)
    panels.limit(ax, 1e-11)
    panels.names(ax, [str(first + k) for k in range(len(found))], "x", 9)
    panels.logarithmic(ax, "y", xlabel="width $m$", ylim=(3e-18, 1e3))


fig, (ax,) = panels.frame(height=3.2, width=4.6)
draw_spectra(ax, steps_up, 2)
panels.keys(ax, SIGNS)
panels.beside(ax)
ax.set_ylabel("|eigenvalue of the Hessian|")
run.figure(
    fig,
    "spectra",
    "Fig. 3(a): Hessian eigenvalues of the width-2 minimum and of its equal splits, in order. Each"
    " added neuron adds one zero eigenvalue and one negative one: the minimum becomes a strict"
    " saddle. The dashed line is the paper's threshold $10^{-11}$.",
    "Three columns of eigenvalues on a logarithmic axis; the first has six positive ones, the"
    " second adds a zero and a negative one, the third two of each.",
    {
        "width": np.repeat([2, 3, 4], [6, 9, 12]),
        "eigenvalue": torch.cat([i.eigenvalues for i in steps_up]),
    },
)
run.glue("width-two-loss", float(two.loss), digits=5)
run.glue("width-two-gradient", float(two.gradient), digits=2)
run.claim(
    "A4",
    [i.counts[1] for i in steps_up],
    note=f"Gradient $L^1$ norm {float(two.gradient):.1e} at the minimum, loss"
    f" {float(two.loss):.6f}.",
)
run.claim("A5", [i.counts[0] for i in steps_up])

# %% [markdown]
# The minimum found has loss {glue:text}`width-two-loss` and a gradient whose $L^1$ norm is
# {glue:text}`width-two-gradient`. (The paper quotes a gradient of $7 \cdot 10^{-15}$ after training
# alone. Its eigenvalues are half of these: it takes the Hessian of half the mean squared error,
# while its losses are of the whole.)
#
# Why one of each? The spectrum after an equal split can be written down. Let $u$ be what the neuron
# reads (with a 1 for its bias), $z$ its pre-activation, $a$ its output weights, $e$ the errors of
# the layer above, and
#
# $$ B = \mathbb{E}\left[(a \cdot e)\, \sigma''(z)\, u u^\top\right], \qquad C =
# \mathbb{E}\left[\sigma'(z)\, u e^\top\right]. $$
#
# ```{prf:theorem} What equal copies add to the spectrum
# :label: thm-width-spectrum
# Split a neuron of layer $l$ into $k$ equal copies. At any $\theta$, critical or not, the Hessian
# $H'$ is orthogonally similar to
#
# $$ D H D \;\oplus\; I_{k-1} \otimes \begin{pmatrix} B/k & C \\ C^\top & 0 \end{pmatrix}, $$
#
# where the diagonal matrix $D$ divides the coordinates of the neuron's input weights and bias by
# $\sqrt{k}$, multiplies those of its output weights by $\sqrt{k}$, and leaves the others. Each copy
# beyond the first therefore adds $\operatorname{rank} C + n_-(B|_{\ker C^\top})$ negative
# eigenvalues and $m_{l+1} - \operatorname{rank} C + n_0(B|_{\ker C^\top})$ zeros. At a critical
# point $C a = 0$, hence $\operatorname{rank} C \le m_{l+1} - 1$ wherever $a \ne 0$.
# ```
#
# ```{prf:proof}
# Permuting the copies is a symmetry, so directions that move all copies alike and directions whose
# parts $(\delta_i, \varepsilon_i)$ on input and output weights add up to zero over the copies do
# not mix. On the former, in orthonormal coordinates, the wide net is the narrow one with input
# weights moved by $\delta / \sqrt{k}$ and output weights by $\sqrt{k}\, \varepsilon$: this is
# $D H D$. On the latter the pre-activations above change by
# $\sum_i \varepsilon_i \sigma'(z)\, \delta_i \cdot u + \frac{a}{2k}\, \sigma''(z) (\delta_i \cdot
# u)^2$ to second order and not at all to first, so the risk changes by $\sum_i \delta_i^\top C
# \varepsilon_i + \frac{1}{2k}\, \delta_i^\top B\, \delta_i$; parts that add up to zero form $k -
# 1$ copies of one space. A quadratic form with the block $\begin{pmatrix} B/k & C \\ C^\top & 0
# \end{pmatrix}$ has $\operatorname{rank} C$ eigenvalues of each sign, and those of $B$ on $\ker
# C^\top$ (Haynsworth). Finally $C a = \mathbb{E}[\sigma'(z) (a \cdot e)\,
# u]$ is the gradient by the neuron's input weights.
# ```
#
# For one output, a critical point has $C = 0$: each copy adds one zero, and as many negative
# eigenvalues as $B$ has. (The matrix $B$ is the one of {cite}`fukumizu2000local`, who treat one
# output.) The split neuron of the width-2 minimum has the counts {glue:text}`width-two-adds` for
# $B$ and $C$ together, which gives the figure's steps. With three outputs, as below, $C$
# generically has rank two, and *two* negative eigenvalues a split are the least that can happen.

# %%
adds = [split_spectrum(two.net, x1, y1, mse, 1, 0).inertia().counts]
run.glue("width-two-adds", str(adds[0]))

# %% [markdown]
# ### Iris
#
# Fig. 3(b) repeats this for Iris: sigmoid nets 4-2-3, Adam at rate 0.02 for 500,000 epochs, every
# parameter drawn with variance $1/m^6$. The paper prints a gradient of $4 \cdot 10^{-13}$ and
# counts of 3, 5, 7 negative and 1, 2, 3 zero eigenvalues at widths 2, 3, 4. We train with these
# settings first.

# %%
flowers, species = run.data("iris", "all")
xi = torch.tensor(flowers, dtype=torch.float64)
yi = torch.eye(3, dtype=torch.float64)[torch.tensor(species)]
start = spectra.iris_start(draws)
iris = spectra.train_iris(start, xi, yi, iris_epochs, records=100)
scaled = [
    spectra.train_iris(start[:2], z, yi, iris_epochs // 5, keep_smallest=False)
    for z in spectra.scaled_inputs(xi)
]

# %% tags=["hide-input"]
run.glue("iris-loss", float(iris.losses[-1].median()), digits=6)
run.glue("iris-gradient", float(iris.smallest_gradient.min()), digits=2)
run.glue("iris-scaled", " and ".join(f"{float(walk.losses[-1].median()):.6f}" for walk in scaled))
reach = flatten(iris.smallest).abs().amax(-1)
shown = {
    "loss − 1/9": iris.smallest_loss - 1 / 9,
    "gradient, $L^1$ norm": iris.smallest_gradient,
    "largest |parameter|": reach,
}
fig, axes = panels.frame(3, 2.7)
for ax, (label, values) in zip(axes, shown.items(), strict=True):
    ax.plot(iris.smallest_step.double().mean(-1), values.abs().clamp_min(1e-17), color=SKY, lw=0.9)
    panels.logarithmic(ax, "x" if values is reach else "xy", xlabel="epoch", ylabel=label)
run.figure(
    fig,
    "iris-training",
    "Six nets trained on Iris with the printed settings. Loss and gradient keep falling while the"
    " parameters keep growing: the nets approach a minimum at infinity, where both neurons are step"
    " functions and the loss is 1/9.",
    "Three panels against the epoch: the loss above one ninth and the gradient fall as power laws,"
    " the largest parameter grows without levelling off.",
    {
        "step": iris.smallest_step,
        "loss": iris.smallest_loss,
        "gradient": iris.smallest_gradient,
        "largest_parameter": reach,
    },
)

# %% [markdown]
# Training does not arrive at a critical point, whether the inputs are raw (above), standardised or
# scaled to $[0, 1]$ (losses {glue:text}`iris-scaled` after a fifth of the epochs). The loss tends
# to 1/9 (here {glue:text}`iris-loss`), the best value of two neurons that have become step
# functions: one species is recognised, the other two share what is left. That infimum is not
# attained; the smallest gradient met is {glue:text}`iris-gradient`, and every eigenvalue that
# belongs to a saturated neuron tends to zero, so counting those below a fixed $10^{-11}$ says when
# training was stopped, not where.
#
# The counts can be checked on Iris all the same, at critical points that exist. Polishing random
# nets of width 1 gives saddles with one negative eigenvalue; we embed them into widths 2, 3 and 4
# by equal splitting. (They are sought with standardised inputs. Moving the change of inputs into
# the first layer gives the same function of the raw ones, critical as well, with the same counts.)

# %%
zi = spectra.scaled_inputs(xi)[0]
ones = spectra.iris_saddles(xi, yi, draws)
embedded = [spectra.equal_splits(net, zi, yi, (1, 2, 3, 4)) for net in ones.nets]
adds += [split_spectrum(net, zi, yi, mse, 1, 0).inertia().counts for net in ones.nets]

# %% tags=["hide-input"]
fig, axes = panels.frame(len(ones.nets), 3.1, share="y")
for ax, level, found_there in zip(axes, ones.losses, embedded, strict=True):
    draw_spectra(ax, found_there, 1)
    ax.set_title(f"loss {level:.5f}", fontsize=9)
axes[0].set_ylabel("|eigenvalue of the Hessian|")
run.figure(
    fig,
    "iris-spectra",
    "Fig. 3(b): Hessian eigenvalues of the width-1 saddles of Iris and of their equal splits, in"
    " order of their loss (red: positive, blue: negative, grey: zero). Each split adds exactly one"
    " zero eigenvalue and the same number of negative ones; at the last saddles that number is two,"
    " and widths 2, 3, 4 have the counts of the paper.",
    "Columns of eigenvalues for widths 1 to 4, one panel for each saddle; zeros lie below 1e-15,"
    " far under the others.",
    {
        f"saddle {i} width {k}": s.eigenvalues
        for i, row in enumerate(embedded)
        for k, s in enumerate(row, start=1)
    },
)

# %% tags=["hide-input"]
counts = [[s.counts[0] for s in row] for row in embedded]
nearest = min(counts, key=lambda c: np.abs(np.subtract(c[1:], [3, 5, 7])).sum())
listed = "; ".join(f"{level:.4f}: {c}" for level, c in zip(ones.losses, counts, strict=True))
steepest = max(float(flatten(gradient(n, xi, yi)).abs().sum()) for n in ones.raw)
run.claim(
    "A6",
    nearest[1:],
    holds=all([s.counts[1] for s in row] == [0, 1, 2, 3] for row in embedded),
    note="At the embedded width-1 saddle that comes nearest. Negative eigenvalues at widths 1 to 4,"
    f" by loss: {listed}. Zeros 0, 1, 2, 3 in every case; gradient on the raw inputs at most"
    f" {steepest:.0e}.",
)
run.claim(
    "A6-training",
    float(iris.smallest_gradient.min()),
    why="The nets approach a minimum at infinity instead.",
    note=f"Smallest gradient $L^1$ norm in six runs of {iris_epochs:,} epochs.",
)
columns = [steps_up, *embedded]
observed = [s.counts for row in columns for s in row]
predicted = [
    spectra.predicted_counts(row[0].counts, add, k)
    for row, add in zip(columns, adds, strict=True)
    for k in range(1, len(row) + 1)
]
run.claim(
    "A19",
    sum(tuple(p) != tuple(o) for p, o in zip(predicted, observed, strict=True)),
    note=f"Predicted inertias that differ from the counted ones, of {len(observed)}.",
)

# %% [markdown]
# The printed counts are there: the saddles of highest loss have 3, 5, 7 negative and 1, 2, 3 zero
# eigenvalues at widths 2, 3, 4. {prf:ref}`thm-width-spectrum` says why the steps are two: three
# outputs give $C$ rank two, and at these saddles $B$ has no negative direction left on
# $\ker C^\top$. So what the paper shows at width 2 is itself the split of a width-1 saddle. How the
# authors' training came to rest there, their settings do not tell: with these, ours passes it by.
#
# ## A diagram of the landscape
#
# For Fig. 4 the paper trains 200 nets of each of the widths 1, 2 and 3, collects the points with a
# gradient below $10^{-10}$, and finds four critical functions besides the constant zero. We train
# the same 600 nets for the same 300,000 epochs. In every slow window of a loss curve we take the
# iterate with the smallest gradient, and the final net, and polish both to an $L^1$ norm of
# $10^{-13}$.

# %%
met = [diagram.meet(x1, y1, m, trials=trials, epochs=epochs, generator=draws) for m in (1, 2, 3)]
for at in met:
    print(f"width {at.width}: {at.windows} slow windows, {at.points}")
run.glue("smallest-gradient-trained", min(at.smallest for at in met), digits=2)

# %% [markdown]
# Gradient descent alone gets nowhere near $10^{-10}$: the smallest gradient $L^1$ norm in all 600
# runs is {glue:text}`smallest-gradient-trained`, because with rate 0.005 the sharpest directions
# keep trembling. So the paper's criterion selects no point at these settings, and polishing is not
# a refinement but necessary. Points that moved far while being polished are dropped, since they
# need not belong to the window they came from.

# %%
functions = diagram.critical_functions(met, x1, y1)
minima = [f for f in functions if f.minimum]
for f in functions:
    found = [f.counts.get(m, 0) for m in (1, 2, 3)]
    print(
        f"loss {f.loss:.6f}, width {f.width}, inertia {f.own}, in width 3 {f.wide}, found {found}"
    )

# %% tags=["hide-input"]
fig, axes = panels.frame(len(functions), 2.5, share="y")
line = diagram.plotted_line()
for ax, f in zip(axes, functions, strict=True):
    ax.plot(x1, y1, ".", color=GREY, ms=3)
    ax.plot(line, forward(f.net, line), color=BLUE if f.minimum else RED)
    ax.set(title=f"{f.loss:.4f}" if f.loss > 1e-9 else "0", xlabel="x")
    text = f"$m_0 = {f.width}$\nzeros {f.wide[1]}\nnegative {f.wide[0]}"
    ax.text(0.05, 0.95, text, transform=ax.transAxes, va="top", fontsize=7.5)
axes[0].set_ylabel("output")
run.figure(
    fig,
    "diagram",
    "Critical functions of the width-3 net, by falling loss (title). $m_0$: width of the narrowest"
    " net that has it; zeros and negative eigenvalues: of the Hessian at an embedding into width 3."
    " Blue: a minimum at width $m_0$; red: a saddle already there. Grey dots: the data.",
    "Panels with the data and the output of each critical function, from a single smooth step to"
    " the exact three-step target.",
    {"x": line[:, 0]}
    | {
        f"loss {f.loss:.6f} number {k}": forward(f.net, line)[:, 0] for k, f in enumerate(functions)
    },
)

# %% tags=["hide-input"]
run.claim(
    "A9",
    [[max(f.loss, 0.0), f.wide[1]] for f in minima],
    note="Loss and degeneracy in width 3 of the functions that are minima at their own width.",
)
run.claim(
    "A9-complete",
    len(functions),
    why="Training also lingers at a saddle that is genuinely of width 2, with loss 0.0896 and one"
    " negative eigenvalue, which the diagram lacks",
    note="Number of distinct critical functions besides the constant zero.",
)

# %% [markdown]
# All four printed functions are there, with the printed losses and degeneracies (the number of
# neurons that embedding adds). A fifth is there too: a saddle of width 2 that is not embedded from
# width 1, and at which many of the width-2 runs linger before they break its symmetry towards one
# of the two mirror minima. (With larger initial parameters further minima exist; the diagram
# belongs to small initialisation.)
#
# ## The wide net
#
# Fig. 1 trains a net of 500 neurons on the same data. The printed loss starts at 5.144, rests
# at 0.105 between about 500 and 40,000 epochs, and ends at $2.4 \cdot 10^{-4}$ after 200,000
# epochs; at the blue dot (epoch 5,000) the output is that of the width-1 minimum, at the orange dot
# (epoch 200,000) that of the width-3 one. First the printed settings: full-batch gradient descent
# with rate 0.005, parameters of variance $1/m^3$.


# %%
wide = wide_net.WideNet(x1, y1, width, wide_epochs, seed)
stated = wide.train(1.5, lr=0.005)
single = wide_net.one_neuron(x1, y1)
run.glue("stated-blue", wide_net.loss_at(stated, 5000))
run.glue("stated-late", wide_net.loss_at(stated, wide_epochs))
run.glue("single-loss", float(single.loss), digits=4)

# %% [markdown]
# The plateau is there: the loss at epoch 5,000 is {glue:text}`stated-blue`, close to the
# {glue:text}`single-loss` of the width-1 minimum. But the net does not leave it: after all epochs
# the loss is still {glue:text}`stated-late`. Nor can the *beginning* of the printed curve come from
# gradient descent out of a tiny initialisation, which must start exponentially slowly. The printed
# loss falls at once and evenly: its first epochs, with $k$ the epoch, follow
#
# $$ -\frac{\mathrm{d}L}{\mathrm{d}k} = 0.0431\,\bigl(1 + 3.7 \cdot 10^{-4} k^2 \bigr) , $$
#
# without a term linear in $k$. A rate of descent that is constant at first means steps of fixed
# size: an adaptive method. If every weight moves by $\eta$ an epoch, the slope of the output,
# $\sum_j a_j w_j$, grows at the rate $\eta \sum_j (|a_j| + |w_j|)$, which fixes the product of
# $\eta$ and the standard deviation; and the curvature appears as soon as the steps have turned the
# weights that began with the wrong sign, after $|w|/\eta$ epochs, which fixes their ratio. Both
# together give $\eta \approx 2 \cdot 10^{-4}$ and a standard deviation near $m^{-3/4} = 0.0095$:
# the *variance* is $m^{-3/2}$, the square root of the stated one.
#
# So we compare optimisers and initialisations with the printed curve, by the mean of $|\log_{10}|$
# of the loss ratio over log-spaced epochs.

# %%
printed = run.printed("zhang2021-fig1a")
curve = wide_net.PrintedCurve.read(printed, wide_epochs)
walks = {
    name: wide.train(power, seeds=4 if name == wide_net.CLOSEST else 1, **settings)
    for name, (power, settings) in wide_net.SETTINGS.items()
}
close = walks[wide_net.CLOSEST]
apart = [curve.distance(close, k) for k in range(4)]
best = int(np.argmin(apart))
scores = {name: curve.distance(walk) for name, walk in walks.items()}
scores[wide_net.CLOSEST] = apart[best]

# %% tags=["hide-input"]
for name, score in scores.items():
    print(f"{score:6.3f}  {name.replace('$', '')}")
print("all four seeds of the last:", [round(v, 3) for v in apart])
left = [int(close.steps[(close.losses[:, k] < 0.09).nonzero()[0, 0]]) for k in range(4)]
run.glue("departures", f"{min(left):,} to {max(left):,}")

# %% [markdown]
# Precision is not the reason: over the first 500 epochs, the fall and the shoulder, the same
# training in single precision, with PyTorch's own Adam, has losses within
# {glue:text}`precision-gap` of these. (This also checks `descend` against code that it shares
# nothing with.)

# %%
run.glue("precision-gap", f"{100 * wide_net.single_precision_gap(wide):.2g} %")

# %% tags=["hide-input"]
fig, axes = panels.frame(2, 3.3, share="y", ratios=(3, 2))
for ax in axes:
    ax.plot(printed["epoch"], printed["loss"], color=INK, lw=5, alpha=0.35, label="printed")
    for k in range(4):
        shown = (
            {"lw": 1.3, "label": "Adam, short memory"} if k == best else {"lw": 0.6, "alpha": 0.5}
        )
        ax.plot(close.steps + 1, close.losses[:, k], color=BLUE, **shown)
    ax.plot(stated.steps + 1, stated.losses[:, 0], color=RED, lw=1.2, label="GD, as stated")
    panels.limit(ax, float(single.loss), style=":")
    ax.set_xlabel("epoch")
axes[0].plot([5000, 2e5], [0.105, 2.4e-4], "o", color=INK, ms=6, zorder=5)
panels.logarithmic(axes[0], ylabel="loss", ylim=(3e-5, 10), title="whole training")
axes[1].set(xlim=(0, 400), title="first 400 epochs")
axes[0].legend(loc="lower left")
run.figure(
    fig,
    "loss",
    "Fig. 1(a): the printed loss of the width-500 net (broad grey; dots: the two marked epochs),"
    " full-batch gradient descent as stated (red), and Adam with short memory from standard"
    " deviation $m^{-3/4}$ (blue, four seeds). Dotted: loss of the width-1 minimum.",
    "Loss against epoch. The red curve stays on the plateau at 0.1; grey and blue fall together to"
    " the plateau within 300 epochs, leave it near epoch 40,000, pause near 0.065 and drop below"
    " 0.001.",
    {
        "epoch": close.steps,
        "adam": close.losses[:, best],
        "stated_epoch": stated.steps,
        "stated": stated.losses[:, 0],
        "printed_epoch": printed["epoch"],
        "printed": printed["loss"],
    },
)

# %% tags=["hide-input"]
early, late = wide_net.nearest_iterate(close, 5000, best), close.net[best]
pairs = {
    "blue dot, epoch 5,000": (early, single.net),
    f"end, epoch {wide_epochs:,}": (late, functions[-1].net),
}
fig, axes = panels.frame(2, 2.9, share="y")
for ax, (title, (net, other)) in zip(axes, pairs.items(), strict=True):
    ax.plot(x1, y1, ".", color=GREY, ms=4, label="data")
    ax.plot(line, forward(net, line), color=RED, label=f"width {width}")
    label = f"width-{other.widths[1]} minimum"
    ax.plot(line, forward(other, line), color=INK, ls="--", lw=1.2, label=label)
    ax.set(xlabel="x", title=title)
    ax.legend(fontsize=8)
axes[0].set_ylabel("output")
run.figure(
    fig,
    "outputs",
    "Fig. 1(b, c): outputs of the wide net (red) on the plateau and at the end, with the minima of"
    " width 1 and width 3 (dashed). On the plateau the net of 500 neurons computes what one neuron"
    " computes.",
    "Two panels; in both the red curve lies on the dashed one: a single smooth step on the left, a"
    " three-step staircase on the right.",
    {
        "x": line[:, 0],
        "plateau": forward(early, line)[:, 0],
        "end": forward(late, line)[:, 0],
        "width 1": forward(single.net, line)[:, 0],
    },
)

# %% tags=["hide-input"]
shift = [wide_net.output_distance(*pair, x1) for pair in pairs.values()]
gap = wide_net.output_distance(wide_net.nearest_iterate(stated, 5000), single.net, x1)
end = wide_net.loss_at(close, wide_epochs, best)
ends = [scores[wide_net.STATED], min(scores.values())]
for name, value in zip(
    ("score-stated", "score-best", "plateau-shift", "end-shift", "best-end"),
    (*ends, *shift, end),
    strict=True,
):
    run.glue(name, value, digits=2)
run.claim(
    "A8",
    wide_net.loss_at(stated, 5000),
    holds=gap < 0.15,
    note="Root mean square distance of its output there from that of the width-1 minimum:"
    f" {gap:.2g}.",
)
run.claim(
    "A8-end",
    wide_net.loss_at(stated, wide_epochs),
    why="Gradient descent at the stated rate stays on the plateau and then oscillates at the edge"
    " of stability; Adam with short memory from a larger initialisation does give the printed"
    " curve",
    note=f"The closest setting ends at {end:.2g}.",
)
run.claim(
    "A18",
    ends,
    why="The printed settings do not give the printed curve",
    note="Mean $|\\log_{10}|$ of the loss ratio over log-spaced epochs: as stated, and for the"
    " closest setting.",
)

# %% [markdown]
# One setting of the nine follows the printed curve through all its stages, the fall, the shoulder
# at 0.17, the plateau, the departure near epoch 40,000, the pause near 0.065 and the final power
# law: Adam with rate $1.9 \cdot 10^{-4}$, a memory of about two epochs ($\beta_1 = \beta_2 = 0.5$),
# and standard deviation $m^{-3/4}$. Its distance is {glue:text}`score-best` decades on average,
# that of the stated setting {glue:text}`score-stated`. Both changes are needed: with the default
# memory the second-moment estimate remembers the large first gradients and the shoulder lasts ten
# times too long; from the stated initialisation the start is wrong.
#
# What remains undetermined: other short memories come close (see the list above), the departure
# from the plateau varies with the seed, over four seeds from {glue:text}`departures` epochs, and
# the closest of these four ends at {glue:text}`best-end` where the paper prints
# $2.4 \cdot 10^{-4}$. We do not know what the authors ran; we know that it was not plain gradient
# descent at a fixed rate from variance $1/m^3$.
#
# The conclusion of the figure stands in either case. On the plateau the wide net's output differs
# from the width-1 minimum by {glue:text}`plateau-shift` (root mean square), at the end from the
# width-3 minimum by {glue:text}`end-shift`.
#
# %% [markdown]
# ## Leaving a plateau
#
# Beyond the paper: how much do the negative eigenvalues help? We embed the width-1 minimum into
# widths 2 and 3 with many different shares, step a distance $\varepsilon$ along the most negative
# eigenvector, and let gradient descent (at a rate small enough to follow the gradient flow) leave.
# If the Hessian tells the story, the amplitude grows like $\varepsilon e^{|\lambda| t}$ in the time
# $t = \eta \cdot \text{epochs}$, and the loss has fallen by $\delta$ after
#
# $$ t^\ast = \frac{1}{2 |\lambda|} \ln\frac{2 \delta}{|\lambda|\, \varepsilon^2} , $$
#
# with nothing fitted.

# %%
found = {
    (m, inside): escape.escape_times(
        single.net, x1, y1, escape.draw_shares(draws, m, escapes, inside=inside)
    )
    for m in (2, 3)
    for inside in (True, False)
}

# %% tags=["hide-input"]
fig, axes = panels.frame(2, 3.1)
for (m, inside), at in found.items():
    colour, marker = {2: BLUE, 3: ORANGE}[m], "o" if inside else "^"
    label = f"width {m}, shares " + ("in [0, 1]" if inside else "outside")
    for ax, across in zip(axes, (at.eigenvalue, at.predicted), strict=True):
        ax.plot(across, at.measured, marker, color=colour, ms=4, alpha=0.8, label=label)
columns = {
    "width": [m for (m, _), at in found.items() for _ in at.measured],
    "shares_inside": [float(inside) for (_, inside), at in found.items() for _ in at.measured],
    "eigenvalue": -torch.cat([at.eigenvalue for at in found.values()]),
    "predicted": torch.cat([at.predicted for at in found.values()]),
    "measured": torch.cat([at.measured for at in found.values()]),
}
panels.equality(axes[1], columns["predicted"])
lambdas = r"$|\lambda|$, most negative eigenvalue"
panels.logarithmic(axes[0], xlabel=lambdas, ylabel="escape time $t$ (rate × epochs)")
panels.logarithmic(axes[1], xlabel="predicted $t^*$", ylabel="measured $t$")
axes[0].legend(fontsize=7.5)
run.figure(
    fig,
    "escape",
    "Time to leave the plateau of the width-1 minimum after embedding it into widths 2 and 3 with"
    " random shares. Left: against the most negative eigenvalue that the embedding made. Right:"
    " against the prediction $t^*$, nothing fitted; the line is equality.",
    "Two log-log plots: escape times fall as the inverse of the eigenvalue over three decades, and"
    " lie on the line of equality with the prediction.",
    columns,
)
run.glue("escape-slowest", float(columns["measured"].max()), digits=3)
run.glue("escape-fastest", float(columns["measured"].min()), digits=3)
ratio = (columns["measured"] / columns["predicted"]).numpy()
run.claim(
    "A17",
    float(np.median(ratio)),
    holds=bool(np.isfinite(ratio).all() and np.abs(ratio - 1).max() < 0.25),
    note=f"Median over {len(ratio)} embeddings; smallest {ratio.min():.3f}, largest"
    f" {ratio.max():.3f}.",
)

# %% [markdown]
# The linear theory is exact enough to be used: the measured time is the predicted one over the
# whole range, from {glue:text}`escape-fastest` to {glue:text}`escape-slowest`. The share matters
# far more than the width. With shares between 0 and 1 the curvature that embedding adds is weak,
# and leaving takes hundreds of times longer than with shares of opposite signs. Small
# initialisation leads to condensed neurons of equal sign, that is to shares inside $[0, 1]$, and
# hence to the long plateaus of Fig. 1.
#
# ## What was found

# %%
run.claims_table()

# %% [markdown]
# ### To run this chapter with other parameters
#
# ```
# make chapter CH=01_width P="trials=50 epochs=100000 seed=3"
# ```
#
# or with papermill alone, on the notebook that the build leaves beside the executed one. The
# parameters, their types and ranges are in the first code cell.

# %%
run.provenance()
