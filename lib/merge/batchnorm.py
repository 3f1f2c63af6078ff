"""Batch normalisation in eval mode is an affine map of each channel: folding it into its neighbours
changes no output."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from lib.nets import MLP, Chain, from_sequential
from lib.nets.chain import Net, as_chain, as_given
from lib.nets.checks import check_preserved
from lib.nets.kinds import NORMS, RANDOM, Joint, check_deterministic, leaves
from lib.nets.surgery import linear

Norm = nn.BatchNorm1d | nn.BatchNorm2d


def fold_batchnorm(net: Net, *, x: Tensor | None = None) -> Net:
    """The same function without batch normalisation and dropout; parameters are copied.

    After a layer, gamma (W x + b - mean) / sqrt(var + eps) + beta has weights s W and bias s (b -
    mean) + beta, s = gamma / sqrt(var + eps). Before a dense layer, s joins its weights and the
    rest its bias. Dense layers are taken to act on inputs (n, features).

    Args:
        net: a `Chain`, or an nn.Sequential (nested ones become flat); in eval mode.
        x: inputs (n, ...) on which to measure that the outputs stay; not measured by default.
    Raises:
        ValueError: normalisation or dropout in training mode, which depends on the batch, or
            without running statistics; outputs that changed on x.
        TypeError: batch normalisation that touches no dense layer and follows no convolution; or
            as `lib.nets.chain.as_chain`.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 1)).eval()
    >>> [type(m).__name__ for m in fold_batchnorm(net)]
    ['Linear', 'ReLU', 'Linear']
    """
    chain = copy.deepcopy(as_chain(net))
    groups = [leaves(m) for m in (chain.before, *chain.activations, chain.after)]
    for group in groups:
        _check_modes(group)
    joints = [chain.joint(layer) for layer in range(1, chain.depth + 1)]
    for place in range(len(groups)):
        kept = [m for m in groups[place] if type(m) not in RANDOM or type(m) is nn.RReLU]
        if place > 0 and kept and type(kept[0]) in NORMS:
            joints[place - 1] = _after(joints[place - 1], cast(Norm, kept.pop(0)), place)
        if kept and type(kept[-1]) in NORMS and place < len(joints):
            joints[place] = _before(joints[place], cast(Norm, kept.pop()), place + 1)
        if any(type(m) in NORMS for m in kept):
            raise TypeError(
                f"a normalisation behind layer {place} follows no layer and precedes no Linear:"
                " expected Linear or Conv2d before it, or Linear after it"
            )
        groups[place] = kept
    maps = [group[0] if len(group) == 1 else nn.Sequential(*group) for group in groups]
    folded = Chain(joints, maps[1:-1], before=maps[0], after=maps[-1]).eval()
    if x is not None:
        check_preserved(as_chain(net), folded, x)
    return as_given(net, folded)


def as_mlp(module: nn.Sequential) -> tuple[nn.Sequential, MLP]:
    """A chain of dense layers in eval mode as a parameter-free head (nn.Flatten, or nothing) and an
    `MLP`.

    Raises:
        ValueError, TypeError: as `fold_batchnorm` and `from_sequential`.

    >>> as_mlp(nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.Tanh(), nn.Linear(2, 1)).eval())
    (Sequential(
      (0): Flatten(start_dim=1, end_dim=-1)
    ), MLP(4-2-1, tanh, 13 parameters))
    """
    modules = list(fold_batchnorm(module))
    head = [m for m in modules[:1] if isinstance(m, nn.Flatten)]
    return nn.Sequential(*head), from_sequential(nn.Sequential(*modules[len(head) :]))


def _check_modes(modules: list[nn.Module]) -> None:
    for module in modules:
        check_deterministic(module)
        if isinstance(module, NORMS) and module.training:
            raise ValueError(
                f"{type(module).__name__} is in training mode and depends on the batch:"
                " call .eval()"
                " first"
            )
        if isinstance(module, NORMS) and getattr(module, "running_mean", None) is None:
            raise ValueError(
                f"{type(module).__name__} keeps no running statistics: it normalises by the batch"
                " even in eval mode"
            )


def _after(joint: Joint, norm: Norm, layer: int) -> Joint:
    """The layer that makes the normalised outputs itself."""
    if norm.num_features != joint.weight.shape[0]:
        raise TypeError(
            f"a normalisation of {norm.num_features} features follows layer {layer} of"
            f" {joint.weight.shape[0]} outputs: it acts on another axis than the layer"
        )
    joint.weight, joint.bias = _fused(joint.weight, joint.bias, norm)
    return joint


def _before(joint: nn.Module, norm: Norm, layer: int) -> nn.Linear:
    """The dense layer that reads the normalised features, reading the plain ones."""
    if not isinstance(joint, nn.Linear):
        raise TypeError(
            f"layer {layer} ({type(joint).__name__}) follows a normalisation that follows no layer:"
            " expected Linear there"
        )
    if norm.num_features != joint.in_features:
        raise TypeError(
            f"a normalisation of {norm.num_features} features precedes layer {layer} of"
            f" {joint.in_features} inputs"
        )
    with torch.no_grad():
        scale, shift = _fused(joint.weight.new_ones(joint.in_features, 1), None, norm)
        bias = joint.weight @ shift + (0 if joint.bias is None else joint.bias)
        return linear(joint.weight * scale.squeeze(1), bias)


def _fused(weight: Tensor, bias: Tensor | None, norm: Norm) -> tuple[nn.Parameter, nn.Parameter]:
    # torch's function for convolutions serves dense weights too, and norms without scale and shift
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    return fuse_conv_bn_weights(
        weight, bias, mean, variance, norm.eps, cast(Tensor, norm.weight), cast(Tensor, norm.bias)
    )
