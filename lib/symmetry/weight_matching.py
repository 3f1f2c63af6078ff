"""Permuting one net's neurons so that its weights lie near another's: the weight matching of Git
Re-Basin."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from lib.nets.chain import Chain, Net, as_chain
from lib.nets.checks import check_preserved
from lib.nets.flow import flow
from lib.nets.kinds import NORMS, RANDOM, Joint
from lib.symmetry.alignment import Order, aligned_distance, match_rows
from lib.symmetry.permutation import permute
from lib.symmetry.traced import rebasin_traced
from lib.traced.editing import is_traced


def rebasin(
    net1: Net,
    net2: Net,
    *,
    generator: np.random.Generator | None = None,
    sweeps: int = 50,
    x: Tensor | None = None,
) -> Net:
    """net2 with its neurons permuted so that sum_l <W1_l, W2_l> is (locally) largest.

    Coordinate ascent over layers: with its neighbours' orders held, the best order of layer l
    solves an assignment problem with the gain W1_l W2_l^T + b1_l b2_l^T + W1_{l+1}^T W2_{l+1}. It
    starts from the layer-by-layer matching of `aligned_distance`. BatchNorm and PReLU follow their
    channels, and take no part in the matching.

    Args:
        net1, net2: `Chain`s, nn.Sequentials, or modules that torch.fx traces, of the same shapes.
        generator: draws the order in which the layers are visited; without one it is that of the
            net, from the first layer on.
        sweeps: over all layers, at most; it ends when none changes.
        x: inputs (n, ...) on which to measure that net2 keeps its outputs; by default three random
            ones, where the first layer reads the inputs and is dense, else none.
    Returns:
        The permuted copy of net2, the same function as net2.
    Raises:
        ValueError: nets of different shapes or of one layer, or outputs that changed.
        TypeError: a module that treats channels differently, as `permute`.
    Source: (Ainsworth et al. 2023, Alg. 1).

    >>> from lib.nets import VGG, initialise
    >>> net = initialise(VGG(width=1 / 16, hidden=8, side=8, pools=3), generator=0)
    >>> orders = [torch.randperm(len(joint.weight)).tolist() for joint in net.joints[:-1]]
    >>> back = rebasin(net, permute(net, orders))
    >>> all(torch.equal(a, b) for a, b in zip(back.parameters(), net.parameters()))
    True
    """
    if is_traced(net1) or is_traced(net2):
        found = rebasin_traced(net1, net2, generator=generator, sweeps=sweeps)
        if x is not None:
            check_preserved(net2, found, x)
        return found
    chain1, chain2 = as_chain(net1), as_chain(net2)
    if chain1.depth < 2 or chain1.depth != chain2.depth:
        raise ValueError(
            f"the nets have {chain1.depth} and {chain2.depth} layers: expected the same depth >= 2"
        )
    orders = list(aligned_distance(chain1, chain2, chain1.depth - 1).order)
    for layer in range(1, chain2.depth):
        flow(chain2, layer)
    places = np.arange(len(orders))
    for _ in range(sweeps):
        changed = False
        for place in places if generator is None else generator.permutation(places):
            best = _best_order(chain1, chain2, orders, int(place))
            changed |= not np.array_equal(best, orders[place])
            orders[place] = best
        if not changed:
            break
    return permute(net2, [order.tolist() for order in orders], x=_probe(chain2) if x is None else x)


def _probe(net: Chain) -> Tensor | None:
    if list(net.before.children()) or not isinstance(net.joint(1), nn.Linear):
        return None
    if any(module.training for module in net.modules() if isinstance(module, (*RANDOM, *NORMS))):
        return None
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(3, net.widths[0], generator=draws).to(net.joint(1).weight)
    whole = copy.deepcopy(net).double()
    return x if bool(torch.isfinite(whole(x.double())).all()) else None  # nothing to compare


def _best_order(net1: Chain, net2: Chain, orders: list[Order], layer: int) -> Order:
    here1, here2 = net1.joint(layer + 1), net2.joint(layer + 1)
    inputs = here2.weight if layer == 0 else _inputs(here2.weight, orders[layer - 1])
    rows = [_rows(here1, here1.weight), _rows(here2, inputs)]
    after1, after2 = net1.joint(layer + 2).weight, net2.joint(layer + 2).weight
    if layer + 1 < len(orders):
        after2 = after2[torch.as_tensor(np.asarray(orders[layer + 1]))]
    columns = [_columns(w, len(orders[layer])) for w in (after1, after2)]
    joined = [torch.cat(pair, 1).detach() for pair in zip(rows, columns, strict=True)]
    return match_rows(*joined)


def _rows(joint: Joint, weight: Tensor) -> Tensor:
    flat = weight.flatten(1)
    return flat if joint.bias is None else torch.cat([flat, joint.bias[:, None]], 1)


def _columns(weight: Tensor, channels: int) -> Tensor:
    """Outgoing weights by channel: (channels, outputs * taps)."""
    return weight.reshape(weight.shape[0], channels, -1).transpose(0, 1).flatten(1)


def _inputs(weight: Tensor, order: Order) -> Tensor:
    """The weight with its input channels in the given order; flattening makes a run of inputs of
    every channel."""
    blocked = weight.reshape(weight.shape[0], len(order), -1)
    return blocked[:, torch.as_tensor(np.asarray(order))].reshape(weight.shape)
