"""Grafts of residual nets, between whose stages one tensor passes."""

from __future__ import annotations

import pytest
import torch
import torchvision
from draws import seeded
from residual import ResNet20, shaken

from lib.graft import graft, matching_loss
from lib.symmetry import permute

X = torch.randn(8, 3, 16, 16, generator=seeded(0), dtype=torch.float64)


def test_a_net_grafted_onto_itself_is_the_net() -> None:
    net = shaken(ResNet20(4))
    found = graft(net, net, X, "layer1", products=torch.float64)
    assert found.relative < 1e-12 and found.cut == ("layer1", "layer1")
    torch.testing.assert_close(found.net(X), net(X))


def test_the_joint_between_permuted_nets_is_the_permutation() -> None:
    net, order = shaken(ResNet20(4)), [2, 0, 3, 1]
    other = permute(net, {"conv1": order})
    found = graft(net, other, X, "layer1", products=torch.float64)
    joint = found.net.joint(1).weight.detach().flatten(1)
    torch.testing.assert_close(joint, torch.eye(4, dtype=joint.dtype)[order], atol=1e-8, rtol=0)


def test_the_joint_is_the_least_squares_of_the_features() -> None:
    one, other = shaken(ResNet20(4), 1), shaken(ResNet20(3), 2)
    found = graft(one, other, X, "layer2", products=torch.float64, batch=3)
    with torch.no_grad():
        stem = lambda net: net.layer2(net.layer1(torch.relu(net.bn1(net.conv1(X)))))  # noqa: E731
        f, aim = (stem(net).movedim(1, -1).flatten(0, 2) for net in (one, other))
        design = torch.cat([f, torch.ones(len(f), 1, dtype=f.dtype)], 1)
        weights = torch.linalg.lstsq(design, aim).solution
        joint = found.net.joint(1)
        torch.testing.assert_close(joint.weight.flatten(1), weights[:-1].T, atol=1e-8, rtol=1e-8)
        torch.testing.assert_close(joint.bias, weights[-1], atol=1e-8, rtol=1e-8)
        assert found.loss == pytest.approx(float((design @ weights - aim).square().mean()))
        assert matching_loss(found, other, X, batch=5) == pytest.approx(found.loss)


def test_two_resnets_of_torchvision_between_their_stages() -> None:
    nets = [shaken(torchvision.models.resnet18(num_classes=3), seed).float() for seed in (0, 1)]
    for cut in ("maxpool", "layer2", "layer3.0"):
        found = graft(*nets, X.float(), cut)
        assert found.net(X.float()).shape == (8, 3) and 0 <= found.relative < 1
    later = graft(*nets, X.float(), "layer1", onto="layer2")
    assert later.cut == ("layer1", "layer2") and later.net(X.float()).shape == (8, 3)


def test_places_where_something_else_passes_are_refused() -> None:
    net = ResNet20(2).eval()
    for cut, words in {
        "layer1.0.conv1": "cannot be cut after 'layer1.0.conv1': .* reaches add",
        "layer2.0.shortcut": "cannot be cut after 'layer2.0.shortcut'",
        "layer7": "no submodule 'layer7' in the forward: expected one such as conv1, bn1",
    }.items():
        with pytest.raises(ValueError, match=words):
            graft(net, net, X.float(), cut)
    with pytest.raises(TypeError, match="net is ResNet20: expected"):
        graft(net, net, X.float(), 1)
    with pytest.raises(TypeError, match="the place of the joint is 1: expected.*'layer2'"):
        graft(net, net, X.float(), "layer1", onto=1)
    with pytest.raises(ValueError, match="power of two|8 x 8"):
        graft(net, net, X.float(), "layer2", onto="layer1")
    with pytest.raises(ValueError, match="NaN or infinite"):
        graft(net, net, X.float() * torch.nan, "layer1")
