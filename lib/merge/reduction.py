"""Pruning by merging alone: neurons and layers in turn, until nothing more goes within the
budget."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lib.merge.batchnorm import as_mlp
from lib.merge.layers import merge_layers
from lib.merge.neurons import merge_neurons
from lib.nets import MLP, Loss, forward, mse, to_sequential
from lib.nets.checks import check_single

COSINES = (0.9, 0.95, 0.99, 0.999, 1.0)
TOLERANCES = (0.1, 0.01, 1e-3, 0.0)


@dataclass(frozen=True)
class Step:
    """One attempt to make a net smaller.

    Args:
        action: "start", "merge neurons" or "merge layer";  setting: its cosine, or the layer's
            allowed error.
        widths, n_parameters: of the net that the attempt gave.
        risk: its loss on the data;  change: max_i |f'(x_i) - f(x_i)| against the net at the start.
        agreement: share of the samples with the same prediction (largest output) as at the start,
            None for one output.
        accepted: whether the attempt kept the budget, and its net was kept.
    """

    action: str
    setting: float
    widths: tuple[int, ...]
    n_parameters: int
    risk: float
    change: float
    agreement: float | None
    accepted: bool


@dataclass(frozen=True, eq=False)
class Reduction:
    """The smallest net found, of the kind that was given, and every attempt on the way."""

    net: MLP | nn.Sequential
    steps: tuple[Step, ...]


def reduce(
    net: MLP | nn.Sequential,
    data: tuple[Tensor, Tensor],
    budget: float,
    *,
    loss: Loss = mse,
    cosines: Sequence[float] = COSINES,
    amplitude: float = 0.01,
    tolerances: Sequence[float] = TOLERANCES,
    fit: str = "neuron",
    rule: str = "complete",
) -> Reduction:
    """Merges neurons and layers in turn while R_S(theta') <= R_S(theta) + budget, to a fixed point.

    Each turn takes the first cosine, then the first tolerance and layer, that makes the net smaller
    within the budget; every accepted step removes parameters, so the turns end. The last net is
    never worse than the budget, up to the rounding of the risk (64 eps of its value).

    Args:
        net: one net, or an `nn.Sequential` of dense layers in eval mode.
        data: (x, y) on which the risk is measured: a sample that was not trained on, to be safe.
        budget: largest increase of the risk, >= 0, in the units of the loss.
        loss: as in `lib.nets.losses.risk`.
        cosines, tolerances: tried in this order, boldest first: arguments of `merge_neurons` and
            `merge_layers`.
        amplitude, rule, fit: further arguments of theirs.
    Raises:
        ValueError: the budget is negative or not finite, the risk of the net is not finite, or bad
            thresholds.

    >>> from lib.nets import init
    >>> from lib.width import split
    >>> x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    >>> reduce(split(init((1, 2, 1), generator=0), 1, 0, 0.3), (x, x**2), 0.0, tolerances=()).net
    MLP(1-2-1, tanh, 7 parameters)
    """
    if isinstance(net, nn.Sequential):
        head, mlp = as_mlp(net)
        done = reduce(
            mlp, (head(data[0]), data[1]), budget, loss=loss, cosines=cosines, amplitude=amplitude,
            tolerances=tolerances, fit=fit, rule=rule,
        )  # fmt: skip
        return Reduction(nn.Sequential(*head, *to_sequential(done.net)).eval(), done.steps)
    if not (isinstance(budget, (int, float)) and math.isfinite(budget) and budget >= 0):
        raise ValueError(
            f"budget is {budget!r}: expected a finite number >= 0, the largest increase of the risk"
        )
    check_single(net)
    x, y = data
    start = forward(net, x)
    risk = float(loss(start, y))
    if not math.isfinite(risk):
        raise ValueError(f"the risk of {net!r} is {risk}: expected a finite number")
    limit = risk + budget + 64 * torch.finfo(net.dtype).eps * abs(risk)
    steps = [
        Step("start", 0.0, net.widths, net.n_parameters, risk, 0.0, _agreement(start, start), True)
    ]
    while True:
        for action, setting, candidate in _attempts(
            net, x, cosines, amplitude, tolerances, fit, rule
        ):
            if candidate.n_parameters >= net.n_parameters:
                continue
            output = forward(candidate, x)
            found, change = float(loss(output, y)), float((output - start).norm(dim=-1).max())
            accepted = found <= limit
            shape = (candidate.widths, candidate.n_parameters)
            steps.append(
                Step(action, setting, *shape, found, change, _agreement(output, start), accepted)
            )
            if accepted:
                net = candidate
                break
        else:
            return Reduction(net, tuple(steps))


def _attempts(
    net: MLP,
    x: Tensor,
    cosines: Sequence[float],
    amplitude: float,
    tolerances: Sequence[float],
    fit: str,
    rule: str,
) -> Iterator[tuple[str, float, MLP]]:
    for cosine in cosines if net.activation.degree is not None else cosines[-1:]:
        yield "merge neurons", cosine, merge_neurons(net, cosine, amplitude, rule=rule).net
    if amplitude > 0:
        yield "merge neurons", 1.0, merge_neurons(net, 1.0, 0.0, rule=rule).net
    for tolerance in tolerances:
        for layer in range(1, net.depth):
            done = merge_layers(net, x, tolerance, fit=fit, layers=[layer])
            if done.merged:
                yield "merge layer", tolerance, done.net


def _agreement(output: Tensor, start: Tensor) -> float | None:
    if output.shape[-1] == 1:
        return None
    return float((output.argmax(-1) == start.argmax(-1)).double().mean())
