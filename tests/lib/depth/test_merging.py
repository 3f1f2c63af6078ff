"""The merging map, membership, and the measures of linearisation."""

import numpy as np
import pytest
import torch
from draws import seeded
from sklearn.linear_model import LinearRegression

from lib.critical import plant
from lib.curvature import hessian, inertia
from lib.depth import (
    layer_affine_error,
    layer_on_data,
    lift,
    lifted_from,
    linearised_share,
    unlift,
)
from lib.depth.layers import merge_lines
from lib.depth.merging import membership
from lib.depth.pieces import affine_error, place
from lib.nets import MLP, flatten, forward, gradient, init
from lib.nets.activations import leaky_relu


def data(n: int, width: int, seed: int = 0):
    return torch.randn(n, width, generator=seeded(1000 + seed), dtype=torch.float64)


def hand_made() -> MLP:
    """1-2-1 leaky net: neuron 0 is t + 3, neuron 1 is -2 t - 5; on [-1, 1] both stay in a piece."""
    w = (
        torch.tensor([[1.0], [-2.0]], dtype=torch.float64),
        torch.tensor([[2.0, 10.0]], dtype=torch.float64),
    )
    b = torch.tensor([3.0, -5.0], dtype=torch.float64), torch.tensor([0.5], dtype=torch.float64)
    return MLP(w, b, leaky_relu(0.1))


def test_merge_in_closed_form():
    """2 (t + 3) + 10 * 0.1 (-2 t - 5) + 0.5 = 0 t + 1.5."""
    x = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    assert layer_on_data(hand_made(), x, 1).pieces.tolist() == [0, 1]
    merged = unlift(hand_made(), x, 1)
    assert merged.weights[0].tolist() == [[pytest.approx(0.0, abs=1e-15)]]
    assert merged.biases[0].tolist() == [pytest.approx(1.5, rel=1e-15)]


def test_pieces_are_open_intervals():
    z = torch.tensor([[0.0, -1.0, 1.0], [2.0, -3.0, 0.5]], dtype=torch.float64)
    assert place(z, leaky_relu(0.1)).tolist() == [-1, 1, 0]  # a sample on the kink is in no piece
    from lib.nets.activations import relu

    assert place(z, relu).tolist() == [-1, -1, 0]
    assert place(z, relu, flat=True).tolist() == [-1, 1, 0]


def test_dead_neurons_merge_only_when_asked_and_keep_the_outputs():
    x = data(6, 2)
    net = lift(init((2, 3, 1), "relu", generator=0), x, 1, 4, generator=seeded(0))
    inner = [net.biases[0], net.biases[1].clone(), net.biases[2]]
    inner[1][2] = -100.0
    dead = MLP(net.weights, inner, net.activation)
    with pytest.raises(ValueError, match=r"layer 2 .* neurons \[2\] have data in no"):
        unlift(dead, x, 2)
    assert (forward(unlift(dead, x, 2, flat=True), x) - forward(dead, x)).abs().max() < 1e-12
    assert membership(dead, x).layers == ()
    assert membership(dead, x, flat=True).layers == (2,)
    assert linearised_share(dead, x)[1] == 0.75
    assert linearised_share(dead, x, flat=True)[1] == 1.0


def test_irregular_merging_is_reported_and_can_hide_a_non_critical_shallow_net():
    """W' = 0 and A = 0: the deep net is critical, yet the merged net only needs E[e] = 0 to be so:
    J is not onto."""
    x = data(20, 2)
    y = x[:, :1] + 1.0
    zero = init((2, 2, 1), "relu", std=0.0, generator=0)
    deep = MLP(zero.weights, [torch.ones(2, dtype=torch.float64), y.mean(0)], "relu")
    assert flatten(gradient(deep, x, y)).norm() < 1e-14
    found = membership(deep, x)
    assert found.layers == (1,) and found.regular == (False,)
    assert not layer_on_data(deep, x, 1).is_regular
    assert (
        int(torch.linalg.matrix_rank(layer_on_data(deep, x, 1).jacobian()))
        < found.shallow.n_parameters
    )
    assert flatten(gradient(found.shallow, x, y)).norm() > 1e-2


def test_regular_merging_takes_critical_points_down():
    """The converse of the embedding principle: a linearised critical deep net with onto J merges to
    a critical one."""
    x = data(25, 2)
    net = init((2, 3, 4, 1), leaky_relu(0.4), generator=seeded(3))
    flat = MLP(net.weights, [net.biases[0], net.biases[1] + 50.0, net.biases[2]], net.activation)
    y = plant(flat, x, seeded(0), residual=0.5)  # criticality imposed on the DEEP net
    found = membership(flat, x)
    assert found.layers == (2,) and found.regular == (True,)
    assert flatten(gradient(found.shallow, x, y)).norm() < 1e-11
    deep, shallow = (
        inertia(hessian(flat, x, y)).counts,
        inertia(hessian(found.shallow, x, y)).counts,
    )
    assert (deep[0], deep[2]) == (shallow[0], shallow[2])


def test_membership_names_the_shallow_net_or_none():
    x = data(15, 2)
    net, other = (
        init((2, 3, 1), "relu", generator=seeded(1)),
        init((2, 3, 1), "relu", generator=seeded(2)),
    )
    deep = lift(net, x, 1, 4, generator=seeded(0))
    assert lifted_from(deep, net, x) == (2,)
    assert lifted_from(deep, other, x) is None
    assert lifted_from(lift(deep, x, 0, 2, generator=seeded(0)), net, x) == (1, 3)
    assert lifted_from(init((2, 3, 4, 1), "relu", generator=seeded(5)), net, x) is None
    nudged = lift(net.map(lambda p: p * (1 + 1e-6)), x, 1, 4, generator=seeded(0))
    assert lifted_from(nudged, net, x) is None
    assert lifted_from(nudged, net, x, tolerance=1e-5) == (2,)


def test_merge_without_biases():
    """No bias at all and no shift: the merged layer has none either; with a shift it needs one."""
    net = MLP((torch.ones(2, 1), torch.ones(1, 2)), activation="relu")
    merged = unlift(net, torch.tensor([[1.0], [2.0]]), 1)
    assert merged.weights[0].tolist() == [[2.0]] and float(merged.biases[0]) == 0.0


def test_affine_error_against_scikit_learn():
    f, h = data(40, 3), torch.relu(data(40, 3) @ data(3, 5, seed=1)) + data(40, 5, seed=2)
    fit = LinearRegression().fit(f.numpy(), h.numpy())
    rest = ((h.numpy() - fit.predict(f.numpy())) ** 2).sum() / ((h - h.mean(0)) ** 2).sum().item()
    assert np.isclose(float(affine_error(h, f)), rest, rtol=1e-12)
    assert affine_error(f @ data(3, 2) + 1, f) < 1e-28
    assert affine_error(torch.ones(40, 2, dtype=torch.float64), f) == 0
    doubled = torch.cat([f, f], 1)  # rank deficient input: the same error
    assert np.isclose(float(affine_error(h, doubled)), rest, rtol=1e-10)
    assert affine_error(torch.stack([h, h]), f).shape == (2,)


def test_layer_affine_error_is_zero_exactly_at_lifted_layers():
    x = data(50, 2)
    deep = lift(init((2, 5, 1), "elu", generator=0), x, 1, 6, generator=seeded(0))
    nonlinear, lifted = layer_affine_error(deep, x).tolist()
    assert lifted < 1e-25 and nonlinear > 1e-3


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, r"layer 2 outside 1\.\.1", lambda n, x: unlift(n, x, 2)),
        (ValueError, r"layer 0 outside", lambda n, x: layer_on_data(n, x, 0).pieces),
        (TypeError, "layer is '1': expected an int", lambda n, x: layer_on_data(n, x, "1").pieces),
        (ValueError, "is not linearised on the 9 samples", lambda n, x: unlift(n, x, 1)),
        (ValueError, r"layers \(1, 1\) repeat", lambda n, x: unlift(n, x, [1, 1])),
        (ValueError, "cannot be a lift of", lambda n, x: lifted_from(n, n, x)),
        (
            ValueError,
            "cannot be a lift of",
            lambda n, x: lifted_from(init((2, 3, 3, 1), "elu", generator=0), n, x),
        ),
        (
            ValueError,
            "is a batch of nets",
            lambda n, x: membership(init((2, 3, 1), "relu", batch=(2,), generator=0), x),
        ),
        (
            ValueError,
            "is a batch of nets",
            lambda n, x: layer_on_data(
                init((2, 3, 1), "relu", batch=(2,), generator=0), x, 1
            ).jacobian(),
        ),
        (
            ValueError,
            r"expected \(\*batch, n, m\) with n >= 1",
            lambda n, x: place(x[:0], n.activation),
        ),
        (
            ValueError,
            "has no hidden layer",
            lambda n, x: linearised_share(init((2, 1), generator=0), x),
        ),
        (
            ValueError,
            "has no hidden layer",
            lambda n, x: layer_affine_error(init((2, 1), generator=0), x),
        ),
        (ValueError, r"h has shape \(9, 2\), f \(8, 2\)", lambda n, x: affine_error(x, x[:8])),
        (
            ValueError,
            r"layer 3 outside",
            lambda n, x: merge_lines(n, 3, torch.ones(3), torch.ones(3)),
        ),
    ],
)
def test_impossible_merges_are_refused(error, message, call):
    with pytest.raises(error, match=message):
        call(init((2, 3, 1), "relu", generator=0), data(9, 2))
