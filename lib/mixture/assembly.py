"""A mixture under construction: its layers fitted one after the other, copies of channels made at
the end."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional

from lib.joint.fit import blocks, equations, fit_features, fit_joint, restrict, with_targets
from lib.joint.geometry import Geometry, with_bias
from lib.joint.least_squares import Solution
from lib.joint.normal import NormalEquations
from lib.mixture.options import MixtureOptions
from lib.nets import Chain
from lib.nets.kinds import Joint

Parts = list[Tensor]  # features or pre-activations of all images, batch by batch


@dataclass(frozen=True, eq=False)
class Mixture:
    """A net whose hidden features are a mixture of several nets' features.

    Args:
        net: the mixture, an ordinary net.
        shares: of the given nets, with sum 1.
        sources: for hidden layers 1..L-1 the channels taken over, (M_l,), numbered through all nets
            (see `chosen`).
        errors: relative matching error of every layer (1..L), 0 exact to 1 useless; None where
            nothing was matched.
        ridges: of each layer's least squares: the one asked for, or what a singular Gram needed.
    """

    net: Chain
    shares: tuple[float, ...]
    sources: tuple[Tensor, ...]
    errors: tuple[float | None, ...]
    ridges: tuple[float, ...]


@dataclass(eq=False)
class Teachers:
    """The given nets at one layer.

    Args:
        nets: of one precision, in eval mode;  layer: 1..L;  features: what each net's layer reads.
        shared: normal equations of all nets' features with all nets' channels as targets, or None
            where every mixture reads its own features.
    """

    nets: Sequence[Chain]
    layer: int
    features: list[Parts]
    shared: NormalEquations | None = None

    def __post_init__(self) -> None:
        joints = [net.joint(self.layer) for net in self.nets]
        pairs = zip(joints, self.features, strict=True)
        self.pre = [[joint(f) for f in parts] for joint, parts in pairs]
        self.joint = joints[0]
        self.shape = Geometry.of(joints[0])
        self.sizes = [Geometry.of(joint).outputs for joint in joints]
        self.parameters = [with_bias(joint) for joint in joints]

    def share_moments(self) -> None:
        """Sum the normal equations that all mixtures have in common."""
        moments = equations(
            self.shape, (torch.cat(fs, 1) for fs in zip(*self.features, strict=True))
        )
        weights = [p.double() for p in self.parameters]
        if self.layer < self.nets[0].depth:
            target = _block_diagonal(weights)
            moments = with_targets(moments, target[:, :-1], target[:, -1])
        self.shared = moments

    def after(self) -> list[Parts]:
        """What the next layer of each net reads."""
        return [
            [net.feature(self.layer, g) for g in parts]
            for net, parts in zip(self.nets, self.pre, strict=True)
        ]


@dataclass(eq=False)
class Growing:
    """A mixture under construction, one of each distinct channel; copies are made at the end."""

    shares: tuple[float, ...]
    features: Parts
    options: MixtureOptions
    joints: list[Joint] = field(default_factory=list)
    sources: list[Tensor] = field(default_factory=list)
    kept: list[Tensor] = field(default_factory=list)  # distinct sources of each layer
    fits: list[Solution | None] = field(default_factory=list)

    def grow(self, teachers: Teachers, sources: Tensor) -> None:
        """Add a layer that has the channels `sources`."""
        own_fit, layer = self.options.fit, teachers.layer
        # Training starts copies of a channel from different weights, so there they differ and all
        # are kept.
        kept = sources if own_fit is not None else torch.tensor(sorted({*sources.tolist()}))
        fit: Solution | None = None
        if own_fit is not None:
            targets = [torch.cat(gs, 1)[:, kept] for gs in zip(*teachers.pre, strict=True)]
            weight = own_fit(teachers.shape, self.features, targets, layer)
        elif layer == 1:
            weight = torch.cat(teachers.parameters)[kept]
        else:
            fit = self._fit(teachers, kept)
            weight = _parameters(fit)
        self.fits.append(fit)
        self.joints.append(_joint_like(teachers.joint, weight))
        self.sources.append(sources)
        self.kept.append(kept)

    def _fit(self, teachers: Teachers, kept: Tensor) -> Solution:
        """The least-squares fit of the channels `kept`."""
        ridge, shared = self.options.ridge, teachers.shared
        if shared is not None:
            below = sum(Geometry.of(net.joint(teachers.layer - 1)).outputs for net in teachers.nets)
            columns = blocks(self.kept[-1], shared.shape.unknowns // below)
            return fit_joint(restrict(shared, columns, kept), ridge)
        targets = [torch.cat(gs, 1)[:, kept] for gs in zip(*teachers.pre, strict=True)]
        return fit_features(teachers.shape, self.features, targets, ridge)

    def advance(self, teachers: Teachers) -> None:
        """Take the features through the layer just added."""
        net = teachers.nets[0]
        self.features = [net.feature(teachers.layer, self.joints[-1](f)) for f in self.features]

    def result(self, teachers: Teachers, *, matched: bool) -> Mixture:
        """The finished mixture; its last layer matches the outputs if wanted, else it is zero."""
        net, outputs = teachers.nets[0], teachers.sizes[0]
        fit = self._fit_outputs(teachers) if matched else None
        # channels kept times the positions that flattening makes of each
        below = Geometry.of(net.joint(teachers.layer - 1)).outputs
        units = len(self.kept[-1]) * (teachers.shape.unknowns // below)
        zero = teachers.joint.weight.new_zeros(outputs, units + 1)
        weight = zero if fit is None else _parameters(fit)
        fits = [*self.fits, fit]
        joints = [*self.joints, _joint_like(teachers.joint, weight)]
        made = Chain(
            _with_copies(joints, self),
            copy.deepcopy(list(net.activations)),
            before=copy.deepcopy(net.before),
        )
        return Mixture(
            made.eval(),
            self.shares,
            tuple(self.sources),
            tuple(None if f is None else f.relative for f in fits),
            tuple(0.0 if f is None else f.ridge for f in fits),
        )

    def _fit_outputs(self, teachers: Teachers) -> Solution:
        """The last layer whose outputs are nearest to the mean of the nets' by their shares."""
        ridge = self.options.ridge
        if teachers.shared is None:
            wanted = [_mean(self.shares, gs) for gs in zip(*teachers.pre, strict=True)]
            return fit_features(teachers.shape, self.features, wanted, ridge)
        weights = [s * p.double() for s, p in zip(self.shares, teachers.parameters, strict=True)]
        bias = torch.stack([w[:, -1] for w in weights]).sum(0)
        known = with_targets(teachers.shared, torch.cat([w[:, :-1] for w in weights], 1), bias)
        below = sum(Geometry.of(net.joint(teachers.layer - 1)).outputs for net in teachers.nets)
        columns = blocks(self.kept[-1], known.shape.unknowns // below)
        return fit_joint(restrict(known, columns, torch.arange(len(bias))), ridge)


def _mean(shares: Sequence[float], outputs: Sequence[Tensor]) -> Tensor:
    total = torch.zeros_like(outputs[0])
    for share, output in zip(shares, outputs, strict=True):
        total = total + share * output
    return total


def _with_copies(joints: list[Joint], mixture: Growing) -> list[Joint]:
    """The joints of the full mixture: a channel drawn k times stands k times, its outgoing weights
    shared equally."""
    out = []
    for layer, joint in enumerate(joints):
        both = with_bias(joint)
        weight, bias = both[:, :-1], both[:, -1:]
        if layer > 0:
            where, times = _places(mixture.kept[layer - 1], mixture.sources[layer - 1])
            blocked = weight.reshape(len(weight), len(times), -1)
            weight = (blocked / times[:, None])[:, where].flatten(1)
        if layer < len(mixture.kept):
            where, _ = _places(mixture.kept[layer], mixture.sources[layer])
            weight, bias = weight[where], bias[where]
        out.append(_joint_like(joint, torch.cat([weight, bias], 1)))
    return out


def _places(kept: Tensor, sources: Tensor) -> tuple[Tensor, Tensor]:
    if kept is sources:  # every drawn channel was fitted on its own
        return torch.arange(len(kept)), torch.ones(len(kept))
    where = torch.searchsorted(kept, sources)
    return where, torch.bincount(where, minlength=len(kept)).float()


def _parameters(fit: Solution) -> Tensor:
    bias = fit.weight.new_zeros(len(fit.weight)) if fit.bias is None else fit.bias
    return torch.cat([fit.weight, bias[:, None]], 1)


def _block_diagonal(parts: list[Tensor]) -> Tensor:
    """Weights of several nets as one map of all their features: the biases in the last column."""
    inputs = [p.shape[1] - 1 for p in parts]
    wide, start = [], 0
    for p, size in zip(parts, inputs, strict=True):
        wide.append(functional.pad(p[:, :-1], (start, sum(inputs) - start - size)))
        start += size
    return torch.cat([torch.cat(wide), torch.cat([p[:, -1:] for p in parts])], 1)


def _joint_like(joint: Joint, weight: Tensor) -> Joint:
    """A joint of the same kind with weights (outputs, inputs * taps + 1), the bias last."""
    shape = Geometry.of(joint)
    inputs, weight = (weight.shape[1] - 1) // shape.taps, weight.to(joint.weight.dtype)
    shape = replace(shape, inputs=inputs, outputs=len(weight))
    return shape.build(weight[:, :-1], weight[:, -1])
