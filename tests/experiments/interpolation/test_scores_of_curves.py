"""Scores of curves are free of their scale; nulls that must fail do."""

import numpy as np
import pytest
import torch

from companion.bounds import Bound, Place
from companion.trials import Trials
from experiments.interpolation.descent import sine_problem
from experiments.interpolation.minimum import minimum_path
from experiments.interpolation.scores import bend, height, next_differences, relative_height
from experiments.interpolation.triangle import Triangle
from lib.mixture.curve import LossCurve


def curve(values):
    """A curve with these overall losses, at even shares."""
    values = torch.as_tensor(values, dtype=torch.float64)
    n = len(values)
    none = torch.zeros(n, 1, dtype=torch.bool)
    return LossCurve(torch.linspace(0, 1, n).double(), values[:, None], none, torch.zeros(n), 1.0)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_bend_and_relative_height_are_free_of_scale(scale):
    values = np.cos(np.linspace(0, 3, 11))
    assert bend(curve(scale * values)) == pytest.approx(bend(curve(values)))
    assert relative_height(curve(scale * values)) == pytest.approx(relative_height(curve(values)))
    assert height(curve(scale * values)) == pytest.approx(scale * height(curve(values)))


def test_a_nearly_flat_noisy_curve_no_longer_passes_for_convex():
    noisy = curve(2.3 + 0.002 * (-1.0) ** np.arange(11))
    assert noisy.overall.diff(n=2).min() > -0.02  # an absolute bound lets it through
    assert bend(noisy) < -0.058


def test_a_convex_curve_bends_upwards_and_has_no_height():
    convex = curve(np.linspace(-1, 1, 11) ** 2)
    assert bend(convex) > 0 and height(convex) == 0


def test_bend_is_taken_on_eleven_points_of_a_finer_curve():
    fine = curve(np.linspace(-1, 1, 21) ** 2)
    assert bend(fine) == pytest.approx(bend(curve(np.linspace(-1, 1, 11) ** 2)))


def test_seeds_of_one_setting_never_show_a_difference():
    trials = Trials(next_differences([0.1, 0.5, 0.2, 0.9, 0.4]))
    assert Bound.parse("> 0").place(*trials.interval()) is Place.STRADDLES


def test_a_convex_triangle_passes_and_the_same_losses_at_shuffled_shares_fail():
    grid = np.array([(i, j, 4 - i - j) for i in range(5) for j in range(5 - i)])
    bowl = Triangle(4, grid, ((grid / 4 - 1 / 3) ** 2).sum(1))
    assert bowl.bend >= 0 and bowl.excess.max() <= 1e-12
    assert all(bowl.shuffled(seed).bend < -0.058 for seed in range(5))


def test_the_minimum_over_weights_is_convex_in_the_masses_and_below_the_ensemble():
    draws = torch.Generator().manual_seed(3)
    found = minimum_path(sine_problem(), width=4, steps=50, points=5, generator=draws)
    assert found.violation < 1e-5
    assert found.minimum[2] < found.ensemble[2] <= found.chord[2] + 1e-12
