"""The width law against least squares of its own, and sweeps that a store keeps in parts."""

import numpy as np
import pytest
import torch

from experiments.grafting import Bench, Stage, pairs_of
from experiments.grafting.width_law import left_over
from lib.nets import VGG, Design, initialise

DESIGN = Design(depth=11, width=1 / 32, channels=1, side=8, pools=2, hidden=8)
NETS = [initialise(VGG(DESIGN), generator=s).eval() for s in range(3)]
X = torch.randn(96, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def patches(x):
    """Features behind layer 2 as the joint's patches, a row a position, with a one for the bias."""
    with torch.no_grad():
        f = torch.nn.functional.unfold(NETS[0].features(x, 2)[2], 3, padding=1)
    rows = f.transpose(1, 2).flatten(0, 1).double().numpy()
    return np.hstack([rows, np.ones((len(rows), 1))])


def targets(x):
    with torch.no_grad():
        g = NETS[1].preactivations(x, 3)[2]
    return g.flatten(2).transpose(1, 2).flatten(0, 1).double().numpy()


@pytest.mark.parametrize("roll", [0, 1])
def test_what_is_left_over_is_that_of_a_dense_least_squares_on_held_out_images(roll):
    fit, held = X[:64], X[64:]
    w, *_ = np.linalg.lstsq(patches(fit), targets(fit.roll(roll, 0)), rcond=None)
    wanted = targets(held.roll(roll, 0))
    wrong = ((patches(held) @ w - wanted) ** 2).sum()
    expected = wrong / ((wanted - wanted.mean(0)) ** 2).sum()
    assert left_over(*NETS[:2], 2, fit, held, roll) == pytest.approx(expected, rel=1e-3)


def test_a_sweep_in_a_store_is_kept_in_parts_and_equals_one_in_memory(tmp_path):
    pairs = [(NETS[i], NETS[j]) for i, j in pairs_of(3)] * 2  # six: two parts
    y = torch.arange(len(X)) % 10

    def swept(folder):
        return Bench(X, X, y, [1, 3], Stage(folder, 60.0), 1).sweep("some", pairs).points

    assert np.array_equal(swept(None), swept(tmp_path))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["some-0.json", "some-4.json"]
