"""Pruning by merging alone: the budget is never broken, and embedded nets come back."""

import math

import pytest
import torch
from draws import seeded
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib.depth import layer_on_data, lift
from lib.merge import reduce
from lib.nets import cross_entropy, flatten, forward, init, mse, risk, to_sequential
from lib.width import null_embed, split

torch.set_num_threads(1)
PROPERTY = settings(max_examples=10, deadline=None, derandomize=True)


def sample(n: int = 60, outputs: int = 2, seed: int = 0):
    g = seeded(700 + seed)
    return torch.randn(n, 3, generator=g, dtype=torch.float64), torch.randn(
        n, outputs, generator=g, dtype=torch.float64
    )


@PROPERTY
@given(
    seed=st.integers(0, 10**6),
    sigma=st.sampled_from(["relu", "tanh", "elu"]),
    budget=st.floats(0, 3),
)
def test_never_worse_than_the_budget_and_always_smaller(seed, sigma, budget):
    x, y = sample(seed=seed % 5)
    net = init((3, 8, 8, 2), sigma, std=0.7, generator=seeded(seed))
    done = reduce(net, x, y, budget=budget)
    start, end = float(risk(net, x, y)), float(risk(done.net, x, y))
    assert end <= start + budget + 1e-12 * (1 + start)
    kept = [s for s in done.steps if s.accepted]
    assert (
        kept[0].action == "start"
        and kept[0].risk == start
        and kept[-1].n_parameters == done.net.n_parameters
    )
    assert all(a.n_parameters > b.n_parameters for a, b in zip(kept, kept[1:], strict=False))
    assert all(s.risk > start + budget for s in done.steps if not s.accepted)
    assert kept[-1].risk == end


def test_a_net_embedded_in_width_and_depth_comes_back_without_any_budget():
    x, y = sample()
    net = next(
        n
        for n in (init((3, 4, 2), "relu", generator=seeded(s)) for s in range(100))
        if (layer_on_data(n, x, 1, flat=True).pieces == -1).any()
    )
    wide = null_embed(split(split(net, 1, 0, 0.3), 1, 2, -1.0), 1, 0.4)
    done = reduce(
        lift(wide, x, 1, 9, generator=seeded(0)),
        x,
        y,
        budget=0.0,
        cosines=(1.0,),
        tolerances=(0.0,),
    )
    assert done.net.widths == net.widths
    assert float((flatten(done.net) - flatten(net)).abs().max()) <= 1e-11  # the lift's rounding
    assert [s.action for s in done.steps if s.accepted].count("merge layer") == 1
    assert done.steps[-1].agreement == 1.0 and done.steps[-1].change <= 1e-11


def test_steps_report_what_they_did():
    x, y = sample()
    net = split(init((3, 5, 2), "relu", generator=seeded(4)), 1, 1, 0.3)
    y = forward(net, x)  # nothing is better than the net at the start
    done = reduce(net, x, y, budget=1e-9, cosines=(-1.0, 1.0), tolerances=(1.0,))
    bold = done.steps[1]
    assert (bold.action, bold.setting) == ("merge neurons", -1.0)
    exact = next(s for s in done.steps if s.setting == 1.0 and s.action == "merge neurons")
    assert exact.accepted and exact.widths == (3, 5, 2) and exact.change <= 1e-13
    output, start = forward(done.net, x), forward(net, x)
    last = [s for s in done.steps if s.accepted][-1]
    assert last.change == pytest.approx(float((output - start).norm(dim=-1).max()))
    assert last.agreement == pytest.approx(
        float((output.argmax(-1) == start.argmax(-1)).double().mean())
    )


def test_any_loss_and_one_output():
    x, y = sample()
    labels = (y[:, 0] > 0).long()
    net = split(init((3, 5, 2), "relu", generator=seeded(5)), 1, 1, 0.3)
    done = reduce(net, x, labels, cross_entropy, budget=0.01)
    assert (
        float(cross_entropy(forward(done.net, x), labels))
        <= float(cross_entropy(forward(net, x), labels)) + 0.01 + 1e-12
    )
    one = reduce(
        split(init((3, 5, 1), "tanh", generator=seeded(6)), 1, 1, 0.3),
        *sample(outputs=1),
        budget=0.0,
        tolerances=(0.0,),
    )
    assert one.net.widths == (3, 5, 1) and one.steps[-1].agreement is None


def test_a_merge_that_adds_parameters_is_not_tried():
    x, y = (
        sample()
    )  # a bottleneck of one linearised neuron: 3-1-3-2 merges to 3-3-2, but 4 + 6 + 8 < 12 + 8
    net = init((3, 1, 3, 2), "tanh", std=1e-6, generator=seeded(7))
    done = reduce(net, x, y, budget=1.0, amplitude=0.0, cosines=(1.0,), tolerances=(1.0,))
    assert all(a.n_parameters < net.n_parameters for a in done.steps[1:])


def test_sequential_with_batch_normalisation_in_and_out():
    x, y = sample()
    wide = split(init((3, 5, 2), "tanh", generator=seeded(8)), 1, 1, 0.3)
    linear, sigma, last = to_sequential(wide)
    norm = nn.BatchNorm1d(6, dtype=torch.float64)
    module = nn.Sequential(nn.Flatten(), linear, norm, sigma, last).eval()
    done = reduce(module, x[:, :, None], y, budget=1e-9, tolerances=(0.0,))
    assert [type(m).__name__ for m in done.net] == ["Flatten", "Linear", "Tanh", "Linear"]
    assert done.net[1].out_features == 5
    assert float((done.net(x[:, :, None]) - module(x[:, :, None])).detach().abs().max()) <= 1e-12


def test_bad_budgets_and_nets_are_refused():
    net, data = init((3, 4, 2), "relu", generator=0), sample()
    for budget in (-1.0, math.nan, "much"):
        with pytest.raises((ValueError, TypeError), match="budget is"):
            reduce(net, *data, budget=budget)
    with pytest.raises(ValueError, match="is a batch of nets"):
        reduce(init((3, 4, 2), "relu", batch=(2,), generator=0), *data, budget=0.1)
    with pytest.raises(ValueError, match="risk of MLP.* is inf"):
        reduce(net, *data, budget=0.1, loss=lambda output, y: mse(output, y) / 0)
