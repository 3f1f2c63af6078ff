"""Rows of trials of chapter 04."""

import numpy as np
import pytest

from experiments.families import Unfinished
from experiments.grafting import Stage, fall, kept_share, pairs_of, rows, upper_half


@pytest.mark.parametrize("count", [2, 3, 5])
def test_every_net_is_first_once_and_second_once(count):
    firsts, seconds = zip(*pairs_of(count), strict=True)
    assert sorted(firsts) == sorted(seconds) == list(range(count))
    assert all(i != j for i, j in pairs_of(count))


def test_fall_compares_the_end_with_the_largest_increase_on_the_way():
    curves = np.array([[[4.0, 8.0]], [[1.0, 2.0]], [[0.0, 3.0]]])  # (epochs, pairs, layers)
    assert fall(curves) == pytest.approx([0.25])


def test_a_graft_that_guesses_keeps_nothing_and_a_perfect_one_everything():
    kept = kept_share(np.array([10.0, 90.0]), np.array([90.0, 90.0]), 10.0)
    assert kept == pytest.approx([0.0, 1.0])


def test_upper_half_leaves_the_lower_layers_out():
    assert upper_half(np.array([[9.0, 9.0, 9.0, 1.0, 2.0, 3.0]])) == pytest.approx([2.0])
    assert rows([3.0])["value"] == [3.0]


def test_a_stage_whose_time_is_up_computes_one_new_thing_and_resumes(tmp_path):
    late = Stage(tmp_path, minutes=-1.0)
    assert late.once("a", lambda: {"value": 1}) == {"value": 1}
    with pytest.raises(Unfinished, match="before b"):
        late.once("b", lambda: {"value": 2})
    assert Stage(tmp_path, minutes=-1.0).once("a", lambda: {"value": 3}) == {"value": 1}
