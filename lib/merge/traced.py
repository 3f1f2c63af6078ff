"""Merging the channels of nets that are traced, such as residual ones: a channel is alike another
where all that makes the two is alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from lib.merge.neurons import LayerReport
from lib.merge.rows import Likeness, plan_merge
from lib.nets import Activation
from lib.nets.kinds import Joint
from lib.traced.editing import ChannelGroup, Net, checked, copied, entries, put, remap, tensors
from lib.traced.runs import atoms
from lib.traced.walk import Use

Norm = nn.BatchNorm1d | nn.BatchNorm2d
_LINEAR = Activation("homogeneous", torch.relu, torch.relu, torch.relu, degree=1)
_OTHER = Activation("other", torch.ones_like, torch.ones_like, torch.ones_like, degree=None)


@dataclass(frozen=True)
class GroupReport(LayerReport):
    """What happened to one group of channels; `layer` is its place in `channel_groups`, from 1.

    Args:
        name: of the group.
    """

    name: str


def merge_traced_channels(net: Net, like: Likeness) -> tuple[Net, tuple[GroupReport, ...]]:
    """A copy in which the channels of each group that can be changed are merged, and a report for
    each.

    Where all that a channel meets keeps positive multiples, its row is what makes it, with the
    BatchNorm that follows, and rows of one direction merge. Elsewhere channels merge that are equal
    in everything.

    Raises:
        ValueError: the net, or a BatchNorm in it, is in training mode, or no channels that can be
            changed.

    >>> net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)).eval()
    >>> with torch.no_grad():
    ...     _ = net[0].weight.copy_(torch.ones(2, 1)); _ = net[0].bias.fill_(0.5)
    >>> merge_traced_channels(net, Likeness())[0][0]
    Linear(in_features=1, out_features=1, bias=True)
    """
    training = [name or "the net" for name, module in net.named_modules() if module.training]
    if training:
        raise ValueError(f"{training[0]} is in training mode: call .eval() first")
    own, groups, steps = copied(net)
    free = [(place, group) for place, group in enumerate(groups, 1) if group.frozen is None]
    if not free:
        why = "; ".join(f"{group.name}: {group.frozen}" for group in groups) or "no layer was found"
        raise ValueError(f"{type(net).__name__} has no channels that can be merged ({why})")
    reports = [_merged(own, place, group, like) for place, group in free]
    return checked(steps, own), tuple(reports)


def _merged(net: nn.Module, place: int, group: ChannelGroup, like: Likeness) -> GroupReport:
    makers = {use.name: use for use in group.uses if use.role == "makes"}
    norms = {use.maker or "": use for use in group.uses if _folds(net, use)}
    direct = _is_direct(group, makers, norms)
    if direct:
        parts = [_effective(net, group, use, norms.get(name)) for name, use in makers.items()]
    else:
        parts = [_all(net, group, use) for use in group.uses if use.role != "reads"]
        like = replace(like, amplitude=0.0)
    # no bias takes a constant here: the last column, where it would stand, is empty
    rows = torch.cat([*parts, parts[0].new_zeros(group.width, 1)], 1)
    reading = [entries(net, group, use) for use in group.uses if use.role == "reads"]
    out = torch.cat(reading, 1).T if reading else rows.new_zeros(1, group.width)
    plan = plan_merge(rows, out, _LINEAR if direct else _OTHER, like, foldable=False)
    remap(net, group, [min(members) for members in plan.groups], plan.mixing)
    if direct:
        changed = torch.tensor([len(members) > 1 for members in plan.groups])
        new = plan.rows[:, :-1].split([part.shape[1] for part in parts], 1)
        for (name, use), part in zip(makers.items(), new, strict=True):
            _write(net, group, (use, norms.get(name)), part, changed)
    return GroupReport(place, plan.groups, plan.dropped, plan.folded, plan.bound, group.name)


def _is_direct(group: ChannelGroup, makers: Mapping[str, Use], norms: Mapping[str, Use]) -> bool:
    """Whether the rows that make the channels, each once, say all of them up to a factor."""
    rows = {use.name for use in (*makers.values(), *norms.values())}
    once = all(atoms(use.layout).count(group.run) == 1 for use in makers.values())
    return (
        once
        and group.run.homogeneous
        and {
            (use.name, use.role)
            for use in group.uses
            if use.role == "follows" or use.name in makers
        }
        == {(name, "makes" if name in makers else "follows") for name in rows}
    )


def _folds(net: nn.Module, use: Use) -> bool:
    """Whether this is a BatchNorm that is an affine map of what one layer makes."""
    module = net.get_submodule(use.name)
    if use.maker is None or not isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        return False
    return module.affine and module.running_var is not None


def _all(net: nn.Module, group: ChannelGroup, use: Use) -> Tensor:
    """Everything that a module has for each channel."""
    parts = [entries(net, group, use, name) for name in tensors(net, use)]
    return torch.cat(parts, 1) if parts else torch.zeros(group.width, 0)


def _effective(net: nn.Module, group: ChannelGroup, use: Use, norm: Use | None) -> Tensor:
    """What a layer and its BatchNorm make of their input: (width, columns + 1), the bias last."""
    weight = entries(net, group, use)
    bias = _bias(net, group, use)
    if norm is None:
        return torch.cat([weight, bias], 1)
    scale, mean, shift = _affine(net, group, norm)
    return torch.cat([weight * scale, (bias - mean) * scale + shift], 1)


def _bias(net: nn.Module, group: ChannelGroup, use: Use) -> Tensor:
    if cast(Joint, net.get_submodule(use.name)).bias is not None:
        return entries(net, group, use, "bias")
    return entries(net, group, use).new_zeros(group.run.width, 1)


def _affine(net: nn.Module, group: ChannelGroup, norm: Use) -> tuple[Tensor, Tensor, Tensor]:
    """Scale, mean and shift of a BatchNorm, t -> scale (t - mean) + shift, each (width, 1)."""
    deviation = (entries(net, group, norm, "running_var") + _norm(net, norm).eps).sqrt()
    scale = entries(net, group, norm) / deviation
    return scale, entries(net, group, norm, "running_mean"), entries(net, group, norm, "bias")


def _norm(net: nn.Module, norm: Use) -> Norm:
    return cast(Norm, net.get_submodule(norm.name))


def _write(
    net: nn.Module,
    group: ChannelGroup,
    of: tuple[Use, Use | None],
    part: Tensor,
    changed: Tensor,
) -> None:
    """Let a layer and its BatchNorm make these rows where they changed."""
    (use, norm), (wanted, total) = of, part.split([part.shape[1] - 1, 1], 1)
    weight, bias, rows = entries(net, group, use), _bias(net, group, use), changed[:, None]
    if norm is None:
        put(net, group, use, "weight", torch.where(rows, wanted, weight))
        if cast(Joint, net.get_submodule(use.name)).bias is not None:
            put(net, group, use, "bias", torch.where(rows, total, bias))
        return
    lost = rows & (_affine(net, group, norm)[0] == 0)  # a factor 0 cannot make a row: it becomes 1
    deviation = (entries(net, group, norm, "running_var") + _norm(net, norm).eps).sqrt()
    put(net, group, norm, "weight", torch.where(lost, deviation, entries(net, group, norm)))
    scale, mean, shift = _affine(net, group, norm)
    put(net, group, use, "weight", torch.where(rows, wanted / scale, weight))
    put(net, group, norm, "bias", torch.where(rows, total - scale * (bias - mean), shift))
