"""Nets to and from the layout of the CPU kernel, and the engine that runs it.

One row of a net is a neuron with all it owns: (w_j: d numbers, b_j, a_j: k numbers); the output bias follows the rows.
Either eight nets lie side by side in the lanes, or, when that is cheaper, eight neurons of one net.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lib.descent.kernel import kernel, workspace
from lib.descent.lanes import LANES, aligned
from lib.descent.pointwise import KINDS
from lib.descent.trajectory import Rule, State, Trajectory
from lib.mlp import MLP


class Layout:
    """How the nets of one shape lie in units: (*batch) nets d-m-k -> (units, vectors, 8)."""

    def __init__(self, net: MLP) -> None:
        self.like = net
        self.d, self.m, self.k = net.widths
        self.count = net.batch.numel()
        # Work is rows times units: take the arrangement with less of it.
        self.shared = self.count * -(-self.m // LANES) < -(-self.count // LANES) * self.m
        self.rows = -(-self.m // LANES) if self.shared else self.m
        self.units = self.count if self.shared else -(-self.count // LANES)
        self.row = self.d + 1 + self.k
        self.vectors = self.rows * self.row + self.k

    def pack(self, net: MLP) -> np.ndarray:
        """(..., *batch) nets -> (..., units, vectors, 8); absent biases and padding are 0."""
        lead = net.batch[: len(net.batch) - len(self.like.batch)]
        shape = (*lead, self.count)
        (w, a), (b, c) = net.weights, net.biases
        rows = np.zeros((*shape, self.m, self.row))
        rows[..., : self.d] = w.reshape(*shape, self.m, self.d).numpy()
        if b is not None:
            rows[..., self.d] = b.reshape(*shape, self.m).numpy()
        rows[..., self.d + 1 :] = a.reshape(*shape, self.k, self.m).mT.numpy()
        tail = np.zeros((*shape, self.k)) if c is None else c.reshape(*shape, self.k).numpy()
        out = aligned(*lead, self.units, self.vectors)
        if self.shared:
            padded = np.zeros((*shape, self.rows * LANES, self.row))
            padded[..., : self.m, :] = rows
            lanes = padded.reshape(*shape, self.rows, LANES, self.row).swapaxes(-1, -2)
            out[..., : -self.k, :] = lanes.reshape(*shape, self.rows * self.row, LANES)
            out[..., -self.k :, :] = tail[..., None]
        else:
            flat = np.concatenate([rows.reshape(*shape, -1), tail], axis=-1)
            out[...] = self._to_lanes(flat, len(lead))
        return out

    def unpack(self, packed: np.ndarray) -> MLP:
        """The inverse of `pack`."""
        lead = packed.shape[:-3]
        shape = (*lead, self.count)
        if self.shared:
            lanes = packed[..., : -self.k, :].reshape(*shape, self.rows, self.row, LANES).swapaxes(-1, -2)
            rows = lanes.reshape(*shape, self.rows * LANES, self.row)[..., : self.m, :]
            tail = packed[..., -self.k :, 0]
        else:
            flat = packed.swapaxes(-1, -2).reshape(*lead, self.units * LANES, self.vectors)[..., : self.count, :]
            rows, tail = flat[..., : -self.k].reshape(*shape, self.m, self.row), flat[..., -self.k :]
        out = (*lead, *self.like.batch)
        (b, c) = self.like.biases

        def tensor(part: np.ndarray, *dims: int) -> Tensor:
            return torch.from_numpy(part.copy()).reshape((*out, *dims))

        return MLP(
            [tensor(rows[..., : self.d], self.m, self.d), tensor(rows[..., self.d + 1 :].swapaxes(-1, -2), self.k, self.m)],
            [None if b is None else tensor(rows[..., self.d], self.m), None if c is None else tensor(tail, self.k)],
            self.like.activation,
        )

    def pack_numbers(self, numbers: Tensor) -> np.ndarray:
        """One number a net, (..., *batch) -> (..., units, 8)."""
        flat = numbers.numpy().astype(np.float64).reshape(*numbers.shape[: numbers.dim() - len(self.like.batch)], self.count)
        out = aligned(*flat.shape[:-1], self.units)
        out[...] = flat[..., None] if self.shared else self._to_lanes(flat[..., None], flat.ndim - 1)[..., 0, :]
        return out

    def unpack_numbers(self, packed: np.ndarray) -> Tensor:
        """The inverse of `pack_numbers`."""
        lead = packed.shape[:-2]
        flat = packed[..., 0] if self.shared else packed.reshape(*lead, -1)[..., : self.count]
        return torch.from_numpy(flat.copy()).reshape((*lead, *self.like.batch))

    def _to_lanes(self, flat: np.ndarray, lead: int) -> np.ndarray:
        # The last lanes repeat the last net: real work that is thrown away, and cannot diverge on its own.
        index = np.minimum(np.arange(self.units * LANES), self.count - 1)
        padded = np.take(flat, index, axis=lead)
        return padded.reshape(*flat.shape[:lead], self.units, LANES, flat.shape[-1]).swapaxes(-1, -2)


class NumbaEngine:
    """The CPU kernel behind the same two methods as the torch reference."""

    def __init__(
        self, net: MLP, x: Tensor, y: Tensor, rule: Rule, plan: np.ndarray, past: Trajectory | None, state: State,
        *, keep_smallest: bool, threads: int,
    ) -> None:  # fmt: skip
        self.layout = layout = Layout(net)
        self.rule, self.plan, self.keep, self.state = rule, plan, keep_smallest, state
        self.x, self.y = np.ascontiguousarray(x.numpy()), np.ascontiguousarray(y.numpy())
        units, vectors, count = layout.units, layout.vectors, len(plan)
        kept = vectors if keep_smallest else 0
        done = past.steps_done if past else 0
        recorded = len(past.steps) if past else 0
        self.clock = np.full(units, done)
        self.following = np.full(units, recorded)
        self.params = layout.pack(net)
        ones = net.map(torch.ones_like)
        self.live = np.ascontiguousarray(layout.pack(ones)[0])
        self.moments = [layout.pack(m) for m in state.moments] if state.moments else [aligned(units, 0), aligned(units, 0)]
        died = past.diverged_at if past else torch.full(net.batch, -1)
        self.died = layout.pack_numbers(died)
        self.alive = aligned(units)
        self.alive[...] = self.died < 0
        self.limit = layout.pack_numbers(state.limit)
        self.best = layout.pack(state.net) if keep_smallest else aligned(units, 0)
        self.best_at = aligned(units, 3)
        for i, numbers in enumerate((state.gradient, state.step, state.loss)):
            self.best_at[:, i] = layout.pack_numbers(numbers)
        self.losses = aligned(units, count)
        self.smallest, self.smallest_at = aligned(units, count - 1, kept), aligned(units, count - 1, 3)
        if past:
            self.losses[:, :recorded] = layout.pack_numbers(past.losses).swapaxes(0, 1)
            parts = (past.smallest_gradient, past.smallest_step, past.smallest_loss)
            for i, part in enumerate(parts):
                self.smallest_at[:, : recorded - 1, i] = layout.pack_numbers(part).swapaxes(0, 1)
            if keep_smallest:
                self.smallest[:, : recorded - 1] = layout.pack(past.smallest).swapaxes(0, 1)
        sigma = net.activation
        self.parameter = 0.0 if sigma.parameter is None else float(sigma.parameter)
        self.run = kernel(KINDS[sigma.name], layout.d == 1 and layout.k == 1)
        bounds = np.linspace(0, units, min(threads, units) + 1).astype(int)
        scratch = workspace(layout.rows, layout.d, layout.k)
        self.shares = [(int(a), int(b), aligned(scratch)) for a, b in zip(bounds, bounds[1:], strict=False)]

    def tasks(self, until: int) -> list[Callable[[], None]]:
        return [lambda share=share: self._advance(until, *share) for share in self.shares]

    def _advance(self, until: int, first: int, last: int, work: np.ndarray) -> None:
        rule = self.rule
        self.run(
            first, last, until, self.x, self.y, self.layout.rows, self.layout.shared, self.parameter,
            rule.name == "adam", rule.lr, *rule.betas, rule.eps, self.live, self.plan,
            self.clock, self.following, self.params, *self.moments, self.alive, self.died, self.limit,
            self.best, self.best_at, self.losses, self.smallest, self.smallest_at, work,
        )  # fmt: skip

    def trajectory(self, interrupted: bool) -> Trajectory:
        layout, recorded = self.layout, int(self.following[0])
        numbers = [layout.unpack_numbers(self.smallest_at[:, : recorded - 1, i].swapaxes(0, 1)) for i in range(3)]
        at = [layout.unpack_numbers(self.best_at[:, i]) for i in range(3)]
        smallest = np.ascontiguousarray(self.smallest[:, : recorded - 1].swapaxes(0, 1))
        moments = tuple(layout.unpack(m) for m in self.moments) if self.rule.name == "adam" else None
        return Trajectory(
            steps=torch.from_numpy(self.plan[:recorded].copy()),
            losses=layout.unpack_numbers(self.losses[:, :recorded].swapaxes(0, 1)),
            smallest_gradient=numbers[0],
            smallest_step=numbers[1].long(),
            smallest_loss=numbers[2],
            smallest=layout.unpack(smallest) if self.keep else None,
            net=layout.unpack(self.params),
            steps_done=int(self.clock[0]),
            interrupted=interrupted,
            diverged_at=layout.unpack_numbers(self.died).long(),
            rule=self.rule,
            state=State(
                self.state.limit, moments, at[0], at[1].long(), at[2], layout.unpack(self.best) if self.keep else None
            ),
        )
