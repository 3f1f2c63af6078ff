"""Descent with batch normalisation against `torch.nn`."""

import pytest
import torch
from lifted_minima import data
from torch import nn

from experiments.depth.normalised import descend_normalised
from lib.nets import init, to_sequential
from lib.nets.activations import leaky_relu


def test_normalised_descent_equals_torch_modules():
    """Three steps of two nets against nn.BatchNorm1d and torch.optim.SGD, one after the other."""
    x, y = data(14, 2), data(14, 2, 1)
    nets = init((2, 3, 4, 2), leaky_relu(0.3), batch=(2,), generator=0)
    run = descend_normalised(nets, x, y, steps=3, lr=0.1, records=[0, 1, 3])
    for i in range(2):
        parts = list(to_sequential(nets[i]))
        module = nn.Sequential(
            parts[0], nn.BatchNorm1d(3), parts[1], parts[2], nn.BatchNorm1d(4), *parts[3:]
        ).double()
        optimizer, losses = torch.optim.SGD(module.parameters(), lr=0.1), []
        for _ in range(4):
            loss = ((module(x) - y) ** 2).mean()
            losses.append(float(loss.detach()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert run.losses[:, i].tolist() == pytest.approx(
            [losses[0], losses[1], losses[3]], rel=1e-12
        )
    assert (run.share == 0).all()  # B9: no neuron of such a net starts in one piece
    assert run.error.shape == (3, 2, 2) and (run.error > 0).all()


@pytest.mark.parametrize(
    ("message", "change"),
    [
        ("expected a hidden layer and n >= 2", {"net": init((2, 2), generator=0)}),
        ("expected a hidden layer and n >= 2", {"x": data(1, 2)}),
        ("lr is 0", {"lr": 0}),
        ("expected increasing steps within 0..5", {"records": [3, 6]}),
        ("expected increasing steps", {"records": [3, 1]}),
    ],
)
def test_impossible_normalised_descents_are_refused(message, change):
    request = {
        "net": init((2, 3, 2), "relu", generator=0),
        "x": data(9, 2),
        "steps": 5,
        "lr": 0.1,
        "records": [0, 5],
    } | change
    with pytest.raises(ValueError, match=message):
        descend_normalised(request.pop("net"), request.pop("x"), data(9, 2), **request)
