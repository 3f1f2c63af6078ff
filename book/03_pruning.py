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
# The embedding principles build wide and deep nets from small ones. Read backwards, they are a way of pruning: where
# training stalls, a wide net often *is* a narrow one in disguise, with many neurons that point the same way, and a deep one
# is shallow, with layers that act linearly on the data. Both can then be merged away, and the output hardly notices.
#
# This chapter redoes the paper's experiment on it {cite}`zhang2021embedding`, whose printed settings do not lead to its printed
# plateau, and finds the ones that do. It then merges layers {cite}`bai2024depth`, compares the loss levels at which nets of
# different widths stall, and takes up the question with which the paper ends: how does such pruning compare with the known
# methods?

# %% tags=["parameters"]
data: str = "digits"          # images to train on, one of digits, mnist
images: int = 1000            # training images, in [100, 60000]
width: int = 400              # hidden neurons of the net of Fig. 5, >= 50
rate: float = 3e-5            # learning rate of Adam, in (0, 0.1]
epochs: int = 6000            # epochs until the plateau, >= 1000
retraining: int = 3000        # epochs of the merged nets, >= 500
seeds: int = 3                # nets in the comparison with other methods, >= 1
tuning: int = 300             # epochs after pruning in that comparison, >= 1
deep_epochs: int = 4000       # epochs of the deep nets, >= 500
spectrum_widths: list[int] = [1, 2, 3, 8, 30]  # widths of the loss spectra, >= 1
spectrum_seeds: int = 20      # nets of each width there, >= 2
spectrum_epochs: int = 100000 # epochs of gradient descent there, >= 1000
seed: int = 0                 # seed of every random draw, >= 0

# %% tags=["hide-input"]
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch

from lib.book import chapter
from lib.critical.windows import slow_windows
from lib.descent import descend
from lib.mlp import flatten, forward, init
from lib.prune import merge_layers, merge_neurons, reduce
from lib.prune.comparison import compare
from lib.prune.sample import accuracy, agreement, standardise
from lib.prune.training import softmax_mse, train
from lib.risk import mse, risk
from lib.width import embed, rescale

run = chapter.start("03_pruning", globals())
from lib.book.figures import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, SKY  # after start()

# %% [markdown]
# ## Merging, the way back from embedding
#
# A neuron with input weights and bias $v = (w, b)$ and output weights $a$ has the *amplitude* $|a|\,|v|$. For a ReLU, or any activation with
# $\sigma(\beta t) = \beta\,\sigma(t)$ for $\beta > 0$, neurons of one direction $v/|v|$ compute one function up to scale. A group $G$ of them can be
# replaced by a single one,
#
# $$ a_j \leftarrow \sum_{k \in G} a_k \, \frac{|v_k|}{|v_j|} , $$
#
# which leaves the output as it was if the directions are equal, and nearly so if they are close. Other activations can merge equal neurons only.
# A neuron that does not write is dropped; one that does not read is a constant and joins the next bias. `merge_neurons` does all of this in every
# layer, and reports the groups, a bound on the change of the output, and the change itself.
#
# "Similarity in the same group is at least 0.9", says the paper. Cosine similarity is no equivalence relation, so this does not yet define groups.
# We read it literally: visit the neurons from the largest amplitude down, and let each join the nearest group all of whose members have cosine
# at least 0.9 with it, or else open a group of its own. The rule is deterministic, and no chain can connect neurons that point in different directions.
#
# Merging undoes splitting, null neurons and rescaled copies exactly:

# %%
draws = torch.Generator().manual_seed(seed)
net = init((5, 6, 4, 2), "relu", generator=draws)
steps = [(1, 0, 0.3), (1, 0, -1.5), (1, None, 0.7), (2, 3, 2.0), (1, 4, 0.5), (2, None, -1.0)]
wide = rescale(rescale(embed(net, steps), 1, 6, 50.0), 2, 4, 0.01)
back = merge_neurons(wide, cosine=1.0, x=torch.randn(200, 5, generator=draws, dtype=torch.float64))
gap = float((flatten(back.net) - flatten(net)).abs().max())
print(f"{net}\n{wide}\n{back.net}: parameters differ from the first net's by at most {gap:.0e}")
for layer in back.layers:
    print(f"layer {layer.layer}: groups {layer.groups}, dropped {layer.dropped}")

# %% [markdown]
# ## A plateau on images
#
# The experiment: a ReLU net with one hidden layer of {glue:text}`pruning-width` neurons and no biases (a 1 is appended to the input), {glue:text}`pruning-images`
# training images, full-batch Adam at rate {glue:text}`pruning-rate`, every parameter drawn from $N(0, 1/m^6)$, and "MSE loss".
#
# With the mean squared error of the *outputs* there is no plateau: the loss falls by a steady power law through the printed $6.3 \cdot 10^{-4}$, and the nets
# that we find on the way do not have the printed groups. The published code of the paper's group has the missing piece: its nets for images end in a
# **softmax**, and the mean squared error is taken of the resulting probabilities,
#
# $$ R = \frac{1}{10\,n} \sum_{i,k} \big( \mathrm{softmax}(f(x_i))_k - y_{ik} \big)^2 , $$
#
# with inputs standardised by the mean and deviation of all pixels. A softmax that is sure of a wrong class has no gradient. Each such image
# costs up to $2/(10\,n)$, and while the others fit ever better, the loss is held up by the few that do not move.

# %%
def load(split: str):
    pixels, labels = run.data(data, split)
    return pixels[:images] if split == "train" else pixels, labels[:images] if split == "train" else labels


every = run.data(data, "train")[0]
to_sample = partial(standardise, mean=float(every.mean()), std=float(every.std()))
sample, test = to_sample(*load("train")), to_sample(*load("test"))


def start(number: int):
    generator = torch.Generator().manual_seed(seed + number)
    return init((sample.x.shape[1], width, 10), "relu", std=width**-3, bias=False, generator=generator, dtype=torch.float32)


fit = partial(train, x=sample.x, y=sample.y, lr=rate)
with ThreadPoolExecutor(2) as pool:
    plain = pool.submit(fit, start(0), steps=epochs, loss=mse)
    wide = fit(start(0), steps=epochs, loss=softmax_mse, records=150, keep=True)
windows = slow_windows(wide.steps, wide.losses, slope=0.3, ratio=1.25)
