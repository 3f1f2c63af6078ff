"""Permuting the channels of nets that are traced, and matching those of two such nets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lib.symmetry.alignment import match_rows
from lib.traced.editing import (
    ChannelGroup,
    Net,
    channel_groups,
    checked,
    copied,
    entries,
    group_named,
    remap,
)
from lib.traced.runs import atoms


def permute_traced(net: Net, orders: object) -> Net:
    """`permute` of groups of channels, {name of a module that makes them: order}.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    >>> torch.equal(permute_traced(net, {"0": [2, 0, 1]})[2].weight, net[2].weight[:, [2, 0, 1]])
    True
    """
    if not isinstance(orders, Mapping):
        raise TypeError(
            f"orders is {type(orders).__name__}: expected, for a net that is traced, {{name of a"
            " module that makes the channels: order}"
        )
    own, groups, steps = copied(net)
    wanted = [
        (group_named(groups, name), [int(i) for i in order]) for name, order in orders.items()
    ]
    if len({group.name for group, _ in wanted}) < len(wanted):
        raise ValueError(f"orders {list(orders)} name one group twice: expected each once")
    for group, order in wanted:
        if sorted(order) != list(range(group.width)):
            raise ValueError(
                f"order of {group.name} is {order}: expected a permutation of 0..{group.width - 1}"
            )
        remap(own, group, order)
    return checked(steps, own)


def rebasin_traced(
    net1: nn.Module, net2: Net, *, generator: np.random.Generator | None = None, sweeps: int = 50
) -> Net:
    """`rebasin` over groups of channels; those that cannot be changed stay as they are.

    It starts with a matching of each group in turn by the weights whose other side is matched
    already.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    >>> back = rebasin_traced(net, permute_traced(net, {"0": [2, 0, 1]}))
    >>> torch.equal(back[0].weight, net[0].weight)
    True
    """
    groups1, (own, groups2, steps) = channel_groups(net1), copied(net2)
    _check_alike(groups1, groups2)
    pairs = [(a, b) for a, b in zip(groups1, groups2, strict=True) if b.frozen is None]
    if not pairs:
        why = "; ".join(f"{g.name}: {g.frozen}" for g in groups2) or "no layer was found"
        raise ValueError(f"{type(net2).__name__} has no channels that can be permuted ({why})")
    read = {u.name: set(atoms(u.layout)) for _, g in pairs for u in g.uses if u.role == "reads"}
    made = {u.name: set(atoms(u.layout)) for _, g in pairs for u in g.uses if u.role == "makes"}
    waiting = {two.run for _, two in pairs}
    for one, two in pairs:
        waiting.discard(two.run)
        sides = [(made if use.role == "reads" else read).get(use.name, set()) for use in two.uses]
        _match(net1, own, one, two, [not side & waiting for side in sides])
    for _ in range(sweeps):
        changed = False
        for place in range(len(pairs)) if generator is None else generator.permutation(len(pairs)):
            changed |= _match(net1, own, *pairs[int(place)], [])
        if not changed:
            break
    return checked(steps, own)


def _check_alike(groups1: Sequence[ChannelGroup], groups2: Sequence[ChannelGroup]) -> None:
    shapes = [
        [
            (g.name, g.width, g.frozen is None, [(u.name, u.role, u.entries) for u in g.uses])
            for g in groups
        ]
        for groups in (groups1, groups2)
    ]
    if shapes[0] != shapes[1]:
        apart = next((a for a, b in zip(*shapes, strict=False) if a != b), ("the last layers",))
        raise ValueError(
            f"the nets differ in the channels of {apart[0]}: expected two nets of the same shapes"
        )


def _match(
    net1: nn.Module, net2: nn.Module, one: ChannelGroup, two: ChannelGroup, ready: list[bool]
) -> bool:
    """Reorder a group of net 2 by the weights that are ready, or all of them; whether it did."""
    rows = _weights(net1, one, ready), _weights(net2, two, ready)
    if rows[0].shape != rows[1].shape:
        raise ValueError(f"weights of {two.name} differ in shape: expected two nets of one shape")
    order = match_rows(*rows)
    gain = (rows[0] * rows[1][torch.as_tensor(order)]).sum() - (rows[0] * rows[1]).sum()
    if gain <= 1e-9 * rows[0].norm() * rows[1].norm():
        return False
    remap(net2, two, order.tolist())
    return True


def _weights(net: nn.Module, group: ChannelGroup, ready: list[bool]) -> Tensor:
    parts: list[Tensor] = []
    for use, known in zip(
        group.uses, ready if any(ready) else [True] * len(group.uses), strict=True
    ):
        module = net.get_submodule(use.name)
        if isinstance(module, (nn.Linear, nn.Conv2d)) and known:
            parts.append(entries(net, group, use).double())
            if use.role != "reads" and module.bias is not None:
                parts.append(entries(net, group, use, "bias").double())
    return torch.cat(parts, 1)
