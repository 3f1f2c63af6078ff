"""Permuting the neurons or channels of hidden layers: a symmetry of every net."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TypeVar, cast

from torch import Tensor, nn

from lib.nets.chain import as_chain, as_given
from lib.nets.checks import check_order, check_preserved
from lib.nets.flow import flow, reindex_channels
from lib.nets.mlp import MLP
from lib.nets.surgery import reindex
from lib.symmetry.traced import permute_traced

N = TypeVar("N", bound=MLP | nn.Module)
Order = Sequence[int]
Orders = Sequence[Order] | Mapping[int, Order]


def permute(net: N, orders: Orders | Mapping[str, Order], *, x: Tensor | None = None) -> N:
    """The same function with the neurons, or channels, of hidden layers in another order: new
    neuron i is old neuron order[i].

    What has entries for every channel, BatchNorm and PReLU, follows.

    Args:
        net: an `MLP`, one or a batch, a `Chain`, an nn.Sequential, or any module that torch.fx
            traces; it is not changed.
        orders: {layer: order} with permutations of 0..m_l-1, or one order for each of the layers
            1..L-1; for a net that is traced {name of a module that makes the channels: order}.
        x: inputs (n, ...) on which to measure that the outputs stay; not measured by default.
            Without it dense layers are taken to act on (n, features).
    Returns:
        The net of the same kind, every module in its mode.
    Raises:
        ValueError: no permutation, no such hidden layer, not one order for each of them, or
            outputs that changed on x.
        TypeError: a module that treats channels differently, as `lib.width.split_channel`.
    Source: (Zhang et al. 2021, App. A.1).

    >>> import torch
    >>> net = MLP((torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0, 4.0]])))
    >>> permute(net, {1: [1, 0]}).weights[1]
    tensor([[4., 3.]])
    """
    if isinstance(net, MLP):
        permuted = _permuted(net, cast(Orders, orders))
        if x is not None:
            check_preserved(net, permuted, x)
        return cast(N, permuted)
    if isinstance(orders, Mapping) and any(isinstance(key, str) for key in orders):
        reordered = permute_traced(net, orders)
        if x is not None:
            check_preserved(net, reordered, x)
        return reordered
    given = chain = as_chain(net)
    wanted_orders = {
        layer: check_order(chain, layer, order)
        for layer, order in _by_layer(cast(Orders, orders), chain.depth).items()
    }
    for layer in wanted_orders:
        flow(chain, layer)  # refuses before anything is copied
    chain = copy.deepcopy(chain)
    for layer, order in wanted_orders.items():
        reindex_channels(chain, layer, order)
    if x is not None:
        check_preserved(given, chain, x)
    return as_given(net, chain)


def _permuted(net: MLP, orders: Orders) -> MLP:
    for layer, order in _by_layer(orders, net.depth).items():
        wanted = check_order(net, layer, order)
        net = reindex(net, layer, wanted, net.weights[0].new_ones(len(wanted)))
    return net


def _by_layer(orders: Orders, depth: int) -> Mapping[int, Order]:
    if isinstance(orders, Mapping):
        return orders
    if len(orders) != depth - 1:
        raise ValueError(
            f"got {len(orders)} orders: expected {depth - 1}, one for each hidden layer, or"
            " {layer: order}"
        )
    return dict(enumerate(orders, start=1))
