"""What chapter 06 measures live, and how it finds committed results."""

import numpy as np

from companion.records import benchmarks
from experiments.kernels import accuracy, timing
from experiments.kernels.results import Results, by_round


def test_activations_err_by_a_few_units_in_the_last_place():
    z = accuracy.arguments()
    errors = accuracy.last_place_errors(z)
    assert errors["tanh"].max() <= 6
    assert errors["sigmoid"][z > -1].max() <= 6


def test_jobs_take_their_turn_and_the_first_round_does_not_count():
    order = []
    assert len(timing.in_turn(order.append, (3, 5), rounds=2)) == 2
    assert order == [3, 5] * 3


def test_rows_and_facts_are_found_by_their_beginnings():
    known = Results(benchmarks())
    assert known.row("descent", "200 nets of width 3", "JAX")["ratio"] > 1
    assert known.fact("descent", "no such fact") is None
    assert known.facts("nothing", "") == {}
    assert {r["benchmark"] for r in known.rows} == {n for n in known.by_name if known.of(n)}


def test_the_worst_row_of_every_round_counts_and_a_race_against_itself_wins_nothing():
    rows = [
        {"rounds": [[1.0, 1.0, 2.0], [9.0, 12.0, 22.0]], "target": 8.0},
        {"rounds": [[1.0, 2.0, 1.0], [7.0, 20.0, 6.0]], "target": 5.0},
    ]
    found = by_round(rows, lambda r, ratio: ratio / r["target"])
    assert found.value == [9 / 8, 12 / 8, 6 / 5]
    assert max(found.null) < 1  # the null of K2
    cost = by_round(rows, lambda r, ratio: 11 / ratio, np.max)
    assert cost.value == [11 / 7, 11 / 10, 11 / 6]
    assert by_round([{"ratio": 3.0}], lambda r, ratio: ratio) is None


def test_slopes_come_round_by_round_or_not_at_all():
    curve = {"nets": [1, 8, 64], "seconds": [1, 1, 8], "rounds": [[1, 1], [1, 2], [8, 4]]}
    known = Results({"scaling": {"facts": {"seconds a step by nets": curve}, "rows": []}})
    assert np.allclose(known.slopes("nets", 1), [1, 1 / 3])
    del curve["rounds"]
    assert known.slopes("nets", 1) == []


def test_problems_have_the_sizes_asked_for():
    net, x, y = timing.problem(0, 3, 2, 7, 4)
    assert net.widths == (4, 2, 1) and net.batch == (3,)
    assert x.shape == (7, 4) and np.isfinite(y.numpy()).all()
