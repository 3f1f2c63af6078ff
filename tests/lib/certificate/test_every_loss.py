"""The theorems of embedding for cross entropy as for the squared error, and width combined with
depth."""

import pytest
import torch
from draws import seeded

from experiments.width.soft_labels import plant_labels, soft_cross_entropy
from lib.certificate import certify
from lib.critical import plant
from lib.curvature import inertia
from lib.depth import lift, unlift
from lib.nets import cross_entropy, flatten, forward, gradient, init, mse
from lib.nets.activations import leaky_relu
from lib.width import embedding, random_embedding, split
from lib.width.constructions import three_fold

LOSSES = {"squared error": mse, "cross entropy": soft_cross_entropy}


def critical_case(loss_name: str, sigma="tanh", widths=(2, 2, 3)):
    """A net that is critical, without training, for data with a residual."""
    draws = seeded(3)
    net = init(widths, sigma, generator=draws)
    x = torch.randn(40, widths[0], generator=draws, dtype=torch.float64)
    if LOSSES[loss_name] is mse:
        return net, x, plant(net, x, draws, residual=0.3), mse
    return net, x, plant_labels(net, x, draws), soft_cross_entropy


def test_planted_labels_agree_with_the_cross_entropy_of_classes():
    net, x, y, loss = critical_case("cross entropy")
    assert float(flatten(gradient(net, x, y, loss)).abs().sum()) < 1e-13
    assert float((y.sum(-1) - 1).abs().max()) < 1e-13 and float(y.min()) > -0.2
    classes = torch.arange(40) % 3
    hard = torch.nn.functional.one_hot(classes, 3).double()
    output = forward(net, x)
    assert float(loss(output, hard)) == pytest.approx(float(cross_entropy(output, classes)))


@pytest.mark.parametrize("loss_name", LOSSES)
@pytest.mark.parametrize("kind", ["splits", "null", "general", "three-fold"])
def test_theorems_of_embedding_in_width_hold_for_every_loss(loss_name, kind):
    net, x, y, loss = critical_case(loss_name)
    op = {
        "splits": lambda: embedding(net, [(1, 0, 0.3), (1, 1, -0.5)]),
        "null": lambda: embedding(net, [(1, None, 0.4)]),
        "general": lambda: random_embedding(net, (2, 4, 3), seeded(0)),
        "three-fold": lambda: three_fold(net),
    }[kind]()
    found = certify(net, x, y, loss, after=op, off_sample=50 * x)
    assert float(found.output_gap) < 1e-12 and float(found.off_sample_gap) < 1e-11
    assert float(found.gradient_before) < 1e-13 and float(found.gradient_after) < 1e-11
    assert float(found.transport_gap) < 1e-12 and float(found.intertwining_gap) < 1e-11
    assert bool(found.inertia_kept)
    assert int(found.found_zeros) >= int(found.predicted_zeros) > 0


@pytest.mark.parametrize("loss_name", LOSSES)
@pytest.mark.parametrize("sigma", ["relu", leaky_relu(0.3), "elu"], ids=str)
@pytest.mark.parametrize("position", [0, 1])
def test_theorem_of_embedding_in_depth_holds_for_every_loss(loss_name, sigma, position):
    net, x, y, loss = critical_case(loss_name, sigma)
    deep = lift(net, x, position, 3, generator=seeded(position))
    found = certify(net, x, y, loss, after=deep)
    assert float(found.output_gap) < 1e-12 and float(found.gradient_after) < 1e-10
    before, after = found.inertia_before.counts, found.inertia_after.counts
    assert (after[0], after[2]) == (before[0], before[2])
    assert after[1] - before[1] == deep.n_parameters - net.n_parameters


@pytest.mark.parametrize("loss_name", LOSSES)
@pytest.mark.parametrize("first", ["width", "depth"])
def test_width_and_depth_combine(loss_name, first):
    """Split then lift, or lift then split the inserted layer: critical, the same outputs on S, no
    count of the inertia falls, and merging goes all the way back."""
    net, x, y, loss = critical_case(loss_name, "elu")
    if first == "width":
        wide = split(net, 1, 0, 0.3)
        both = lift(wide, x, 1, 4, generator=seeded(1))
        back = unlift(both, x, 2)
        assert float((flatten(back) - flatten(wide)).abs().max()) < 1e-11
    else:
        both = split(lift(net, x, 1, 3, generator=seeded(1)), 2, 1, 0.3)
        back = unlift(both, x, 2)
        assert float((flatten(back) - flatten(net)).abs().max()) < 1e-11
    counts = lambda h: inertia(h, gap=30)  # noqa: E731
    found = certify(net, x, y, loss, after=both, spectrum=counts)
    assert float(found.output_gap) < 1e-12 and float(found.gradient_after) < 1e-10
    assert bool(found.inertia_kept)


def test_class_labels_with_the_squared_error_say_which_loss_to_pass():
    net, x, _, _ = critical_case("squared error")
    with pytest.raises(ValueError, match="pass loss=cross_entropy"):
        certify(net, x, torch.arange(40) % 3, after=split(net, 1, 0, 0.5))
