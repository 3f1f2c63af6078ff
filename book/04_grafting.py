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
# Two nets of one architecture, trained from different random initial weights, have weights that no
# reordering of their channels brings together. Do they nevertheless compute the same features? Gu
# et al. {cite}`gu2020convex` ask it in a way that only counts what matters for the rest of the net:
# cut both nets after layer $l$, put the first layers of one in front of the last layers of the
# other, and refit nothing but the one layer at the joint. If the hybrid still classifies, then the
# features of the first net can stand in for those of the second. They call it *neural network
# grafting*, and conclude from it that training follows one path in the space of feature
# distributions, whatever path the weights take.
#
# The authors train the joint by Adam. But a joint is linear in its weights, so matching it is a
# linear least-squares problem, and we solve it exactly: one pass over the data for all layers at
# once. Every figure of the paper on grafting is redone below, with the controls that it lacks: an
# untrained first net, random features, and a joint that nothing matched.

# %% tags=["parameters"]
data: str = "digits"  # images, one of digits, cifar10
images: int = 1437  # training images, >= 256
tested: int = 360  # test images, >= 100
fitted: int = 768  # training images on which joints are matched, >= 256
depth: int = 11  # layers of the VGG, one of 11, 16, 19
width: float = 0.125  # width multiplier; 1 is the paper's, in (0, 2]
replicas: int = 3  # nets of each initialiser, >= 2
epochs: int = 14  # epochs of training, >= 2
checkpoints: list[int] = [
    1,
    2,
    3,
    5,
    8,
]  # epochs after which nets are compared, besides the last, >= 1
batch: int = 32  # images in a minibatch, >= 8
rate: float = 0.02  # learning rate after warm-up, in (0, 1]
milestones: list[int] = [11]  # epochs after which the rate falls by a factor 5, >= 1
pad: int = 0  # pixels that random crops move an image, >= 0
flip: bool = False  # mirror half of the training images; digits do not survive it
penalty: float = 1.0  # weight of the l_{1,2} penalty over the width multiplier, >= 0
widths: list[float] = [0.03125, 0.0625]  # further width multipliers, in (0, 2]
penalties: list[float] = [0.0, 4.0, 16.0]  # further values of penalty, >= 0
side_epochs: int = 14  # epochs of those further nets, >= 2
rival_steps: int = 22  # minibatches an epoch of Algorithm 1, which takes six epochs, >= 1
device: str = "cpu"  # where tensors live, one of cpu, cuda
store: str = ""  # folder that keeps what is finished, so that a long run resumes; empty for none
minutes: float = 6.5  # after which a stage begins nothing new, when there is a store, > 0
seed: int = 0  # seed of every random draw, >= 0

# %% tags=["hide-input"]
import itertools
import operator
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from companion import chapter
from experiments.checkpoints import remember
from experiments.families import Unfinished, checkpoint_epochs, train_family
from experiments.grafting import increases, random_features
from experiments.processes import in_processes
from lib.graft import (
    JointTraining,
    downstream_distances,
    graft,
    graft_fresh,
    graft_layers,
    graft_trained,
    matching_loss,
)
from lib.nets import Design
from lib.similarity import cka, regression, svcca
from lib.symmetry import aligned_distance
from lib.train.sgd import Execution, Recipe, evaluate, to_images

run = chapter.start("04_grafting", globals())
from companion.figures import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED  # after start()

gpu = device == "cuda"
processes = 1 if gpu else None  # on a CPU one process a core, on a GPU one for all nets
execution = Execution(device, mixed=gpu, compiled=gpu)
if not gpu:
    torch.set_num_threads(
        1
    )  # slim nets gain little from a second thread, and lose much beside other work
folder = Path(store) if store else None
if folder:
    folder.mkdir(parents=True, exist_ok=True)
stage_began, new = time.monotonic(), []  # what this stage has computed
train_x, train_y = run.data(data, "train")
test_x, test_y = run.data(data, "test")
x = to_images(train_x[:images]).to(device)
y = torch.as_tensor(train_y[:images]).to(device)
fit = x[:fitted]
held = to_images(test_x[:tested]).to(device), torch.as_tensor(test_y[:tested]).to(device)
design = Design(depth=depth, width=width, channels=x.shape[1])
recipe = Recipe(
    epochs=epochs,
    batch=batch,
    lr=rate,
    milestones=tuple(milestones),
    weight=penalty * width,
    pad=pad or None,
    flip=flip,
)
kept = sorted({e for e in checkpoints if e < epochs} | {min(side_epochs, epochs), epochs})
convolutions = len(design.conv_widths)
layers = list(range(1, convolutions))  # where a graft joins two convolutions
picks = layers[1::2]  # the layers that get a curve of their own
middle = layers[len(layers) // 2]
ticks = layers if len(layers) < 10 else layers[::2]
shades = {layer: plt.get_cmap("viridis")(0.9 * (layer - 1) / (len(layers) - 1)) for layer in layers}


def sweep(pairs, cuts=layers, joint="exact"):
    """Error increase of every pair of nets at every cut, in percentage points, and the ridges that
    the joints needed."""
    dealt = 1 if gpu or len(pairs) < 8 else 2
    shares = [pairs[k::dealt] for k in range(dealt)]
    parts = in_processes(
        increases, [(share, fit, *held, cuts, joint) for share in shares], processes=dealt
    )
    found = [parts[k % dealt][k // dealt] for k in range(len(pairs))]
    return {
        "points": [[100 * e for e in i.error] for i in found],
        "ridge": [max(i.ridge) for i in found],
    }


def trained(name, multiplier, members, schedule, checkpoints):
    """How to train the nets of one width and penalty: call it with the `minutes` that it may
    take."""
    return partial(
        train_family,
        replace(design, width=multiplier),
        members,
        x,
        y,
        schedule,
        seed=seed,
        checkpoints=checkpoints,
        execution=execution,
        folder=folder and folder / name,
    )


def left():
    """Minutes left of this stage; without a store there are no stages."""
    return minutes - (time.monotonic() - stage_began) / 60 if folder else float("inf")


def once(name, compute):
    """What the store holds of that name, or compute() now; a stage whose time is up computes one
    new thing at most."""
    file = folder and folder / f"{name}.json"
    if file and not file.exists():
        if left() < 0 and new:
            raise Unfinished(f"before {name}: run it again to go on")
        new.append(name)
    return remember(file, compute)


def band(ax, at, values, colour, label=None, **style):
    """Mean over the first axis as a line, smallest to largest as a band."""
    values = np.asarray(values)
    ax.fill_between(at, values.min(0), values.max(0), color=colour, alpha=0.18, lw=0)
    ax.plot(at, values.mean(0), color=colour, label=label, **{"marker": "o", "ms": 3, **style})


def fraction(m):
    return f"1/{1 / m:.3g}" if m < 1 else f"{m:g}"


def layer_axis(ax):
    ax.axhline(0, color=INK, lw=0.6)
    ax.set(xlabel="grafted layer $l$", xticks=ticks)


# %% [markdown]
# ## The operation
#
# A net computes $g^{(l)} = w^{(l)} * f^{(l-1)} + b^{(l)}$ and $f^{(l)} = h^{(l)}(g^{(l)})$ for
# $l = 1, \dots, L$, where $h^{(l)}$ is ReLU, followed by pooling at the end of a block. Grafting
# $\theta_1$ onto $\theta_2$ at layer $l$ gives
#
# $$
# \tilde\theta = (\theta_1^{(1)}, \dots, \theta_1^{(l)},\; \tilde\theta^{(l+1)},\; \theta_2^{(l+2)},
# \dots, \theta_2^{(L)}),
# $$
#
# $$
# \tilde\theta^{(l+1)} = \arg\min \frac1N \sum_{i=1}^N \sum_k \bigl\| \tilde g^{(l+1)}_k(x_i) -
# g^{(l+1)}_k(\theta_2; x_i) \bigr\|^2 .
# $$
#
# ```{prf:theorem} The joint is a linear least-squares problem
# :label: thm-grafting-exact
# Let $u_{ip}$ be the patch of $f^{(l)}(\theta_1; x_i)$ that output position $p$ sees, $\bar u$,
# $\bar g$ the means over $i$ and $p$, and $A = \overline{(u - \bar u)(u - \bar u)^\top}$,
# $B = \overline{(g - \bar g)(u - \bar u)^\top}$. The minimisers are the solutions of
# $\tilde w A = B$ with $\tilde b = \bar g - \tilde w \bar u$; unique if and only if $A$ is regular.
# The minimum does not change when the channels of $f^{(l)}(\theta_1)$ are replaced by any
# invertible linear combinations of themselves, permutations and rescalings among them.
# ```
#
# ```{prf:proof}
# $\tilde g_{ip} = \tilde w u_{ip} + \tilde b$, so the objective is a convex quadratic function of
# $(\tilde w, \tilde b)$, and its stationary points are the solutions of its normal equations.
# Eliminating $\tilde b$ centres $u$ and $g$. An invertible map $T$ of the channels turns $u$ into
# $(T \otimes I)u$, and $\tilde w \mapsto \tilde w (T \otimes I)^{-1}$ is a bijection between the
# joints before and after that preserves the objective.
# ```
#
# So grafting disregards everything that a linear map undoes, as CCA and regression do (CKA
# disregards rotations only); and, unlike them, it also disregards whatever the rest of $\theta_2$
# does not react to.
#
# The matrix $A$ has $9m \times 9m$ entries for $m$ channels and $3 \times 3$ kernels, but it is
# nearly determined by the correlations of the maps at 13 shifts: two elements of a patch differ by
# a shift of at most two pixels, and what remains is a border of one pixel. The library uses this
# instead of unfolding the patches, never holds the unfolded matrix, and reports the condition of
# $A$ and any ridge that it needed.

# %% [markdown]
# ## The nets
#
# VGG without batch normalisation, trained as the authors' code does: SGD with Nesterov momentum,
# one epoch of warm-up, dropout before the fully connected layers, and the $\ell_{1,2}$ penalty on
# every weight. All nets see the same minibatches. *Normal* is the authors' He initialiser;
# *uniform* is the one that the paper calls `he_uniform`, whose variance in the code is half of
# He's.
#
# Two things are not the paper's when the width multiplier $c$ is below 1. The weight of the penalty
# is $c$ instead of 1: one step of SGD shrinks a weight by an amount proportional to $\lambda / m$,
# and with $m \propto c$ this choice keeps the shrinkage of the full net; with $\lambda = 1$ slim
# nets collapse to zero before they learn. And the run says which depth it takes: without batch
# normalisation the slimmest 16-layer nets do not leave the initial plateau on a small data set, 11
# layers do. This run: {glue:text}`graft-setting`.

# %%
began = time.perf_counter()
members = [(how, r) for how in ("code_normal", "code_uniform") for r in range(replicas)]
family = trained("family", width, members, recipe, kept)(processes=processes, minutes=left())
train_seconds = time.perf_counter() - began
normal, uniform = family[:replicas], family[replicas:]
accuracy = np.array([[evaluate(m.nets[e], *held).accuracy for e in [0, *kept]] for m in family])
chance = 100 * np.bincount(test_y[:tested]).max() / tested  # of always guessing the commonest class
stalled = 100 * accuracy[:, -1] < chance + 5

# %% tags=["hide-input"]
published = run.printed("gu2020-accuracy")
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.1), sharey=True)
for ours, colour, label in (
    (accuracy[:replicas], BLUE, "normal"),
    (accuracy[replicas:], ORANGE, "uniform"),
):
    band(axes[0], [0, *kept], 100 * ours, colour, label)
axes[0].set(xlabel="epoch", ylabel="test accuracy [%]", title="here")
axes[0].legend()
axes[1].plot(published["epoch"], 100 * published["accuracy"], "o--", color=INK, ms=3)
axes[1].set(xlabel="epoch", title="the authors, full width", xscale="log")
run.figure(
    fig,
    "training",
    f"Test accuracy of {2 * replicas} nets VGG-{depth} of width multiplier {width:g} on {data}:"
    f" mean and range over {replicas} nets of each initialiser. Right: the accuracies that the"
    " authors list, for VGG-16 on CIFAR-10.",
    "Two panels of accuracy against epoch, here and by the authors; both rise steeply at first and"
    " then level off.",
    {
        "epoch": np.tile([0, *kept], 2 * replicas),
        "net": np.repeat(np.arange(2 * replicas), len(kept) + 1),
        "accuracy": accuracy.ravel(),
    },
)
run.glue(
    "graft-setting",
    f"VGG-{depth}, width multiplier {width:g}, {len(x):,} images of {data}, {epochs} epochs",
)
run.glue("graft-accuracy", f"{100 * accuracy[:replicas, -1].mean():.1f}%")
run.glue("graft-accuracy-uniform", f"{100 * accuracy[replicas:, -1].mean():.1f}%")
run.glue("graft-train-seconds", train_seconds, digits=3)
run.glue("graft-stalled", int(stalled.sum()))

# %% [markdown]
# They end at {glue:text}`graft-accuracy` (normal) and {glue:text}`graft-accuracy-uniform` (uniform)
# test accuracy on average. Nets that have not left the initial plateau by then:
# {glue:text}`graft-stalled`.
#
# ## Exact against Algorithm 1
#
# The authors match the joint by six epochs of Adam (Algorithm 1). Here is the same task for one
# pair of trained nets, solved both ways on the same images: the matching loss as a share of the
# variance of the target, and the time.

# %%
theta1, theta2 = normal[0].nets[epochs], normal[1].nets[epochs]
joints, rates = [picks[0], middle, picks[-1]], (1e-3, 1e-4)
steps = min(rival_steps, len(fit) // batch)


def timed(function, *arguments, **options):
    start = time.perf_counter()
    return function(*arguments, **options), time.perf_counter() - start


def both_ways(l):
    """Matching loss over variance, exact, at each rate and fresh; and the seconds of the first
    two."""
    exact, seconds = timed(graft, theta1, theta2, fit, l)
    shares, rival_seconds = [matching_loss(exact, theta2, fit) / exact.solution.variance], []
    for r in rates:
        settings = JointTraining(lr=r, batch=batch, steps=steps, pad=None)
        adam, spent = timed(graft_trained, theta1, theta2, fit, l, settings, generator=seed)
        shares.append(adam.relative)
        rival_seconds.append(spent)
    fresh = graft_fresh(theta1, theta2, fit, l, generator=seed)
    return {
        "shares": [*shares, fresh.relative],
        "seconds": [seconds, float(np.mean(rival_seconds))],
    }


graft(theta1, theta2, fit[:64], 1)  # whatever happens only once is not timed
found = [once(f"rival-{l}", partial(both_ways, l)) for l in joints]
match = dict(zip(("exact", *rates, "fresh"), np.array([f["shares"] for f in found]).T, strict=True))
taken = np.array([f["seconds"] for f in found])

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7.2, 2.9))
bars = {
    "exact": ("exact", BLUE),
    1e-3: ("Algorithm 1, rate $10^{-3}$", ORANGE),
    1e-4: ("Algorithm 1, rate $10^{-4}$", RED),
    "fresh": ("fresh joint, not matched", GREY),
}
for k, (key, (label, colour)) in enumerate(bars.items()):
    ax.bar(np.arange(len(joints)) + 0.2 * (k - 1.5), match[key], 0.18, color=colour, label=label)
ax.set(
    yscale="log",
    ylabel="matching loss / variance",
    xticks=range(len(joints)),
    ylim=(None, 12 * match["fresh"].max()),
)
ax.set_xticklabels([f"$l = {l}$" for l in joints])
ax.legend(ncols=2, fontsize=8, loc="upper left")
run.figure(
    fig,
    "rival",
    "Matching loss as a share of the variance of the target: exact, by Algorithm 1 with six epochs"
    " of Adam at the authors' two rates, and before any matching. A joint that only gives the mean"
    " has 1.",
    "Bars for three layers on a logarithmic scale; the exact joint has the lowest loss in each.",
    {
        "layer": joints,
        "exact": match["exact"],
        "adam_1e-3": match[1e-3],
        "adam_1e-4": match[1e-4],
        "fresh": match["fresh"],
    },
)
run.glue("graft-exact-seconds", float(np.median(taken[:, 0])), digits=2)
run.glue("graft-rival-seconds", float(np.median(taken[:, 1])), digits=2)
run.glue("graft-rival-ratio", float(taken[:, 1].sum() / taken[:, 0].sum()), digits=2)
run.glue("graft-rival-steps", 6 * steps)
run.glue("graft-exact-share", [float(v) for v in match["exact"]], digits=2)
run.glue(
    "graft-rival-share",
    [float(min(match[r][k] for r in rates)) for k in range(len(joints))],
    digits=2,
)

# %% [markdown]
# At these layers the exact joint leaves {glue:text}`graft-exact-share` of the variance, Algorithm 1
# at the better of its rates {glue:text}`graft-rival-share`. The exact joint takes
# {glue:text}`graft-exact-seconds` s, Algorithm 1 {glue:text}`graft-rival-seconds` s for the
# {glue:text}`graft-rival-steps` steps of this run, {glue:text}`graft-rival-ratio` times as long;
# the authors take 4,680 steps. (These are times of a machine that was doing other things; the
# comparison that counts is `benchmarks/graft.py`.) The difference matters for the conclusions too:
# whatever a joint trained for six epochs leaves over would be taken for a difference between
# features.
#
# ## What a graft looks like
#
# Figure 1(b) of the paper sketches why a mismatch at the joint may not matter: the following layers
# filter it out. Here it is with real features. We graft in the middle of the net and compare the
# channels of $\tilde\theta$ with those of $\theta_2$, one dot an image and channel, from the joint
# on.

# %%
shown = graft(theta1, theta2, fit, middle)
with torch.no_grad():
    ours, theirs = shown.net.features(held[0]), theta2.features(held[0])
depths = np.linspace(middle + 1, depth, 4).round().astype(int).tolist()
spread = {}
for place in depths:
    a, b = (
        f[place].reshape(len(held[0]), f[place].shape[1], -1).mean(2).double().cpu()
        for f in (ours, theirs)
    )
    alive = b.std(0) > 0
    mean, std = b[:, alive].mean(0), b[:, alive].std(0)
    spread[place] = (
        ((b[:, alive] - mean) / std).flatten().numpy(),
        ((a[:, alive] - mean) / std).flatten().numpy(),
    )
agree = [float(np.corrcoef(*spread[place])[0, 1]) for place in depths]

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 4, figsize=(7.2, 2.3), sharex=True, sharey=True)
thinned = {}
for ax, place, r in zip(axes, depths, agree, strict=True):
    u, v = spread[place]
    take = np.random.default_rng(seed).choice(len(u), min(len(u), 1500), replace=False)
    thinned[f"theta2_{place}"], thinned[f"graft_{place}"] = u[take], v[take]
    ax.plot(u[take], v[take], ".", ms=2, alpha=0.4, color=BLUE, rasterized=True)
    ax.plot([-3, 6], [-3, 6], color=GREY, lw=1, zorder=0)
    name = "output" if place == depth else f"layer {place}"
    ax.set(title=f"{name}, $r = {r:.2f}$", xlim=(-3, 6), ylim=(-3, 6), xlabel=r"$\theta_2$")
    ax.title.set_fontsize(9)
axes[0].set_ylabel(r"$\tilde\theta$")
run.figure(
    fig,
    "features",
    r"Fig. 1(b) with real features: standardised channel means of $\theta_2$ and of the net"
    rf" grafted at layer {middle}, on test images, at the joint (layer {middle + 1}) and"
    r" further up.",
    "Four scatter plots of grafted against original features, from the joint to the output, around"
    " the line of equality.",
    thinned,
)
run.glue("graft-agree-joint", agree[0], digits=2)
run.glue("graft-agree-output", agree[-1], digits=2)

# %% [markdown]
# The correlation is {glue:text}`graft-agree-joint` at the joint and {glue:text}`graft-agree-output`
# at the output.
#
# ## One path of features
#
# Figure 2(a): two nets from the same initialiser, grafted at every layer, at every checkpoint. What
# is counted is the test error of $\tilde\theta$ less that of $\theta_2$. There are
# {glue:text}`graft-n-pairs` ordered pairs; the bands are their range.
#
# A small increase means something only beside what could have been. *Untrained*: $\theta_1$ at its
# initial weights. *Random filters*: all of $\theta_1$ replaced by one random convolution of the
# image, pooled. *Fresh*: trained $\theta_1$, but a joint that nothing matched. The sweep below has
# them all, and what the later sections need.

# %%
pairs = list(itertools.permutations(range(replicas), 2))
young = [e for e in (0, 1, 2, 3, 5, 10) if e in (0, *kept[:-1])]
last = [(normal[i].nets[epochs], normal[j].nets[epochs]) for i, j in pairs]
wanted = {
    "same": [(normal[i].nets[e], normal[j].nets[e]) for e in kept for i, j in pairs],
    "different": [(uniform[i].nets[e], normal[j].nets[e]) for e in kept for i, j in pairs],
    "young": [(normal[i].nets[e], normal[j].nets[epochs]) for e in young for i, j in pairs],
}


def controls_at_end():
    filters = [
        sweep(
            [
                (
                    random_features(m.nets[epochs], l, x.shape[1], generator=100 * k + l),
                    m.nets[epochs],
                )
            ],
            [(1, l + 1)],
        )
        for k, m in enumerate(normal)
        for l in layers
    ]
    return {
        "filters": [f["points"] for f in filters],
        "fresh": sweep(last, joint="fresh")["points"],
    }


found = {name: once(name, partial(sweep, group)) for name, group in wanted.items()}
same, different, immature = (
    np.array(f["points"]).reshape(-1, len(pairs), len(layers)) for f in found.values()
)
other = once("controls", controls_at_end)
controls = {
    "untrained": immature[0],
    "filters": np.array(other["filters"]).reshape(replicas, len(layers)),
    "fresh": np.array(other["fresh"]),
}
ridges = np.concatenate([f["ridge"] for f in found.values()])

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.4), sharey=True)
for l in picks:
    band(axes[0], kept, same[:, :, l - 1].T, shades[l], f"$l = {l}$")
axes[0].axhline(0, color=INK, lw=0.6)
axes[0].set(xlabel="epoch of both nets", ylabel="error increase [points]", title="Fig. 2(a)")
axes[0].legend(ncols=2, fontsize=8)
band(axes[1], layers, same[-1], BLUE, "trained")
for name, colour, label in (
    ("untrained", ORANGE, r"untrained $\theta_1$"),
    ("filters", PURPLE, "random filters"),
    ("fresh", GREY, "fresh joint"),
):
    band(axes[1], layers, controls[name], colour, label, marker="s")
layer_axis(axes[1])
axes[1].set(title=f"after epoch {epochs}")
axes[1].legend(fontsize=7.5, loc="lower left", ncols=2)
axes[0].set_yscale(
    "symlog", linthresh=10
)  # linear up to 10 points: the fresh joint loses nearly everything
axes[0].set_yticks([-5, 0, 5, 10, 20, 50, 100], ["−5", "0", "5", "10", "20", "50", "100"])
axes[0].set_ylim(min(-5, 1.2 * same.min()), 110)
axes[0].minorticks_off()
run.figure(
    fig,
    "increase",
    "Error increase of grafts between nets of the same initialiser: mean and range over ordered"
    " pairs. Left: over training, for some layers. Right: at the end, for all layers, with three"
    " controls. The axis is linear up to 10 points and logarithmic above.",
    "Left: error increase against epoch, a curve a layer. Right: error increase against layer, with"
    " curves for trained nets and for three controls.",
    {"epochs": kept, "layers": layers, "trained": same, **controls},
)
mean_increase = same.mean(1)
worst = np.unravel_index(mean_increase.argmax(), mean_increase.shape)
end, bare = float(mean_increase[-1].mean()), float(controls["untrained"].mean())
run.glue("graft-n-pairs", len(pairs))
run.glue("graft-increase-worst", float(mean_increase.max()), digits=2)
run.glue("graft-increase-where", f"layer {layers[worst[1]]} after epoch {kept[worst[0]]}")
run.glue("graft-increase-end", end, digits=2)
run.glue("graft-increase-untrained", bare, digits=2)
run.glue("graft-increase-filters", float(controls["filters"].mean()), digits=2)
run.glue("graft-increase-fresh", float(controls["fresh"].mean()), digits=2)
run.glue("graft-ridges", f"{100 * (ridges > 0).mean():.0f}%")
run.glue("graft-ridge-largest", f"{ridges.max():.0e}" if ridges.max() > 0 else "none")
run.claim(
    "C1",
    float(mean_increase.max()),
    holds=end < 0.5 * bare,
    why=(
        f"A net of {width:g} times the paper's width leaves out what the other net learned, most of"
        " all where its layers have the fewest channels"
    ),
    note=(
        f"Largest mean over {len(pairs)} ordered pairs in points, at layer {layers[worst[1]]} after"
        f" epoch {kept[worst[0]]}; mean over layers at the end {end:.1f}, with an untrained"
        f" $\\theta_1$ {bare:.1f}."
    ),
)

# %% [markdown]
# The largest mean increase of any layer and checkpoint is {glue:text}`graft-increase-worst` points,
# at {glue:text}`graft-increase-where`; at the end it is {glue:text}`graft-increase-end` points on
# average over layers. The controls cost {glue:text}`graft-increase-untrained` (untrained
# $\theta_1$), {glue:text}`graft-increase-filters` (random filters) and
# {glue:text}`graft-increase-fresh` points (fresh joint). Pairs with a joint that was singular to
# single precision and therefore got a ridge: {glue:text}`graft-ridges` (largest ridge on the
# standardised diagonal: {glue:text}`graft-ridge-largest`).
#
# The lower layers of this control are worth a second look. A random first layer followed by a
# least-squares joint does well, because the first layers are nearly linear in the image and a patch
# of it determines what they compute; only from the middle of the net on does a small increase say
# anything about what was learned.
#
# ## Many paths of weights
#
# Figure 2(b): the same pairs compared in weight space. Layer by layer, the channels of $\theta_2$
# are put into the order in which its filters are closest to those of $\theta_1$ (an assignment
# problem), and what is left is normalised so that 0 means equal and 2 uncorrelated.

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
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.3), sharey=True)
for l in [1, *picks]:
    band(axes[0], shown_epochs, distance[:, :, l - 1], shades[l], f"$l = {l}$")
for l in range(1, 13):
    label = f"$l = {l}$" if l in (1, 2, 6, 12) else None
    axes[1].plot(
        author_epochs,
        authors[f"layer_{l}"],
        "--",
        lw=1.2,
        color=plt.get_cmap("viridis")(0.9 * (l - 1) / 11),
        label=label,
    )
for ax, title in zip(axes, ("here", "the authors, full width"), strict=True):
    ax.axhline(0.6, color=RED, lw=1, ls=":")
    ax.set(xlabel="epoch", title=title, ylim=(0, 2.1))
    ax.legend(ncols=2, fontsize=8, loc="lower right")
axes[0].set_ylabel("aligned weight distance")
run.figure(
    fig,
    "weights",
    "Aligned distance between the weights of two nets of the same initialiser. Left: mean and range"
    " over pairs. Right: the authors' result file, one pair of VGG-16 on CIFAR-10. Dotted: 0.6, the"
    " bound that the paper states.",
    "Two panels of weight distance against epoch, with a dotted line at 0.6; the curves of the"
    " deeper layers lie near 2 in both.",
    {
        "epochs": shown_epochs,
        "layers": layers,
        "distance": distance,
        "authors": np.array([authors[f"layer_{l}"] for l in range(1, 13)]),
    },
)
run.glue("graft-distance-least", float(distance[:, 1:].min()), digits=3)
run.glue("graft-distance-least-layer", layers[int(distance[:, 1:].min((0, 1)).argmin())])
run.glue("graft-distance-start", float(distance[:, 0].min()), digits=3)
run.glue("graft-distance-deep", float(distance[:, -1, len(layers) // 2 :].min()), digits=3)
run.claim(
    "C2",
    float(distance[:, 1:].min()),
    why=(
        "The first layer of a net this narrow has few filters of few weights, and some of them"
        " match by chance"
    ),
    note=(
        f"Smallest over {distance.shape[0]} pairs, {len(kept)} checkpoints and {len(layers)}"
        f" layers; at initial weights {distance[:, 0].min():.2f}."
    ),
)

# %% [markdown]
# The smallest distance is {glue:text}`graft-distance-least`, at layer
# {glue:text}`graft-distance-least-layer`; in the upper half of the net no distance ends below
# {glue:text}`graft-distance-deep`. What is missing to 2 is largely chance and not alignment: among
# few filters of few weights some of two independent nets are similar, and the smallest distance of
# initial weights is already {glue:text}`graft-distance-start`.
#
# ## Errors that fade
#
# Figure 2(c): the normalised distance between feature functions, Eq. (6) of the paper,
#
# $$
# \frac{1}{m^{(l')}} \sum_k \frac{1}{\sqrt{s_k}} \sqrt{\frac1n \sum_i \bigl\|
# f_k^{(l')}(\tilde\theta; x_i) - f_k^{(l')}(\theta_2; x_i) \bigr\|^2 }, \qquad s_k = \sum_{ij}
# \mathrm{var}\bigl[f_k^{(l')}(\theta_2; X)_{ij}\bigr],
# $$
#
# from the joint to the output. Channels that never vary in $\theta_2$ have no scale and are left
# out of the mean.

# %%
fading = {l: [] for l in picks}
for a, b in last[: 2 * replicas]:
    for result in graft_layers(a, b, fit, picks):
        fading[result.layer].append(downstream_distances(result, b, fit).distance)
fading = {l: np.array(d) for l, d in fading.items()}
fade = {l: float((d[:, -1] / d[:, 0]).mean()) for l, d in fading.items()}
steady = {l: float((np.diff(d.mean(0)) < 0).mean()) for l, d in fading.items()}
read = picks[len(picks) // 2]  # the paper shows l = 6

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7.2, 3.1))
for l in picks:
    band(ax, np.arange(l + 1, depth + 1), fading[l], shades[l], f"$l = {l}$")
ax.set(
    xlabel=r"layer $l'$",
    ylabel="feature distance, Eq. (6)",
    xticks=range(3, depth + 1),
    ylim=(0, None),
)
ax.legend(ncols=2, fontsize=8)
run.figure(
    fig,
    "fading",
    r"Fig. 2(c): distance between the features of $\tilde\theta$ and of $\theta_2$ at every layer"
    rf" behind the joint, {depth} being the output, for grafts at several layers. Mean and range"
    r" over ordered pairs, "
    "on the images of the fit.",
    "Curves of feature distance against layer, one for each grafted layer, from the joint to the"
    " output.",
    {f"l={l}": fading[l] for l in picks},
)
run.glue("graft-fade-layer", read)
run.glue("graft-fade", fade[read], digits=2)
run.glue("graft-fade-steady", f"{100 * np.mean(list(steady.values())):.0f}%")
run.claim(
    "C3",
    fade[read],
    holds=sum(r < 1 for r in fade.values()) > len(fade) / 2,
    why=(
        "In nets this narrow few channels carry a class, so that an error in one of them reaches"
        " the output"
    ),
    note=(
        f"Distance at the output over distance at the joint for $l = {read}$, mean over"
        f" {len(fading[read])} pairs; all: "
    )
    + ", ".join(f"{r:.2f} ($l = {l}$)" for l, r in fade.items())
    + ". From one layer to the next the mean distance falls in"
    f" {100 * np.mean(list(steady.values())):.0f}% of the steps.",
)

# %% [markdown]
# For the graft at layer {glue:text}`graft-fade-layer` the distance at the output is
# {glue:text}`graft-fade` of that at the joint; over all curves, {glue:text}`graft-fade-steady` of
# the steps from one layer to the next lower it.
#
# ## Where similarity measures and grafting disagree
#
# The paper argues, without a figure, that measures which look at the features of one layer alone
# can call features different that the net treats as the same. Three such measures are CKA
# {cite}`kornblith2019similarity`, SVCCA {cite}`raghu2017svcca` and linear regression. Here each
# mark is one layer of one pair: across, how similar a measure finds $f^{(l)}(\theta_1)$ and
# $f^{(l)}(\theta_2)$, every position of every image being a sample; up, what the graft costs.
# Trained nets and, for contrast, an untrained $\theta_1$ before a trained $\theta_2$.

# %%
measures = {"CKA": cka, "SVCCA": svcca, "regression $R^2$": regression}
picked = torch.randperm(len(held[0]), generator=torch.Generator().manual_seed(seed))[:200].to(
    device
)


def similarities(net1, net2):
    """One row a layer, one column a measure, on a few thousand positions."""
    with torch.no_grad():
        a, b = (net.features(held[0][picked], layers[-1])[1:] for net in (net1, net2))
    rows = []
    for f, g in zip(a, b, strict=True):
        f, g = (h.permute(0, 2, 3, 1).flatten(0, 2) for h in (f, g))  # every position
        some = slice(None, None, -(-len(f) // 4000))
        rows.append([measure(f[some], g[some]) for measure in measures.values()])
    return rows


likeness = np.array([similarities(a, b) for a, b in last])  # (pairs, layers, measures)
untrained_likeness = np.array(
    [similarities(normal[i].nets[0], normal[j].nets[epochs]) for i, j in pairs]
)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(7.2, 3.0), sharey=True)
for k, (ax, name) in enumerate(zip(axes, measures, strict=True)):
    for alike, cost, marker in ((untrained_likeness, immature[0], "x"), (likeness, same[-1], "o")):
        for l in layers:
            ax.plot(alike[:, l - 1, k], cost[:, l - 1], marker, color=shades[l], ms=3.5, alpha=0.8)
    ax.axhline(0, color=INK, lw=0.6)
    ax.set(xlabel=name, xlim=(0, 1.02))
axes[0].set_ylabel("error increase [points]")
axes[0].plot([], [], "o", color=GREY, ms=3.5, label="both trained")
axes[0].plot([], [], "x", color=GREY, ms=3.5, label=r"$\theta_1$ untrained")
axes[0].legend(fontsize=8)
run.figure(
    fig,
    "similarity",
    r"Three similarity measures of $f^{(l)}(\theta_1)$ and $f^{(l)}(\theta_2)$ against the error"
    r" increase of the graft, one mark a layer and pair, "
    rf"dark to bright from layer 1 to {layers[-1]}. Dots: both nets trained. Crosses: $\theta_1$"
    r" untrained.",
    "Three scatter plots of error increase against similarity, with dots for trained and crosses"
    " for untrained first nets.",
    {
        "layers": layers,
        "trained": likeness,
        "trained_increase": same[-1],
        "untrained": untrained_likeness,
        "untrained_increase": immature[0],
    },
)
for k, name in enumerate(("cka", "svcca")):
    lowest = int(likeness.mean(0)[:, k].argmin())
    # untrained features that the measure finds at least as similar: what do they cost?
    rivals = untrained_likeness[:, :, k] >= likeness.mean(0)[lowest, k]
    run.glue(f"graft-{name}-least", float(likeness.mean(0)[lowest, k]), digits=2)
    run.glue(f"graft-{name}-layer", layers[lowest])
    run.glue(f"graft-{name}-increase", float(same[-1].mean(0)[lowest]), digits=2)
    run.glue(
        f"graft-{name}-rivals",
        f"{immature[0][rivals].max():.1f}" if rivals.any() else "no mark is there",
    )
r_deep = [float(np.corrcoef(likeness[:, :, k].ravel(), same[-1].ravel())[0, 1]) for k in range(3)]
run.glue("graft-similarity-r", r_deep, digits=2)

# %% [markdown]
# Between trained nets CKA is lowest at layer {glue:text}`graft-cka-layer`,
# {glue:text}`graft-cka-least`, where the graft costs {glue:text}`graft-cka-increase` points;
# untrained features that CKA finds at least as similar cost up to {glue:text}`graft-cka-rivals`
# points. SVCCA is lowest at layer {glue:text}`graft-svcca-layer`, {glue:text}`graft-svcca-least`,
# at a cost of {glue:text}`graft-svcca-increase` points, against up to
# {glue:text}`graft-svcca-rivals`. Over the trained pairs the three measures correlate with the cost
# by {glue:text}`graft-similarity-r`: negative would mean that what is less similar costs more. So a
# low similarity of one layer's features does not by itself tell whether the rest of the net minds,
# and grafting is the more specific question.
#
# ## Different initialisers
#
# Figure 3(a): $\theta_1$ from the uniform, $\theta_2$ from the normal initialiser. Their features
# differ at first; the paper finds that they converge to the same.

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.2))
for l in picks:
    band(axes[0], kept, different[:, :, l - 1].T, shades[l], f"$l = {l}$")
axes[0].set(xlabel="epoch of both nets", ylabel="error increase [points]", title="Fig. 3(a)")
axes[0].legend(ncols=2, fontsize=8)
band(axes[1], kept, same.mean(2).T, BLUE, "same initialiser")
band(axes[1], kept, different.mean(2).T, ORANGE, "different initialisers")
axes[1].set(xlabel="epoch of both nets", title="mean over layers")
axes[1].legend(fontsize=8)
for ax in axes:
    ax.axhline(0, color=INK, lw=0.6)
run.figure(
    fig,
    "different",
    "Error increase when the nets come from different initialisers. Left: some layers over"
    " training. Right: mean over layers, beside pairs of the same initialiser. Means and ranges"
    " over ordered pairs.",
    "Two panels of error increase against epoch for nets from different initialisers, the right one"
    " with a second curve for the same initialiser.",
    {"epochs": kept, "layers": layers, "different": different, "same": same},
)
curve = different.mean((1, 2))
gap = curve - same.mean((1, 2))
run.glue("graft-different-peak", float(curve.max()), digits=2)
run.glue("graft-different-peak-epoch", int(kept[curve.argmax()]))
run.glue("graft-different-end", float(curve[-1]), digits=2)
run.glue("graft-gap-peak", float(gap.max()), digits=2)
run.glue("graft-gap-end", float(gap[-1]), digits=2)
run.claim(
    "C4",
    [float(curve.max()), float(curve[-1])],
    holds=curve.argmax() < len(kept) - 1 and curve[-1] < 0.5 * curve.max(),
    why=(
        f"{stalled[replicas:].sum()} of {replicas} uniform nets never left the initial plateau, and"
        " all that they lack counts as an increase"
        if stalled[replicas:].any()
        else (
            "No increase is large: as soon as the nets classify at all, early features of either"
            " initialiser can stand in for one another"
            if curve.max() < 5
            else "The increase has not come down by the end of a training this short"
        )
    ),
    note=(
        f"Mean over layers and {len(pairs)} pairs, in points: largest (after epoch"
        f" {kept[curve.argmax()]}) and last; less the increase between nets of the same"
        f" initialiser: {gap.max():.1f} and {gap[-1]:.1f}."
    ),
)

# %% [markdown]
# The increase peaks at {glue:text}`graft-different-peak` points after epoch
# {glue:text}`graft-different-peak-epoch` and ends at {glue:text}`graft-different-end` points. What
# exceeds the increase between nets of the same initialiser is at most {glue:text}`graft-gap-peak`
# and ends at {glue:text}`graft-gap-end` points.
#
# ## Is it trivial?
#
# Perhaps any features could be grafted anywhere? Two tests of the authors' appendix. First, the
# *wrong layer*: layers $1 \dots l_1$ of $\theta_1$ in front of the layers from $l_2 > l_1 + 1$ on
# of $\theta_2$, pooled to the size that they expect.

# %%
cuts = [(a, b) for a in layers for b in range(a + 1, convolutions + 1)]
wrong = np.array(once("wrong", lambda: sweep(last[:2], cuts))["points"])
errors = np.array([100 * evaluate(b, *held).error for _, b in last[:2]])
reached = (100 - wrong - errors[:, None]).mean(0)  # accuracy in percent

# %% tags=["hide-input"]
authors = run.printed("gu2020-wrong-layer")
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.3))
for ax, title, (first, onto, value) in (
    (axes[0], "here", (*np.array(cuts).T, reached)),
    (
        axes[1],
        "the authors, penalty weight 10",
        (authors["first"], authors["onto"], 100 * authors["accuracy"]),
    ),
):
    size = int(first.max())
    table = np.full((size, size), np.nan)
    table[first.astype(int) - 1, onto.astype(int) - 2] = value
    extent = (1.5, size + 1.5, 0.5, size + 0.5)
    image = ax.imshow(table, origin="lower", vmin=0, vmax=100, extent=extent, aspect="auto")
    ax.set(
        title=title,
        xlabel="onto layer $l_2$",
        xticks=range(2, size + 2, 2),
        yticks=range(1, size + 1, 2),
    )
    ax.grid(False)
axes[0].set_ylabel("from layer $l_1$")
fig.colorbar(image, ax=axes, label="accuracy [%]", shrink=0.85)
run.figure(
    fig,
    "wrong-layer",
    r"Accuracy of layers $1 \dots l_1$ of one trained net in front of the layers from $l_2$ on of"
    r" another. The diagonal edge is grafting proper. Left: mean of two pairs. Right: the authors'"
    r" result file, VGG-16 on CIFAR-10.",
    "Two triangular maps of accuracy, high along the diagonal edge and for late layers, low where"
    " an early layer meets a much later one.",
    {"first": [c[0] for c in cuts], "onto": [c[1] for c in cuts], "accuracy": reached},
)
_, second_block, third_block, *_ = design.block_ends
early = np.array([a <= second_block and b > a + 2 for a, b in cuts])
late = np.array([a > third_block for a, b in cuts])
proper = np.array([b == a + 1 for a, b in cuts])
full = 100 - errors.mean()
run.glue("graft-wrong-early", f"{reached[early].min():.0f}%")
run.glue("graft-wrong-late", f"{reached[late].min():.0f}%")
run.glue("graft-wrong-proper", f"{reached[proper].min():.0f}%")
run.claim(
    "C7",
    [float(reached[early].min()) / 100, float(reached[late].min()) / 100],
    holds=reached[early].min() < 2 * chance and reached[late].min() > 0.9 * full,
    why=(
        "Pooled features of an early layer still tell many of these images apart, so that a wrong"
        " joint stays above guessing"
        if reached[early].min() >= 2 * chance
        else "After a training this short the late layers are not yet interchangeable"
    ),
    note=(
        f"Lowest accuracy of a wrong joint behind an early layer ($l_1 \\leq {second_block}$), and"
        f" of any joint behind a late one ($l_1 > {third_block}$); grafting proper at least"
        f" {reached[proper].min():.0f}%, $\\theta_2$ itself {full:.0f}%, guessing {chance:.0f}%."
    ),
)

# %% [markdown]
# An early layer at a wrong place falls to {glue:text}`graft-wrong-early`, while grafting proper
# never gives less than {glue:text}`graft-wrong-proper`; among the last layers any may stand in for
# any other, with at least {glue:text}`graft-wrong-late`.
#
# Second, an *immature* $\theta_1$: layers from an early checkpoint in front of the trained
# $\theta_2$.

# %% tags=["hide-input"]
authors = run.printed("gu2020-immature")
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.2), sharey=True)
for k, e in enumerate(young):
    band(axes[0], layers, immature[k], plt.get_cmap("plasma")(0.85 * k / len(young)), f"epoch {e}")
band(axes[0], layers, same[-1], INK, f"epoch {epochs}")
axes[1].plot(authors["onto"] - 1, 100 * (0.669 - authors["accuracy"]), "o--", color=INK, ms=3)
for ax, title in zip(axes, ("here", "the authors, first checkpoint"), strict=True):
    ax.axhline(0, color=INK, lw=0.6)
    ax.set(xlabel="grafted layer $l$", title=title)
axes[0].set(ylabel="error increase [points]", xticks=ticks)
axes[0].legend(fontsize=8)
run.figure(
    fig,
    "immature",
    r"Error increase when $\theta_1$ is young and $\theta_2$ trained. Left: $\theta_1$ after so"
    r" many epochs; mean and range over ordered pairs. Right: the authors' result file for their"
    r" first checkpoint, VGG-16 on CIFAR-100.",
    "Two panels of error increase against layer, the left one with a curve for each age of the"
    " first net.",
    {
        "layers": layers,
        "trained": same[-1],
        **{f"epoch_{e}": v for e, v in zip(young, immature, strict=True)},
    },
)
youngest = immature[young.index(kept[0])].mean(0)
half = len(layers) // 2
shallow, deep, deep_trained = (
    float(v) for v in (youngest[:2].mean(), youngest[half:].mean(), same[-1].mean(0)[half:].mean())
)
run.glue("graft-immature-epoch", kept[0])
run.glue("graft-immature-shallow", shallow, digits=2)
run.glue("graft-immature-deep", deep, digits=2)
run.glue("graft-immature-trained", deep_trained, digits=2)
run.claim(
    "C8",
    [shallow, deep],
    holds=deep > (full - chance) / 3 and deep > 2 * shallow and deep > 3 * deep_trained,
    why=(
        "The first layers of a slim net have to be learned too, so the graft fails there as well"
        if deep > (full - chance) / 3 and deep > 3 * deep_trained
        else (
            "A least-squares joint reads much of the class even from immature features:"
            f" {100 * max(0, deep) / (full - chance):.0f}% of what $\\theta_2$ knows beyond"
            f" guessing is lost, though {deep / max(deep_trained, 0.1):.0f} times what is lost"
            " between trained nets"
        )
    ),
    note=(
        f"$\\theta_1$ after epoch {kept[0]}, in points: mean over layers 1 and 2, and over layers"
        f" {layers[half]} to {layers[-1]}; there with both nets trained {deep_trained:.1f}."
    ),
)

# %% [markdown]
# With $\theta_1$ after epoch {glue:text}`graft-immature-epoch` the increase is
# {glue:text}`graft-immature-shallow` points at the first two layers and
# {glue:text}`graft-immature-deep` points in the upper half, where two trained nets have
# {glue:text}`graft-immature-trained`.
#
# ## Width
#
# The paper says that VGG-16 is wide enough to stand for its continuous limit, and that grafts
# between a net and one of twice its width work as well (appendix). The joint is then a rectangular
# problem, and solved in the same way. Beyond the paper: does the cost of grafting fall as nets get
# wider, and over training? That is what *overparameterised* should mean here.

# %%
side_recipe = replace(
    recipe, epochs=side_epochs, milestones=tuple(m for m in milestones if m < side_epochs)
)
stages = [
    e for e in kept if e <= side_epochs
]  # ends with side_epochs, unless that is beyond the main nets' end
others = [(m, penalty, 2) for m in widths] + [
    (width, p, 1) for p in penalties
]  # width, penalty, nets
jobs = [
    trained(
        f"width-{m:g}-penalty-{p:g}",
        m,
        [("code_normal", r) for r in range(nets)],
        replace(side_recipe, weight=p * m),
        stages,
    )
    for m, p, nets in others
]
if folder:  # one after the other, each in what is left of the stage
    sides = [job(processes=processes, minutes=left()) for job in jobs]
else:
    sides = in_processes(
        operator.call, [(partial(job, processes=1),) for job in jobs], processes=processes
    )
nets_of = {m: sides[k] for k, m in enumerate(widths)} | {width: normal}
ladder, stop = sorted(nets_of), stages[-1]
partner = min(
    (m for m in ladder if m != width), key=lambda m: (abs(abs(np.log2(m / width)) - 1), -m)
)  # of two, the wider
thin, thick = sorted((width, partner))
within = [
    (nets_of[m][i].nets[e], nets_of[m][1 - i].nets[e])
    for m in ladder
    for e in stages
    for i in (0, 1)
]
between = [
    (nets_of[a][i].nets[stop], nets_of[b][i].nets[stop])
    for a, b in ((thin, thick), (thick, thin))
    for i in (0, 1)
]
pointed = np.array(once("widths", lambda: sweep([*within, *between]))["points"])
by_width = pointed[: len(within)].reshape(len(ladder), len(stages), 2, len(layers))
across = dict(
    zip(("thin to thick", "thick to thin"), pointed[len(within) :].reshape(2, 2, -1), strict=True)
)
across |= {
    "thin to thin": by_width[ladder.index(thin), -1],
    "thick to thick": by_width[ladder.index(thick), -1],
}
level = {name: float(values.mean()) for name, values in across.items()}
at_end = by_width[:, -1].mean(2)  # (widths, directions)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(7.2, 3.2), width_ratios=(1.3, 1, 1))
for (name, values), colour in zip(across.items(), (BLUE, ORANGE, GREY, GREEN), strict=True):
    band(axes[0], layers, values, colour, name)
layer_axis(axes[0])
axes[0].set(ylabel="error increase [points]", title=f"{fraction(thin)} and {fraction(thick)}")
axes[0].legend(fontsize=7.5)
for k, m in enumerate(ladder):
    band(
        axes[1],
        stages,
        by_width[k].mean(2).T,
        plt.get_cmap("plasma")(0.8 * k / (len(ladder) - 1)),
        fraction(m),
    )
axes[1].set(xlabel="epoch of both nets", title="over training")
axes[1].legend(title="width", fontsize=7.5, title_fontsize=7.5)
axes[2].plot(ladder, at_end, "o", color=BLUE, ms=4)
axes[2].plot(ladder, at_end.mean(1), color=BLUE)
axes[2].set(
    xscale="log",
    xlabel="width multiplier",
    title=f"after epoch {stop}",
    ylim=(min(0, at_end.min()), None),
)
axes[2].set_xticks(ladder, [fraction(m) for m in ladder])
axes[2].minorticks_off()
for ax in axes[1:]:
    ax.axhline(0, color=INK, lw=0.6)
run.figure(
    fig,
    "width",
    "Left: grafts between nets of two widths; mean and range of two pairs. Middle: error increase"
    " between two nets of one width over training, mean over layers; the band spans the two"
    " directions. Right: the same at the end against the width multiplier, one dot a direction.",
    "Three panels of error increase: against layer for pairs of widths, against epoch for each"
    " width, and against width.",
    {
        "layers": layers,
        "epochs": stages,
        "widths": ladder,
        "by_width": by_width,
        **{name.replace(" ", "_"): values for name, values in across.items()},
    },
)
side_accuracy = [
    np.mean([evaluate(n.nets[stop], *held).accuracy for n in nets_of[m][:2]]) for m in ladder
]
run.glue("graft-thin-thick", level["thin to thick"], digits=2)
run.glue("graft-thick-thin", level["thick to thin"], digits=2)
run.glue("graft-thin-thin", level["thin to thin"], digits=2)
run.glue("graft-thick-thick", level["thick to thick"], digits=2)
run.glue("graft-widths", ", ".join(fraction(m) for m in ladder))
run.glue("graft-by-width", at_end.mean(1).tolist(), digits=2)
run.glue("graft-by-width-accuracy", ", ".join(f"{100 * a:.0f}%" for a in side_accuracy))
run.claim(
    "C11",
    [level["thin to thick"], level["thick to thin"]],
    holds=max(level["thin to thick"], level["thick to thin"])
    < 1.5 * max(2.0, level["thin to thin"], level["thick to thick"]),
    why=(
        "The narrower nets have not left the initial plateau: nothing is lost by grafting onto"
        " them, and all by grafting them onto others"
        if min(side_accuracy) < chance / 100 + 0.05
        else "Nets this narrow differ in what they have room for"
    ),
    note=(
        f"Mean over layers in points, width {thin:g} onto {thick:g} and back; between nets of one"
        f" width {level['thin to thin']:.1f} and {level['thick to thick']:.1f}."
    ),
)

# %% [markdown]
# Grafts of the thin net onto the one of twice its width cost {glue:text}`graft-thin-thick` points
# on average over layers, the other way {glue:text}`graft-thick-thin`, where two thin nets have
# {glue:text}`graft-thin-thin` and two thick ones {glue:text}`graft-thick-thick`. Between two nets
# of the same width the increase is {glue:text}`graft-by-width` points at widths
# {glue:text}`graft-widths`; these nets have {glue:text}`graft-by-width-accuracy` test accuracy. A
# net that has learned nothing loses nothing by grafting, so small increases at the narrowest widths
# and in the first epochs have to be read beside the accuracy.
#
# ## The penalty
#
# The $\ell_{1,2}$ penalty comes from the theory; its weight is 1 in the paper's main experiments,
# and the width multiplier in most of ours. The authors list accuracies for other weights.

# %% tags=["hide-input"]
swept = {penalty: normal[:1]} | {p: sides[len(widths) + k] for k, p in enumerate(penalties)}
weights = sorted(swept)
swept_accuracy = np.array(
    [np.mean([evaluate(m.nets[stop], *held).accuracy for m in swept[p]]) for p in weights]
)
authors = run.printed("gu2020-lambda")
fig, ax = plt.subplots(figsize=(5.2, 3.0))
ax.plot(weights, 100 * swept_accuracy, "o-", color=BLUE, label="here")
ax.plot(
    authors["weight"],
    100 * authors["accuracy"],
    "s--",
    color=INK,
    ms=4,
    label="the authors, full width, CIFAR-10",
)
ax.set(xlabel=r"$\lambda$ / width multiplier", ylabel="test accuracy [%]", xlim=(-0.1, 25))
ax.set_xscale("symlog", linthresh=0.5)
ax.set_xticks(weights, [f"{p:g}" for p in weights])
ax.legend(fontsize=8)
run.figure(
    fig,
    "penalty",
    r"Test accuracy against the weight of the $\ell_{1,2}$ penalty, with the authors' numbers.",
    "Accuracy against penalty weight, here and by the authors; both fall for large weights.",
    {"weight": weights, "accuracy": swept_accuracy},
)
run.claim(
    "C9",
    [float(a) for a in swept_accuracy],
    holds=swept_accuracy[-1] < swept_accuracy[weights.index(penalty)] - 0.02,
    why="Too few epochs for the largest weight to tell",
    note=r"Test accuracy for $\lambda$ over width multiplier = "
    + ", ".join(f"{p:g}" for p in weights)
    + ".",
)
run.glue("graft-penalties", ", ".join(f"{p:g}" for p in weights))
run.glue("graft-penalty-accuracy", ", ".join(f"{100 * a:.0f}%" for a in swept_accuracy))

# %% [markdown]
# For $\lambda$ over width multiplier of {glue:text}`graft-penalties` the accuracies are
# {glue:text}`graft-penalty-accuracy`.
#
# ## What was found

# %%
run.claims_table()

# %% [markdown]
# ### What differs from the paper, and why
#
# - *Width, depth, data and epochs.* This run has {glue:text}`graft-setting`; the paper VGG-16 at
#   width 1 on CIFAR-10 for 200 epochs. The increases here are those of narrow nets.
# - *The joint* is the exact minimum on {glue:text}`graft-n-fit` images, not six epochs of Adam on
#   augmented ones.
# - *The weight of the penalty* is multiplied by the width multiplier, as explained above; at width
#   1 it is the paper's.
# - *The full experiment* is planned as `make book PROFILE=paper`: {glue:text}`graft-plan`. It needs
#   a GPU, and has not been run: its stages and their resumption were tried on a CPU at toy size
#   only.
#
# ### To run this chapter with other parameters
#
# ```
# make chapter CH=04_grafting P="width=0.25 epochs=30 seed=3"
# ```
#
# or with papermill alone, on the notebook that the build leaves beside the executed one. The
# parameters, their types and ranges are in the first code cell. Training the main nets of this run
# took {glue:text}`graft-train-seconds` s. With a `store`, checkpoints and finished sweeps stay in
# that folder, training stops after `minutes` with an error that says so, and running the chapter
# again goes on from there with identical results; this is how the full-width run fits into short
# leases of a GPU.

# %% tags=["hide-input"]
run.glue("graft-n-fit", f"{len(fit):,}")
# of the paper profile: four nets 200 epochs, three with another penalty and eight of other widths
# 20 epochs
passes = (4 * 200 + (3 + 8) * 20) * 780 * 64
run.glue(
    "graft-plan",
    f"four full-width nets (two initialisers, two seeds), 200 epochs, {len(checkpoint_epochs(200))}"
    f" checkpoints, all 12 layers; {passes / 1e6:.0f} million image passes, which at an assumed"
    f" 40,000 images a second are {passes / 4e4 / 60:.0f} minutes of training, and six of grafting,"
    " in four stages of at most nine",
)

# %%
run.provenance()
