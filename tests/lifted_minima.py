"""A shallow minimum with a residual and one of its lifts, for the tests of where lifted manifolds
end."""

import torch
from draws import seeded

from lib.critical import plant
from lib.curvature import hessian, inertia
from lib.depth import layer_on_data, lift
from lib.nets import init


def data(n: int, width: int, seed: int = 0):
    return torch.randn(n, width, generator=seeded(1000 + seed), dtype=torch.float64)


def lifted_minimum(sigma, residual: float = 0.1, seed: int = 3):
    """A shallow minimum with a residual, and one element of its lifted manifold."""
    x = data(30, 2)
    while True:
        net = init((2, 3, 1), sigma, generator=seeded(seed))
        y = plant(net, x, seeded(0), residual=residual)
        found = inertia(hessian(net, x, y), require=False)
        # A neuron that sees one sample only forces that sample's error to 0: no pull at the
        # boundary to measure.
        pulled = layer_on_data(net, x, 1).reader_errors(y).abs().min() > 1e-7
        if bool(found.clear) and found.counts[0] == 0 and pulled:
            return net, lift(net, x, 1, 5, generator=seeded(seed)), x, y
        seed += 1
