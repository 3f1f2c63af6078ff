"""Embedded points: what is carried over by the theorem is what the Hessian of the wide net has."""

from dataclasses import replace
from fractions import Fraction

import pytest
from planted_problem import problem

from lib.certify import certify_point, certify_split
from lib.curvature import hessian, inertia
from lib.width import split_into

SHARES = [(0.5, 0.5), (1.5, -0.5), (0.0, 1.0), (0.25, -0.5, 1.25), (2.0, -0.5, -0.5)]


@pytest.mark.parametrize(
    "widths, sigma, place", [((1, 2, 1), "tanh", (1, 1)), ((2, 2, 3), "sigmoid", (1, 0))]
)
def test_the_wide_inertia_is_that_of_the_wide_hessian(widths, sigma, place):
    net, x, y = problem(widths, sigma, seed=6)
    point = certify_point(net, x, y)
    for shares in SHARES:
        found = certify_split(point, x, y, *place, shares)
        wide = split_into(net, *place, shares)
        assert found.counts == inertia(hessian(wide, x, y), uncertainty=1e-13).counts
        assert found.rank == widths[-1] - 1 and sum(found.bend) + found.rank == widths[0] + 1


def test_shares_are_rationals_that_add_up_to_one():
    net, x, y = problem((1, 2, 1), seed=6)
    point = certify_point(net, x, y)
    found = certify_split(point, x, y, 1, 0, (0.1, 0.9))
    assert sum(found.shares) == 1 and found.shares[0] == Fraction(0.1)
    with pytest.raises(ValueError, match="expected 1"):
        certify_split(point, x, y, 1, 0, (0.1, 0.8))
    with pytest.raises(ValueError, match="neuron 5"):
        certify_split(point, x, y, 1, 5, (0.5, 0.5))


def test_a_neuron_that_may_write_nothing_is_refused():
    net, x, y = problem((1, 2, 1), seed=6)
    point = certify_point(net, x, y)
    weights = net.weights[1].clone()
    weights[0, 0] = 0.0
    silent = replace(point, net=replace(net, weights=(net.weights[0], weights)))
    with pytest.raises(ValueError, match="write nothing"):
        certify_split(silent, x, y, 1, 0, (0.5, 0.5))
