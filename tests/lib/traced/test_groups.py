"""What the tracer follows, and what it refuses in words."""

from __future__ import annotations

import copy

import pytest
import torch
from residual import Block, ResNet20
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from lib.traced import channel_groups
from lib.width import split_channel


class Wrapped(nn.Module):
    """conv1 - what is tested - conv2 - flat - head."""

    def __init__(self, between, flat=lambda x: torch.flatten(x, 1), width: int = 4) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 1), nn.Conv2d(width, 2, 1)
        self.norm, self.grouped = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1, groups=2)
        self.depthwise = nn.Conv2d(4, 4, 1, groups=4)
        self.scale = nn.Parameter(torch.ones(1, 4, 1, 1))
        self.between, self.flat = between, flat
        self.head = nn.Linear(2 * 4, 1)

    def forward(self, x):
        return self.head(self.flat(self.conv2(self.between(self, self.conv1(x)))))


def frozen(net: nn.Module) -> dict[str, str | None]:
    return {group.name: group.frozen for group in channel_groups(net.eval())}


def test_a_resnet_falls_into_the_stream_of_each_stage_and_the_inside_of_each_block() -> None:
    groups = {group.name: group for group in channel_groups(ResNet20(2).eval())}
    assert len(groups) == 3 + 9 + 1
    stream = groups["layer2.0.conv2"]
    assert stream.makers == (
        "layer2.0.conv2", "layer2.0.shortcut.0", "layer2.1.conv2", "layer2.2.conv2",
    )  # fmt: skip
    assert stream.readers == (
        "layer2.1.conv1", "layer2.2.conv1", "layer3.0.conv1", "layer3.0.shortcut.0",
    )  # fmt: skip
    assert (stream.width, stream.frozen) == (4, None)


def test_a_shortcut_of_slices_and_zeros_leaves_the_insides_of_blocks_alone() -> None:
    found = frozen(ResNet20(2, option="A"))
    free = [name for name, why in found.items() if why is None]
    assert free == [f"layer{s}.{b}.conv1" for s in (1, 2, 3) for b in (0, 1, 2)]
    assert all("getitem() in layer2.0" in found[n] for n in ("conv1", "layer2.0.conv2"))
    with pytest.raises(ValueError, match=r"conv1 cannot be changed.*getitem\(\) in layer2.0"):
        split_channel(ResNet20(2, option="A"), "conv1", 0, 0.5)


FOLLOWED = {
    "sum": lambda net, x: x + 2 * x,
    "in place": lambda net, x: x.relu_().add_(x.tanh()),
    "product": lambda net, x: x * torch.sigmoid(x),
    "gate": lambda net, x: x * x.mean((2, 3), keepdim=True).sigmoid(),
    "depthwise": lambda net, x: net.depthwise(x),
    "resized": lambda net, x: functional.interpolate(x, size=x.shape[2:]),
    "padded": lambda net, x: functional.max_pool2d(functional.pad(x, (1, 1, 1, 1)), 2),
    "dropout in eval mode": lambda net, x: functional.dropout(x, 0.5, net.training),
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_followed(name: str) -> None:
    net = Wrapped(FOLLOWED[name]).double().eval()
    assert frozen(net)["conv1"] is None
    x = torch.randn(3, 3, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(split_channel(net, "conv1", 1, 0.3)(x), net(x))


REFUSED = {
    "slice": (lambda net, x: x[:, [1, 0, 2, 3]], "getitem"),
    "chunks": (lambda net, x: torch.cat(torch.chunk(x, 2, 1)[::-1], 1), "chunk"),
    "roll": (lambda net, x: x.roll(1, 1), "roll"),
    "softmax": (lambda net, x: x.softmax(1), "softmax"),
    "joined in rows": (lambda net, x: torch.cat([x, x], 2), "cat.*axis 2"),
    "own parameter": (lambda net, x: x * net.scale, "mul"),
    "grouped": (lambda net, x: net.grouped(x), "Conv2d grouped of 2 groups"),
    "functional": (lambda net, x: functional.conv2d(x, net.conv2.weight), "conv2d"),
    "dropout": (lambda net, x: functional.dropout(x), "dropout.*training"),
    "mean of channels": (lambda net, x: x - x.mean(1, keepdim=True), "mean"),
    "transposed": (lambda net, x: x.transpose(1, 2), "transpose"),
    "number of channels": (lambda net, x: x / x.shape[1], "getitem.*number of channels"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    between, words = REFUSED[name]
    net = Wrapped(between)
    with pytest.raises(ValueError, match=f"conv1 cannot be changed: they meet {words}"):
        split_channel(net.eval(), "conv1", 0, 0.5)


FLAT = {
    "a number": (lambda x: x.view(-1, 8), "view.*torch.flatten"),
    "another axis": (lambda x: torch.flatten(x), "flatten"),
    "the shape": (lambda x: x.reshape(x.shape[0], x.shape[1] * 4), "number of channels"),
}


@pytest.mark.parametrize("name", FLAT)
def test_refused_on_the_way_to_a_dense_layer(name: str) -> None:
    flat, words = FLAT[name]
    why = frozen(Wrapped(lambda net, x: x, flat))["conv2"]
    assert why is not None
    with pytest.raises(ValueError, match=words):
        split_channel(Wrapped(lambda net, x: x, flat).eval(), "conv2", 0, 0.5)


@pytest.mark.parametrize(
    "flat", [lambda x: x.view(x.size(0), -1), lambda x: x.reshape(x.shape[0], -1), nn.Flatten()]
)
def test_followed_on_the_way_to_a_dense_layer(flat) -> None:
    net = Wrapped(lambda net, x: x, flat).eval()
    x = torch.randn(3, 3, 2, 2)
    torch.testing.assert_close(split_channel(net, "conv2", 1, -0.7)(x), net(x))


def test_a_module_whose_parameters_the_forward_takes_itself_is_left_alone() -> None:
    def tied(net, x):
        return x + 0 * functional.conv2d(x, net.conv1.weight[:, :1], groups=4)

    why = frozen(Wrapped(tied))["conv1"]
    assert why is not None


def test_a_forward_that_depends_on_its_number_of_channels_is_refused() -> None:
    net = Wrapped(lambda net, x: x * (1 / net.conv1.weight.shape[0])).eval()
    with pytest.raises((TypeError, ValueError), match="number of channels|cannot be changed"):
        split_channel(net, "conv1", 0, 0.5)


def test_a_forward_that_reads_the_width_of_a_module_is_refused() -> None:
    net = Wrapped(lambda net, x: x * net.conv1.out_channels**-0.5).eval()
    with pytest.raises(TypeError, match="depends on its number of channels"):
        split_channel(net, "conv1", 0, 0.5)


def test_branches_on_data_hooks_and_parametrizations_are_refused() -> None:
    with pytest.raises(TypeError, match="cannot be traced"):
        channel_groups(Wrapped(lambda net, x: x if x.sum() > 0 else -x))
    hooked = Block(2, 2, 1, "B")
    hooked.conv1.register_forward_hook(lambda *_: None)
    with pytest.raises(TypeError, match="conv1 has hooks"):
        channel_groups(hooked)
    parametrised = Block(2, 2, 1, "B")
    parametrizations.weight_norm(parametrised.conv1)
    with pytest.raises(TypeError, match="parametrizations"):
        channel_groups(parametrised)


def test_names_and_numbers_that_do_not_exist_are_refused() -> None:
    net = ResNet20(2).eval()
    for layer, words in (("conv9", "conv9"), ("bn1", "bn1"), ("linear", "outputs of the net")):
        with pytest.raises(ValueError, match=words):
            split_channel(net, layer, 0, 0.5)
    with pytest.raises(TypeError, match="net is ResNet20: expected .* name one, and it is"):
        split_channel(net, 1, 0, 0.5)
    with pytest.raises(ValueError, match=r"channel 2 outside 0\.\.1 of conv1"):
        split_channel(net, "conv1", 2, 0.5)
    with pytest.raises(ValueError, match="alpha"):
        split_channel(net, "conv1", 0, float("nan"))


class Remembers(nn.Module):
    """A forward with side effects."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out, self.calls = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 1), 0

    def forward(self, x):
        self.calls += 1
        self.seen = self.conv(x)
        return self.out(self.seen)


def test_the_module_stays_as_it_was() -> None:
    net = Remembers()
    state = copy.deepcopy(net.state_dict())
    random = torch.get_rng_state()
    split_channel(net, "conv", 0, 0.5)
    assert (net.calls, hasattr(net, "seen"), net.training) == (0, False, True)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
