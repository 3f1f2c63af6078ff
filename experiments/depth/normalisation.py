"""When small nets on Iris leave their first plateau, and how many of their neurons are linearised
on the way (claims B9 and B10)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from experiments.depth.planted import gaussian
from lib.certificate import module_gradient
from lib.critical import plant
from lib.depth import insert_layer, linearised_share
from lib.nets.activations import leaky_relu
from lib.train.descent import Trajectory

LEFT = 0.2  # a loss below this is past the plateau of the constant output, at 2/9
SPECIES, FLOWERS = 3, 50  # Iris has fifty flowers of each


def departures(steps: Tensor, losses: Tensor) -> Tensor:
    """First recorded epoch past the first plateau, the last one for nets that stay: (nets,).

    Args:
        steps: (R,);  losses: (R, nets).

    >>> departures(torch.tensor([0, 5, 9]), torch.tensor([[0.3, 0.3], [0.1, 0.3], [0.1, 0.3]]))
    tensor([5., 9.], dtype=torch.float64)
    """
    gone = losses < LEFT
    return torch.where(gone.any(0), steps[gone.to(torch.int64).argmax(0)], steps[-1]).double()


def shares_on_way(result: Trajectory, x: Tensor) -> Tensor:
    """Share of the neurons that stay in one affine piece on x or are constant there, at the iterate
    of least gradient between each two records: (R - 1, nets), averaged over layers."""
    assert result.smallest is not None
    iterates = [result.smallest[i] for i in range(len(result.steps) - 1)]
    return torch.stack([linearised_share(net, x, flat=True).mean(-1) for net in iterates])


def some_flowers(count: int, generator: torch.Generator) -> np.ndarray:
    """Indices of as many random flowers of each species, `count` in all.

    >>> some_flowers(6, torch.Generator().manual_seed(0)) // 50
    array([0, 0, 1, 1, 2, 2])
    """
    each = count // SPECIES
    return np.concatenate(
        [
            FLOWERS * k + torch.randperm(FLOWERS, generator=generator).numpy()[:each]
            for k in range(SPECIES)
        ]
    )


def through_normalisation(generator: torch.Generator) -> float:
    """Lifts of a batch-normalised critical net, with and without normalisation of the new layer:
    the largest output gap or gradient norm.

    >>> through_normalisation(torch.Generator().manual_seed(0)) < 1e-10
    True
    """
    sigma = leaky_relu(0.3)
    layers = [nn.Linear(2, 3), nn.BatchNorm1d(3), nn.LeakyReLU(0.3), nn.Linear(3, 2)]
    net = nn.Sequential(*layers).double()
    x = gaussian(generator, 20, 2)
    y, worst = plant(net, x, generator), []
    for normalise in (False, True):
        deep = insert_layer(net, x, 2, 4, sigma, normalise=normalise, generator=generator)
        gap = (deep(x) - net(x)).detach().abs().max()
        worst += [float(gap), float(module_gradient(deep, x, y).norm())]
    return max(worst)


def by_net(values: Tensor, **more: object) -> dict[str, list[object]]:
    """One row for each net of a batch, for `Trials`: its number as seed, its value, and constants.

    >>> by_net(torch.tensor([0.5]), flowers=15)
    {'seed': [0], 'value': [0.5], 'flowers': [15]}
    """
    constants = {name: [value] * len(values) for name, value in more.items()}
    return {"seed": list(range(len(values))), "value": values.tolist(), **constants}
