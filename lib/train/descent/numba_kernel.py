"""The CPU kernel: all steps of eight lanes of a two-layer net in one compiled loop that never
leaves the cache.

Its inner loops are in `gradient_one` and `gradient_many`, which also say what a unit, a row and a
lane are. The parameters of a unit, its snapshot of smallest gradient, Adam's moments and the seven
numbers below lie side by side, so that a step touches one stretch of memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from lib._simd.compiled import cached, njit
from lib._simd.lanes import (
    Lanes,
    Mask,
    Memory,
    address,
    fma,
    load,
    magnitude,
    select,
    some,
    splat,
    sqrt,
    store,
    total,
)
from lib.train.descent.arguments import Books, Clock, Sample, Share, Sigma, Update
from lib.train.descent.many_inputs import gradient_many
from lib.train.descent.one_input import gradient_one

# Vectors of t in flight: 16 KiB, half a first-level cache; but with many rows at least LONG_TILE
# samples at a time.
TILE, LONG_TILE = 256, 32
DUST = 1e-290  # beside any eps that moves a parameter it is nothing
# The last vectors of a unit's state, after the parameters, their snapshot and Adam's moments.
ALIVE, DIED, LIMIT, GRADIENT, STEP, LOSS, PER_UNIT = range(7)

Run = Callable[[Share, Clock, Sample, Sigma, Update, Memory, Books, Memory], None]


class Place(NamedTuple):
    """Where a unit lies: its parameters and its numbers in the state, its gradient in the
    workspace; how many vectors its parameters are, and how many of them every lane shares."""

    p: int
    own: int
    g: int
    vectors: int
    shared: int


def tile(samples: int, rows: int) -> int:
    """How many samples pass at a time: even, and no multiple of 4.

    With a high power of 2 the same sample of two rows would lie 4096 bytes or a multiple apart,
    where a load has to wait for a store it has nothing to do with.
    """
    size = min(samples, max(LONG_TILE, TILE // rows))
    return size + (2 - size) % 4


def workspace(samples: int, rows: int, inputs: int, outputs: int) -> int:
    """How many vectors of scratch one thread needs."""
    vectors = rows * (inputs + 1 + outputs) + outputs
    return rows * (inputs + 1) + vectors + tile(samples, rows) * (rows + outputs + 1)


@njit
def undusted(moment: Lanes) -> Lanes:
    """Zero in place of a moment below `DUST`.

    The moments of a neuron that no longer has a gradient would fall to subnormal numbers and stay
    there, with which processors calculate many times slower: after 7,000 steps of Adam on nets with
    dead neurons, twice as slow in all.
    """
    return select(magnitude(moment) < splat(DUST), splat(0.0), moment)


@njit
def descend_plainly(
    lr: float, at: Place, live: Memory, state: Memory, moves: Mask, w: Memory
) -> None:
    """One step of gradient descent of the lanes that move."""
    for c in range(at.vectors):
        old = load(state, at.p + c)
        moved = fma(splat(-lr), load(w, at.g + c) * load(live, c), old)
        store(state, at.p + c, select(moves, moved, old))


@njit
def descend_by_adam(
    update: Update, t: int, at: Place, live: Memory, state: Memory, moves: Mask, w: Memory
) -> None:
    """One step of Adam of the lanes that move; t counts from 0."""
    _, lr, beta1, beta2, eps = update
    first_at = at.own - 2 * at.vectors
    second_at = at.own - at.vectors
    rate = splat(lr / (1.0 - beta1 ** (t + 1)))
    root = splat(1.0 / np.sqrt(1.0 - beta2 ** (t + 1)))
    for c in range(at.vectors):
        grad = load(w, at.g + c) * load(live, c)
        first = undusted(fma(splat(beta1), load(state, first_at + c), splat(1.0 - beta1) * grad))
        grown = splat(1.0 - beta2) * grad * grad
        second = undusted(fma(splat(beta2), load(state, second_at + c), grown))
        store(state, first_at + c, first)
        store(state, second_at + c, second)
        old = load(state, at.p + c)
        moved = old - rate * first / fma(sqrt(second), root, splat(eps))
        store(state, at.p + c, select(moves, moved, old))


@njit
def judge(loss: Lanes, now: Lanes, state: Memory, own: int) -> Lanes:
    """1 for the lanes that go on, 0 for those whose loss is beyond the limit or was before."""
    going = load(state, own + ALIVE)
    still = select(loss <= load(state, own + LIMIT), going, splat(0.0))
    store(state, own + DIED, select(still < going, now, load(state, own + DIED)))
    store(state, own + ALIVE, still)
    return still


@njit
def close_interval(closed: int, at: Place, books: Books) -> None:
    """Copy the iterate of smallest gradient to the records of the interval that ends."""
    for c in range(3):
        store(books.smallest_at, 3 * closed + c, load(books.state, at.own + GRADIENT + c))
    if books.keep:
        for c in range(at.vectors):
            kept = load(books.state, at.p + at.vectors + c)
            store(books.smallest, at.vectors * closed + c, kept)


@njit
def gradient_norm(at: Place, live: Memory, w: Memory) -> Lanes:
    """The L1 norm of the gradient, per lane; what every lane holds counts once."""
    norm = splat(0.0)
    for c in range(at.vectors - at.shared):
        norm = norm + magnitude(load(w, at.g + c) * load(live, c))
    if at.shared > 0:
        norm = splat(total(norm))
        for c in range(at.vectors - at.shared, at.vectors):
            norm = norm + magnitude(load(w, at.g + c) * load(live, c))
    return norm


@njit
def keep_smaller(norm: Lanes, now: Lanes, loss: Lanes, at: Place, books: Books) -> None:
    """Take the iterates whose gradient norm is the smallest since the last record."""
    state = books.state
    better = norm < load(state, at.own + GRADIENT)
    if some(better):
        store(state, at.own + GRADIENT, select(better, norm, load(state, at.own + GRADIENT)))
        store(state, at.own + STEP, select(better, now, load(state, at.own + STEP)))
        store(state, at.own + LOSS, select(better, loss, load(state, at.own + LOSS)))
        if books.keep:
            for c in range(at.p, at.p + at.vectors):
                kept = select(better, load(state, c), load(state, c + at.vectors))
                store(state, c + at.vectors, kept)


@cache
def kernel(kind: int, scalar: bool) -> Run:
    """The compiled loop for one activation, in general or for one input and one output.

    Each of the twelve is compiled when first used, in seconds, and then cached on disk, where its
    name tells it from the others."""
    evaluate = (gradient_one if scalar else gradient_many)(kind)
    parts = ("arguments", "numba_kernel", "one_input", "many_inputs")
    modules = "lib._simd.pointwise", *(f"lib.train.descent.{part}" for part in parts)

    @cached(*modules, name=f"{kind}_{'one' if scalar else 'many'}")
    def run(
        share: Share, clock: Clock, sample: Sample, sigma: Sigma, update: Update, live: Memory,
        books: Books, w: Memory,
    ) -> None:  # fmt: skip
        """Take the units of the share to its step, each from its own step and next record.

        live holds 2 / (n k) for every parameter that is there, 0 for padding and absent biases."""
        (first, last, until), (steps, following, plan) = share, clock
        n, d, k, rows, _ = sample.size
        data = Sample(address(sample.x), address(sample.y), sample.size, sample.far, sample.shared)
        curve, state = Sigma(sigma.parameter, address(sigma.table)), address(books.state)
        kept = Books(
            books.keep, state, address(books.losses), address(books.smallest),
            address(books.smallest_at),
        )  # fmt: skip
        live, w, zero, count = address(live), address(w), splat(0.0), plan.size
        vectors = (d + 1 + k) * rows + k
        stride = vectors * (1 + int(books.keep) + 2 * int(update.adam)) + PER_UNIT
        shared = k if sample.shared else 0
        for unit in range(first, last):
            own = (unit + 1) * stride - PER_UNIT
            at = Place(unit * stride, own, rows * (d + 1), vectors, shared)
            t, record = steps[unit], following[unit]
            while True:
                due = record < count and plan[record] == t
                if t >= until and not due:
                    break
                now, loss, going = splat(float(t)), splat(np.inf), load(state, own + ALIVE)
                if some(zero < going):
                    loss = evaluate(data, curve, state, at.p, w) * splat(1.0 / (n * k))
                    going = judge(loss, now, state, own)
                moves = zero < going
                if due:
                    shown = select(moves, loss, splat(np.inf))
                    store(kept.losses, unit * count + record, shown)
                    if record > 0:
                        close_interval(unit * (count - 1) + record - 1, at, kept)
                    store(state, own + GRADIENT, splat(np.inf))
                    record += 1
                if t >= until:
                    break
                if some(moves):
                    # of a net that has diverged no iterate counts
                    norm = select(moves, gradient_norm(at, live, w), splat(np.inf))
                    keep_smaller(norm, now, loss, at, kept)
                    if update.adam:
                        descend_by_adam(update, t, at, live, state, moves, w)
                    else:
                        descend_plainly(update.lr, at, live, state, moves, w)
                t += 1
            steps[unit], following[unit] = t, record

    return run
