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
# # Pruning at critical points
#
# The embedding principles build wide and deep nets from small ones. Read backwards, they are a way
# of pruning: where training stalls, a wide net often *is* a narrow one in disguise, with many
# neurons that point the same way, and a deep one can be shallow, with layers that act linearly on
# the data. Such neurons and layers can be merged away, and the output hardly notices.
#
# This chapter redoes the paper's experiment on it {cite}`zhang2021embedding`, whose printed
# settings do not lead to its printed plateau, finds the setting that does, and explains the height
# of the plateau. It then compares the loss levels at which nets of different widths stall, merges
# layers {cite}`bai2024depth`, and takes up the question with which the paper ends: how does such
# pruning compare with the known methods?

# %% tags=["parameters"]
data: str = "digits"  # images to train on, one of digits, mnist
images: int = 1000  # training images, in [100, train(data)]
width: int = 200  # hidden neurons of the net of Fig. 5, in [20, 10000]
rate: float = 3e-4  # learning rate of Adam there, in (0, 0.1]
epochs: int = 600  # epochs of the wide net, in [100, 1000000]
mark: int = 400  # epoch of the merge, the paper's blue dot, in [50, epochs]
amplitude: float = 0.1  # share of the largest amplitude to stay, in [0, 1)
others_tried: int = 6  # changes of one setting tried for the plateau, in [0, 7]
retraining: int = 300  # epochs of the merged net, in [50, 1000000]
subsets: int = 4  # other choices of images and start, in [1, 100]
seeds: int = 5  # nets in the comparison with other methods, in [1, 100]
rival_rate: float = 3e-4  # learning rate of that comparison, in (0, 0.1]
rival_epochs: int = 400  # epochs of its dense nets, in [50, 100000]
tuning: int = 60  # epochs after pruning, in [1, 100000]
cosines: list[float] = [0.95, 0.9, 0.6]  # merges compared, at least 2 of them, in [0, 1]
deep_nets: int = 8  # deep nets on Iris, from small and ordinary weights each, in [1, 1000]
deep_epochs: int = 12500  # epochs of gradient descent there, in [1000, 10000000]
further: int = 3000  # epochs of both nets after layers went, in [1, 1000000]
deep_images: int = 200  # images that `seeds` + 2 deep nets learn, in [100, train(data)]
image_epochs: int = 1000  # epochs of gradient descent there, in [100, 1000000]
spectrum_widths: list[int] = [1, 2, 3, 8, 30]  # spectra, at least 2 of them, rising, in [1, 5000]
spectrum_seeds: int = 20  # nets of each width, in [2, 1000]
spectrum_neurons: int = 2000  # of all nets of a width, so the widest are fewer, in [2, 1000000]
spectrum_epochs: int = 400000  # epochs of gradient descent there, in [20000, 10000000]
seed: int = 0  # seed of every random draw, >= 0

# %% tags=["hide-input"]
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch

from companion import chapter, panels
from companion.measurement import Cause, Need
from companion.trials import Trials
from experiments.pruning import contest, drawing, fewer_layers, loss_spectra, redrawn, shortening
from experiments.pruning.plateau import Setting, attempt, other_settings, outcome, wide_net
from experiments.pruning.samples import accuracy, agreement, standardise
from experiments.pruning.stuck_images import stuck
from experiments.pruning.training import Adam, softmax_mse, train
from experiments.tables import columns
from lib.critical import slow_windows
from lib.depth import lift
from lib.merge import merge_layers, merge_neurons
from lib.nets import flatten, forward, init, mse, risk
from lib.symmetry import rescale
from lib.width import embed

run = chapter.start("03_pruning", globals())
from companion.figures import BLUE, INK, ORANGE, RED  # after start()

torch.set_num_threads(max(1, torch.get_num_threads() // 2))  # trainings run two at a time
draws = torch.Generator().manual_seed(seed)
on_mnist = data == "mnist"
print_only = "The printed number belongs to MNIST; this profile trains on digits."

# %% [markdown]
# ## Merging, the way back from embedding
#
# A neuron with input weights and bias $v = (w, b)$ and output weights $a$ has the *amplitude*
# $|a|\,|v|$. For a ReLU, or any activation with $\sigma(\beta t) = \beta\,\sigma(t)$ for
# $\beta > 0$, neurons of one direction $v/|v|$ compute one function up to scale. A group $G$ of
# them can be replaced by a single one,
#
# $$ a_j \leftarrow \sum_{k \in G} a_k \, \frac{|v_k|}{|v_j|} , $$
#
# which leaves the output as it was if the directions are equal, and nearly so if they are close.
# Other activations can merge equal neurons only. A neuron that does not write is dropped; one that
# does not read is a constant and joins the next bias. `merge_neurons` does all of this in every
# layer, and reports the groups, a bound on the change of the output, and the change itself.
#
# Merging undoes splitting, null neurons and rescaled copies exactly:

# %%
net = init((5, 6, 4, 2), "relu", generator=draws)
steps = [(1, 0, 0.3), (1, 0, -1.5), (1, None, 0.7), (2, 3, 2.0), (1, 4, 0.5), (2, None, -1.0)]
wide = rescale(rescale(embed(net, steps), 1, 6, 50.0), 2, 4, 0.01)
back = merge_neurons(wide, cosine=1.0, x=torch.randn(200, 5, generator=draws, dtype=torch.float64))
gap = float((flatten(back.net) - flatten(net)).abs().max())
print(f"{net}\n{wide}\n{back.net}: back to within {gap:.0e}")
for layer in back.layers:
    print(f"layer {layer.layer}: groups {layer.groups}, dropped {layer.dropped}")
print(f"output: predicted to change by at most {back.predicted:.1e}, changed by {back.found:.1e}")

# %% [markdown]
# ## A plateau on images
#
# The experiment of Fig. 5: a ReLU net with one hidden layer and no biases (a 1 is appended to the
# input), {glue:text}`images` training images of {glue:text}`data`, full-batch Adam, every parameter
# drawn from $N(0, 1/m^6)$, and "MSE loss". The paper marks epoch 5,000, where the loss is
# $6.34 \cdot 10^{-4}$.
#
# With the mean squared error of the *outputs* there is no plateau at that height: the loss falls
# through it by a steady power law. The [published
# code](https://github.com/xuzhiqin1990/understanding_dl) of the paper's group has the missing
# piece. Its training loop for images puts a **softmax** behind the net, and takes the mean squared
# error of the probabilities,
#
# $$ R = \frac{1}{K n} \sum_{i=1}^n \sum_{k=1}^K \big( p_{ik} - y_{ik} \big)^2 , \qquad p_i =
# \mathrm{softmax}\,f(x_i) . $$
#
# We train the same net with both losses; inputs are standardised by mean and deviation of all
# pixels.


# %%
def load(split: str, count: int | None = None):
    found, labels = run.data(data, split)
    return found[:count], labels[:count]


def start(number: int):
    return wide_net(sample.x.shape[1], width, seed + number)


every = run.data(data, "train")
to_sample = partial(standardise, mean=float(every[0].mean()), std=float(every[0].std()))
sample, test = to_sample(*load("train", images)), to_sample(*load("test"))
records = sorted({0, mark // 2, mark, epochs, *np.geomspace(1, epochs, 60).astype(int).tolist()})
fit = partial(train, start(0), sample.x, sample.y, records=records, keep=True)
with ThreadPoolExecutor(2) as pool:
    stated, soft = pool.map(lambda loss: fit(Adam(epochs, rate, loss)), (mse, softmax_mse))
windows = slow_windows(soft.steps, soft.losses, slope=0.5, ratio=1.25)
dense, level = soft.kept[records.index(mark)], float(soft.losses[records.index(mark)])
given_up = stuck(forward(dense, sample.x), sample.labels)

# %% [markdown]
# ### Why it is a plateau, and why at this height
#
# ```{prf:proposition} Where a squared error of probabilities stalls
# :label: prop-stuck
# For one sample with label $t$, the loss $\ell = \sum_k (p_k - y_k)^2$ of $p = \mathrm{softmax}(z)$
# is stationary at $p = e_t$, where it is 0, and, in the limit $p_t \to 0$, at every $p$ that is
# uniform on $s \ge 1$ wrong classes, where it is $1 + 1/s$. At the latter,
# $-\partial \ell/\partial z_t > 0$ for $p_t > 0$, and of order $p_t$.
# ```
#
# ```{prf:proof}
# The derivatives are
#
# $$ \frac{\partial \ell}{\partial z_j} = 2 p_j \Big( p_j - y_j - \sum_k p_k (p_k - y_k) \Big) . $$
#
# Where $p_j = 0$ they vanish; the other brackets are all equal to $1/s - 1/s = 0$ if $p = 1/s$ on
# the $s$ classes, and then $\ell = 1 + s \cdot s^{-2}$. For the true class the bracket tends to
# $-1 - 1/s < 0$, and its factor is $p_t$.
# ```
#
# So a sample that the net is sure to have wrong rests at a *saddle at infinity*: the way out is
# downhill, but the slope is proportional to $p_t$, and gradient flow takes a time of order $1/p_t$
# to get away. (The runs here use Adam, whose steps do not shrink with the slope: for them this is
# no prediction.) Between two such events the loss of the whole sample is held up by
#
# $$ \frac{1}{K n} \sum_{i\ \mathrm{stuck}} \Big( 1 + \frac{1}{s_i} \Big) . $$
#
# (The paper remarks that for losses like cross entropy meaningful critical points may not exist at
# finite parameters; the same is true of this one.)
#
# The height of a plateau counts images. At epoch {glue:text}`mark` we find {glue:text}`stuck-count`
# images whose true class has a probability below 0.05; their costs: {glue:text}`stuck-costs`. The
# sum over $1 + 1/s_i$ accounts for {glue:text}`stuck-level` of the loss of {glue:text}`level`. This
# is accounting, not prediction: the $s_i$ are read off the same outputs.
# Slow windows below a loss of 0.05: {glue:text}`late-windows`.

# %% tags=["hide-input"]
counts = [stuck(forward(n, sample.x), sample.labels) for n in soft.kept]
stuck_level = [c.level for c in counts]
fig, axes = panels.frame(2, 3.3, ratios=(3, 2))
drawing.windows(axes[0], windows)
losses = {
    "MSE of the outputs": (stated.losses, RED),
    "MSE of the softmax": (soft.losses, BLUE),
    "stuck images alone": (np.maximum(stuck_level, 1e-9), ORANGE),
}
drawing.curves(axes[0], soft.steps, losses)
axes[0].plot(mark, level, "o", color=BLUE)
if on_mnist:
    axes[0].plot(5000, 6.34e-4, "x", color=INK, ms=7, label="printed")
axes[0].set_ylim(float(min(stated.losses.min(), soft.losses.min())) / 2, 0.3)
axes[0].legend(fontsize=8, loc="lower left")
drawing.image_costs(axes[1], forward(dense, sample.x), sample.y, len(given_up.index), mark)
run.figure(
    fig,
    "plateau",
    "Left: loss of the wide net with both readings of “MSE loss”, the slow windows found (shaded),"
    " and the part of the loss that stuck images explain. Right: cost of the costliest images at"
    " the marked epoch; dotted: $1 + 1/s$ for $s = 1$ to 4.",
    "Loss against epoch on logarithmic axes for two losses, and a sequence of image costs that"
    " falls from at most two towards zero.",
    {
        "epoch": soft.steps,
        "mse": stated.losses,
        "softmax_mse": soft.losses,
        "stuck_images": [len(c.index) for c in counts],
        "stuck_level": stuck_level,
    },
)

# %% tags=["hide-input"]
run.glue("data", {"digits": "the digits of scikit-learn", "mnist": "MNIST"}[data])
for name in ("images", "width", "rate", "mark", "level"):
    run.glue(name, globals()[name])
costs = ", ".join(f"{c:.2f}" for c in given_up.cost[:12].tolist())
run.glue("stuck-count", len(given_up.index))
run.glue("stuck-costs", costs + (", …" if len(given_up.cost) > 12 else "") or "none")
run.glue("stuck-level", given_up.level)
run.glue("stated-level", float(stated.losses[records.index(mark)]))
spoken = [f"epochs {w.first:,} to {w.last:,}, loss {w.loss:.2g}" for w in windows if w.loss < 0.05]
run.glue("late-windows", "; ".join(spoken) or "none")
for w in windows:
    print(
        f"slow window: epochs {w.first:,} to {w.last:,}, loss {w.loss:.3g}, |d log loss / d log"
        f" epoch| up to {w.slope:.2f}"
    )

# %% [markdown]
# ### Which settings were tried
#
# That the softmax is the missing piece has to be shown against the other candidates. From the same
# start each of these changes one thing, and is trained to the marked epoch (the first
# {glue:text}`others-tried` of them here): the scale of the pixels ($[0, 1]$ instead of
# standardised) with either loss, $\varepsilon$ and the rate of Adam, the variance of the start,
# gradient descent with momentum from there, and the precision.

# %%
in_unit_range = partial(standardise, mean=0.0, std=float(every[0].max()))
pixels = in_unit_range(*load("train", images))
exact = to_sample(*load("train", images), dtype=torch.float64)
others = list(other_settings(start(0), sample, pixels, exact, rate).items())[:others_tried]
to_mark = [r for r in records if r <= mark]
with ThreadPoolExecutor(2) as pool:
    ends = list(pool.map(lambda o: attempt(o[1], rate, mark, to_mark), others))
settings = {
    "outputs, as stated": (Setting(mse, sample, start(0)), stated),
    "softmax": (Setting(softmax_mse, sample, start(0)), soft),
} | {name: (setting, end) for (name, setting), end in zip(others, ends, strict=True)}
tried = {n: outcome(*settings[n], to_mark, amplitude) for n in sorted(settings)}
print(f"{'MSE of the':32} loss at {mark:,}  over {mark // 2:,}  groups  agreement  stuck images")
for name, o in tried.items():
    print(
        f"{name:32} {o.curve[-1]:13.2e}  {o.kept:10.2f}"
        f"  {o.groups:6}  {100 * o.agreement:7.1f} %  {'' if o.stuck is None else o.stuck:>12}"
    )

# %% tags=["hide-input"]
fig, (ax,) = panels.frame(1, 3.3)
curves = {name: o.curve for name, o in tried.items()}
drawing.search(ax, to_mark, curves)
if on_mnist:
    ax.plot(5000, 6.34e-4, "x", color=INK, ms=7, label="printed")
    panels.beside(ax, 6.5)
run.figure(
    fig,
    "search",
    "Loss for every setting tried: red with the MSE of the outputs, blue with that of the softmax.",
    "Loss curves on logarithmic axes, all from 0.1 or a little less at the first epoch.",
    {"epoch": to_mark, **curves},
)
run.glue("others-tried", others_tried)
for kind in ("outputs", "softmax"):
    moved = [o for name, o in tried.items() if name.startswith(kind) and o.curve[-1] < 0.05]
    left, groups = [o.kept for o in moved], [o.groups for o in moved]
    run.glue(f"left-{kind}", f"{min(left):.2f} to {max(left):.2f}" if moved else "none")
    run.glue(f"groups-{kind}", f"{min(groups)} to {max(groups)}" if moved else "none")

# %% [markdown]
# Where the loss has left its first level and is below 0.05, it falls over the second half of these
# epochs to {glue:text}`left-outputs` of itself with the MSE of the outputs, and to
# {glue:text}`left-softmax` with that of the softmax; 1 would be a plateau. The neurons form
# {glue:text}`groups-outputs` and {glue:text}`groups-softmax` groups.
#
# To see how much the height depends on the choice, we draw other images and other starts, and
# follow each to the marked epoch in the same way, and on to the merge and the retraining that come
# next.

# %%
plan = redrawn.Plan(rate, mark, amplitude, min(186, retraining), retraining)


def drawn(number: int):
    order = np.random.default_rng([seed, number]).permutation(len(every[0]))[:images]
    return to_sample(every[0][order], every[1][order])


def follow(number: int):
    on = drawn(number - 1) if number else sample
    net = plan.train(start(number), on) if number else dense
    return redrawn.follow(net, on, test, plan, seed + number)


with ThreadPoolExecutor(2) as pool:
    followed = list(pool.map(follow, range(subsets + 1)))
freed = redrawn.without(sample, given_up.index)
relief = float(risk(plan.train(start(0), freed), freed.x, freed.y, softmax_mse)) / level

# %% tags=["hide-input"]
print("loss       stuck images   their 1 + 1/s alone   groups")
for d in followed:
    count, counted = len(d.given_up.index), d.given_up.level
    print(f"{d.level:.3e}  {count:12}   {counted:.3e}             {d.groups}")
high, number = [d.level for d in followed], [len(d.given_up.index) for d in followed]
run.glue("heights", f"{min(high):.2g} to {max(high):.2g}")
run.glue("height-counts", f"{min(number)} to {max(number)}")
run.glue("relief", relief, digits=2)
which = range(subsets + 1)
if on_mnist:
    run.claim(
        "A10",
        trials=Trials({"resample": which, "stuck": number, "value": high}),
        nulls={
            "MSE of the outputs": Trials(
                {"resample": [0], "value": [float(stated.losses[records.index(mark)])]}
            )
        },
        cause=Cause(
            "loss without the images that stay stuck, over that with them", relief, "<= 0.5"
        ),
        note=f"Loss at epoch {mark:,} with the MSE of the softmax, one row for each choice of"
        f" {images} images and start, at the printed rate.",
    )
else:
    run.skip("A10", print_only)

# %% [markdown]
# With them the loss is {glue:text}`heights`, with {glue:text}`height-counts` stuck images. Trained
# anew without the images that stay stuck, the first net has {glue:text}`relief` times its loss at
# the marked epoch: it is they that hold it up.

# %% [markdown]
# ## The wide net is a narrow one
#
# The paper groups neurons whose cosine similarity is at least 0.9. Cosine similarity is no
# equivalence relation, so this does not yet define groups. We take it literally: visit the neurons
# from the largest amplitude down, and let each join the nearest group all of whose members have
# cosine at least 0.9 with it, or else open a group of its own. The rule is deterministic, and no
# chain can connect neurons that point in different directions. Neurons of low amplitude go, and
# each group is merged into one neuron.

# %%
merged, again = followed[0].merged, followed[0].again
(layer,), small, readings = merged.layers, merged.net, followed[0].groups
live = [k for k in range(width) if k not in set(layer.dropped)]
print(f"{width} neurons, {len(live)} of them live, {len(layer.groups)} groups; by rule: {readings}")
print(f"output: changed by at most {merged.predicted:.3g} predicted, by {merged.found:.3g} found")

# %% tags=["hide-input"]
by_size = sorted(layer.groups, key=len, reverse=True)
order = [k for g in by_size for k in g] + list(layer.dropped)
unit = torch.nn.functional.normalize(dense.weights[0], dim=1)
cosine = (unit[order] @ unit[order].T).numpy()
size = (dense.weights[0].norm(dim=1) * dense.weights[1].norm(dim=0))[order]
fig, axes = panels.frame(2, 3.5, ratios=(5, 3))
drawing.groups(axes, cosine, size, len(live))
run.figure(
    fig,
    "groups",
    "Cosine similarity of the input weights at the marked epoch, neurons ordered by group, the"
    " largest group first, and their amplitudes. Behind the line: neurons that are dropped for"
    " their low amplitude.",
    "A square matrix of similarities with dark blocks along its diagonal, and a scatter of"
    " amplitudes that falls to near zero behind a line.",
    {
        "order": order,
        "group_sizes": [len(g) for g in by_size],
        "amplitude": size,
        "cosine": cosine.astype(np.float16),
    },
)
run.glue("live", len(live))
run.glue("groups", len(layer.groups))
run.glue("largest-groups", ", ".join(str(len(g)) for g in by_size[:5]))
run.glue("readings", ", ".join(f"{n} ({rule})" for rule, n in readings.items()))
run.glue("merged-loss", float(risk(small, sample.x, sample.y, softmax_mse)))
run.glue("merged-accuracy", 100 * accuracy(small, test))
run.glue("dense-accuracy", 100 * accuracy(dense, test))
rows = [(k, rule, n) for k, d in enumerate(followed) for rule, n in d.groups.items()]
begun = redrawn.count_groups(start(0), ())
if on_mnist:
    draw, linkage, count = zip(*rows, strict=True)
    run.claim(
        "A10-groups",
        trials=Trials({"resample": draw, "linkage": linkage, "value": count}, "range"),
        nulls={
            "the net at its start": Trials(
                {"resample": list(begun), "value": list(begun.values())}, "range"
            )
        },
        note="One row for every choice of images and start and for each of three readings of a"
        f" group. Here {len(live)} of {width} neurons are live.",
    )
else:
    run.skip("A10-groups", print_only)

# %% [markdown]
# Of {glue:text}`width` neurons {glue:text}`live` are live, in {glue:text}`groups` groups; the
# largest have {glue:text}`largest-groups` members. Other readings of the threshold give others:
# {glue:text}`readings` groups.
#
# The merged net has a test accuracy of {glue:text}`merged-accuracy` % (before:
# {glue:text}`dense-accuracy` %) and a loss of {glue:text}`merged-loss`, against {glue:text}`level`
# before. Merging at cosine 0.9 rather than 1 costs something on the training loss; retraining shows
# whether the merged net belongs to the same plateau.

# %%
dot, steps = plan.dot, again.steps.tolist()
alike = [float(agreement(n, dense, test).diagonal().sum()) for n in again.kept]
rest, table = redrawn.rests(again), agreement(plan.at_dot(again), dense, test)
others = [
    float(agreement(a.dense, b.dense, test).trace())
    for a, b in zip(followed, [*followed[1:], followed[0]], strict=True)
]
firsts = {k: d.first for k, d in enumerate(followed) if d.first is not None}
afresh = {k: d.first_narrow for k, d in enumerate(followed) if d.first_narrow is not None}

# %% tags=["hide-input"]
fig, axes = panels.frame(2, 3.2, ratios=(1, 1))
drawing.windows(axes[0], rest)
drawing.curves(axes[0], again.steps, {"merged net": (again.losses, BLUE)})
panels.limit(axes[0], level, label="wide net when merged")
axes[0].plot(dot, float(again.losses[steps.index(dot)]), "o", color=BLUE)
axes[0].set_xlabel("epoch of retraining")
axes[0].legend(fontsize=8, loc="lower left")
drawing.predictions(axes[1], table)
run.figure(
    fig,
    "retraining",
    "Left: loss of the merged net in retraining, with slow windows, and the loss of the wide net"
    " when it was merged (dashed). Right: how often, in per cent of the test images, the two"
    " predict which classes, at the dot.",
    "A loss curve that falls to the dashed line, and a ten by ten table whose mass lies on the"
    " diagonal.",
    {"epoch": again.steps, "loss": again.losses, "agreement": alike, "predictions": table},
)
rests = [f"{w.loss:.3g} (epochs {w.first:,} to {w.last:,})" for w in rest]
run.glue("retrained-width", small.widths[1])
run.glue("agreement-first", 100 * alike[0])
run.glue("agreement-dot", 100 * alike[steps.index(dot)])
run.glue("dot", dot)
run.glue("rests", ", ".join(rests) or "none")
if on_mnist:
    run.claim(
        "A10-agreement",
        trials=Trials({"resample": which, "value": [d.same for d in followed]}),
        nulls={"wide nets of other draws": Trials({"resample": which, "value": others})},
        note=f"Share of {len(test):,} test images with the same prediction, at epoch {dot} of"
        f" retraining; {alike[0]:.4f} before it in the first draw.",
    )
    run.claim(
        "A10-retraining",
        trials=Trials({"resample": list(firsts) or [0], "value": list(firsts.values()) or [0.0]}),
        nulls={
            "a net of that width from the start": Trials(
                {"resample": list(afresh) or [0], "value": list(afresh.values()) or [0.0]}
            )
        },
        requires=[Need("draws with a slow window in retraining", len(firsts), ">= 5")],
        note="Loss of the first slow window of retraining over that of the wide net.",
    )
else:
    run.skip("A10-agreement", print_only)
    run.skip("A10-retraining", "Digits are fitted before any plateau but the first; see the text.")

# %% [markdown]
# The merged net of width {glue:text}`retrained-width` agrees with the wide one on
# {glue:text}`agreement-first` % of the test images before any retraining and on
# {glue:text}`agreement-dot` % at epoch {glue:text}`dot`. Its slow windows: {glue:text}`rests`.
#
# ## Nets of all widths stall at the same losses
#
# A critical point of a narrow net is one of all wider nets, and small initial weights lead descent
# from one such saddle to the next {cite}`zhang2025saddle`. If training visits them, nets of
# different widths should stall at common levels. The authors' book chapter shows this for the
# target
#
# $$ y = \mathrm{ReLU}(2x + 0.6) - \mathrm{ReLU}(x) + \mathrm{ReLU}(0.5x - 0.4) -
# \mathrm{ReLU}(1.5x - 0.6) $$
#
# and two-layer ReLU nets, by gradient descent at rate 0.001. The inputs are not stated; we take 40
# equispaced points on $[-2, 2]$, and parameters of standard deviation $0.05/\sqrt{m}$, which gives
# all widths the same small scale of output. The *loss spectrum* of a width is the histogram of
# $\log_{10}$ of the loss over all its epochs and seeds.

# %%
walks = loss_spectra.walk(spectrum_widths, spectrum_seeds, spectrum_neurons, spectrum_epochs, draws)
x1, y1 = loss_spectra.target()
narrow, zero = float(walks.runs[min(walks.runs)].losses[-1].min()), float(y1.square().mean())
stops = {m: loss_spectra.plateaus(r) for m, r in walks.runs.items()}
met = {m: [loss_spectra.visited(found, v) for v in (zero, narrow)] for m, found in stops.items()}
near = {m: [float(flags.mean()) for flags in pair] for m, pair in met.items()}
shares = loss_spectra.shares_below(walks, narrow / 2)
below = {m: float(share.mean()) for m, share in shares.items()}
error = {m: float(share.std() / len(share) ** 0.5) for m, share in shares.items()}

# %% tags=["hide-input"]
fig, axes = panels.frame(2, 3.4, ratios=(3, 2))
histograms = np.stack([loss_spectra.histogram(r, walks.even) for r in walks.runs.values()])
drawing.spectra(axes[0], list(walks.runs), histograms)
seated = loss_spectra.seated(walks.seats, narrow)
drawing.outputs_on_plateau(axes[1], seated)
run.figure(
    fig,
    "spectrum",
    "Left: loss spectra. Nets of all widths spend their time at the same few losses, and the wider"
    " ones more of it at low ones. Right: outputs at epoch 20,000 of nets that rest near the"
    " width-1 level.",
    "A heat map of loss frequencies by width with common bright bands, and outputs of nets of"
    " several widths that lie on each other.",
    {
        "width": list(walks.runs),
        "spectrum": histograms,
        "bins": loss_spectra.BINS,
        "share_below": list(below.values()),
    },
)

# %% tags=["hide-input"]
nets_seated = [n for nets in seated.values() for n in nets]
outputs = torch.stack([forward(n, x1)[:, 0] for n in nets_seated] or [y1[:, 0]])
apart = float((outputs - outputs[0]).square().mean(1).sqrt().max())
bent = {
    m: max(len(merge_neurons(n, 0.99, 0.05).layers[0].groups) for n in nets)
    for m, nets in seated.items()
}
wider = [m for m in walks.runs if m > 1]
worst = min(wider, key=lambda m: float((met[m][0] * met[m][1]).mean()))
lowest = min(float(r.losses[-1].min()) for r in walks.runs.values())
run.glue("zero-level", zero)
run.glue("narrow-level", narrow)
run.glue("near-narrow", "; ".join(f"{100 * near[m][1]:.0f} % at width {m:,}" for m in walks.runs))
run.glue("below", "; ".join(f"{100 * below[m]:.0f} % at width {m:,}" for m in walks.runs))
run.glue("apart", apart, digits=2)
run.glue("bent", "; ".join(f"{k} at width {m:,}" for m, k in bent.items()))
both = met[worst][0] * met[worst][1]
evenly = loss_spectra.visited_evenly(stops[worst], max(lowest, 1e-12), zero, seed)
tried = range(len(both))
run.claim(
    "A14",
    trials=Trials({"seed": tried, "width": [worst] * len(both), "value": both}, "share"),
    nulls={
        "second level drawn evenly": Trials(
            {"seed": tried, "value": met[worst][0] * evenly}, "share"
        )
    },
    note=f"One row for each net of width {worst}, of all widths above 1 that with the smallest"
    f" share: 1 if it has slow windows within 0.03 decades of the losses {zero:.3g} (zero"
    f" function) and {narrow:.3g} (minimum of width 1). All widths: "
    + "; ".join(f"width {m}: {near[m][0]:.2f}, {near[m][1]:.2f}" for m in walks.runs)
    + f". Outputs on the latter plateau differ by at most {apart:.2g} (root mean square).",
)
least, most = (shares[m] for m in (wider[0], wider[-1]))
pairs, half = min(len(least), len(most)), len(most) // 2
run.claim(
    "A14-lower",
    trials=Trials({"seed": range(pairs), "value": most[:pairs] - least[:pairs]}),
    nulls={
        "two halves of the widest": Trials(
            {"seed": range(half), "value": most[:half] - most[half : 2 * half]}
        )
    },
    note=f"Share of the epochs below half the second level, width {wider[-1]} less width"
    f" {wider[0]}. All widths: "
    + "; ".join(f"{below[m]:.2f} ± {error[m]:.2f}" for m in walks.runs)
    + ".",
)

# %% [markdown]
# Nets of every width first rest at the loss {glue:text}`zero-level` of the zero function and then
# at {glue:text}`narrow-level`, the minimum of width 1: {glue:text}`near-narrow` do so. There they
# compute the same function; outputs differ by at most {glue:text}`apart`, whatever the width, and
# merging leaves few neurons: {glue:text}`bent`. The share of the epochs spent below half that loss
# grows with the width: {glue:text}`below`.
#
# ## Merging layers
#
# A hidden layer whose neurons each stay in one affine piece of the activation on the data acts on
# them as an affine map, and can be multiplied into the next one without any change. `merge_layers`
# does that, and undoes lifting. Where a layer is only nearly linear it takes the best affine map of
# each neuron, if the error is within a tolerance, and reports it.

# %%
shallow = init((4, 6, 3), "relu", generator=draws)
xs = torch.randn(50, 4, generator=draws, dtype=torch.float64)
lifted = lift(shallow, xs, 1, 9, generator=draws)
gone = merge_layers(lifted, xs)
exact_gap = float((flatten(gone.net) - flatten(shallow)).abs().max())
print(f"{shallow}\n{lifted}\n{gone.net}: back to within {exact_gap:.0e}")

# %% [markdown]
# Do layers become linear in training? We train ReLU nets with three hidden layers of 20 on Iris, by
# gradient descent at rate 0.02 from small parameters (standard deviation 0.08). In each slow window
# of a loss curve we take the iterate with the smallest gradient and let `reduce` merge neurons and
# layers in turn, as long as the loss rises by no more than one per cent of what the net has
# *learned*, the loss of the best constant less its own. Three things are measured beside it, with
# the same budget: the net with its entries permuted, a net from ordinary weights (deviation
# $\sqrt{2/\text{inputs}}$) at the same loss, and that net after as many layers were merged by
# force. Then the deep and the reduced net are trained on, and a third from which all hidden layers
# were merged by force.

# %%
flowers = fewer_layers.scaled(*run.data("iris", "all"))
trained, ordinary = fewer_layers.train_flowers(flowers, deep_nets, deep_epochs, draws)
places = fewer_layers.slow_places(trained, ordinary, flowers)
points = [shortening.shorten(p, flowers, draws) for p in places]
ends = shortening.train_on(points, flowers, further)
print("epoch  loss    rise    right    after further training  layers that go (permuted, ordinary)")
for p, e in zip(points, ends, strict=True):
    print(
        f"{p.at.step:5} {p.at.loss:.4f} {p.rise:.5f} {p.right[0]:4} -> {p.right[1]:3}   "
        f" {e.losses[0]:.4f} -> {e.losses[1]:.4f}      {p.gone} ({p.permuted}, {p.ordinary})"
    )

# %% [markdown]
# And on images, where nets do not stall once they have left the constant: there we take the
# iterates at which a quarter, a half, and three quarters of the constant's loss are learned.

# %%
deep_sample = to_sample(*load("train", deep_images), dtype=torch.float64)
task = fewer_layers.Task(deep_sample.x, deep_sample.y, deep_sample.labels)
on_images = fewer_layers.train_images(task, seeds + 2, image_epochs)
levels = [task.constant * share for share in (0.75, 0.5, 0.25)]
of_images = [shortening.shorten(p, task, draws) for p in fewer_layers.places_at(*on_images, levels)]

# %% tags=["hide-input"]
fig, axes = panels.frame(2, ratios=(3, 2))
drawing.slow_layers(axes, trained, points)
run.figure(
    fig,
    "layers",
    "Left: loss of nets with three hidden layers on Iris; dots: the iterates that are reduced."
    " Right: their linearisation error, the part of a layer's variance that no line through each"
    " neuron's data explains. Blue: a layer goes within the budget; orange: none does.",
    "Loss curves with dots on their slow stretches, and errors of three layers: far lower in the"
    " upper two where a layer goes.",
    {"epoch": trained.steps, **{f"loss {k}": trained.losses[:, k] for k in range(deep_nets)}},
)

# %% tags=["hide-input"]
shorter = [(p, e) for p, e in zip(points, ends, strict=True) if p.gone]
stages = {"0.15 and more": (0.15, 1.0), "0.05 to 0.15": (0.05, 0.15), "less": (0.0, 0.05)}
layers_left = {
    name: ", ".join(str(3 - p.gone) for p in points if low <= p.at.loss < high) or "none found"
    for name, (low, high) in stages.items()
}
at_once = max((p.right[0] - p.right[1] for p, _ in shorter), default=0)
ratio = np.median([e.losses[1] / e.losses[0] for _, e in shorter]) if shorter else np.nan
run.glue("windows", len(points))
run.glue("shorter", len(shorter))
run.glue("layers-left", "; ".join(f"loss {name}: {left}" for name, left in layers_left.items()))
run.glue("at-once", at_once)
run.glue("flowers-lost", max((e.right[0] - e.right[1] for _, e in shorter), default=0))
run.glue("end-ratio", float(ratio), digits=2)
run.glue("permuted", sum(p.permuted > 0 for p in points))
run.glue("ordinary", sum(p.ordinary > 0 for p in points))
run.glue("images-shorter", f"{sum(p.gone > 0 for p in of_images)} of {len(of_images)}")
run.claim("B11", exact_gap, note=f"{lifted} merged back into {gone.net}.")


def layers_go(name: str, points, note: str) -> None:
    def one(flags) -> Trials:
        return Trials(shortening.by_net(points, [float(f) for f in flags]))

    run.claim(
        name,
        trials=one(p.gone > 0 for p in points),
        nulls={
            "entries permuted": one(p.permuted > 0 for p in points),
            "ordinary weights, same loss": one(p.ordinary > 0 for p in points),
        },
        note=note,
    )


if points:
    layers_go("B11-layers", points, "One row for each slow point at which a tenth was learned.")
else:
    run.skip("B11-layers", "No net has a slow window after it has learned something.")
layers_go("B11-images", of_images, f"{len(task.x)} images ({data}), {seeds + 2} nets.")


# %% tags=["hide-input"]
def kept(pairs) -> Trials:
    changes = [(after - before) / len(flowers.x) for before, after in pairs]
    return Trials(shortening.by_net([p for p, _ in shorter], changes))


if shorter:
    run.claim(
        "B11-accuracy",
        trials=kept(p.right for p, _ in shorter),
        nulls={"as many layers by force, ordinary weights": kept(p.forced for p, _ in shorter)},
        note="Change of the share of flowers classified rightly when layers go, before any"
        f" training; at the worst point {at_once} of {len(flowers.x)} flowers are lost.",
    )
    run.claim(
        "B11-later",
        trials=kept(e.right[:2] for _, e in shorter),
        nulls={"all hidden layers by force": kept(e.right[::2] for _, e in shorter)},
        note=f"The reduced net less the deep one after {further:,} further epochs of both.",
    )
else:
    run.skip("B11-accuracy", "No layer went, so no accuracy could be lost.")
    run.skip("B11-later", "No layer went, so no accuracy could be lost.")

# %% [markdown]
# At {glue:text}`shorter` of the {glue:text}`windows` slow points at least one layer goes; with
# permuted entries at {glue:text}`permuted`, in nets from ordinary weights at the same loss at
# {glue:text}`ordinary`; on images at {glue:text}`images-shorter` points. How many goes by the loss:
# the hidden layers that are left, point by point, are, at a {glue:text}`layers-left`. None of these
# layers is exactly linear in the sense of the theorem: a few weak neurons always change sign on
# some flower, so it is the approximate merging that applies. That permuted nets lose layers
# everywhere is no success: they compute next to nothing. So a layer that goes shows something only
# where the net has learned, and there it is the exception. At most {glue:text}`at-once` flowers are
# lost at once, and at most {glue:text}`flowers-lost` after further training of both, at the end of
# which the shorter nets have {glue:text}`end-ratio` times the loss of the deep ones (median). Every
# attempt of `reduce` is on record; here are those of the first point:

# %%
for s in points[0].less.steps if points else ():
    print(
        f"{s.action:14} {s.setting:6g}  {'-'.join(map(str, s.widths)):12} {s.n_parameters:5}"
        f" parameters  loss {s.risk:.5f}  {'kept' if s.accepted else 'refused'}"
    )

# %% [markdown]
# ## Against the known methods
#
# How such pruning "is related to existing pruning methods as well as the well-known lottery ticket
# hypothesis" is, so the paper closes, a problem for future research. We compare them on nets like
# that of Fig. 5, from {glue:text}`rival-seeds` seeds, trained at rate {glue:text}`rival-rate` for
# {glue:text}`rival-epochs` epochs, and cut to the same numbers of weights, which merging sets
# through its cosine:
#
# - **merging**, as above: whole neurons go, and what they computed is handed on;
# - **magnitude pruning** {cite}`han2015learning`: the smallest weights of both layers together
#   become zero;
# - **Torch-Pruning** {cite}`fang2023depgraph`: whole neurons go, ranked by one of its criteria; at
#   each size we show the criterion that comes out best *on the test images*, which favours it;
# - **lottery tickets** {cite}`frankle2019lottery`: the mask of magnitude pruning on the initial
#   weights, trained again from the start;
# - a **narrow net** of the merged net's size, trained from a random start.
#
# All but the last two are then tuned for the same few epochs. Compute is counted in multiply-adds
# of all training, with masked weights free, which no dense kernel gives: it is a bound in favour of
# the masks.

# %%
rules = contest.Rules(cosines, amplitude, rival_epochs, rival_rate, tuning, cosines[1:2])
usual = contest.ordinary_net(sample.x.shape[1], width, seed)
with ThreadPoolExecutor(2) as pool:
    ordinary = pool.submit(contest.train_dense, usual, sample, rules)
    compete = partial(contest.contest, rules, sample, test, start)
    contests = list(pool.map(compete, range(seeds)))
    ordinary = ordinary.result().net
points = [p for found in contests for p in found]

# %% tags=["hide-input"]
fig, axes = panels.frame(3, 3.3, share="y")
drawing.rivals(axes, points, tuning)
run.figure(
    fig,
    "rivals",
    "Test accuracy of pruned nets, mean over the seeds (small dots: each seed); dashed: the nets"
    " before pruning. Left: without further training. Middle: tuned, with tickets and narrow nets"
    " trained from the start. Right: the same nets against the compute of all training, that of"
    " the dense net included where one is needed.",
    "Three panels of accuracies by method, against the number of weights twice and against"
    " compute.",
    {
        "seed": np.repeat(range(seeds), [len(c) for c in contests]),
        "weights": [p.n_weights for p in points],
        "epochs": [p.trained for p in points],
        **columns(points, "method", "cosine", "accuracy", "loss", "work"),
    },
)

# %% tags=["hide-input"]
found = {
    (m, tuned): contest.pick(points, m, tuned) for m in drawing.METHODS for tuned in (False, True)
}
print("cosine weights       " + "".join(f"{m.removeprefix('torch-'):>13}" for m in drawing.METHODS))
for c in sorted(cosines, reverse=True):
    kept = np.mean([p.n_weights for p in found["merge", False][c]])
    for tuned in (False, True):
        row = [contest.summary(found[m, tuned], c) for m in drawing.METHODS]
        print(
            f"{c:6g} {kept:7,.0f} {'tuned' if tuned else 'cut':6}"
            + "".join(f"{text:>13}" for text in row)
        )
best = {c: s[0].method.split()[-1] for c, s in found["torch-pruning", True].items()}
print("best criteria of Torch-Pruning, tuned:", *(f"{n} at {c:g};" for c, n in best.items()))

# %% tags=["hide-input"]
middle = cosines[1]
for name, method, tuned in (
    ("merge-cut", "merge", False),
    ("merge-tuned", "merge", True),
    ("magnitude-cut", "magnitude", False),
    ("magnitude-tuned", "magnitude", True),
    ("torch-cut", "torch-pruning", False),
    ("torch-tuned", "torch-pruning", True),
    ("ticket", "ticket", True),
    ("narrow", "narrow", True),
):
    run.glue(f"rival-{name}", contest.summary(found[method, tuned], middle))
dense_accuracy = contest.mean_accuracy([p for p in points if p.method == "dense"])
kept = np.mean([p.n_weights for p in found["merge", False][middle]])
work = {m: np.mean([p.work for p in found[m, True][middle]]) for m in ("merge", "narrow")}
run.glue("rival-dense", f"{dense_accuracy:.1f}")
run.glue("rival-cosine", middle)
run.glue("rival-weights", f"{kept:,.0f} of {points[0].n_weights:,}")
run.glue("rival-seeds", seeds)
run.glue("rival-rate", rival_rate)
run.glue("rival-epochs", rival_epochs)
run.glue("usual-groups", len(merge_neurons(ordinary, middle, amplitude).layers[0].groups))
run.glue("usual-accuracy", 100 * accuracy(ordinary, test))
run.glue("rival-work", float(work["merge"] / work["narrow"]), digits=2)
by_merging, by_ranking = (
    contest.percent(found[m, False][middle]) for m in ("merge", "torch-pruning")
)


def by_seed(values):
    """Trials, one row per seed."""
    return Trials({"seed": range(seeds), "value": values})


run.claim(
    "A22",
    trials=by_seed(by_merging - by_ranking),
    nulls={"merging, one seed less another": by_seed(np.roll(by_merging, -1) - by_merging)},
    note=f"Test accuracy just pruned, in points, at cosine {middle:g}.",
)
told = {
    "reproduced": "merging keeps more than ranking by the best criterion does",
    "not reproduced": "merging does not keep more than ranking by the best criterion does",
}
run.glue("rival-text", told.get(run.verdict("A22"), "these seeds do not tell them apart"))

# %% [markdown]
# At cosine {glue:text}`rival-cosine`, with {glue:text}`rival-weights` weights left, mean and
# deviation over {glue:text}`rival-seeds` seeds of the test accuracy in per cent are (dense:
# {glue:text}`rival-dense`)
#
# | | just pruned | tuned |
# |---|---|---|
# | merging | {glue:text}`rival-merge-cut` | {glue:text}`rival-merge-tuned` |
# | Torch-Pruning, best criterion | {glue:text}`rival-torch-cut` | {glue:text}`rival-torch-tuned` |
# | magnitude | {glue:text}`rival-magnitude-cut` | {glue:text}`rival-magnitude-tuned` |
# | lottery ticket | | {glue:text}`rival-ticket` |
# | narrow net from a random start | | {glue:text}`rival-narrow` |
#
# Just pruned, {glue:text}`rival-text`. A condensed net has no neurons of little importance, only
# many equal ones. A criterion that ranks them keeps or cuts whole groups, and what the cut ones
# contributed is lost; merging hands it on. Tuning helps what has lost much. The ticket and the
# narrow net have to be trained from the start; the narrow net does so at a fraction of the compute,
# and where it ends as well as merging it is the cheaper way (merging takes {glue:text}`rival-work`
# times as much, because the wide net comes first).
#
# This is a statement about condensed nets. The same net from an ordinary initialisation (standard
# deviation $1/\sqrt{m_0}$), trained alike to {glue:text}`usual-accuracy` % test accuracy, has
# {glue:text}`usual-groups` groups at cosine {glue:text}`rival-cosine` among its {glue:text}`width`
# neurons: there merging finds little to merge, and other criteria have their place.
#
# ## What differs from the paper, and why
#
# - *The loss.* "MSE loss" means that of the softmax of the outputs; without the softmax there is no
#   plateau ({glue:text}`stated-level` at epoch {glue:text}`mark`).
# - *The height of the plateau* counts the images that stay stuck on wrong classes
#   ({prf:ref}`prop-stuck`), and so depends on which images and which random start; the printed
#   $6.34 \cdot 10^{-4}$ amounts to three to five of a thousand images, and its drop by
#   $1.1 \cdot 10^{-4}$ in retraining to one that comes free.
# - *Groups* need a rule beyond "at least 0.9" (see above), and merged neurons take the mean
#   direction of their group, not that of a random member.
# - *Layer pruning*: the text we have of {cite}`bai2024depth` names no settings; nets, data and
#   thresholds here are our own choice.

# %%
run.claims_table()

# %% [markdown]
# ### To run this chapter with other parameters
#
# ```
# make chapter CH=03_pruning P="width=400 cosines=[0.99,0.9,0.5] seed=3"
# make chapter CH=03_pruning P="data=mnist width=400 rate=3e-5 epochs=6000 mark=5000
# retraining=1500"
# ```
#
# or with papermill alone, on the notebook that the build leaves beside the executed one. The
# parameters, their types and ranges are in the first code cell.

# %%
run.provenance()
