"""Chapter 03's measures and nulls: layers that go, levels that are met, plateaus drawn anew."""

import numpy as np
import pytest
import torch
from draws import seeded

from companion.bounds import Bound, Place
from companion.trials import Trials
from experiments.pruning import fewer_layers, loss_spectra, redrawn, shortening
from experiments.pruning.samples import Sample
from lib.depth import lift
from lib.nets import MLP, forward, init, mse, risk
from lib.train.descent import descend

torch.set_num_threads(1)


def task_of(net: MLP, x: torch.Tensor) -> fewer_layers.Task:
    """The task that a net solves exactly."""
    y = forward(net, x)
    return fewer_layers.Task(x, y, y.argmax(-1))


def bent(seed: int) -> MLP:
    return init((4, 8, 8, 8, 3), "relu", std=0.5, generator=seeded(seed))


def place(net: MLP, rival: MLP, task: fewer_layers.Task) -> fewer_layers.Place:
    return fewer_layers.Place(0, 1, net, float(risk(net, task.x, task.y)), rival)


def test_a_lifted_layer_goes_and_layers_that_bend_stay():
    x = torch.randn(60, 4, generator=seeded(0), dtype=torch.float64)
    shallow = init((4, 8, 8, 3), "relu", std=0.5, generator=seeded(1))
    task = task_of(shallow, x)
    deep = lift(shallow, x, 1, 8, generator=seeded(2))
    gone = shortening.shorten(place(deep, bent(3), task), task, seeded(4))
    assert gone.gone == 1 and gone.rise < 1e-20 and gone.right == (60, 60)
    assert min(gone.errors) < 1e-20 and gone.forced[1] < gone.forced[0] + 60
    # the null of B11-layers: a net whose layers all bend, at the same loss
    own = task_of(bent(5), x)
    stays = shortening.shorten(place(bent(5), bent(5), own), own, seeded(6))
    assert stays.gone == stays.ordinary == 0 and stays.rise <= 0.01 * own.constant


def test_the_budget_is_a_part_of_what_was_learned():
    """A net that is no better than the constant loses no layer but exact ones; a hundredth of its
    loss would let all of them go."""
    x = torch.randn(60, 4, generator=seeded(0), dtype=torch.float64)
    task = task_of(bent(1), x)
    useless = bent(2)
    assert float(risk(useless, x, task.y)) > task.constant
    found = shortening.shorten(place(useless, useless, task), task, seeded(3))
    assert found.rise <= 1e-12  # the budget is zero


def test_layers_merged_by_force_cost_accuracy():
    """The nulls of B11-accuracy and B11-later: |x_0| against 0.7, which no line tells apart."""
    x = torch.randn(150, 4, generator=seeded(0), dtype=torch.float64)
    first = torch.zeros(2, 4, dtype=torch.float64)
    first[:, 0] = torch.tensor([1.0, -1.0])
    second = torch.tensor([[1.0, 1.0], [0.0, 0.0]]).double()
    biases = (torch.zeros(2).double(), torch.tensor([0.0, 0.7]).double())
    net = MLP((first, second), biases, "relu")
    task = task_of(net, x)
    deep = lift(net, x, 1, 4, generator=seeded(1))
    found = shortening.shorten(place(deep, deep, task), task, seeded(2))
    (end,) = shortening.train_on([found], task, 5)
    assert found.gone == 1 and end.right[:2] == (150, 150) and end.right[2] < 120
    forced = shortening.merged_by_force(deep, x, 2)
    assert forced.depth == 1 and task.right(forced) < 120
    assert Bound.parse(">= -0.02").place(*[task.right(forced) / 150 - 1] * 2) is Place.OUTSIDE


def test_iterates_are_taken_at_losses():
    x = torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None]
    net = init((1, 4, 1), "relu", batch=(2,), generator=0)
    run = descend(net, x, x**2, steps=200, lr=0.05, records=40, backend="torch")
    loss = float(run.smallest_loss[20, 1])
    step, found = fewer_layers.at_loss(run, 1, loss)
    assert step == int(run.smallest_step[20, 1])
    assert float(mse(forward(found, x), x**2)) == pytest.approx(loss, rel=1e-12)
    places = fewer_layers.places_at(run, run, [loss])
    assert [p.owner for p in places] == [0, 1] and places[1].step == step


def test_levels_that_are_met_are_not_met_by_levels_drawn_evenly():
    """The null of A14."""
    draws = np.random.default_rng(0)
    found = [[0.347 * (1 + s), 0.0352 * (1 + s)] for s in draws.uniform(-0.03, 0.03, 40)]
    met = loss_spectra.visited(found, 0.0352)
    evenly = loss_spectra.visited_evenly(found, 1e-4, 0.347, 0)
    shares = [Trials({"seed": range(40), "value": v}, "share") for v in (met, evenly)]
    places = [Bound.parse(">= 0.5").place(*t.interval()) for t in shares]
    assert places == [Place.INSIDE, Place.OUTSIDE]


def sample(n: int, seed: int) -> Sample:
    labels = torch.arange(n) % 10
    x = torch.eye(10)[labels] + 0.3 * torch.randn(n, 10, generator=seeded(seed))
    x = torch.cat([x, torch.ones(n, 1)], 1)
    return Sample(x, torch.nn.functional.one_hot(labels, 10).float(), labels)


def test_a_draw_is_merged_and_retrained_and_its_nulls_differ():
    on, test = sample(60, 0), sample(40, 1)
    plan = redrawn.Plan(rate=0.01, mark=60, amplitude=0.0, dot=5, retraining=20)
    begun = init((11, 30, 10), "relu", std=0.01, bias=False, dtype=torch.float32, generator=0)
    # the null of A10-groups: at the start every neuron has a direction of its own
    assert redrawn.count_groups(begun, ()) == dict.fromkeys(redrawn.LINKAGES, 30)
    found = redrawn.follow(plan.train(begun, on), on, test, plan, 0)
    assert set(found.groups) == set(redrawn.LINKAGES)
    assert found.groups["connected"] <= found.groups["leader"] <= found.groups["complete"] <= 30
    assert found.merged.net.widths[1] == found.groups["complete"] == found.narrow.net.widths[1]
    assert plan.at_dot(found.again).widths == found.merged.net.widths
    assert found.level == pytest.approx(float(found.again.losses[0]), rel=0.5)
    # the null of A10-retraining starts at the level of a constant output, far above
    assert float(found.narrow.losses[0]) > 5 * found.level
