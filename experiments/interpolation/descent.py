"""Descent of ordinary nets of growing width towards the certified optimum over all widths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from experiments.convexity import descend_two_layer, two_layer_objective
from experiments.two_layer import Optimum, TwoLayer
from lib.convex import solve_programme


@dataclass(frozen=True, eq=False)
class Descents:
    """Where nets of several widths end.

    Args:
        widths: (W,);  gaps: objective over the optimum less 1, (W, nets).
        reweighted: the same with the masses of each net's neurons chosen anew, (W, nets).
        neurons, outputs: weights of the widest nets, (nets, m, C) and (nets, m, K).
    """

    widths: tuple[int, ...]
    gaps: np.ndarray
    reweighted: np.ndarray
    neurons: Tensor
    outputs: Tensor

    @property
    def median(self) -> np.ndarray:
        """The median gap of every width."""
        return np.median(self.gaps, 1)


def sine_problem() -> TwoLayer:
    """Twelve samples of sin 2t + t^2 / 5 with both regularisers; tanh, so the minimum is attained.

    >>> sine_problem().y.shape
    torch.Size([12, 1])
    """
    t = torch.linspace(-2, 2, 12, dtype=torch.float64)[:, None]
    inputs = torch.cat([t, torch.ones_like(t)], 1)
    return TwoLayer(inputs, torch.sin(2 * t) + 0.2 * t**2, strength=(0.005, 0.02))


def descend(
    problem: TwoLayer,
    best: Optimum,
    widths: Sequence[int],
    *,
    nets: int,
    steps: int,
    generator: torch.Generator,
) -> Descents:
    """Gradient descent from `nets` random starts at every width, and the best masses for where it
    ends, a convex programme.

    Args:
        best: the certified optimum of the problem;  widths: >= 1, rising.
        generator: of the starts.
    """
    ends = [
        descend_two_layer(problem, m, nets=nets, steps=steps, lr=1.0, generator=generator)
        for m in widths
    ]
    gaps = np.array([(two_layer_objective(problem, *end) / best.value - 1).numpy() for end in ends])
    reweighted = np.array(
        [[reweigh(problem, w) / best.value - 1 for w in neurons] for neurons, _ in ends]
    )
    return Descents(tuple(widths), gaps, reweighted, *ends[-1])


def reweigh(problem: TwoLayer, neurons: Tensor) -> float:
    """The least objective over the masses and output weights of given neurons (m, C)."""
    known = neurons[..., None]
    found = solve_programme(
        problem.space(neurons), problem.y, strength=problem.strength, biases=False, known=known
    )
    return found.terms.total
