"""Batches of small nets with batch normalisation, trained by full-batch gradient descent (claim
B9)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lib.depth.pieces import NO_PIECE, affine_error, place
from lib.nets import MLP, Loss, flatten, mse, unflatten

EPS = 1e-5  # nn.BatchNorm1d's default


@dataclass(frozen=True)
class NormalisedRun:
    """Descent of nets with batch normalisation before every activation; R records, batch of nets
    *batch.

    Args:
        steps: recorded steps (R,).  losses: (R, *batch).
        share: of each hidden layer's neurons that are linearised on the sample, (R, *batch, L - 1).
        error: affine error of each hidden layer, (R, *batch, L - 1).
    """

    steps: Tensor
    losses: Tensor
    share: Tensor
    error: Tensor


def normalised_layers(
    net: MLP, gains: list[Tensor], shifts: list[Tensor], x: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """Normalised pre-activations gain * (z - mean z) / sqrt(var z + eps) + shift of the hidden
    layers, and all features.

    Args:
        gains, shifts: of the hidden layers, each (*batch, m_l);  x: the batch S (n, m_0) whose
            statistics are used.
    Returns:
        L - 1 tensors (*batch, n, m_l), and the features f^[0..L].

    >>> from lib.nets import init
    >>> net, one = init((2, 3, 1), generator=0), torch.ones(3, dtype=torch.float64)
    >>> z, _ = normalised_layers(net, [one], [0 * one], torch.eye(2, dtype=torch.float64))
    >>> bool(z[0].mean(-2).abs().max() < 1e-15)
    True
    """
    z, f = [], [x]
    for layer, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        a = f[-1] @ w.mT if b is None else f[-1] @ w.mT + b.unsqueeze(-2)
        if layer < net.depth - 1:
            centred = a - a.mean(-2, keepdim=True)
            scale = (centred.square().mean(-2, keepdim=True) + EPS).sqrt()
            z.append(gains[layer].unsqueeze(-2) * centred / scale + shifts[layer].unsqueeze(-2))
            a = net.activation.value(z[-1])
        f.append(a)
    return z, f


def descend_normalised(
    net: MLP, x: Tensor, y: Tensor, *, steps: int, lr: float, records: list[int], loss: Loss = mse
) -> NormalisedRun:
    """Full-batch gradient descent on weights, biases, gains (from 1) and shifts (from 0) of every
    net of a batch.

    Args:
        net: the nets at step 0, at least one hidden layer;  steps: number of updates;  lr:
            learning rate, > 0.
        records: steps to record, increasing, within 0..steps.
    Returns:
        losses and linearisation at the records.
    Raises:
        ValueError: no hidden layer, n < 2, a rate or a record out of range.

    >>> from lib.nets import init
    >>> x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    >>> nets = init((1, 3, 1), "relu", batch=(2,), generator=0)
    >>> run = descend_normalised(nets, x, x**2, steps=50, lr=0.1, records=[0, 50])
    >>> bool((run.losses[1] < run.losses[0]).all()), run.share.shape
    (True, torch.Size([2, 2, 1]))
    """
    _check(net, x, steps, lr, records)
    widths = net.widths[1:-1]
    theta = flatten(net).detach().clone()
    size = theta.shape[-1]
    gains = torch.ones(*net.batch, sum(widths), dtype=net.dtype)
    state = torch.cat([theta, gains, torch.zeros_like(gains)], -1).requires_grad_()
    found = []
    for step in range(steps + 1):
        parts = state.split([size, sum(widths), sum(widths)], -1)
        gain, shift = (list(p.split(list(widths), -1)) for p in parts[1:])
        z, f = normalised_layers(unflatten(parts[0], net), gain, shift, x)
        losses = loss(f[-1], y)
        if step in records:
            found.append((losses.detach(), *_linearisation(net, z, f)))
        if step == steps:
            break
        (slope,) = torch.autograd.grad(losses.sum(), state)
        with torch.no_grad():
            state -= lr * slope
    return NormalisedRun(
        torch.tensor(list(records)), *(torch.stack(part) for part in zip(*found, strict=True))
    )


@torch.no_grad()
def _linearisation(net: MLP, z: list[Tensor], f: list[Tensor]) -> tuple[Tensor, Tensor]:
    share = [(place(t, net.activation) != NO_PIECE).to(t.dtype).mean(-1) for t in z]
    error = [affine_error(h, g) for g, h in zip(f[:-2], f[1:-1], strict=True)]
    return torch.stack(share, -1), torch.stack(error, -1)


def _check(net: MLP, x: Tensor, steps: int, lr: float, records: list[int]) -> None:
    if net.depth < 2 or x.shape[0] < 2:
        raise ValueError(
            f"{net!r} on {x.shape[0]} samples: expected a hidden layer and n >= 2 to normalise"
        )
    if not lr > 0:
        raise ValueError(f"lr is {lr}: expected > 0")
    in_order = list(records) == sorted(set(records))
    if not in_order or not records or records[0] < 0 or records[-1] > steps:
        raise ValueError(f"records {records}: expected increasing steps within 0..{steps}")
