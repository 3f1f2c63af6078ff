"""Lifting in depth for `nn.Sequential` models, also through and by batch normalisation."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from lib.depth.factorisation import Pieces, factor
from lib.depth.pieces import NO_PIECE, place
from lib.nets import Activation
from lib.nets.activations import get
from lib.nets.drawing import Randomness, source_of
from lib.nets.sequential import activation_module, activation_of


def insert_layer(
    module: nn.Sequential,
    index: int,
    x: Tensor,
    width: int,
    activation: str | Activation,
    *,
    normalise: bool = False,
    pieces: Pieces = None,
    margin: float = 0.5,
    generator: Randomness = None,
) -> nn.Sequential:
    """A copy whose `Linear` at `index` became Linear - [BatchNorm1d -] sigma - Linear with the same
    outputs on x.

    Whatever follows (batch normalisation included) sees unchanged pre-activations on x. With
    `normalise` the new neurons pass through batch normalisation whose gain is the spread of the
    pre-activation and whose shift carries the batch's mean plus b': every element of the lifted
    manifold can be written so, but only with shift > gain * max|z|.

    Args:
        index: of an `nn.Linear` with bias;  x: the batch S (n, m_0); batch statistics are those of
            S in train mode.
        width: >= min(in, out) of that Linear;  activation: sigma of the new layer.
        pieces, margin, generator: as in `lift`.
        normalise: put a batch normalisation before the new sigma (needs n >= 2; the gain absorbs
            its eps). Its running statistics are those of S, so evaluation mode agrees on S too.
    Returns:
        a new `nn.Sequential`, 2 or 3 modules longer, in the mode of `module`.
    Raises:
        TypeError: the module at `index` is no Linear.
        ValueError: it has no bias, the index is out of range, dropout is active, or as in `lift`.

    Source: (Bai et al. 2024) for fully connected layers; the batch-normalised variant is ours.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    >>> x = torch.eye(2, dtype=torch.float64)
    >>> deep = insert_layer(net, 2, x, 4, "relu", normalise=True, generator=0)
    >>> [type(m).__name__ for m in deep], bool((deep(x) - net(x)).abs().max() < 1e-12)
    (['Linear', 'ReLU', 'Linear', 'BatchNorm1d', 'ReLU', 'Linear'], True)
    """
    linear = _linear_at(module, index)
    if linear.bias is None:
        raise ValueError(
            f"module {index} has no bias: the inserted layer's shift needs one to undo it"
        )
    sigma = get(activation)
    f = stream_at(module, index, x)
    if f.dim() != 2 or f.shape[0] == 0:
        raise ValueError(
            f"module {index} receives {tuple(f.shape)}: expected (n, {linear.in_features}) with n"
            " >= 1"
        )
    with torch.no_grad():
        parts = factor(
            linear.weight,
            linear.bias,
            f,
            width,
            sigma,
            pieces=pieces,
            margin=margin,
            generator=source_of(generator, "insert_layer"),
        )
        inner = _linear(parts.weight_in, None if normalise else parts.bias_in)
        outer = _linear(parts.weight_out, parts.bias_out)
        norm = [_norm_that_keeps(f @ parts.weight_in.mT, parts.bias_in)] if normalise else []
    modules = list(deepcopy(module))
    deep = nn.Sequential(
        *modules[:index], inner, *norm, activation_module(sigma), outer, *modules[index + 1 :]
    )
    return deep.train(module.training)


def merge_layer(module: nn.Sequential, index: int, x: Tensor) -> nn.Sequential:
    """The inverse of `insert_layer`: Linear - [BatchNorm1d -] sigma - Linear from `index` on
    becomes one Linear.

    Args:
        x: the batch S; every neuron's (normalised) pre-activation must lie in one affine piece on
            it.
    Raises:
        TypeError: other modules stand there.  ValueError: a neuron is not linearised on x.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    >>> x = torch.eye(2, dtype=torch.float64)
    >>> back = merge_layer(insert_layer(net, 2, x, 4, "relu", generator=0), 2, x)
    >>> bool((back[2].weight - net[2].weight).abs().max() < 1e-12)
    True
    """
    inner = _linear_at(module, index)
    rest = list(module)[index + 1 :]
    norm = rest.pop(0) if rest and isinstance(rest[0], nn.BatchNorm1d) else None
    if len(rest) < 2 or not isinstance(rest[1], nn.Linear):
        names = [type(m).__name__ for m in list(module)[index : index + 4]]
        raise TypeError(
            f"modules from {index} on are {names}: expected Linear, [BatchNorm1d,] activation,"
            " Linear"
        )
    sigma, outer = activation_of(rest[0]), rest[1]
    with torch.no_grad():
        f = stream_at(module, index, x)
        z = inner(f)
        weight, bias = inner.weight, z.new_zeros(z.shape[1]) if inner.bias is None else inner.bias
        if norm is not None:
            gain, shift = _as_affine(norm, z)
            weight, bias, z = gain[:, None] * weight, gain * bias + shift, gain * z + shift
        chosen = place(z, sigma)
        if (chosen == NO_PIECE).any():
            lost = (chosen == NO_PIECE).nonzero().flatten().tolist()
            raise ValueError(
                f"module {index} is not linearised on the {x.shape[0]} samples: neurons {lost} are"
                " in no single affine piece"
            )
        slope = torch.tensor([p.slope for p in sigma.pieces], dtype=z.dtype, device=z.device)[
            chosen
        ]
        shift = torch.tensor([p.shift for p in sigma.pieces], dtype=z.dtype, device=z.device)[
            chosen
        ]
        total = outer.weight @ (slope * bias + shift)
        total = total if outer.bias is None else total + outer.bias
        merged = _linear(outer.weight @ (slope[:, None] * weight), total)
    modules = list(deepcopy(module))
    return nn.Sequential(*modules[:index], merged, *deepcopy(rest[2:])).train(module.training)


def stream_at(module: nn.Sequential, index: int, x: Tensor) -> Tensor:
    """What module `index` receives for the inputs x, without touching running statistics.

    Raises:
        ValueError: index outside 0..len(module), or dropout is active before it.

    >>> stream_at(nn.Sequential(nn.ReLU(), nn.Linear(1, 1)), 1, torch.tensor([[-1.0]]))
    tensor([[0.]])
    """
    if not 0 <= index <= len(module):
        raise ValueError(f"index {index} outside 0..{len(module)}")
    before = deepcopy(module[:index])
    for m in before.modules():
        if isinstance(m, nn.Dropout) and m.training and m.p > 0:
            raise ValueError(
                "dropout is active: the outputs to keep are random; call .eval() or remove it"
            )
    with torch.no_grad():
        return before(x)


def _linear_at(module: nn.Sequential, index: int) -> nn.Linear:
    if not isinstance(module, nn.Sequential):
        raise TypeError(f"got {type(module).__name__}: expected nn.Sequential")
    if not 0 <= index < len(module):
        raise ValueError(f"index {index} outside 0..{len(module) - 1}")
    if not isinstance(module[index], nn.Linear):
        raise TypeError(f"module {index} is {type(module[index]).__name__}: expected Linear")
    return module[index]


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    out, into = weight.shape
    linear = nn.Linear(into, out, bias=bias is not None, dtype=weight.dtype, device=weight.device)
    with torch.no_grad():
        linear.weight.copy_(weight)
        if bias is not None:
            linear.bias.copy_(bias)
    return linear


def _norm_that_keeps(z: Tensor, start: Tensor) -> nn.BatchNorm1d:
    # gain = sqrt(var + eps) and shift = mean + b' undo the normalisation exactly, whatever eps is.
    if z.shape[0] < 2:
        raise ValueError(f"batch normalisation of {z.shape[0]} sample: expected n >= 2")
    norm = nn.BatchNorm1d(z.shape[1], dtype=z.dtype, device=z.device)
    mean, variance = z.mean(0), z.var(0, unbiased=False)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(mean + start)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    return norm


def _as_affine(norm: nn.BatchNorm1d, z: Tensor) -> tuple[Tensor, Tensor]:
    batch = norm.training or norm.running_mean is None
    mean, variance = (
        (z.mean(0), z.var(0, unbiased=False)) if batch else (norm.running_mean, norm.running_var)
    )
    gain = (norm.weight if norm.affine else 1.0) / (variance + norm.eps).sqrt()
    return gain, (norm.bias if norm.affine else 0.0) - gain * mean
