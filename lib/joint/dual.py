"""Ridge regression from the products of samples, for fits with fewer samples than unknowns.

W = T~ (K / N + pull)^-1 U^T / N with K = U~^T U~ (N x N) is the same minimiser as by the normal
equations (unknowns x unknowns), cheaper where the net is wide and its maps are small: a convolution
of 2 x 2 maps has 4 samples an image and 9 unknowns a channel. And K needs no patches: it sums
products of pixels, K[p, q] = sum of x_a . x_b over pixels a, b that lie under the same tap of the
kernel at the output pixels p, q."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import torch
from torch import Tensor

from lib.joint.geometry import Geometry, Pair
from lib.joint.least_squares import Solution, varying
from lib.nets.samples import check_finite


def fit_dual(shape: Geometry, inputs: Tensor, targets: Tensor, ridge: float) -> Solution:
    """min over (W, b) of mean |W u + b - t|^2 + ridge * v |W|^2, v the mean variance of the inputs,
    as `lib.joint.fit.fit_joint`.

    Args:
        shape: of the joint, without groups; its channels do not count.
        inputs: features (n, channels, rows, columns) or (n, channels);  targets: (n, outputs, ...);
            ridge: > 0.
    Returns:
        The solution; its loss is the mean squared error alone, its condition is not known.
    Raises:
        ValueError: a ridge that is not positive; groups; numbers that are not finite.

    >>> x = torch.randn(5, 30, generator=torch.Generator().manual_seed(0))
    >>> found = fit_dual(Geometry(30, 2, linear=True), x, x[:, :2], 1e-9)
    >>> bool(torch.allclose(x.double() @ found.weight.T + found.bias, x[:, :2].double()))
    True
    """
    if not 0 < ridge < math.inf:
        raise ValueError(
            f"ridge is {ridge}: expected > 0, since fewer samples than unknowns leave the fit open"
        )
    if shape.groups != 1:
        raise ValueError(f"the joint has {shape.groups} groups: expected 1")
    check_finite("features of the joint", inputs)
    check_finite("targets of the joint", targets)
    x, t, taps = _samples(shape, inputs, targets)
    kernel, unknowns = _products(x, taps, shape.taps) / len(t), shape.taps * x.shape[2]
    mean_t, mean = t.mean(0), kernel.mean(0)
    t, energy = t - mean_t, kernel.trace()
    kernel += mean.mean() - mean - mean[:, None]
    spread = float(varying(kernel.trace(), energy, x.dtype))  # of the inputs
    variance, residual = float(t.square().mean()), t
    weight, bias = x.new_zeros(t.shape[1], unknowns), mean_t
    if spread > 0:
        pull = ridge * spread / unknowns
        kernel.diagonal().add_(pull)
        dual = torch.cholesky_solve(t, torch.linalg.cholesky(kernel))
        residual = pull * dual
        # its mean is zero but for rounding, which the means of U enlarge; U need not be centred
        weight, mean_u = _weights(x, (dual - dual.mean(0)) / len(t), taps, shape.taps)
        bias = mean_t - weight @ mean_u
    return Solution(
        weight=weight,
        bias=bias,
        loss=float(residual.square().mean()),
        variance=variance,
        condition=float("nan"),
        ridge=ridge,
        ridge_needed=False,
        constant=0 if spread > 0 else unknowns,
    )


def taps_between(shape: Geometry, rows: int, columns: int) -> tuple[Tensor, Pair]:
    """Which kernel element lies between an output and an input pixel, the number of taps where none
    does.

    Args:
        rows, columns: of the input.
    Returns:
        int64 (output pixels, input pixels), and the output's rows and columns.

    >>> taps_between(Geometry(1, 1, (3, 3), padding=(1, 1, 1, 1)), 1, 2)
    (tensor([[4, 5],
            [3, 4]]), (1, 2))
    """
    size = shape.output_size(rows, columns)
    taps = torch.full((*size, rows, columns), shape.taps)
    for down, right, tap in itertools.product(*map(range, (*size, shape.taps))):
        above, left = divmod(tap, shape.kernel[1])
        row = down * shape.stride[0] + above * shape.dilation[0] - shape.padding[0]
        column = right * shape.stride[1] + left * shape.dilation[1] - shape.padding[2]
        if 0 <= row < rows and 0 <= column < columns:
            taps[down, right, row, column] = tap
    return taps.flatten(2).flatten(0, 1), size


def _samples(shape: Geometry, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x (input pixels, n, channels) and t (output pixels * n, outputs) in float64, and the taps
    between."""
    maps = replace(shape, inputs=inputs.shape[1]).as_maps(inputs).double()
    taps, _ = taps_between(shape, *maps.shape[2:])
    x = maps.flatten(2).permute(2, 0, 1).contiguous()
    t = targets.double().reshape(*targets.shape[:2], -1).permute(2, 0, 1).flatten(0, 1)
    return x, t, taps


def _products(x: Tensor, taps: Tensor, none: int) -> Tensor:
    """K = sum of u u^T in the space of samples, (output pixels * n)^2."""
    n = x.shape[1]
    flat = x.flatten(0, 1)
    pixels = (flat @ flat.T).reshape(len(x), n, len(x), n)
    kernel = x.new_zeros(len(taps), n, len(taps), n)
    for p in range(len(taps)):
        for q in range(p + 1):
            shared = (taps[p, :, None] == taps[q]) & (taps[p, :, None] < none)
            for a, b in shared.nonzero().tolist():
                kernel[p, :, q] += pixels[a, :, b]
            if q < p:
                kernel[q, :, p] = kernel[p, :, q].T
    return kernel.reshape(len(taps) * n, len(taps) * n)


def _weights(x: Tensor, dual: Tensor, taps: Tensor, none: int) -> tuple[Tensor, Tensor]:
    """dual^T U, (outputs, unknowns), and the mean of U, from the pixels under each tap."""
    dual = dual.reshape(len(taps), -1, dual.shape[1])
    weight = x.new_zeros(none, dual.shape[2], x.shape[2])
    mean = x.new_zeros(none, x.shape[2])
    for p, a in (taps < none).nonzero().tolist():
        weight[taps[p, a]].addmm_(dual[p].T, x[a])
        mean[taps[p, a]] += x[a].sum(0) / (len(taps) * x.shape[1])
    return weight.permute(1, 2, 0).flatten(1), mean.T.flatten()
