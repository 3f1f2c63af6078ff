"""What the shares of a split do to the way out: equal splits into more copies, and shares outside
[0, 1]."""

import pytest
import torch

from lib.critical import polish
from lib.curvature import hessian, inertia
from lib.nets import MLP, mse
from lib.width import split, split_into, split_spectrum

# The data of Fig. 1: 50 points on [-15, 15].
X = torch.linspace(-15, 15, 50, dtype=torch.float64)[:, None]
Y = torch.tanh(X - 7) + torch.tanh(X) + torch.tanh(X + 7)
NARROW = {
    "width 1": ([0.0895], [0.0], [3.747]),
    "width 2": ([1.302, 0.155], [-9.3356, 0.4176], [0.7886, 2.3419]),
}


@pytest.fixture(scope="module")
def minima() -> dict[str, MLP]:
    """The minima of width 1 and 2 on these data (Zhang et al. 2021, Fig. 4), no output bias."""
    found = {}
    for name, parameters in NARROW.items():
        w, b, a = (torch.tensor(values, dtype=torch.float64) for values in parameters)
        point = polish(MLP((w[:, None], a[None]), (b, None), "tanh"), X, Y)
        assert bool(point.converged)
        found[name] = point.net
    return found


def smallest(net: MLP) -> float:
    return float(torch.linalg.eigvalsh(hessian(net, X, Y))[0])


@pytest.mark.parametrize(("name", "neuron"), [("width 1", 0), ("width 2", 0), ("width 2", 1)])
def test_an_equal_split_into_k_copies_adds_the_smallest_eigenvalue_of_b_over_k(
    minima, name, neuron
):
    """One output: C = 0, so that k - 1 copies of B / k are added: more ways out, each weaker."""
    net = minima[name]
    found = split_spectrum(net, X, Y, mse, 1, neuron)
    assert float(found.slope.abs().max()) < 1e-12
    bend = float(torch.linalg.eigvalsh(found.bend)[0])
    assert bend < 0
    for k in (2, 4, 8):
        wide = split_into(net, 1, neuron, [1 / k] * k)
        assert smallest(wide) == pytest.approx(bend / k, rel=1e-6)
        assert inertia(hessian(wide, X, Y), require=False).counts[0] == k - 1


def test_shares_outside_0_1_leave_faster_at_the_width_1_minimum(minima):
    """B = {-0.019, +6.9}: outside [0, 1] the large positive eigenvalue of B changes sign."""
    net = minima["width 1"]
    bend = torch.linalg.eigvalsh(split_spectrum(net, X, Y, mse, 1, 0).bend).tolist()
    assert bend == [pytest.approx(-0.0194, rel=1e-2), pytest.approx(6.916, rel=1e-3)]
    inside, outside = smallest(split(net, 1, 0, 0.5)), smallest(split(net, 1, 0, 1.5))
    assert inside == pytest.approx(-0.0097, rel=1e-2) and outside == pytest.approx(-2.10, rel=1e-2)


def test_shares_outside_0_1_leave_more_slowly_at_the_width_2_minimum(minima):
    """B = {-0.065, +1.1e-4} of the first neuron: there the order is reversed."""
    net = minima["width 2"]
    bend = torch.linalg.eigvalsh(split_spectrum(net, X, Y, mse, 1, 0).bend).tolist()
    assert bend == [pytest.approx(-0.0647, rel=1e-2), pytest.approx(1.1e-4, rel=0.1)]
    assert smallest(split(net, 1, 0, 0.5)) == pytest.approx(-0.0323, rel=1e-2)
    for alpha in (-0.5, 1.5):
        assert smallest(split(net, 1, 0, alpha)) == pytest.approx(-5.3e-5, rel=2e-2)
    # the other neuron, B = {-0.045, +5.5}, behaves as that of width 1
    assert smallest(split(net, 1, 1, 1.5)) < 50 * smallest(split(net, 1, 1, 0.5)) < 0
