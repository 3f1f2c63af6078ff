"""Ridge regression from the products of samples, for fits with fewer samples than unknowns.

W = T~ (K / N + pull)^-1 U^T / N with K = U~^T U~ (N x N) is the same minimiser as by the normal
equations (unknowns x unknowns), cheaper where the net is wide and its maps are small: a convolution
of 2 x 2 maps has 4 samples an image and 9 unknowns a channel. And K needs no patches: it sums
products of pixels, K[p, q] = sum of x_a . x_b over pixels a, b that lie under the same tap of the
kernel at the output pixels p, q."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from lib.joint.dense_maps import taps_of
from lib.joint.fit import equations, fit_joint
from lib.joint.geometry import as_maps, geometry
from lib.joint.ridge import Solution


def fit_features(
    joint: nn.Module, inputs: Sequence[Tensor], targets: Sequence[Tensor], ridge: float
) -> Solution:
    """`fit_joint` of targets on features given in parts, by whichever of the two forms has the
    smaller matrix.

    Args:
        joint: its kernel, stride and padding count, not its channels.
        inputs: features (n, channels, ...);  targets: wanted pre-activations in the same parts;
            ridge: >= 0.

    >>> x = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    >>> fit_features(nn.Linear(8, 1), [x], [x[:, :1]], 0.01).weight.shape
    torch.Size([1, 8])
    """
    first = inputs[0]
    unknowns = first.shape[1] * geometry(joint).taps
    samples = sum(map(len, inputs)) * max(first[0, 0].numel(), targets[0][0, 0].numel())
    if ridge > 0 and geometry(joint).groups == 1 and samples < unknowns:
        return fit_dual(joint, torch.cat(list(inputs)), torch.cat(list(targets)), ridge)
    return fit_joint(equations(joint, inputs, targets), ridge)


def fit_dual(joint: nn.Module, inputs: Tensor, targets: Tensor, ridge: float) -> Solution:
    """min over (W, b) of mean |W u + b - t|^2 + ridge * v |W|^2, v the mean variance of the inputs,
    as `fit_joint`.

    Args:
        joint: its kernel, stride and padding count, not its channels; without groups.
        inputs: features (n, channels, rows, columns) or (n, channels);  targets: (n, outputs, ...);
            ridge: > 0.
    Returns:
        The solution; its loss is the mean squared error alone, its condition is not known.
    Raises:
        ValueError: a ridge that is not positive; groups.

    >>> x = torch.randn(5, 30, generator=torch.Generator().manual_seed(0))
    >>> joint, t = nn.Linear(30, 2), x[:, :2]
    >>> by_samples, by_unknowns = fit_dual(joint, x, t, 0.1), fit_joint(equations(joint, [x], [t]), 0.1)
    >>> bool(torch.allclose(by_samples.weight, by_unknowns.weight, atol=1e-12))
    True
    """
    if not ridge > 0:
        raise ValueError(
            f"ridge is {ridge}: expected > 0, since fewer samples than unknowns leave the fit open"
        )
    if geometry(joint).groups != 1:
        raise ValueError(f"the joint has {geometry(joint).groups} groups: expected 1")
    x, t, taps, none = _samples(joint, inputs, targets)
    kernel, (count, outputs) = _products(x, taps, none) / len(t), t.shape
    mean_t, mean = t.mean(0), kernel.mean(0)
    t, energy = t - mean_t, float(kernel.trace())
    kernel += mean.mean() - mean - mean[:, None]
    spread = float(kernel.trace())  # of the inputs, which is rounding if they never vary
    varies = spread > 64 * torch.finfo(x.dtype).eps * energy
    weight, mean_u = x.new_zeros(none, outputs, x.shape[2]), x.new_zeros(none, x.shape[2])
    residual = t
    if varies:
        pull = ridge * spread / (none * x.shape[2])
        kernel.diagonal().add_(pull)
        dual = torch.cholesky_solve(t, torch.linalg.cholesky(kernel))
        residual = pull * dual
        dual = (dual - dual.mean(0)).reshape(
            len(taps), -1, outputs
        )  # zero but for rounding, which U's means enlarge
        for p, a in (taps < none).nonzero().tolist():
            weight[taps[p, a]].addmm_(
                dual[p].T, x[a], alpha=1 / count
            )  # U need not be centred then
            mean_u[taps[p, a]] += x[a].sum(0) / count
    weight = weight.permute(1, 2, 0).flatten(1)
    return Solution(
        weight=weight,
        bias=mean_t - weight @ mean_u.T.flatten(),
        loss=float(residual.square().mean()),
        variance=float(t.square().mean()),
        condition=float("nan"),
        ridge=ridge,
        ridge_needed=False,
        constant=0 if varies else none * x.shape[2],
    )


def _samples(
    joint: nn.Module, inputs: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor, Tensor, int]:
    """x (input pixels, n, channels) and t (output pixels * n, outputs) in float64, the taps
    between, and their number."""
    shape = geometry(joint)
    maps = as_maps(inputs, replace(shape, inputs=inputs.shape[1])).double()
    taps, _ = taps_of(joint, *maps.shape[2:])
    x = maps.flatten(2).permute(2, 0, 1).contiguous()
    t = targets.double().reshape(*targets.shape[:2], -1).permute(2, 0, 1).flatten(0, 1)
    return x, t, taps, shape.taps


def _products(x: Tensor, taps: Tensor, none: int) -> Tensor:
    """K = sum of u u^T in the space of samples, (output pixels * n)^2."""
    n = x.shape[1]
    flat = x.flatten(0, 1)
    pixels = (flat @ flat.T).reshape(len(x), n, len(x), n)
    kernel = x.new_zeros(len(taps), n, len(taps), n)
    for p in range(len(taps)):
        for q in range(p + 1):
            for a, b in (
                ((taps[p, :, None] == taps[q]) & (taps[p, :, None] < none)).nonzero().tolist()
            ):
                kernel[p, :, q] += pixels[a, :, b]
            if q < p:
                kernel[q, :, p] = kernel[p, :, q].T
    return kernel.reshape(len(taps) * n, len(taps) * n)
