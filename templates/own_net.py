# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own net
#
# A module of yours, step by step: what the library understood of it, whether a channel can be split
# and merged again, what merging costs, a certificate, and how well it can be grafted onto itself.
# The page "Your own net" of the book explains the steps.

# %% tags=["parameters"]
module: str = "my_net.py:make"  # path.py:function, which takes nothing and gives the nn.Module
data: str = "my_data.npz"  # .npz file of x (n, channels, rows, columns) or (n, features), and y
samples: int = 200  # of the data that are used, in [2, 100000]
alpha: float = 0.3  # share of the copy in a split, in [-10, 10]
cosines: list[float] = [1.0, 0.9, 0.7]  # channels at least so alike are merged, in [-1, 1]

# %%
from companion import params, paths
from experiments import own_net

known = params.declared((paths.root() / "templates" / "own_net.py").read_text(encoding="utf-8"))
params.resolve(known, {name: globals()[name] for name in known}, "own_net", texts=False)
net = own_net.load_net(module)
x, y = own_net.load_data(data, samples)

# %% [markdown]
# ## What was understood
#
# Channels that belong together, and why some are left alone.

# %%
own_net.understood(net)

# %% [markdown]
# ## Split and merged again
#
# Largest change of an output, relative to the largest output: rounding.

# %%
own_net.splits(net, x, alpha)

# %% [markdown]
# ## What merging costs

# %%
own_net.merges(net, x, cosines)

# %% [markdown]
# ## A certificate

# %%
own_net.certificate(net, x, y, alpha)

# %% [markdown]
# ## Grafted onto itself
#
# The loss of the joint relative to the variance of the features, after each submodule: 0 is a
# perfect match.

# %%
own_net.self_grafts(net, x)
