"""Facts of chapter 02 about lifts: the representation stays, which data shrink the manifold, and
what the theorems need."""

import pytest
import torch
from draws import seeded

from lib.critical import plant
from lib.curvature import hessian, inertia
from lib.depth import approximate_lift, lift, lifted_from
from lib.linear import rank
from lib.nets import MLP, features, flatten, gradient, init, risk
from lib.nets.activations import leaky_relu


def data(n: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, width, generator=seeded(1000 + seed), dtype=torch.float64)


@pytest.mark.parametrize("sigma", ["relu", leaky_relu(0.3), "elu"], ids=str)
@pytest.mark.parametrize("position", [0, 1, 2])
def test_representation_is_preserved_in_depth(sigma, position):
    """On S every other layer has the same features, and those of the inserted layer span, with 1,
    what the layer before it spans."""
    x, net = data(40, 3), init((3, 4, 3, 1), sigma, generator=seeded(1))
    width = net.widths[position] + 1
    deep = lift(net, x, position, width, generator=seeded(2))
    before, after = features(net, x), list(features(deep, x))
    inserted = after.pop(position + 1)
    for old, new in zip(before, after, strict=True):
        assert float((old - new).abs().max()) <= 1e-12 * (1 + float(old.abs().max()))
    one = torch.ones_like(x[:, :1])
    spans = [torch.cat([before[position], one], 1), torch.cat([inserted, one], 1)]
    ranks = [int(rank(m, tolerance=1e-10).value) for m in (*spans, torch.cat(spans, 1))]
    assert ranks[0] == ranks[1] == ranks[2]


def survivors(net: MLP, x: torch.Tensor, width: int, point: torch.Tensor, tries: int = 100) -> int:
    """How many random lifts on x are lifts on x and the point too."""
    larger = torch.cat([x, point[None]])
    lifts = (lift(net, x, 0, width, generator=seed) for seed in range(tries))
    return sum(lifted_from(deep, net, larger) is not None for deep in lifts)


def test_b5_strict_iff_the_hull_of_f_grows_or_of_w_f_at_the_least_width():
    """2-1-1 net: with m_hat = rank W = 1 the new neuron sees W f alone, with m_hat = 2 all of f."""
    net, x = init((2, 1, 1), "relu", generator=seeded(3)), data(12, 2)
    w = net.weights[0][0]
    across = torch.stack([-w[1], w[0]]) / w.norm()  # W across = 0
    far = x.mean(0) + 50 * across  # outside the hull of f, inside that of W f
    outside = x.mean(0) + 50 * w / w.norm()  # outside both
    inside = 0.3 * x[0] + 0.5 * x[1] + 0.2 * x[2]
    assert survivors(net, x, 1, far) == 100
    assert 20 < survivors(net, x, 2, far) < 60
    for width in (1, 2):
        assert survivors(net, x, width, outside) < 80
        assert survivors(net, x, width, inside) == 100


def test_b6_tanh_lifts_stay_close_to_a_saddle_only_if_wider_than_the_rank_of_a():
    """With m_hat = rank A the smallest eigenvalue vanishes with the scale, faster than its square;
    with m_hat > rank A it has a limit below zero."""
    x, net = data(60, 2, seed=3), init((2, 1, 1), "tanh", generator=seeded(4))
    y = plant(net, x, seeded(5), residual=0.05)
    assert inertia(hessian(net, x, y)).counts == (0, 0, 5)

    def smallest(width: int, scale: float) -> float:
        deep = approximate_lift(net, x, 0, width, scale=scale, generator=1).net
        return float(torch.linalg.eigvalsh(hessian(deep, x, y))[0])

    at_rank = [smallest(1, scale) for scale in (0.1, 0.01, 0.003)]
    assert at_rank == [pytest.approx(v, rel=0.05) for v in (-2.67e-5, -3.17e-8, -8.7e-10)]
    for width in (2, 3):
        coarse, fine = (smallest(width, scale) for scale in (0.01, 0.003))
        assert fine < -0.01 and fine == pytest.approx(coarse, rel=1e-2)


def test_the_inertia_theorem_needs_a_twice_differentiable_risk():
    """A sample on the kink of a shallow ReLU: the gradient with sigma'(0) = 0 vanishes, the Hessian
    is positive semidefinite, yet the risk falls at first order. A lift inherits all of it."""
    x = torch.tensor([[-1.0], [0.0], [1.0], [2.0], [3.0]], dtype=torch.float64)
    errors = torch.tensor([[0.5], [-0.5], [0.1], [-0.2], [0.1]], dtype=torch.float64)
    one = torch.ones(1, 1, dtype=torch.float64)
    net = MLP((one, one), (0 * one[0], 0 * one[0]), "relu")
    y = features(net, x)[-1] - errors
    deep = lift(net, x, 1, 2, generator=seeded(0))
    for point, layer in ((net, 0), (deep, 0)):
        assert float(flatten(gradient(point, x, y)).abs().max()) < 1e-15 * 100
        assert float(torch.linalg.eigvalsh(hessian(point, x, y))[0]) > -1e-12
        moved = point.biases[layer] + 1e-6
        shifted = MLP(point.weights, [moved, *point.biases[1:]], "relu")
        slope = float(risk(shifted, x, y) - risk(point, x, y)) / 1e-6
        assert slope == pytest.approx(2 / 5 * -0.5, rel=1e-4)
