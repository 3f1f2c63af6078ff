"""What the chapter on certified landscapes measures: the complete search, shares, the table."""

from dataclasses import replace
from fractions import Fraction as F

import flint
import numpy as np
import pytest
import torch

from experiments.atlas import complete, points, shares
from experiments.width.spectra import three_steps
from lib.certify import all_zeros
from lib.nets import MLP, gradient

NEURON = complete.Neuron()


def net_at(w, b):
    """The net of one neuron with the best output weight, on the data as real numbers."""
    x, y = three_steps()
    h = torch.tanh(w * x + b)
    one = torch.ones(1, 1, dtype=torch.float64)
    return MLP((w * one, one * float((h * y).sum() / (h * h).sum())), (b * one[0], None)), x, y


def sums(w, b):
    """sum h' r and sum x h' r from floating gradients: both are -n s / (2 a) times them."""
    net, x, y = net_at(w, b)
    slope = gradient(net, x, y)
    a, s = float(net.weights[1]), float((torch.tanh(w * x + b) ** 2).sum())
    scale = -len(x) * s / (2 * a)
    return scale * float(slope.biases[0]), scale * float(slope.weights[0])


def balls(*values):
    return [flint.arb(v) for v in values]


@pytest.mark.parametrize("w, b", [(0.03, 0.2), (0.4, 1.0), (1.7, 4.0), (0.0895, 0.01)])
def test_charts_of_slopes_hold_the_gradients_of_the_net(w, b):
    by_bias, by_weight = sums(w, b)
    m = b / w
    found = NEURON.slopes(balls(w, m))
    expected = (by_bias, by_weight + m * by_bias)
    assert [float(v.mid()) for v in found] == pytest.approx(expected, rel=1e-8)
    # with h / w in place of h the sums lose powers of w
    gentle = NEURON.gentle(balls(w**2, m))
    assert float(gentle[1].mid()) == pytest.approx(by_bias / w**2, rel=1e-6)
    along = (w * float(found[1].mid()) / w**3) / (2 * w**2)
    assert float(gentle[0].mid()) == pytest.approx(along, rel=1e-4)


def test_the_chart_of_small_slopes_holds_the_gradients_of_the_net():
    w, b = 0.02, 0.8
    by_bias, by_weight = sums(w, b)
    along, across = NEURON.flat(balls(b**2, w / b))
    assert float(across.mid()) == pytest.approx(by_weight / b**2, rel=1e-6)
    radial = (w * by_weight + b * by_bias) / b**3 / (2 * b**2)
    assert float(along.mid()) == pytest.approx(radial, rel=1e-4)


def test_charts_at_infinity_hold_the_gradients_of_the_net():
    step = 30 / 49
    x = np.linspace(-15, 15, 50)
    w, b = 0.1, 1.9
    z = w * x[0] + b
    by_bias, by_weight = sums(w, b)
    e = np.exp(-2 * z)
    found = NEURON.saturated(balls(e, np.exp(-2 * w * step)))
    expected = (by_bias / (4 * e), by_weight / (4 * e))
    assert [float(v.mid()) for v in found] == pytest.approx(expected, rel=1e-8)
    w, j = 3.2, 19
    b = 0.3 - w * x[j]
    by_bias, by_weight = sums(w, b)
    t = np.exp(-2 * w * step)
    found = NEURON.near(j)(balls(t, 0.3))
    expected = (by_bias, (by_weight - x[j] * by_bias) / (4 * t * step))
    assert [float(v.mid()) for v in found] == pytest.approx(expected, rel=1e-6)
    b = w * step / 2 - w * x[j + 1]
    by_bias, by_weight = sums(w, b)
    p = np.exp(-w * step)
    found = NEURON.between(j)(balls(p, p))
    left = -(by_weight - x[j + 1] * by_bias) / (4 * p * step)
    right = (by_weight - x[j] * by_bias) / (4 * p * step)
    assert [float(v.mid()) for v in found] == pytest.approx((left, right), rel=1e-6)


def test_derivatives_of_the_chart_of_slopes():
    at = np.array([0.3, 4.0])
    found = NEURON.slopes_jacobian(balls(*at)).tolist()
    for k in range(2):
        ends = []
        for sign in (1, -1):
            moved = at.copy()
            moved[k] += sign * 1e-5
            ends.append([float(v.mid()) for v in NEURON.slopes(balls(*moved))])
        change = (np.array(ends[0]) - ends[1]) / 2e-5
        assert [float(row[k].mid()) for row in found] == pytest.approx(change, rel=1e-5)


def test_a_dropped_box_and_one_left_over_are_caught():
    chart = complete.charts(NEURON)[3]
    cover = all_zeros(chart.system, chart.box)
    assert cover.complete and len(cover.empty) > 3
    assert not replace(cover, empty=cover.empty[1:]).complete
    assert not replace(cover, empty=cover.empty[1:], undecided=cover.empty[:1]).complete


def test_charts_at_infinity_hold_no_critical_point():
    for chart in complete.charts(NEURON)[2::12]:
        cover = all_zeros(chart.system, chart.box, outside=chart.outside, depth=24)
        assert cover.complete and not cover.single, chart.name


def test_the_one_zero_is_found_and_its_neighbours_are_excluded():
    chart = complete.charts(NEURON)[1]
    # the zero is at b = 0: halving must not cut there, or two boxes share it
    near = ((F(1, 16), F(1, 8)), (F(-1, 6), F(1)))
    cover = all_zeros(chart.system, near, jacobian=chart.jacobian)
    assert cover.complete and len(cover.single) == 1
    (low, high), _ = cover.single[0]
    assert low < F(895, 10000) < high


def test_random_splits_agree_with_the_theorem():
    found, _ = shares.random_cases(20, torch.Generator().manual_seed(3))
    assert all(case.predicted == case.measured for case in found)
    assert {case.activation for case in found} == set(shares.ACTIVATIONS)


def test_an_embedded_point_is_refused_and_the_narrow_one_is_not():
    x, y = three_steps()
    (net,) = points.functions_of_width(
        1, x, y, starts=6, generator=torch.Generator().manual_seed(0)
    )
    entry = points.examine("here", net, x, y)
    assert entry.certificate is not None and points.line(entry)["inertia"] == "(0, 0, 3)"
    assert points.loss_of(entry) == pytest.approx(0.109023, abs=1e-6)
    wide = points.examine("split", points.copied(entry), x, y)
    assert wide.certificate is None and "singular" in wide.reason
    proved, counted = points.carried(entry, points.MIXED)
    assert proved == counted


def test_the_bend_of_trained_minima_without_its_signs_is_definite():
    rows = shares.definite_shares(1, 3, 2, torch.Generator().manual_seed(0))
    assert rows.unsigned == [1.0] * len(rows.share)
