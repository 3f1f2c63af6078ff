"""Hessian spectra of trained minima and of their equal splits: the one-dimensional data, and
Iris."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Generator, Tensor

from lib.critical import polish
from lib.critical.polishing import CriticalPoint
from lib.curvature import Inertia, hessian, inertia
from lib.nets import MLP, flatten, init
from lib.symmetry import permute
from lib.train.descent import Trajectory, descend
from lib.width import split_into


def three_steps() -> tuple[Tensor, Tensor]:
    """The data of Figs. 1, 3(a) and 4: 50 points of tanh(x-7) + tanh(x) + tanh(x+7)."""
    x = torch.linspace(-15, 15, 50, dtype=torch.float64)[:, None]
    return x, torch.tanh(x - 7) + torch.tanh(x) + torch.tanh(x + 7)


def width_two_minimum(x: Tensor, y: Tensor, *, epochs: int, generator: Generator) -> CriticalPoint:
    """The lowest end of twenty trained and polished tanh nets of width 2, its steeper neuron first.

    The two neurons differ in what a split does to them, so their order must not depend on rounding.
    """
    start = init((1, 2, 1), std=2**-1.5, output_bias=False, batch=(20,), generator=generator)
    trained = descend(start, x, y, steps=epochs, lr=0.005, records=60)
    ends = polish(trained.net, x, y, max_steps=300).found
    best = ends[int(ends.loss.argmin())]
    order = best.net.weights[0].abs().flatten().argsort(descending=True).tolist()
    return replace(best, net=permute(best.net, {1: order}))


def equal_splits(net: MLP, x: Tensor, y: Tensor, copies: tuple[int, ...]) -> list[Inertia]:
    """Spectra after the first neuron was split into 1, 2, ... equal copies."""
    return [inertia(hessian(split_into(net, 1, 0, [1 / k] * k), x, y)) for k in copies]


def iris_start(generator: Generator) -> MLP:
    """Six nets 4-2-3 drawn as the paper says, every parameter with variance 1/m^6."""
    return init((4, 2, 3), "sigmoid", std=2**-3, output_bias=False, batch=(6,), generator=generator)


def train_iris(start: MLP, x: Tensor, y: Tensor, epochs: int, **options: object) -> Trajectory:
    """Adam at rate 0.02 for this many epochs."""
    return descend(start, x, y, steps=epochs, lr=0.02, optimizer="adam", **options)


def scaled_inputs(x: Tensor) -> tuple[Tensor, Tensor]:
    """The inputs standardised, and scaled to [0, 1]."""
    low, high = x.amin(0), x.amax(0)
    return (x - x.mean(0)) / x.std(0), (x - low) / (high - low)


@dataclass(frozen=True)
class IrisSaddles:
    """The critical points of one sigmoid neuron on Iris that are not degenerate, by loss.

    Args:
        nets: on the standardised inputs;  losses: to eight digits.
        raw: the same functions of the raw inputs.
    """

    nets: list[MLP]
    losses: list[float]
    raw: list[MLP]


def iris_saddles(x: Tensor, y: Tensor, generator: Generator, starts: int = 600) -> IrisSaddles:
    """Polish random nets of width 1 and keep those that reach a proper critical point.

    Proper: no zero eigenvalue, parameters below 50, and at least one output weight (nets with none
    are critical for any weights, at loss 1/3).

    Args:
        x: (n, 4), raw;  y: (n, 3).
    """
    mean, spread = x.mean(0), x.std(0)
    z = (x - mean) / spread
    drawn = init((4, 1, 3), "sigmoid", output_bias=False, batch=(starts,), generator=generator)
    found = polish(drawn, z, y).found
    states = inertia(hessian(found.net, z, y), require=False)
    size = flatten(found.net).abs().amax(-1)
    proper = (states.zero == 0) & states.clear & (size < 50) & (found.loss < 0.3)
    order = found.loss[proper].argsort()
    rounded = found.loss[proper][order].numpy().round(8)
    losses, first = np.unique(rounded, return_index=True)
    nets = [found.net[proper][order][int(i)] for i in first]
    return IrisSaddles(nets, losses.tolist(), [_unscaled(n, mean, spread) for n in nets])


def _unscaled(net: MLP, mean: Tensor, spread: Tensor) -> MLP:
    # w . (x - mean) / spread + b, with the change of inputs moved into w and b
    w, b = net.weights[0], net.biases[0]
    moved = (b - w @ (mean / spread), None)
    return MLP((w / spread, net.weights[1]), moved, net.activation)


def predicted_counts(
    before: tuple[int, ...], added: tuple[int, ...], copies: int
) -> tuple[int, ...]:
    """Counts of negative, zero and positive eigenvalues after an equal split into `copies`.

    >>> predicted_counts((1, 0, 7), (2, 1, 5), 3)
    (5, 2, 17)
    """
    return tuple(n + (copies - 1) * c for n, c in zip(before, added, strict=True))
