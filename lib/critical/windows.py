"""Slow windows of a loss curve, where descent lingers near a critical point, and the best iterates
inside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from lib.nets import MLP
from lib.nets.samples import check_tensor


@dataclass(frozen=True)
class Window:
    """A stretch of steps over which the loss hardly falls.

    Args:
        start, stop: its first and last record, so that the intervals start..stop-1 between records
            lie inside.
        first, last: the steps of those records.
        loss: geometric mean of the loss over its records.
        slope: steepest |d log loss / d log step| inside.
    """

    start: int
    stop: int
    first: int
    last: int
    loss: float
    slope: float

    @property
    def ratio(self) -> float:
        """last / first, its length on the log axis."""
        return self.last / self.first


class Descended(Protocol):
    """What is read of a `lib.train.descent.Trajectory`; intervals between records come first, then
    the batch."""

    steps: Tensor
    losses: Tensor
    smallest: MLP | None
    smallest_gradient: Tensor
    smallest_step: Tensor
    smallest_loss: Tensor


@dataclass(frozen=True)
class SlowIterates:
    """The iterate of smallest gradient in each slow window of each net, K in all.

    Args:
        net: the iterates, a batch (K,).
        index: which net of the flattened batch each belongs to;  window: which of that net's
            windows, from 0; both (K,).
        step, loss, gradient: step, loss and L1 norm of the gradient there, (K,).
    """

    net: MLP
    index: Tensor
    window: Tensor
    step: Tensor
    loss: Tensor
    gradient: Tensor


def slow_windows(
    steps: Tensor,
    losses: Tensor,
    *,
    slope: float = 0.1,
    ratio: float = 3.0,
    smooth: float = 1.5,
    begin: int = 100,
) -> tuple[Window, ...]:
    """The maximal stretches of steps where |d log loss / d log step| <= slope, and last / first >=
    ratio.

    The derivative at a record is the least-squares slope over the records within a factor `smooth`
    of its step, so that a loss that trembles from step to step (large rates do that) does not break
    a window.

    Args:
        steps: recorded steps (R,), increasing; step 0 has no logarithm.
        losses: of one net, (R,), positive.
        slope: 0.1 calls a loss slow that needs e^(1/0.1), four decades, to fall by a factor e. The
            plateau of the paper's Fig. 1 has 0.01, a power law towards zero loss 1 or more.
        ratio: shortest length of a window on the log axis.
        smooth: > 1; half width of the fit on the log axis.
        begin: earliest step of a window. During the first steps every loss is slow on a log axis,
            far from any critical point, for no better reason than that the rate is small.
    Returns:
        Windows in order, perhaps none.
    Raises:
        ValueError: shapes differ, steps do not increase, a loss that is not positive and finite, or
            a setting out of range.

    Source: (Zhang et al. 2021, Sec. 3.2) chose them by eye.

    >>> steps = torch.arange(1, 1000)
    >>> losses = torch.where(steps < 10, 1.0 / steps, torch.where(steps < 500, 0.1, 50.0 / steps))
    >>> [(w.first, w.last) for w in slow_windows(steps, losses, smooth=1.05, begin=1)]
    [(11, 485)]
    """
    _check(steps, losses, slope, ratio, smooth)
    offset = int((steps < max(begin, 1)).sum())
    t, loss = steps[offset:].double().log(), losses[offset:].double().log()
    if len(t) < 2:
        return ()
    steepness = _local_slope(t, loss, math.log(smooth)).abs()
    slow = [False, *(steepness <= slope).tolist(), False]
    edges = [i for i in range(1, len(slow)) if slow[i] != slow[i - 1]]
    found = []
    for a, b in zip(edges[::2], edges[1::2], strict=True):
        start, stop = a - 1, b - 2  # records of the shortened arrays, both inside
        if float(t[stop] - t[start]) >= math.log(ratio) * (1 - 1e-12):
            inside = slice(start, stop + 1)
            found.append(
                Window(
                    start=start + offset,
                    stop=stop + offset,
                    first=int(steps[start + offset]),
                    last=int(steps[stop + offset]),
                    loss=math.exp(float(loss[inside].mean())),
                    slope=float(steepness[inside].max()),
                )
            )
    return tuple(found)


def smallest_gradient_iterates(
    trajectory: Descended, windows: Sequence[Sequence[Window]] | None = None, **settings: Any
) -> SlowIterates:
    """The paper's empirical critical points: in each slow window of each net, the iterate of
    smallest gradient L1 norm.

    Args:
        trajectory: of `lib.train.descent.descend` with `keep_smallest`; any batch of nets, R
            records.
        windows: for each net of the flattened batch its windows; without them, `slow_windows` with
            these `settings`.
    Returns:
        A `SlowIterates`, net by net and window by window; nets whose loss is not finite (diverged)
        or not positive at some record have no windows.
    Raises:
        ValueError: the trajectory kept no iterates, not one entry of `windows` a net, or a window
            beyond its records.

    Source: (Zhang et al. 2021, Sec. 3.2)

    >>> from lib.train.descent import descend
    >>> from lib.nets import init
    >>> x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    >>> nets = init((1, 2, 1), std=1e-4, batch=(3,), generator=0)
    >>> run = descend(nets, x, torch.sin(3 * x), steps=60, lr=0.05, backend="torch")
    >>> smallest_gradient_iterates(run, begin=1).index.unique()  # all linger near the zero net
    tensor([0, 1, 2])
    """
    if trajectory.smallest is None:
        raise ValueError("the trajectory kept no iterates: descend with keep_smallest=True")
    records = len(trajectory.steps)
    losses = trajectory.losses.reshape(records, -1)
    if windows is None:
        usable = (torch.isfinite(losses) & (losses > 0)).all(0).tolist()
        windows = [
            slow_windows(trajectory.steps, losses[:, i], **settings) if ok else ()
            for i, ok in enumerate(usable)
        ]
    elif settings:
        raise ValueError(f"got windows and settings {sorted(settings)}: expected one of them")
    if len(windows) != losses.shape[1]:
        raise ValueError(
            f"got windows of {len(windows)} nets: expected {losses.shape[1]}, one sequence for each"
        )
    gradients = trajectory.smallest_gradient.reshape(records - 1, -1)
    found = [
        (_best_interval(window, gradients[:, net], f"window {k} of net {net}"), net, k)
        for net, of_net in enumerate(windows)
        for k, window in enumerate(of_net)
    ]
    row, index, number = torch.tensor(found, dtype=torch.int64).reshape(-1, 3).unbind(1)

    def pick(values: Tensor, dims: int) -> Tensor:
        of_net = values.shape[values.dim() - dims :]
        return values.reshape(records - 1, losses.shape[1], *of_net)[row, index]

    smallest, lead = trajectory.smallest, len(trajectory.smallest.batch)
    return SlowIterates(
        net=smallest.map(lambda p: pick(p, p.dim() - lead)),
        index=index,
        window=number,
        step=pick(trajectory.smallest_step, 0),
        loss=pick(trajectory.smallest_loss, 0),
        gradient=pick(trajectory.smallest_gradient, 0),
    )


def _best_interval(window: Window, gradients: Tensor, name: str) -> int:
    if not 0 <= window.start < window.stop <= len(gradients):
        raise ValueError(
            f"{name} has records {window.start}..{window.stop}: expected 0..{len(gradients)}"
        )
    return window.start + int(gradients[window.start : window.stop].argmin())


def _local_slope(t: Tensor, value: Tensor, half: float) -> Tensor:
    """Least-squares slope of value over the records within `half` of t, and at least over both
    neighbours."""
    near = (t[:, None] - t).abs() <= half
    rank = torch.arange(len(t))
    near |= (rank[:, None] - rank).abs() <= 1
    weight = near.double() / near.sum(1, keepdim=True)
    mean_t, mean_v = weight @ t, weight @ value
    spread = weight @ t**2 - mean_t**2
    return (weight @ (t * value) - mean_t * mean_v) / spread


def _check(steps: Tensor, losses: Tensor, slope: float, ratio: float, smooth: float) -> None:
    check_tensor("steps", steps)
    check_tensor("losses", losses)
    if steps.dim() != 1 or losses.shape != steps.shape:
        raise ValueError(
            f"steps {tuple(steps.shape)} and losses {tuple(losses.shape)}: expected one curve, (R,)"
            " both"
        )
    if bool((steps[1:] <= steps[:-1]).any()) or bool((steps < 0).any()):
        raise ValueError("steps do not increase from >= 0: expected the recorded steps in order")
    if not bool((torch.isfinite(losses) & (losses > 0)).all()):
        raise ValueError(
            "a loss is not positive and finite: log loss needs that; cut the curve before it, or"
            " drop the net"
        )
    if not slope > 0 or not ratio > 1 or not smooth > 1:
        raise ValueError(
            f"slope {slope}, ratio {ratio}, smooth {smooth}: expected slope > 0, ratio > 1 and"
            " smooth > 1"
        )
