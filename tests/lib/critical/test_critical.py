"""Polishing to critical points of any index: known minima, saddles that splitting makes, and what
is none."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.critical import plant, polish
from lib.critical.polishing import CriticalPoint
from lib.curvature import hessian, inertia
from lib.nets import MLP, cross_entropy, flatten, forward, gradient, init, risk, stack

F64 = torch.float64
X = torch.linspace(-15, 15, 50, dtype=F64)[:, None]
Y = torch.tanh(X - 7) + torch.tanh(X) + torch.tanh(X + 7)  # (Zhang et al. 2021, Fig. 1)


def net_of(w, b, a) -> MLP:
    def tensor(values):
        return torch.tensor(values, dtype=F64)

    return MLP((tensor(w)[:, None], tensor(a)[None]), (tensor(b), None))


def shaken(net: MLP, size: float, seed: int = 0) -> MLP:
    g = torch.Generator().manual_seed(seed)
    return net.map(lambda p: p + size * torch.randn(p.shape, generator=g, dtype=p.dtype))


WIDTH_1 = net_of([0.0895], [0.0], [3.747])
WIDTH_2 = net_of([1.302, -0.155], [-9.3356, -0.4176], [0.78859, -2.34185])


@pytest.mark.parametrize(
    "start, loss, counts", [(WIDTH_1, 0.109023, (0, 0, 3)), (WIDTH_2, 0.069792, (0, 0, 6))]
)
def test_polish_finds_the_papers_narrow_minima(start, loss, counts):
    point = polish(start, X, Y)
    assert bool(point.converged) and float(point.gradient) <= 1e-13 < float(point.gradient_before)
    assert float(point.loss) == pytest.approx(loss, abs=5e-7)  # six printed digits
    assert inertia(hessian(point.net, X, Y)).counts == counts
    # what is reported is what the net has, up to the rounding of sums whose order is the library's
    assert float(flatten(gradient(point.net, X, Y)).abs().sum()) == pytest.approx(
        float(point.gradient), abs=1e-14
    )
    assert float(risk(point.net, X, Y)) == pytest.approx(float(point.loss), rel=1e-14)
    assert float((flatten(point.net) - flatten(start)).norm()) == pytest.approx(
        float(point.moved), rel=1e-12
    )


@pytest.mark.parametrize("alpha", [0.5, 0.2, 1.7, -0.6])
def test_polish_returns_to_the_saddle_that_embedding_made(alpha):
    """Theorem 1 of Zhang et al. 2021: the copy of a critical point is one; here a degenerate one,
    for any alpha."""
    narrow = polish(WIDTH_1, X, Y).net
    (w, a), b = (p.flatten().repeat(2) for p in narrow.weights), narrow.biases[0].repeat(2)
    wide = MLP((w[:, None], (a * torch.tensor([1 - alpha, alpha], dtype=F64))[None]), (b, None))
    starts = stack([shaken(wide, 1e-3, seed) for seed in range(5)])
    points = polish(starts, X, Y)
    assert bool(points.converged.all())
    # the same critical set: loss of the narrow minimum, and beside its three positive eigenvalues a
    # zero mode (along alpha) and one of each sign, since the block of H^(2) that belongs to (w, b)
    # is indefinite here
    torch.testing.assert_close(
        points.loss, torch.full((5,), float(risk(narrow, X, Y)), dtype=F64), rtol=0, atol=1e-12
    )
    assert float(points.moved.max()) < 10 * 1e-3
    found = inertia(hessian(points.net, X, Y))
    assert (
        found.negative.tolist() == [1] * 5
        and found.zero.tolist() == [1] * 5
        and found.positive.tolist() == [4] * 5
    )


def test_polish_keeps_to_the_saddle_while_descent_would_leave_it():
    point = polish(shaken(net_of([0.0] * 3, [0.0] * 3, [0.0] * 3), 1e-3), X, Y)
    assert bool(point.converged)
    assert float(point.loss) == pytest.approx(
        float((Y**2).mean()), abs=1e-12
    )  # the zero function, an index-3 saddle
    assert inertia(hessian(point.net, X, Y)).negative == 3


def test_polish_reaches_an_exactly_realisable_target():
    teacher = net_of([1.0, 1.0, 1.0], [-7.0, 0.0, 7.0], [1.0, 1.0, 1.0])
    point = polish(shaken(teacher, 0.05), X, Y)
    assert bool(point.converged) and float(point.loss) < 1e-25
    torch.testing.assert_close(forward(point.net, X), Y, rtol=0, atol=1e-12)


def test_a_batch_is_polished_like_its_nets_one_by_one():
    starts = init(
        (1, 3, 1),
        std=0.7,
        batch=(2, 4),
        output_bias=False,
        generator=torch.Generator().manual_seed(5),
    )
    batch = polish(starts, X, Y, max_steps=12)
    assert batch.converged.shape == (2, 4)
    for i in range(2):
        for j in range(4):
            alone = polish(starts[i, j], X, Y, max_steps=12)
            # same arithmetic up to the order of sums in batched products, amplified over 12 steps
            torch.testing.assert_close(
                flatten(alone.net), flatten(batch.net[i, j]), rtol=1e-6, atol=1e-6
            )
            assert int(alone.steps) == int(batch.steps[i, j])


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    width=st.integers(1, 4),
    sigma=st.sampled_from(["tanh", "sigmoid", "elu"]),
)
def test_converged_means_that_the_gradient_is_small(seed, width, sigma):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(9, 2, generator=g, dtype=F64)
    y = torch.randn(9, 2, generator=g, dtype=F64)
    starts = init((2, width, 2), sigma, std=0.5, batch=(4,), generator=g)
    points = polish(starts, x, y, max_steps=40)
    norms = flatten(gradient(points.net, x, y)).abs().sum(-1)
    assert bool((norms[points.converged] <= 1e-13).all())
    # the L2 norm falls, and L1 is within a factor sqrt(M) of it
    assert bool((points.gradient <= points.gradient_before * starts.n_parameters**0.5).all())
    assert len(points.found.loss) == int(points.converged.sum())


def test_polish_of_softmax_regression_finds_its_degenerate_minimum():
    g = torch.Generator().manual_seed(1)
    x = torch.randn(30, 2, generator=g, dtype=F64)
    y = torch.randint(
        3, (30,), generator=g
    )  # labels at random: the classes overlap, so the minimum is finite
    points = polish(init((2, 3), batch=(4,), generator=g), x, y, cross_entropy)
    assert bool(points.converged.all())
    torch.testing.assert_close(
        points.loss, points.loss[:1].expand(4), rtol=0, atol=1e-14
    )  # convex: one value
    # adding one vector to every class's weights changes nothing: m_0 + 1 zero modes
    assert inertia(hessian(points.net, x, y, cross_entropy)).zero.tolist() == [3] * 4


@pytest.mark.parametrize("residual", [0.05, 1.0])
def test_polish_of_deep_nets_returns_to_planted_critical_points(residual):
    g = torch.Generator().manual_seed(2)
    net = init((2, 3, 2, 1), std=0.8, generator=g)
    x = torch.randn(40, 2, generator=g, dtype=F64)
    y = plant(net, x, g, residual=residual)
    points = polish(stack([shaken(net, 1e-4, seed) for seed in range(3)]), x, y)
    assert bool(points.converged.all()) and float(points.moved.max()) < 1e-2
    torch.testing.assert_close(points.loss, risk(net, x, y).expand(3), rtol=0, atol=1e-12)


def test_a_net_far_from_any_critical_point_is_given_up_not_returned():
    # a step function is only reached at w -> infinity, where every gradient vanishes
    start = net_of([2.0], [0.0], [2.3])
    lost = polish(start, X, Y)
    assert not bool(lost.converged) and float(lost.moved) >= 3 * float(flatten(start).norm())
    assert "NOT converged" in repr(lost)
    assert polish(stack([start]), X, Y).found.loss.shape == (0,)
    unlimited = polish(start, X, Y, reach=math.inf)
    assert float(unlimited.moved) > float(lost.moved)
    few = polish(WIDTH_2, X, Y, max_steps=1)
    assert not bool(few.converged) and int(few.steps) == 1


def test_polish_leaves_a_polished_point_alone():
    once = polish(WIDTH_2, X, Y)
    again = polish(once.net, X, Y)
    assert float(again.moved) < 1e-10 and bool(again.converged)
    assert int(polish(once.net, X, Y, max_steps=0).steps) == 0 and bool(
        polish(once.net, X, Y, max_steps=0).converged
    )


def test_critical_points_index_as_a_batch():
    points = polish(stack([WIDTH_2, shaken(WIDTH_2, 1e-3)]), X, Y)
    assert isinstance(points[0], CriticalPoint) and points[0].loss.dim() == 0
    assert "2 of 2 converged" in repr(points)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"tolerance": 0.0}, "tolerance is 0.0"),
        ({"max_steps": -1}, "max_steps is -1"),
        ({"max_steps": 2.5}, "max_steps is 2.5"),
        ({"radius": 0.0}, "radius is 0.0"),
        ({"reach": 0.0}, "reach is 0.0"),
    ],
)
def test_polish_settings_out_of_range(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        polish(WIDTH_1, X, Y, **options)


def test_polish_refuses_bad_input():
    with pytest.raises(TypeError, match="float64"):
        polish(WIDTH_1.to(torch.float32), X.float(), Y.float())
    with pytest.raises(ValueError, match="x has shape"):
        polish(WIDTH_1, X.expand(50, 2), Y)
    broken = stack([WIDTH_1, net_of([math.nan], [0.0], [1.0])])
    with pytest.raises(ValueError, match="weight of layer 1: 1 of 2"):
        polish(broken, X, Y)
