"""Splitting channels keeps outputs and critical points of convolutional nets (Zhang et al. 2021,
App. A.1)."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parameters_to_vector

from lib.certificate.modules import certify_modules, module_gradient
from lib.critical import plant
from lib.nets import flatten, init, to_sequential
from lib.width import merge_channel, split, split_channel

few = settings(max_examples=25, deadline=None, derandomize=True)
WHERE = {1: 3, 2: 2, 3: 4}  # a hidden layer of `convolutional`, and its channels


def convolutional(training: bool, activation=nn.Tanh, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, stride=2, bias=False),
        nn.BatchNorm2d(3),
        activation(),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 2, 2),
        activation(),
        nn.BatchNorm2d(2, affine=False),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(8, 4),
        nn.BatchNorm1d(4),
        activation(),
        nn.Linear(4, 2),
    ).double()
    for p in net.parameters():  # BatchNorm starts at scale 1 and shift 0 otherwise
        p.data += 0.3 * torch.randn_like(p)
    net(torch.randn(16, 2, 9, 9).double())  # running statistics
    return net.train(training)


def data(n=6, seed=1):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, 9, 9, generator=g).double(), torch.randn(n, 2, generator=g).double()


@few
@given(
    st.sampled_from(sorted(WHERE)),
    st.integers(0, 3),
    st.floats(-4, 5),
    st.booleans(),
    st.sampled_from([nn.Tanh, nn.ReLU]),
)
def test_output_is_preserved_on_and_off_the_sample(layer, channel, alpha, training, activation):
    net = convolutional(training, activation)
    x, y = data()
    wide = split_channel(net, layer, channel % WHERE[layer], alpha)
    found = certify_modules(net, wide, x, y, off_sample=50 * data(4, 2)[0], curvature=False)
    assert wide.training == training
    assert float(found.output_gap) < 1e-13 * (1 + abs(alpha))
    assert float(found.off_sample_gap) < 1e-11 * (1 + abs(alpha))


@few
@given(st.sampled_from(sorted(WHERE)), st.integers(0, 3), st.floats(-4, 5), st.booleans())
def test_gradient_transport(layer, channel, alpha, training):
    """Rows of the source and its BatchNorm share 1 - alpha to alpha; new reading weights get their
    copy's gradient."""
    net, (x, y) = convolutional(training), data()
    channel %= WHERE[layer]
    grads = []
    for module in (net, split_channel(net, layer, channel, alpha)):
        module = copy.deepcopy(module)
        ((module(x) - y) ** 2).mean().backward()
        grads.append({name: p.grad for name, p in module.named_parameters()})
    before, after = grads
    readers = {1: "4.weight", 2: "9.weight", 3: "12.weight"}
    sources = {
        1: ("0.weight", "1.weight", "1.bias"),
        2: ("4.weight", "4.bias"),
        3: ("9.weight", "9.bias", "10.weight", "10.bias"),
    }
    for name, expected in before.items():
        if name in sources[layer]:
            expected = torch.cat([expected, alpha * expected[channel : channel + 1]])
            expected[channel] *= 1 - alpha
        if name == readers[layer]:
            pixels = expected.shape[1] // WHERE[layer]
            columns = slice(channel * pixels, (channel + 1) * pixels)
            expected = torch.cat([expected, expected[:, columns]], 1)
        torch.testing.assert_close(after[name], expected, rtol=1e-9, atol=1e-12 * (1 + abs(alpha)))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("alpha", [-0.7, 0.5, 3.0])
def test_claim_a15_criticality_with_batch_norm(training, alpha):
    """Batch statistics of a copy are those of the original, so BatchNorm in training mode is no
    obstacle."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3, stride=2),
        nn.BatchNorm2d(2),
        nn.Tanh(),
        nn.Conv2d(2, 2, 2),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(8, 1),
    ).double()
    net.train(training)
    x = torch.randn(70, 1, 7, 7).double()
    y = plant(net, x, torch.Generator().manual_seed(0), residual=0.1)
    for layer in (1, 2):
        found = certify_modules(net, split_channel(net, layer, 1, alpha), x, y)
        assert float(found.gradient_before) < 1e-13
        assert float(found.gradient_after) < 1e-12
        assert bool(found.inertia_kept)
        assert int(found.inertia_after.zero) > int(found.inertia_before.zero)


def test_one_alpha_for_all_kernels_is_needed():
    """Shares that differ between the reading kernels keep the function but not criticality."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 1, 2), nn.Tanh(), nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(2, 1)
    ).double()
    x = torch.randn(40, 1, 3, 3).double()
    y = plant(net, x, torch.Generator().manual_seed(0))
    wide = split_channel(net, 1, 0, 0.5)
    uneven = copy.deepcopy(wide)
    with torch.no_grad():
        uneven[2].weight[0, 0] *= 0.2 / 0.5
        uneven[2].weight[0, 1] *= 0.8 / 0.5
    norms = [float(module_gradient(m, x, y).abs().sum()) for m in (net, wide, uneven)]
    torch.testing.assert_close(uneven(x), net(x))
    assert max(norms[:2]) < 1e-12
    assert norms[2] > 1e-6


def test_flatten_lays_the_pixels_of_a_channel_side_by_side_in_loops():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 6, 3)).double()
    wide = split_channel(net, 1, 0, 0.25)
    old, new = net[3].weight.detach().numpy(), wide[3].weight.detach().numpy()
    expected = np.zeros((3, 18))
    for o in range(3):
        for pixel in range(6):
            expected[o, pixel] = 0.75 * old[o, pixel]
            expected[o, 6 + pixel] = old[o, 6 + pixel]
            expected[o, 12 + pixel] = 0.25 * old[o, pixel]
    np.testing.assert_array_equal(new, expected)
    assert (wide[3].in_features, wide[0].out_channels) == (18, 3)
    assert torch.equal(wide[0].weight[2], net[0].weight[0])


def test_linear_nets_are_split_as_mlps_are():
    net = init((2, 3, 2, 1), "elu", generator=0)
    wide = split_channel(to_sequential(net), 2, 1, -0.4)
    assert torch.equal(
        parameters_to_vector(wide.parameters()).detach(), flatten(split(net, 2, 1, -0.4))
    )


@few
@given(st.sampled_from(sorted(WHERE)), st.integers(0, 3), st.floats(-4, 5))
def test_merge_channel_is_a_left_inverse(layer, channel, alpha):
    net = convolutional(False)
    channel %= WHERE[layer]
    back = merge_channel(split_channel(net, layer, channel, alpha), layer, channel)
    assert repr(back) == repr(net)
    for (name, a), (_, b) in zip(back.state_dict().items(), net.state_dict().items(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-15 * (2 + 2 * abs(alpha)), atol=0, msg=name)


def test_the_net_is_left_alone_and_the_result_is_a_plain_trainable_module():
    net = convolutional(True)
    net[0].weight.requires_grad_(False)
    before = copy.deepcopy(net.state_dict())
    wide = split_channel(net, 1, 1, 0.5)
    assert not wide[0].weight.requires_grad
    assert wide[4].weight.requires_grad
    assert wide[1].num_features == len(wide[1].running_mean) == 4
    optimiser = torch.optim.SGD([p for p in wide.parameters() if p.requires_grad], lr=0.1)
    ((wide(data()[0]) - data()[1]) ** 2).mean().backward()
    optimiser.step()
    for name, t in net.state_dict().items():
        assert torch.equal(t, before[name]), name
    assert (
        split_channel(nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 1)), 1, 0, 0.5)[
            0
        ].weight.dtype
        == torch.float32
    )


def conv(*layers):
    return nn.Sequential(nn.Conv2d(1, 4, 2), *layers, nn.Conv2d(4, 4, 2))


class Skip(nn.Sequential):
    pass


def hooked():
    net = conv()
    net[0].register_forward_hook(lambda *_: None)
    return net


def tied():
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1))
    net[1].weight = net[0].weight
    return net


def split_first(net, channel=0, alpha=0.5):
    return lambda: split_channel(net, 1, channel, alpha)


def normed():
    return nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 1, 1))


def two(*between):
    return nn.Sequential(nn.Conv2d(1, 2, 1), *between)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (split_first(conv(nn.GroupNorm(2, 4))), TypeError, "GroupNorm between layers 1 and 2: cop"),
        (split_first(conv(nn.InstanceNorm2d(4))), TypeError, "InstanceNorm2d between layers 1"),
        (split_first(conv(nn.LocalResponseNorm(2))), TypeError, "LocalResponseNorm between layers"),
        (split_first(conv(nn.Softmax(1))), TypeError, "Softmax between layers 1"),
        (split_first(conv(nn.PReLU(3))), ValueError, "PReLU of 3 entries between layers 1 and 2"),
        (split_first(conv(nn.BatchNorm2d(8))), ValueError, "BatchNorm2d of 8 entries between"),
        (split_first(conv(nn.Conv2d(4, 4, 1, groups=2))), TypeError, "layer 2 .* with 2 groups"),
        (
            split_first(nn.Sequential(nn.Conv2d(2, 2, 1, groups=2), nn.Conv2d(2, 1, 1))),
            TypeError,
            "layer 1 is a Conv2d with 2 groups.*expected groups=1",
        ),
        (split_first(conv(nn.Dropout(0.2))), ValueError, r"Dropout is active.*call .eval\(\)"),
        (split_first(conv(nn.AlphaDropout(0.2))), ValueError, "AlphaDropout is active"),
        (split_first(conv(nn.RReLU())), ValueError, "RReLU is active"),
        (split_first(conv(nn.Flatten(2))), TypeError, "expected start_dim=1, end_dim=-1"),
        (split_first(conv(nn.Flatten())), TypeError, "layer 2 is Conv2d: expected Linear"),
        (
            split_first(two(nn.Linear(2, 2))),
            TypeError,
            "layer 2 is Linear: expected Conv2d, or a Flatten before it",
        ),
        (
            split_first(two(nn.Conv2d(4, 2, 1))),
            ValueError,
            "layer 2 reads 4 inputs, layer 1 makes 2 channels",
        ),
        (
            split_first(two(nn.Flatten(), nn.BatchNorm1d(7), nn.Linear(8, 2))),
            ValueError,
            "BatchNorm1d of 7 entries",
        ),
        (split_first(two(nn.Conv1d(2, 1, 1))), TypeError, r"not understood: 1 \(Conv1d\)"),
        (lambda: split_channel(conv(), 2, 0, 0.5), ValueError, r"layer 2 outside 1\.\.1"),
        (lambda: split_channel(conv(), 0, 0, 0.5), ValueError, r"layer 0 outside 1\.\.1"),
        (lambda: split_channel(conv(), True, 0, 0.5), TypeError, "layer is True: expected an int"),
        (split_first(nn.Sequential(nn.Linear(1, 1))), ValueError, "has no hidden layer"),
        (split_first(nn.Sequential(nn.ReLU())), ValueError, "neither Linear nor Conv2d"),
        (split_first(conv(), 4), ValueError, r"channel 4 outside 0\.\.3 of layer 1"),
        (split_first(conv(), 1.0), TypeError, "channel is 1.0: expected an int"),
        (split_first(conv(), 0, math.nan), ValueError, "alpha is nan: expected a finite number"),
        (split_first(conv(), 0, "x"), TypeError, "alpha is 'x': expected a number"),
        (split_first(nn.Conv2d(1, 1, 1)), TypeError, "net is Conv2d: expected a plain nn.Sequent"),
        (split_first(Skip(*conv())), TypeError, "net is Skip: expected a plain nn.Sequential"),
        (split_first(conv(Skip(nn.ReLU()))), TypeError, r"not understood: 1 \(Skip\)"),
        (split_first(hooked()), TypeError, "module 0 has hooks, parametrizations or a forward"),
        (split_first(nn.Sequential(normed(), *conv())), TypeError, "module 0 has hooks, parametri"),
        (split_first(tied()), ValueError, "weight of module 1 is also weight of module 0"),
        (
            lambda: merge_channel(conv(), 1, 0),
            ValueError,
            "channels 0 and 3 of layer 1 differ in w",
        ),
        (lambda: merge_channel(conv(), 1, 3), ValueError, "channel 3 cannot be merged into itself"),
        (lambda: merge_channel(conv(), 1, 0, 9), ValueError, "channel 9 outside"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_channels_that_differ_in_running_statistics_are_no_copies():
    wide = split_channel(convolutional(False), 1, 1, 0.5)
    wide[1].running_mean[3] += 1e-12
    with pytest.raises(
        ValueError, match="channels 1 and 3 of layer 1 differ in running_mean of BatchNorm2d"
    ):
        merge_channel(wide, 1, 1)


def test_inactive_dropout_is_no_obstacle():
    net = conv(nn.Dropout(0.5)).eval()
    x = torch.randn(2, 1, 5, 5)
    torch.testing.assert_close(split_channel(net, 1, 0, 0.3)(x), net(x))
