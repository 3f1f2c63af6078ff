"""Merging neurons: the left inverse of every embedding in width, and the bound on what an
approximate merge costs."""

import math

import pytest
import torch
from draws import seeded
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.merge import merge_neurons
from lib.merge.rows import Likeness, lipschitz, plan_merge
from lib.nets import MLP, Activation, flatten, forward, init
from lib.nets.activations import leaky_relu
from lib.width import null_embed, split

torch.set_num_threads(1)
PROPERTY = settings(max_examples=20, deadline=None, derandomize=True)
HOMOGENEOUS = ("relu", leaky_relu(0.3), "identity")
OTHER = ("tanh", "sigmoid", "elu")
# One merge adds at most a few products to a parameter of size 1: rounding stays within some tens of
# eps = 2e-16.
ROUNDING = 1e-14


def gap(a: MLP, b: MLP) -> float:
    """Largest difference of a parameter; inf for different shapes."""
    return float((flatten(a) - flatten(b)).abs().max()) if a.widths == b.widths else math.inf


def rescale(net: MLP, layer: int, neuron: int, factor: float) -> MLP:
    """An oracle of our own: input weights times factor, output weights divided by it."""
    weights, biases = (
        [w.clone() for w in net.weights],
        [None if b is None else b.clone() for b in net.biases],
    )
    weights[layer - 1][neuron] *= factor
    weights[layer][:, neuron] /= factor
    if biases[layer - 1] is not None:
        biases[layer - 1][neuron] *= factor
    return MLP(weights, biases, net.activation)


def inputs(n: int = 40, width: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, width, generator=seeded(500 + seed), dtype=torch.float64)


@PROPERTY
@given(
    seed=st.integers(0, 10**6),
    sigma=st.sampled_from(HOMOGENEOUS + OTHER),
    layer=st.integers(1, 2),
    neuron=st.integers(0, 2),
    alpha=st.floats(-3, 3).filter(lambda a: min(abs(a), abs(1 - a)) > 1e-3),
    output_bias=st.booleans(),
)
def test_left_inverse_of_splitting(seed, sigma, layer, neuron, alpha, output_bias):
    net = init((3, 4, 3, 2), sigma, output_bias=output_bias, generator=seeded(seed))
    wide = split(split(net, layer, neuron, alpha), layer, neuron, alpha)
    # (1 - alpha)^2 + 2 alpha (1 - alpha) + ... cancels terms of size alpha^2 <= 16
    assert gap(merge_neurons(wide, cosine=1.0).net, net) <= 30 * ROUNDING


@pytest.mark.parametrize("sigma", HOMOGENEOUS + OTHER)
def test_left_inverse_of_splitting_every_neuron_of_every_layer(sigma):
    net = init((3, 4, 3, 2), sigma, generator=seeded(1))
    wide = net
    for layer, width in ((1, 4), (2, 3)):
        for neuron in range(width):
            wide = split(wide, layer, neuron, 0.3)
    done = merge_neurons(wide, cosine=1.0, x=inputs())
    assert gap(done.net, net) <= ROUNDING
    assert done.layers[0].groups == tuple((i, i + 4) for i in range(4))  # the share 0.7 leads
    assert done.found <= 1e-13  # rounding of outputs of size 10


@pytest.mark.parametrize("sigma", ("relu", "tanh"))
def test_a_copy_that_took_all_output_weights_stands_in_for_the_original(sigma):
    net = init((3, 4, 2), sigma, generator=seeded(2))
    found = merge_neurons(split(net, 1, 1, 1.0), cosine=1.0)
    order = torch.tensor([0, 2, 3, 1])  # neuron 1 now is where the copy was: last
    permuted = MLP(
        (net.weights[0][order], net.weights[1][:, order]),
        (net.biases[0][order], net.biases[1]),
        net.activation,
    )
    assert gap(found.net, permuted) == 0
    assert found.layers[0].dropped == (1,)


@PROPERTY
@given(
    seed=st.integers(0, 10**6),
    sigma=st.sampled_from(HOMOGENEOUS + OTHER),
    layer=st.integers(1, 2),
    bias=st.floats(-3, 3),
)
def test_left_inverse_of_null_embedding(seed, sigma, layer, bias):
    net = init((3, 4, 3, 2), sigma, generator=seeded(seed))
    done = merge_neurons(null_embed(net, layer, bias), cosine=1.0)
    assert gap(done.net, net) == 0
    assert done.layers[layer - 1].dropped == (net.widths[layer],)


@PROPERTY
@given(
    seed=st.integers(0, 10**6),
    sigma=st.sampled_from(HOMOGENEOUS),
    layer=st.integers(1, 2),
    alpha=st.floats(0.01, 0.99),
    factor=st.floats(1e-3, 1e3),
)
def test_left_inverse_of_homogeneous_rescaling_of_a_copy(seed, sigma, layer, alpha, factor):
    net = init((3, 4, 3, 2), sigma, generator=seeded(seed))
    wide = rescale(split(net, layer, 1, alpha), layer, net.widths[layer], factor)
    assert gap(merge_neurons(wide, cosine=1.0).net, net) <= ROUNDING * 10


@PROPERTY
@given(seed=st.integers(0, 10**6), sigma=st.sampled_from(HOMOGENEOUS + OTHER))
def test_a_net_without_redundancy_is_left_alone_and_merging_twice_is_merging_once(seed, sigma):
    net = init((3, 4, 3, 2), sigma, generator=seeded(seed))
    assert gap(merge_neurons(net, cosine=1.0).net, net) == 0
    once = merge_neurons(split(null_embed(net, 1, 0.5), 2, 0, 0.4), cosine=1.0).net
    assert gap(merge_neurons(once, cosine=1.0).net, once) == 0


@pytest.mark.parametrize("sigma", HOMOGENEOUS + OTHER)
def test_constant_neurons_join_the_next_bias(sigma):
    net = init((3, 4, 2), sigma, generator=seeded(3))
    weight, bias = net.weights[0].clone(), net.biases[0].clone()
    weight[1] = 0
    bias[1] = 0.7
    net = MLP((weight, net.weights[1]), (bias, net.biases[1]), sigma)
    done = merge_neurons(net, cosine=1.0, x=inputs())
    assert done.layers[0].folded == (1,) and done.net.widths == (3, 3, 2)
    expected = net.biases[1] + net.weights[1][:, 1] * net.activation.value(
        torch.tensor(0.7, dtype=torch.float64)
    )
    assert float((done.net.biases[1] - expected).abs().max()) < ROUNDING
    assert done.found <= 1e-14


@pytest.mark.parametrize("sigma", HOMOGENEOUS + OTHER)
def test_without_a_next_bias_one_constant_neuron_stays(sigma):
    net = init((3, 5, 2), sigma, output_bias=False, generator=seeded(4))
    weight, bias = net.weights[0].clone(), net.biases[0].clone()
    weight[1], weight[3] = 0, 0
    bias[1], bias[3] = 0.7, 1.9
    net = MLP((weight, net.weights[1]), (bias, None), sigma)
    done = merge_neurons(net, cosine=1.0, x=inputs())
    assert done.net.widths == (3, 4, 2) and done.net.biases[1] is None
    assert any(sorted(g) == [1, 3] for g in done.layers[0].groups)
    assert done.found <= 1e-14


def test_dead_constants_and_zero_rows_leave_no_trace():
    weight = torch.tensor([[1.0, 2.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    bias = torch.tensor([0.5, -1.0, 0.0, 2.0], dtype=torch.float64)
    net = MLP(
        (weight, torch.ones(1, 4, dtype=torch.float64)),
        (bias, torch.zeros(1, dtype=torch.float64)),
        "relu",
    )
    done = merge_neurons(net)
    assert done.layers[0].dropped == (1, 2) and done.layers[0].folded == (
        3,
    )  # relu(-1) = relu(0) = 0, relu(2) = 2
    assert done.net.widths == (2, 1, 1) and float(done.net.biases[1]) == 2.0


def test_neurons_that_only_fed_removed_neurons_go_too():
    net = init((2, 3, 2, 1), "relu", generator=seeded(5))
    middle, last = net.weights[1].clone(), net.weights[2].clone()
    last[:, 1] = 0  # neuron 1 of layer 2 writes nothing ...
    middle[0, 2] = 0  # ... and it alone read neuron 2 of layer 1
    net = MLP((net.weights[0], middle, last), net.biases, "relu")
    done = merge_neurons(net, cosine=1.0, x=inputs(width=2))
    assert done.net.widths == (2, 2, 1, 1) and done.found <= 1e-15
    assert (
        done.layers[0].dropped == (2,)
        and done.layers[0].groups == ((0,), (1,))
        and done.layers[1].dropped == (1,)
    )


def test_a_silent_layer_keeps_one_null_neuron_and_so_do_the_layers_before_it():
    net = init((2, 3, 2, 1), "relu", generator=seeded(6))
    net = MLP(
        (net.weights[0], net.weights[1], torch.zeros(1, 2, dtype=torch.float64)), net.biases, "relu"
    )
    done = merge_neurons(net, x=inputs(width=2))
    assert done.net.widths == (2, 1, 1, 1) and done.found == 0


@PROPERTY
@given(
    seed=st.integers(0, 10**6),
    sigma=st.sampled_from(HOMOGENEOUS),
    cosine=st.floats(0.3, 0.99),
    amplitude=st.floats(0, 0.4),
    rule=st.sampled_from(("complete", "leader", "connected")),
)
def test_found_output_change_is_within_the_predicted_one(seed, sigma, cosine, amplitude, rule):
    net = init((3, 12, 8, 2), sigma, generator=seeded(seed))
    done = merge_neurons(net, cosine, amplitude, rule=rule, x=inputs(seed=seed % 7))
    assert done.found <= done.predicted + 1e-12
    assert done.found == pytest.approx(
        float(
            (forward(done.net, inputs(seed=seed % 7)) - forward(net, inputs(seed=seed % 7)))
            .norm(dim=-1)
            .max()
        )
    )


@PROPERTY
@given(
    seed=st.integers(0, 10**6),
    sigma=st.sampled_from(OTHER),
    tolerance=st.floats(0.01, 0.5),
    amplitude=st.floats(0, 0.4),
    output_bias=st.booleans(),
)
def test_bound_holds_for_activations_that_are_not_homogeneous(
    seed, sigma, tolerance, amplitude, output_bias
):
    net = init((3, 12, 8, 2), sigma, std=0.4, output_bias=output_bias, generator=seeded(seed))
    done = merge_neurons(net, amplitude=amplitude, tolerance=tolerance, x=inputs())
    assert done.found <= done.predicted + 1e-12


def test_bound_is_attained_by_one_removed_linear_neuron():
    # f(x) = 3x + 0.1 * x: dropping the small neuron changes f by 0.1 |x|, and the bound is 0.1 |(x,
    # 1)| with b = 0.
    net = MLP((torch.tensor([[1.0], [1e-3]]), torch.tensor([[3.0, 100.0]])), activation="identity")
    done = merge_neurons(net, cosine=1.0, amplitude=0.05, x=torch.tensor([[2.0]]))
    assert done.layers[0].groups == ((0,),)
    assert done.predicted == pytest.approx(0.2) and done.found == pytest.approx(0.2, rel=1e-5)


def test_printed_formula_on_a_group_of_three():
    # a_j <- sum_k a_k |w_k| / |w_j| (Zhang et al. 2021), for the most central member j, here number
    # 0 at its own norm
    w = torch.tensor([[3.0, 0.0], [1.0, 0.1], [2.0, -0.1]], dtype=torch.float64)
    a = torch.tensor([[2.0, -1.0, 0.5]], dtype=torch.float64)
    net = MLP((w, a), activation="relu")
    found = merge_neurons(net, representative="medoid").net
    r = w.norm(dim=1)
    assert float((found.weights[0] - w[:1]).abs().max()) <= ROUNDING
    assert float(found.weights[1]) == pytest.approx(float((a[0] * r / r[0]).sum()), abs=ROUNDING)


def test_low_amplitude_neurons_go():
    net = init((3, 6, 2), "relu", generator=seeded(8))
    scale = torch.tensor([1.0, 1e-4, 1.0, 1.0, 1e-4, 1.0], dtype=torch.float64)
    net = MLP(
        (net.weights[0] * scale[:, None], net.weights[1]),
        (net.biases[0] * scale, net.biases[1]),
        "relu",
    )
    done = merge_neurons(net, cosine=1.0, amplitude=0.01)
    assert done.layers[0].dropped == (1, 4) and done.net.widths == (3, 4, 2)
    assert merge_neurons(net, cosine=1.0).layers[0].dropped == ()


def test_duplicates_of_a_smooth_net_within_the_tolerance_only():
    net = split(init((3, 4, 2), "tanh", generator=seeded(9)), 1, 0, 0.4)
    weight = net.weights[0].clone()
    weight[4] += 1e-6
    net = MLP((weight, net.weights[1]), net.biases, "tanh")
    assert merge_neurons(net).net.widths == (3, 5, 2)
    done = merge_neurons(net, tolerance=2e-6, x=inputs())
    assert done.net.widths == (3, 4, 2) and done.found <= done.predicted < 1e-4


def test_single_precision_copies_of_both_kinds_are_found():
    for sigma in ("relu", "tanh"):
        net = init((30, 5, 4, 2), sigma, generator=seeded(10), dtype=torch.float32)
        wide = split(split(net, 1, 2, 0.3), 2, 1, 0.6)
        done = merge_neurons(wide, cosine=1.0)
        assert done.net.widths == net.widths
        assert gap(done.net, net) <= 1e-6  # a few eps = 1.2e-7 of parameters of size 3


def test_bound_is_infinite_for_an_activation_of_unknown_slope():
    square = Activation(
        "relu2",
        lambda t: t.relu() ** 2,
        lambda t: 2 * t.relu(),
        lambda t: 2 * (t > 0).to(t.dtype),
        degree=2,
    )
    assert math.isinf(lipschitz(square)) and lipschitz(leaky_relu(-3.0)) == 3.0
    net = init((3, 4, 2), square, generator=seeded(12))
    wide = rescale(net, 1, 0, 1.0)
    assert gap(merge_neurons(split(wide, 1, 0, 0.3), cosine=1.0).net, net) <= ROUNDING
    # degree 2: input weights times beta go with output weights over beta^2
    weight, out = wide.weights[0].clone(), wide.weights[1].clone()
    weight = torch.cat([weight, 3 * weight[:1]])
    out = torch.cat([out, 0.5 * out[:, :1] / 9], 1)
    out[:, 0] *= 0.5
    bias = torch.cat([wide.biases[0], 3 * wide.biases[0][:1]])
    assert (
        gap(merge_neurons(MLP((weight, out), (bias, wide.biases[1]), square), cosine=1.0).net, net)
        <= ROUNDING
    )


def test_bad_input_is_refused():
    net = init((3, 4, 2), "relu", generator=0)
    with pytest.raises(ValueError, match="is a batch of nets"):
        merge_neurons(init((3, 4, 2), "relu", batch=(2,), generator=0))
    with pytest.raises(ValueError, match="amplitude is 1"):
        merge_neurons(net, amplitude=1)
    with pytest.raises(ValueError, match="tolerance is -1"):
        merge_neurons(net, tolerance=-1)
    with pytest.raises(ValueError, match="representative 'best' is unknown"):
        merge_neurons(net, representative="best")
    with pytest.raises(ValueError, match="cosine is 2"):
        merge_neurons(net, cosine=2)
    with pytest.raises(ValueError, match="input weights and biases hold inf or nan"):
        merge_neurons(net.map(lambda p: p / 0))
    with pytest.raises(ValueError, match="output weights hold inf or nan"):
        plan_merge(torch.ones(1, 2), torch.tensor([[math.nan]]), net.activation, Likeness())


def condensed(seed: int = 0, per_group: int = 8) -> MLP:
    """A 6-(5 groups)-2 ReLU net whose neurons scatter around five directions."""
    g = seeded(seed)
    centres = torch.randn(5, 7, generator=g, dtype=torch.float64)
    v = centres.repeat_interleave(per_group, 0)
    v = v / v.norm(dim=1, keepdim=True) + 0.03 * torch.randn(
        len(v), 7, generator=g, dtype=torch.float64
    )
    v = v * (0.5 + torch.rand(len(v), 1, generator=g, dtype=torch.float64))
    out = torch.randn(2, 5, generator=g, dtype=torch.float64).repeat_interleave(per_group, 1)
    return MLP((v[:, :-1], out), (v[:, -1], torch.zeros(2, dtype=torch.float64)), "relu")


def test_the_mean_direction_costs_least_and_a_random_member_most():
    x = inputs(200, 6)
    change = {}
    for how in ("mean", "medoid", "random"):
        runs = [
            merge_neurons(condensed(s), 0.9, representative=how, generator=seeded(s), x=x)
            for s in range(5)
        ]
        assert all(r.net.widths == (6, 5, 2) and r.found <= r.predicted for r in runs)
        change[how] = sum(r.found for r in runs)
    # eight independent deviations average out in the mean, by up to sqrt(8)
    assert change["mean"] < 0.7 * change["medoid"] < change["medoid"] < change["random"]


def test_mean_direction_is_the_amplitude_weighted_one():
    net = condensed()
    group = merge_neurons(net, 0.9).layers[0].groups[0]
    v = torch.cat([net.weights[0], net.biases[0][:, None]], 1)[list(group)]
    size = v.norm(dim=1) * net.weights[1][:, list(group)].norm(dim=0)
    mean = sum(s * u / u.norm() for s, u in zip(size, v, strict=True))
    found = merge_neurons(net, 0.9).net
    row = torch.cat([found.weights[0][0], found.biases[0][:1]])
    assert float((row / row.norm() - mean / mean.norm()).abs().max()) <= ROUNDING
    assert float(row.norm()) == pytest.approx(float(v[group.index(min(group))].norm()))


def test_a_random_representative_is_a_member_and_follows_its_generator():
    net = condensed()
    rows = torch.cat([net.weights[0], net.biases[0][:, None]], 1)
    units = rows / rows.norm(dim=1, keepdim=True)
    first, again, other = (
        merge_neurons(net, 0.9, representative="random", generator=seeded(s)).net.weights[0]
        for s in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    done = merge_neurons(net, 0.9, representative="random", generator=seeded(1))
    kept = torch.cat([done.net.weights[0], done.net.biases[0][:, None]], 1)
    nearest = (kept / kept.norm(dim=1, keepdim=True) @ units.T).amax(1)
    assert float((nearest - 1).abs().max()) <= ROUNDING


def test_opposite_members_have_no_mean_and_follow_the_leader():
    net = MLP((torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0, 1.0]])), activation="relu")
    assert float(merge_neurons(net, -1.0).net.weights[0]) == 1.0
