"""Loss spectra of two-layer ReLU nets of many widths on a target of one input (claim A14)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lib.critical import slow_windows
from lib.nets import MLP, init
from lib.train.descent import Trajectory, descend

LR = 1e-3
SEATED = 20_000  # the epoch at which some nets are looked at on the plateau
BINS = np.linspace(-5, 0, 201)  # of log10 of the loss
NEAR = 0.03  # decades within which a slow window is at a level
EVEN = 1001  # evenly spaced records, from which shares of time are taken


def target() -> tuple[Tensor, Tensor]:
    """40 equispaced points on [-2, 2] and the target of the authors' book chapter: (40, 1) each.

    >>> target()[1].square().mean()
    tensor(0.3466, dtype=torch.float64)
    """
    relu = torch.relu
    x = torch.linspace(-2, 2, 40, dtype=torch.float64)[:, None]
    y = relu(2 * x + 0.6) - relu(x) + relu(0.5 * x - 0.4) - relu(1.5 * x - 0.6)
    return x, y


@dataclass(frozen=True, eq=False)
class Walks:
    """Descents of nets of several widths.

    Args:
        runs: width -> all nets to the end;  seats: width -> three of them to the plateau.
        even: which records are evenly spaced, (R,).
    """

    runs: dict[int, Trajectory]
    seats: dict[int, Trajectory]
    even: NDArray[np.bool_]


def walk(
    widths: Sequence[int], seeds: int, neurons: int, epochs: int, generator: torch.Generator
) -> Walks:
    """Train nets of every width by gradient descent from parameters of deviation 0.05 / sqrt(m).

    Args:
        seeds: nets of each width, fewer where they would have more than `neurons` in all.
    """
    (x, y), runs, seats = target(), {}, {}
    steady = np.linspace(0, epochs, EVEN).astype(int)
    times = np.unique(np.r_[np.geomspace(1, epochs, 100).astype(int), steady]).tolist()
    for m in widths:
        count = min(seeds, max(2, neurons // m))
        std, batch = 0.05 * m**-0.5, (count,)
        first = init(
            (1, m, 1), "relu", std=std, batch=batch, output_bias=False, generator=generator
        )
        options = {"lr": LR, "keep_smallest": False}
        runs[m] = descend(first, x, y, steps=epochs, records=times, **options)
        seats[m] = descend(first[:3], x, y, steps=SEATED, records=2, **options)
    return Walks(runs, seats, np.isin(times, steady))


def plateaus(result: Trajectory) -> list[list[float]]:
    """The losses of the slow windows of every net, from epoch 300 on."""
    options = {"slope": 0.1, "ratio": 1.5, "begin": 300}
    curves = result.losses.clamp_min(1e-12).T
    return [[w.loss for w in slow_windows(result.steps, c, **options)] for c in curves]


def visited(found: Sequence[Sequence[float]], level: float) -> NDArray[np.float64]:
    """1 for every net that has a slow window within 0.03 decades of the level, else 0."""
    near = [[abs(np.log10(v / level)) < NEAR for v in losses] for losses in found]
    return np.array([float(any(flags)) for flags in near])


def visited_evenly(
    found: Sequence[Sequence[float]], low: float, high: float, seed: int
) -> NDArray[np.float64]:
    """The same at a level of each net's own, drawn evenly on the logarithmic scale."""
    drawn = np.exp(np.random.default_rng(seed).uniform(np.log(low), np.log(high), len(found)))
    return np.array([visited([f], v)[0] for f, v in zip(found, drawn, strict=True)])


def shares_below(walks: Walks, level: float) -> dict[int, Tensor]:
    """Share of the epochs that every net spends below a loss, by width."""
    return {m: (r.losses[walks.even] < level).double().mean(0) for m, r in walks.runs.items()}


def histogram(result: Trajectory, even: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Frequencies of log10 of the loss over all evenly spaced epochs and nets, in `BINS`."""
    losses = result.losses[even].clamp(1.001e-5, 0.999)
    return np.histogram(np.log10(losses.numpy()), BINS)[0] / losses.numel()


def seated(seats: Mapping[int, Trajectory], level: float) -> dict[int, list[MLP]]:
    """The nets that are at a level at epoch 20,000, by width."""
    found: dict[int, list[MLP]] = {}
    for m, result in seats.items():
        for k, loss in enumerate(result.losses[-1].tolist()):
            if abs(np.log10(loss / level)) < NEAR:
                found.setdefault(m, []).append(result.net[k])
    return found
