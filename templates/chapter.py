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
# # A chapter
#
# First what the paper says, in a sentence: splitting a neuron leaves the output as it is
# {cite}`zhang2021embedding`. {numref}`fig-template-outputs` shows two nets that are one function.

# %% tags=["parameters"]
samples: int = 50  # points of the line, in [2, 10000]
alpha: float = 0.3  # share of the copy, in [-10, 10]
seed: int = 0  # seed of every random draw, >= 0

# %%
import matplotlib.pyplot as plt
import torch

from companion import chapter, figures
from lib.nets import forward, init
from lib.width import split

run = chapter.start("07_template", globals())

# %% [markdown]
# ## The experiment

# %%
net = init((1, 3, 1), "tanh", generator=torch.Generator().manual_seed(seed))
wide = split(net, 1, 0, alpha)
x = torch.linspace(-2, 2, samples, dtype=torch.float64).unsqueeze(-1)
before, after = forward(net, x).flatten(), forward(wide, x).flatten()
run.glue("template-gap", (before - after).abs().max())

# %% tags=["hide-input"]
fig, ax = plt.subplots()
ax.plot(x, before, label="3 neurons", color=figures.BLUE)
ax.plot(x, after, "--", label="4 neurons", color=figures.ORANGE)
ax.set(xlabel="input", ylabel="output")
ax.legend()
run.figure(
    fig,
    "outputs",
    "The output before and after a neuron is split.",
    "Two curves that lie on each other.",
    {"x": x.flatten(), "before": before, "after": after},
)

# %%
run.claim("X1", (before - after).abs().max(), note="Largest gap on the line.")

# %% [markdown]
# ## What was found
#
# The largest gap is {glue:text}`template-gap`.

# %% tags=["remove-input"]
run.claims_table()

# %% tags=["remove-input"]
run.provenance()
