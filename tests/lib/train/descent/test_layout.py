"""The lanes of the CPU kernel hold the nets that were put in, and nothing else."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib._simd.lanes import LANES, aligned
from lib.nets import MLP, flatten, init
from lib.train.descent.layout import Layout, columns, filled

shapes = st.tuples(st.integers(1, 6), st.integers(1, 20), st.integers(1, 3))
batches = st.sampled_from([(), (1,), (3,), (8,), (2, 5), (1, 1)])


def make(widths, batch, bias, output_bias, lead=()):
    net = init(widths, batch=(*lead, *batch), generator=torch.Generator().manual_seed(1))
    return MLP(
        net.weights, [net.biases[0] if bias else None, net.biases[1] if output_bias else None]
    )


@given(shapes, batches, st.booleans(), st.booleans(), st.sampled_from([(), (4,)]))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_unpacking_is_the_inverse_of_packing(widths, batch, bias, output_bias, lead):
    layout = Layout(make(widths, batch, bias, output_bias))
    nets = make(widths, batch, bias, output_bias, lead)
    packed = layout.pack(nets)
    assert packed.shape == (*lead, layout.units, layout.vectors, LANES)
    back = layout.unpack(packed)
    assert back.batch == nets.batch and torch.equal(flatten(back), flatten(nets))
    numbers = torch.randn((*lead, *batch), dtype=torch.float64)
    assert torch.equal(layout.unpack_numbers(layout.pack_numbers(numbers)), numbers)


@given(shapes, batches, st.booleans(), st.booleans())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_every_parameter_lives_in_one_lane(widths, batch, bias, output_bias):
    net = make(widths, batch, bias, output_bias)
    layout = Layout(net)
    live, k = layout.live(), widths[-1]
    shared_copies = (
        output_bias * k * (LANES - 1) if layout.shared else 0
    )  # the output bias is in all lanes
    assert live.sum() - shared_copies == net.n_parameters * (1 if layout.shared else LANES)
    assert set(live.ravel().tolist()) <= {0.0, 1.0}


def test_columns_put_one_feature_after_the_other():
    data = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=torch.float64)
    assert columns(data, 4, 6).tolist() == [1, 3, 5, 0, 0, 0, 2, 4, 6, 0, 0, 0] + [0] * 12
    assert columns(data, 2, 2).tolist() == [1, 3, 2, 4, 5, 0, 6, 0]


def test_arrays_of_lanes_begin_at_a_cache_line():
    for shape in ((3,), (5, 2)):
        assert aligned(*shape).ctypes.data % 64 == 0 and aligned(*shape).shape == (*shape, LANES)
    values = torch.randn(3, 2, LANES, dtype=torch.float64).numpy()
    assert (filled(values) == values).all()
