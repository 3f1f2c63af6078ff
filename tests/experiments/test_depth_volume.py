"""How data shrink lifted manifolds (B5)."""

import math

import pytest
import torch
from draws import seeded
from lifted_minima import data
from scipy.integrate import quad
from scipy.stats import norm

from experiments.depth.volume import in_hull, one_piece_probability
from lib.depth import layer_on_data, lift, unlift
from lib.nets import init


def test_one_piece_probability_against_an_integral():
    """n points at +-1 in one dimension: P(w x + b > 0 for both) = P(b > |w|) = E[1 - Phi(|w|)] =
    1/4."""
    x = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    exact = 2 * quad(lambda w: norm.pdf(w) * norm.sf(w), 0, math.inf)[0]
    assert exact == pytest.approx(0.25)
    draws = 200_000
    relu, leaky = (
        float(one_piece_probability(x, [2], s, draws=draws, generator=seeded(0)))
        for s in ("relu", "leaky_relu")
    )
    error = 4 / (2 * math.sqrt(draws))  # four standard errors
    assert abs(relu - exact) < error and abs(leaky - 2 * exact) < error


def test_theorem_volume_shrinks_with_data_unless_they_fall_into_the_hull():
    """B5: the shares never grow with n, fall faster in more dimensions, and points of the hull
    change nothing at all."""
    falls = []
    for d in (1, 8):
        shares = one_piece_probability(
            data(128, d), [2, 8, 32, 128], "relu", draws=20_000, generator=seeded(0)
        )
        assert (shares.diff() <= 0).all()
        falls.append(float(shares[-1] / shares[0]))
    assert falls[1] < falls[0]
    cloud = data(10, 2)
    mixing = torch.rand(50, 10, generator=seeded(0), dtype=torch.float64)
    inner = (mixing / mixing.sum(1, keepdim=True)) @ cloud
    assert in_hull(inner, cloud).all()
    shares = one_piece_probability(
        torch.cat([cloud, inner, 5 * data(20, 2, 1)]),
        [10, 60, 80],
        "relu",
        draws=20_000,
        generator=seeded(0),
    )
    assert shares[0] == shares[1] > shares[2]
    assert not in_hull(100 + inner, cloud).any()
    deep = lift(init((2, 3, 1), "relu", generator=0), cloud, 0, 3, generator=seeded(0))
    assert (
        layer_on_data(deep, torch.cat([cloud, inner]), 1).pieces >= 0
    ).all()  # still a lift on the larger sample
    unlift(deep, torch.cat([cloud, inner]), 1)


@pytest.mark.parametrize(
    ("message", "call"),
    [
        (
            "size 4 outside 1..3",
            lambda: one_piece_probability(data(3, 1), [4], "relu", generator=seeded(0)),
        ),
        (
            "tanh has no affine piece",
            lambda: one_piece_probability(data(3, 1), [2], "tanh", generator=seeded(0)),
        ),
        (
            "draws is 0",
            lambda: one_piece_probability(data(3, 1), [2], "relu", draws=0, generator=seeded(0)),
        ),
        (r"expected \(k, m\) and \(n >= 1, m\)", lambda: in_hull(data(3, 1), data(3, 2))),
    ],
)
def test_impossible_requests_are_refused(message, call):
    with pytest.raises(ValueError, match=message):
        call()
