"""A net as a chain of joints: g^(l) = joint_l(f^(l-1)), f^(l) = h^(l)(g^(l)), f = g^(L) (Gu et al.
2020, Sec. 3).

A joint is the trainable linear map of a layer (convolution or fully connected); h^(l) is what
follows it: activation, pooling, flattening, dropout. Grafting, mixing and comparing nets only ever
need this view. Layers count from 1."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Chain(nn.Module):
    """A chain of L joints with a map h^(l) behind every joint but the last.

    Args:
        joints: L modules, joint_1 .. joint_L.
        activations: L - 1 modules, h^(1) .. h^(L-1).

    Raises:
        ValueError: no joints, or not one activation between any two.

    >>> import torch
    >>> net = Chain([nn.Linear(2, 3), nn.Linear(3, 1)], [nn.ReLU()])
    >>> [tuple(g.shape) for g in net.preactivations(torch.ones(5, 2))]
    [(5, 3), (5, 1)]
    """

    def __init__(self, joints: Sequence[nn.Module], activations: Sequence[nn.Module]) -> None:
        super().__init__()
        if not joints or len(activations) != len(joints) - 1:
            raise ValueError(
                f"got {len(joints)} joints and {len(activations)} activations: expected L >= 1 and"
                " L - 1"
            )
        self.joints = nn.ModuleList(joints)
        self.activations = nn.ModuleList(activations)

    @property
    def depth(self) -> int:
        """L, the number of joints."""
        return len(self.joints)

    def joint(self, layer: int) -> nn.Module:
        """The joint of a layer in 1..L."""
        return self.joints[self._checked(layer) - 1]

    def feature(self, layer: int, g: Tensor) -> Tensor:
        """f^(l) = h^(l)(g^(l)); at layer L the output itself."""
        return g if self._checked(layer) == self.depth else self.activations[layer - 1](g)

    def preactivations(self, x: Tensor, upto: int | None = None) -> tuple[Tensor, ...]:
        """g^(1) .. g^(upto) of the inputs x, (n, channels, height, width) or (n, width); all L by
        default."""
        out: list[Tensor] = []
        for layer in range(1, self._checked(upto or self.depth) + 1):
            f = x if layer == 1 else self.feature(layer - 1, out[-1])
            out.append(self.joints[layer - 1](f))
        return tuple(out)

    def features(self, x: Tensor, upto: int | None = None) -> tuple[Tensor, ...]:
        """f^(0) = x, f^(1) .. f^(upto); all L by default, the last one being the output."""
        return (
            x,
            *(
                self.feature(layer, g)
                for layer, g in enumerate(self.preactivations(x, upto), start=1)
            ),
        )

    def tail(self, layer: int, f: Tensor) -> Tensor:
        """The output from f^(layer), layer in 0..L: `net.tail(0, x)` is `net(x)`."""
        if not 0 <= layer <= self.depth:
            raise ValueError(f"layer {layer} outside 0..{self.depth}")
        for following in range(layer + 1, self.depth + 1):
            f = self.feature(following, self.joints[following - 1](f))
        return f

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(0, x)

    def _checked(self, layer: int) -> int:
        if not 1 <= layer <= self.depth:
            raise ValueError(f"layer {layer} outside 1..{self.depth}")
        return layer
