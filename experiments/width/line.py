"""The line of critical points that splitting one neuron makes, and the curvature along it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lib.curvature import hessian
from lib.nets import MLP, mse, risk
from lib.width import split


@dataclass(frozen=True)
class CriticalLine:
    """The critical points that splits of one neuron with k shares make, on one line.

    Args:
        alphas: the shares, (k,);  eigenvalues: of the Hessians, ascending, (k, P).
        level: by how much the loss changes, (k,).
    """

    alphas: Tensor
    eigenvalues: Tensor
    level: Tensor

    @property
    def columns(self) -> dict[str, Tensor]:
        """All of it by name, for a table."""
        each = {f"eigenvalue {k + 1}": e for k, e in enumerate(self.eigenvalues.T)}
        return {"alpha": self.alphas, **each, "level": self.level}

    def steepest(self, *, inside: bool) -> float:
        """Size of the most negative eigenvalue, of shares between 0 and 1 or of the others."""
        within = (self.alphas > 0) & (self.alphas < 1)
        return -self.eigenvalues[within if inside else ~within, 0].min().item()


def critical_line(net: MLP, x: Tensor, y: Tensor) -> CriticalLine:
    """Split the first neuron of a minimum with shares from -1 to 2."""
    alphas = torch.linspace(-1, 2, 61, dtype=torch.float64)
    along = split(net, 1, 0, alphas)
    level = (risk(along, x, y) - risk(net, x, y)).abs()
    return CriticalLine(alphas, torch.linalg.eigvalsh(hessian(along, x, y, mse)), level)
