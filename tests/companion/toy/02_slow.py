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

from companion import chapter
from lib.nets import activations

run = chapter.start("02_slow", globals())

# %%
time.sleep(wait)
if fail:
    raise RuntimeError("the toy was told to fail")
run.claim("T2", holds=activations.get("relu").degree == 1, note="ReLU.")

# %%
run.claims_table()

# %%
run.provenance()
