"""The samples of the pruning chapter, and the comparison of methods: equal sizes, honest work, the
right data."""

import numpy as np
import pytest
import torch

from experiments.pruning.comparison import Rules, compare
from experiments.pruning.rivals import magnitude_prune
from experiments.pruning.samples import accuracy, agreement, standardise
from experiments.pruning.training import softmax_mse, train
from lib.merge import merge_neurons
from lib.nets import forward, init, risk

torch.set_num_threads(1)
CRITERION = ("GroupMagnitudeImportance",)


def images(n: int, seed: int = 0):
    draws = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    return (
        draws.integers(0, 40, (n, 2, 3))
        + 100 * (np.arange(6).reshape(2, 3) % 3 == labels[:, None, None])
    ).astype(np.uint8), labels


def test_standardised_images_have_a_one_at_the_end():
    pixels, labels = images(12)
    s = standardise(pixels, labels, mean=50.0, std=20.0)
    assert len(s) == 12 and s.x.dtype == torch.float32
    assert np.allclose(s.x[:, :-1].numpy(), (pixels.reshape(12, 6) - 50.0) / 20.0, atol=1e-6)
    assert bool((s.x[:, -1] == 1).all()) and s.labels.tolist() == labels.tolist()
    assert s.y.argmax(1).tolist() == labels.tolist() and bool((s.y.sum(1) == 1).all())
    for bad in ((pixels[:3], labels, 1.0), (pixels[:0], labels[:0], 1.0)):
        with pytest.raises(ValueError, match="images and"):
            standardise(bad[0], bad[1], mean=0.0, std=bad[2])
    with pytest.raises(ValueError, match="std is 0"):
        standardise(pixels, labels, mean=0.0, std=0.0)


def test_accuracy_and_agreement_match_a_count():
    s = standardise(*images(30), mean=60.0, std=50.0)
    a, b = (
        init(
            (7, 5, 3),
            "relu",
            bias=False,
            generator=torch.Generator().manual_seed(k),
            dtype=torch.float32,
        )
        for k in (1, 2)
    )
    said = [forward(net, s.x).argmax(-1).tolist() for net in (a, b)]
    table = np.zeros((3, 3))
    for i, j in zip(*said, strict=True):
        table[i, j] += 1 / 30
    assert np.allclose(agreement(a, b, s).numpy(), table, atol=1e-12)
    assert accuracy(a, s) == pytest.approx(np.mean(np.array(said[0]) == s.labels.numpy()))


def test_every_method_gets_the_size_of_the_merge_and_the_same_epochs():
    sample, test = (
        standardise(*images(n, seed), mean=60.0, std=50.0) for n, seed in ((30, 0), (21, 1))
    )
    start = init(
        (7, 12, 3),
        "relu",
        std=0.1,
        bias=False,
        generator=torch.Generator().manual_seed(3),
        dtype=torch.float32,
    )
    rules = Rules([0.9, 0.8], 0.05, epochs=7, lr=0.02, tuning=5, tickets=[0.8], criteria=CRITERION)
    dense = train(start, sample.x, sample.y, rules.adam(40))
    found = compare(start, dense, sample, test, rules)
    assert [p.method for p in found if p.cosine == 0.9] == ["merge"] * 2 + ["magnitude"] * 2 + [
        "torch-pruning GroupMagnitude"
    ] * 2 + ["narrow"]
    for cosine in (0.9, 0.8):
        small = merge_neurons(dense.net, cosine, 0.05).net
        same = [p for p in found if p.cosine == cosine]
        assert {p.n_weights for p in same} == {small.widths[1] * (7 + 3)}
        cut = next(p for p in same if p.method == "merge")
        assert cut.trained == 0 and cut.work == dense.work
        assert cut.loss == pytest.approx(float(risk(small, sample.x, sample.y, softmax_mse)))
        assert cut.accuracy == accuracy(small, test)
        masked = next(p for p in same if p.method == "magnitude")
        assert masked.accuracy == accuracy(magnitude_prune(dense.net, cut.n_weights).net, test)
        assert all(p.work == dense.work + 3 * 30 * 5 * p.n_weights for p in same if p.trained == 5)
    ticket, narrow = (next(p for p in same if p.method == m) for m in ("ticket", "narrow"))
    assert ticket.trained == narrow.trained == 7 and ticket.cosine == narrow.cosine == 0.8
    assert narrow.work == 3 * 30 * 7 * narrow.n_weights and ticket.work == dense.work + narrow.work
    assert found[0].method == "dense" and found[0].n_weights == 12 * 10
