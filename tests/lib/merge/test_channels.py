"""Merging channels: the left inverse of splitting a channel, with outputs compared and not only
their largest entry."""

import pytest
import torch
from torch import nn

from lib.merge import merge_channels
from lib.width import split_channel

torch.set_num_threads(1)


def images(n: int = 6, channels: int = 2, size: int = 8) -> torch.Tensor:
    return torch.randn(
        n, channels, size, size, generator=torch.Generator().manual_seed(5), dtype=torch.float64
    )


def convnet(sigma=nn.ReLU, padding: int = 1, seed: int = 0, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(seed)
    return (
        nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=padding, bias=bias), sigma(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 3, padding=padding, bias=bias),  # noqa: E501
            sigma(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 5, bias=bias), sigma(), nn.Linear(5, 3, bias=bias),  # noqa: E501
        )
        .double()
        .eval()
    )  # fmt: skip


def equal(a: nn.Sequential, b: nn.Sequential, tolerance: float) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(s.shape == t.shape and float((s - t).abs().max()) <= tolerance for s, t in pairs)


@pytest.mark.parametrize("sigma", [nn.ReLU, nn.Tanh, nn.LeakyReLU, nn.GELU])
@pytest.mark.parametrize("alpha", [0.3, -1.5, 2.0])
def test_left_inverse_of_channel_splitting(sigma, alpha):
    net, x = convnet(sigma), images()
    wide = net
    for layer, channel in (
        (1, 0),
        (1, 2),
        (2, 1),
        (3, 4),
    ):  # two channels, one before Flatten, one dense neuron
        wide = split_channel(wide, layer, channel, alpha)
    done = merge_channels(wide, x, cosine=1.0)
    assert equal(
        done.net, net, 1e-14
    )  # rounding of |1 - alpha| + |alpha| <= 4 times a weight of size 1
    assert done.change <= 1e-13 and done.size > 0.01 and done.agreement == 1.0
    assert [r.layer for r in done.layers] == [1, 2, 3]


def test_rescaled_copies_of_homogeneous_channels_merge():
    net = split_channel(convnet(), 1, 1, 0.4)
    with torch.no_grad():
        net[0].weight[4] *= 7
        net[0].bias[4] *= 7
        net[3].weight[:, 4] /= 7
    assert equal(merge_channels(net, images(), cosine=1.0).net, convnet(), 1e-14)
    copied = split_channel(convnet(nn.Tanh), 1, 1, 0.4)
    with torch.no_grad():
        copied[0].weight[4] *= 7
    assert merge_channels(copied, images()).net[0].out_channels == 5  # tanh knows no scale


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("sigma", [nn.ReLU, nn.Tanh])
def test_constant_channels_are_folded_only_where_no_padding_sees_the_border(padding, sigma):
    net = convnet(sigma, padding)
    with torch.no_grad():
        net[0].weight[1] = 0
        net[0].bias[1] = 0.8
        net[3].weight[2] = 0
        net[3].bias[2] = 0.6
    done = merge_channels(net, images(), cosine=1.0)
    assert done.change <= 1e-13
    assert done.net[0].out_channels == (3 if padding == 0 else 4)
    assert (
        done.layers[1].folded == (2,) and done.net[7].in_features == 8
    )  # a Flatten reads it: always foldable


def test_average_pooling_with_padding_counts_zeros():
    torch.manual_seed(0)
    for counted, width in ((True, 2), (False, 1)):
        pool = nn.AvgPool2d(2, padding=1, count_include_pad=counted)
        net = nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU(), pool, nn.Conv2d(2, 1, 2)).double().eval()
        with torch.no_grad():
            net[0].weight[0] = 0
            net[0].bias[0] = 0.8
        done = merge_channels(net, images(), cosine=1.0)
        assert done.net[0].out_channels == width and done.change <= 1e-13 and done.agreement == 1.0


def test_batch_normalisation_is_folded_first():
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(144, 2),
    ).double()
    with torch.no_grad():
        net(2 + images())
    net.eval()
    done = merge_channels(split_channel(net, 1, 3, 0.3), images(), cosine=1.0)
    assert [type(m).__name__ for m in done.net] == ["Conv2d", "ReLU", "Flatten", "Linear"]
    assert done.net[0].out_channels == 4 and done.change <= 1e-13


def test_an_approximate_merge_reports_the_change_it_makes():
    net, x = convnet(), images()
    done = merge_channels(net, x, cosine=0.2)
    with torch.no_grad():
        before, after = net(x), done.net(x)
    assert done.net[0].out_channels < 4 or done.net[3].out_channels < 3
    assert (
        done.change == pytest.approx(float((after - before).norm(dim=1).max()))
        and done.change > 1e-3
    )
    assert done.size == pytest.approx(float(before.norm(dim=1).max()))
    assert done.agreement == pytest.approx(
        float((after.argmax(1) == before.argmax(1)).double().mean())
    )


def test_layers_without_bias_or_activation():
    net = convnet(bias=False)
    done = merge_channels(split_channel(net, 2, 0, 0.3), images(), cosine=1.0)
    assert equal(done.net, net, 1e-14)
    torch.manual_seed(0)
    linear = (
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 1, 3), nn.ReLU(), nn.ReLU6()).double().eval()
    )
    assert equal(
        merge_channels(split_channel(linear, 1, 1, 0.3), images(), cosine=1.0).net, linear, 1e-14
    )
    twice = (
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.LeakyReLU(), nn.Conv2d(3, 2, 3))
        .double()
        .eval()
    )
    assert equal(
        merge_channels(split_channel(twice, 1, 1, 0.3), images(), cosine=1.0).net, twice, 1e-14
    )
    assert (
        merge_channels(nn.Sequential(nn.Conv2d(2, 1, 8)).double().eval(), images()).agreement
        is None
    )


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="x has shape"):
        merge_channels(convnet(), images(0))
    with pytest.raises(ValueError, match="training mode"):
        merge_channels(
            nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1)).double(),
            images(),
        )
    with pytest.raises(TypeError, match="2 groups"):
        merge_channels(
            nn.Sequential(nn.Conv2d(2, 2, 3, groups=2), nn.Conv2d(2, 1, 1)).double().eval(),
            images(),
        )
    with pytest.raises(TypeError, match="Softmax"):
        merge_channels(
            nn.Sequential(nn.Conv2d(2, 2, 3), nn.Softmax(1), nn.Conv2d(2, 1, 1)).double().eval(),
            images(),
        )
