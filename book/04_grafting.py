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
# # Neural network grafting
#
# Two nets of one architecture, trained from different random initial weights, have weights that no reordering of their
# channels brings together. Do they nevertheless compute the same features? Gu et al. {cite}`gu2020convex` ask it in a way that
# only counts what matters for the rest of the net: cut both nets after layer $l$, put the first layers of one in front of the last
# layers of the other, and refit nothing but the one layer at the joint. If the hybrid still classifies, then the features of the
# first net can stand in for those of the second. They call it *neural network grafting*, and conclude from it that training
# follows one path in the space of feature distributions, whatever path the weights take.
#
# The authors train the joint by Adam. But a joint is linear in its weights, so matching it is a linear least-squares problem, and
# we solve it exactly: one pass over the data for all layers at once. Every figure of the paper on grafting is redone below,
# with the controls that it lacks: an untrained first net, random features, and a joint that nothing matched.

# %% tags=["parameters"]
data: str = "digits"            # images, one of digits, cifar10
images: int = 1437              # training images, >= 256
tested: int = 360               # test images, >= 100
fitted: int = 1437              # training images on which joints are matched, >= 256
width: float = 0.0625           # width multiplier of VGG-16; 1 is the paper's, in (0, 2]
replicas: int = 3               # nets of each initialiser, >= 2
epochs: int = 40                # epochs of training, >= 10
batch: int = 32                 # images in a minibatch, >= 8
rate: float = 0.02              # learning rate after warm-up, in (0, 1]
milestones: list[int] = [30]    # epochs after which the rate falls by a factor 5, >= 1
pad: int = 2                    # pixels that random crops move an image, >= 0
flip: bool = False              # mirror half of the training images; digits do not survive it
widths: list[float] = [0.03125, 0.125]  # further widths, in (0, 2]
penalties: list[float] = [0.0, 4.0]     # further weights of the l_{1,2} penalty, whose own is 1, >= 0
side_epochs: int = 40           # epochs of those further nets, >= 10
rival_steps: int = 44           # minibatches an epoch of Algorithm 1, six epochs, >= 1
device: str = "cpu"             # where tensors live, one of cpu, cuda
store: str = ""                 # folder that keeps finished stages, so that a long run resumes; empty for none
minutes: float = 8.5            # training time of one stage with a store, > 0
seed: int = 0                   # seed of every random draw, >= 0

# %% tags=["hide-input"]
import itertools
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from lib.align import aligned_distance
from lib.book import chapter
from lib.graft import (
    Algorithm1,
    downstream_distances,
    graft,
    graft_fresh,
    graft_layers,
    graft_sgd,
    increases,
    matching_loss,
    random_features,
)
from lib.similarity import as_samples, cka, regression, svcca
from lib.vgg import Design, Execution, Recipe, checkpoint_epochs, evaluate, one_a_core, to_images, train_family
from lib.vgg.checkpoint import remember

run = chapter.start("04_grafting", globals())
from lib.book.figures import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, SKY  # after start()

gpu = device == "cuda"
processes = 1 if gpu else None  # one process a core on a CPU, one for all nets on a GPU
execution = Execution(device, mixed=gpu, compiled=gpu)
folder = Path(store) if store else None
train_x, train_y = run.data(data, "train")
test_x, test_y = run.data(data, "test")
x = to_images(train_x[:images]).to(device)
y = torch.as_tensor(train_y[:images]).to(device)
fit = x[:fitted]
held = to_images(test_x[:tested]).to(device), torch.as_tensor(test_y[:tested]).to(device)
design = Design(width=width, channels=x.shape[1])
recipe = Recipe(epochs=epochs, batch=batch, rate=rate, milestones=tuple(milestones), pad=pad, flip=flip)
kept = [e for e in checkpoint_epochs(epochs) if e in (1, 2, 5, 8) or e % 10 == 0]
layers = list(range(1, 13))


def sweep(pairs, cuts, joint="exact"):
    """Error increase of every pair of nets at every cut, (pairs, cuts), in percentage points."""
    dealt = 1 if gpu else min(2, len(pairs))
    shares = [pairs[k::dealt] for k in range(dealt)]
    parts = one_a_core(increases, [(s, fit, *held, cuts, joint) for s in shares], processes=dealt)
    found = [None] * len(pairs)
    for k, part in enumerate(parts):
        found[k::dealt] = part
    return found


def points(found):
    return 100 * np.array([i.error for i in found])


def band(ax, at, values, colour, label=None, **style):
    """Mean over the first axis as a line, smallest to largest as a band."""
    values = np.asarray(values)
    ax.fill_between(at, values.min(0), values.max(0), color=colour, alpha=0.18, lw=0)
    ax.plot(at, values.mean(0), color=colour, label=label, **style)


shades = {layer: plt.get_cmap("viridis")(0.02 + 0.9 * (layer - 1) / 11) for layer in layers}

# %% [markdown]
# ## The operation
#
# A net computes $g^{(l)} = w^{(l)} * f^{(l-1)} + b^{(l)}$ and $f^{(l)} = h^{(l)}(g^{(l)})$ for $l = 1, \dots, L$, where $h^{(l)}$ is ReLU, followed by
# pooling at the end of a block. Grafting $\theta_1$ onto $\theta_2$ at layer $l$ gives
#
# $$
# \tilde\theta = (\theta_1^{(1)}, \dots, \theta_1^{(l)},\; \tilde\theta^{(l+1)},\; \theta_2^{(l+2)}, \dots, \theta_2^{(L)}),
# \qquad
# \tilde\theta^{(l+1)} = \arg\min \frac1N \sum_{i=1}^N \sum_k \bigl\| \tilde g^{(l+1)}_k(x_i) - g^{(l+1)}_k(\theta_2; x_i) \bigr\|^2 .
# $$
#
# ```{prf:theorem} The joint is a linear least-squares problem
# :label: thm-grafting-exact
# Let $u_{ip}$ be the patch of $f^{(l)}(\theta_1; x_i)$ that output position $p$ sees, $\bar u$, $\bar g$ the means over $i$ and $p$, and
# $A = \overline{(u - \bar u)(u - \bar u)^\top}$, $B = \overline{(g - \bar g)(u - \bar u)^\top}$. The minimisers are the solutions of $\tilde w A = B$ with
# $\tilde b = \bar g - \tilde w \bar u$; unique if and only if $A$ is regular. The minimum does not change when the channels of $f^{(l)}(\theta_1)$
# are replaced by any invertible linear combinations of themselves, permutations and rescalings among them.
# ```
#
# ```{prf:proof}
# $\tilde g_{ip} = \tilde w u_{ip} + \tilde b$, so the objective is a convex quadratic function of $(\tilde w, \tilde b)$, and its stationary points are the
# solutions of its normal equations. Eliminating $\tilde b$ centres $u$ and $g$. An invertible map $T$ of the channels turns $u$ into
# $(T \otimes I)u$, and $\tilde w \mapsto \tilde w (T \otimes I)^{-1}$ is a bijection between the joints before and after that preserves the objective.
# ```
#
# So grafting disregards everything that a linear map undoes, like CKA, CCA and regression do; and, unlike them, it also disregards whatever
# the rest of $\theta_2$ does not react to.
#
# The matrix $A$ has $9m \times 9m$ entries for $m$ channels and $3 \times 3$ kernels, but it is nearly determined by the correlations of the maps at 13 shifts: two
# elements of a patch differ by a shift of at most two pixels, and what remains is a border of one pixel. The library uses this
# instead of unfolding the patches, never holds the unfolded matrix, and reports the condition of $A$ and any ridge that it needed.

# %% [markdown]
# ## The nets
#
# VGG-16 without batch normalisation, trained as the authors' code does: SGD with Nesterov momentum, one epoch of warm-up, dropout before the
# fully connected layers, and the $\ell_{1,2}$ penalty on every weight. All nets see the same minibatches. *Normal* is the authors' He
# initialiser; *uniform* is the one that the paper calls `he_uniform`, whose variance in the code is half of He's.

# %%
began = time.perf_counter()
family = train_family(
    design,
    [(how, r) for how in ("code_normal", "code_uniform") for r in range(replicas)],
    x,
    y,
    recipe,
    seed=seed,
    checkpoints=kept,
    processes=processes,
    execution=execution,
    folder=folder and folder / "family",
    minutes=minutes if folder else float("inf"),
)
train_seconds = time.perf_counter() - began
normal, uniform = family[:replicas], family[replicas:]
accuracy = np.array([[evaluate(m.nets[e], *held).accuracy for e in [0, *kept]] for m in family])

# %% tags=["hide-input"]
published = run.printed("gu2020-accuracy")
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.1), sharey=True)
for ours, colour, label in (
    (accuracy[:replicas], BLUE, "normal"),
    (accuracy[replicas:], ORANGE, "uniform"),
):
    band(axes[0], np.array([0, *kept]), 100 * ours, colour, label, marker="o", ms=3)
axes[0].set(xlabel="epoch", ylabel="test accuracy [%]", title="here")
axes[0].legend()
axes[1].plot(published["epoch"], 100 * published["accuracy"], "o--", color=INK, ms=3)
axes[1].set(xlabel="epoch", title="the authors, full width, CIFAR-10", xscale="log")
run.figure(
    fig,
    "training",
    f"Test accuracy of {2 * replicas} nets of width multiplier {width:g} on {data}: mean and range over {replicas} nets of each initialiser. "
    "Right: the accuracies that the authors list.",
    "Two panels of accuracy against epoch. Nets from the normal initialiser learn earlier than those from the uniform one.",
    {
        "epoch": np.tile([0, *kept], 2 * replicas),
        "net": np.repeat(np.arange(2 * replicas), len(kept) + 1),
        "accuracy": accuracy.ravel(),
    },
)
run.glue("graft-accuracy", f"{100 * accuracy[:replicas, -1].mean():.1f}%")
run.glue("graft-accuracy-uniform", f"{100 * accuracy[replicas:, -1].mean():.1f}%")
run.glue("graft-n-nets", len(family))
run.glue("graft-width", f"{width:g}")

# %% [markdown]
# The nets end at {glue:text}`graft-accuracy` (normal) and {glue:text}`graft-accuracy-uniform` (uniform) test accuracy, at width multiplier {glue:text}`graft-width`.
#
# ## Exact against Algorithm 1
#
# The authors match the joint by six epochs of Adam (Algorithm 1). Here is the same task, solved both ways, for one pair of
# trained nets: the matching loss as a share of the variance of the target, and the time.

# %%
theta1, theta2 = normal[0].nets[epochs], normal[1].nets[epochs]
joints, rivals = [2, 6, 10], {1e-4: [], 1e-3: []}
exact_loss, fresh_loss, exact_seconds, rival_seconds = [], [], [], []
for l in joints:
    start = time.perf_counter()
    exact = graft(theta1, theta2, l, fit)
    exact_seconds.append(time.perf_counter() - start)
    scale = exact.solution.variance
    exact_loss.append(matching_loss(exact, theta2, fit) / scale)
    fresh_loss.append(graft_fresh(theta1, theta2, l, fit, seed=seed).relative)
    for learning_rate, losses in rivals.items():
        start = time.perf_counter()
        steps = min(rival_steps, len(fit) // batch)
        adam = graft_sgd(theta1, theta2, l, fit, Algorithm1(rate=learning_rate, batch=batch, steps=steps, pad=None), seed=seed)
        rival_seconds.append(time.perf_counter() - start)
        losses.append(adam.relative)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7.2, 2.9))
bars = {
    "exact": (exact_loss, BLUE),
    "Algorithm 1, rate $10^{-3}$": (rivals[1e-3], ORANGE),
    "Algorithm 1, rate $10^{-4}$": (rivals[1e-4], RED),
    "fresh joint, not matched": (fresh_loss, GREY),
}
for k, (label, (values, colour)) in enumerate(bars.items()):
    ax.bar(np.arange(len(joints)) + 0.2 * (k - 1.5), values, 0.18, color=colour, label=label)
ax.set(yscale="log", ylabel="matching loss / variance", xticks=range(len(joints)))
ax.set_xticklabels([f"$l = {l}$" for l in joints])
ax.legend(ncols=2, fontsize=8)
run.figure(
    fig,
    "rival",
    "Matching loss (2) as a share of the variance of the target: exact, by Algorithm 1 with six epochs of Adam at the authors' two rates, and before any matching.",
    "Bars for three layers; the exact joint has the lowest loss in each.",
    {
        "layer": joints,
        "exact": exact_loss,
        "adam_1e-3": rivals[1e-3],
        "adam_1e-4": rivals[1e-4],
        "fresh": fresh_loss,
    },
)
run.glue("graft-exact-seconds", float(np.median(exact_seconds)), digits=2)
run.glue("graft-rival-seconds", float(np.median(rival_seconds)), digits=2)
run.glue("graft-rival-ratio", float(np.median(rival_seconds) / np.median(exact_seconds)), digits=2)

# %% [markdown]
# The exact joint takes {glue:text}`graft-exact-seconds` s, Algorithm 1 {glue:text}`graft-rival-seconds` s at the number of steps of this run, {glue:text}`graft-rival-ratio` times as long (the
# authors take 4,680 steps). The difference matters for the conclusions too: whatever a joint trained for six epochs leaves over would
# be taken for a difference between features.
#
# ## What a graft looks like
#
# Figure 1(b) of the paper sketches why a mismatch at the joint may not matter: the following layers filter it out. Here it is with real
# features. We graft at layer 6 and compare the channels of $\tilde\theta$ with those of $\theta_2$, one dot an image and channel, from the
# joint on.

# %%
shown = graft(theta1, theta2, 6, fit)
with torch.no_grad():
    ours, theirs = shown.net.features(held[0]), theta2.features(held[0])
depths = [7, 9, 11, 13]
spread = {}
for depth in depths:
    a, b = (f[depth].reshape(len(held[0]), f[depth].shape[1], -1).mean(2).double().cpu() for f in (ours, theirs))
    alive = b.std(0) > 0
    mean, std = b[:, alive].mean(0), b[:, alive].std(0)
    spread[depth] = ((b[:, alive] - mean) / std, (a[:, alive] - mean) / std)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 4, figsize=(7.2, 2.3), sharex=True, sharey=True)
chosen = np.random.default_rng(seed)
thinned = {}
for ax, depth in zip(axes, depths, strict=True):
    u, v = (t.flatten().numpy() for t in spread[depth])
    take = chosen.choice(len(u), min(len(u), 1500), replace=False)
    thinned[f"theta2_{depth}"], thinned[f"graft_{depth}"] = u[take], v[take]
    ax.plot(u[take], v[take], ".", ms=2, alpha=0.4, color=BLUE, rasterized=True)
    ax.plot([-3, 6], [-3, 6], color=GREY, lw=1, zorder=0)
    r = np.corrcoef(u, v)[0, 1]
    ax.set(title=f"layer {depth}: $r = {r:.2f}$", xlim=(-3, 6), ylim=(-3, 6), xlabel=r"$\theta_2$")
axes[0].set_ylabel(r"$\tilde\theta$")
run.figure(
    fig,
    "features",
    r"Fig. 1(b) with real features: standardised channel means of $\theta_2$ and of the net grafted at layer 6, on test images, at the joint (layer 7) and further up.",
    "Four scatter plots of grafted against original features from layer 7 to layer 13, around the line of equality.",
    thinned,
)

# %% [markdown]
# ## One path of features
#
# Figure 2(a): two nets from the same initialiser, grafted at every layer, at every checkpoint. What is counted is the test error of
# $\tilde\theta$ less that of $\theta_2$. There are {glue:text}`graft-n-pairs` ordered pairs; the bands are their range.
#
# A small increase means something only beside what could have been. *Untrained*: $\theta_1$ at its initial weights. *Random filters*: all
# of $\theta_1$ replaced by one random convolution of the image, pooled. *Fresh*: trained $\theta_1$, but a joint that nothing matched.

# %%
pairs = list(itertools.permutations(range(replicas), 2))
same = remember(
    folder and folder / "same.json",
    lambda: {
        str(e): points(sweep([(normal[i].nets[e], normal[j].nets[e]) for i, j in pairs], layers)).tolist() for e in kept
    },
)
last = [(normal[i].nets[epochs], normal[j].nets[epochs]) for i, j in pairs]
baselines = remember(
    folder and folder / "baselines.json",
    lambda: {
        "untrained": points(sweep([(normal[i].nets[0], normal[j].nets[epochs]) for i, j in pairs], layers)).tolist(),
        "filters": np.concatenate(
            [points(sweep([(random_features(b, l, x.shape[1], seed=l), b) for _, b in last], [(1, l + 1)])) for l in layers], 1
        ).tolist(),
        "fresh": points(sweep(last, layers, "fresh")).tolist(),
    },
)
over_time = np.array([same[str(e)] for e in kept])  # (checkpoints, pairs, layers)
run.glue("graft-n-pairs", len(pairs))

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.3), sharey=True)
for l in (2, 4, 6, 8, 10, 12):
    band(axes[0], kept, over_time[:, :, l - 1].T, shades[l], f"$l = {l}$", marker="o", ms=2.5)
axes[0].set(xlabel="epoch of both nets", ylabel="error increase [points]", title="Fig. 2(a)")
axes[0].legend(ncols=2, fontsize=8)
band(axes[1], layers, over_time[-1], BLUE, "trained", marker="o", ms=3)
for name, colour, label in (
    ("untrained", ORANGE, r"untrained $\theta_1$"),
    ("filters", PURPLE, "random filters"),
    ("fresh", GREY, "fresh joint"),
):
    band(axes[1], layers, baselines[name], colour, label, marker="s", ms=2.5)
axes[1].axhline(0, color=INK, lw=0.6)
axes[1].set(xlabel="grafted layer $l$", title=f"after epoch {epochs}", xticks=range(1, 13))
axes[1].legend(fontsize=8)
run.figure(
    fig,
    "increase",
    "Error increase of grafts between nets of the same initialiser: mean and range over ordered pairs. Left: over training, for six layers. Right: at the end, for all layers, "
    "with three controls.",
    "Left: error increase against epoch for six layers. Right: error increase against layer; trained features stay low, the controls rise with depth.",
    {
        "epochs": kept,
        "layers": layers,
        "trained": over_time,
        "untrained": baselines["untrained"],
        "filters": baselines["filters"],
        "fresh": baselines["fresh"],
    },
)
mean_increase = over_time.mean(1)
worst = np.unravel_index(mean_increase.argmax(), mean_increase.shape)
run.glue("graft-increase-worst", float(mean_increase.max()), digits=2)
run.glue("graft-increase-end", float(mean_increase[-1].mean()), digits=2)
run.glue("graft-increase-untrained", float(np.mean(baselines["untrained"])), digits=2)
run.glue("graft-increase-filters", float(np.mean(baselines["filters"])), digits=2)
run.claim(
    "C1",
    float(mean_increase.max()) / 100,
    holds=mean_increase[-1].mean() < 0.5 * np.mean(baselines["untrained"]),
    why="The nets are far narrower than the paper's: what a layer's features lack, the next layers do not make up for.",
    note=f"Largest mean over {len(pairs)} ordered pairs, at layer {layers[worst[1]]} after epoch {kept[worst[0]]}; mean over layers at the end "
    f"{mean_increase[-1].mean():.1f} points, with an untrained $\\theta_1$ {np.mean(baselines['untrained']):.1f}.",
)

# %% [markdown]
# The largest mean increase of any layer and checkpoint is {glue:text}`graft-increase-worst` points; at the end it is {glue:text}`graft-increase-end` points on average over layers, against
# {glue:text}`graft-increase-untrained` for an untrained $\theta_1$ and {glue:text}`graft-increase-filters` for random filters.
#
# ## Many paths of weights
#
# Figure 2(b): the same pairs compared in weight space. Layer by layer, the channels of $\theta_2$ are put into the order in which its filters are
# closest to those of $\theta_1$ (an assignment problem), and what is left is normalised so that 0 means equal and 2 uncorrelated. The
# dashed lines are the authors' own numbers for full width.

# %%
shown_epochs = [0, *kept]
distance = np.array(
    [
        [aligned_distance(normal[i].nets[e], normal[j].nets[e]).distance for e in shown_epochs]
        for i, j in itertools.combinations(range(replicas), 2)
    ]
)

# %% tags=["hide-input"]
authors = run.printed("gu2020-fig2b")
author_epochs = np.array(checkpoint_epochs(200))
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.2), sharey=True)
for l in (1, 2, 4, 8, 12):
    band(axes[0], shown_epochs, distance[:, :, l - 1], shades[l], f"$l = {l}$", marker="o", ms=2.5)
    axes[1].plot(author_epochs, authors[f"layer_{l}"], "--", color=shades[l])
for ax, title in zip(axes, ("here", "the authors, full width, CIFAR-10"), strict=True):
    ax.axhline(0.6, color=RED, lw=1, ls=":")
    ax.set(xlabel="epoch", title=title, ylim=(0, 2.1))
axes[0].set_ylabel("aligned weight distance")
axes[0].legend(ncols=3, fontsize=8, loc="lower right")
run.figure(
    fig,
    "weights",
    "Aligned distance between the weights of two nets of the same initialiser. Left: mean and range over pairs. Right: the authors' result file, one pair. Dotted: 0.6, the bound the "
    "paper states.",
    "Two panels of weight distance against epoch. All curves of both panels lie above 0.6, most above 1.3.",
    {"epochs": shown_epochs, "layers": layers, "distance": distance, "authors": np.array([authors[f"layer_{l}"] for l in layers])},
)
run.glue("graft-distance-least", float(distance[:, 1:].min()), digits=3)
run.claim(
    "C2",
    float(distance[:, 1:].min()),
    why="The first layers of nets this narrow have few channels, and few channels are matched by chance.",
    note=f"Smallest over {distance.shape[0]} pairs, {len(kept)} checkpoints and 12 layers; at initial weights {distance[:, 0].min():.2f}.",
)

# %% [markdown]
# The smallest distance is {glue:text}`graft-distance-least`. A part of it is chance and not alignment: with few channels and few inputs some filters of two
# independent nets are similar, which the distance at epoch 0 shows.
#
# ## Errors that fade
#
# Figure 2(c): the normalised distance between feature functions, Eq. (6) of the paper,
#
# $$
# \frac{1}{m^{(l')}} \sum_k \frac{1}{\sqrt{s_k}} \sqrt{\frac1n \sum_i \bigl\| f_k^{(l')}(\tilde\theta; x_i) - f_k^{(l')}(\theta_2; x_i) \bigr\|^2 },
# \qquad s_k = \sum_{ij} \mathrm{var}\bigl[f_k^{(l')}(\theta_2; X)_{ij}\bigr],
# $$
#
# from the joint to the output. Channels that never vary in $\theta_2$ have no scale and are left out of the mean.

# %%
cut_at = [2, 4, 6, 8, 10, 12]
fading = {l: [] for l in cut_at}
for a, b in last:
    for result in graft_layers(a, b, fit, cut_at):
        fading[result.layer].append(downstream_distances(result, b, fit).distance)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7.2, 3.1))
for l in cut_at:
    band(ax, np.arange(l + 1, 17), fading[l], shades[l], f"$l = {l}$", marker="o", ms=3)
ax.set(xlabel=r"layer $l'$", ylabel="feature distance, Eq. (6)", xticks=range(3, 17), ylim=(0, None))
ax.legend(ncols=2, fontsize=8)
run.figure(
    fig,
    "fading",
    r"Fig. 2(c): distance between the features of $\tilde\theta$ and of $\theta_2$ at every layer behind the joint, 16 being the output, for grafts at six layers. Mean and range over ordered pairs, "
    "on training images.",
    "Six curves of feature distance against layer, one for each grafted layer, from the joint to the output.",
    {f"l={l}": fading[l] for l in cut_at},
)
ratio = {l: float(np.mean([d[-1] / d[0] for d in fading[l]])) for l in cut_at}
run.glue("graft-fade", ratio[6], digits=2)
run.claim(
    "C3",
    ratio[6],
    holds=sum(r < 1 for r in ratio.values()) >= 4,
    why="In nets this narrow few channels carry each class, and an error in one of them reaches the output.",
    note="Distance at the output over distance at the joint, $l = 6$, mean over pairs; all: "
    + ", ".join(f"{r:.2f} ($l = {l}$)" for l, r in ratio.items())
    + ".",
)

# %% [markdown]
# For the graft at layer 6 the distance at the output is {glue:text}`graft-fade` of that at the joint.
#
# ## Where similarity measures and grafting disagree
#
# The paper argues, without a figure, that measures which look at the features of one layer alone can call features different that the net treats as the
# same. Here each dot is one layer of one pair: across, how similar a measure finds $f^{(l)}(\theta_1)$ and $f^{(l)}(\theta_2)$, every position of
# every image being a sample; up, what the graft costs. Trained nets and, for contrast, an untrained $\theta_1$ before a trained $\theta_2$.

# %%
measures = {"CKA": cka, "SVCCA": svcca, "regression $R^2$": regression}
picked = torch.randperm(len(held[0]), generator=torch.Generator().manual_seed(seed))[:200].to(device)


def similarities(net1, net2):
    """One row a layer, one column a measure, on at most 4,000 positions."""
    with torch.no_grad():
        a, b = net1.features(held[0][picked], 12)[1:], net2.features(held[0][picked], 12)[1:]
    rows = []
    for f, g in zip(a, b, strict=True):
        f, g = as_samples(f), as_samples(g)
        some = torch.arange(0, len(f), max(1, len(f) // 4000), device=f.device)
        rows.append([measure(f[some], g[some]) for measure in measures.values()])
    return rows


trained_likeness = np.array([similarities(a, b) for a, b in last])
untrained_likeness = np.array([similarities(normal[i].nets[0], normal[j].nets[epochs]) for i, j in pairs])

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(7.2, 2.8), sharey=True)
for k, (ax, name) in enumerate(zip(axes, measures, strict=True)):
    for likeness, cost, marker in (
        (untrained_likeness, np.array(baselines["untrained"]), "x"),
        (trained_likeness, over_time[-1], "o"),
    ):
        for l in layers:
            ax.plot(likeness[:, l - 1, k], cost[:, l - 1], marker, color=shades[l], ms=3.5, alpha=0.8)
    ax.axhline(0, color=INK, lw=0.6)
    ax.set(xlabel=name, xlim=(0, 1.02))
axes[0].set_ylabel("error increase [points]")
run.figure(
    fig,
    "similarity",
    r"Three similarity measures of $f^{(l)}(\theta_1)$ and $f^{(l)}(\theta_2)$ against the error increase of the graft, one mark a layer and pair, dark to bright from layer 1 to 12. Dots: both nets trained. "
    r"Crosses: $\theta_1$ untrained.",
    "Three scatter plots. Dots lie low at all similarities; crosses rise while their similarities overlap with those of the dots.",
    {
        "layers": layers,
        "trained": trained_likeness,
        "trained_increase": over_time[-1],
        "untrained": untrained_likeness,
        "untrained_increase": baselines["untrained"],
    },
)
low = trained_likeness.mean(0).argmin(0)
run.glue("graft-cka-least", float(trained_likeness.mean(0)[:, 0].min()), digits=2)
run.glue("graft-cka-least-layer", int(low[0] + 1))
run.glue("graft-cka-least-increase", float(over_time[-1].mean(0)[low[0]]), digits=2)
run.glue("graft-svcca-least", float(trained_likeness.mean(0)[:, 1].min()), digits=2)
run.glue("graft-svcca-least-layer", int(low[1] + 1))
run.glue("graft-svcca-least-increase", float(over_time[-1].mean(0)[low[1]]), digits=2)

# %% [markdown]
# CKA is lowest at layer {glue:text}`graft-cka-least-layer`, {glue:text}`graft-cka-least`, where the graft costs {glue:text}`graft-cka-least-increase` points; SVCCA at layer
# {glue:text}`graft-svcca-least-layer`, {glue:text}`graft-svcca-least`, where it costs {glue:text}`graft-svcca-least-increase` points.
#
# ## Different initialisers
#
# Figure 3(a): $\theta_1$ from the uniform, $\theta_2$ from the normal initialiser. Their features differ at first; the paper finds that they converge to the same.

# %%
mixed_pairs = list(itertools.product(range(replicas), repeat=2))
different = remember(
    folder and folder / "different.json",
    lambda: {
        str(e): points(sweep([(uniform[i].nets[e], normal[j].nets[e]) for i, j in mixed_pairs], layers)).tolist() for e in kept
    },
)
across = np.array([different[str(e)] for e in kept])

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.2), sharey=True)
for l in (2, 4, 6, 8, 10, 12):
    band(axes[0], kept, across[:, :, l - 1].T, shades[l], f"$l = {l}$", marker="o", ms=2.5)
axes[0].set(xlabel="epoch of both nets", ylabel="error increase [points]", title="Fig. 3(a)")
axes[0].legend(ncols=2, fontsize=8)
band(axes[1], kept, over_time.mean(2).T, BLUE, "same initialiser", marker="o", ms=3)
band(axes[1], kept, across.mean(2).T, ORANGE, "different initialisers", marker="o", ms=3)
axes[1].axhline(0, color=INK, lw=0.6)
axes[1].set(xlabel="epoch of both nets", title="mean over layers")
axes[1].legend(fontsize=8)
run.figure(
    fig,
    "different",
    "Error increase when the nets come from different initialisers. Left: six layers over training. Right: mean over layers, beside pairs of the same initialiser. Means and ranges over ordered pairs.",
    "Two panels of error increase against epoch for nets from different initialisers.",
    {"epochs": kept, "layers": layers, "different": across, "same": over_time},
)
curve = across.mean((1, 2))
gap = curve - over_time.mean((1, 2))
run.glue("graft-different-peak", float(curve.max()), digits=2)
run.glue("graft-different-peak-epoch", int(kept[curve.argmax()]))
run.glue("graft-different-end", float(curve[-1]), digits=2)
run.claim(
    "C4",
    [float(curve.max()), float(curve[-1])],
    holds=curve.argmax() < len(kept) - 1 and curve[-1] < 0.7 * curve.max(),
    why="At this size the increase does not fall by the end of training.",
    note=f"Mean over layers and {len(mixed_pairs)} pairs, in points: largest (after epoch {kept[curve.argmax()]}) and last; less the increase between nets of the same initialiser: "
    f"{gap.max():.1f} and {gap[-1]:.1f}.",
)

# %% [markdown]
# The increase peaks at {glue:text}`graft-different-peak` points after epoch {glue:text}`graft-different-peak-epoch` and ends at {glue:text}`graft-different-end` points.
#
# ## Is it trivial?
#
# Perhaps any features could be grafted anywhere? Two tests of the authors' appendix. First, the *wrong layer*: layers $1 \dots l_1$ of $\theta_1$ in front of the layers from
# $l_2 > l_1 + 1$ on of $\theta_2$, pooled to the size that they expect.

# %%
cuts = [(a, b) for a in range(1, 13) for b in range(a + 1, 14)]
wrong = np.array(
    remember(
        folder and folder / "wrong.json", lambda: {"increase": points(sweep(last[:3], cuts)).tolist()}
    )["increase"]
)
errors = np.array([100 * (1 - evaluate(b, *held).accuracy) for _, b in last[:3]])
reached = (100 - wrong - errors[:, None]).mean(0)  # accuracy in percent

# %% tags=["hide-input"]
authors = run.printed("gu2020-wrong-layer")
tables = []
for first, onto, value in (
    (np.array([c[0] for c in cuts]), np.array([c[1] for c in cuts]), reached),
    (authors["first"].astype(int), authors["onto"].astype(int), 100 * authors["accuracy"]),
):
    table = np.full((12, 12), np.nan)
    table[first - 1, onto - 2] = value
    tables.append(table)
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.3), sharey=True)
for ax, table, title in zip(axes, tables, ("here", "the authors, penalty weight 10"), strict=True):
    image = ax.imshow(table, origin="lower", cmap="viridis", vmin=0, vmax=100, extent=(1.5, 13.5, 0.5, 12.5))
    ax.set(title=title, xlabel="onto layer $l_2$", xticks=range(2, 14, 2), yticks=range(2, 13, 2))
    ax.grid(False)
axes[0].set_ylabel("from layer $l_1$")
fig.colorbar(image, ax=axes, label="accuracy [%]", shrink=0.85)
run.figure(
    fig,
    "wrong-layer",
    r"Accuracy of layers $1 \dots l_1$ of one trained net in front of the layers from $l_2$ on of another. The diagonal edge is grafting proper. Left: mean of three pairs. Right: the authors' result file.",
    "Two triangular maps of accuracy. High along the diagonal edge and for late layers, low where an early layer meets a much later one.",
    {"first": [c[0] for c in cuts], "onto": [c[1] for c in cuts], "accuracy": reached},
)
chance = 100 * np.bincount(test_y[:tested]).max() / tested
early = [k for k, (a, b) in enumerate(cuts) if a <= 3 and b >= a + 3]
late = [k for k, (a, b) in enumerate(cuts) if a >= 9]
proper = [k for k, (a, b) in enumerate(cuts) if b == a + 1]
run.glue("graft-wrong-early", f"{reached[early].min():.0f}%")
run.glue("graft-wrong-late", f"{reached[late].min():.0f}%")
run.claim(
    "C7",
    [float(reached[early].min()) / 100, float(reached[late].min()) / 100],
    holds=reached[early].min() < reached[proper].min() and reached[late].min() > reached[early].mean(),
    why="Digits are easy: pooled features of an early layer still tell many of them apart.",
    note=f"Lowest accuracy with $l_1 \\leq 3$ and $l_2 \\geq l_1 + 3$, and with $l_1 \\geq 9$; grafting proper at least {reached[proper].min():.0f}%, guessing {chance:.0f}%.",
)

# %% [markdown]
# A wrong early layer falls to {glue:text}`graft-wrong-early`; among the last layers any may stand in for any other, with at least {glue:text}`graft-wrong-late`.
#
# Second, an *immature* $\theta_1$: layers from an early checkpoint in front of the trained $\theta_2$.

# %%
young = [e for e in (0, 1, 2, 5, 10) if e in (0, *kept)]
immature = {
    int(e): np.array(v)
    for e, v in remember(
        folder and folder / "immature.json",
        lambda: {
            str(e): points(sweep([(normal[i].nets[e], normal[j].nets[epochs]) for i, j in pairs], layers)).tolist()
            for e in young
        },
    ).items()
}

# %% tags=["hide-input"]
authors = run.printed("gu2020-immature")
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.1), sharey=True)
for k, e in enumerate(young):
    band(axes[0], layers, immature[e], plt.get_cmap("plasma")(0.85 * k / len(young)), f"epoch {e}", marker="o", ms=2.5)
band(axes[0], layers, over_time[-1], INK, f"epoch {epochs}", marker="o", ms=2.5)
axes[0].set(xlabel="grafted layer $l$", ylabel="error increase [points]", title="here", xticks=range(1, 13))
axes[0].legend(fontsize=8)
axes[1].plot(authors["onto"] - 1, 100 * (0.669 - authors["accuracy"]), "o--", color=INK, ms=3)
axes[1].set(xlabel="grafted layer $l$", title=r"the authors, first checkpoint, CIFAR-100", xticks=range(1, 13))
run.figure(
    fig,
    "immature",
    r"Error increase when $\theta_1$ is young and $\theta_2$ trained. Left: $\theta_1$ after so many epochs; mean and range over ordered pairs. Right: the authors' result file for their first checkpoint.",
    "Error increase against layer. The younger the first net and the deeper the graft, the larger the increase.",
    {"layers": layers, **{f"epoch_{e}": immature[e] for e in young}, "trained": over_time[-1]},
)
first_young = immature[young[1]].mean(0)
run.glue("graft-immature-shallow", float(first_young[:2].mean()), digits=2)
run.glue("graft-immature-deep", float(first_young[4:].mean()), digits=2)
run.claim(
    "C8",
    [float(first_young[0]), float(first_young[4:].mean())],
    holds=first_young[4:].mean() > max(2 * max(0.0, first_young[:2].mean()), 2 * over_time[-1].mean(0)[4:].mean()),
    why="At this size even one epoch makes features that suffice for these images.",
    note=f"$\\theta_1$ after epoch {young[1]}, in points: at layer 1, and mean over layers 5 to 12; with both nets trained {over_time[-1].mean(0)[4:].mean():.1f}.",
)

# %% [markdown]
# After one epoch the increase is {glue:text}`graft-immature-shallow` points at the first two layers and {glue:text}`graft-immature-deep` points from layer 5 on.
#
# ## Width
#
# The paper says that VGG-16 is wide enough to stand for its continuous limit, and that grafts between a net and one of twice its width work as well (appendix).
# The joint is then a rectangular problem, and solved in the same way. Beyond the paper: does the cost of grafting fall as nets get wider, and over training? That is what
# *overparameterised* should mean here.

# %%
side_recipe = Recipe(
    epochs=side_epochs, batch=batch, rate=rate, milestones=tuple(m for m in milestones if m < side_epochs), pad=pad, flip=flip
)
side_kept = checkpoint_epochs(side_epochs)


def side_family(multiplier, members, weight=1.0):
    """Nets of another width or penalty weight, trained on the same minibatches as all others."""
    name = f"width-{multiplier:g}-penalty-{weight:g}"
    return train_family(
        Design(width=multiplier, channels=x.shape[1]),
        members,
        x,
        y,
        Recipe(**{**side_recipe.__dict__, "weight": weight}),
        seed=seed,
        checkpoints=side_kept,
        processes=processes,
        execution=execution,
        folder=folder and folder / name,
        minutes=minutes if folder else float("inf"),
    )


others = {m: side_family(m, [("code_normal", 0), ("code_normal", 1)]) for m in widths}
others[width] = normal
ladder = sorted(others)
common = [e for e in side_kept if e in kept]
by_width = {
    m: {e: points(sweep([(others[m][i].nets[e], others[m][j].nets[e]) for i, j in ((0, 1), (1, 0))], layers)) for e in common}
    for m in ladder
}
stop = common[-1]
twice = min(ladder, key=lambda m: abs(np.log(m / (2 * width))))
between = {
    "narrow to wide": points(sweep([(normal[i].nets[stop], others[twice][i].nets[stop]) for i in (0, 1)], layers)),
    "wide to narrow": points(sweep([(others[twice][i].nets[stop], normal[i].nets[stop]) for i in (0, 1)], layers)),
    "narrow to narrow": by_width[width][stop],
    "wide to wide": by_width[twice][stop],
}

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(7.2, 3.0), width_ratios=(1.35, 1, 1))
for (name, values), colour in zip(between.items(), (BLUE, ORANGE, GREY, GREEN), strict=True):
    band(axes[0], layers, values, colour, name, marker="o", ms=2.5)
axes[0].axhline(0, color=INK, lw=0.6)
axes[0].set(xlabel="grafted layer $l$", ylabel="error increase [points]", title=rf"widths {width:g} and {twice:g}")
axes[0].legend(fontsize=7.5)
for k, m in enumerate(ladder):
    curves = np.array([by_width[m][e].mean(1) for e in common]).T
    band(axes[1], common, curves, plt.get_cmap("plasma")(0.8 * k / max(1, len(ladder) - 1)), f"{m:g}", marker="o", ms=2.5)
axes[1].set(xlabel="epoch of both nets", title="over training")
axes[1].legend(title="width", fontsize=7.5, title_fontsize=7.5)
ends = np.array([by_width[m][stop].mean(1) for m in ladder])
axes[2].plot(ladder, ends, "o", color=BLUE, ms=4)
axes[2].plot(ladder, ends.mean(1), color=BLUE)
axes[2].set(xscale="log", xlabel="width multiplier", title=f"after epoch {stop}")
axes[2].set_xticks(ladder, [f"{m:g}" for m in ladder])
axes[2].minorticks_off()
for ax in axes[1:]:
    ax.axhline(0, color=INK, lw=0.6)
run.figure(
    fig,
    "width",
    "Left: grafts between nets of different widths; mean and range of two. Middle: error increase between two nets of the same width over training, mean over layers. Right: the same at the end against the width "
    "multiplier, one dot a direction.",
    "Three panels of error increase: against layer for pairs of widths, against epoch for each width, and against width.",
    {
        "layers": layers,
        "epochs": common,
        "widths": ladder,
        "ends": ends,
        **{name.replace(" ", "_"): values for name, values in between.items()},
        **{f"width_{m:g}": np.array([by_width[m][e] for e in common]) for m in ladder},
    },
)
run.glue("graft-narrow-wide", float(between["narrow to wide"].mean()), digits=2)
run.glue("graft-wide-narrow", float(between["wide to narrow"].mean()), digits=2)
run.glue("graft-width-narrowest", float(ends[0].mean()), digits=2)
run.glue("graft-width-widest", float(ends[-1].mean()), digits=2)
run.claim(
    "C11",
    [float(between["narrow to wide"].mean()), float(between["wide to narrow"].mean())],
    holds=max(between["narrow to wide"].mean(), between["wide to narrow"].mean())
    < 1.5 * max(1.0, between["narrow to narrow"].mean(), between["wide to wide"].mean()),
    why="Nets this narrow differ in what they have room for.",
    note=f"Mean increase in points, width {width:g} onto {twice:g} and back; between nets of one width {between['narrow to narrow'].mean():.1f} and {between['wide to wide'].mean():.1f}.",
)

# %% [markdown]
# Grafts onto twice the width cost {glue:text}`graft-narrow-wide` points, the other way {glue:text}`graft-wide-narrow`. Between nets of the same width, the cost goes from
# {glue:text}`graft-width-narrowest` points at the narrowest to {glue:text}`graft-width-widest` at the widest.
#
# ## The penalty
#
# The $\ell_{1,2}$ penalty comes from the theory; its weight is 1 in all experiments. The authors list accuracies for other weights.

# %%
swept = {1.0: [m.nets[stop] for m in normal[:1]]}
for weight in penalties:
    swept[weight] = [m.nets[stop] for m in side_family(width, [("code_normal", 0)], weight)]
weights = sorted(swept)
swept_accuracy = np.array([np.mean([evaluate(net, *held).accuracy for net in swept[w]]) for w in weights])

# %% tags=["hide-input"]
authors = run.printed("gu2020-lambda")
fig, ax = plt.subplots(figsize=(5.2, 3.0))
ax.plot(weights, 100 * swept_accuracy, "o-", color=BLUE, label="here")
ax.plot(authors["weight"], 100 * authors["accuracy"], "s--", color=INK, ms=4, label="the authors, full width, CIFAR-10")
ax.set(xlabel=r"weight $\lambda$ of the penalty", ylabel="test accuracy [%]")
ax.set_xscale("symlog", linthresh=0.5)
ax.legend(fontsize=8)
run.figure(
    fig,
    "penalty",
    r"Test accuracy against the weight of the $\ell_{1,2}$ penalty, with the authors' numbers.",
    "Accuracy against penalty weight; it falls for large weights.",
    {"weight": weights, "accuracy": swept_accuracy},
)
run.claim(
    "C9",
    [float(a) for a in swept_accuracy],
    holds=swept_accuracy[-1] < swept_accuracy[weights.index(1.0)],
    why="Too few epochs for the largest weight to tell.",
    note=r"Test accuracy for $\lambda$ = " + ", ".join(f"{w:g}" for w in weights) + ".",
)
run.glue("graft-train-seconds", train_seconds, digits=3)

# %% [markdown]
# ## What was found

# %%
run.claims_table()

# %% [markdown]
# ### To run this chapter with other parameters
#
# ```
# make chapter CH=04_grafting P="width=0.125 epochs=60 seed=3"
# ```
#
# or with papermill alone, on the notebook that the build leaves beside the executed one. The parameters, their types and ranges are in the first code cell. Training the main
# nets of this run took {glue:text}`graft-train-seconds` s. With a `store`, finished checkpoints and sweeps stay in that folder, training stops after `minutes`, and running
# the chapter again goes on from there; this is how the full-width run fits into short leases of a GPU.

# %%
run.provenance()
