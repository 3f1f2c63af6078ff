"""A net as a chain of joints: g^(l) = joint_l(f^(l-1)), f^(l) = h^(l)(g^(l)), f = g^(L) (Gu et al.
2020, Sec. 3).

A joint is the trainable linear map of a layer (convolution or fully connected); h^(l) is what
follows it: normalisation, activation, pooling, flattening, dropout. It is the one model of
convolutional nets here. Layers count from 1."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar, cast

from torch import Tensor, nn

from lib.nets.kinds import JOINTS, Joint, check_known, check_plain, leaves, overwrites

Net = TypeVar("Net", bound=nn.Module)
_METHODS = ("forward", "tail", "feature", "features", "preactivations", "joint")


class Chain(nn.Module):
    """A chain of L joints with a map h^(l) behind every joint but the last.

    Args:
        joints: L modules, joint_1 .. joint_L.
        activations: L - 1 modules, h^(1) .. h^(L-1).
        before: what the inputs pass on their way to joint 1, nothing by default;  after: what the
            outputs of joint L pass, nothing by default.

    Raises:
        ValueError: no joints, or not one activation between any two.

    >>> import torch
    >>> net = Chain([nn.Linear(2, 3), nn.Linear(3, 1)], [nn.ReLU()])
    >>> [tuple(g.shape) for g in net.preactivations(torch.ones(5, 2))]
    [(5, 3), (5, 1)]
    """

    def __init__(
        self,
        joints: Sequence[nn.Module],
        activations: Sequence[nn.Module],
        *,
        before: nn.Module | None = None,
        after: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if not joints or len(activations) != len(joints) - 1:
            raise ValueError(
                f"got {len(joints)} joints and {len(activations)} activations: expected L >= 1 and"
                " L - 1"
            )
        self.joints = nn.ModuleList(joints)
        self.activations = nn.ModuleList(activations)
        self.before = nn.Sequential() if before is None else before
        self.after = nn.Sequential() if after is None else after

    @classmethod
    def from_sequential(cls, net: nn.Sequential) -> Chain:
        """The chain of an `nn.Sequential`, nested ones included; nothing is shared with it.

        Raises:
            TypeError: a module that is not understood, hooks or parametrizations.
            ValueError: no Linear and no Conv2d, or parameters that two modules share.

        >>> Chain.from_sequential(nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.Tanh())).depth
        1
        """
        check_known(net)
        joints: list[nn.Module] = []
        groups: list[list[nn.Module]] = [[]]
        for module in leaves(copy.deepcopy(net)):
            if type(module) in JOINTS:
                joints.append(module)
                groups.append([])
            else:
                groups[-1].append(module)
        if not joints:
            raise ValueError("the net has neither Linear nor Conv2d: expected at least one layer")
        maps = [_as_one(group) for group in groups]
        chain = Chain(joints, maps[1:-1], before=maps[0], after=maps[-1])
        chain.training = net.training
        return chain

    def to_sequential(self) -> nn.Sequential:
        """The same net as one flat `nn.Sequential`, which shares nothing with it.

        >>> len(Chain([nn.Linear(2, 3), nn.Linear(3, 1)], [nn.ReLU()]).to_sequential())
        3
        """
        own = copy.deepcopy(self)
        modules = leaves(own.before)
        for joint, between in zip(own.joints, [*own.activations, own.after], strict=True):
            modules += [joint, *leaves(between)]
        sequential = nn.Sequential(*modules)
        sequential.training = self.training
        return sequential

    @property
    def depth(self) -> int:
        """L, the number of joints."""
        return len(self.joints)

    @property
    def widths(self) -> tuple[int, ...]:
        """The inputs of joint 1, and the channels that each joint makes."""
        made = [self.joint(layer).weight.shape[0] for layer in range(1, self.depth + 1)]
        return (self.joint(1).weight.shape[1], *made)

    def joint(self, layer: int) -> Joint:
        """The joint of a layer in 1..L."""
        return cast(Joint, self.joints[self._checked(layer) - 1])

    def feature(self, layer: int, g: Tensor) -> Tensor:
        """f^(l) = h^(l)(g^(l)), without changing g; at layer L the output."""
        last = self._checked(layer) == self.depth
        return _applied(self.after if last else self.activations[layer - 1], g)

    def preactivations(self, x: Tensor, upto: int | None = None) -> tuple[Tensor, ...]:
        """g^(1) .. g^(upto) of the inputs x, (n, channels, height, width) or (n, width); all L by
        default."""
        f = self._entered(x)
        out: list[Tensor] = []
        for layer in range(1, self._checked(self.depth if upto is None else upto) + 1):
            f = f if layer == 1 else self.feature(layer - 1, out[-1])
            out.append(self.joints[layer - 1](f))
        return tuple(out)

    def features(self, x: Tensor, upto: int | None = None) -> tuple[Tensor, ...]:
        """f^(0), what joint 1 reads, f^(1) .. f^(upto); all L by default, the last one being the
        output. `upto` may be 0."""
        out = [self._entered(x)]
        last = self.depth if upto is None else upto
        for layer in range(1, last + 1):
            out.append(self.feature(layer, self.joint(layer)(out[-1])))
        return tuple(out)

    def tail(self, layer: int, f: Tensor) -> Tensor:
        """The output from f^(layer), layer in 0..L: `net.tail(0, net.before(x))` is `net(x)`."""
        if not 0 <= layer <= self.depth:
            raise ValueError(f"layer {layer} outside 0..{self.depth}")
        for following in range(layer + 1, self.depth + 1):
            f = self.feature(following, self.joints[following - 1](f))
        return f

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(0, self._entered(x))

    def _entered(self, x: Tensor) -> Tensor:
        """What joint 1 reads of the inputs x, which have the dtype of the parameters."""
        own = getattr(self.joints[0], "weight", x).dtype
        if x.dtype != own:
            raise TypeError(f"x is {x.dtype}: expected {own}, the dtype of the net")
        return _applied(self.before, x)

    def _checked(self, layer: int) -> int:
        if not 1 <= layer <= self.depth:
            raise ValueError(f"layer {layer} outside 1..{self.depth}")
        return layer


def as_chain(net: nn.Module) -> Chain:
    """The one door for convolutional nets: a `Chain` as it is, an `nn.Sequential` as a chain.

    Raises:
        TypeError, ValueError: as `Chain.from_sequential`; a Chain with methods of its own, joints
            of a subclass, hooks or shared parameters.

    >>> as_chain(nn.Sequential(nn.Linear(1, 1))).depth
    1
    """
    if not isinstance(net, Chain):
        return Chain.from_sequential(cast(nn.Sequential, net))
    own = [name for name in _METHODS if getattr(type(net), name) is not getattr(Chain, name)]
    if own:
        raise TypeError(f"{type(net).__name__} has a {own[0]} of its own: expected a plain Chain")
    check_plain(net)
    for layer, joint in enumerate(net.joints, start=1):
        if isinstance(joint, JOINTS) and type(joint) not in JOINTS:
            raise TypeError(
                f"layer {layer} is {type(joint).__name__}, which may have a forward of its own:"
                " expected Linear or Conv2d itself"
            )
    return net


def as_given(net: Net, chain: Chain) -> Net:
    """A chain in the kind of `net`: a Chain, or an nn.Sequential.

    >>> type(as_given(nn.Sequential(), Chain([nn.Linear(1, 1)], []))).__name__
    'Sequential'
    """
    return cast(Net, chain if isinstance(net, Chain) else chain.to_sequential())


def plain(net: Chain) -> Chain:
    """The modules of a chain in a Chain and nothing more: what a VGG with other widths is.

    >>> type(plain(Chain([nn.Linear(1, 1)], []))).__name__
    'Chain'
    """
    if type(net) is Chain:
        return net
    made = Chain(list(net.joints), list(net.activations), before=net.before, after=net.after)
    made.training = net.training
    return made


def _as_one(modules: list[nn.Module]) -> nn.Module:
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


def _applied(module: nn.Module, f: Tensor) -> Tensor:
    return cast(Tensor, module(f.clone() if overwrites(module) else f))
