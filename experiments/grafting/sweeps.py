"""Error increases of many pairs of nets at many layers, and the controls beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor

from experiments.grafting.increase import increases, random_features
from experiments.grafting.stages import Stage
from experiments.processes import in_processes
from lib.nets import Chain

Pair = tuple[Chain, Chain]
Cut = int | tuple[int, int]
_AT_ONCE = 4  # pairs whose results are kept together in a store: minutes of work at full size


@dataclass(frozen=True, eq=False)
class Sweep:
    """What grafting costs.

    Args:
        points: error of the graft less that of net 2, in percentage points, (pairs, cuts).
        ridge: the largest ridge that a joint of the pair needed, (pairs,).
    """

    points: np.ndarray
    ridge: np.ndarray


@dataclass(frozen=True, eq=False)
class Bench:
    """Where grafts are made and judged.

    Args:
        fit: images on which joints are matched;  images, labels: on which errors are counted.
        layers: cuts of a sweep, unless others are given.
        stage: keeps finished sweeps;  processes: over which pairs are dealt, None for one a core.
    """

    fit: Tensor
    images: Tensor
    labels: Tensor
    layers: Sequence[int]
    stage: Stage
    processes: int | None = None

    def sweep(
        self,
        name: str,
        pairs: Sequence[Pair],
        cuts: Sequence[Cut] | None = None,
        joint: str = "exact",
    ) -> Sweep:
        """Graft every pair (net 1, net 2) at every cut; computed once for each name of a store."""
        cuts = self.layers if cuts is None else cuts
        size = _AT_ONCE if self.stage.folder else len(pairs)
        found = [
            self.stage.once(f"{name}-{k}", partial(self._columns, pairs[k : k + size], cuts, joint))
            for k in range(0, len(pairs), size)
        ]
        points, ridge = ([v for part in found for v in part[key]] for key in ("points", "ridge"))
        return Sweep(np.array(points), np.array(ridge))

    def random_filters(self, nets: Sequence[Chain]) -> np.ndarray:
        """The increase when all of a net's layers up to l are one random convolution of the image,
        pooled, (nets, layers)."""
        found = self.stage.once("filters", lambda: {"points": self._filtered(nets)})
        return np.array(found["points"])

    def _filtered(self, nets: Sequence[Chain]) -> list[list[float]]:
        channels = self.fit.shape[1]
        return [
            [
                self._columns(
                    [(random_features(net, l, channels, generator=100 * k + l), net)],
                    [(1, l + 1)],
                    "exact",
                )["points"][0][0]
                for l in self.layers
            ]
            for k, net in enumerate(nets)
        ]

    def _columns(self, pairs: Sequence[Pair], cuts: Sequence[Cut], joint: str) -> dict:
        few = 2 if self.stage.folder else 8  # without one, nets are small: a process costs more
        dealt = 1 if len(pairs) < few else self.processes or 2
        jobs = [
            (pairs[k::dealt], self.fit, self.images, self.labels, cuts, joint) for k in range(dealt)
        ]
        parts = in_processes(increases, jobs, processes=dealt)
        found = [parts[k % dealt][k // dealt] for k in range(len(pairs))]
        return {
            "points": [[100 * e for e in i.error] for i in found],
            "ridge": [max(i.ridge) for i in found],
        }
