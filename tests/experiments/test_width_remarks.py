"""What chapter 01 measures beside the figures: each number comes out as the papers state it, and an
altered one does not."""

import pytest
import torch
from draws import seeded

from experiments.width import remarks
from lib.critical import polish
from lib.nets import MLP

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def minima():
    x = torch.linspace(-15, 15, 50, dtype=torch.float64)[:, None]
    y = torch.tanh(x - 7) + torch.tanh(x) + torch.tanh(x + 7)
    start = MLP(
        (torch.tensor([[0.5], [0.15]]).double(), torch.tensor([[1.2, 2.2]]).double()),
        (torch.tensor([-3.0, 0.5]).double(), None),
    )
    first = polish(start, x, y)
    mirrored = MLP(first.net.weights, (-first.net.biases[0], None), "tanh")
    return [first.net, mirrored], x, y


def test_proposition_1_iii_and_lemmas_1_and_2():
    span, gap, kernel = remarks.representations(seeded(0))
    assert span < 1e-20 and gap < 1e-14 and kernel < 1e-12
    x = torch.randn(30, 2, generator=seeded(1), dtype=torch.float64)
    assert remarks.left_over(x[:, :1], x) > 0.1  # a feature that is missing shows


def test_permuted_and_mirrored_minima_are_minima_of_the_same_spectrum(minima):
    nets, x, y = minima
    found = remarks.symmetries(nets, x, y)
    assert found.gradient < 1e-9 and found.spectrum < 1e-9 and found.mirror == 0
    shifted = remarks.symmetries([nets[0], nets[0]], x, y)
    assert shifted.mirror > 0.1  # a minimum is not its own mirror image


def test_squared_relu_is_rescaled_with_the_power_two():
    norms, along = remarks.of_degree_two(seeded(2))
    assert norms < 1e-11 and along < 1e-11


def test_every_embedding_is_critical_for_cross_entropy():
    output, norm, lost = remarks.with_cross_entropy(seeded(3))
    assert output < 1e-12 and norm < 1e-11 and lost == 0


def test_example_5_2_and_points_that_no_embedding_opens():
    norm, closed, opened = remarks.without_bend(seeded(4))
    assert norm < 1e-12 and closed == 0 and opened >= 1
