"""The normal equations of a joint, summed batch by batch: all that the least-squares solution needs
of the data."""

from __future__ import annotations

import torch
from torch import Tensor

from lib.joint.geometry import Geometry, as_maps
from lib.joint.gram import patch_cross, patch_gram, patch_sums


class NormalEquations:
    """Sums over images and output positions for the joint g = W u + b, u the unfolded patch; one
    entry a group.

    gram = sum u u^T, cross = sum g u^T, inputs = sum u, outputs = sum g, squares = sum g^2, count =
    sum 1. Products are taken in `products`, batch by batch, and summed in float64; the unfolded
    matrix is never in memory.

    Args:
        shape: the joint's geometry.
        products: float32 or float64.
        device: of the sums.
    Raises:
        TypeError: another dtype.

    >>> equations = NormalEquations(Geometry(2, 1, linear=True), torch.float64)
    >>> equations.add(torch.eye(2), torch.ones(2, 1))
    >>> equations.gram[0].tolist(), equations.count
    ([[1.0, 0.0], [0.0, 1.0]], 2)
    """

    def __init__(
        self, shape: Geometry, products: torch.dtype = torch.float32, device: str = "cpu"
    ) -> None:
        if products not in (torch.float32, torch.float64):
            raise TypeError(f"products in {products}: expected torch.float32 or torch.float64")
        self.shape, self.products, self.count = shape, products, 0
        unknowns, outputs = shape.unknowns, shape.outputs // shape.groups

        def zeros(*size: int) -> list[Tensor]:
            return [
                torch.zeros(size, dtype=torch.float64, device=device) for _ in range(shape.groups)
            ]

        self.gram, self.cross, self.inputs = (
            zeros(unknowns, unknowns),
            zeros(outputs, unknowns),
            zeros(unknowns),
        )
        self.outputs, self.squares = zeros(outputs), zeros(outputs)

    def add(self, features: Tensor, target: Tensor) -> None:
        """Add a batch of images.

        Args:
            features: the joint's input, (n, inputs, rows, columns) or (n, inputs) for a fully
                connected joint.
            target: wanted pre-activations, (n, outputs, output rows, output columns) or (n,
                outputs).
        Raises:
            ValueError: shapes that do not fit the joint.
        """
        maps = as_maps(features, self.shape).to(self.products)
        aim = (target[:, :, None, None] if target.dim() == 2 else target).to(self.products)
        if aim.dim() != 4 or aim.shape[:2] != (maps.shape[0], self.shape.outputs):
            raise ValueError(
                f"the target has shape {tuple(target.shape)}: expected {maps.shape[0]} images of"
                f" {self.shape.outputs} channels"
            )
        by_group = zip(
            maps.chunk(self.shape.groups, 1), aim.chunk(self.shape.groups, 1), strict=True
        )
        for group, (m, g) in enumerate(by_group):
            self.cross[group] += patch_cross(m, g, self.shape)
            self.gram[group] += patch_gram(m, self.shape)
            self.inputs[group] += patch_sums(m, self.shape)
            self.outputs[group] += g.sum((0, 2, 3), dtype=torch.float64)
            self.squares[group] += g.double().square().sum((0, 2, 3))
        self.count += aim.shape[0] * aim.shape[2] * aim.shape[3]
