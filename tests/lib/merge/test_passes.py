"""What is known of a layer on the data is computed once: passes over the data and fits of layers
are counted."""

from collections import Counter

import pytest
import torch
from lifted_minima import lifted_minimum
from sklearn.datasets import load_iris

import lib.depth.layers
import lib.merge.layers
import lib.nets.propagation
from lib.critical import plant
from lib.depth import exits, layer_on_data, slide
from lib.merge import merge_layers, reduce
from lib.nets import forward, init, risk
from lib.train.descent import descend
from lib.width import embedding


@pytest.fixture
def counted(monkeypatch):
    calls: Counter[str] = Counter()

    def count(module, name: str) -> None:
        original = getattr(module, name)

        def counting(*args, **keywords):
            calls[name] += 1
            return original(*args, **keywords)

        monkeypatch.setattr(module, name, counting)

    count(lib.depth.layers, "preactivations")
    count(lib.nets.propagation, "preactivations")
    count(lib.merge.layers, "_fit")
    return calls


def test_reduce_of_the_example_in_the_readme(counted):
    """42 passes and 8 fits while every tolerance and layer came back to `merge_layers`."""
    draws = torch.Generator().manual_seed(1)
    net = init((1, 2, 1), generator=0)
    x = torch.randn(20, 1, generator=draws, dtype=torch.float64)
    y = plant(net, x, draws, residual=0.01)
    wide = embedding(net, [(1, 0, 0.3)])(net)
    counted.clear()
    assert reduce(wide, x, y, budget=0.0).net.widths == (1, 2, 1)
    assert counted == {"preactivations": 4, "_fit": 1}


def test_reduce_of_a_deep_net_on_iris(counted):
    """A net of chapter 03 after 3,000 steps: 120 passes and 22 errors of layers before."""
    flowers, species = load_iris(return_X_y=True)
    x, y = torch.tensor(flowers), torch.eye(3, dtype=torch.float64)[torch.tensor(species)]
    x = (x - x.mean(0)) / x.std(0)
    nets = init((4, 20, 20, 20, 3), "relu", std=0.08, batch=(1,), generator=0)
    net = descend(nets, x, y, steps=3000, lr=0.01, backend="torch").net[0]
    counted.clear()
    done = reduce(net, x, y, budget=0.01 * float(risk(net, x, y)))
    kept = [step for step in done.steps if step.accepted]
    assert done.net.depth < net.depth and len(kept) > 2
    # One pass for each attempt, one at the start, and at most one fit of all layers in each turn.
    turns = len(kept)
    assert counted["preactivations"] <= len(done.steps) + 1 + turns
    assert counted["_fit"] <= 3 * turns


def test_merging_fits_what_stands_behind_the_merged_layer_anew_and_nothing_else(counted):
    net = init((3, 5, 5, 5, 2), "relu", std=0.6, generator=1)
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    done = merge_layers(net, x, 1.0, fit="neuron")
    assert done.net.depth == 1
    behind = [m.layer for m in done.merged]
    left = [1, 2, 3]
    fits = 3
    for layer in behind:
        fits += len([other for other in left if other > layer])
        left.remove(layer)
    assert counted["_fit"] == fits <= 6
    assert (forward(done.net, x) - forward(net, x)).norm(dim=-1).max() == pytest.approx(done.change)


def test_exits_and_slides_read_their_layer_once(counted):
    _, deep, x, y = lifted_minimum("relu")
    for act in (
        lambda: exits(deep, x, y, 2),
        lambda: slide(deep, x, 2, 0, 0.1),
        lambda: layer_on_data(deep, x, 2).jacobian(),
    ):
        counted.clear()
        act()
        assert counted == {"preactivations": 1}
