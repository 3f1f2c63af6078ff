"""The gradient of one unit with any number of inputs and outputs.

A *unit* is J rows of eight neurons (`lib.descent.lanes`). Its lanes are eight nets of J neurons each, or, when
`shared`, eight neurons of each row of one net of 8 J neurons; then outputs are summed over the lanes, and nothing
else differs. Row j holds w_j (d inputs), b_j and a_j (k outputs); after the rows comes the output bias c. Up to the
factor 2 / (n k), which waits until the update, with i the samples:

    t_ij = sigma(w_j x_i + b_j),    r_i = sum_j a_j t_ij + c - y_i,    h_ij = sigma'(w_j x_i + b_j) (a_j . r_i),
    dR/da_j = sum_i r_i t_ij,    dR/db_j = sum_i h_ij,    dR/dw_j = sum_i h_ij x_i,    dR/dc = sum_i r_i.

Samples pass in tiles so small that t stays in the cache. All memory is arrays of vectors of eight, and every offset
counts vectors; x and y are plain numbers, one feature of all samples after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from numba import njit

from lib.descent.lanes import broadcast, compiled_for, every, fma, load, magnitude, splat, store, total
from lib.descent.pointwise import SAFE, in_lanes, pull, unit, value_with

BLOCK = 4  # inputs are taken four at a time: the layout pads them with zeros


@njit
def put(w, at, vector, add):
    """Write a vector, or add it to what is there."""
    store(w, at, vector + load(w, at) if add else vector)


@njit
def put_four(w, at, v0, v1, v2, v3, add):
    """`put` four vectors side by side."""
    put(w, at, v0, add)
    put(w, at + 1, v1, add)
    put(w, at + 2, v2, add)
    put(w, at + 3, v3, add)


@njit
def four_inputs(x, i, n, v0, v1, v2, v3, u):
    """u + v . x_i for the four inputs of sample i whose numbers start at x[i]."""
    u = fma(v0, broadcast(x, i), fma(v1, broadcast(x, i + n), u))
    return fma(v2, broadcast(x, i + 2 * n), fma(v3, broadcast(x, i + 3 * n), u))


@cache
def gradient_many(kind: int) -> Callable:
    """`evaluate(x, y, shape, far, shared, parameter, table, state, p, w)` for one activation: the unit at state[p].

    shape is (n, d, k, rows, samples a tile), far the largest |x|, table the `constants` of the activation. Leaves the
    gradient in the workspace w from vector rows (d + 1) on, and returns the sum of r^2, one number a lane.
    """
    KIND, UNIT, REACH = kind, unit(kind), SAFE

    @compiled_for(kind)
    def prepare(far, rows, d, width, state, p, w):
        # Weights in units of the activation. True when no pre-activation can leave the range that needs no clamp.
        safe = True
        for j in range(rows):
            reach = splat(0.0)
            for c in range(d + 1):
                v = load(state, p + width * j + c) * splat(UNIT)
                store(w, (d + 1) * j + c, v)
                reach = fma(magnitude(v), splat(far if c < d else 1.0), reach)
            safe = every(reach <= splat(REACH)) and safe
        return safe

    @compiled_for(kind)
    def evaluate(x, y, shape, far, shared, parameter, table, state, p, w):
        n, d, k, rows, tile = shape
        zero, const, width = splat(0.0), in_lanes(table), d + 1 + k
        g = rows * (d + 1)
        t0 = g + width * rows + k
        r0 = t0 + tile * rows
        h0 = r0 + tile * k
        safe = prepare(far, rows, d, width, state, p, w)
        squares = zero
        for start in range(0, n, tile):
            size, more = min(tile, n - start), start > 0
            for j in range(rows):
                v, at, out = (d + 1) * j, t0 + tile * j, p + width * j + d + 1
                for c in range(4, d, 4):  # all inputs but the first four are summed where t will be
                    v0, v1, v2, v3 = load(w, v + c), load(w, v + c + 1), load(w, v + c + 2), load(w, v + c + 3)
                    for i in range(size):
                        u = load(w, at + i) if c > 4 else zero
                        store(w, at + i, four_inputs(x, c * n + start + i, n, v0, v1, v2, v3, u))
                v0, v1, v2, v3, b = load(w, v), load(w, v + 1), load(w, v + 2), load(w, v + 3), load(w, v + d)
                for i in range(size):
                    u = b + load(w, at + i) if d > 4 else b
                    u = four_inputs(x, start + i, n, v0, v1, v2, v3, u)
                    store(w, at + i, value_with(KIND, parameter, u, safe, const))
                for o in range(k):
                    a, r = load(state, out + o), r0 + tile * o
                    for i in range(size):
                        store(w, r + i, fma(a, load(w, at + i), load(w, r + i) if j > 0 else zero))
            for o in range(k):
                c, gc = load(state, p + width * rows + o), zero
                for i in range(size):
                    r = load(w, r0 + tile * o + i)
                    if shared:
                        r = splat(total(r))
                    r = r + (c - broadcast(y, o * n + start + i))
                    store(w, r0 + tile * o + i, r)
                    squares = fma(r, r, squares)
                    gc = gc + r
                put(w, g + width * rows + o, gc, more)
            for j in range(rows):
                at, out, grad = t0 + tile * j, p + width * j + d + 1, g + width * j
                a, ga, gb, gw0, gw1, gw2, gw3 = load(state, out), zero, zero, zero, zero, zero, zero
                for i in range(size):
                    r, t, xi = load(w, r0 + i), load(w, at + i), start + i
                    e = a * r
                    for o in range(1, k):
                        e = fma(load(state, out + o), load(w, r0 + tile * o + i), e)
                    h = pull(KIND, parameter, e, t, e * t)
                    store(w, h0 + i, h)
                    ga = fma(r, t, ga)
                    gb = gb + h
                    gw0 = fma(h, broadcast(x, xi), gw0)
                    gw1 = fma(h, broadcast(x, xi + n), gw1)
                    gw2 = fma(h, broadcast(x, xi + 2 * n), gw2)
                    gw3 = fma(h, broadcast(x, xi + 3 * n), gw3)
                put_four(w, grad, gw0, gw1, gw2, gw3, more)
                put(w, grad + d, gb, more)
                put(w, grad + d + 1, ga, more)
                for o in range(1, k):
                    ga = zero
                    for i in range(size):
                        ga = fma(load(w, r0 + tile * o + i), load(w, at + i), ga)
                    put(w, grad + d + 1 + o, ga, more)
                for c in range(4, d, 4):
                    gw0, gw1, gw2, gw3 = zero, zero, zero, zero
                    for i in range(size):
                        h, xi = load(w, h0 + i), c * n + start + i
                        gw0 = fma(h, broadcast(x, xi), gw0)
                        gw1 = fma(h, broadcast(x, xi + n), gw1)
                        gw2 = fma(h, broadcast(x, xi + 2 * n), gw2)
                        gw3 = fma(h, broadcast(x, xi + 3 * n), gw3)
                    put_four(w, grad + c, gw0, gw1, gw2, gw3, more)
        return squares

    return evaluate
