"""The CPU kernel: all steps of eight lanes of a two-layer net in one compiled loop that never
leaves the cache.

Its inner loops are in `gradient_one` and `gradient_many`, which also say what a unit, a row and a
lane are."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import FunctionType

import numpy as np
from numba import njit

from lib._simd.compiled import cached
from lib._simd.lanes import address, fma, load, magnitude, select, some, splat, sqrt, store, total
from lib.train.descent.many_inputs import gradient_many
from lib.train.descent.one_input import gradient_one

# Vectors of t in flight: 16 KiB, half a first-level cache; but with many rows at least LONG_TILE
# samples at a time.
TILE, LONG_TILE = 256, 32
DUST = 1e-290  # beside any eps that moves a parameter it is nothing
# The last vectors of a unit's state, after the parameters, their snapshot and Adam's moments.
ALIVE, DIED, LIMIT, GRADIENT, STEP, LOSS, PER_UNIT = range(7)


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
def undusted(moment):
    """Zero in place of a moment below `DUST`.

    The moments of a neuron that no longer has a gradient would fall to subnormal numbers and stay
    there, with which
    processors calculate many times slower: after 7,000 steps of Adam on nets with dead neurons,
        twice as slow in all.
    """
    return select(magnitude(moment) < splat(DUST), splat(0.0), moment)


@njit
def move(adam, rule, t, vectors, live, state, p, m, moves, w, g):
    """One update of the lanes that move, by the gradient at w[g], with rule = (lr, beta1, beta2,
    eps)."""
    lr, beta1, beta2, eps = rule
    if adam:
        rate = splat(lr / (1.0 - beta1 ** (t + 1)))
        root = splat(1.0 / np.sqrt(1.0 - beta2 ** (t + 1)))
        for c in range(vectors):
            grad = load(w, g + c) * load(live, c)
            first = undusted(fma(splat(beta1), load(state, m + c), splat(1.0 - beta1) * grad))
            second = undusted(
                fma(splat(beta2), load(state, m + vectors + c), splat(1.0 - beta2) * grad * grad)
            )
            store(state, m + c, first)
            store(state, m + vectors + c, second)
            moved = load(state, p + c) - rate * first / fma(sqrt(second), root, splat(eps))
            store(state, p + c, select(moves, moved, load(state, p + c)))
    else:
        for c in range(vectors):
            moved = fma(splat(-lr), load(w, g + c) * load(live, c), load(state, p + c))
            store(state, p + c, select(moves, moved, load(state, p + c)))


def _run(
    first, last, until, clock, following, records, x, y, shape, far, shared, parameter, table, adam, rule, keep,
    live, state, losses, smallest, smallest_at, w,
):  # fmt: skip
    """Take the units first..last to step `until`, each from its step, clock[unit], and next record,
    following[unit].

    live holds 2 / (n k) for every parameter that is there, 0 for padding and absent biases. Of the
    R records, losses holds (units, R) vectors, smallest (units, R - 1, parameters), smallest_at
    (units, R - 1, 3)."""
    n, d, k, rows, _ = shape
    vectors = (d + 1 + k) * rows + k
    stride = vectors * (1 + int(keep) + 2 * int(adam)) + PER_UNIT
    g, zero, count = rows * (d + 1), splat(0.0), records.size
    x, y, table, live, state = address(x), address(y), address(table), address(live), address(state)
    losses, smallest, smallest_at, w = (
        address(losses),
        address(smallest),
        address(smallest_at),
        address(w),
    )
    for unit in range(first, last):
        p, own = unit * stride, (unit + 1) * stride - PER_UNIT
        t, record = clock[unit], following[unit]
        while True:
            recording = record < count and records[record] == t
            if t >= until and not recording:
                break
            now, loss, going = splat(float(t)), splat(np.inf), load(state, own + ALIVE)
            if some(zero < going):
                loss = evaluate(x, y, shape, far, shared, parameter, table, state, p, w) * splat(
                    1.0 / (n * k)
                )
                still = select(loss <= load(state, own + LIMIT), going, zero)
                store(state, own + DIED, select(still < going, now, load(state, own + DIED)))
                store(state, own + ALIVE, still)
                going = still
            moves = zero < going
            if recording:
                store(losses, unit * count + record, select(moves, loss, splat(np.inf)))
                if record > 0:
                    closed = unit * (count - 1) + record - 1
                    for c in range(3):
                        store(smallest_at, 3 * closed + c, load(state, own + GRADIENT + c))
                    if keep:
                        for c in range(vectors):
                            store(smallest, vectors * closed + c, load(state, p + vectors + c))
                store(state, own + GRADIENT, splat(np.inf))
                record += 1
            if t >= until:
                break
            t += 1
            if not some(moves):
                continue
            norm = zero
            for c in range(vectors):
                if (
                    shared and c == vectors - k
                ):  # every lane holds the output bias, but it counts once
                    norm = splat(total(norm))
                norm = norm + magnitude(load(w, g + c) * load(live, c))
            norm = select(
                moves, norm, splat(np.inf)
            )  # of a net that has diverged no iterate counts
            better = norm < load(state, own + GRADIENT)
            if some(better):
                store(state, own + GRADIENT, select(better, norm, load(state, own + GRADIENT)))
                store(state, own + STEP, select(better, now, load(state, own + STEP)))
                store(state, own + LOSS, select(better, loss, load(state, own + LOSS)))
                if keep:
                    for c in range(vectors):
                        kept = select(better, load(state, p + c), load(state, p + vectors + c))
                        store(state, p + vectors + c, kept)
            move(adam, rule, t - 1, vectors, live, state, p, own - 2 * vectors, moves, w, g)
        clock[unit], following[unit] = t, record


@cache
def kernel(kind: int, scalar: bool) -> Callable:
    """The compiled `_run` for one activation, in general or for one input and one output.

    Each of the twelve is compiled when first used, in seconds, and then cached on disk.
    """
    # `evaluate` is a global name of `_run`, not a free variable: Numba would put the latter into
    # the key of the disk cache, as an object that is new in every process. What tells the kernels
    # apart there is their qualified name.
    evaluate = (gradient_one if scalar else gradient_many)(kind)
    run = FunctionType(_run.__code__, globals() | {"evaluate": evaluate}, "run")
    run.__qualname__ = f"run_{kind}_{'one' if scalar else 'many'}"
    return cached(
        "lib._simd.pointwise", "lib.train.descent.one_input", "lib.train.descent.many_inputs"
    )(run)
