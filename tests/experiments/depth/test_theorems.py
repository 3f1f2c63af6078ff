"""What chapter 02 corrects of the theory, each with its number."""

import numpy as np
import torch

from experiments.depth import combined, exactness, levels, persistence, smooth
from experiments.depth.planted import strict_minimum


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_lifts_with_the_least_width_survive_points_that_w_does_not_see():
    assert persistence.kept_off_the_hull(1, 100, draws()) == 1


def test_lifts_with_one_neuron_more_do_not_all_survive_them():
    assert persistence.kept_off_the_hull(2, 100, draws()) < 0.9


def test_without_a_free_direction_the_curvature_of_tanh_lifts_vanishes_with_the_scale():
    point = strict_minimum((2, 2, 1), "tanh", samples=60, generator=draws())
    coarse, fine = (smooth.approximate(point, 0, s, width=2) for s in (0.1, 0.003))
    assert abs(fine.smallest) < 0.01 * abs(coarse.smallest)
    assert np.isnan(fine.form)


def test_with_a_free_direction_it_tends_to_that_of_the_form():
    point = strict_minimum((2, 2, 1), "tanh", samples=60, generator=draws())
    found = smooth.approximate(point, 0, 1e-3)
    assert found.form < 0
    assert abs(found.smallest / found.form - 1) < 0.01


def test_inserted_layers_keep_the_representation():
    trials = exactness.exact_lifts(("relu",), 3, draws())
    assert max(t.representation_error for t in trials) < 1e-10


def test_splitting_and_lifting_in_either_order_lose_no_sign_and_no_zero():
    found = combined.combine(("relu",), 2, draws())
    assert {c.first for c in found} == {"split", "lift"}
    assert max(c.gradient for c in found) < 1e-9
    assert not any(c.signs_lost or c.zeros_missing for c in found)


def test_evenly_spread_losses_do_not_meet_common_levels():
    stalls = {1: [[1.0, 0.1]] * 20, 2: [[1.0, 0.1]] * 20}
    known = {1: np.array([1.0, 0.1])}
    assert set(levels.by_net(stalls, known)["value"]) == {1.0}
    even = levels.spread_out(stalls, 0)
    assert np.mean(levels.by_net(even, known)["value"]) < 0.3


def test_the_level_of_the_constant_is_left_out_and_moved_levels_are_not_met():
    """The nulls of B7: every depth has the constant for free, and levels a few per cent away are
    others."""
    stalls = {1: [[0.222, 0.05, 0.02]] * 20, 2: [[0.222, 0.05, 0.02]] * 20}
    below = levels.below_constant(stalls, 0.2222)
    assert below[2][0] == [0.05, 0.02]
    known = levels.of_depths(below)
    assert set(levels.by_net(below, known)["value"]) == {1.0}
    assert np.mean(levels.by_net(levels.moved(below, 0), known)["value"]) == 0
