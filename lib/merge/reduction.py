"""Pruning by merging alone: neurons and layers in turn, until nothing more goes within the
budget."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from lib.merge.batchnorm import as_mlp
from lib.merge.layers import fit_layers
from lib.merge.neurons import merge_neurons
from lib.nets import MLP, Loss, forward, mse, to_sequential
from lib.nets.checks import check_single, finite_number
from lib.nets.dense import as_dense, check_precise, check_problem

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
    x: Tensor,
    y: Tensor,
    loss: Loss = mse,
    *,
    budget: float,
    cosines: Sequence[float] = COSINES,
    amplitude: float = 0.01,
    tolerances: Sequence[float] = TOLERANCES,
) -> Reduction:
    """Merges neurons and layers in turn while R_S(theta') <= R_S(theta) + budget, to a fixed point.

    Each turn takes the first cosine, then the first tolerance and layer, that makes the net smaller
    within the budget; every accepted step removes parameters, so the turns end. The last net is
    never worse than the budget, up to the rounding of the risk (64 eps of its value).

    Args:
        net: one net, or an `nn.Sequential` of dense layers in eval mode.
        x, y: the sample on which the risk is measured: one that was not trained on, to be safe.
        loss: as in `lib.nets.losses.risk`.
        budget: largest increase of the risk, >= 0, in the units of the loss.
        cosines, amplitude: of `merge_neurons`, the cosines tried in this order, boldest first.
        tolerances: of `merge_layers` with a line for each neuron, tried in this order.
    Raises:
        ValueError: the budget is negative or not finite, the risk of the net is not finite, or bad
            thresholds.

    >>> from lib.nets import init
    >>> from lib.width import split
    >>> x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    >>> net = init((1, 2, 1), generator=torch.Generator().manual_seed(0))
    >>> reduce(split(net, 1, 0, 0.3), x, x**2, budget=0.0, tolerances=()).net
    MLP(1-2-1, tanh, 7 parameters)
    """
    if isinstance(net, nn.Sequential):
        head, mlp = as_mlp(net)
        done = reduce(
            mlp, head(x), y, loss, budget=budget, cosines=cosines, amplitude=amplitude,
            tolerances=tolerances,
        )  # fmt: skip
        return Reduction(
            nn.Sequential(*head, *to_sequential(cast(MLP, done.net))).eval(), done.steps
        )
    budget = finite_number("budget", budget)
    if budget < 0:
        raise ValueError(f"budget is {budget!r}: expected >= 0, the largest increase of the risk")
    for tolerance in tolerances:
        if not 0 <= finite_number("tolerance", tolerance) <= 1:
            raise ValueError(f"tolerance is {tolerance}: expected a share of variance in 0..1")
    net = as_dense(net).map(Tensor.detach)
    check_single(net)
    check_precise("the net", net.dtype)
    check_problem(net, x, y, loss)
    x, y = x.detach(), y.detach()
    judge = _Judge(x, y, loss, forward(net, x))
    steps = [judge.step("start", 0.0, net, math.inf)]
    if not math.isfinite(steps[0].risk):
        raise ValueError(f"the risk of {net!r} is {steps[0].risk}: expected a finite number")
    limit = steps[0].risk + budget + 64 * torch.finfo(net.dtype).eps * abs(steps[0].risk)
    while True:
        for action, setting, candidate in _attempts(net, x, cosines, amplitude, tolerances):
            if candidate.n_parameters >= net.n_parameters:
                continue
            steps.append(judge.step(action, setting, candidate, limit))
            if steps[-1].accepted:
                net = candidate
                break
        else:
            return Reduction(net, tuple(steps))


@dataclass(frozen=True, eq=False)
class _Judge:
    """The sample, the loss, and the outputs at the start."""

    x: Tensor
    y: Tensor
    loss: Loss
    start: Tensor

    def step(self, action: str, setting: float, net: MLP, limit: float) -> Step:
        output = forward(net, self.x)
        risk = float(self.loss(output, self.y))
        same = (output.argmax(-1) == self.start.argmax(-1)).double().mean()
        return Step(
            action,
            setting,
            net.widths,
            net.n_parameters,
            risk,
            change=float((output - self.start).norm(dim=-1).max()),
            agreement=float(same) if output.shape[-1] > 1 else None,
            accepted=risk <= limit,
        )


def _attempts(
    net: MLP, x: Tensor, cosines: Sequence[float], amplitude: float, tolerances: Sequence[float]
) -> Iterator[tuple[str, float, MLP]]:
    for cosine in cosines if net.activation.degree is not None else cosines[-1:]:
        yield "merge neurons", cosine, merge_neurons(net, cosine, amplitude).net
    if amplitude > 0:
        yield "merge neurons", 1.0, merge_neurons(net, 1.0, 0.0).net
    if not tolerances:
        return
    fits = fit_layers(net, x, "neuron")
    without = {fit.layer: fit.merged(net) for fit in fits if fit.error <= max(tolerances)}
    for tolerance in tolerances:
        for fit in fits:
            if fit.error <= tolerance:
                yield "merge layer", tolerance, without[fit.layer]
