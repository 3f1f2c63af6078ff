"""Splitting with arbitrary shares: the theorem on random nets, the plane of shares, and how often
the matrix B is definite at trained minima."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from lib.critical import plant, polish
from lib.curvature import NoSpectralGap, hessian, inertia
from lib.nets import MLP, flatten, gradient, init, mse
from lib.train.descent import descend
from lib.width import split_inertia, split_into, split_spectrum
from lib.width.spectrum import shared_counts

ACTIVATIONS = ("tanh", "sigmoid", "elu", "relu", "identity")


@dataclass(frozen=True)
class Case:
    """One random split: what the theorem says is added, what the wide Hessian has beyond the
    narrow one."""

    activation: str
    planted: bool
    predicted: tuple[int, int, int]
    measured: tuple[int, int, int]


def random_cases(count: int, generator: Generator) -> tuple[list[Case], int]:
    """Random nets of one or two hidden layers, at planted critical points and elsewhere, split with
    random shares, some zero.

    Returns:
        the cases, and how many more were drawn whose zero eigenvalues do not stand clear.
    """
    found: list[Case] = []
    blurred = 0
    while len(found) < count:
        sigma = ACTIVATIONS[len(found) % len(ACTIVATIONS)]
        try:
            found.append(_case(sigma, len(found) % 2 == 0, generator))
        except NoSpectralGap:
            blurred += 1
    return found, blurred


def _case(sigma: str, planted: bool, generator: Generator) -> Case:
    def below(n: int) -> int:
        return int(torch.randint(n, (1,), generator=generator))

    widths = [1 + below(3) for _ in range(3 + below(2))]
    net = init(widths, sigma, std=0.8, generator=generator)
    x = torch.randn(30, widths[0], generator=generator, dtype=torch.float64)
    free = torch.randn(30, widths[-1], generator=generator, dtype=torch.float64)
    y = plant(net, x, generator, residual=0.7) if planted else free
    layer = 1 + below(len(widths) - 2)
    neuron = below(widths[layer])
    shares = torch.randn(2 + below(3), generator=generator, dtype=torch.float64)
    shares = (4 * shares).round() / 4
    shares[0] = 1 - shares[1:].sum()
    writes = float(net.weights[layer][:, neuron].norm())
    left = float(flatten(gradient(net, x, y)).abs().sum()) / writes if planted else 0.0
    listed = shares.tolist()
    added = split_inertia(net, x, y, mse, layer, neuron, listed, uncertainty=left)
    before, after = (
        inertia(hessian(n, x, y), uncertainty=left).counts
        for n in (net, split_into(net, layer, neuron, listed))
    )
    gained = tuple(b - a for a, b in zip(before, after, strict=True))
    return Case(sigma, planted, added, gained)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Plane:
    """Splits into three copies with shares (s, t, 1 - s - t).

    Args:
        axis: values of s and of t, (n,).
        negative: eigenvalues of the wide Hessian below zero, by the theorem, (n, n): t by s.
        lowest: the least eigenvalue of the wide Hessian, (n, n).
    """

    axis: np.ndarray
    negative: np.ndarray
    lowest: np.ndarray


def plane(net: MLP, x: Tensor, y: Tensor, neuron: int, points: int = 33) -> Plane:
    """The plane of shares around the simplex, off its edges."""
    axis = torch.linspace(-0.73, 1.47, points, dtype=torch.float64)
    t, s = torch.meshgrid(axis, axis, indexing="ij")
    shares = torch.stack([s, t, 1 - s - t], -1).reshape(-1, 3)
    rank, rest = split_spectrum(net, x, y, mse, 1, neuron).parts(uncertainty=1e-13)
    before = inertia(hessian(net, x, y)).counts[0]
    added = [shared_counts(rank, net.widths[-1], rest, row)[0] for row in shares.tolist()]
    lowest = torch.linalg.eigvalsh(hessian(split_into(net, 1, neuron, shares), x, y))[:, 0]
    size = (points, points)
    return Plane(axis.numpy(), before + np.reshape(added, size), lowest.reshape(size).numpy())


def minimum_with_positive_bend(generator: Generator) -> tuple[MLP, Tensor, Tensor]:
    """A planted minimum of a net 1-2-1 whose first neuron has a positive B, and its sample."""
    while True:
        net = init((1, 2, 1), std=1.0, generator=generator)
        x = 1.5 * torch.randn(20, 1, generator=generator, dtype=torch.float64)
        y = plant(net, x, generator, residual=0.1)
        bend = torch.linalg.eigvalsh(split_spectrum(net, x, y, mse, 1, 0).bend)
        values = torch.linalg.eigvalsh(hessian(net, x, y))
        if bend[0] > 1e-3 * bend[-1] > 0 and values[0] > 1e-5:
            return net, x, y


@dataclass(frozen=True)
class Definite:
    """Shares of neurons whose B is definite, one row a task and a width.

    Args:
        seed, width: of the row;  minima: how many trained nets it is of.
        share: measured;  unsigned: with |weight| in place of the weights of B.
    """

    seed: list[int]
    width: list[int]
    minima: list[int]
    share: list[float]
    unsigned: list[float]


def definite_shares(tasks: int, nets: int, inputs: int, generator: Generator) -> Definite:
    """Train tanh nets of widths 1 to 3 on random tasks, keep the minima with a residual, and see
    whether B is definite at each neuron."""
    rows = Definite([], [], [], [], [])
    for seed in range(tasks):
        x = 1.5 * torch.randn(24, inputs, generator=generator, dtype=torch.float64)
        teacher = torch.sin(2 * x.sum(-1, keepdim=True)) + 0.5 * x[:, :1] ** 2
        y = teacher + 0.3 * torch.randn(24, 1, generator=generator, dtype=torch.float64)
        for width in (1, 2, 3):
            start = init((inputs, width, 1), batch=(nets,), generator=generator)
            trained = descend(start, x, y, steps=1000, lr=0.03, optimizer="adam", records=4)
            found = polish(trained.net, x, y, max_steps=60).found
            if not len(found.loss):
                continue
            states = inertia(hessian(found.net, x, y), require=False)
            minima = found[(states.positive == found.net.n_parameters) & (found.loss > 1e-6)]
            if len(minima.loss):
                _append(rows, seed, width, minima.net, x, y)
    return rows


def _append(rows: Definite, seed: int, width: int, nets: MLP, x: Tensor, y: Tensor) -> None:
    signed, unsigned = [], []
    for neuron in range(width):
        bend = split_spectrum(nets, x, y, mse, 1, neuron).bend
        signed.append(_is_definite(bend))
        unsigned.append(_is_definite(_without_signs(nets, x, neuron)))
    rows.seed.append(seed)
    rows.width.append(width)
    rows.minima.append(len(nets.weights[0]))
    rows.share.append(float(torch.stack(signed).double().mean()))
    rows.unsigned.append(float(torch.stack(unsigned).double().mean()))


def _is_definite(bend: Tensor) -> Tensor:
    values = torch.linalg.eigvalsh(bend)
    return (values > 0).all(-1) | (values < 0).all(-1)


def _without_signs(nets: MLP, x: Tensor, neuron: int) -> Tensor:
    """E |sigma''(z)| u u^T."""
    bias = nets.biases[0]
    assert bias is not None
    u = torch.cat([x, torch.ones_like(x[:, :1])], -1)
    z = x @ nets.weights[0][:, neuron].unsqueeze(-1) + bias[:, neuron, None, None]
    return (nets.activation.second(z).abs() * u).mT @ u
