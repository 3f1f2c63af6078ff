"""Splitting and merging one channel of a net that is traced, such as a residual one: all that
belongs together is changed at once."""

from __future__ import annotations

import torch
from torch import Tensor

from lib.nets.checks import check_index, finite_number
from lib.traced.editing import (
    ChannelGroup,
    Net,
    checked,
    copied,
    entries,
    group_named,
    remap,
    tensors,
)


def split_traced(net: Net, layer: object, channel: int, alpha: float) -> Net:
    """`split_channel` of the group that module `layer` makes.

    >>> from torch import nn
    >>> class Residual(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.first, self.block = nn.Linear(2, 3), nn.Linear(3, 3)
    ...         self.last = nn.Linear(3, 1)
    ...     def forward(self, x):
    ...         x = self.first(x)
    ...         return self.last(x + self.block(x).tanh())
    >>> split_traced(Residual(), "first", 0, 0.3).block
    Linear(in_features=4, out_features=4, bias=True)
    """
    alpha = finite_number("alpha", alpha)
    own, groups, steps = copied(net)
    group = group_named(groups, layer)
    _check_channel(group, channel)
    index = [*range(group.width), channel]
    mixing = torch.eye(group.width, dtype=torch.float64)[:, index]
    mixing[channel, channel], mixing[channel, -1] = 1 - alpha, alpha
    remap(own, group, index, mixing)
    return checked(steps, own)


def merge_traced(net: Net, layer: object, channel: int, copy: int | None = None) -> Net:
    """`merge_channel` of the group that module `layer` makes."""
    own, groups, steps = copied(net)
    group = group_named(groups, layer)
    copy = group.width - 1 if copy is None else copy
    for number in (channel, copy):
        _check_channel(group, number)
    if copy == channel:
        raise ValueError(f"channel {channel} cannot be merged into itself: expected two channels")
    for name, values in _made(own, group):
        if not torch.equal(values[channel], values[copy]):
            raise ValueError(
                f"channels {channel} and {copy} of {group.name} differ in {name}: expected exact"
                " copies"
            )
    index = [c for c in range(group.width) if c != copy]
    mixing = torch.eye(group.width, dtype=torch.float64)[:, index]
    mixing[copy, index.index(channel)] = 1
    remap(own, group, index, mixing)
    return checked(steps, own)


def _made(net: Net, group: ChannelGroup) -> list[tuple[str, Tensor]]:
    """All that makes the channels, or acts on each."""
    uses = [use for use in group.uses if use.role != "reads"]
    return [
        (f"{name} of {use.name}", entries(net, group, use, name))
        for use in uses
        for name in tensors(net, use)
    ]


def _check_channel(group: ChannelGroup, channel: int) -> None:
    check_index("channel", channel)
    if not 0 <= channel < group.width:
        raise ValueError(f"channel {channel} outside 0..{group.width - 1} of {group.name}")
