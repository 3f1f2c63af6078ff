"""Approximate lifting where sigma has no affine piece (tanh, sigmoid): a layer that works near one
point of sigma."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.depth.factorisation import check_place, factor
from lib.nets import MLP, Activation, features, forward
from lib.nets.activations import AffinePiece
from lib.nets.checks import check_single, finite_number
from lib.nets.dense import check_inputs, check_parameters
from lib.nets.drawing import Randomness, source_of

HALVINGS = 60  # of the scale, until the wanted error is met


@dataclass(frozen=True)
class ApproximateLift:
    """A deep net that nearly equals a shallow one on the data.

    Args:
        net: the deep net;  scale: spread of the inserted layer's weights;
        error: largest output gap on the data.
    """

    net: MLP
    scale: float
    error: float


def approximate_lift(
    net: MLP,
    x: Tensor,
    position: int,
    width: int,
    *,
    error: float | None = None,
    scale: float | None = None,
    centre: float = 0.0,
    generator: Randomness = None,
) -> ApproximateLift:
    """A deep net whose inserted layer stays within `scale` of one point t0 of sigma, where sigma is
    nearly affine.

    sigma(t) ~ sigma(t0) + sigma'(t0) (t - t0): the factors of `lift` for that tangent, W' = scale *
    (unit factor) and A = (unit factor) / scale. The output gap is O(scale^2) at an inflection point
    (t0 = 0 of tanh, sigmoid), otherwise O(scale).

    Args:
        net: one net;  x: inputs (n, m_0);  position, width: as in `lift`.
        error: wanted largest output gap on x, > 0; the scale is then found by bisection. Give this
            or `scale`.
        scale: > 0, spread of the new layer's pre-activations in units of the spread of its inputs.
        centre: t0, with sigma'(t0) != 0.
        generator: source of randomness, or a seed; without it a fresh seed, named by a warning.
    Raises:
        ValueError: both or none of error and scale, sigma has an affine piece (then `lift` is
            exact), sigma'(t0) = 0, or no scale reaches the error in this precision.

    Source: the construction is ours; (Bai et al. 2024) lifts only activations with an affine piece.

    >>> from lib.nets import init
    >>> draws = torch.Generator().manual_seed(0)
    >>> net, x = init((1, 2, 1), generator=draws), torch.linspace(-1, 1, 5).double()[:, None]
    >>> round(approximate_lift(net, x, 1, 3, error=1e-4, generator=draws).error, 6)
    0.0001
    """
    _check(net, position, width, error, scale)
    check_parameters(net)
    check_inputs(net, x)
    net, x = net.map(Tensor.detach), x.detach()
    source = source_of(generator, "approximate_lift")
    unit = _unit_lift(net, x, position, width, centre, source)
    target = forward(net, x)

    def gap(s: float) -> float:
        return float((forward(unit.at_scale(s), x) - target).abs().max())

    s = float(scale) if scale is not None else _find_scale(gap, float(error or 0.0))
    return ApproximateLift(unit.at_scale(s), s, gap(s))


@dataclass(frozen=True)
class _UnitLift:
    """The factors of a lift through the tangent at `centre`, for inputs of spread 1."""

    net: MLP
    position: int
    bias: Tensor
    inner: Tensor
    outer: Tensor
    mean: Tensor
    centre: float
    line: AffinePiece

    def at_scale(self, scale: float) -> MLP:
        net, q = self.net, self.position
        inner, outer = self.inner * scale, self.outer / scale
        start = self.centre - inner @ self.mean  # the data's mean sits on t0
        bias = self.bias - outer @ (self.line.slope * start + self.line.shift)
        return MLP(
            [*net.weights[:q], inner, outer, *net.weights[q + 1 :]],
            [*net.biases[:q], start, bias, *net.biases[q + 1 :]],
            net.activation,
        )


def _unit_lift(
    net: MLP, x: Tensor, position: int, width: int, centre: float, generator: torch.Generator
) -> _UnitLift:
    f, bias = features(net, x)[position], net.biases[position]
    if bias is None:
        raise ValueError(
            f"layer {position + 1} of {net!r} has no bias: the inserted shift needs one to undo it"
        )
    line = _tangent(net.activation, centre)
    whole_line = Activation("tangent", torch.clone, torch.ones_like, torch.zeros_like, (line,))
    parts = factor(net.weights[position], bias, f, width, whole_line, pieces=0, generator=generator)
    spread = (f - f.mean(-2)).abs().amax()
    spread = spread if spread > 0 else torch.ones_like(spread)
    inner, outer = parts.weight_in / spread, parts.weight_out * spread
    return _UnitLift(net, position, bias, inner, outer, f.mean(-2), centre, line)


def _tangent(sigma: Activation, centre: float) -> AffinePiece:
    t = torch.tensor(float(centre), dtype=torch.float64)
    slope = float(sigma.derivative(t))
    if not math.isfinite(slope) or abs(slope) < 1e-6:
        raise ValueError(
            f"{sigma!r} has slope {slope:g} at centre {centre}: expected a point where it is not"
            " flat"
        )
    shift = float(sigma.value(t)) - slope * float(centre)
    return AffinePiece(-math.inf, math.inf, slope, shift)


def _find_scale(gap: Callable[[float], float], error: float) -> float:
    low = 1.0
    for _ in range(HALVINGS):
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


def _check(net: MLP, position: int, width: int, error: float | None, scale: float | None) -> None:
    check_single(net)
    if net.activation.pieces:
        raise ValueError(f"{net.activation!r} has an affine piece: use lift, which is exact")
    if (error is None) == (scale is None):
        raise ValueError(f"got error={error} and scale={scale}: expected exactly one of them")
    chosen = error if scale is None else scale
    name = "error" if scale is None else "scale"
    if chosen is None or finite_number(name, chosen) <= 0:
        raise ValueError(f"{name} is {chosen!r}: expected a finite number > 0")
    check_place(net.widths, position, width)
