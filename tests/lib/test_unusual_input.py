"""Input that is unusual but ordinary, through every public function of the rooms of dense nets: the
right result, or a refusal in words."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from lib.certificate import certify, certify_modules, module_gradient
from lib.critical import cluster, plant, polish
from lib.curvature import decompose, extreme_eigenvalues, hessian, inertia
from lib.depth import (
    approximate_lift,
    exits,
    insert_layer,
    layer_affine_error,
    layer_on_data,
    lift,
    lift_layers,
    lifted_from,
    linearised_block,
    linearised_share,
    slide,
    stream_at,
    unlift,
)
from lib.merge import merge_channels, merge_layers, merge_neurons, reduce
from lib.nets import MLP, cross_entropy, flatten, forward, from_sequential, init, mse, to_sequential
from lib.train.descent import descend
from lib.width import (
    embed,
    embedding,
    null_embed,
    random_embedding,
    saddle_witness,
    split,
    split_into,
    split_spectrum,
    tangent_dimension,
)

DRAWS = torch.Generator().manual_seed(0)
X, Y = (torch.randn(20, m, generator=DRAWS, dtype=torch.float64) for m in (2, 1))
TANH, RELU = (init((2, 3, 1), sigma, generator=1) for sigma in ("tanh", "relu"))
DEEP = lift(RELU, X, 1, 3, generator=2)


def module(net: MLP) -> nn.Sequential:
    return to_sequential(net)


# (net, x, y) -> a number, a tensor or a net
WITH_TARGETS = {
    "certify": (TANH, lambda n, x, y: certify(n, x, y, after=n).gradient_after),
    "certify_modules": (
        TANH,
        lambda n, x, y: certify_modules(module(n), module(n), x, y).risk_after,
    ),
    "decompose": (TANH, lambda n, x, y: decompose(n, x, y).total),
    "descend": (TANH, lambda n, x, y: descend(n, x, y, steps=3, lr=0.01, backend="torch").net),
    "exits": (DEEP, lambda n, x, y: exits(n, x, y, 2).first),
    "extreme_eigenvalues": (TANH, lambda n, x, y: extreme_eigenvalues(n, x, y).values),
    "hessian": (TANH, hessian),
    "module_gradient": (TANH, lambda n, x, y: module_gradient(module(n), x, y)),
    "polish": (TANH, lambda n, x, y: polish(n, x, y, max_steps=2).loss),
    "reduce": (TANH, lambda n, x, y: reduce(n, x, y, budget=0.1).net),
    "saddle_witness": (TANH, lambda n, x, y: saddle_witness(n, x, y).curvature),
    "split_spectrum": (TANH, lambda n, x, y: split_spectrum(n, x, y, mse, 1, 0).slope),
}
WITHOUT = {
    "approximate_lift": (
        TANH,
        lambda n, x: approximate_lift(n, x, 1, 3, scale=0.1, generator=0).net,
    ),
    "cluster": (TANH, lambda n, x: cluster(n, x, losses=torch.zeros(()))[0].output),
    "insert_layer": (
        RELU,
        lambda n, x: from_sequential(insert_layer(module(n), x, 2, 3, "relu", generator=0)),
    ),
    "layer_affine_error": (TANH, layer_affine_error),
    "layer_on_data": (TANH, lambda n, x: layer_on_data(n, x, 1).z),
    "lift": (RELU, lambda n, x: lift(n, x, 1, 3, generator=0)),
    "lift_layers": (RELU, lambda n, x: lift_layers(n, x, [(1, 3), (0, 2)], generator=0)),
    "lifted_from": (DEEP, lambda n, x: torch.tensor(lifted_from(n, RELU.to(n.dtype), x) or ())),
    "linearised_share": (RELU, linearised_share),
    "merge_channels": (RELU, lambda n, x: from_sequential(merge_channels(module(n).eval(), x).net)),
    "merge_layers": (RELU, lambda n, x: merge_layers(n, x, 0.5, fit="neuron").net),
    "merge_neurons": (RELU, lambda n, x: merge_neurons(n, 0.9, x=x).net),
    "plant": (TANH, lambda n, x: plant(n, x, torch.Generator().manual_seed(0))),
    "slide": (DEEP, lambda n, x: slide(n, x, 2, 0, 0.1)),
    "unlift": (DEEP, lambda n, x: unlift(n, x, 2)),
}
CALLS = {
    **{name: (net, f) for name, (net, f) in WITH_TARGETS.items()},
    **{name: (net, lambda n, x, y, f=f: f(n, x)) for name, (net, f) in WITHOUT.items()},
}
# insert_layer and certify_modules take any module: the width of x is for the module to judge
ANY_MODULE = {"certify_modules", "insert_layer", "merge_channels", "module_gradient"}


def numbers_of(result: object) -> torch.Tensor:
    return flatten(result).detach() if isinstance(result, MLP) else torch.as_tensor(result).detach()


def refused(call, *args) -> None:
    with pytest.raises((TypeError, ValueError), match="expected|pass "):
        call(*args)


@pytest.mark.parametrize("name", CALLS)
def test_data_that_is_no_finite_sample_is_refused(name):
    net, call = CALLS[name]
    hole, endless = X.clone(), X.clone()
    hole[3, 1], endless[0, 0] = math.nan, math.inf
    for x in (hole, endless, X[:0], X.tolist()):
        refused(call, net, x, Y)
    if name not in ANY_MODULE:
        for x in (X[:, :1], X.float(), X[0]):
            refused(call, net, x, Y)


@pytest.mark.parametrize("name", WITH_TARGETS)
def test_targets_that_do_not_fit_are_refused(name):
    net, call = CALLS[name]
    hole = Y.clone()
    hole[2] = math.nan
    for y in (hole, Y[:-1], Y.expand(20, 2), torch.zeros(20, dtype=torch.int64)):
        refused(call, net, X, y)


@pytest.mark.parametrize("name", CALLS)
def test_gradients_that_are_asked_for_or_switched_off_change_nothing(name):
    net, call = CALLS[name]
    plain = numbers_of(call(net, X, Y))
    asked = net.map(lambda p: p.clone().requires_grad_())
    results = [call(asked, X, Y), call(net, X.clone().requires_grad_(), Y.clone().requires_grad_())]
    with torch.no_grad():
        results.append(call(net, X, Y))
    for result in results:
        torch.testing.assert_close(numbers_of(result), plain, rtol=0, atol=0)
    assert all(p.grad is None for p in asked.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", CALLS)
def test_fewer_bits_are_right_or_refused(name, dtype):
    net, call = CALLS[name]
    net, x, y = net.to(dtype), X.to(dtype), Y.to(dtype)
    words = ""
    try:
        found = numbers_of(call(net, x, y))
    except (TypeError, ValueError) as error:
        words = str(error)
    assert "expected" in words or "pass " in words or torch.isfinite(found).all()


def test_class_labels_without_a_loss_name_the_loss_to_pass():
    net, labels = init((2, 3, 4), generator=0), torch.arange(20) % 4
    for call in (
        lambda **loss: certify(net, X, labels, after=net, **loss),
        lambda **loss: reduce(net, X, labels, budget=0.1, **loss),
        lambda **loss: polish(net, X, labels, max_steps=1, **loss),
        lambda **loss: hessian(net, X, labels, **loss),
    ):
        with pytest.raises(ValueError, match="pass loss=cross_entropy"):
            call()
        call(loss=cross_entropy)
        labels_beyond = labels.clone()
        labels_beyond[0] = 4
    with pytest.raises(ValueError, match=r"0\.\.3"):
        reduce(net, X, labels_beyond, cross_entropy, budget=0.1)


def test_operators_take_a_sequential_and_give_one():
    given = module(RELU).eval()
    before, state = given(X), copy.deepcopy(given.state_dict())
    for make in (
        lambda n: split(n, 1, 0, 0.3),
        lambda n: split_into(n, 1, 0, [0.2, 0.5, 0.3]),
        lambda n: embed(n, [(1, 0, 0.3), (1, None, 0.5)]),
        lambda n: null_embed(n, 1, 0.5),
        lambda n: lift(n, X, 1, 4, generator=0),
        lambda n: lift_layers(n, X, [(1, 4)], generator=0),
        lambda n: unlift(lift(n, X, 1, 4, generator=0), X, 2),
    ):
        made = make(given)
        assert type(made) is nn.Sequential and not made.training
        torch.testing.assert_close(made(X), before, rtol=0, atol=1e-12)
    found = certify(given, X, Y, after=embedding(given, [(1, 0, 0.3)]))
    assert found.output_gap < 1e-12 and found.parameters == (13, 17)
    assert type(reduce(given, X, Y, budget=0.0).net) is nn.Sequential
    assert polish(given, X, Y, max_steps=1).steps >= 0
    for name, value in given.state_dict().items():
        assert torch.equal(value, state[name])


def test_numpy_numbers_are_numbers():
    one, three, half = np.int64(1), np.int64(3), np.float32(0.5)
    wide = split(TANH, one, np.int64(0), np.float64(0.5))
    assert torch.equal(flatten(wide), flatten(split(TANH, 1, 0, 0.5)))
    assert lift(RELU, X, one, three, margin=half, pieces=np.int64(0), generator=0).depth == 3
    assert unlift(DEEP, X, np.int64(2)).depth == 2
    assert extreme_eigenvalues(TANH, X, Y, k=one).values.shape == (1,)
    assert polish(TANH, X, Y, tolerance=np.float64(1e-13), max_steps=one).steps <= 1
    assert reduce(TANH, X, Y, budget=half, tolerances=np.array([0.1])).net.n_parameters <= 13
    assert descend(TANH, X, Y, steps=three, lr=half, backend="torch").steps_done == 3
    assert merge_neurons(RELU, half, np.float32(0.0)).net.depth == 2
    assert saddle_witness(TANH, X, Y, tolerance=np.float64(1e-11)).curvature < 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: split(TANH, 1, 0, math.nan),
        lambda: split(TANH, 1, 0, 1e12),  # 1 - alpha and alpha no longer add up
        lambda: split(TANH.to(torch.float32), 1, 0, 1e6 + 0.3),
        lambda: split_into(TANH, 1, 0, [1e17, 1.0, -1e17]),
        lambda: split(TANH.map(lambda p: p * math.nan), 1, 0, 0.5),
        lambda: split(nn.Linear(2, 1), 1, 0, 0.5),
        lambda: lift(RELU, X, 1, 3, margin=math.inf, generator=0),
        lambda: lift(RELU, X, 1, 3, margin=1e14, generator=0),  # lost in rounding
        lambda: lift(RELU, X, 1, 3, pieces=7, generator=0),
        lambda: slide(DEEP, X, 2, 0, math.nan),
        lambda: approximate_lift(TANH, X, 1, 3, error=math.nan, generator=0),
        lambda: merge_neurons(RELU, math.nan),
        lambda: merge_neurons(RELU, 0.9, math.nan),
        lambda: merge_neurons(RELU, 0.9, tolerance=math.inf),
        lambda: merge_layers(RELU, X, math.nan),
        lambda: merge_layers(RELU, X, 1.5),
        lambda: reduce(TANH, X, Y, budget=math.nan),
        lambda: reduce(TANH, X, Y, budget=math.inf),
        lambda: reduce(TANH, X, Y, budget=0.1, tolerances=[2.0]),
        lambda: reduce(TANH, X, Y, budget=0.1, amplitude=math.nan),
        lambda: polish(TANH, X, Y, tolerance=math.nan),
        lambda: polish(TANH, X, Y, radius=math.nan),
        lambda: plant(TANH, X, DRAWS, residual=math.inf),
        lambda: cluster(TANH, X, losses=torch.zeros(()), loss_tolerance=math.nan),
        lambda: inertia(torch.eye(2, dtype=torch.float64), gap=math.nan),
        lambda: random_embedding(TANH, (2, 4, 1), DRAWS, null=math.nan),
        lambda: random_embedding(TANH, (2, 4, 1), DRAWS, scale=math.inf),
        lambda: saddle_witness(TANH, X, Y, tolerance=math.nan),
        lambda: descend(TANH, X, Y, steps=3, lr=math.inf),
        lambda: descend(TANH, X, Y, steps=3, lr=0.1, optimizer="adam", betas=(math.nan, 0.9)),
        lambda: stream_at(module(TANH), 1, X * math.nan),
        lambda: linearised_block(2, 3, "relu", X * math.nan, generator=0),
    ],
)
def test_numbers_out_of_range_are_refused(call):
    refused(call)


def test_the_embedding_of_a_wide_float32_net_is_no_rounding_error():
    net = init((64, 32, 10), dtype=torch.float32, generator=0)
    wide, x = embedding(net, [(1, 0, 0.3)])(net), torch.randn(9, 64, generator=DRAWS)
    torch.testing.assert_close(forward(wide, x), forward(net, x))
    assert int(tangent_dimension(embedding(TANH, [(1, 0, 0.3)]), TANH).value) == 1


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("count", [1, 3, 7])
def test_a_layer_that_is_constant_on_the_data_has_no_error(count, size):
    x = size * torch.ones(count, 2, dtype=torch.float64)
    merged = merge_layers(init((2, 3, 3, 1), generator=count), x, 1e-12, fit="neuron")
    assert max(merged.errors) < 1e-12 and len(merged.merged) == 2
