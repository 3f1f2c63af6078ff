"""F(p) = min over (w~, u~) of Q along mixtures of two nets: what Algorithm 2 approximates."""

from __future__ import annotations

import pytest
import torch

from lib.convex import (
    convex_objective,
    from_net,
    minimum_at_shares,
    mix_points,
    solve_programme,
    union,
)
from lib.convex.terms import violation
from lib.nets import cross_entropy, init

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
SOLVER = 1e-6


def pair(widths: tuple[int, ...], seed: int = 0, samples: int = 12):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, widths[0], generator=g, dtype=torch.float64)
    y = torch.sin(x.sum(1, keepdim=True))
    space, p, q = union(*(from_net(init(widths, generator=g), x) for _ in range(2)))
    return space, p, q, y


@pytest.mark.parametrize(
    ("widths", "strength"), [((2, 16, 1), (0.01, 0.01)), ((2, 4, 3, 1), (0.01, 0.02, 0.01))]
)
def test_the_minimum_lies_below_the_ensemble_which_lies_below_the_chord(widths, strength) -> None:
    space, p, q, y = pair(widths)
    found = minimum_at_shares(space, p, q, y, SHARES, strength=strength)
    least = [s.terms.total for s in found]
    mixed = [mix_points(p, q, g) for g in SHARES]
    ensemble = [convex_objective(space, m, y, strength=strength).total for m in mixed]
    for share, low, middle in zip(SHARES, least, ensemble, strict=True):
        chord = share * ensemble[-1] + (1 - share) * ensemble[0]
        assert low <= middle + SOLVER
        assert middle <= chord + 1e-12
    assert least[2] < 0.99 * ensemble[2]  # free weights gain something: F is not the ensemble
    bends = [least[i - 1] - 2 * least[i] + least[i + 1] for i in (1, 2, 3)]
    assert min(bends) > -SOLVER  # F is convex
    assert max(bends) > 1e-5  # and not because nothing happens
    for solution, point in zip(found, mixed, strict=True):
        assert violation(space, solution.point) < 1e-4
        for mass, wanted in zip(solution.point.p, point.p, strict=True):
            assert torch.allclose(mass, wanted, atol=1e-12)


def test_free_masses_can_only_gain() -> None:
    space, p, q, y = pair((2, 6, 1), 1)
    strength = (0.02, 0.02)
    (fixed,) = minimum_at_shares(space, p, q, y, (0.5,), strength=strength)
    free = solve_programme(space, y, strength=strength)
    assert free.terms.total <= fixed.terms.total + SOLVER
    again = solve_programme(space, y, strength=strength, masses=free.point.p)
    assert again.terms.total == pytest.approx(free.terms.total, rel=1e-4)


def test_an_end_is_the_nets_own_atoms_alone() -> None:
    space, p, q, y = pair((2, 5, 1), 2)
    (at_first,) = minimum_at_shares(space, p, q, y, (1.0,), strength=(0.01, 0.01))
    own = space.sizes[1] // 2
    assert float(at_first.point.u[:, own:].abs().max()) == 0
    assert float(at_first.point.w[0][own:].abs().max()) == 0


def test_class_labels_and_bad_masses() -> None:
    space, p, q, y = pair((2, 5, 2), 3)
    labels = (y[:, 0] > 0).long()
    found = minimum_at_shares(
        space, p, q, labels, (0.5,), strength=(0.01, 0.01), loss=cross_entropy
    )
    mixed = convex_objective(
        space, mix_points(p, q, 0.5), labels, strength=(0.01, 0.01), loss=cross_entropy
    )
    assert found[0].terms.total < mixed.total
    with pytest.raises(ValueError, match="gamma is 2"):
        minimum_at_shares(space, p, q, labels, (2.0,), strength=(0.01, 0.01))
    for masses in ([p.p[0][:3]], [2 * p.p[0]], [p.p[0], p.p[0]]):
        with pytest.raises(ValueError, match="masses of sizes"):
            solve_programme(space, y, strength=(0.01, 0.01), masses=masses)
