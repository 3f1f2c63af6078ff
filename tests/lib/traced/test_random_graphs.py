"""Random graphs: what is done to a group of channels leaves the outputs as they are."""

from __future__ import annotations

import random

import pytest
import torch
from draws import seeded
from hypothesis import given, settings
from hypothesis import strategies as st
from residual import Drawn, shaken
from torch import Tensor, nn

from lib.merge import merge_channels
from lib.symmetry import permute, rebasin
from lib.traced import channel_groups, load_state
from lib.width import merge_channel, split_channel

X = torch.randn(3, 2, 4, 4, generator=seeded(1), dtype=torch.float64)


def close(got: Tensor, expected: Tensor) -> bool:
    # some tens of layers, each a sum of some hundred products
    return bool((got - expected).abs().max() <= 1e-11 * (1 + expected.abs().max()))


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**31), steps=st.integers(1, 9))
def test_preserved_or_refused(seed: int, steps: int) -> None:
    draw = random.Random(seed)
    net = shaken(Drawn(draw, steps), seed)
    with torch.no_grad():
        before, state = net(X), {k: v.clone() for k, v in net.state_dict().items()}
        groups = channel_groups(net)
        free = [group for group in groups if group.frozen is None]
        for group in groups:
            if group.frozen is not None:
                with pytest.raises(ValueError, match="cannot be changed"):
                    permute(net, {group.name: range(group.width)})
        if free:
            check(net, before, free, draw)
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())


def check(net: nn.Module, before: Tensor, free: list, draw: random.Random) -> None:
    orders = {g.name: draw.sample(range(g.width), g.width) for g in free}
    permuted = permute(net, orders)
    assert close(permuted(X), before)
    group = draw.choice(free)
    channel = draw.randrange(group.width)
    wide = split_channel(net, group.name, channel, draw.uniform(-1, 2))
    assert close(wide(X), before)
    back = merge_channel(wide, group.name, channel)
    for name, value in back.state_dict().items():
        torch.testing.assert_close(value, net.state_dict()[name])
    if draw.random() < 0.5:
        assert close(rebasin(net, permuted)(X), before)
        assert torch.equal(load_state(net, wide.state_dict())(X), wide(X))
        return
    merged = merge_channels(wide, X, cosine=1.0)
    assert close(merged.net(X), before)
    widths = {g.name: g.width for g in channel_groups(merged.net)}
    assert all(widths[g.name] <= g.width for g in free)  # the copy is gone, dead channels may be


def test_the_draws_are_of_both_kinds() -> None:
    """A tracer that refuses everything would pass the test above."""
    nets = [channel_groups(shaken(Drawn(random.Random(seed), 6), seed)) for seed in range(40)]
    free = sum(any(group.frozen is None for group in groups) for groups in nets)
    refused = sum(sum(group.frozen is not None for group in groups) > 1 for groups in nets)
    assert free >= 15 and refused >= 5
