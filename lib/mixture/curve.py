"""Losses along a path of nets: every image of every net, so that means, errors and bootstrap bands
follow later."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Path:
    """What a path of P nets does on n images.

    Args:
        gammas: (P,), the share of the first net.
        losses: cross entropy of every image (P, n);  correct: (P, n), bool;  regulariser:
            unweighted (P,).
        weight: of the regulariser in `overall`.
    """

    gammas: Tensor
    losses: Tensor
    correct: Tensor
    regulariser: Tensor
    weight: float = 1.0

    @property
    def cross_entropy(self) -> Tensor:
        """Mean over the images, (P,)."""
        return self.losses.mean(1)

    @property
    def overall(self) -> Tensor:
        """Cross entropy + weight * regulariser, (P,), what training minimises."""
        return self.cross_entropy + self.weight * self.regulariser

    @property
    def accuracy(self) -> Tensor:
        """(P,), in [0, 1]."""
        return self.correct.double().mean(1)

    def every(self, step: int) -> Path:
        """Every step-th point, both ends included.

        Raises:
            ValueError: a step that does not lead from the first point to the last.

        >>> path = Path(torch.linspace(0, 1, 5), torch.zeros(5, 2), torch.zeros(5, 2) > 0, torch.zeros(5))
        >>> path.every(2).gammas.tolist()
        [0.0, 0.5, 1.0]
        """
        if step < 1 or (len(self.gammas) - 1) % step:
            raise ValueError(
                f"step is {step}: expected a divisor of {len(self.gammas) - 1}, the number of"
                " intervals"
            )
        columns = (self.gammas, self.losses, self.correct, self.regulariser)
        return Path(*(column[::step] for column in columns), self.weight)

    def columns(self) -> dict[str, object]:
        """The numbers as lists, for a file; `of` takes them back.

        >>> path = Path(torch.linspace(0, 1, 3), torch.zeros(3, 2), torch.zeros(3, 2) > 0, torch.zeros(3), 0.5)
        >>> Path.of(path.columns()).columns() == path.columns()
        True
        """
        return {
            f.name: v.tolist() if isinstance(v := getattr(self, f.name), Tensor) else v
            for f in fields(self)
        }

    @staticmethod
    def of(columns: dict) -> Path:
        """The path with the given `columns`, in float64."""
        kinds = {"correct": torch.bool}
        return Path(
            **{
                name: (
                    torch.tensor(v, dtype=kinds.get(name, torch.float64))
                    if isinstance(v, list)
                    else v
                )
                for name, v in columns.items()
            }
        )
