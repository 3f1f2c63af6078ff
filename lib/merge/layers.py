"""Merging layers that are affine on the data, exactly or in the least-squares sense: the left
inverse of lifting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lib.depth.merging import merge, merge_known
from lib.depth.pieces import NO_PIECE, pieces_of
from lib.merge.batchnorm import as_mlp
from lib.nets import MLP, features, forward, preactivations, to_sequential
from lib.nets.checks import check_single

FITS = ("affine", "neuron")


@dataclass(frozen=True)
class MergedLayer:
    """One hidden layer that was merged away, numbered as in the net before.

    Args:
        layer: l in 1..L-1.
        exact: every neuron was in one affine piece on the data, or constant there.
        error: sum |h_i - fit(f_i)|^2 / sum |h_i - mean h|^2, h the layer's output on the data; 0 if
            exact.
        change: largest change of a net's output on the data, max_i |f'(x_i) - f(x_i)|, due to this
            step.
    """

    layer: int
    exact: bool
    error: float
    change: float


@dataclass(frozen=True, eq=False)
class LayerMerge:
    """A net with merged layers.

    Args:
        net: the result, of the kind that was given.
        merged: the layers that went, in the order of merging.
        errors: the linearisation error of every hidden layer of the net before, 0 where it is
            exact.
        change: largest output change on the data, of all steps together.
    """

    net: MLP | nn.Sequential
    merged: tuple[MergedLayer, ...]
    errors: tuple[float, ...]
    change: float


def merge_layers(
    net: MLP | nn.Sequential,
    x: Tensor,
    tolerance: float = 0.0,
    *,
    fit: str = "affine",
    layers: Sequence[int] | None = None,
) -> LayerMerge:
    """The net without its hidden layers that are affine on the data, h = A f + c: W = W^[l+1] A,
    b = b^[l+1] + W^[l+1] c.

    A layer whose neurons each stay in one affine piece of sigma (or are constant) on the data is
    merged exactly, with A = diag(slope) W^[l]: the left inverse of lifting. Any other layer is
    replaced by the least-squares fit if its error is within the tolerance, the layer of the
    smallest error first.

    Args:
        net: one net, or an `nn.Sequential` of dense layers in eval mode; batch normalisation is
            folded in first.
        x: inputs (n, m_0) that say what is linearised.
        tolerance: largest error of a fitted layer, 0..1; 0 merges exact ones only.
        fit: "affine" fits A and c, and needs more samples than inputs of the layer; "neuron" fits
            sigma(z_j) ~ slope_j z_j + shift_j, two numbers a neuron.
        layers: the hidden layers that may go, 1..L-1; default all.
    Returns:
        The net, what was merged with which error, and the output change on x.
    Raises:
        ValueError: a batch of nets, no such layer, an unknown fit, a tolerance outside 0..1, too
            few samples to fit.
        TypeError: an `nn.Sequential` that is no chain of dense layers.
    Source: (Bai et al. 2024) for exact merging; the fits are ours.

    >>> from lib.depth.lifting import lift
    >>> from lib.nets import init
    >>> shallow, x = init((1, 3, 1), "relu", generator=0), torch.tensor([[-1.0], [0.3], [2.0]], dtype=torch.float64)
    >>> merge_layers(lift(shallow, x, 1, 4), x).net
    MLP(1-3-1, relu, 10 parameters)
    """
    if isinstance(net, nn.Sequential):
        head, mlp = as_mlp(net)
        done = merge_layers(mlp, head(x), tolerance, fit=fit, layers=layers)
        tail = to_sequential(done.net)
        whole = nn.Sequential(*head, *tail).eval()
        return LayerMerge(whole, done.merged, done.errors, done.change)
    allowed = _check(net, tolerance, fit, layers)
    before, errors = net, tuple(_error(net, x, layer, fit) for layer in range(1, net.depth))
    numbers, merged = (
        list(range(1, net.depth)),
        [],
    )  # numbers[l - 1]: what layer l was called in the net before
    while True:
        open_layers = [
            (_error(net, x, l, fit), l) for l in range(1, net.depth) if numbers[l - 1] in allowed
        ]
        open_layers = [(error, l) for error, l in open_layers if error <= tolerance]
        if not open_layers:
            break
        error, layer = min(open_layers)
        after = _without(net, x, layer, fit)
        change = _gap(after, net, x)
        merged.append(MergedLayer(numbers.pop(layer - 1), is_exact(net, x, layer), error, change))
        net = after
    return LayerMerge(net, tuple(merged), errors, _gap(net, before, x))


def is_exact(net: MLP, x: Tensor, layer: int) -> bool:
    """Whether every neuron of a hidden layer stays in one affine piece of sigma, or is constant, on
    the data.

    >>> net = MLP((torch.tensor([[1.0], [-1.0]]), torch.ones(1, 2)), activation="relu")
    >>> is_exact(net, torch.tensor([[1.0], [2.0]]), 1), is_exact(net, torch.tensor([[-1.0], [2.0]]), 1)
    (True, False)
    """
    return bool((pieces_of(net, x, layer, flat=True) != NO_PIECE).all())


def _error(net: MLP, x: Tensor, layer: int, fit: str) -> float:
    if is_exact(net, x, layer):
        return 0.0
    h = features(net, x)[layer]
    total = (h - h.mean(0)).square().sum()
    rest = (h - _fitted(net, x, layer, fit)).square().sum()
    return max(float(rest / total), torch.finfo(h.dtype).tiny)  # 0 is kept for exact layers


def _fitted(net: MLP, x: Tensor, layer: int, fit: str) -> Tensor:
    if fit == "neuron":
        slope, shift = _lines(net, x, layer)
        return preactivations(net, x)[layer - 1] * slope + shift
    f = features(net, x)[layer - 1]
    weight, bias = _affine_fit(f, features(net, x)[layer])
    return f @ weight.T + bias


def _without(net: MLP, x: Tensor, layer: int, fit: str) -> MLP:
    if is_exact(net, x, layer):
        return merge(net, x, layer, flat=True)
    if fit == "neuron":
        return merge_known(net, layer, *_lines(net, x, layer))
    f = features(net, x)
    weight, bias = _affine_fit(f[layer - 1], f[layer])
    outer, outer_bias = net.weights[layer], net.biases[layer]
    bias = outer @ bias if outer_bias is None else outer @ bias + outer_bias
    return MLP(
        [*net.weights[: layer - 1], outer @ weight, *net.weights[layer + 1 :]],
        [*net.biases[: layer - 1], bias, *net.biases[layer + 1 :]],
        net.activation,
    )


def _lines(net: MLP, x: Tensor, layer: int) -> tuple[Tensor, Tensor]:
    # Per neuron the regression line of sigma(z) on z; a z that does not vary gives slope 0.
    z = preactivations(net, x)[layer - 1]
    h = net.activation.value(z)
    centred = z - z.mean(0)
    variance = centred.square().sum(0)
    slope = torch.where(
        variance > 0, (centred * h).sum(0) / variance.clamp_min(torch.finfo(z.dtype).tiny), 0
    )
    return slope, h.mean(0) - slope * z.mean(0)


def _affine_fit(f: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    n, width = f.shape
    if n <= width + 1:
        raise ValueError(
            f"{n} samples cannot tell an affine map of {width} inputs from a curved one: expected"
            f" more than {width + 1} samples, or fit='neuron'"
        )
    mean = f.mean(0)
    weight = torch.linalg.lstsq(
        f - mean, h - h.mean(0), driver="gelsd" if f.device.type == "cpu" else None
    ).solution.T
    return weight, h.mean(0) - weight @ mean


def _gap(a: MLP, b: MLP, x: Tensor) -> float:
    return float((forward(a, x) - forward(b, x)).norm(dim=-1).max())


def _check(net: MLP, tolerance: float, fit: str, layers: Sequence[int] | None) -> set[int]:
    check_single(net)
    if not (math.isfinite(tolerance) and 0 <= tolerance <= 1):
        raise ValueError(f"tolerance is {tolerance!r}: expected a share of variance in 0..1")
    if fit not in FITS:
        raise ValueError(f"fit {fit!r} is unknown: expected one of {', '.join(FITS)}")
    allowed = set(range(1, net.depth)) if layers is None else set(layers)
    if not allowed <= set(range(1, net.depth)):
        raise ValueError(
            f"layers {sorted(allowed)} outside 1..{net.depth - 1}, the hidden layers of {net!r}"
        )
    return allowed
