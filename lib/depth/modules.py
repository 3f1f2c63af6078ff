"""Lifting in depth for convolutional and other chains, also through and by batch normalisation."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from lib.depth.factorisation import Pieces, factor
from lib.depth.pieces import NO_PIECE, place
from lib.nets import Activation, Chain
from lib.nets.activations import get
from lib.nets.chain import Net, as_chain, as_given
from lib.nets.checks import check_index
from lib.nets.dense import check_kept
from lib.nets.drawing import Randomness, source_of
from lib.nets.kinds import check_deterministic, leaves
from lib.nets.samples import check_samples
from lib.nets.sequential import activation_module, activation_of
from lib.nets.surgery import linear, replace_layers


def insert_layer(
    net: Net,
    x: Tensor,
    layer: int,
    width: int,
    activation: str | Activation,
    *,
    normalise: bool = False,
    pieces: Pieces = None,
    generator: Randomness = None,
) -> Net:
    """A copy whose dense layer l became Linear - [BatchNorm1d -] sigma - Linear with the same
    outputs on x.

    Whatever follows (batch normalisation included) sees unchanged pre-activations on x. With
    `normalise` the new neurons pass through batch normalisation whose gain is the spread of the
    pre-activation and whose shift carries the batch's mean plus b': every element of the lifted
    manifold can be written so, but only with shift > gain * max|z|.

    Args:
        net: a `Chain` or an nn.Sequential; left as it is.
        x: the batch S (n, ...); batch statistics are those of S in train mode.
        layer: l in 1..L, the number of a Linear with bias.
        width: >= min(in, out) of that Linear;  activation: sigma of the new layer.
        pieces, generator: as in `lift`.
        normalise: put a batch normalisation before the new sigma (needs n >= 2; the gain absorbs
            its eps). Its running statistics are those of S, so evaluation mode agrees on S too.
    Returns:
        A new net of the same kind; every module keeps its mode, new ones have the net's.
    Raises:
        TypeError: the layer is no Linear; or as `lib.nets.chain.as_chain`.
        ValueError: it has no bias, there is no such layer, dropout is active, or as in `lift`:
            the outputs of the layer are measured on x.

    Source: (Bai et al. 2024) for fully connected layers; the batch-normalised variant is ours.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    >>> x = torch.eye(2, dtype=torch.float64)
    >>> deep = insert_layer(net, x, 2, 4, "relu", normalise=True, generator=0)
    >>> [type(m).__name__ for m in deep], bool((deep(x) - net(x)).abs().max() < 1e-12)
    (['Linear', 'ReLU', 'Linear', 'BatchNorm1d', 'ReLU', 'Linear'], True)
    """
    chain, sigma = as_chain(net), get(activation)
    joint = _dense(chain, layer)
    if joint.bias is None:
        raise ValueError(f"layer {layer} has no bias: the inserted layer's shift needs one")
    f = _features_before(chain, layer, x)
    with torch.no_grad():
        parts = factor(
            joint.weight,
            joint.bias,
            f,
            width,
            sigma,
            pieces=pieces,
            generator=source_of(generator, "insert_layer"),
        )
        inner = linear(parts.weight_in, None if normalise else parts.bias_in)
        outer = linear(parts.weight_out, parts.bias_out)
        between: nn.Module = activation_module(sigma)
        if normalise:
            norm = _norm_that_keeps(f @ parts.weight_in.mT, parts.bias_in)
            between = nn.Sequential(norm, between)
    for made in (inner, between, outer):
        made.train(net.training)
    _check_kept(joint, [inner, between, outer], f)
    return as_given(net, replace_layers(chain, layer, 1, [inner, outer], [between]))


def merge_layer(net: Net, x: Tensor, layer: int) -> Net:
    """The inverse of `insert_layer`: Linear - [BatchNorm1d -] sigma - Linear, layers l and l + 1,
    become one Linear.

    Args:
        x: the batch S; every neuron's (normalised) pre-activation must lie in one affine piece on
            it.
        layer: l in 1..L-1.
    Raises:
        TypeError: other modules stand there.
        ValueError: a neuron is not linearised on x, or the outputs of the layer would change on x.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    >>> x = torch.eye(2, dtype=torch.float64)
    >>> back = merge_layer(insert_layer(net, x, 2, 4, "relu", generator=0), x, 2)
    >>> bool((back[2].weight - net[2].weight).abs().max() < 1e-12)
    True
    """
    chain = as_chain(net)
    inner = _dense(chain, layer)
    between = [] if layer == chain.depth else leaves(chain.activations[layer - 1])
    norm = between[0] if between and type(between[0]) is nn.BatchNorm1d else None
    sigmas = between if norm is None else between[1:]
    if len(sigmas) != 1 or type(chain.joints[layer]) is not nn.Linear:
        names = [type(m).__name__ for m in (inner, *between, *chain.joints[layer : layer + 1])]
        raise TypeError(
            f"layer {layer} and what follows are {names}: expected Linear, [BatchNorm1d,]"
            " activation, Linear"
        )
    sigma, outer = activation_of(sigmas[0]), _dense(chain, layer + 1)
    with torch.no_grad():
        f = _features_before(chain, layer, x)
        z, weight = inner(f), inner.weight.detach()
        bias = z.new_zeros(z.shape[1]) if inner.bias is None else inner.bias.detach()
        if isinstance(norm, nn.BatchNorm1d):
            gain, offset = _as_affine(norm, z)
            weight, bias, z = gain[:, None] * weight, gain * bias + offset, gain * z + offset
        slope, shift = _pieces_that_hold(z, sigma, layer)
        total = outer.weight @ (slope * bias + shift)
        total = total if outer.bias is None else total + outer.bias
        merged = linear(outer.weight @ (slope[:, None] * weight), total).train(inner.training)
    _check_kept(merged, [inner, *between, outer], f)
    return as_given(net, replace_layers(chain, layer, 2, [merged], []))


def _dense(net: Chain, layer: int) -> nn.Linear:
    check_index("layer", layer)
    joint = net.joint(layer)
    if not isinstance(joint, nn.Linear):
        raise TypeError(f"layer {layer} is {type(joint).__name__}: expected Linear")
    return joint


def _features_before(net: Chain, layer: int, x: Tensor) -> Tensor:
    """What a dense layer receives, without touching running statistics."""
    check_samples(x)
    own = copy.deepcopy(net)
    for module in (own.before, *own.activations[: layer - 1]):
        check_deterministic(module)
    with torch.no_grad():
        f = own.features(x, layer - 1)[-1]
    if f.dim() != 2 or len(f) == 0:
        raise ValueError(
            f"layer {layer} receives {tuple(f.shape)}: expected"
            f" (n, {net.joint(layer).weight.shape[1]}) with n >= 1"
        )
    return f


@torch.no_grad()
def _check_kept(one: nn.Linear, several: list[nn.Module], f: Tensor) -> None:
    """Measure that one layer and those that stand in its place give the same outputs on f."""
    gap = (copy.deepcopy(nn.Sequential(*several))(f.clone()) - one(f)).abs().amax()
    size = f.abs() @ one.weight.abs().mT + (0 if one.bias is None else one.bias.abs())
    check_kept("outputs of the layer", gap, size.amax() if size.any() else f.abs().amax())


def _pieces_that_hold(z: Tensor, sigma: Activation, layer: int) -> tuple[Tensor, Tensor]:
    """Slope and shift of the affine piece that holds each neuron's pre-activations."""
    chosen = place(z, sigma)
    lost = (chosen == NO_PIECE).nonzero().flatten().tolist()
    if lost:
        raise ValueError(
            f"layer {layer} is not linearised on the {z.shape[0]} samples: neurons {lost} are in no"
            " single affine piece"
        )
    slopes, shifts = (
        z.new_tensor([getattr(piece, name) for piece in sigma.pieces])[chosen]
        for name in ("slope", "shift")
    )
    return slopes, shifts


def _norm_that_keeps(z: Tensor, start: Tensor) -> nn.BatchNorm1d:
    # gain = sqrt(var + eps) and shift = mean + b' undo the normalisation exactly, whatever eps is.
    if z.shape[0] < 2:
        raise ValueError(f"batch normalisation of {z.shape[0]} sample: expected n >= 2")
    norm = nn.BatchNorm1d(z.shape[1], dtype=z.dtype, device=z.device)
    mean, variance = z.mean(0), z.var(0, unbiased=False)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(mean + start)
    for buffer, value in ((norm.running_mean, mean), (norm.running_var, variance)):
        if buffer is not None:
            buffer.copy_(value)
    return norm


def _as_affine(norm: nn.BatchNorm1d, z: Tensor) -> tuple[Tensor, Tensor]:
    mean, variance = z.mean(0), z.var(0, unbiased=False)
    if not norm.training and norm.running_mean is not None and norm.running_var is not None:
        mean, variance = norm.running_mean, norm.running_var
    gain = (norm.weight if norm.affine else 1.0) / (variance + norm.eps).sqrt()
    return gain, (norm.bias if norm.affine else 0.0) - gain * mean
