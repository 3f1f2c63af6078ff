"""Lifting in depth (Bai et al. 2024): what it preserves, at minima and saddles, on the data and off
them."""

import math

import pytest
import torch
from draws import seeded
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import jacrev

from lib.critical import plant
from lib.curvature import hessian, inertia
from lib.depth import (
    layer_on_data,
    lift,
    lift_layers,
    lifted_dimension,
    lifted_from,
    linearised_share,
    unlift,
)
from lib.depth.factorisation import factor
from lib.depth.merging import membership
from lib.nets import MLP, Activation, features, flatten, forward, gradient, init, risk, unflatten
from lib.nets.activations import AffinePiece, elu, leaky_relu

SIGMAS = ("relu", leaky_relu(0.3), "elu", elu(0.5))
# A lift is a chain of a few products with factors of condition <= 4: its rounding stays within some
# 1e3 eps.
OUTPUT_GAP, GRADIENT = 1e-12, 1e-10

torch.set_num_threads(1)


def data(n: int, width: int, seed: int = 0):
    return torch.randn(n, width, generator=seeded(1000 + seed), dtype=torch.float64)


def alive(widths, sigma, x, seed: int = 0) -> MLP:
    """A random net whose hidden neurons all work on both sides of 0 on x: no dead unit, no
    linearised layer."""
    for attempt in range(200):
        net = init(widths, sigma, std=0.8, generator=seeded(10_000 * seed + attempt))
        if net.depth == 1 or all(
            (layer_on_data(net, x, i, flat=True).pieces == -1).all() for i in range(1, net.depth)
        ):
            return net
    raise AssertionError("no such net in 200 draws")


def critical(widths, sigma, x, kind: str):
    """A random net, targets that make it critical, and its inertia with a gap so wide that rounding
    cannot blur it."""
    for seed in range(50):
        net = alive(widths, sigma, x, seed)
        for residual in {"minimum": (1e-4,), "saddle": (3.0, 30.0, 300.0)}[kind]:
            y = plant(net, x, seeded(2), residual=residual)
            found = inertia(hessian(net, x, y), gap=1e6, require=False)
            if bool(found.clear) and (found.counts[0] > 0) == (kind == "saddle"):
                return net, y, found.counts
    raise AssertionError(f"no {kind} in 50 draws")


def placements(widths, widest: int = 6):
    """Every position q with the least width, one between, and one larger than both neighbours."""
    for q in range(len(widths) - 1):
        low, high = sorted(widths[q : q + 2])
        for width in sorted({low, high, min(high + 2, widest)}):
            if width >= low:
                yield q, width


@pytest.mark.parametrize("sigma", SIGMAS, ids=str)
@pytest.mark.parametrize("widths", [(2, 1), (2, 3, 1), (3, 2, 4, 2)], ids=str)
def test_lift_keeps_the_outputs_on_the_data_and_changes_them_off_it(widths, sigma):
    x = data(12, widths[0])
    net = alive(widths, sigma, x)
    far = 30 * data(200, widths[0], seed=1)
    for q, width in placements(widths):
        off = []
        for seed in range(5):
            deep = lift(net, x, q, width, generator=seeded(seed))
            assert deep.widths == (*widths[: q + 1], width, *widths[q + 1 :])
            assert (forward(deep, x) - forward(net, x)).abs().max() <= OUTPUT_GAP
            off.append(float((forward(deep, far) - forward(net, far)).abs().max()))
        # B1: nothing is promised off S. Single draws can agree everywhere: positive rows on
        # non-negative features.
        assert max(off) > 1e-3


@pytest.mark.parametrize("sigma", SIGMAS, ids=str)
@pytest.mark.parametrize("kind", ["minimum", "saddle"])
@pytest.mark.parametrize("widths", [(2, 3, 2), (2, 2, 2, 1), (3, 2, 2)], ids=str)
def test_theorem_embedding_principle_in_depth(widths, kind, sigma):
    """Critical stays critical, n+ and n- stay, corank grows by M' - M: at every position, at minima
    and saddles."""
    x = data(30, widths[0])
    net, y, shallow = critical(widths, sigma, x, kind)
    assert flatten(gradient(net, x, y)).norm() < GRADIENT / 100
    for q, width in placements(widths, widest=4):
        deep = lift(net, x, q, width, generator=seeded(q + 10 * width))
        assert flatten(gradient(deep, x, y)).norm() <= GRADIENT
        assert abs(float(risk(deep, x, y) - risk(net, x, y))) <= OUTPUT_GAP
        negative, zero, positive = inertia(hessian(deep, x, y)).counts
        grown = lifted_dimension(widths, q, width)
        assert (negative, zero, positive) == (shallow[0], shallow[1] + grown, shallow[2])
        assert grown == deep.n_parameters - net.n_parameters


@pytest.mark.parametrize("sigma", ["relu", leaky_relu(0.3)], ids=str)
def test_theorem_single_output_two_layer_critical_points_are_no_strict_saddles(sigma):
    """Piecewise linear, one output, all output weights non-zero: a_k E[e sigma'(z_k) x] = 0 empties
    H^(2)."""
    x = data(30, 2)
    net = alive((2, 3, 1), sigma, x)
    for residual in (1e-4, 1.0, 300.0):
        negative, zero, _ = inertia(
            hessian(net, x, plant(net, x, seeded(0), residual=residual))
        ).counts
        assert (negative, zero) == (0, 3)  # one zero a neuron: its rescaling


def test_theorem_hessian_of_a_lift_is_a_congruence():
    """H' = J^T H J with J the derivative of the merging map; autograd of the definition as the
    oracle."""
    x = data(25, 2)
    net = alive((2, 3, 1), "relu", x)
    y = plant(net, x, seeded(0), residual=1.0)
    deep = lift(net, x, 1, 4, generator=seeded(0))
    jacobian = layer_on_data(deep, x, 2).jacobian()
    oracle = jacrev(jacrev(lambda v: risk(unflatten(v, deep), x, y)))(flatten(deep))
    difference = jacobian.mT @ hessian(net, x, y) @ jacobian - oracle
    assert difference.abs().max() <= 1e-12 * oracle.abs().max()
    assert torch.linalg.matrix_rank(jacobian) == net.n_parameters


@pytest.mark.parametrize("sigma", ["relu", leaky_relu(0.3)], ids=str)
def test_theorem_dimension_of_the_lifted_manifold(sigma):
    """Tangents of random elements: the fibre of the merging map has dimension M' - M at each of
    them."""
    x = data(9, 3)
    net = alive((3, 2, 2), sigma, x)
    for q, width in placements(net.widths):
        for seed in range(3):
            deep = lift(net, x, q, width, generator=seeded(seed))
            rank = int(torch.linalg.matrix_rank(layer_on_data(deep, x, q + 1).jacobian()))
            assert deep.n_parameters - rank == lifted_dimension(net.widths, q, width)


def test_theorem_interior_lift_of_a_minimum_is_a_minimum():
    """B6: every small step from an interior lift of a minimum keeps the risk above it; no strict
    saddle can appear."""
    x = data(30, 2)
    net, y, _ = critical((2, 3, 1), "elu", x, "minimum")
    deep = lift(net, x, 1, 5, generator=seeded(4))
    theta, base = flatten(deep), risk(deep, x, y)
    steps = torch.randn(4000, deep.n_parameters, generator=seeded(5), dtype=torch.float64)
    for size in (1e-6, 1e-4, 1e-3):
        around = risk(unflatten(theta + size * steps, deep), x, y)
        assert (around - base).min() >= -1e-18 - 1e-13 * base  # rounding of a risk of 1e-8


def test_multi_layer_lift_is_the_composition_and_merges_back():
    x = data(20, 2)
    net, y, shallow = critical((2, 3, 2), leaky_relu(0.2), x, "saddle")
    deep = lift_layers(net, x, [(1, 4), (0, 2), (1, 3)], generator=seeded(1))
    assert deep.widths == (2, 2, 3, 4, 3, 2)
    assert (forward(deep, x) - forward(net, x)).abs().max() <= OUTPUT_GAP
    assert flatten(gradient(deep, x, y)).norm() <= GRADIENT
    grown = deep.n_parameters - net.n_parameters
    assert inertia(hessian(deep, x, y)).counts == (shallow[0], shallow[1] + grown, shallow[2])
    assert membership(deep, x).layers == (1, 3, 4)
    for order in ([1, 3, 4], [4, 1, 3]):
        assert (flatten(unlift(deep, x, order)) - flatten(net)).abs().max() <= OUTPUT_GAP
    assert lifted_from(deep, net, x) == (1, 3, 4)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    widths=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    q=st.integers(0, 2),
    extra=st.integers(0, 3),
    sigma=st.sampled_from(SIGMAS),
    n=st.integers(1, 9),
    seed=st.integers(0, 999),
)
def test_unlift_is_a_left_inverse_of_lift(widths, q, extra, sigma, n, seed):
    """unlift(lift(net)) == net, for any depth, position, width, mixture of pieces and number of
    samples."""
    q %= len(widths) - 1
    x, net = data(n, widths[0], seed), init(widths, sigma, generator=seeded(seed))
    deep = lift(net, x, q, min(widths[q : q + 2]) + extra, generator=seeded(seed + 1))
    assert (layer_on_data(deep, x, q + 1).pieces >= 0).all()
    assert (flatten(unlift(deep, x, q + 1)) - flatten(net)).abs().max() <= OUTPUT_GAP
    assert q + 1 in membership(deep, x).layers
    assert lifted_from(deep, net, x) is not None


def test_a_lift_on_more_data_is_a_lift_on_fewer():
    """B5: S in S' gives T_S' in T_S, and a lift on S is in general none on S'."""
    x = data(40, 2)
    net = alive((2, 3, 1), "relu", x)
    for seed in range(20):
        assert lifted_from(lift(net, x, 1, 4, generator=seeded(seed)), net, x[:10]) == (2,)
    small = [
        lifted_from(lift(net, x[:10], 1, 4, generator=seeded(seed)), net, x) for seed in range(20)
    ]
    assert small.count(None) > 0


def test_every_mixture_of_pieces_is_obeyed_and_drawn():
    x, net = data(7, 2), init((2, 3, 1), leaky_relu(0.3), generator=0)
    for pieces in (0, 1, [0, 1, 1, 0]):
        deep = lift(net, x, 1, 4, pieces=pieces, generator=seeded(0))
        expected = [pieces] * 4 if isinstance(pieces, int) else pieces
        assert layer_on_data(deep, x, 2).pieces.tolist() == expected
    drawn = {
        tuple(layer_on_data(lift(net, x, 1, 4, generator=seeded(s)), x, 2).pieces.tolist())
        for s in range(40)
    }
    assert len(drawn) > 8  # of 16 mixtures


def test_bounded_affine_pieces_shrink_the_row():
    """A hard tanh, affine on (-1, 1) only: the neuron's range over the data is scaled into it."""
    hard = Activation(
        "hard tanh",
        lambda t: t.clamp(-1, 1),
        lambda t: (t.abs() < 1).to(t.dtype),
        torch.zeros_like,
        (AffinePiece(-1.0, 1.0, 1.0, 0.0),),
    )
    x = 50 * data(9, 2)
    net = init((2, 3, 1), hard, std=3.0, generator=0)
    deep = lift(net, x, 0, 4, margin=0.2, generator=seeded(0))
    assert (features(deep, x)[1].abs() < 1).all()
    assert (forward(deep, x) - forward(net, x)).abs().max() <= 1e-11  # outputs of size 100


def test_random_elements_differ_and_repeat_with_their_generator():
    x, net = data(7, 2), init((2, 3, 1), "relu", generator=0)
    a, b, c = (flatten(lift(net, x, 1, 5, generator=seeded(s))) for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert (a - c).abs().max() > 0.1


def test_null_space_noise_moves_the_factors_independently():
    """With width > m_q the outer factor is not fixed by the inner one: A - W pinv(P) spans the left
    null space of P."""
    weight, f = data(1, 2), data(8, 2)
    outs = []
    for seed in range(6):
        g = factor(weight, weight.new_zeros(1), f, 4, elu(), generator=seeded(seed))
        outs.append(g.weight_out - weight @ torch.linalg.pinv(g.weight_in))
        assert (outs[-1] @ g.weight_in).abs().max() < 1e-13
        assert outs[-1].abs().max() > 1e-2


def test_batches_of_nets_are_lifted_and_merged_together():
    x, nets = data(11, 2), init((2, 3, 1), leaky_relu(0.3), batch=(4, 2), generator=0)
    deep = lift(nets, x, 1, 2, generator=seeded(0))
    assert deep.batch == (4, 2)
    assert (forward(deep, x) - forward(nets, x)).abs().max() <= OUTPUT_GAP
    assert (flatten(unlift(deep, x, 2)) - flatten(nets)).abs().max() <= OUTPUT_GAP
    assert linearised_share(deep, x).shape == (4, 2, 2)


def test_single_precision_lifts_to_its_own_rounding():
    x = data(11, 2).float()
    net = init((2, 3, 1), "relu", dtype=torch.float32, generator=0)
    deep = lift(net, x, 1, 4, generator=seeded(0))
    assert deep.dtype == torch.float32
    assert (forward(deep, x) - forward(net, x)).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, r"width 1 is too small: expected >= min\(3, 2\) = 2", {"width": 1}),
        (ValueError, r"position 3 outside 0\.\.2", {"position": 3}),
        (ValueError, r"position -1 outside 0\.\.2", {"position": -1}),
        (TypeError, "position is 1.0: expected an int", {"position": 1.0}),
        (TypeError, "width is True: expected an int", {"width": True}),
        (ValueError, r"piece 1 outside 0\.\.0", {"pieces": 1}),
        (TypeError, r"piece is True", {"pieces": [0, True, 0, 0]}),
        (ValueError, "pieces has 2 entries: expected one for each of the 4", {"pieces": [0, 0]}),
        (ValueError, "margin is 0: expected a finite number > 0", {"margin": 0}),
        (ValueError, "margin is nan", {"margin": math.nan}),
        (ValueError, "margin 1e-18 is lost in the rounding", {"margin": 1e-18}),
        (ValueError, r"x has shape \(5, 3\): expected \(n, 2\)", {"x": data(5, 3)}),
        (ValueError, r"x has shape \(0, 2\)", {"x": data(0, 2)}),
        (
            ValueError,
            "tanh has no affine piece.*approximate_lift",
            {"net": init((2, 3, 2, 1), "tanh", generator=0)},
        ),
        (
            ValueError,
            "layer 2 of MLP.*has no bias",
            {"net": init((2, 3, 2, 1), "relu", bias=False, generator=0)},
        ),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_impossible_lifts_are_refused(error, message, arguments):
    request = {
        "net": init((2, 3, 2, 1), "relu", generator=0),
        "x": data(5, 2),
        "position": 1,
        "width": 4,
        "generator": seeded(0),
    } | arguments
    with pytest.raises(error, match=message):
        lift(**request)


def test_impossible_multi_lifts_are_refused():
    net, x = init((2, 3, 1), "relu", generator=0), data(5, 2)
    with pytest.raises(ValueError, match="inserts is empty"):
        lift_layers(net, x, [], generator=seeded(0))
    with pytest.raises(
        ValueError, match=r"position 2 outside 0\.\.1"
    ):  # even though depth 3 would have it
        lift_layers(net, x, [(0, 2), (2, 3)], generator=seeded(0))
    with pytest.raises(ValueError, match="width 1 is too small"):
        lift_layers(net, x, [(0, 1)], generator=seeded(0))
    with pytest.raises(ValueError, match=r"position 5 outside"):
        lifted_dimension((2, 3), 5, 3)
