"""The merging map pi, left inverse of lifting, and the test whether a deep net is a lift of a
shallow one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor
from torch.func import jacrev

from lib.depth.pieces import NO_PIECE, all_pieces, pieces_of
from lib.nets import MLP, Activation, flatten, unflatten
from lib.nets.checks import check_layer, check_single


@dataclass(frozen=True)
class Membership:
    """Which layers of a deep net are linearised on the data, and the net that is left when all of
    them are merged.

    Args:
        layers: the hidden layers (1..L-1) with every neuron in one piece.
        shallow: the net after merging them; the deep net itself if there is none.
        regular: per merged layer, whether every merging derivative is onto. Then `shallow` is
            critical exactly when the deep net is, with the same numbers of positive and negative
            Hessian eigenvalues.

    >>> from lib.nets import init
    >>> membership(init((1, 3, 1), "tanh", generator=0), torch.ones(2, 1, dtype=torch.float64)).layers
    ()
    """

    layers: tuple[int, ...]
    shallow: MLP
    regular: tuple[bool, ...]


def merge_known(net: MLP, layer: int, slope: Tensor, shift: Tensor) -> MLP:
    """The merging map pi for known affine pieces, differentiable in the parameters.

    W = W^[l+1] diag(slope) W^[l],  b = W^[l+1] (slope * b^[l] + shift) + b^[l+1].

    Args:
        layer: hidden layer l that disappears, 1..L-1;  slope, shift: (*batch, m_l), sigma(t) =
            slope * t + shift.

    >>> net = MLP((torch.tensor([[2.0]]), torch.tensor([[3.0]])), (torch.ones(1), torch.zeros(1)), "relu")
    >>> merged = merge_known(net, 1, torch.ones(1), torch.zeros(1)); merged.weights, merged.biases
    ((tensor([[6.]]),), (tensor([3.]),))
    """
    check_layer(net, layer)
    inner, outer = net.weights[layer - 1], net.weights[layer]
    inner_bias, outer_bias = net.biases[layer - 1], net.biases[layer]
    constant = shift if inner_bias is None else slope * inner_bias + shift
    bias = (outer @ constant.unsqueeze(-1)).squeeze(-1)
    bias = bias if outer_bias is None else bias + outer_bias
    return MLP(
        [
            *net.weights[: layer - 1],
            outer @ (slope.unsqueeze(-1) * inner),
            *net.weights[layer + 1 :],
        ],
        [*net.biases[: layer - 1], bias, *net.biases[layer + 1 :]],
        net.activation,
    )


def merge(net: MLP, x: Tensor, layer: int, *, flat: bool = False) -> MLP:
    """The net without a hidden layer that is affine on the data:
    `merge(lift(net, x, q, m), x, q + 1)` is `net`.

    Args:
        x: inputs S (n, m_0) that say which piece each neuron is in;  layer: hidden layer 1..L-1.
        flat: also merge neurons that are constant on the data (dead ReLUs); the outputs on S stay,
            but the result then need not be a net of which `net` is a lift.
    Returns:
        a net of depth L - 1 with the same outputs on S.
    Raises:
        ValueError: a neuron of the layer has data in no single affine piece.

    Source: (Bai et al. 2024), output-preserving condition of the lifting, read backwards.

    >>> from lib.depth.lifting import lift
    >>> from lib.nets import init
    >>> net, x = init((2, 3, 1), "relu", generator=0), torch.eye(2, dtype=torch.float64)
    >>> bool((flatten(merge(lift(net, x, 1, 4), x, 2)) - flatten(net)).abs().max() < 1e-14)
    True
    """
    index = pieces_of(net, x, layer, flat=flat)
    if (index == NO_PIECE).any():
        lost = (
            (index == NO_PIECE).any(dim=tuple(range(index.dim() - 1))).nonzero().flatten().tolist()
        )
        raise ValueError(
            f"layer {layer} of {net!r} is not linearised on the {x.shape[0]} samples: neurons"
            f" {lost} have data in no single affine piece; expected every neuron in one"
            " (`pieces_of` lists them)"
        )
    return merge_known(net, layer, *_affine(index, net.activation, flat, net))


def merge_layers(net: MLP, x: Tensor, layers: Sequence[int], *, flat: bool = False) -> MLP:
    """Several linearised hidden layers merged; the order does not matter, since merging changes no
    other feature on S.

    >>> from lib.depth.lifting import lift_layers
    >>> from lib.nets import init
    >>> x = torch.eye(2, dtype=torch.float64)
    >>> merge_layers(lift_layers(init((2, 3, 1), "relu", generator=0), x, [(0, 2), (1, 4)]), x, [1, 3])
    MLP(2-3-1, relu, 13 parameters)
    """
    if len(set(layers)) != len(layers):
        raise ValueError(f"layers {tuple(layers)} repeat: expected distinct hidden layers")
    for layer in sorted(layers, reverse=True):
        net = merge(net, x, layer, flat=flat)
    return net


def merging_jacobian(net: MLP, x: Tensor, layer: int, *, flat: bool = False) -> Tensor:
    """J = d pi / d theta', (M, M'): the derivative of the merging map at a linearised layer of one
    net.

    Near the net the risk is R(pi(theta')), so at a critical point the Hessians obey H' = J^T H J.

    >>> from lib.depth.lifting import lift
    >>> from lib.nets import init
    >>> net, x = init((2, 3, 1), "relu", generator=0), torch.eye(2, dtype=torch.float64)
    >>> jacobian = merging_jacobian(lift(net, x, 1, 4), x, 2)
    >>> jacobian.shape, int(torch.linalg.matrix_rank(jacobian))
    (torch.Size([13, 30]), 13)
    """
    check_single(net)
    merge(net, x, layer, flat=flat)  # refuses a layer that is not linearised
    parts = _affine(pieces_of(net, x, layer, flat=flat), net.activation, flat, net)
    return jacrev(lambda v: flatten(merge_known(unflatten(v, net), layer, *parts)))(flatten(net))


def is_regular(net: MLP, x: Tensor, layer: int, *, flat: bool = False) -> bool:
    """Whether the merging map's derivative is onto.

    It is when diag(slope) W^[l] has full column rank, or W^[l+1] diag(slope) full row rank.

    >>> net = MLP((torch.ones(1, 2), torch.ones(2, 1)), (torch.ones(1), torch.zeros(2)), "relu")
    >>> is_regular(net, torch.eye(2), 1)
    False
    """
    merge(net, x, layer, flat=flat)
    slope, _ = _affine(pieces_of(net, x, layer, flat=flat), net.activation, flat, net)
    check_single(net)
    inner, outer = slope.unsqueeze(-1) * net.weights[layer - 1], net.weights[layer] * slope
    rank = torch.linalg.matrix_rank
    return bool(rank(inner) == inner.shape[-1] or rank(outer) == outer.shape[-2])


def membership(net: MLP, x: Tensor, *, flat: bool = False) -> Membership:
    """Which hidden layers of one net are linearised on the data, and of which shallow net it is a
    lift.

    Args:
        x: inputs S (n, m_0);  flat: accept neurons that are constant on S.
    Returns:
        the layers and the net after merging all of them.

    >>> from lib.depth.lifting import lift
    >>> from lib.nets import init
    >>> x = torch.tensor([[-1.0], [0.3], [2.0]], dtype=torch.float64)
    >>> membership(lift(init((1, 3, 1), "relu", generator=0), x, 1, 4), x)
    Membership(layers=(2,), shallow=MLP(1-3-1, relu, 10 parameters), regular=(True,))
    """
    check_single(net)
    layers = tuple(
        layer
        for layer in range(1, net.depth)
        if bool((pieces_of(net, x, layer, flat=flat) != NO_PIECE).all())
    )
    shallow, regular = net, []
    for layer in reversed(layers):
        regular.append(is_regular(shallow, x, layer, flat=flat))
        shallow = merge(shallow, x, layer, flat=flat)
    return Membership(layers, shallow, tuple(reversed(regular)))


def lifted_from(
    deep: MLP, shallow: MLP, x: Tensor, *, tolerance: float = 1e-10
) -> tuple[int, ...] | None:
    """The hidden layers of `deep` whose merging gives `shallow`, or None when deep is no element of
    T_S(shallow).

    Args:
        x: inputs S (n, m_0).
        tolerance: largest difference of a parameter, relative to the largest parameter of shallow.
    Raises:
        ValueError: deep is not deeper, or the two nets differ in activation or in their input or
            output width.

    >>> from lib.depth.lifting import lift
    >>> from lib.nets import init
    >>> net, x = init((1, 3, 1), "relu", generator=0), torch.tensor([[-1.0], [0.3], [2.0]], dtype=torch.float64)
    >>> lifted_from(lift(net, x, 0, 2), net, x), lifted_from(lift(net, x, 0, 2), net, 9 * x)
    ((1,), None)
    """
    ends = [(net.activation, net.widths[0], net.widths[-1]) for net in (deep, shallow)]
    if deep.depth <= shallow.depth or ends[0] != ends[1]:
        raise ValueError(
            f"{deep!r} cannot be a lift of {shallow!r}: expected more layers, one activation, equal"
            " input and output"
        )
    for layers in combinations(membership(deep, x).layers, deep.depth - shallow.depth):
        merged = merge_layers(deep, x, layers)
        if merged.widths != shallow.widths or merged.n_parameters != shallow.n_parameters:
            continue
        gap, size = (flatten(merged) - flatten(shallow)).abs().max(), flatten(shallow).abs().max()
        if bool(gap <= tolerance * size):
            return layers
    return None


def _affine(index: Tensor, sigma: Activation, flat: bool, like: MLP) -> tuple[Tensor, Tensor]:
    table = all_pieces(sigma, flat)
    slope = torch.tensor([p.slope for p in table], dtype=like.dtype, device=like.device)
    shift = torch.tensor([p.shift for p in table], dtype=like.dtype, device=like.device)
    return slope[index], shift[index]
