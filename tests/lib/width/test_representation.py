"""The representation is preserved: sets of features by splittings (Zhang et al. 2021, Prop. 1 iii),
their span by every general compatible embedding (Zhang et al. 2022, Def. 4.2)."""

import pytest
import torch
from draws import seeded
from hypothesis import given, settings
from hypothesis import strategies as st
from mlp_oracle import alphas, nets, neurons, samples

from lib.linear import rank
from lib.nets import features, init
from lib.width import random_embedding, split
from lib.width.constructions import three_fold

few = settings(max_examples=25, deadline=None, derandomize=True)


def test_helper_distance_sees_what_is_missing():
    a = torch.eye(3, dtype=torch.float64)
    assert distance(a, a[:, :2]) == 1.0 and distance(a[:, :2], a) == 0.0


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """How far the farthest column of a is from its nearest column of b."""
    return float((a.unsqueeze(-1) - b.unsqueeze(-2)).abs().amax(-3).amin(-1).max())


@few
@given(st.data(), nets(widest=4), alphas)
def test_proposition_1_iii_sets_of_features_are_the_same(data, net, alpha):
    """On any inputs, at any parameters: every feature of the wide net is one of the narrow net's,
    and conversely."""
    layer, neuron = data.draw(neurons(net))
    x = 10 * samples(net, 9)[0]
    wide = split(net, layer, neuron, alpha)
    for before, after in zip(features(net, x)[1:-1], features(wide, x)[1:-1], strict=True):
        scale = 1e-12 * (1 + abs(alpha)) * (1 + float(before.abs().max()))
        assert distance(after, before) <= scale and distance(before, after) <= scale


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "relu"])
@pytest.mark.parametrize("kind", ["general", "with null neurons", "three-fold"])
def test_general_compatible_embeddings_keep_the_span_of_features_and_1(name, kind):
    net = init((3, 2, 2, 1), name, generator=seeded(1))
    op = {
        "general": lambda: random_embedding(net, (3, 4, 3, 1), seeded(0), null=0),
        "with null neurons": lambda: random_embedding(net, (3, 4, 4, 1), seeded(0)),
        "three-fold": lambda: three_fold(net),
    }[kind]()
    wide = op(net)
    x = torch.randn(40, 3, generator=seeded(2), dtype=torch.float64)
    for before, after in zip(features(net, x)[1:-1], features(wide, x)[1:-1], strict=True):
        one = torch.ones_like(before[:, :1])
        narrow, broad = torch.cat([before, one], 1), torch.cat([after, one], 1)
        ranks = [
            int(rank(m, tolerance=1e-10).value)
            for m in (narrow, broad, torch.cat([narrow, broad], 1))
        ]
        assert ranks[0] == ranks[1] == ranks[2]
