"""Small nets of several depths, trained alike, and the slow periods of their losses (claims B7 to
B10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lib.critical import slow_windows, smallest_gradient_iterates
from lib.critical.windows import SlowIterates, Window
from lib.nets import MLP, Activation, forward, init
from lib.train.descent import Trajectory, descend

SLOW = {"slope": 0.1, "ratio": 1.5, "smooth": 1.2, "begin": 30}


def small_nets(
    widths: Sequence[int],
    sigma: str | Activation,
    count: int,
    *,
    seed: int,
    gain: float = 0.1,
) -> MLP:
    """Nets with weights of standard deviation gain / sqrt(inputs), whose biases are 0.

    >>> small_nets((4, 6, 3), "relu", 2, seed=0).biases[0].abs().max()
    tensor(0., dtype=torch.float64)
    """
    generator = torch.Generator().manual_seed(1000 * seed + len(widths))
    net = init(tuple(widths), sigma, batch=(count,), generator=generator)
    weights = [gain * w / w.shape[-1] ** 0.5 for w in net.weights]
    return MLP(weights, [0 * b for b in net.biases if b is not None], sigma)


def one_hot(labels: np.ndarray, classes: int) -> Tensor:
    """Targets (n, classes) in double precision.

    >>> one_hot(np.array([1]), 2)
    tensor([[0., 1.]], dtype=torch.float64)
    """
    return torch.nn.functional.one_hot(torch.tensor(labels), classes).double()


@dataclass(frozen=True)
class Setting:
    """How nets of every depth are trained by Adam.

    Args:
        width: neurons of each hidden layer;  count: nets of each depth;  seed: of their start.
        epochs, lr: of Adam;  records: how many.
    """

    width: int
    count: int
    epochs: int
    lr: float
    records: int
    seed: int


def train_depths(
    depths: Sequence[int], sigma: str | Activation, x: Tensor, y: Tensor, setting: Setting
) -> dict[int, Trajectory]:
    """Number of hidden layers -> descent of a batch of nets with that many."""

    def nets(hidden: int) -> MLP:
        widths = (x.shape[1], *[setting.width] * hidden, y.shape[1])
        return small_nets(widths, sigma, setting.count, seed=setting.seed)

    options = {"steps": setting.epochs, "lr": setting.lr, "records": setting.records}
    return {h: descend(nets(h), x, y, optimizer="adam", **options) for h in depths}


def windows_of(result: Trajectory, k: int) -> tuple[Window, ...]:
    """Slow periods of one net; none where a loss is not positive and finite."""
    losses = result.losses[:, k]
    usable = bool((torch.isfinite(losses) & (losses > 0)).all())
    return slow_windows(result.steps, losses, **SLOW) if usable else ()


def accuracy(result: Trajectory, k: int, x: Tensor, y: Tensor) -> Tensor:
    """Of one net's iterate of least gradient between each two records: (R - 1,)."""
    assert result.smallest is not None
    answers = [forward(result.smallest[i][k], x).argmax(-1) for i in range(len(result.steps) - 1)]
    return (torch.stack(answers) == y.argmax(-1)).double().mean(-1)


def median_net(result: Trajectory) -> int:
    """The net whose slow periods last longest in the median: a typical one, not the finest."""
    nets = range(result.losses.shape[1])
    spans = np.array([sum(np.log(w.ratio) for w in windows_of(result, k)) for k in nets])
    return int(np.argsort(spans)[len(spans) // 2])


def plateaus(result: Trajectory, count: int) -> SlowIterates:
    """The iterate of least gradient of every slow period of the first nets."""
    nets = range(result.losses.shape[1])
    return smallest_gradient_iterates(
        result, [windows_of(result, k) if k < count else () for k in nets]
    )


def stalls(runs: Mapping[int, Trajectory]) -> dict[int, np.ndarray]:
    """Mean losses of the slow periods of all nets, by number of hidden layers."""
    return {h: np.array([v for n in nets for v in n]) for h, nets in stalls_of_nets(runs).items()}


def stalls_of_nets(runs: Mapping[int, Trajectory]) -> dict[int, list[list[float]]]:
    """The same net by net."""
    return {
        h: [[w.loss for w in windows_of(r, k)] for k in range(r.losses.shape[1])]
        for h, r in runs.items()
    }
