"""Approximate lifting where sigma has no affine piece (tanh, sigmoid): a layer that works near one
point of sigma."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.depth.factorisation import check_place, factor
from lib.nets import MLP, Activation, Loss, features, flatten, forward, gradient, mse
from lib.nets.activations import AffinePiece
from lib.nets.checks import check_single

_HALVINGS = 60


@dataclass(frozen=True)
class ApproximateLift:
    """A deep net that nearly equals a shallow one on the data, with what it costs.

    Args:
        net: the deep net;  scale: spread of the inserted layer's weights;
        error: largest output gap on the data;  gradient_norm: Euclidean norm of the risk's
            gradient.

    >>> from lib.nets import init
    >>> ApproximateLift(init((1, 1, 1), generator=0), 0.1, 1e-3, 1e-4).scale
    0.1
    """

    net: MLP
    scale: float
    error: float
    gradient_norm: float


def approximate_lift(
    net: MLP,
    x: Tensor,
    y: Tensor,
    position: int,
    width: int,
    *,
    error: float | None = None,
    scale: float | None = None,
    centre: float = 0.0,
    loss: Loss = mse,
    generator: torch.Generator | None = None,
) -> ApproximateLift:
    """A deep net whose inserted layer stays within `scale` of one point t0 of sigma, where sigma is
    nearly affine.

    sigma(t) ~ sigma(t0) + sigma'(t0) (t - t0): the factors of `lift` for that tangent, W' = scale *
    (unit factor) and A = (unit factor) / scale. The output gap is O(scale^2) at an inflection point
    (t0 = 0 of tanh, sigmoid), otherwise O(scale).

    Args:
        net: one net;  x: inputs (n, m_0);  y: targets;  position, width: as in `lift`.
        error: wanted largest output gap on x, > 0; the scale is then found by bisection. Give this
            or `scale`.
        scale: > 0, spread of the new layer's pre-activations in units of the spread of its inputs.
        centre: t0, with sigma'(t0) != 0.
    Returns:
        the net, its scale, its measured output gap and its measured gradient norm.
    Raises:
        ValueError: both or none of error and scale, sigma has an affine piece (then `lift` is
            exact), sigma'(t0) = 0, or no scale reaches the error in this precision.

    Source: the construction is ours; (Bai et al. 2024) lifts only activations with an affine piece.

    >>> from lib.nets import init
    >>> net, x = init((1, 2, 1), "tanh", generator=0), torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None]
    >>> a, b = (approximate_lift(net, x, x, 1, 3, scale=s).error for s in (1e-2, 1e-3)); 50 < a / b < 200
    True
    """
    check_single(net)
    if net.activation.pieces:
        raise ValueError(f"{net.activation!r} has an affine piece: use lift, which is exact")
    if (error is None) == (scale is None):
        raise ValueError(f"got error={error} and scale={scale}: expected exactly one of them")
    chosen = error if scale is None else scale
    if not (isinstance(chosen, (int, float)) and math.isfinite(chosen) and chosen > 0):
        raise ValueError(
            f"{'error' if scale is None else 'scale'} is {chosen!r}: expected a finite number > 0"
        )
    check_place(net.widths, position, width)
    if net.biases[position] is None:
        raise ValueError(
            f"layer {position + 1} of {net!r} has no bias: the inserted shift needs one to undo it"
        )
    unit = _unit_lift(
        net, x, position, width, centre, generator or torch.Generator().manual_seed(0)
    )
    target = forward(net, x)

    def gap(s: float) -> float:
        return float((forward(_at_scale(unit, net, position, centre, s), x) - target).abs().max())

    s = float(scale) if scale is not None else _find_scale(gap, float(error))
    deep = _at_scale(unit, net, position, centre, s)
    return ApproximateLift(deep, s, gap(s), float(flatten(gradient(deep, x, y, loss)).norm()))


def _tangent(sigma: Activation, centre: float, like: Tensor) -> tuple[float, float]:
    t = torch.tensor(float(centre), dtype=torch.float64)
    slope = float(sigma.derivative(t))
    if not math.isfinite(slope) or abs(slope) < 1e-6:
        raise ValueError(
            f"{sigma!r} has slope {slope:g} at centre {centre}: expected a point where it is not"
            " flat"
        )
    return slope, float(sigma.value(t)) - slope * float(centre)


def _unit_lift(
    net: MLP, x: Tensor, position: int, width: int, centre: float, generator: torch.Generator
):
    f = features(net, x)[position]
    slope, shift = _tangent(net.activation, centre, f)
    whole_line = Activation(
        "tangent",
        torch.clone,
        torch.ones_like,
        torch.zeros_like,
        (AffinePiece(-math.inf, math.inf, slope, shift),),
    )
    parts = factor(
        net.weights[position],
        net.biases[position],
        f,
        width,
        whole_line,
        pieces=0,
        generator=generator,
    )
    spread = (f - f.mean(-2)).abs().amax()
    spread = spread if spread > 0 else torch.ones_like(spread)
    return parts.weight_in / spread, parts.weight_out * spread, f.mean(-2), (slope, shift)


def _at_scale(unit, net: MLP, position: int, centre: float, scale: float) -> MLP:
    inner, outer, mean, (slope, shift) = unit
    inner, outer = inner * scale, outer / scale
    start = centre - inner @ mean  # the data's mean sits on t0
    bias = net.biases[position] - outer @ (slope * start + shift)
    return MLP(
        [*net.weights[:position], inner, outer, *net.weights[position + 1 :]],
        [*net.biases[:position], start, bias, *net.biases[position + 1 :]],
        net.activation,
    )


def _find_scale(gap, error: float) -> float:
    low = 1.0
    for _ in range(_HALVINGS):
        if gap(low) <= error:
            break
        low /= 2
    else:
        raise ValueError(
            f"no scale gives an output gap <= {error:g} in this precision: expected a larger error"
        )
    high = 2 * low if low < 1 else low
    for _ in range(20):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if gap(middle) <= error else (low, middle)
    return low
