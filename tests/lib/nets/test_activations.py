"""Activations: values, derivatives, affine pieces and homogeneity, against plain Python and torch's
own."""

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mlp_oracle import SIGMA

from lib.nets import Activation, flatten, init
from lib.nets.activations import NAMES, AffinePiece, elu, get, leaky_relu, relu

ALL = [*(get(n) for n in NAMES), leaky_relu(0.3), leaky_relu(-0.5), elu(0.4), elu(-1.0)]
few = settings(max_examples=50, deadline=None, derandomize=True)
TORCH = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.nn.functional.relu,
    "leaky_relu": torch.nn.functional.leaky_relu,
    "elu": torch.nn.functional.elu,
    "identity": lambda t: t,
}


def points(t):
    return torch.tensor(t, dtype=torch.float64)


@few
@given(st.sampled_from(NAMES), st.floats(-30, 30))
def test_values_and_derivatives_against_python(name, t):
    sigma, (value, slope) = get(name), SIGMA[name]
    # relative to math's functions, whose last bit may differ
    assert float(sigma.value(points(t))) == pytest.approx(value(t), rel=1e-13, abs=1e-15)
    # 1 - tanh^2 cancels at large |t|: absolute error eps
    assert float(sigma.derivative(points(t))) == pytest.approx(slope(t), rel=1e-12, abs=3e-16)


@pytest.mark.parametrize("name", NAMES)
def test_values_against_torch_at_ordinary_and_extreme_points(name):
    t = points([-1e308, -800.0, -40.0, -1.0, -1e-300, 0.0, 1e-300, 1.0, 40.0, 800.0, 1e308])
    torch.testing.assert_close(get(name).value(t), TORCH[name](t), rtol=1e-15, atol=0)
    for f in (get(name).value, get(name).derivative, get(name).second):
        assert torch.isfinite(f(t)).all()
        assert f(t).shape == t.shape


@pytest.mark.parametrize("sigma", ALL, ids=repr)
def test_derivatives_against_autograd(sigma):
    t = torch.linspace(-6, 6, 121, dtype=torch.float64)
    t = t[t != 0].requires_grad_()
    (first,) = torch.autograd.grad(sigma.value(t).sum(), t, create_graph=True)
    torch.testing.assert_close(sigma.derivative(t.detach()), first.detach(), rtol=1e-11, atol=1e-15)
    second = torch.zeros_like(t)
    if first.requires_grad:
        (second,) = torch.autograd.grad(first.sum(), t, materialize_grads=True)
    torch.testing.assert_close(sigma.second(t.detach()), second, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("sigma", ALL, ids=repr)
def test_at_the_kink_the_derivative_is_autograds_and_the_left_limit(sigma):
    zero = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(sigma.value(zero).sum(), zero)
    left = sigma.derivative(points([-1e-12]))
    assert float(sigma.derivative(points([0.0]))) == pytest.approx(float(slope), abs=1e-11)
    assert float(slope) == pytest.approx(
        float(left), abs=1e-11
    )  # sigma' is continuous from the left, 1e-12 away


@pytest.mark.parametrize("sigma", ALL, ids=repr)
def test_gradients_stay_finite_far_out(sigma):
    t = points([-1e4, 1e4]).requires_grad_()
    (slope,) = torch.autograd.grad(sigma.value(t).sum(), t)
    assert torch.isfinite(slope).all()


@few
@given(st.sampled_from(ALL), st.floats(-50, 50))
def test_pieces_are_affine_and_nothing_else_is(sigma, t):
    for piece in sigma.pieces:
        if piece.low < t < piece.high:
            assert float(sigma.value(points(t))) == pytest.approx(
                piece.slope * t + piece.shift, rel=1e-15
            )
            assert float(sigma.derivative(points(t))) == piece.slope != 0


@pytest.mark.parametrize("sigma", ALL, ids=repr)
def test_outside_its_pieces_a_function_is_curved(sigma):
    """sigma'' != 0 at some point of every interval between -10 and 10 that no piece covers: no
    piece is missing."""
    t = torch.linspace(-10, 10, 41, dtype=torch.float64)
    covered = torch.stack(
        [(p.low <= t) & (t <= p.high) for p in sigma.pieces]
        or [torch.zeros_like(t, dtype=torch.bool)]
    ).any(0)
    flat = sigma.name == "relu"  # its other piece has slope 0, which the definition excludes
    assert ((sigma.second(t) != 0) | covered | flat | (t == 0)).all()


@few
@given(st.sampled_from(ALL), st.floats(-20, 20), st.floats(1e-3, 1e3))
def test_degree_of_homogeneity(sigma, t, factor):
    left, right = float(sigma.value(points(factor * t))), float(sigma.value(points(t)))
    if sigma.degree is not None:
        assert left == pytest.approx(factor**sigma.degree * right, rel=1e-12)


def test_which_are_homogeneous_and_which_have_pieces():
    assert {s.name for s in ALL if s.degree is not None} == {"relu", "leaky_relu", "identity"}
    assert {s.name for s in ALL if not s.pieces} == {"tanh", "sigmoid"}
    for name in (
        "tanh",
        "sigmoid",
        "elu",
    ):  # sigma(2t) is no power of 2 times sigma(t) at all t alike
        ratios = get(name).value(points([-2.0, -0.2])) / get(name).value(points([-1.0, -0.1]))
        assert float(ratios[0]) != pytest.approx(float(ratios[1]), rel=1e-3)
    assert leaky_relu(0.2).pieces == (
        AffinePiece(0.0, math.inf, 1.0, 0.0),
        AffinePiece(-math.inf, 0.0, 0.2, 0.0),
    )


def test_equality_hash_and_repr():
    assert elu(0.5) == elu(0.5) != elu(0.25)
    assert len({leaky_relu(), get("leaky_relu"), leaky_relu(0.2)}) == 2
    assert get("relu") == relu != "relu"
    assert [repr(s) for s in (relu, elu(), leaky_relu(0.2))] == [
        "relu",
        "elu(1)",
        "leaky_relu(0.2)",
    ]
    with pytest.raises(AttributeError):
        relu.name = "other"


@pytest.mark.parametrize("name", NAMES)
def test_get(name):
    assert get(name).name == name
    assert get(get(name)) is get(name) or get(get(name)) == get(name)


def test_own_activations_pass_through():
    square = Activation(
        "square", torch.square, lambda t: 2 * t, lambda t: 2 * torch.ones_like(t), degree=2
    )
    assert get(square) is square


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: get("Tanh"), r"activation 'Tanh' is unknown: expected one of tanh, sigmoid, relu"),
        (lambda: get("swish"), r"'swish' is unknown"),
        (lambda: leaky_relu(0), r"leaky_relu slope is 0: use relu"),
        (lambda: leaky_relu(math.nan), r"leaky_relu slope is nan: expected a finite number"),
        (lambda: leaky_relu("0.1"), r"leaky_relu slope is '0.1'"),
        (lambda: elu(math.inf), r"elu alpha is inf: expected a finite number"),
        (lambda: elu(None), r"elu alpha is None"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("sigma", ALL, ids=repr)
def test_a_net_can_be_pickled_and_copied_with_its_activation(sigma):
    net = init((2, 3, 1), sigma, generator=0)
    for again in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert again.activation == sigma
        t = points([-2.0, 0.0, 3.0])
        assert torch.equal(again.activation.value(t), sigma.value(t))
        assert torch.equal(flatten(again), flatten(net))


def test_an_activation_of_ones_own_is_pickled_by_its_functions():
    sine = Activation("sine", torch.sin, torch.cos, torch.neg)
    again = pickle.loads(pickle.dumps(sine))
    assert again == sine and again.value is torch.sin
