"""The function does not change, the weights do, a second flip undoes the first, and what does not
fit is refused."""

from __future__ import annotations

import pytest
import torch
from draws import seeded
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.nets import flatten, forward, init
from templates.flip import flip


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(1, 4), st.integers(0, 99), st.data())
def test_the_function_stays_and_a_second_flip_undoes_the_first(width, seed, data):
    net = init((2, width, width, 1), "tanh", generator=seeded(seed))
    layer, neuron = data.draw(st.integers(1, 2)), data.draw(st.integers(0, width - 1))
    x = torch.randn(10, 2, generator=seeded(seed + 1), dtype=torch.float64)
    flipped = flip(net, layer, neuron)
    # a sum of negated terms of negated inputs: the same numbers
    torch.testing.assert_close(forward(flipped, x), forward(net, x), rtol=0, atol=1e-15)
    assert not torch.equal(flatten(flipped), flatten(net))
    assert torch.equal(flatten(flip(flipped, layer, neuron)), flatten(net))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="activation is relu: expected tanh"):
        flip(init((1, 2, 1), "relu", generator=seeded(0)), 1, 0)
    with pytest.raises(ValueError, match="neuron"):
        flip(init((1, 2, 1), "tanh", generator=seeded(0)), 1, 2)
