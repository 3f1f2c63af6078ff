"""Fig. 1: a wide tanh net on the three-step data, trained as stated and in other ways, and its
distance from the printed curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lib.critical import polish
from lib.critical.polishing import CriticalPoint
from lib.nets import MLP, forward, init, risk
from lib.train.descent import Trajectory, descend

RATE = 1.9e-4  # of Adam, where it follows the printed curve
SHORT = (0.5, 0.5)  # betas, likewise


STATED = "GD 0.005, std $m^{-3/2}$ (as stated)"
CLOSEST = "Adam 0.00019, betas (0.5, 0.5), std $m^{-3/4}$"


def _adam(betas: tuple[float, float] = (0.9, 0.999), lr: float = RATE) -> dict[str, object]:
    return {"optimizer": "adam", "lr": lr, "betas": betas}


# name -> (power of the width, settings of `descend`); the two that the claims compare come first
SETTINGS: dict[str, tuple[float, dict[str, object]]] = {
    STATED: (1.5, {"lr": 0.005}),
    CLOSEST: (0.75, _adam(SHORT)),
    "Adam 0.00019, default betas, std $m^{-3/4}$": (0.75, _adam()),
    "Adam 0.00019, betas (0.5, 0.5), std $m^{-3/2}$": (1.5, _adam(SHORT)),
    "GD 0.005, std $m^{-3/4}$": (0.75, {"lr": 0.005}),
    "Adam 0.001, default betas, std $m^{-3/2}$": (1.5, _adam(lr=1e-3)),
    "Adam 0.00019, betas (0, 0.9), std $m^{-3/4}$": (0.75, _adam((0.0, 0.9))),
    "Adam 0.00019, betas (0.3, 0.3), std $m^{-3/4}$": (0.75, _adam((0.3, 0.3))),
    "Adam 0.00019, betas (0.7, 0.7), std $m^{-3/4}$": (0.75, _adam((0.7, 0.7))),
}


def short_memory(width: int) -> dict[str, object]:
    """Adam with a memory of two epochs, from a standard deviation of width**(-3/4)."""
    return {"std": width**-0.75, **_adam(SHORT)}


@dataclass(frozen=True)
class WideNet:
    """What all trainings of the wide net share: its data, size, length and seed."""

    x: Tensor
    y: Tensor
    width: int
    epochs: int
    seed: int

    def start(self, power: float, seeds: int | None = None) -> MLP:
        """Nets whose parameters have the standard deviation width**-power."""
        return init(
            (1, self.width, 1),
            std=self.width**-power,
            output_bias=False,
            batch=() if seeds is None else (seeds,),
            generator=torch.Generator().manual_seed(self.seed),
        )

    def train(self, power: float, seeds: int = 1, **settings: object) -> Trajectory:
        """Full-batch training from there; settings as in `descend`."""
        return descend(
            self.start(power, seeds),
            self.x,
            self.y,
            steps=self.epochs,
            records=500,
            on_divergence="mask",
            **settings,
        )


def one_neuron(x: Tensor, y: Tensor) -> CriticalPoint:
    """The minimum of one tanh neuron, polished from a point near it."""
    weights = torch.full((1, 1), 0.09).double(), torch.full((1, 1), 3.7).double()
    return polish(MLP(weights, (torch.zeros(1).double(), None)), x, y)


def loss_at(walk: Trajectory, epoch: float, net: int = 0) -> float:
    """The loss of one net at an epoch, between records by interpolation."""
    return float(np.interp(epoch, walk.steps.numpy(), walk.losses[:, net].numpy()))


def nearest_iterate(walk: Trajectory, epoch: int, net: int = 0) -> MLP:
    """The recorded iterate of one net that is nearest to an epoch."""
    at = int(np.abs(walk.smallest_step[:, net].numpy() - epoch).argmin())
    return walk.smallest[at][net]


def output_distance(a: MLP, b: MLP, x: Tensor) -> float:
    """Root mean square difference of two nets' outputs."""
    return float((forward(a, x) - forward(b, x)).square().mean().sqrt())


@dataclass(frozen=True)
class PrintedCurve:
    """The printed loss at log-spaced epochs; printed epochs count from one later than ours."""

    epochs: NDArray[np.float64]
    losses: NDArray[np.float64]

    @classmethod
    def read(cls, printed: Mapping[str, NDArray[np.float64]], last: int) -> PrintedCurve:
        """From columns epoch and loss, up to the epoch `last`."""
        grid = np.geomspace(1, min(2e5, last), 300)
        return cls(grid, np.interp(np.log(grid), np.log(printed["epoch"]), np.log(printed["loss"])))

    def distance(self, walk: Trajectory, net: int = 0) -> float:
        """Mean |log10 of the loss ratio| over the epochs."""
        mine = np.interp(
            np.log(np.maximum(self.epochs - 1, 0.5)),
            np.log(np.maximum(walk.steps.numpy(), 0.5)),
            np.log(walk.losses[:, net].clamp_max(1e6).numpy()),
        )
        return float(np.abs(mine - self.losses).mean() / np.log(10))


def single_precision_gap(wide: WideNet, steps: int = 500) -> float:
    """Largest relative difference of losses to the same training in float32 by torch's own Adam."""
    start = wide.start(0.75)
    adam = {"optimizer": "adam", "lr": RATE, "betas": SHORT}
    records = range(0, steps + 1, 20)
    double = descend(start, wide.x, wide.y, steps=steps, records=records, **adam)
    single = start.map(lambda p: p.float().requires_grad_())
    optimiser = torch.optim.Adam(list(single.parameters()), lr=RATE, betas=SHORT)
    curve = []
    for _ in range(steps + 1):
        optimiser.zero_grad()
        value = risk(single, wide.x.float(), wide.y.float())
        value.backward()
        optimiser.step()
        curve.append(float(value.detach()))
    losses = torch.tensor(curve, dtype=torch.float64)[double.steps]
    return float((losses / double.losses - 1).abs().max())


@dataclass(frozen=True)
class Start:
    """The start of descent from small parameters, as long as outputs are small.

    Then every pair (a, w) feels the same force g = 2 E[x y], and

        -dL/dk = lr g^2 S cosh(2 g lr k),   S = sum of a^2 + w^2 at first,

    constant at first, with a curvature. Both are read off a printed start c (1 + q k^2).

    Args:
        force: g;  lr: the rate that gives the curvature;  std: of the parameters, from S.
    """

    force: float
    lr: float
    std: float

    @classmethod
    def read(cls, wide: WideNet, slope: float, curvature: float) -> Start:
        """The rate and standard deviation behind -dL/dk = slope (1 + curvature k^2)."""
        force = 2 * float((wide.x * wide.y).mean())
        lr = float(np.sqrt(curvature / 2)) / abs(force)
        return cls(force, lr, float(np.sqrt(slope / (lr * force**2) / (2 * wide.width))))

    def slope(self, epoch: float, width: int, lr: float | None = None) -> float:
        """-dL/dk at an epoch, for a net of this width."""
        rate = self.lr if lr is None else lr
        total = 2 * width * self.std**2
        return rate * self.force**2 * total * float(np.cosh(2 * self.force * rate * epoch))


def start_distances(
    wide: WideNet, printed: Mapping[str, NDArray[np.float64]], *, seeds: int, **settings: object
) -> list[float]:
    """Mean |log10 of the loss ratio| over the first 400 epochs, for each seed.

    Args:
        wide: data and size;  printed: columns epoch and loss.
        settings: std, the standard deviation at the start, and those of `descend`.
    """
    std = float(settings.pop("std"))  # type: ignore[arg-type]
    power = -float(np.log(std) / np.log(wide.width))
    records = range(0, 401, 2)
    walk = descend(wide.start(power, seeds), wide.x, wide.y, steps=400, records=records, **settings)
    epochs = np.array(records[1:], dtype=float)
    there = np.interp(np.log(epochs), np.log(printed["epoch"]), np.log(printed["loss"]))
    early = PrintedCurve(epochs, there)
    return [early.distance(walk, k) for k in range(seeds)]
