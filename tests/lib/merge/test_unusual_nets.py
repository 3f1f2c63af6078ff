"""Unusual nets and data: right, or refused in words."""

import math

import numpy as np
import pytest
import torch
from draws import seeded
from torch import nn

from lib.certificate import certify
from lib.critical import polish
from lib.curvature import hessian
from lib.merge import channels, fold_batchnorm, merge_channels, merge_layers, merge_neurons, reduce
from lib.nets import MLP, cross_entropy, forward, init, risk, to_sequential
from lib.width import embedding, split


def data(n: int = 20, width: int = 2, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(n, width, generator=seeded(5), dtype=dtype)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("fit", ["affine", "neuron"])
def test_layers_are_not_fitted_to_data_that_are_not_finite(bad, fit):
    x = data()
    x[3, 1] = bad
    with pytest.raises(ValueError, match="x: 1 of 40 numbers are NaN or infinite"):
        merge_layers(init((2, 3, 3, 1), generator=0), x, 0.5, fit=fit)


def test_layers_of_a_net_that_is_not_finite_are_not_fitted():
    net = init((2, 3, 3, 1), generator=0)
    net = MLP((net.weights[0] * math.nan, *net.weights[1:]), net.biases)
    with pytest.raises(ValueError, match="pre-activations of layer 1 .* hold inf or nan"):
        merge_layers(net, data(), 0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("exponent", [-80, -40, 0, 40, 66])
@pytest.mark.parametrize("one_neuron", [False, True])
def test_merging_does_not_depend_on_the_scale_of_a_layer_or_a_neuron(dtype, exponent, one_neuron):
    """Powers of two do not round: the merged function is the same to the last bits."""
    x = data(dtype=dtype)
    net = split(init((2, 3, 1), "relu", dtype=dtype, generator=0), 1, 0, 0.3)
    (w, v), (b, c) = net.weights, net.biases
    s = torch.ones(4, dtype=dtype)
    s[1 if one_neuron else slice(None)] = 2.0**exponent
    scaled = MLP([w * s[:, None], v / s], [b * s, c], "relu")
    done = merge_neurons(scaled, 1.0)
    assert done.net.widths == (2, 3, 1) and done.layers[0].groups == ((0, 3), (1,), (2,))
    gap = float((forward(done.net, x) - forward(net, x)).abs().max())
    assert gap <= 100 * torch.finfo(dtype).eps


def test_half_precision():
    for dtype in (torch.bfloat16, torch.float16):
        wide = split(init((2, 3, 1), "relu", generator=0), 1, 0, 0.25).to(dtype)
        assert merge_neurons(wide, 1.0).net.widths == (2, 3, 1)


@pytest.mark.parametrize("number", [np.float32(0.1), np.float64(0.1), 1, np.int64(1), 0.1])
def test_numbers_of_numpy_are_numbers(number):
    net, x = init((2, 3, 1), generator=0), data()
    assert reduce(net, x, x[:, :1], budget=number).net is not None


@pytest.mark.parametrize("budget", [math.nan, math.inf, -1.0, "0.1", None, True])
def test_other_budgets_are_refused(budget):
    net, x = init((2, 3, 1), generator=0), data()
    with pytest.raises((ValueError, TypeError), match="budget is"):
        reduce(net, x, x[:, :1], budget=budget)


def test_empty_samples_are_refused():
    net, none = init((2, 3, 1), generator=0), data()[:0]
    wide = embedding(net, [(1, 0, 0.3)])
    for call in (
        lambda: certify(net, none, none[:, :1], after=wide),
        lambda: reduce(net, none, none[:, :1], budget=0.1),
        lambda: merge_layers(net, none),
        lambda: merge_neurons(net, x=none),
        lambda: hessian(net, none, none[:, :1]),
        lambda: polish(net, none, none[:, :1]),
    ):
        with pytest.raises(ValueError, match="expected .* samples"):
            call()


def test_class_labels_name_the_loss_to_pass():
    net, x = init((2, 3, 3), generator=0), data()
    labels = torch.arange(20) % 3
    for call in (
        lambda: reduce(net, x, labels, budget=0.1),
        lambda: polish(net, x, labels),
        lambda: certify(net, x, labels, after=split(net, 1, 0, 0.3)),
    ):
        with pytest.raises(ValueError, match="pass loss=cross_entropy"):
            call()
    done = reduce(net, x, labels, cross_entropy, budget=0.1)
    assert float(risk(done.net, x, labels, cross_entropy)) <= 0.1 + 1e-12 + float(
        risk(net, x, labels, cross_entropy)
    )


def test_operators_take_a_sequential_and_leave_it_alone():
    net, x = init((2, 3, 1), std=0.5, generator=1), data()
    y, module = torch.tanh(x[:, :1]), to_sequential(net)
    before = [p.detach().clone() for p in module.parameters()]
    ours, theirs = (
        certify(a, x, y, after=b)
        for a, b in ((net, split(net, 1, 0, 0.3)), (module, to_sequential(split(net, 1, 0, 0.3))))
    )
    assert str(ours) == str(theirs)
    assert float(polish(module, x, y).loss) == float(polish(net, x, y).loss)
    assert reduce(module, x, y, budget=0.1).steps == reduce(net, x, y, budget=0.1).steps
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))


def test_a_net_without_layers_to_merge_comes_back_or_is_refused_in_words():
    x, one = data(8, 3), nn.Sequential(nn.Linear(3, 2)).double().eval()
    assert float((merge_channels(one, x).net(x) - one(x)).detach().abs().max()) < 1e-15
    assert reduce(one, x, x[:, :2], budget=0.0).net[0].out_features == 2
    assert merge_layers(one, x).merged == ()
    with pytest.raises(ValueError, match="expected at least one layer"):
        merge_channels(nn.Sequential(nn.ReLU()).eval(), x)


def test_folding_that_changes_the_outputs_is_an_error(monkeypatch):
    def folds_wrongly(chain):
        with torch.no_grad():
            folded = fold_batchnorm(chain)
            folded.joint(1).bias.add_(1e-3)
        return folded

    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 2)).double()
    merge_channels(net.eval(), data())
    monkeypatch.setattr(channels, "fold_batchnorm", folds_wrongly)
    with pytest.raises(ValueError, match="the outputs changed by"):
        merge_channels(net, data())
