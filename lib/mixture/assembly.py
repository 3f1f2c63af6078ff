"""A mixture under construction: its layers fitted one after the other, copies of channels made at
the end."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from lib.joint.dual import fit_features
from lib.joint.fit import blocks, fit_joint, restrict, with_targets
from lib.joint.geometry import build, geometry
from lib.joint.normal import NormalEquations
from lib.joint.ridge import Solution
from lib.mixture.adam import Matching, match_features
from lib.nets import Chain


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
class Growing:
    """A mixture under construction, one of each distinct channel; copies are made at the end."""

    shares: tuple[float, ...]
    features: list[Tensor]
    ridge: float = 0.0
    joints: list[nn.Module] = field(default_factory=list)
    sources: list[Tensor] = field(default_factory=list)
    kept: list[Tensor] = field(default_factory=list)  # distinct sources a layer
    fits: list[Solution | None] = field(default_factory=list)

    def grow(
        self,
        nets: Sequence[Chain],
        layer: int,
        sources: Tensor,
        pre: Sequence[Sequence[Tensor]],
        shared: NormalEquations | None,
        matching: Matching | None,
        seed: int,
    ) -> None:
        """Add a layer that has the channels `sources`.

        Args:
            pre: pre-activations of every net, in parts;  shared: normal equations of all nets'
                features with all nets' channels as targets, or None to read the mixture's own
                features.
        """
        joint = nets[0].joint(layer)
        # Adam starts copies of a channel from different weights, so there they differ and all are
        # kept.
        kept = sources if matching is not None else sources.unique()
        fit = None
        if layer == 1 and matching is None:
            weight = torch.cat([with_bias(net.joint(1)) for net in nets])[kept]
        elif matching is not None:
            targets = [torch.cat(gs, 1)[:, kept] for gs in zip(*pre, strict=True)]
            weight = match_features(joint, self.features, targets, matching, layer=layer, seed=seed)
        elif shared is not None:
            taps = shared.shape.unknowns // sum(
                net.joint(layer - 1).weight.shape[0] for net in nets
            )
            fit = fit_joint(restrict(shared, blocks(self.kept[-1], taps), kept), self.ridge)
        else:
            targets = [torch.cat(gs, 1)[:, kept] for gs in zip(*pre, strict=True)]
            fit = fit_features(joint, self.features, targets, self.ridge)
        self.fits.append(fit)
        self.joints.append(_joint_like(joint, weight if fit is None else _parameters(fit)))
        self.sources.append(sources)
        self.kept.append(kept)

    def advance(self, net: Chain, layer: int) -> None:
        """Take the features through the layer just added."""
        self.features = [net.feature(layer, self.joints[-1](f)) for f in self.features]

    def result(
        self,
        nets: Sequence[Chain],
        teachers: Sequence[Sequence[Tensor]],
        shared: NormalEquations | None,
        top: str,
    ) -> Mixture:
        """The finished mixture; its last layer matches the outputs, or is left at zero for
        `refit_top`."""
        last = nets[0].joint(nets[0].depth)
        outputs, units = last.weight.shape[0], self._units(nets[0])
        fit = None
        if top == "match" and shared is not None:
            parts = [
                s * with_bias(net.joint(net.depth)).double()
                for s, net in zip(self.shares, nets, strict=True)
            ]
            target = torch.cat([*(p[:, :-1] for p in parts), sum(p[:, -1:] for p in parts)], 1)
            columns = blocks(self.kept[-1], units // len(self.kept[-1]))
            known = with_targets(shared, target[:, :-1], target[:, -1])
            fit = fit_joint(restrict(known, columns, torch.arange(outputs)), self.ridge)
        elif top == "match":
            wanted = [
                sum(
                    s * net.joint(net.depth)(f)
                    for s, net, f in zip(self.shares, nets, fs, strict=True)
                )
                for fs in zip(*teachers, strict=True)
            ]
            fit = fit_features(last, self.features, wanted, self.ridge)
        fits = [*self.fits, fit]
        joints = [
            *self.joints,
            _joint_like(last, torch.zeros(outputs, units + 1) if fit is None else _parameters(fit)),
        ]
        return Mixture(
            Chain(_with_copies(joints, self), copy.deepcopy(list(nets[0].activations))).eval(),
            self.shares,
            tuple(self.sources),
            tuple(None if f is None else _error(f) for f in fits),
            tuple(0.0 if f is None else f.ridge for f in fits),
        )

    def _units(self, net: Chain) -> int:
        """What the last joint reads: channels kept times the positions that flattening makes of
        each."""
        last, before = net.joint(net.depth), net.joint(net.depth - 1)
        return len(self.kept[-1]) * (last.weight[0].numel() // before.weight.shape[0])


def _with_copies(joints: list[nn.Module], mixture: Growing) -> list[nn.Module]:
    """The joints of the full mixture: a channel drawn k times stands k times, its outgoing weights
    shared equally."""
    out = []
    for layer, joint in enumerate(joints):
        weight, bias = joint.weight, joint.bias
        if layer > 0:
            where, times = _places(mixture.kept[layer - 1], mixture.sources[layer - 1])
            blocked = weight.reshape(weight.shape[0], len(times), -1)
            weight = (blocked / times[:, None])[:, where].reshape(
                weight.shape[0], -1, *weight.shape[2:]
            )
        if layer < len(mixture.kept):
            where, _ = _places(mixture.kept[layer], mixture.sources[layer])
            weight, bias = weight[where], bias[where]
        out.append(_joint_like(joint, torch.cat([weight.flatten(1), bias[:, None]], 1)))
    return out


def _places(kept: Tensor, sources: Tensor) -> tuple[Tensor, Tensor]:
    if kept is sources:  # every drawn channel was fitted on its own
        return torch.arange(len(kept)), torch.ones(len(kept))
    where = torch.searchsorted(kept, sources)
    return where, torch.bincount(where, minlength=len(kept)).float()


def _parameters(fit: Solution) -> Tensor:
    return torch.cat([fit.weight, fit.bias[:, None]], 1)


def _error(fit: Solution) -> float:
    return fit.loss / fit.variance if fit.variance > 0 else 0.0


def with_bias(joint: nn.Module) -> Tensor:
    """The joint's parameters as (outputs, inputs * taps + 1), the bias last."""
    bias = joint.weight.new_zeros(joint.weight.shape[0]) if joint.bias is None else joint.bias
    return torch.cat([joint.weight.detach().flatten(1), bias.detach()[:, None]], 1)


def joined(parts: list[Tensor]) -> Tensor:
    """Weights of several nets as one map of all their features: block diagonal, the biases in the
    last column."""
    return torch.cat(
        [torch.block_diag(*(p[:, :-1] for p in parts)), torch.cat([p[:, -1:] for p in parts])], 1
    )


def _joint_like(joint: nn.Module, weight: Tensor) -> nn.Module:
    """A joint of the same kind with weights (outputs, inputs * taps + 1), the bias last."""
    shape = geometry(joint)
    inputs = (weight.shape[1] - 1) // shape.taps
    weight = weight.float()
    return build(replace(shape, inputs=inputs, outputs=len(weight)), weight[:, :-1], weight[:, -1])
