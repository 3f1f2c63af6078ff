# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A second chapter

# %% tags=["parameters"]
wait: float = 0.0  # seconds of sleep, >= 0
fail: bool = False  # raise an error after it

# %%
import time

import torch

from companion import chapter
from companion.trials import Trials
from lib.nets import activations

run = chapter.start("02_slow", globals())

# %%
time.sleep(wait)
if fail:
    raise RuntimeError("the toy was told to fail")
relu = activations.get("relu").value
x = torch.linspace(-1, 1, 9)
seeds = range(1, 6)
run.claim(
    "T2",
    trials=Trials({"seed": seeds, "value": [float((relu(s * x) == s * relu(x)).all()) for s in seeds]}),
    nulls={
        "square": Trials({"seed": seeds, "value": [float(((s * x) ** 2 == s * x**2).all()) for s in seeds]})
    },
    note="ReLU.",
)

# %%
run.claims_table()

# %%
run.provenance()
