"""Ridge regression from the products of samples, for fits with fewer samples than unknowns.

W = T~^T (K / N + pull)^-1 U~ / N with K = U~ U~^T (N x N), U~ the centred patches, is the same
minimiser as by the normal equations (unknowns x unknowns), cheaper where the net is wide and its
maps are small: a convolution of 2 x 2 maps has 4 samples an image and 9 unknowns a channel."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from lib.joint.geometry import Geometry
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
    maps = replace(shape, inputs=inputs.shape[1]).as_maps(inputs).double()
    u = shape.unfold(maps).mT.flatten(0, 1)
    t = targets.double().reshape(*targets.shape[:2], -1).mT.flatten(0, 1)
    mean, mean_t, n = u.mean(0), t.mean(0), len(t)
    energy, u, t = u.square().sum(), u - mean, t - mean_t
    spread = float(varying(u.square().sum(), energy, u.dtype)) / n  # of the inputs
    weight, residual = u.new_zeros(t.shape[1], u.shape[1]), t
    if spread > 0:
        pull = ridge * spread / u.shape[1]
        kernel = u @ u.mT / n
        kernel.diagonal().add_(pull)
        dual = torch.cholesky_solve(t, torch.linalg.cholesky(kernel))
        weight, residual = dual.mT @ u / n, pull * dual
    return Solution(
        weight=weight,
        bias=mean_t - weight @ mean,
        loss=float(residual.square().mean()),
        variance=float(t.square().mean()),
        condition=float("nan"),
        ridge=ridge,
        ridge_needed=False,
        constant=0 if spread > 0 else u.shape[1],
    )
