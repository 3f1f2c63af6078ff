"""Merging layers that are affine on the data, exactly or in the least-squares sense: the left
inverse of lifting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from lib.depth.layers import LayerOnData, layers_on_data, merge_affine
from lib.merge.batchnorm import as_mlp
from lib.nets import MLP, forward, to_sequential
from lib.nets.checks import check_layer, check_single, finite_tolerance
from lib.nets.dense import check_inputs, check_kept, check_precise
from lib.nets.samples import check_tensor

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
class LayerFit:
    """The affine map that stands for a hidden layer on the data: features ~ weight f^[l-1] + bias.

    Args:
        layer: l in 1..L-1;  exact, error: as in `MergedLayer`.
        weight: (m_l, m_{l-1});  bias: (m_l,).
    """

    layer: int
    exact: bool
    error: float
    weight: Tensor
    bias: Tensor

    def merged(self, net: MLP) -> MLP:
        """The net without the layer; its layers up to l must be those of the fit."""
        return merge_affine(net, self.layer, self.weight, self.bias)


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

    >>> from lib.depth import lift
    >>> from lib.nets import init
    >>> draws, x = torch.Generator().manual_seed(0), torch.tensor([[-1.0], [0.3], [2.0]]).double()
    >>> shallow = init((1, 3, 1), "relu", generator=draws)
    >>> merge_layers(lift(shallow, x, 1, 4, generator=draws), x).net
    MLP(1-3-1, relu, 10 parameters)
    """
    check_tensor("x", x)
    if isinstance(net, nn.Sequential):
        head, mlp = as_mlp(net)
        done = merge_layers(mlp, head(x), tolerance, fit=fit, layers=layers)
        whole = nn.Sequential(*head, *to_sequential(cast(MLP, done.net))).eval()
        return LayerMerge(whole, done.merged, done.errors, done.change)
    allowed = _check(net, tolerance, layers)
    check_inputs(net, x)
    net, x = net.map(Tensor.detach), x.detach()
    fits = fit_layers(net, x, fit)
    errors, numbers = tuple(f.error for f in fits), list(range(1, net.depth))
    start = output = forward(net, x)
    merged: list[MergedLayer] = []
    while ready := [f for f in fits if numbers[f.layer - 1] in allowed and f.error <= tolerance]:
        best = min(ready, key=lambda f: (f.error, f.layer))
        net = best.merged(net)
        after = forward(net, x)
        if best.exact:
            check_kept("outputs", (after - output).abs().max(), output.abs().max())
        number = numbers.pop(best.layer - 1)  # what the layer was called in the net before
        merged.append(MergedLayer(number, best.exact, best.error, _gap(after, output)))
        output = after
        # Nothing before the layer has changed; whatever comes after it may have.
        fits = fits[: best.layer - 1] + fit_layers(net, x, fit, first=best.layer)
    return LayerMerge(net, tuple(merged), errors, _gap(output, start))


def fit_layers(net: MLP, x: Tensor, fit: str, *, first: int = 1) -> list[LayerFit]:
    """The affine map that stands for each hidden layer from `first` on, from one pass over the
    data.

    Raises:
        ValueError: a batch of nets, an unknown fit, non-finite features, or too few samples.

    >>> net = MLP((torch.tensor([[1.0], [-1.0]]), torch.ones(1, 2)), activation="relu")
    >>> fit_layers(net, torch.tensor([[1.0], [2.0]]), "neuron")[0].error
    0.0
    """
    check_single(net)
    if fit not in FITS:
        raise ValueError(f"fit {fit!r} is unknown: expected one of {', '.join(FITS)}")
    return [_fit(on, fit) for on in layers_on_data(net, x, flat=True)[first - 1 :]]


def _fit(on: LayerOnData, fit: str) -> LayerFit:
    if not torch.isfinite(on.z).all():
        raise ValueError(
            f"pre-activations of layer {on.layer} of {on.net!r} hold inf or nan: expected finite"
            " data and parameters"
        )
    if on.is_linearised:
        return LayerFit(on.layer, True, 0.0, *_through_lines(on, *on.lines))
    h = on.net.activation.value(on.z)
    if fit == "neuron":
        slope, shift = _lines(on.z, h)
        fitted, (weight, bias) = on.z * slope + shift, _through_lines(on, slope, shift)
    else:
        weight, bias = _affine_fit(on.inputs, h)
        fitted = on.inputs @ weight.T + bias
    total, rest = (h - h.mean(0)).square().sum(), (h - fitted).square().sum()
    limits = torch.finfo(h.dtype)
    # a layer that is constant on the data and met but for rounding has no error, not 0 / 0
    met = bool(torch.maximum(total, rest) <= (64 * limits.eps) ** 2 * h.square().sum())
    error = max(0.0 if met else float(rest / total), limits.tiny)  # 0 is kept for exact layers
    return LayerFit(on.layer, False, error, weight, bias)


def _through_lines(on: LayerOnData, slope: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    bias = on.net.biases[on.layer - 1]
    weight = slope.unsqueeze(-1) * on.net.weights[on.layer - 1]
    return weight, shift if bias is None else slope * bias + shift


def _lines(z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    # Per neuron the regression line of sigma(z) on z; a z that does not vary gives slope 0.
    limits, centred = torch.finfo(z.dtype), z - z.mean(0)
    variance, rounding = centred.square().sum(0), (8 * limits.eps * z.abs()).square().sum(0)
    joint = (centred * (h - h.mean(0))).sum(0)
    slope = torch.where(variance > rounding, joint / variance.clamp_min(limits.tiny), 0)
    return slope, h.mean(0) - slope * z.mean(0)


def _affine_fit(f: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    n, width = f.shape
    if n <= width + 1:
        raise ValueError(
            f"{n} samples cannot tell an affine map of {width} inputs from a curved one: expected"
            f" more than {width + 1} samples, or fit='neuron'"
        )
    mean = f.mean(0)
    driver = "gelsd" if f.device.type == "cpu" else None
    weight = torch.linalg.lstsq(f - mean, h - h.mean(0), driver=driver).solution.T
    return weight, h.mean(0) - weight @ mean


def _gap(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm(dim=-1).max())


def _check(net: MLP, tolerance: float, layers: Sequence[int] | None) -> set[int]:
    check_single(net)
    check_precise("the net", net.dtype)
    if finite_tolerance(tolerance) > 1:
        raise ValueError(f"tolerance is {tolerance!r}: expected a share of variance in 0..1")
    if layers is None:
        return set(range(1, net.depth))
    for layer in layers:
        check_layer(net, layer)
    return set(layers)
