"""Value and first two derivatives of activations and losses, as the closed-form Hessians need
them."""

from __future__ import annotations

import torch
from torch import Tensor

from lib.nets import Activation, Loss, cross_entropy, mse

CLOSED_FORM: tuple[Loss, ...] = (mse, cross_entropy)


def jet(sigma: Activation, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """sigma, sigma' and sigma'' at a; one transcendental call where the three share it.

    >>> from lib.nets.activations import tanh
    >>> jet(tanh, torch.zeros(1))
    (tensor([0.]), tensor([1.]), tensor([-0.]))
    """
    if sigma.name == "tanh":
        s = torch.tanh(a)
        s1 = 1 - s * s
        return s, s1, -2 * s * s1
    if sigma.name == "sigmoid":
        s = torch.sigmoid(a)
        s1 = s * (1 - s)
        return s, s1, s1 * (1 - 2 * s)
    return sigma.value(a), sigma.derivative(a), sigma.second(a)


def loss_jet(loss: Loss, output: Tensor, y: Tensor) -> tuple[Tensor, Tensor | float]:
    """dR/df and a square root S of d2R/df2, sum_c S_kc S_jc, sample by sample.

    Args:
        loss: `mse` or `cross_entropy`.
        output: (*batch, K, n), samples last;  y: (n, K), or (n,) class indices.
    Returns:
        The derivative (*batch, K, n), and S as one number s (S = s * identity) or (*batch, K, K,
        n).

    >>> loss_jet(mse, torch.ones(1, 2), torch.zeros(2, 1))
    (tensor([[1., 1.]]), 1.0)
    """
    k, n = output.shape[-2:]
    if loss is mse:
        return 2 / (n * k) * (output - y.T), (2 / (n * k)) ** 0.5
    p = output.softmax(-2)
    eye = torch.eye(k, dtype=p.dtype, device=p.device)
    # diag(p) - p p^T = S S^T with S_kc = (delta_kc - p_k) sqrt(p_c): no eigendecomposition, no
    # negative rounding
    root = (eye.unsqueeze(-1) - p.unsqueeze(-2)) * (p.sqrt() / n**0.5).unsqueeze(-3)
    return (p - eye[y].T) / n, root
