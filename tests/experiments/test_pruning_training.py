"""The pruning chapter's trainer against torch.optim on nn.Sequential, and the rivals against numpy
and their libraries."""

import numpy as np
import pytest
import torch
from draws import seeded

from experiments.pruning.rivals import (
    CRITERIA,
    _gradients,
    magnitude_prune,
    rewind,
    torch_pruning,
)
from experiments.pruning.stuck_images import stuck
from experiments.pruning.training import Adam, n_weights, softmax_mse, train
from lib.nets import (
    MLP,
    cross_entropy,
    flatten,
    forward,
    from_sequential,
    init,
    mse,
    risk,
    to_sequential,
)
from lib.train.descent import descend

torch.set_num_threads(1)


def sample(n: int = 30):
    g = seeded(1)
    return torch.randn(n, 3, generator=g, dtype=torch.float64), torch.rand(
        n, 2, generator=g, dtype=torch.float64
    )


def test_softmax_mse_matches_numpy():
    output, y = (
        torch.randn(4, 7, 3, generator=seeded(0), dtype=torch.float64),
        torch.eye(3, dtype=torch.float64)[[0, 1, 2, 0, 1, 2, 0]],
    )
    e = np.exp(output.numpy())
    expected = ((e / e.sum(-1, keepdims=True) - y.numpy()) ** 2).mean((1, 2))
    assert np.abs(softmax_mse(output, y).numpy() - expected).max() <= 1e-15


def test_a_saturated_wrong_answer_costs_two_over_n_m_and_has_no_gradient():
    output = torch.zeros(5, 10, dtype=torch.float64)
    output[torch.arange(5), torch.tensor([0, 1, 2, 3, 9])] = 60.0
    y = torch.eye(10, dtype=torch.float64)[:5]  # the last answer is wrong
    output.requires_grad_()
    loss = softmax_mse(output, y)
    assert float(loss.detach()) == pytest.approx(2 / (5 * 10))
    assert float(torch.autograd.grad(loss, output)[0].abs().max()) < 1e-20  # e^-60 = 1e-26


@pytest.mark.parametrize("loss", [mse, softmax_mse])
def test_training_follows_torch_adam_step_by_step(loss):
    x, y = sample()
    net = init((3, 5, 2), "tanh", generator=seeded(2))
    run = train(net, x, y, Adam(60, 0.02, loss), records=range(61), keep=True)
    module = to_sequential(net)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    for step in range(61):
        value = loss(module(x), y)
        assert float(run.losses[step]) == pytest.approx(float(value.detach()), rel=1e-12)
        assert (
            float((flatten(run.kept[step]) - flatten(from_sequential(module))).abs().max()) <= 1e-12
        )
        optimizer.zero_grad()
        value.backward()
        norm = sum(float(p.grad.abs().sum()) for p in module.parameters())
        assert float(run.gradients[step]) == pytest.approx(norm, rel=1e-10)
        optimizer.step()
    assert torch.equal(flatten(run.net), flatten(run.kept[-1])) and run.steps.tolist() == list(
        range(61)
    )
    assert run.work == 3 * 30 * 60 * (15 + 10)


def test_training_follows_descend():
    x, y = sample()
    net = init((3, 5, 2), "relu", generator=seeded(3))
    ours = train(net, x, y, Adam(200, 0.01), records=20)
    theirs = descend(net, x, y, steps=200, lr=0.01, optimizer="adam", records=20)
    assert torch.equal(ours.steps, theirs.steps)
    assert torch.allclose(
        ours.losses, theirs.losses, rtol=1e-8
    )  # rounding, amplified over 200 steps of Adam


def test_masked_weights_stay_zero_and_the_others_train():
    x, y = sample()
    net = init((3, 5, 2), "relu", generator=seeded(4))
    mask = magnitude_prune(net, 12).mask
    run = train(net, x, y, Adam(50, 0.02), mask=mask)
    for p, m, start in zip(run.net.parameters(), mask.parameters(), net.parameters(), strict=True):
        assert bool((p[m == 0] == 0).all()) and not torch.equal(p[m == 1], start[m == 1])
    assert run.losses[-1] < run.losses[0] == risk(magnitude_prune(net, 12).net, x, y)
    assert run.work == 3 * 30 * 50 * 12 and n_weights(net, mask) == 12


def test_single_precision_stays_single_and_class_indices_work():
    x, y = sample()
    net = init((3, 5, 2), "relu", generator=seeded(5), dtype=torch.float32)
    rule = Adam(20, 0.02, cross_entropy)
    run = train(net, x.float(), (y[:, 0] > 0.5).long(), rule)
    assert run.net.dtype == torch.float32 and run.losses[-1] < run.losses[0] and run.kept == ()


def test_bad_training_is_refused():
    x, y = sample()
    net = init((3, 5, 2), "relu", generator=seeded(6))
    with pytest.raises(ValueError, match="is a batch of nets"):
        train(init((3, 5, 2), batch=(2,), generator=0), x, y, Adam(1, 0.1))
    with pytest.raises(ValueError, match="steps is -1"):
        Adam(-1, 0.1)
    with pytest.raises(ValueError, match="lr is 0"):
        Adam(1, 0)
    with pytest.raises(ValueError, match="mask is MLP"):
        train(net, x, y, Adam(1, 0.1), mask=init((3, 4, 2), "relu", generator=0))
    with pytest.raises(ValueError, match="the loss is (nan|inf): expected a smaller"):
        train(net.map(lambda p: p * 1e200), x, y, Adam(5, 0.1))


def test_magnitude_pruning_keeps_the_largest_weights_of_all_layers():
    net = init((3, 5, 2), "relu", generator=seeded(7))
    for keep in (1, 7, 25):
        done = magnitude_prune(net, keep)
        weights = np.concatenate([w.flatten().numpy() for w in net.weights])
        kept = np.concatenate([w.flatten().numpy() for w in done.net.weights])
        threshold = np.sort(np.abs(weights))[-keep]
        assert np.array_equal(kept, np.where(np.abs(weights) >= threshold, weights, 0))
        assert all(torch.equal(a, b) for a, b in zip(done.net.biases, net.biases, strict=True))
        assert done.n_parameters == keep + 7  # five and two biases
    for keep in (0, 26, 2.0):
        with pytest.raises(ValueError, match="keep is"):
            magnitude_prune(net, keep)


def test_a_ticket_has_the_trained_mask_on_the_old_weights():
    start, trained = (init((3, 5, 2), "relu", generator=seeded(s)) for s in (8, 9))
    ticket = rewind(start, trained, 10)
    expected = magnitude_prune(trained, 10)
    assert torch.equal(flatten(ticket.mask), flatten(expected.mask))
    for p, m, s in zip(
        ticket.net.parameters(), ticket.mask.parameters(), start.parameters(), strict=True
    ):
        assert torch.equal(p, s * m)
    with pytest.raises(ValueError, match="expected one shape"):
        rewind(init((3, 4, 2), "relu", generator=0), trained, 10)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_torch_pruning_removes_whole_neurons(criterion):
    x, y = sample()
    net = init((3, 8, 6, 2), "relu", generator=seeded(10))
    found = torch_pruning(net, (3, 5, 4, 2), criterion, x, y)
    assert found.widths == (3, 5, 4, 2)
    rows = {tuple(r.tolist()) for r in net.weights[0]}
    assert all(
        tuple(r.tolist()) in rows for r in found.weights[0]
    )  # neurons of the net, not new ones


def test_torch_pruning_drops_a_neuron_that_does_nothing():
    x, y = sample()
    net = init((3, 4, 2), "relu", generator=seeded(11))
    null = MLP(
        (
            torch.cat([net.weights[0], 1e-9 * net.weights[0][:1]]),
            torch.cat([net.weights[1], 1e-9 * net.weights[1][:, :1]], 1),
        ),
        (torch.cat([net.biases[0], 1e-9 * net.biases[0][:1]]), net.biases[1]),
        "relu",
    )
    for criterion in (
        "GroupMagnitudeImportance",
        "GroupTaylorImportance",
        "GroupHessianImportance",
    ):
        found = torch_pruning(null, (3, 4, 2), criterion, x, y)
        assert float((forward(found, x) - forward(net, x)).abs().max()) <= 1e-8


def test_bad_torch_pruning_is_refused():
    x, y = sample()
    net = init((3, 4, 2), "relu", generator=0)
    with pytest.raises(ValueError, match="criterion 'best' is unknown"):
        torch_pruning(net, (3, 2, 2), "best", x, y)
    for widths in ((3, 5, 2), (3, 0, 2), (2, 2, 2), (3, 2)):
        with pytest.raises(ValueError, match="cannot be reached"):
            torch_pruning(net, widths, "RandomImportance", x, y)


@pytest.mark.parametrize("loss", [mse, softmax_mse])
def test_gradients_and_squares_of_a_sample_match_a_loop(loss):
    x, y = sample(7)
    module = to_sequential(init((3, 4, 5, 2), "tanh", generator=seeded(12)))
    loss(module(x), y).backward()
    expected = [p.grad.clone() for p in module.parameters()]
    _gradients(module, False, x, y, loss)
    assert all(
        torch.allclose(p.grad, e, rtol=1e-12)
        for p, e in zip(module.parameters(), expected, strict=True)
    )
    squares = [torch.zeros_like(p) for p in module.parameters()]
    for i in range(7):
        module.zero_grad()
        loss(module(x[i : i + 1]), y[i : i + 1]).backward()
        squares = [
            s + p.grad.square() / 7 for s, p in zip(squares, module.parameters(), strict=True)
        ]
    _gradients(module, True, x, y, loss)
    assert all(
        torch.allclose(p.grad, e, rtol=1e-12)
        for p, e in zip(module.parameters(), squares, strict=True)
    )


@pytest.mark.parametrize("wrong", [1, 2, 3, 9])
def test_a_sample_shared_by_wrong_classes_is_stuck_at_a_saddle_at_infinity(wrong):
    z = torch.full((1, 10), -80.0, dtype=torch.float64)
    z[0, 1 : 1 + wrong] = 0.0  # the true class is 0
    y = torch.eye(10, dtype=torch.float64)[:1]
    z.requires_grad_()
    slope = torch.autograd.grad(softmax_mse(z, y), z)[0]
    assert float(slope.abs().max()) < 1e-15
    moved = z.detach().clone()
    moved[0, 1] += 0.5  # uneven shares cost more, and slope back
    if wrong > 1:
        assert softmax_mse(moved, y) > softmax_mse(z, y)
    found = stuck(z.detach(), torch.tensor([0]))
    assert found.classes.tolist() == [wrong]
    assert float(found.cost) == pytest.approx(1 + 1 / wrong, abs=1e-12) == float(found.predicted)
    assert found.level == pytest.approx(float(softmax_mse(z.detach(), y)), abs=1e-12)
    toward = z.detach().clone()
    toward[0, 0] = -3.0  # the true class gains from any share of its own
    assert softmax_mse(toward, y) < softmax_mse(z, y)


def test_fitted_and_undecided_samples_are_not_stuck():
    z = torch.tensor([[9.0, 0.0, 0.0], [0.0, 0.0, 0.0], [-9.0, 5.0, 0.0]])
    assert stuck(z, torch.tensor([0, 1, 0])).index.tolist() == [2]
    assert stuck(z[:2], torch.tensor([0, 1])).level == 0
    with pytest.raises(ValueError, match=r"expected \(n, K\)"):
        stuck(z, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="share is 1"):
        stuck(z, torch.tensor([0, 1, 0]), share=1)
