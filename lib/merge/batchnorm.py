"""Batch normalisation in eval mode is an affine map a channel: folding it into its neighbours
changes no output."""

from __future__ import annotations

import copy

import torch
from torch import nn

from lib.nets import MLP, from_sequential

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_ABSENT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout)  # the identity in eval mode


def fold_batchnorm(module: nn.Sequential) -> nn.Sequential:
    """The same function without batch normalisation, dropout and nested `nn.Sequential`s;
    parameters are copied.

    After a layer, gamma (W x + b - mean) / sqrt(var + eps) + beta has weights s W and bias s (b -
    mean) + beta, s = gamma / sqrt(var + eps). Before a dense layer, s joins its weights and the
    rest its bias.

    Args:
        module: in eval mode.
    Raises:
        ValueError: the module is in training mode, where normalisation depends on the batch.
        TypeError: batch normalisation that touches no dense layer and follows no convolution.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 1)).eval()
    >>> [type(m).__name__ for m in fold_batchnorm(net)]
    ['Linear', 'ReLU', 'Linear']
    """
    if not isinstance(module, nn.Sequential):
        raise TypeError(f"got {type(module).__name__}: expected nn.Sequential")
    modules = [m for m in _flat(module) if not isinstance(m, _ABSENT) or m.training]
    if any(m.training for m in modules if isinstance(m, (*_NORMS, *_ABSENT))):
        raise ValueError(
            "module is in training mode: call .eval() first, its normalisation or dropout depends"
            " on the batch"
        )
    folded: list[nn.Module] = []
    waiting: tuple[torch.Tensor, torch.Tensor] | None = (
        None  # scale and shift of a norm still to be folded forward
    )
    for place, m in enumerate(modules):
        if isinstance(m, _NORMS):
            scale, shift = _affine(m, place)
            if waiting is not None:
                raise TypeError(
                    f"module {place} normalises twice in a row: expected a layer between"
                )
            if folded and isinstance(folded[-1], (nn.Linear, nn.Conv2d)):
                _fold_back(folded[-1], scale, shift)
            else:
                waiting = (scale, shift)
            continue
        if waiting is not None:
            if not isinstance(m, nn.Linear):
                raise TypeError(
                    f"module {place} ({type(m).__name__}) follows a normalisation that follows no"
                    " layer: expected Linear there"
                )
            folded.append(_fold_forward(m, *waiting))
            waiting = None
        else:
            folded.append(copy.deepcopy(m))
    if waiting is not None:
        raise TypeError(
            "the last module normalises and follows no layer: expected a Linear or Conv2d before or"
            " after it"
        )
    return nn.Sequential(*folded).eval()


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


def _flat(module: nn.Sequential) -> list[nn.Module]:
    return [leaf for m in module for leaf in (_flat(m) if isinstance(m, nn.Sequential) else [m])]


def _affine(norm: nn.Module, place: int) -> tuple[torch.Tensor, torch.Tensor]:
    if norm.running_mean is None:
        raise ValueError(
            f"module {place} keeps no running statistics: it normalises by the batch even in eval"
            " mode"
        )
    scale = (norm.running_var + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    shift = -scale * norm.running_mean
    return scale.detach(), (shift if norm.bias is None else shift + norm.bias).detach()


def _fold_back(layer: nn.Linear | nn.Conv2d, scale: torch.Tensor, shift: torch.Tensor) -> None:
    bias = shift if layer.bias is None else shift + scale * layer.bias.detach()
    weight = layer.weight.detach() * scale.reshape(-1, *(1,) * (layer.weight.dim() - 1))
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)


def _fold_forward(linear: nn.Linear, scale: torch.Tensor, shift: torch.Tensor) -> nn.Linear:
    if len(scale) != linear.in_features:
        raise TypeError(
            f"a normalisation of {len(scale)} features precedes a layer of {linear.in_features}"
            " inputs"
        )
    new = nn.Linear(
        linear.in_features,
        linear.out_features,
        dtype=linear.weight.dtype,
        device=linear.weight.device,
    )
    with torch.no_grad():
        new.weight.copy_(linear.weight * scale)
        new.bias.copy_(linear.weight @ shift + (0 if linear.bias is None else linear.bias))
    return new
