"""lib.convex: the programme of Theorem 1 solved by cvxpy, the infinite-width optimum, and descent
towards it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from experiments.convexity import (
    descend_two_layer,
    random_point,
    swapped_neurons,
    two_layer_objective,
)
from experiments.two_layer import TwoLayer, derivative, slope, two_layer_optimum
from lib.convex import (
    convex_objective,
    from_net,
    mix_points,
    solve_programme,
    union,
)
from lib.convex.terms import violation
from lib.nets import MLP, cross_entropy, init

SOLVER = 1e-6  # Clarabel stops at a relative gap of 1e-8; a factor 100 for the rounding of masses to zero  # noqa: E501


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def line(n: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    t = torch.linspace(-2, 2, n, dtype=torch.float64)[:, None]
    return torch.cat([t, torch.ones_like(t)], 1), torch.sin(2 * t) + 0.2 * t**2


def test_one_atom_is_ridge_regression() -> None:
    """p = 1, w~ fixed: J + lambda u^2 has the closed form of one-dimensional ridge regression."""
    x, y = line()
    net = MLP((torch.tensor([[1.0, 0.5]]).double(), torch.ones(1, 1).double()), activation="tanh")
    space, point = from_net(net, x)
    h = torch.tanh(space.atoms[0])
    found = solve_programme(space, y, strength=(0.1, 0.3), biases=False)
    u = float((h * y).mean() / (h.square().mean() + 0.3))
    assert float(found.point.u) == pytest.approx(
        u, rel=1e-3
    )  # an argmin is as exact as the root of the value
    assert found.terms.layers[0] == pytest.approx(
        convex_objective(space, point, y, strength=(0, 0)).layers[0], rel=SOLVER
    )


def test_logistic_regression_of_one_atom_agrees_with_scipy() -> None:
    x, _ = line()
    labels = (x[:, 0] > 0.3).long()
    net = MLP((torch.tensor([[1.0, 0.5]]).double(), torch.ones(2, 1).double()), activation="tanh")
    space, _ = from_net(net, x)
    h = torch.tanh(space.atoms[0])

    def cost(v: np.ndarray) -> float:
        v = torch.as_tensor(v)
        return float(cross_entropy(h * v[:2] + v[2:], labels) + 0.05 * v[:2].square().sum())

    oracle = minimize(cost, np.zeros(4), tol=1e-12).fun
    fixed = convex_objective(
        space, from_net(net, x)[1], labels, strength=(1, 0), loss=cross_entropy
    ).layers[0]
    found = solve_programme(space, labels, strength=(1.0, 0.05), loss=cross_entropy)
    assert found.terms.loss + 0.05 * found.terms.top == pytest.approx(oracle, rel=1e-6)
    assert found.terms.layers[0] <= fixed + SOLVER  # with a free bias of layer 1 it may shrink


def test_the_solution_is_feasible_and_no_feasible_direction_descends() -> None:
    """Two hidden layers: first-order optimality, tested towards random feasible points and towards
    the nets."""
    g = draw(0)
    x = torch.randn(4, 3, generator=g, dtype=torch.float64)
    y = torch.randn(4, 1, generator=g, dtype=torch.float64)
    space, p, q = union(*(from_net(init((3, 5, 4, 1), generator=draw(s)), x) for s in (1, 2)))
    strength = (0.02, 0.01, 0.05)
    found = solve_programme(space, y, strength=strength)
    assert found.status == "optimal"
    assert (
        violation(space, found.point) < 1e-5
    )  # equality constraints at the solver's feasibility of 1e-8, over masses of 1e-3
    assert found.value == pytest.approx(found.terms.total, rel=1e-5)
    for other in (p, q, *(random_point(space, 1, g) for _ in range(5))):
        assert convex_objective(space, other, y, strength=strength).total > found.terms.total
        near = convex_objective(
            space, mix_points(other, found.point, 1e-3), y, strength=strength
        ).total
        assert near > found.terms.total - SOLVER


def test_known_weights_give_the_same_programme() -> None:
    x, y = line()
    w = 3 * torch.randn(15, 2, generator=draw(3), dtype=torch.float64)
    space = TwoLayer(x, y, (0.01, 0.02)).space(w)
    free = solve_programme(space, y, strength=(0.01, 0.02), biases=False)
    tied = solve_programme(space, y, strength=(0.01, 0.02), biases=False, known=w[..., None])
    assert tied.terms.total == pytest.approx(free.terms.total, rel=1e-5)


def test_slope_minimises_over_the_output_weights_and_its_derivative_is_right() -> None:
    """Against the programme with p fixed by symmetry, and against finite differences of Q along a
    new neuron's mass."""
    x, y = line()
    problem = TwoLayer(x, y, (0.02, 0.03))
    g = draw(4)
    w, u = (
        2 * torch.randn(5, 2, generator=g, dtype=torch.float64),
        torch.randn(5, 1, generator=g, dtype=torch.float64),
    )
    p = torch.full((5,), 0.2, dtype=torch.float64)
    here = slope(problem, w, p)
    assert here.value <= float(two_layer_objective(problem, w, u))
    assert here.value == pytest.approx(float(two_layer_objective(problem, w, here.u)), rel=1e-12)
    new = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    step = 1e-6
    moved = slope(
        problem, torch.cat([w, new]), torch.cat([p * (1 - step), torch.tensor([step]).double()])
    )
    expected = derivative(problem, here, new)[0] - p @ derivative(problem, here, w)
    assert (moved.value - here.value) / step == pytest.approx(
        float(expected), rel=1e-4
    )  # first order in step


@pytest.fixture(scope="module")
def solved():
    x, y = line()
    problem = TwoLayer(x, y, (0.005, 0.02))
    return problem, two_layer_optimum(problem, radius=20, grid=201)


def test_the_optimum_is_certified_and_reached_by_its_measure(solved) -> None:
    problem, best = solved
    assert 0 <= best.gap < 1e-6
    assert slope(problem, best.w, best.p).value == pytest.approx(best.value, abs=1e-12)
    space = problem.space(best.w)
    again = solve_programme(
        space, problem.y, strength=problem.strength, biases=False, known=best.w[..., None]
    )
    assert again.terms.total == pytest.approx(best.value, rel=1e-6)


def test_no_net_of_any_width_beats_the_optimum(solved) -> None:
    problem, best = solved
    g = draw(5)
    for width in (1, 3, 30):
        w = 5 * torch.randn(50, width, 2, generator=g, dtype=torch.float64)
        u = 3 * torch.randn(50, width, 1, generator=g, dtype=torch.float64)
        assert two_layer_objective(problem, w, u).min() > best.lower


def test_descent_approaches_the_convex_optimum_as_width_grows(solved) -> None:
    """Theorem 1's promise for ordinary nets. Local minima remain at any finite width: medians,
    within a tenth."""
    problem, best = solved
    gaps = {}
    for width in (1, 4, 32):
        nets = descend_two_layer(problem, width, nets=5, steps=2000, lr=0.2, generator=draw(6))
        final = two_layer_objective(problem, *nets)
        assert (final > best.lower).all()
        gaps[width] = float((final - best.value).median())
    assert gaps[1] > 0.5 * best.value
    assert gaps[4] < gaps[1] / 4
    assert gaps[32] < 0.1 * best.value


def test_bad_input_is_refused() -> None:
    x, y = line()
    net, _, xs, ys = swapped_neurons()
    space, _ = from_net(net, xs)
    with pytest.raises(ValueError, match="no loss"):
        solve_programme(space, ys, strength=(1, 1), loss=torch.dist)
    with pytest.raises(ValueError, match="expected 2 numbers"):
        solve_programme(space, ys, strength=(1,))
    with pytest.raises(ValueError, match="known weights have shape"):
        solve_programme(space, ys, strength=(1, 1), known=torch.ones(3, 1, 1).double())
    with pytest.raises(ValueError, match="do not reproduce the atoms"):
        solve_programme(space, ys, strength=(1, 1), known=torch.ones(2, 1, 1).double())
    with pytest.raises(ValueError, match="status infeasible"):  # noqa: PT012
        unreachable = type(space)(xs, (space.atoms[0] ** 2 + 1,), space.stages)
        solve_programme(unreachable, ys, strength=(1, 1), biases=False)
    with pytest.raises(TypeError, match="float32"):
        TwoLayer(x.float(), y, (1, 1))
    with pytest.raises(ValueError, match="of rank C"):
        TwoLayer(torch.ones(4, 2).double(), torch.ones(4, 1).double(), (1, 1))
    with pytest.raises(ValueError, match="two numbers > 0"):
        TwoLayer(x, y, (1, 0))
    with pytest.raises(ValueError, match="minimum is attained"):
        TwoLayer(x, y, (1, 1), "relu")
    with pytest.raises(ValueError, match="3 columns"):
        two_layer_optimum(
            TwoLayer(torch.randn(9, 3, generator=draw(0)).double(), y[:9], (1, 1)), radius=5
        )
    with pytest.raises(ValueError, match="larger radius"):
        two_layer_optimum(TwoLayer(x, y, (0.005, 0.02)), radius=3, grid=61)
    with pytest.raises(ValueError, match="after 1 rounds"):
        two_layer_optimum(TwoLayer(x, y, (0.005, 0.02)), radius=20, grid=61, rounds=1)
    problem = TwoLayer(x, y, (0.005, 0.02))
    with pytest.raises(ValueError, match="expected each > 0"):
        descend_two_layer(problem, 0, nets=1, steps=1, lr=0.1, generator=draw(0))
    with pytest.raises(ValueError, match="diverged at lr 1000"):
        descend_two_layer(problem, 4, nets=1, steps=400, lr=1000.0, generator=draw(0))
