"""experiments.mixtures: what is fitted on some images can be scored on others, and the control."""

from __future__ import annotations

import torch
from torch import nn

from experiments.mixtures import PathSettings, all_paths, paths_between
from lib.mixture import MixtureOptions, loss_curve, mixtures, refit_top
from lib.nets import Chain


def problem() -> tuple[list[Chain], torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    nets = [
        Chain([nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 3)], [nn.ReLU(), nn.ReLU()])
        for _ in range(2)
    ]
    g = torch.Generator().manual_seed(1)
    x = torch.randn(80, 4, generator=g)
    return nets, x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()


SETTINGS = PathSettings(
    3, points=3, gammas=3, mixture=MixtureOptions(ridge=0.01, redraw=True), control=True
)


def test_the_control_refits_the_last_layer_along_the_weights() -> None:
    (a, b), x, y = problem()
    found = paths_between(a, b, x, y, 0.1, SETTINGS)
    assert list(found) == ["weights", "aligned", "features", "refitted"]
    assert (found["refitted"].overall <= found["weights"].overall + 1e-6).all()
    ends = loss_curve([refit_top(n, x, y, weight=0.1) for n in (b, a)], x, y, (0, 1), weight=0.1)
    assert torch.allclose(found["refitted"].losses[[0, 2]], ends.losses, rtol=1e-6)


def test_curves_are_scored_on_the_images_asked_for() -> None:
    (a, b), x, y = problem()
    fit, held = (x[:50], y[:50]), (x[50:], y[50:])
    found = paths_between(a, b, *fit, 0.1, SETTINGS, score_x=held[0], score_y=held[1])
    assert all(curve.losses.shape == (3, 30) for curve in found.values())
    plain = loss_curve([b, a], *held, (0, 1), weight=0.1)
    assert torch.allclose(found["weights"].losses[[0, 2]], plain.losses, rtol=1e-6)
    top = loss_curve([refit_top(a, *fit, weight=0.1)], *held, [1.0], weight=0.1)
    assert torch.allclose(found["refitted"].losses[2], top.losses[0], rtol=1e-6)
    shares = [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)]
    options = {"generator": 3, "y": fit[1], "weight": 0.1}
    mixed = mixtures((a, b), fit[0], shares, SETTINGS.mixture, **options)
    alone = loss_curve([m.net for m in mixed], *held, (0, 0.5, 1), weight=0.1)
    assert torch.allclose(found["features"].losses, alone.losses, rtol=1e-6)
    stored = all_paths({"one": (a, b, 0.1)}, *fit, SETTINGS, score_x=held[0], score_y=held[1])
    assert torch.equal(stored["one"]["refitted"].losses, found["refitted"].losses)
