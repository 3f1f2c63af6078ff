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
# # A toy chapter
#
# ```{prf:theorem} Oddness
# :label: thm-toy
# For all $x$,
#
# $$\tanh(-x) = -\tanh(x).$$
# ```
#
# {prf:ref}`thm-toy` is what the paper says, in other words that $\tanh$ is odd
# {cite}`zhang2021embedding`: see {numref}`fig-toy-odd`, where the largest gap is
# {glue:text}`toy-gap`.

# %% tags=["parameters"]
points: int = 50  # samples of the line, >= 2
scale: float = 1.0  # half length of the line, in (0, 10]
seed: int = 0  # seed of every random draw, >= 0

# %%
import matplotlib.pyplot as plt
import numpy as np

from companion import chapter

run = chapter.start("01_toy", globals())

# %% [markdown]
# ## The experiment

# %%
x = np.linspace(-scale, scale, points)
y = np.tanh(x)
gap = np.abs(y + np.tanh(-x)).max()
run.glue("toy-gap", gap)

# %%
fig, ax = plt.subplots()
ax.plot(x, y)
ax.set(xlabel="x", ylabel="tanh x")
run.figure(
    fig,
    "odd",
    "The function $\\tanh$.",
    "A curve that rises from the lower left.",
    {"x": x, "y": y},
)

# %%
run.claim("T1", gap, note="Largest sum of opposite values.")

# %% [markdown]
# ## What was found

# %% tags=["remove-input"]
run.claims_table()

# %% tags=["remove-input"]
run.provenance()
