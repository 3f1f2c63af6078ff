"""The gradient of one unit with one input and one output: the inner loops of `gradient_many` in their shortest form."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from lib.descent.gradient_many import put
from lib.descent.lanes import broadcast, compiled_for, every, fma, load, magnitude, splat, store, total
from lib.descent.pointwise import SAFE, in_lanes, pull, unit, value_with


@cache
def gradient_one(kind: int) -> Callable:
    """`evaluate` as in `gradient_many`, for d = k = 1."""
    KIND, UNIT, REACH = kind, unit(kind), SAFE

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
        squares, gc, c = zero, zero, load(state, p + 3 * rows)
        for start in range(0, n, tile):
            size, more = min(tile, n - start), start > 0
            for j in range(rows):
                v, b, a, at = load(w, 2 * j), load(w, 2 * j + 1), load(state, p + 3 * j + 2), t0 + tile * j
                last = j == rows - 1
                for i in range(size):
                    t = value_with(KIND, parameter, fma(v, broadcast(x, start + i), b), safe, const)
                    store(w, at + i, t)
                    r = fma(a, t, load(w, r0 + i) if j > 0 else zero)
                    if last:
                        if shared:
                            r = splat(total(r))
                        r = r + (c - broadcast(y, start + i))
                        squares = fma(r, r, squares)
                        gc = gc + r
                    store(w, r0 + i, r)
            for j in range(rows):
                a, at, grad = load(state, p + 3 * j + 2), t0 + tile * j, g + 3 * j
                gw, gb, ga = zero, zero, zero
                for i in range(size):
                    r, t = load(w, r0 + i), load(w, at + i)
                    rt = r * t
                    h = pull(KIND, parameter, r, t, rt)
                    ga = ga + rt
                    gb = gb + h
                    gw = fma(h, broadcast(x, start + i), gw)
                # The factor a of h, constant over the samples, has waited until here.
                put(w, grad, a * gw, more)
                put(w, grad + 1, a * gb, more)
                put(w, grad + 2, ga, more)
        store(w, g + 3 * rows, gc)
        return squares

    return evaluate
