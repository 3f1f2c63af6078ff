"""The finite feature space of Theorem 1 of Gu et al. (2020) and a point in it: (w~, p, u~).

A hidden layer l is described by atoms: pre-activation vectors v^(l) over all training inputs, each
with a mass p. What connects two atoms is the product w~(v, v') = w(v, v') p(v) p(v'), and an atom
with the output u~(v) = u(v) p(v). In these variables every constraint of the net is linear and
every regulariser a perspective function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.utils import _pytree

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Stage:
    """One layer's linear map between channels, without its weights, and the map h before it.

    Args:
        before: h^(l-1), from pre-activations (N, G', ...) to features (N, G', ...); the identity
            for layer 1.
        linear: (features, weights (G, G', taps)) -> pre-activations (N, G, ...), bilinear.
        taps: kernel elements between two channels, 1 when fully connected.
    """

    before: Map
    linear: Callable[[Tensor, Tensor], Tensor]
    taps: int = 1

    def patches(self, v: Tensor) -> Tensor:
        """The matrix of the map from one atom's weights to its pre-activation vector: (N *
        positions, G' * taps).

        Args:
            v: pre-activations of the layer before, (N, G', ...), or the inputs for layer 1.
        """
        f = self.before(v)
        columns = f.shape[1] * self.taps
        unit = torch.eye(columns, dtype=f.dtype).reshape(columns, f.shape[1], self.taps)
        return self.linear(f, unit).movedim(1, -1).reshape(-1, columns)


@dataclass(frozen=True, eq=False)
class Space:
    """Atoms of every hidden layer on a training sample.

    Args:
        x: inputs (N, C, ...), float64; p^(0) is uniform on the C channels.
        atoms: V^(1..L), each (N, G_l, ...).
        stages: L + 1 of them, the last one the output layer.

    Raises:
        TypeError: not float64.
        ValueError: counts or shapes that do not belong together.
    """

    x: Tensor
    atoms: tuple[Tensor, ...]
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        if len(self.stages) != len(self.atoms) + 1 or not self.atoms:
            raise ValueError(
                f"got {len(self.atoms)} layers of atoms and {len(self.stages)} stages: expected L"
                " >= 1 and L + 1"
            )
        for name, t in (
            ("inputs", self.x),
            *((f"atoms of layer {i}", v) for i, v in enumerate(self.atoms, start=1)),
        ):
            if t.dtype != torch.float64:
                raise TypeError(
                    f"{name} are {t.dtype}: expected torch.float64; convert with .double()"
                )
            if t.dim() < 2 or t.shape[0] != self.x.shape[0]:
                raise ValueError(
                    f"{name} have shape {tuple(t.shape)}: expected ({self.x.shape[0]}, channels,"
                    " ...)"
                )

    @property
    def depth(self) -> int:
        """L, the number of hidden layers."""
        return len(self.atoms)

    @property
    def sizes(self) -> tuple[int, ...]:
        """(C, G_1, ..., G_L): channels and numbers of atoms."""
        return (self.x.shape[1], *(v.shape[1] for v in self.atoms))

    def below(self, layer: int) -> Tensor:
        """V^(layer - 1): what a layer in 1..L+1 reads."""
        if not 1 <= layer <= self.depth + 1:
            raise ValueError(f"layer {layer} outside 1..{self.depth + 1}")
        return self.x if layer == 1 else self.atoms[layer - 2]


@dataclass(frozen=True, eq=False)
class Point:
    """The variables of Theorem 1 on the atoms of a `Space`; they add and scale like vectors.

    Args:
        p: masses of layers 1..L, each (G_l,), >= 0 with sum 1.
        w: w~ of layers 1..L, each (G_l, G_{l-1}, taps).
        b: b~ = bias * p of layers 1..L, each (G_l,); zeros for a net without biases.
        u: u~, (K, G_L, taps).
        c: output bias (K,).

    The paper has no biases; b~ enters the constraints linearly and c the output, so convexity is
    untouched (derived)."""

    p: tuple[Tensor, ...]
    w: tuple[Tensor, ...]
    b: tuple[Tensor, ...]
    u: Tensor
    c: Tensor


_pytree.register_pytree_node(
    Point, lambda q: ([q.p, q.w, q.b, q.u, q.c], None), lambda leaves, _: Point(*leaves)
)


def mix_points(first: Point, second: Point, gamma: float) -> Point:
    """gamma * first + (1 - gamma) * second, variable by variable, of two points on one space.

    Args:
        gamma: in [0, 1].
    Raises:
        ValueError: gamma outside [0, 1], or points of different shapes (bring them to one space
            with `union`).

    >>> one = torch.ones(1, dtype=torch.float64)
    >>> q = Point((one,), (one.reshape(1, 1, 1),), (one,), one.reshape(1, 1, 1), one)
    >>> float(mix_points(q, q, 0.25).c)
    1.0
    """
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma is {gamma}: expected in [0, 1]")
    a, spec = _pytree.tree_flatten(first)
    b, other = _pytree.tree_flatten(second)
    if spec != other or any(s.shape != t.shape for s, t in zip(a, b, strict=True)):
        raise ValueError("points have different shapes: bring both to one space with `union`")
    mixed = [gamma * s + (1 - gamma) * t for s, t in zip(a, b, strict=True)]
    return cast(Point, _pytree.tree_unflatten(mixed, spec))
