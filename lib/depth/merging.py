"""The merging map pi, left inverse of lifting, and the test whether a deep net is a lift of a
shallow one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from torch import Tensor

from lib.depth.layers import LayerOnData, layer_on_data, layers_on_data
from lib.nets import MLP, flatten
from lib.nets.checks import check_layer, check_single, finite_tolerance
from lib.nets.dense import Dense, as_dense, as_kind_of


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
    """

    layers: tuple[int, ...]
    shallow: MLP
    regular: tuple[bool, ...]


def unlift(net: Dense, x: Tensor, layers: int | Sequence[int], *, flat: bool = False) -> Dense:
    """The net without hidden layers that are affine on the data:
    `unlift(lift(net, x, q, m), x, q + 1)` is `net`.

    Args:
        net: as `lift` takes it;  x: inputs S (n, m_0) that say which piece each neuron is in.
        layers: one of 1..L-1, or several; merging one changes no other feature on S.
        flat: also merge neurons that are constant on the data (dead ReLUs); the outputs on S stay,
            but the result then need not be a net of which `net` is a lift.
    Returns:
        a net with as many layers less and the same outputs on S.
    Raises:
        ValueError: a neuron of a layer has data in no single affine piece, or a layer repeats.

    Source: (Bai et al. 2024), output-preserving condition of the lifting, read backwards.

    >>> import torch
    >>> from lib.depth import lift
    >>> from lib.nets import init
    >>> draws, x = torch.Generator().manual_seed(0), torch.eye(2, dtype=torch.float64)
    >>> net = init((2, 3, 1), "relu", generator=draws)
    >>> back = unlift(lift(net, x, 1, 4, generator=draws), x, 2)
    >>> bool((flatten(back) - flatten(net)).abs().max() < 1e-14)
    True
    """
    chosen = tuple(layers) if isinstance(layers, Sequence) else (layers,)
    if len(set(chosen)) != len(chosen):
        raise ValueError(f"layers {chosen} repeat: expected distinct hidden layers")
    mlp = as_dense(net)
    for layer in chosen:
        check_layer(mlp, layer)
    if len(chosen) == 1:
        return as_kind_of(net, layer_on_data(mlp, x, chosen[0], flat=flat).merged())
    known = layers_on_data(mlp, x, flat=flat)
    return as_kind_of(net, _merge_all(mlp, [known[layer - 1] for layer in chosen])[0])


def membership(net: MLP, x: Tensor, *, flat: bool = False) -> Membership:
    """Which hidden layers of one net are linearised on the data, and of which shallow net it is a
    lift.

    Args:
        x: inputs S (n, m_0);  flat: accept neurons that are constant on S.
    Returns:
        the layers and the net after merging all of them.

    >>> import torch
    >>> from lib.depth import lift
    >>> from lib.nets import init
    >>> draws, x = torch.Generator().manual_seed(0), torch.tensor([[-1.0], [0.3], [2.0]]).double()
    >>> net = init((1, 3, 1), "relu", generator=draws)
    >>> membership(lift(net, x, 1, 4, generator=draws), x)
    Membership(layers=(2,), shallow=MLP(1-3-1, relu, 10 parameters), regular=(True,))
    """
    check_single(net)
    linearised = [on for on in layers_on_data(net, x, flat=flat) if on.is_linearised]
    shallow, regular = _merge_all(net, linearised, judge=True)
    return Membership(tuple(on.layer for on in linearised), shallow, regular)


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

    >>> import torch
    >>> from lib.depth import lift
    >>> from lib.nets import init
    >>> draws, x = torch.Generator().manual_seed(0), torch.tensor([[-1.0], [0.3], [2.0]]).double()
    >>> net = init((1, 3, 1), "relu", generator=draws)
    >>> deep = lift(net, x, 0, 2, generator=draws)
    >>> lifted_from(deep, net, x), lifted_from(deep, net, 9 * x)
    ((1,), None)
    """
    ends = [(net.activation, net.widths[0], net.widths[-1]) for net in (deep, shallow)]
    if deep.depth <= shallow.depth or ends[0] != ends[1]:
        raise ValueError(
            f"{deep!r} cannot be a lift of {shallow!r}: expected more layers, one activation, equal"
            " input and output"
        )
    finite_tolerance(tolerance)
    check_single(deep)
    linearised = [on for on in layers_on_data(deep, x) if on.is_linearised]
    for chosen in combinations(linearised, deep.depth - shallow.depth):
        merged, _ = _merge_all(deep, chosen)
        if merged.widths != shallow.widths or merged.n_parameters != shallow.n_parameters:
            continue
        gap, size = (flatten(merged) - flatten(shallow)).abs().max(), flatten(shallow).abs().max()
        if bool(gap <= tolerance * size):
            return tuple(on.layer for on in chosen)
    return None


def _merge_all(
    net: MLP, known: Sequence[LayerOnData], *, judge: bool = False
) -> tuple[MLP, tuple[bool, ...]]:
    # From the output back: what is known of the layers before stays true of the merged net.
    regular: list[bool] = []
    for on in sorted(known, key=lambda on: -on.layer):
        here = replace(on, net=net)
        if judge:
            regular.append(here.is_regular)
        net = here.merged()
    return net, tuple(reversed(regular))
