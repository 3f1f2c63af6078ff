"""Splitting a neuron, the one-step embedding T^alpha_{l,s} of the embedding principle."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lib.nets import MLP
from lib.nets.checks import check_neuron, real
from lib.nets.dense import Dense, as_dense, as_kind_of, check_kept
from lib.nets.surgery import reindex


def split(net: Dense, layer: int, neuron: int, alpha: float | Tensor) -> Dense:
    """One-step splitting T^alpha_{l,s}: a copy of neuron s, placed last, takes the part alpha of
    its output weights.

    W'^[l] = [W^[l]; W^[l]_s],  b'^[l] = [b^[l]; b^[l]_s],
    W'^[l+1]_{:,s} = (1 - alpha) W^[l+1]_{:,s},  W'^[l+1]_{:,new} = alpha W^[l+1]_{:,s}.

    The output is unchanged for every input, and a critical point becomes a critical point, for
    every alpha.

    Args:
        net: one net or a batch of nets, or an nn.Sequential of Linear layers and activations.
        layer: l in 1..L-1, as in the papers (layer 0 is the input).
        neuron: s, a row of W^[l], counted from 0.
        alpha: any real number, or a tensor (*batch) of them; with one net, a tensor gives a batch
            of nets.
    Returns:
        The net with widths (m_0, ..., m_l + 1, ..., m_L), of the kind that was given.
    Raises:
        ValueError: no such hidden layer or neuron, alpha or a parameter is not finite, or alpha so
            large that rounding breaks the promise.
        TypeError: layer or neuron is no int, alpha no number or of another dtype than the net.
    Source: (Zhang et al. 2021, Def. 5 and Thm 1).

    >>> net = MLP((torch.ones(1, 1), torch.full((1, 1), 2.0)), (torch.zeros(1), None))
    >>> split(net, layer=1, neuron=0, alpha=-0.5).weights[1]
    tensor([[ 3., -1.]])
    >>> split(net, 1, 0, torch.linspace(0, 1, 5))
    MLP((5,) x 1-2-1, tanh, 6 parameters)
    """
    mlp: MLP = as_dense(net)
    check_neuron(mlp, layer, neuron)
    alpha = real("alpha", alpha, mlp)
    shares = torch.stack([1 - alpha, alpha], dim=-1)
    return as_kind_of(net, split_into(mlp, layer, neuron, shares))


def split_into(net: Dense, layer: int, neuron: int, shares: Sequence[float] | Tensor) -> Dense:
    """One neuron into k: copy i takes the part shares[i] of its output weights, and the parts add
    up to 1.

    The first share stays in place, the k - 1 copies come last: a composition of k - 1 splittings.

    Args:
        net, layer, neuron: as in `split`.
        shares: k >= 1 finite numbers of sum 1, or a tensor (*batch, k).
    Returns:
        The net with k - 1 more neurons in layer l.
    Raises:
        ValueError: the shares do not add up to 1, are not finite or none; no such layer or neuron.
    Source: (Zhang et al. 2021, Fig. 3: equal shares 1/k).

    >>> net = MLP((torch.ones(1, 1), torch.full((1, 1), 6.0)), (torch.zeros(1), None))
    >>> split_into(net, 1, 0, [0.5, 1.0, -0.5]).weights[1]
    tensor([[ 3.,  6., -3.]])
    """
    mlp: MLP = as_dense(net)
    check_neuron(mlp, layer, neuron)
    if not isinstance(shares, Tensor):
        shares = torch.tensor([float(s) for s in shares], dtype=mlp.dtype, device=mlp.device)
    shares = real("shares", shares, mlp, trailing=1)
    if shares.shape[-1] == 0:
        raise ValueError("shares are empty: expected at least one")
    total = shares.sum(-1)
    off = (total - 1).abs()
    if not bool((off <= 8 * torch.finfo(mlp.dtype).eps * (1 + shares.abs().sum(-1))).all()):
        raise ValueError(
            f"shares add up to {float(total.flatten()[off.argmax()]):.17g}: expected 1"
        )
    # what rounding leaves of output weights that cancel
    check_kept(
        "output weights", torch.finfo(mlp.dtype).eps * shares.abs().sum(-1), off.new_ones(())
    )
    width: int = mlp.widths[layer]
    copies: int = shares.shape[-1] - 1
    index = [*range(width), *[neuron] * copies]
    factors = torch.cat([shares.new_ones(*shares.shape[:-1], width), shares[..., 1:]], dim=-1)
    kept = torch.zeros(width + copies, dtype=torch.bool, device=mlp.device)
    kept[neuron] = True
    wide = reindex(mlp, layer, index, torch.where(kept, shares[..., :1], factors))
    return as_kind_of(net, wide)
