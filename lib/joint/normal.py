"""The normal equations of a joint, summed batch by batch: all that the least-squares solution needs
of the data."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from lib.joint.geometry import Geometry
from lib.joint.gram import patch_cross, patch_gram, patch_sums
from lib.nets.samples import check_finite

_LARGEST = 1e150  # squares of larger numbers, or of smaller ones than 1 / it, leave float64


@dataclass(eq=False)
class Sums:
    """Sums over images and positions for one group: gram = sum u u^T, cross = sum g u^T, inputs =
    sum u, outputs = sum g, squares = sum g^2, in float64; energy = sum u^2, where a batch counts by
    the rounding of its products."""

    gram: Tensor
    cross: Tensor
    inputs: Tensor
    outputs: Tensor
    squares: Tensor
    energy: Tensor

    @classmethod
    def zeros(cls, unknowns: int, outputs: int, device: torch.device) -> Sums:
        """No data yet."""
        many, few = (unknowns,), (outputs,)
        sizes = (unknowns, unknowns), (outputs, unknowns), many, few, few, many
        return cls(*(torch.zeros(s, dtype=torch.float64, device=device) for s in sizes))


@dataclass(eq=False)
class NormalEquations:
    """Sums over images and output positions for the joint g = W u + b, u the unfolded patch.

    Products are taken in `products`, batch by batch, and summed in float64; the unfolded matrix is
    never in memory. A batch with channels that vary by less than 1 % of their mean, or numbers
    whose squares leave float32, is multiplied in float64; so are all batches if the first is.

    Args:
        shape: the joint's geometry;  products: float32 or float64;  device: of the sums.
        count: of images times positions;  groups: one `Sums` for each group of channels; both
            start at zero.
    Raises:
        TypeError: another dtype.

    >>> equations = NormalEquations(Geometry(2, 1, linear=True), torch.float64)
    >>> equations.add(torch.eye(2), torch.ones(2, 1))
    >>> equations.groups[0].gram[0].tolist(), equations.count
    ([1.0, 0.0], 2)
    """

    shape: Geometry
    products: torch.dtype = torch.float32
    device: torch.device | str = "cpu"
    count: int = 0
    groups: list[Sums] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.products not in (torch.float32, torch.float64):
            raise TypeError(f"products in {self.products}: expected torch.float32 or torch.float64")
        if not self.groups:
            sizes = self.shape.unknowns, self.shape.outputs // self.shape.groups
            device = torch.device(self.device)
            self.groups = [Sums.zeros(*sizes, device) for _ in range(self.shape.groups)]

    @torch.no_grad()
    def add(self, features: Tensor, target: Tensor) -> None:
        """Add a batch of images.

        Args:
            features: the joint's input, (n, inputs, rows, columns) or (n, inputs) for a fully
                connected joint.
            target: wanted pre-activations, (n, outputs, output rows, output columns) or (n,
                outputs).
        Raises:
            ValueError: shapes that do not fit the joint, or numbers that are not finite or whose
                squares are not.
        """
        maps = self.shape.as_maps(features)
        aim = target[:, :, None, None] if target.dim() == 2 else target
        if aim.dim() != 4 or aim.shape[:2] != (maps.shape[0], self.shape.outputs):
            raise ValueError(
                f"the target has shape {tuple(target.shape)}: expected {maps.shape[0]} images of"
                f" {self.shape.outputs} channels"
            )
        exact = [_needs_float64("features", maps), _needs_float64("targets", aim)]
        if self.count == 0 and any(exact):
            self.products = torch.float64
        products = torch.float64 if any(exact) else self.products
        rounding = torch.finfo(products).eps / torch.finfo(self.products).eps
        maps, aim = maps.to(products), aim.to(products)
        parts = zip(maps.chunk(self.shape.groups, 1), aim.chunk(self.shape.groups, 1), strict=True)
        for sums, (m, g) in zip(self.groups, parts, strict=True):
            sums.cross += patch_cross(m, g, self.shape)
            gram = patch_gram(m, self.shape)
            sums.gram += gram
            sums.energy += gram.diagonal() * rounding
            sums.inputs += patch_sums(m, self.shape)
            sums.outputs += g.sum((0, 2, 3), dtype=torch.float64)
            sums.squares += g.double().square().sum((0, 2, 3))
        self.count += aim.shape[0] * aim.shape[2] * aim.shape[3]


def _needs_float64(what: str, maps: Tensor) -> bool:
    """Whether float32 products would lose the variance of a channel, or overflow."""
    check_finite(f"{what} of the joint", maps)
    largest = float(maps.abs().max()) if maps.numel() else 0.0
    if largest > _LARGEST or 0 < largest < 1 / _LARGEST:
        raise ValueError(
            f"{what} of the joint are as large as {largest:.1e}: expected numbers whose squares are"
            " finite; scale the data"
        )
    variance, mean = torch.var_mean(maps.double(), (0, 2, 3), correction=0)
    offset = mean.square()
    # below 1e-12 a float32 constant has only its rounding
    small = (variance < 1e-4 * offset) & (variance > 1e-12 * offset)
    return largest > 1e15 or 0 < largest < 1e-15 or bool(small.any())
