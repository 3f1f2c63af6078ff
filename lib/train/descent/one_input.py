"""The gradient of one unit with one input and one output: the inner loops of `gradient_many` in
their shortest form."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from numba import njit

from lib._simd.compiled import compiled_for
from lib._simd.lanes import broadcast, every, fma, load, magnitude, splat, store
from lib._simd.pointwise import SAFE, in_lanes, pull, two_values, unit
from lib.train.descent.many_inputs import finish, put


@cache
def gradient_one(kind: int) -> Callable:
    """`evaluate` as in `gradient_many`, for d = k = 1."""
    KIND, UNIT, REACH = kind, unit(kind), SAFE

    @njit(inline="always")
    def forward(first, shared, sample, pairs, x, y, c, v, b, a, safe, parameter, const, t, r, w):
        # One row: its t at w[t], and what it adds to r at w[r]; the first one starts r.
        for i in range(0, 2 * pairs, 2):
            u, u_next = fma(v, broadcast(x, sample + i), b), fma(v, broadcast(x, sample + i + 1), b)
            now, after = two_values(KIND, parameter, u, u_next, safe, const)
            store(w, t + i, now)
            store(w, t + i + 1, after)
            if not first:
                start, start_next = load(w, r + i), load(w, r + i + 1)
            elif shared:
                start, start_next = splat(0.0), splat(0.0)
            else:
                start, start_next = c - broadcast(y, sample + i), c - broadcast(y, sample + i + 1)
            store(w, r + i, fma(a, now, start))
            store(w, r + i + 1, fma(a, after, start_next))

    @compiled_for(kind)
    def evaluate(x, y, shape, far, shared, parameter, table, state, p, w):
        n, _, _, rows, tile = shape
        zero, const = splat(0.0), in_lanes(table)
        g, t0 = 2 * rows, 5 * rows + 1
        r0 = t0 + tile * rows
        safe = True
        for j in range(rows):
            v, b = load(state, p + 3 * j) * splat(UNIT), load(state, p + 3 * j + 1) * splat(UNIT)
            store(w, 2 * j, v)
            store(w, 2 * j + 1, b)
            safe = every(fma(magnitude(v), splat(far), magnitude(b)) <= splat(REACH)) and safe
        squares, c = zero, load(state, p + 3 * rows)
        for start in range(0, n, tile):
            size, more = min(tile, n - start), start > 0
            pairs = (size + 1) // 2
            v, b, a = load(w, 0), load(w, 1), load(state, p + 2)
            forward(True, shared, start, pairs, x, y, c, v, b, a, safe, parameter, const, t0, r0, w)
            for j in range(1, rows):
                v, b, a, t = (
                    load(w, 2 * j),
                    load(w, 2 * j + 1),
                    load(state, p + 3 * j + 2),
                    t0 + tile * j,
                )
                forward(
                    False, shared, start, pairs, x, y, c, v, b, a, safe, parameter, const, t, r0, w
                )
            gc, more_squares = finish(shared, start, size, y, c, r0, w)
            squares = squares + more_squares
            put(w, g + 3 * rows, gc, more)
            for j in range(rows):
                t, grad = t0 + tile * j, g + 3 * j
                gw, gb, ga, gw_next, gb_next, ga_next = zero, zero, zero, zero, zero, zero
                for i in range(
                    0, 2 * pairs, 2
                ):  # two sums of each kind: an addition waits for the one before
                    r, r_next, now, after = (
                        load(w, r0 + i),
                        load(w, r0 + i + 1),
                        load(w, t + i),
                        load(w, t + i + 1),
                    )
                    rt, rt_next = r * now, r_next * after
                    h, h_next = (
                        pull(KIND, parameter, r, now, rt),
                        pull(KIND, parameter, r_next, after, rt_next),
                    )
                    ga, ga_next = ga + rt, ga_next + rt_next
                    gb, gb_next = gb + h, gb_next + h_next
                    gw = fma(h, broadcast(x, start + i), gw)
                    gw_next = fma(h_next, broadcast(x, start + i + 1), gw_next)
                # The factor a of h, constant over the samples, has waited until here.
                a = load(state, p + 3 * j + 2)
                put(w, grad, a * (gw + gw_next), more)
                put(w, grad + 1, a * (gb + gb_next), more)
                put(w, grad + 2, ga + ga_next, more)
        return squares

    return evaluate
