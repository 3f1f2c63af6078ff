"""The operators of `lib` on a ResNet-20 and on torchvision's resnet18."""

from __future__ import annotations

import itertools
from functools import cache

import pytest
import torch
import torchvision
from draws import seeded
from residual import Block, ResNet20, shaken
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lib.certificate import certify_modules
from lib.merge import merge_channels
from lib.nets import mse
from lib.symmetry import permute, rebasin
from lib.traced import channel_groups, load_state
from lib.width import merge_channel, split_channel

X = torch.randn(3, 3, 16, 16, generator=seeded(0), dtype=torch.float64)
MAKERS = {
    "resnet20": lambda: ResNet20(4),
    "resnet18": lambda: torchvision.models.resnet18(weights=None, num_classes=10),
}


@cache
def net_of(name: str) -> nn.Module:
    return shaken(MAKERS[name]())


def gap(one: nn.Module, other: nn.Module) -> float:
    with torch.no_grad():
        expected = one(X)
        return float((other(X) - expected).abs().max() / expected.abs().max())


def free(net: nn.Module) -> list[str]:
    return [group.name for group in channel_groups(net) if group.frozen is None]


def equal(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    "name, place", [("resnet20", 0), ("resnet20", 1), ("resnet20", 5), ("resnet18", 0)]
)
def test_split_and_merged_again(name: str, place: int) -> None:
    net = net_of(name)
    layer = free(net)[place]
    wide = split_channel(net, layer, 1, 0.3)
    assert gap(net, wide) < 1e-12
    back = merge_channel(wide, layer, 1)
    pairs = zip(back.state_dict().values(), net.state_dict().values(), strict=True)
    assert all(a.shape == b.shape and torch.allclose(a, b, 1e-14, 1e-15) for a, b in pairs)


@pytest.mark.parametrize("name", MAKERS)
def test_every_group_permuted_and_found_back(name: str) -> None:
    net, draws = net_of(name), seeded(3)
    groups = [group for group in channel_groups(net) if group.frozen is None]
    permuted = permute(net, {g.name: torch.randperm(g.width, generator=draws) for g in groups})
    assert gap(net, permuted) < 1e-12 and not equal(net, permuted)
    assert equal(rebasin(net, permuted), net)


def test_splits_of_many_groups_are_merged_in_one_go() -> None:
    net = net_of("resnet20")
    wide = net
    for layer, alpha in zip(free(net), (0.3, -0.5, 1.7, 0.5, 0.1), strict=False):
        wide = split_channel(wide, layer, 2, alpha)
    merged = merge_channels(wide, X, cosine=1.0)
    assert gap(net, merged.net) < 1e-11 and merged.change < 1e-11 * merged.size
    shapes = [tuple(v.shape) for v in merged.net.state_dict().values()]
    assert shapes == [tuple(v.shape) for v in net.state_dict().values()]
    joined = [[sorted(g) for g in report.groups if len(g) > 1] for report in merged.layers]
    assert joined[:5] == [[[2, 4]], [[2, 4]], [[2, 4]], [[2, 4]], [[2, 8]]]
    assert [report.name for report in merged.layers] == free(net)


def test_positive_multiples_merge_where_relu_keeps_them() -> None:
    net = shaken(ResNet20(4))
    with torch.no_grad():  # channel 3 of the inside of a block becomes 2.5 times channel 0
        block = net.layer1[0]
        block.conv1.weight[3] = block.conv1.weight[0]
        for name in ("running_mean", "running_var"):
            getattr(block.bn1, name)[3] = getattr(block.bn1, name)[0]
        block.bn1.weight[3], block.bn1.bias[3] = 2.5 * block.bn1.weight[0], 2.5 * block.bn1.bias[0]
    merged = merge_channels(net, X, cosine=1 - 1e-12)
    assert merged.net.layer1[0].conv1.out_channels == 3
    assert gap(net, merged.net) < 1e-11


def test_merging_more_changes_more_and_says_how_much() -> None:
    net = shaken(ResNet20(4))
    losses = [merge_channels(net, X, cosine=c) for c in (1.0, 0.3, 0.0)]
    sizes = [sum(p.numel() for p in found.net.parameters()) for found in losses]
    assert sizes[0] > sizes[1] > sizes[2] and losses[0].change < 1e-11 < losses[2].change
    found = (losses[2].net(X) - net(X)).norm(dim=1).max().item()
    assert losses[2].change == pytest.approx(found)


def test_training_mode() -> None:
    net = shaken(ResNet20(2)).train()
    wide = split_channel(net, "conv1", 0, 0.3)
    assert wide.training and gap(net, wide) < 1e-11
    with pytest.raises(ValueError, match="training mode"):
        merge_channels(net, X)


class Tiny(nn.Module):
    """One block between two layers, with an inside and a stream of three channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner = nn.Linear(2, 3), nn.Linear(3, 3)
        self.outer, self.last = nn.Linear(3, 3), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(x + self.outer(torch.tanh(self.inner(x))))


def inner(one: nn.Module, other: nn.Module) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return sum((a * b).sum().item() for a, b in pairs)


@pytest.mark.parametrize("seed", range(3))
def test_rebasin_against_all_permutations(seed: int) -> None:
    one, other = (shaken(Tiny(), 2 * seed + i) for i in (0, 1))
    orders = list(itertools.permutations(range(3)))
    gains = {
        (a, b): inner(one, permute(other, {"first": a, "inner": b})) for a in orders for b in orders
    }
    found = rebasin(one, other, generator=None)
    gain = inner(one, found)
    assert any(gain == pytest.approx(g, abs=1e-9) for g in gains.values())
    # no better order of one group alone: a local maximum of coordinate ascent
    best = next(pair for pair, g in gains.items() if g == pytest.approx(gain, abs=1e-9))
    assert all(
        gain >= gains[a, best[1]] - 1e-9 and gain >= gains[best[0], a] - 1e-9 for a in orders
    )


def test_criticality_is_kept() -> None:
    net = Tiny().double()
    x = torch.randn(5, 2, generator=seeded(4), dtype=torch.float64)
    y = net(x).detach()  # every weight is critical here
    found = certify_modules(net, split_channel(net, "first", 0, 0.3), x, y, mse)
    assert found.output_gap < 1e-14 and found.gradient_after < 1e-13
    assert found.inertia_after.positive == found.inertia_before.positive


@pytest.mark.parametrize(
    "name, layers", [("resnet20", ("conv1", "layer2.0.conv1")), ("resnet18", ("conv1",))]
)
def test_shapes_are_saved_and_read_back(name, layers, tmp_path) -> None:
    net, wide = net_of(name), net_of(name)
    for layer in layers:
        wide = split_channel(wide, layer, 1, 0.3)
    save_file(wide.state_dict(), tmp_path / "wide.safetensors")
    again = load_state(MAKERS[name]().double().eval(), load_file(tmp_path / "wide.safetensors"))
    assert equal(again, wide) and torch.equal(again(X), wide(X))
    width = net.conv1.out_channels + 1
    assert (again.conv1.out_channels, again.bn1.num_features) == (width, width)
    merged = merge_channel(again, "conv1", 1)
    save_file(merged.state_dict(), tmp_path / "merged.safetensors")
    back = load_state(wide, load_file(tmp_path / "merged.safetensors"))
    assert equal(back, merged) and back.conv1.out_channels == net.conv1.out_channels
    assert again.conv1.weight.requires_grad and not again.bn1.running_var.requires_grad


def test_what_cannot_be_read_back_is_refused() -> None:
    net = Block(2, 2, 1, "B")
    state = net.state_dict()
    with pytest.raises(ValueError, match=r"bn1.bias is missing: expected the 12 names of Block"):
        load_state(net, {k: v for k, v in state.items() if k != "bn1.bias"})
    with pytest.raises(ValueError, match=r"more is not in the net"):
        load_state(net, state | {"more": torch.ones(1)})
    with pytest.raises(ValueError, match="conv1.weight has shape .* expected 4 dimensions"):
        load_state(net, state | {"conv1.weight": torch.ones(1)})
    normed = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    with pytest.raises(TypeError, match=r"1.weight of LayerNorm"):
        load_state(normed, normed.state_dict() | {"1.weight": torch.ones(4)})


def test_orders_that_are_none_are_refused() -> None:
    net = net_of("resnet20")
    with pytest.raises(TypeError, match="net is ResNet20: expected"):
        permute(net, [[0, 1]])
    with pytest.raises(ValueError, match="permutation of 0..3"):
        permute(net, {"conv1": [0, 1, 2, 2]})
    with pytest.raises(ValueError, match="name one group twice"):
        permute(net, {"conv1": range(4), "layer1.0.conv2": range(4)})
    with pytest.raises(ValueError, match="differ in the channels"):
        rebasin(net, ResNet20(2).eval())
    with pytest.raises(ValueError, match="exact copies"):
        merge_channel(net, "conv1", 0, 1)
