"""What chapter 01 measures: theorems, printed spectra, the start of Fig. 1, escapes."""

import numpy as np
import pytest
import torch

from companion.records import printed
from experiments.width import escape, printed_spectra, spectra, theorems, wide_net
from lib.nets import init, mse
from lib.width import split_spectrum


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def test_silent_copies_and_inactive_neurons_are_critical_and_generic_ones_are_not():
    null, copy, inactive, reads, writes = theorems.neurons_without_effect(draws())
    assert max(null, copy, inactive) < 1e-12
    assert min(reads, writes) > 1e-3


def test_witness_of_the_joint_block_where_the_hidden_block_of_a_relu_net_is_zero():
    found = theorems.strict_saddles(draws(), "relu", 4)
    assert set(found.blocks) == {"joint"}
    assert np.allclose(found.measured, found.predicted, rtol=1e-9)
    assert max(found.measured) < 0


def test_dimensions_of_general_embeddings():
    found = theorems.family_dimensions(draws(), 2)
    assert found.found == [k1 + k2 + k1 * k2 for k1, k2 in found.added]


def test_predicted_counts_hold_for_equal_splits_of_any_point():
    x, y = spectra.three_steps()
    net = init((1, 2, 1), output_bias=False, std=0.5, generator=draws())
    one, _, three = spectra.equal_splits(net, x, y, (1, 2, 3))
    added = split_spectrum(net, x, y, mse, 1, 0).inertia().counts
    assert spectra.predicted_counts(one.counts, added, 3) == tuple(three.counts)


def test_printed_doublets_are_a_split_matrix_and_width_two_does_not_hold_it():
    column = printed_spectra.by_width(printed("zhang2021-fig3b-iris"))
    assert [len(column[m].sizes) for m in (2, 3, 4)] == [16, 24, 32]
    assert [column[m].counts() for m in (2, 3, 4)] == [(3, 1, 12), (5, 2, 17), (7, 3, 22)]
    twice = column[4].doublets()
    assert twice.counts() == (2, 1, 5)
    found, null = (printed_spectra.split_of_two(column[m], twice) for m in (3, 2))
    assert 1 <= found.fitting < 1e-3 * found.choices
    assert null.fitting == 0
    assert found.largest == pytest.approx(-4.03)


def test_split_of_two_finds_a_split_matrix_that_was_made():
    """M_2 and M_3 of a known B and C, beside values that have nothing to do with them."""
    g = np.random.default_rng(3)
    b = np.diag([30.0, 1.0, 0.3, 0.1, 0.05]) * 1e-4
    c = np.zeros((5, 3))
    c[:, :2] = g.normal(size=(5, 2)) * 1e-5
    values = [np.linalg.eigvalsh(np.block([[b / k, c], [c.T, np.zeros((3, 3))]])) for k in (2, 3)]
    two, three = (
        printed_spectra.PrintedSpectrum(np.log10(np.abs(v) + 1e-20), np.sign(v)) for v in values
    )
    assert printed_spectra.split_of_two(two, three).fitting == 1


def test_start_of_descent_follows_the_hyperbolic_cosine():
    x, y = spectra.three_steps()
    wide = wide_net.WideNet(x, y, 400, 10, 0)
    start = wide_net.Start.read(wide, 0.0431, 3.7e-4)
    assert start.slope(0, 400) == pytest.approx(0.0431)
    bend = start.slope(1.0, 400) / start.slope(0, 400) - 1
    assert bend == pytest.approx(3.7e-4, rel=1e-3)
    from lib.train.descent import descend

    tiny = wide_net.Start(start.force, 1e-6, 1e-5)
    power = -np.log(tiny.std) / np.log(400)
    walk = descend(wide.start(power, 1), x, y, steps=2, lr=tiny.lr, records=[0, 1, 2])
    fall = float(walk.losses[0, 0] - walk.losses[1, 0])
    assert fall == pytest.approx(tiny.slope(0, 400), rel=0.1)  # S of a sample of 800 numbers


def test_rate_and_deviation_behind_the_printed_start():
    x, y = spectra.three_steps()
    start = wide_net.Start.read(wide_net.WideNet(x, y, 500, 10, 0), 0.0431, 3.7e-4)
    assert start.lr == pytest.approx(3.46e-4, rel=2e-3)
    assert start.std == pytest.approx(0.00897, rel=2e-3)


def test_curves_that_agree_have_no_distance():
    class Walk:
        steps = torch.tensor([0, 9, 99])
        losses = torch.tensor([[5.0], [0.5], [0.05]], dtype=torch.float64)

    read = wide_net.PrintedCurve.read(
        {"epoch": np.array([1.0, 10.0, 100.0]), "loss": np.array([5.0, 0.5, 0.05])}, 100
    )
    assert read.distance(Walk()) < 0.1
    Walk.losses = 10 * Walk.losses
    assert read.distance(Walk()) == pytest.approx(1, abs=0.1)


def test_shares_bend_the_two_minima_in_opposite_ways():
    """Opposite signs leave the width-1 minimum hundreds of times faster, the width-2 one slower."""
    x, y = spectra.three_steps()
    one = wide_net.one_neuron(x, y)
    two = spectra.width_two_minimum(x, y, epochs=100000, generator=draws())
    assert float(two.loss) == pytest.approx(0.0697915, abs=1e-6)
    for point, low, high in ((one, 100, 1e3), (two, 0, 0.01)):
        outside, inside = escape.steepest(point.net, x, y, (-0.5, 0.5))
        assert low <= outside / inside <= high


def test_equal_splits_into_more_copies_are_left_more_slowly():
    x, y = spectra.three_steps()
    one = wide_net.one_neuron(x, y).net
    found = [escape.kicked(one, x, y, k, count=3, generator=draws()) for k in (2, 8)]
    assert [at.negative for at in found] == [1, 7]
    assert found[0].eigenvalue / found[1].eigenvalue == pytest.approx(4, rel=1e-6)
    assert float(found[1].times.median() / found[0].times.median()) > 2


def test_shares_are_drawn_inside_and_outside():
    inside = escape.draw_shares(draws(), 3, 5, inside=True)
    outside = escape.draw_shares(draws(), 3, 5, inside=False)
    assert torch.allclose(inside.sum(1), torch.ones(5).double()) and (inside >= 0.1).all()
    assert (outside.amin(1) < -0.1).all() and (outside.abs() <= 3).all()


def test_iris_infimum_is_the_bound_of_eckart_and_young():
    targets = np.repeat(np.eye(3), 50, axis=0)
    lost = np.linalg.svd(targets, compute_uv=False)[2] ** 2 / targets.size
    assert lost == pytest.approx(1 / 9)
