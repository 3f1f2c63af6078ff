"""How well one untrained net's features give another's, against the width: what "wide enough"
means, in a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.grafting.stages import Stage
from experiments.processes import in_processes
from lib.joint import Geometry, NormalEquations, solve
from lib.nets import VGG, Chain, Design, initialise

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Law:
    """What the best joint leaves of the variance on images that it was not fitted on, 1 - R^2.

    Args:
        widths: (W,);  left: for two nets of one width, (seeds, W).
        mispaired: the same with the second net's images in another order, (seeds, W).
    """

    widths: Numbers
    left: Numbers
    mispaired: Numbers


def width_law(
    design: Design,
    widths: Sequence[float],
    layer: int,
    fit: Tensor,
    held: Tensor,
    *,
    seeds: Sequence[int],
    stage: Stage,
    processes: int,
) -> Law:
    """Two untrained normal nets at each width and seed, joined behind a layer.

    Args:
        design: at any width;  layer: l, so that the joint is layer l + 1.
        fit, held: images on which joints are fitted, and on which they are scored.
    """

    def compute() -> dict[str, object]:
        jobs = [(replace(design, width=w), layer, fit, held, s) for s in seeds for w in widths]
        found = np.array(in_processes(_left, jobs, processes=processes))
        return {"left": found.reshape(len(seeds), len(widths), 2).tolist()}

    found = np.array(stage.once("width-law", compute)["left"])
    return Law(np.array(widths, float), found[..., 0], found[..., 1])


def slopes(widths: Numbers, left: Numbers) -> Numbers:
    """Exponents a of left = c * width^a by least squares on logarithms, (seeds,).

    >>> slopes(np.array([1.0, 2.0, 4.0]), np.array([[1.0, 0.5, 0.25]])).round(6)
    array([-1.])
    """
    return np.polyfit(np.log(widths), np.log(left).T, 1)[0]


@torch.no_grad()
def left_over(net1: Chain, net2: Chain, layer: int, fit: Tensor, held: Tensor, roll: int) -> float:
    """1 - R^2 on held-out images of the best joint from net 1's features of a layer to net 2's next
    pre-activation.

    Args:
        roll: by how many places the second net's images are moved on; 0 for the same images.
    """
    joint = net2.joint(layer + 1)
    equations = NormalEquations(Geometry.of(joint), torch.float32, fit.device)
    for x, other in zip(fit.split(256), fit.roll(roll, 0).split(256), strict=True):
        f, g = net1.features(x, layer)[layer], net2.preactivations(other, layer + 1)[layer]
        equations.add(f, g)
    found = solve(equations)
    built = equations.shape.build(found.weight.float(), found.bias.float())
    wrong, seen = 0.0, []
    for x, other in zip(held.split(256), held.roll(roll, 0).split(256), strict=True):
        target = net2.preactivations(other, layer + 1)[layer]
        wrong += float((built(net1.features(x, layer)[layer]) - target).double().square().sum())
        seen.append(target)
    target = torch.cat(seen).double().transpose(0, 1).flatten(1)  # a row per channel
    return wrong / float((target - target.mean(1, keepdim=True)).square().sum())


def _left(design: Design, layer: int, fit: Tensor, held: Tensor, seed: int) -> list[float]:
    nets = [initialise(VGG(design), "code_normal", generator=2 * seed + k).eval() for k in (0, 1)]
    return [left_over(*nets, layer, fit, held, roll) for roll in (0, 1)]
