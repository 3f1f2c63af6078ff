"""Merging against the known methods from several seeds, and what the page says of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.pruning.comparison import Point, Rules, compare
from experiments.pruning.samples import Sample
from experiments.pruning.training import Training, train
from lib.nets import MLP, init

Found = dict[float, list[Point]]


def contest(
    rules: Rules, sample: Sample, test: Sample, start: Callable[[int], MLP], seed: int
) -> list[Point]:
    """Train the wide net of one seed and cut it by every method."""
    first = start(seed)
    dense = train_dense(first, sample, rules)
    return list(compare(first, dense, sample, test, rules, seed=seed))


def train_dense(net: MLP, sample: Sample, rules: Rules) -> Training:
    """The training of a dense net by these rules."""
    return train(net, sample.x, sample.y, rules.adam(rules.epochs), records=2)


def ordinary_net(inputs: int, neurons: int, seed: int) -> MLP:
    """A net from an ordinary initialisation, of deviation 1 / sqrt(inputs).

    >>> round(float(ordinary_net(100, 500, 0).weights[0].std()), 2)
    0.1
    """
    return init(
        (inputs, neurons, 10),
        "relu",
        std=inputs**-0.5,
        bias=False,
        generator=torch.Generator().manual_seed(seed),
        dtype=torch.float32,
    )


def pick(points: Sequence[Point], method: str, trained: bool) -> Found:
    """Cosine -> that method's points, one for each seed; of Torch-Pruning the criterion of the
    best mean accuracy."""
    found = {}
    for cosine in sorted({p.cosine for p in points}):
        here = [p for p in points if p.cosine == cosine and (p.trained > 0) == trained]
        names = sorted({p.method for p in here if p.method.startswith(method)})
        sets = [[p for p in here if p.method == name] for name in names]
        if sets:
            found[cosine] = max(sets, key=mean_accuracy)
    return found


def percent(points: Sequence[Point]) -> NDArray[np.float64]:
    """Test accuracies in per cent."""
    return 100 * np.array([p.accuracy for p in points])


def mean_accuracy(points: Sequence[Point]) -> float:
    """Mean test accuracy in per cent."""
    return float(percent(points).mean())


def summary(found: Found, cosine: float) -> str:
    """Mean and deviation of the test accuracy in per cent, or a dash."""
    if cosine not in found:
        return "–"
    values = percent(found[cosine])
    return f"{values.mean():.1f} ± {values.std():.1f}"
