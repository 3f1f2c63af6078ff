"""Merging layers: the left inverse of lifting, least squares against numpy, and batch normalisation
folded away."""

import math

import numpy as np
import pytest
import torch
from draws import seeded
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib.depth import layer_on_data, lift
from lib.depth.pieces import affine_error
from lib.merge import fold_batchnorm, merge_layers
from lib.merge.batchnorm import as_mlp
from lib.nets import MLP, features, flatten, forward, init, to_sequential
from lib.nets.activations import leaky_relu

torch.set_num_threads(1)
PROPERTY = settings(max_examples=20, deadline=None, derandomize=True)


def inputs(n: int = 40, width: int = 3, seed: int = 0, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(n, width, generator=seeded(500 + seed), dtype=dtype)


def curved(widths, sigma, x, seed: int = 0) -> MLP:
    """A random net with no layer that is affine on x."""
    for attempt in range(100):
        net = init(widths, sigma, generator=seeded(1000 * seed + attempt))
        if all(
            (layer_on_data(net, x, i, flat=True).pieces == -1).any() for i in range(1, net.depth)
        ):
            return net
    raise AssertionError("no such net in 100 draws")


def nearly_linear(sigma="tanh", spread: float = 0.05) -> MLP:
    """3-6-5-2 whose second layer sees small pre-activations, so that it is nearly affine."""
    net = init((3, 6, 5, 2), sigma, generator=seeded(3))
    return MLP((net.weights[0], spread * net.weights[1], net.weights[2]), net.biases, sigma)


@PROPERTY
@given(
    seed=st.integers(0, 1000),
    sigma=st.sampled_from(["relu", leaky_relu(0.3), "elu"]),
    position=st.integers(0, 2),
)
def test_left_inverse_of_lifting(seed, sigma, position):
    x = inputs(seed=seed)
    net = curved((3, 4, 3, 2), sigma, x, seed)
    deep = lift(net, x, position, 5, generator=seeded(seed))
    done = merge_layers(deep, x)
    assert [m.layer for m in done.merged] == [position + 1] and done.merged[0].exact
    # a lift is a product with factors of condition <= 4 and shifts of the size of the data
    assert float((flatten(done.net) - flatten(net)).abs().max()) <= 1e-11
    assert done.change <= 1e-11


def test_two_lifts_are_undone_and_numbered_as_in_the_deep_net():
    x = inputs()
    net = curved((3, 4, 2), "relu", x)
    deep = lift(
        lift(net, x, 1, 5, generator=seeded(0)), x, 0, 4, generator=seeded(0)
    )  # 3-4-4-5-2: layers 1 and 3 are linearised
    done = merge_layers(deep, x)
    assert sorted(m.layer for m in done.merged) == [1, 3]
    assert float((flatten(done.net) - flatten(net)).abs().max()) <= 1e-11
    assert [e == 0 for e in done.errors] == [True, False, True]
    assert merge_layers(deep, x, layers=[3]).net.widths == (3, 4, 4, 2)


def test_dead_neurons_count_as_affine():
    net = init((3, 6, 2), "relu", generator=seeded(1))
    bias = torch.tensor(
        [50.0, 50, 50, -50, -50, -50], dtype=torch.float64
    )  # three always on, three always off
    net = MLP(net.weights, (bias, net.biases[1]), "relu")
    done = merge_layers(net, inputs())
    assert done.net.depth == 1 and done.merged[0].exact and done.change <= 1e-12


def test_affine_fit_matches_numpy_least_squares_and_the_linearisation_measure():
    net, x = nearly_linear(), inputs()
    done = merge_layers(net, x, 0.1, layers=[2])
    f, h = (t.numpy() for t in features(net, x)[1:3])
    design = np.column_stack([f, np.ones(len(f))])
    solution = np.linalg.lstsq(design, h, rcond=None)[0]
    merged = design @ solution @ net.weights[2].numpy().T + net.biases[2].numpy()
    assert not done.merged[0].exact
    assert np.abs(forward(done.net, x).numpy() - merged).max() <= 1e-12
    assert done.merged[0].error == pytest.approx(
        float(affine_error(torch.tensor(h), torch.tensor(f))), rel=1e-6
    )
    assert done.errors[1] == done.merged[0].error < 1e-3
    assert done.change == pytest.approx(
        float(np.linalg.norm(merged - forward(net, x).numpy(), axis=1).max())
    )


def test_neuron_fit_matches_numpy_regression_lines():
    net, x = nearly_linear(), inputs()
    done = merge_layers(net, x, 0.1, fit="neuron", layers=[2])
    z = features(net, x)[1].numpy() @ net.weights[1].numpy().T + net.biases[1].numpy()
    h = np.stack(
        [np.polyval(np.polyfit(z[:, j], np.tanh(z[:, j]), 1), z[:, j]) for j in range(5)], 1
    )
    expected = h @ net.weights[2].numpy().T + net.biases[2].numpy()
    assert np.abs(forward(done.net, x).numpy() - expected).max() <= 1e-12
    rest = ((np.tanh(z) - h) ** 2).sum() / ((np.tanh(z) - np.tanh(z).mean(0)) ** 2).sum()
    assert done.merged[0].error == pytest.approx(rest, rel=1e-9)
    # The fit of an affine map on all inputs contains that of a line a neuron.
    assert merge_layers(net, x, 0.1, layers=[2]).merged[0].error <= done.merged[0].error


def test_error_shrinks_with_the_square_of_the_spread():
    x = inputs()
    small, large = (merge_layers(nearly_linear(spread=s), x).errors[1] for s in (0.005, 0.05))
    # tanh t = t0 + s (t - t0) - c (t - t0)^2 + ...: the unexplained share of variance is
    # O(spread^2)
    assert 50 < large / small < 200


def test_a_layer_that_is_constant_on_the_data_has_no_error():
    for seed in range(5):
        x = torch.full((1, 2), 0.3 + seed, dtype=torch.float64)
        found = merge_layers(init((2, 3, 3, 1), generator=seeded(seed)), x, 0.5, fit="neuron")
        assert max(found.errors) < 1e-300
        assert found.net.depth == 1
        assert found.change < 1e-12


def test_zero_tolerance_merges_nothing_that_is_only_nearly_affine():
    done = merge_layers(nearly_linear(), inputs())
    assert done.merged == () and done.change == 0 and 0 < done.errors[1] < 1e-2


def test_a_missing_output_bias_appears_when_the_merge_needs_it():
    x = inputs()
    net = curved((3, 4, 2), "relu", x)
    shift = torch.full((4,), 9.0, dtype=torch.float64)
    inserted = torch.eye(4, dtype=torch.float64)
    deep = MLP((net.weights[0], inserted, net.weights[1]), (net.biases[0], shift, None), "relu")
    done = merge_layers(deep, x)
    assert done.change <= 1e-12 and done.net.widths == (3, 4, 2)
    assert float((done.net.biases[1] - net.weights[1] @ shift).abs().max()) <= 1e-13
    again = merge_layers(nearly_linear(), x, 0.1, layers=[2])
    assert again.net.biases[1] is not None


@pytest.mark.parametrize("with_flatten", [False, True])
def test_sequential_with_batch_normalisation(with_flatten):
    torch.manual_seed(0)
    x = inputs(60)
    deep = lift(curved((3, 4, 2), "relu", x), x, 1, 5, generator=seeded(0))
    one, two, three = (m for m in to_sequential(deep) if isinstance(m, nn.Linear))
    norm = nn.BatchNorm1d(5, dtype=torch.float64)
    with torch.no_grad():  # a normalisation that is the identity, written in awkward numbers
        norm.running_mean.copy_(torch.linspace(-1, 1, 5))
        norm.running_var.copy_(torch.linspace(0.5, 2, 5))
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())
        norm.bias.copy_(norm.running_mean)
    module = nn.Sequential(
        one, nn.ReLU(), nn.Sequential(two, norm), nn.ReLU(), nn.Dropout(0.5), three
    ).eval()
    if with_flatten:
        module = nn.Sequential(nn.Flatten(), *module).eval()
    data = x.reshape(60, 3, 1) if with_flatten else x
    done = merge_layers(module, data)
    assert [m.layer for m in done.merged] == [2]
    assert [type(m).__name__ for m in done.net] == ["Flatten"] * with_flatten + [
        "Linear",
        "ReLU",
        "Linear",
    ]
    assert float((done.net(data) - module(data)).detach().abs().max()) <= 1e-11


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_folding_changes_no_output(affine, bias):
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.BatchNorm1d(4, affine=affine), nn.Linear(4, 5, bias=bias), nn.BatchNorm1d(5, affine=affine), nn.Tanh(),  # noqa: E501
        nn.BatchNorm1d(5, affine=affine), nn.Linear(5, 2, bias=bias), nn.BatchNorm1d(2, affine=affine),  # noqa: E501
    ).double()  # fmt: skip
    x = 3 + 2 * torch.randn(50, 4, generator=seeded(1), dtype=torch.float64)
    with torch.no_grad():
        for _ in range(3):
            net(x)  # running statistics that are neither 0 nor 1
    folded = fold_batchnorm(net.eval())
    assert [type(m).__name__ for m in folded] == ["Linear", "Tanh", "Linear"]
    assert float((folded(x) - net(x)).detach().abs().max()) <= 1e-12
    assert sum(isinstance(m, nn.BatchNorm1d) for m in net) == 4  # the net itself is untouched


def test_folding_after_a_convolution():
    torch.manual_seed(2)
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten()
    ).double()
    x = torch.randn(4, 2, 5, 5, generator=seeded(2), dtype=torch.float64)
    with torch.no_grad():
        net(1 + x)
    net.eval()
    assert float((fold_batchnorm(net)(x) - net(x)).detach().abs().max()) <= 1e-13


def test_bad_modules_are_refused():
    with pytest.raises(ValueError, match="training mode"):
        fold_batchnorm(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    with pytest.raises(ValueError, match=r"Dropout is active.*call .eval\(\)"):
        fold_batchnorm(nn.Sequential(nn.Linear(2, 2), nn.Dropout()))
    with pytest.raises(TypeError, match="expected a plain nn.Sequential"):
        fold_batchnorm(nn.Linear(2, 2))
    with pytest.raises(TypeError, match=r"layer 2 \(Conv2d\) follows a normalisation"):
        fold_batchnorm(
            nn.Sequential(
                nn.Conv2d(1, 2, 3), nn.ReLU(), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 3)
            ).eval()
        )
    with pytest.raises(TypeError, match="a normalisation behind layer 1 follows no layer"):
        fold_batchnorm(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.BatchNorm1d(2)).eval())
    with pytest.raises(TypeError, match="a normalisation behind layer 0 follows no layer"):
        fold_batchnorm(nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2), nn.Linear(2, 2)).eval())
    with pytest.raises(ValueError, match="keeps no running statistics"):
        fold_batchnorm(
            nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False)).eval()
        )
    with pytest.raises(TypeError, match="normalisation of 2 features precedes layer 1 of 8 inputs"):
        fold_batchnorm(nn.Sequential(nn.BatchNorm2d(2), nn.Linear(8, 2)).eval())
    with pytest.raises(TypeError, match="expected Linear"):
        as_mlp(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Linear(2, 2)).eval())


def test_bad_requests_are_refused():
    net, x = nearly_linear(), inputs()
    with pytest.raises(ValueError, match="is a batch of nets"):
        merge_layers(init((3, 4, 2), batch=(2,), generator=0), x)
    with pytest.raises(ValueError, match="tolerance is 2"):
        merge_layers(net, x, 2)
    with pytest.raises(ValueError, match="tolerance is nan"):
        merge_layers(net, x, math.nan)
    with pytest.raises(ValueError, match="fit 'cubic' is unknown"):
        merge_layers(net, x, fit="cubic")
    with pytest.raises(ValueError, match=r"layer 3 outside 1..2"):
        merge_layers(net, x, layers=[3])
    with pytest.raises(ValueError, match="7 samples cannot tell an affine map of 6 inputs"):
        merge_layers(net, x[:7], 0.1, layers=[2])
    assert merge_layers(net, x[:7], 0.1, fit="neuron", layers=[2]).merged
