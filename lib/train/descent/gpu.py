"""The engine that runs the GPU kernel: two-layer nets under the mean squared error, float64 or
float32, with Triton."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lib._simd.pointwise import KINDS
from lib.nets import MLP, Loss, flatten, mse, unflatten
from lib.train.descent.trajectory import Rule, State, Trajectory

MAX_PADDED = 16384  # padded parameters of a net: beyond, they leave the registers, and torch is the faster one
_PER_THREAD = 48  # numbers of a gradient that one thread holds


@dataclass(frozen=True)
class Tile:
    """How a program is laid out: M, D, K padded sizes, T nets, B samples at a time, warps of 32
    threads."""

    M: int
    D: int
    K: int
    T: int
    B: int
    warps: int


def tile(m: int, d: int, k: int, n: int) -> Tile:
    """The layout for d-m-k nets on n samples.

    Up to 8 nets by 4 samples share a warp, so that sums over neurons need no exchange between
    threads; larger nets take more threads each.

    >>> tile(3, 1, 1, 50)
    Tile(M=4, D=1, K=1, T=8, B=4, warps=1)
    >>> tile(500, 1, 1, 50)
    Tile(M=512, D=1, K=1, T=1, B=4, warps=4)
    """
    padded_m, padded_d, padded_k = (1 << (size - 1).bit_length() for size in (m, d, k))
    size, samples, nets, warps = (
        padded_m * (padded_d + 1 + padded_k),
        min(4, 1 << (n - 1).bit_length()),
        8,
        1,
    )
    while nets > 1 and size * nets * samples > 32 * _PER_THREAD:
        nets //= 2
    while warps < 8 and size * nets * samples > 32 * warps * _PER_THREAD:
        warps *= 2
    return Tile(padded_m, padded_d, padded_k, nets, samples, warps)


def obstacles(net: MLP, loss: Loss) -> list[str]:
    """What keeps the GPU kernel from taking this problem; empty when it can.

    >>> from lib.nets import init
    >>> obstacles(init((1, 3, 3, 1), generator=0), mse)[0]
    'nets of depth 2 (this is 3)'
    """
    found = []
    if net.depth != 2:
        found.append(f"nets of depth 2 (this is {net.depth})")
    if loss is not mse:
        found.append("the loss lib.nets.losses.mse")
    if net.depth == 2:
        t = tile(net.widths[1], net.widths[0], net.widths[2], 4)
        if (size := t.M * (t.D + 1 + t.K)) > MAX_PADDED:
            found.append(
                f"nets of up to {MAX_PADDED} parameters, sizes rounded up to powers of two (this"
                f" has {size})"
            )
    sigma = net.activation
    if sigma.name not in KINDS or (sigma.parameter is not None and not sigma.parameter > 0):
        found.append(
            f"the activations {', '.join(KINDS)} with a positive parameter (this is {sigma!r})"
        )
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if net.device.type != "cuda" and not interpreted:
        found.append(f"tensors on a CUDA device (these are on {net.device})")
    if importlib.util.find_spec("triton") is None:
        found.append(
            "machines with Triton (`import triton` fails here; it comes with torch on Linux)"
        )
    return found


class TritonEngine:
    """The GPU kernel behind the two methods of `lib.train.descent.reference.TorchEngine`, its
    reference."""

    def __init__(
        self, net: MLP, x: Tensor, y: Tensor, rule: Rule, plan: np.ndarray, past: Trajectory | None, state: State,
        *, loss: Loss, keep_smallest: bool, threads: int,
    ) -> None:  # fmt: skip
        del loss, threads  # `obstacles` leaves one loss; a launch uses the whole device
        self.like, self.rule, self.plan, self.keep, self.limit = (
            net,
            rule,
            plan,
            keep_smallest,
            state.limit,
        )
        self.n = len(x)
        count, size, records = net.batch.numel(), net.n_parameters, len(plan)
        self.done, recorded = (past.steps_done, len(past.steps)) if past else (0, 0)
        new = flatten(net).new_empty
        self.theta = self._columns(net)
        self.best = self._columns(state.net) if keep_smallest else new(0)
        self.moments = [self._columns(v) for v in state.moments] if state.moments else [new(0)] * 2
        self.died = (
            (past.diverged_at if past else torch.full(net.batch, -1, device=net.device))
            .reshape(-1)
            .clone()
        )
        self.best_at = [v.reshape(-1).clone() for v in (state.gradient, state.step, state.loss)]
        self.losses = new(records, count)
        self.smallest = new(records - 1, size, count if keep_smallest else 0)
        steps = torch.empty(records - 1, count, dtype=torch.int64, device=net.device)
        self.smallest_at = [new(records - 1, count), steps, new(records - 1, count)]
        if past:
            self.losses[:recorded] = past.losses.reshape(recorded, count)
            parts = (past.smallest_gradient, past.smallest_step, past.smallest_loss)
            for into, part in zip(self.smallest_at, parts, strict=True):
                into[: recorded - 1] = part.reshape(recorded - 1, count)
            if keep_smallest:
                self.smallest[: recorded - 1] = (
                    flatten(past.smallest).reshape(recorded - 1, count, size).mT
                )
        self.x, self.y = x.T.contiguous(), y.T.contiguous()
        parameter = 0.0 if net.activation.parameter is None else float(net.activation.parameter)
        beta1, beta2 = rule.betas
        settings = [rule.lr, beta1, 1 - beta1, beta2, 1 - beta2, rule.eps, parameter]
        self.settings = torch.tensor(settings, dtype=net.dtype, device=net.device)
        self.due = torch.tensor([*plan.tolist(), -1], device=net.device)
        self.following = recorded

    def tasks(self, until: int) -> list[Callable[[], None]]:
        """The work that takes the run to step `until`: one launch."""
        return [lambda: self._advance(until)]

    def _advance(self, until: int) -> None:
        from lib.train.descent import gpu_kernel

        following = int(np.searchsorted(self.plan, until, side="right"))
        end = until + (following > self.following and self.plan[following - 1] == until)
        if end <= self.done:
            return
        (d, m, k), net = self.like.widths, self.like
        t = tile(m, d, k, self.n)
        count = self.theta.shape[1]
        gpu_kernel.run[(-(-count // t.T),)](
            self.theta, self.best, *self.moments, self.limit.reshape(-1), self.died, *self.best_at, self.losses,
            self.smallest, *self.smallest_at, self.due, self._schedule(until), self.settings, self.x, self.y,
            count, self.n, m, d, k, self.done, until, end, self.following,
            KIND=KINDS[net.activation.name], ADAM=self.rule.name == "adam", KEEP=self.keep,
            M=t.M, D=t.D, K=t.K, T=t.T, B=t.B, B1=net.biases[0] is not None, B2=net.biases[1] is not None,
            num_warps=t.warps,
        )  # fmt: skip
        if self.theta.is_cuda:
            torch.cuda.synchronize(self.theta.device)
        self.done, self.following = until, following

    def _schedule(self, until: int) -> Tensor:
        """lr / (1 - beta1^t) and 1 / sqrt(1 - beta2^t) of the next steps, t counted from 1: (steps,
        2)."""
        if self.rule.name == "gd":
            return self.settings
        t = np.arange(self.done + 1, until + 1)
        (beta1, beta2), lr = self.rule.betas, self.rule.lr
        table = np.stack([lr / (1 - beta1**t), 1 / np.sqrt(1 - beta2**t)], axis=1)
        return torch.from_numpy(table).to(self.settings)

    def trajectory(self, interrupted: bool) -> Trajectory:
        """What there is after the steps done so far."""
        r = self.following
        gradients, steps, losses = (self._numbers(part[: r - 1]) for part in self.smallest_at)
        return Trajectory(
            steps=torch.from_numpy(self.plan[:r].copy()),
            losses=self._numbers(self.losses[:r]),
            smallest_gradient=gradients,
            smallest_step=steps,
            smallest_loss=losses,
            smallest=self._net(self.smallest[: r - 1]) if self.keep else None,
            net=self._net(self.theta),
            steps_done=self.done,
            interrupted=interrupted,
            diverged_at=self._numbers(self.died),
            rule=self.rule,
            state=State(
                self.limit,
                tuple(self._net(v) for v in self.moments) if self.rule.name == "adam" else None,
                *(self._numbers(v) for v in self.best_at),
                self._net(self.best) if self.keep else None,
            ),
        )

    def _columns(self, net: MLP) -> Tensor:
        """(*batch) nets -> (parameter, net), neighbouring nets side by side in memory."""
        return (
            flatten(net)
            .reshape(-1, net.n_parameters)
            .T.clone(memory_format=torch.contiguous_format)
        )

    def _net(self, columns: Tensor) -> MLP:
        rows = columns.mT.reshape(*columns.shape[:-2], *self.like.batch, self.like.n_parameters)
        return unflatten(rows.clone(), self.like)

    def _numbers(self, numbers: Tensor) -> Tensor:
        return numbers.reshape((*numbers.shape[:-1], *self.like.batch)).clone()
