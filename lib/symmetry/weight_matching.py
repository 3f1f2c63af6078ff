"""Permuting one net's neurons so that its weights lie near another's: the weight matching of Git
Re-Basin."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lib.nets import Chain
from lib.symmetry.alignment import aligned_distance, match_rows


def permute(net: Chain, orders: Sequence[np.ndarray]) -> Chain:
    """The same function with the neurons of hidden layer l in the order orders[l - 1].

    Args:
        net: it is not changed.
        orders: one permutation for each of the layers 1..L-1: order[j] is the neuron that moves to
            place j.
    Raises:
        ValueError: not one permutation of the right length a hidden layer.

    >>> net = Chain([nn.Linear(1, 2), nn.Linear(2, 1)], [nn.ReLU()])
    >>> x = torch.ones(1, 1)
    >>> bool(torch.allclose(permute(net, [np.array([1, 0])])(x), net(x)))
    True
    """
    sizes = [joint.weight.shape[0] for joint in net.joints[:-1]]
    if [sorted(o) for o in map(list, orders)] != [list(range(m)) for m in sizes]:
        raise ValueError(
            f"got orders of lengths {[len(o) for o in orders]}: expected permutations of {sizes}"
        )
    out = copy.deepcopy(net)
    with torch.no_grad():
        for layer, joint in enumerate(out.joints):
            if layer > 0:
                joint.weight.copy_(_inputs(joint.weight, orders[layer - 1]))
            if layer < len(orders):
                order = torch.as_tensor(np.asarray(orders[layer]))
                joint.weight.copy_(joint.weight[order])
                if joint.bias is not None:
                    joint.bias.copy_(joint.bias[order])
    return out


def rebasin(net1: Chain, net2: Chain, *, seed: int = 0, sweeps: int = 50) -> Chain:
    """net2 with its neurons permuted so that sum_l <W1_l, W2_l> is (locally) largest.

    Coordinate ascent over layers: with its neighbours' orders held, the best order of layer l
        solves an assignment
    problem with the gain W1_l W2_l^T + b1_l b2_l^T + W1_{l+1}^T W2_{l+1}. It starts from the
    layer-by-layer matching of `lib.symmetry.alignment` and visits the layers in random order until
    none changes.

    Args:
        net1, net2: of the same shapes;  seed: of the visiting order;  sweeps: at most.
    Returns:
        The permuted copy of net2, the same function as net2.
    Raises:
        ValueError: nets of different shapes or of one layer.
    Source: (Ainsworth et al. 2023, Alg. 1).

    >>> from lib.nets import VGG

    >>> from lib.nets import initialise
    >>> net = initialise(VGG(width=1 / 16, hidden=8, side=8, pools=3), generator=0)
    >>> shuffled = permute(net, [np.random.default_rng(0).permutation(len(j.weight)) for j in net.joints[:-1]])
    >>> all(torch.equal(a, b) for a, b in zip(rebasin(net, shuffled).parameters(), net.parameters()))
    True
    """
    if net1.depth < 2:
        raise ValueError("the nets have no hidden layer to permute")
    orders = list(aligned_distance(net1, net2, net1.depth - 1).order)
    generator = np.random.default_rng(seed)
    for _ in range(sweeps):
        changed = False
        for layer in generator.permutation(len(orders)):
            best = _best_order(net1, net2, orders, int(layer))
            changed |= not np.array_equal(best, orders[layer])
            orders[layer] = best
        if not changed:
            break
    return permute(net2, orders)


def _best_order(net1: Chain, net2: Chain, orders: list[np.ndarray], layer: int) -> np.ndarray:
    here1, here2 = net1.joints[layer], net2.joints[layer]
    inputs = here2.weight if layer == 0 else _inputs(here2.weight, orders[layer - 1])
    rows = [_rows(here1, here1.weight), _rows(here2, inputs)]
    after1, after2 = net1.joints[layer + 1].weight, net2.joints[layer + 1].weight
    if layer + 1 < len(orders):
        after2 = after2[torch.as_tensor(np.asarray(orders[layer + 1]))]
    columns = [_columns(w, len(orders[layer])) for w in (after1, after2)]
    joined = [torch.cat(pair, 1).detach() for pair in zip(rows, columns, strict=True)]
    return match_rows(*joined)


def _rows(joint: nn.Module, weight: Tensor) -> Tensor:
    flat = weight.flatten(1)
    return flat if joint.bias is None else torch.cat([flat, joint.bias[:, None]], 1)


def _columns(weight: Tensor, channels: int) -> Tensor:
    """Outgoing weights by channel: (channels, outputs * taps)."""
    return weight.reshape(weight.shape[0], channels, -1).transpose(0, 1).flatten(1)


def _inputs(weight: Tensor, order: np.ndarray) -> Tensor:
    """The weight with its input channels in the given order; flattening makes a run of inputs of
    every channel."""
    blocked = weight.reshape(weight.shape[0], len(order), -1)
    return blocked[:, torch.as_tensor(np.asarray(order))].reshape(weight.shape)
