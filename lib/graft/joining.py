"""Where two nets are joined, and what fits between the halves: checks, pooling, and nets that share
their parameters."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from lib.joint.geometry import Geometry
from lib.nets import Chain
from lib.nets.chain import as_chain
from lib.nets.checks import check_index
from lib.nets.kinds import Joint, check_by_sample


def sharing_parameters(net: nn.Module) -> Chain:
    """A copy of the net's modules in eval mode, around the same parameters."""
    chain = as_chain(net)
    check_by_sample(chain)
    return copy.deepcopy(chain, {id(p): p for p in chain.parameters()}).eval()


def checked_layers(net1: Chain, net2: Chain, layer: int, onto: int | None) -> tuple[int, int]:
    """(layer, onto), or an error that says what is outside its range."""
    layer = check_index("layer", layer)
    onto = layer + 1 if onto is None else check_index("onto", onto)
    if not 1 <= layer < net1.depth:
        raise ValueError(f"layer {layer} outside 1..{net1.depth - 1}")
    if not 2 <= onto <= net2.depth:
        raise ValueError(f"layer {onto} of net 2 cannot be replaced: expected 2..{net2.depth}")
    return layer, onto


def joint_shape(like: nn.Module, features: Tensor) -> Geometry:
    """The geometry of net 2's joint for the channels of net 1's features."""
    return Geometry.of(like).with_inputs(features.shape[1])


def pools_between(features: Tensor, expected: Tensor) -> int:
    """How many 2x2 poolings take the features of net 1 to the size that net 2's joint expects."""
    if features.dim() != expected.dim() or features.dim() not in (2, 4):
        raise ValueError(
            f"features of net 1 have shape {tuple(features.shape)}, the joint of net 2 takes"
            f" {tuple(expected.shape)}: convolutional features join convolutional layers, flat ones"
            " fully connected layers"
        )
    if features.dim() == 2:
        return 0
    for pools in range(16):
        if (features.shape[2] >> pools, features.shape[3] >> pools) == tuple(expected.shape[2:]):
            return pools
    raise ValueError(
        f"features of net 1 are {features.shape[2]} x {features.shape[3]} pixels and the joint of"
        f" net 2 takes {expected.shape[2]} x {expected.shape[3]}: expected the same, or a power of"
        " two more"
    )


def pool(features: Tensor, pools: int) -> Tensor:
    """The features after so many 2x2 max poolings."""
    for _ in range(pools):
        features = nn.functional.max_pool2d(features, 2)
    return features


def assemble(
    net1: Chain, net2: Chain, layer: int, onto: int, joint: Joint, pools: int = 0
) -> Chain:
    """(theta1^(1..layer), joint, theta2^(onto+1..)), in eval mode, sharing the parameters of both
    nets.

    Args:
        pools: 2x2 max poolings between the features of net 1 and the joint.
    """
    first, second = sharing_parameters(net1), sharing_parameters(net2)
    between = first.activations[layer - 1]
    if pools:
        between = nn.Sequential(between, *(nn.MaxPool2d(2) for _ in range(pools)))
    joints = [*first.joints[:layer], joint, *second.joints[onto:]]
    activations = [*first.activations[: layer - 1], between, *second.activations[onto - 1 :]]
    return Chain(joints, activations, before=first.before, after=second.after).eval()
