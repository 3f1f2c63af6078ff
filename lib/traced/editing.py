"""Changing the channels of a module in place, once they have been followed."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from lib.nets.chain import Chain
from lib.nets.flow import reindex_entries, runs, set_parameter, set_widths
from lib.nets.kinds import KNOWN, Joint
from lib.traced.following import follow, traced
from lib.traced.runs import Run, atoms
from lib.traced.walk import Use

Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels that belong together.

    Args:
        name: the first module that makes them, with [start:stop] where they are a part of what it
            makes.
        width: how many;  makers, readers, followers: names of the modules with rows, columns or
            entries for them.
        frozen: why they are left as they are, None if they can be changed.
    """

    name: str
    width: int
    makers: tuple[str, ...]
    readers: tuple[str, ...]
    followers: tuple[str, ...]
    frozen: str | None
    run: Run
    uses: tuple[Use, ...]


def channel_groups(net: nn.Module) -> tuple[ChannelGroup, ...]:
    """The channels of any module in groups that belong together, as additions, concatenations and
    what acts on each channel alone make them.

    `split_channel`, `merge_channel`, `permute` and `merge_channels` take such a group by the name
    of a module that makes it.

    Args:
        net: a module that torch.fx can trace, in its present mode; its inputs are
            (n, channels, rows, columns) or (n, features).
    Raises:
        TypeError: a forward that cannot be traced, hooks or parametrizations.
        ValueError: parameters that two modules share.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    >>> [(group.name, group.width, group.readers, group.frozen) for group in channel_groups(net)]
    [('0', 3, ('2',), None), ('2', 1, (), 'they are the outputs of the net')]
    """
    return groups_of(follow(net, traced(net)))


def groups_of(uses: Sequence[Use]) -> tuple[ChannelGroup, ...]:
    """The groups of what `follow` found, in the order in which they are made."""
    found: dict[Run, list[Use]] = {}
    for use in uses:
        for run in dict.fromkeys(atoms(use.layout)):
            found.setdefault(run, []).append(use)
    return tuple(
        _group(run, own) for run, own in found.items() if any(u.role == "makes" for u in own)
    )


def _group(run: Run, uses: list[Use]) -> ChannelGroup:
    makers, readers, followers = (
        tuple(use.name for use in uses if use.role == role)
        for role in ("makes", "reads", "follows")
    )
    whole = [u.name for u in uses if u.role == "makes" and len(atoms(u.layout)) == 1]
    first = next(use for use in uses if use.role == "makes")
    start = next(s for atom, s in _starts(first) if atom is run)
    name = whole[0] if whole else f"{first.name}[{start}:{start + run.width}]"
    return ChannelGroup(name, run.width, makers, readers, followers, run.frozen, run, tuple(uses))


def _starts(use: Use) -> list[tuple[Run, int]]:
    start, out = 0, []
    for atom in atoms(use.layout):
        out.append((atom, start))
        start += atom.width
    return out


def group_named(groups: Sequence[ChannelGroup], name: object) -> ChannelGroup:
    """The group that a module of this name makes, if it can be changed.

    Raises:
        TypeError: no str.  ValueError: no such group, or one that is frozen.
    """
    free = [group.name for group in groups if group.frozen is None]
    if not isinstance(name, str):
        raise TypeError(
            f"layer is {name!r}: expected, for a net that is traced, the name of a module that"
            f" makes channels, one of {', '.join(free) or '(none)'}"
        )
    for group in groups:
        alone = [u.name for u in group.uses if u.role == "makes" and len(atoms(u.layout)) == 1]
        if name in (group.name, *alone):
            if group.frozen:
                others = f" one of {', '.join(free)}, or" if free else ""
                raise ValueError(
                    f"the channels of {name} cannot be changed: {group.frozen}; expected{others}"
                    " that written with modules that are followed"
                )
            return group
    raise ValueError(f"no channels are made by {name!r} alone: expected one of {', '.join(free)}")


def copied(net: Net) -> tuple[Net, tuple[ChannelGroup, ...], str]:
    """A copy to be changed, its groups, and the steps of its forward."""
    graph = traced(net)
    return copy.deepcopy(net), groups_of(follow(net, graph)), str(graph)


def remap(
    net: nn.Module, group: ChannelGroup, index: Sequence[int], mixing: Tensor | None = None
) -> None:
    """In place: channel i of the group becomes a copy of index[i], and what reads it takes W @
    mixing.

    Args:
        net: a copy of the caller's;  mixing: (old width, new width), float64; by default each
            channel is read as the one that it copies.
    """
    for use in group.uses:
        module = cast(Joint, net.get_submodule(use.name))
        if use.role == "reads":
            parts = [
                _mixed(part, index, mixing, use.entries) if atom is group.run else part
                for atom, part in _parts(use, module.weight.detach())
            ]
            set_parameter(module, "weight", torch.cat(parts, 1))
            set_widths(module, inputs=module.weight.shape[1])
        else:
            places: list[int] = []
            for atom, start in _starts(use):
                own = index if atom is group.run else range(atom.width)
                places += [start + i for i in own]
            reindex_entries(module, runs(places, use.entries, torch.zeros(1)))
            if isinstance(module, nn.Conv2d) and module.groups > 1:
                module.in_channels = module.groups = len(places)
    group.run.width = len(index)


def _parts(use: Use, tensor: Tensor) -> list[tuple[Run, Tensor]]:
    axis = 1 if use.role == "reads" else 0
    sizes = [atom.width * use.entries for atom in atoms(use.layout)]
    return list(zip(atoms(use.layout), tensor.split(sizes, axis), strict=True))


def _mixed(part: Tensor, index: Sequence[int], mixing: Tensor | None, entries: int) -> Tensor:
    by_channel: Tensor = part.unflatten(1, (part.shape[1] // entries, entries))
    if mixing is None:
        mixed = by_channel[:, torch.as_tensor(index, device=part.device)]
    else:
        mixed = torch.tensordot(by_channel, mixing.to(part), ([1], [0])).movedim(-1, 1)
    return mixed.flatten(1, 2)


def entries(net: nn.Module, group: ChannelGroup, use: Use, name: str = "weight") -> Tensor:
    """What a module has for each channel of a group, (width, -1): rows, columns or entries."""
    tensor: Tensor = getattr(net.get_submodule(use.name), name).detach()
    own = [part for atom, part in _parts(use, tensor) if atom is group.run]
    if use.role == "reads":
        own = [part.unflatten(1, (group.run.width, -1)).transpose(0, 1) for part in own]
    return torch.cat([part.reshape(group.run.width, -1) for part in own], 1)


def put(net: nn.Module, group: ChannelGroup, use: Use, name: str, rows: Tensor) -> None:
    """In place: other rows, (width, -1), for a group that stands once in what a module makes."""
    tensor: Tensor = getattr(net.get_submodule(use.name), name).detach()
    parts = [
        rows.reshape(part.shape) if atom is group.run else part
        for atom, part in _parts(use, tensor)
    ]
    set_parameter(net.get_submodule(use.name), name, torch.cat(parts))


def checked(steps: str, after: Net) -> Net:
    """The changed copy, if its forward takes the same steps with the same numbers as before.

    Raises:
        TypeError: numbers in the forward depend on the number of channels.
    """
    if str(traced(after)) != steps:
        raise TypeError(
            f"the forward of {type(after).__name__} depends on its number of channels: expected"
            " the same steps with the same numbers for any"
        )
    return after


def is_traced(net: object) -> bool:
    """Whether a net is one for the tracer: a module, and no chain of modules that are known.

    >>> is_traced(nn.Sequential(nn.Linear(1, 1))), is_traced(nn.ModuleList())
    (False, True)
    """
    if isinstance(net, Chain) or not isinstance(net, nn.Module):
        return False
    kinds = {type(module) for module in net.modules()}
    return type(net) is not nn.Sequential or not kinds <= {nn.Sequential, *KNOWN}


def tensors(net: nn.Module, use: Use) -> list[str]:
    """The names of a module's parameters and buffers that run over channels."""
    module = net.get_submodule(use.name)
    named = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return [name for name, tensor in named if tensor.dim()]
