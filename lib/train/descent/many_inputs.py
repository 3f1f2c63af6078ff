"""The gradient of one unit with any number of inputs and outputs.

A *unit* is J rows of eight neurons (`lib._simd.lanes`). Its lanes are eight nets of J neurons each,
or, when `shared`, eight neurons of each row of one net of 8 J neurons; then outputs are summed over
the lanes, and nothing else differs. Row j holds w_j (d inputs), b_j and a_j (k outputs); after the
rows comes the output bias c. Up to the factor 2 / (n k), which waits until the update, with i the
samples:

    t_ij = sigma(w_j x_i + b_j),    r_i = sum_j a_j t_ij + c - y_i,    h_ij = sigma'(w_j x_i + b_j)
    (a_j . r_i), dR/da_j = sum_i r_i t_ij,    dR/db_j = sum_i h_ij,    dR/dw_j = sum_i h_ij x_i,
    dR/dc = sum_i r_i.

Samples pass in tiles so small that t stays in the cache, and in pairs, for which `two_values` needs
one division; the partner of an odd last sample is one whose r is 0. All memory is arrays of vectors
of eight, and every offset counts vectors; x and y are plain numbers, one tile after the other, in
it one feature of all its samples after the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from numba import njit

from lib._simd.compiled import compiled_for
from lib._simd.lanes import broadcast, every, fma, load, magnitude, splat, store, total
from lib._simd.pointwise import SAFE, in_lanes, pull, two_values, unit

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
def four_inputs(x, i, tile, v0, v1, v2, v3, u):
    """u + v . x_i for the four inputs of a sample whose numbers start at x[i]."""
    u = fma(v0, broadcast(x, i), fma(v1, broadcast(x, i + tile), u))
    return fma(v2, broadcast(x, i + 2 * tile), fma(v3, broadcast(x, i + 3 * tile), u))


@njit(inline="always")
def later_inputs(x, xs, size, tile, d, v, at, w):
    """w[at + i] = v . x_i over all inputs but the first four: six samples at a time hardly wait for
    an addition."""
    whole, zero = size - size % 6, splat(0.0)
    for i in range(0, whole, 6):
        u0, u1, u2, u3, u4, u5 = zero, zero, zero, zero, zero, zero
        for c in range(4, d):
            g, xi = load(w, v + c), xs + tile * c + i
            u0, u1 = fma(g, broadcast(x, xi), u0), fma(g, broadcast(x, xi + 1), u1)
            u2, u3 = fma(g, broadcast(x, xi + 2), u2), fma(g, broadcast(x, xi + 3), u3)
            u4, u5 = fma(g, broadcast(x, xi + 4), u4), fma(g, broadcast(x, xi + 5), u5)
        store(w, at + i, u0)
        store(w, at + i + 1, u1)
        store(w, at + i + 2, u2)
        store(w, at + i + 3, u3)
        store(w, at + i + 4, u4)
        store(w, at + i + 5, u5)
    for i in range(whole, size, 2):
        u0, u1 = zero, zero
        for c in range(4, d):
            g, xi = load(w, v + c), xs + tile * c + i
            u0, u1 = fma(g, broadcast(x, xi), u0), fma(g, broadcast(x, xi + 1), u1)
        store(w, at + i, u0)
        store(w, at + i + 1, u1)


@njit(inline="always")
def finish(shared, sample, size, y, c, r0, w):
    """Complete r of one output, for which the rows' sum is at w[r0]; return the sums of r and of
    r^2."""
    zero = splat(0.0)
    sums, squares, sums_next, squares_next = zero, zero, zero, zero
    if shared:
        for i in range(size):
            store(w, r0 + i, splat(total(load(w, r0 + i))) + (c - broadcast(y, sample + i)))
    if size % 2 == 1:
        store(w, r0 + size, zero)
    for i in range(0, size, 2):
        r, r_next = load(w, r0 + i), load(w, r0 + i + 1)
        sums, sums_next = sums + r, sums_next + r_next
        squares, squares_next = fma(r, r, squares), fma(r_next, r_next, squares_next)
    return sums + sums_next, squares + squares_next


@cache
def gradient_many(kind: int) -> Callable:
    """`evaluate(x, y, shape, far, shared, parameter, table, state, p, w)` for one activation: the
    unit at state[p].

    shape is (n, d, k, rows, samples a tile), far the largest |x|, table the `constants` of the
    activation. Leaves the gradient in the workspace w from vector rows (d + 1) on, and returns the
    sum of r^2, one number a lane."""
    KIND, UNIT, REACH = kind, unit(kind), SAFE

    @compiled_for(kind)
    def prepare(far, rows, d, width, state, p, w):
        # Weights in units of the activation. True when no pre-activation can leave the range that
        # needs no clamp.
        safe = True
        for j in range(rows):
            reach = splat(0.0)
            for c in range(d + 1):
                v = load(state, p + width * j + c) * splat(UNIT)
                store(w, (d + 1) * j + c, v)
                reach = fma(magnitude(v), splat(far if c < d else 1.0), reach)
            safe = every(reach <= splat(REACH)) and safe
        return safe

    @njit(inline="always")
    def forward(later, x, xs, even, tile, v0, v1, v2, v3, b, a, safe, parameter, const, t, r, w):
        # One row: its t at w[t], where the sum over later inputs may be, and what it adds to r of
        # the first output.
        for i in range(0, even, 2):
            u, u_next = (b + load(w, t + i), b + load(w, t + i + 1)) if later else (b, b)
            u = four_inputs(x, xs + i, tile, v0, v1, v2, v3, u)
            u_next = four_inputs(x, xs + i + 1, tile, v0, v1, v2, v3, u_next)
            now, after = two_values(KIND, parameter, u, u_next, safe, const)
            store(w, t + i, now)
            store(w, t + i + 1, after)
            store(w, r + i, fma(a, now, load(w, r + i)))
            store(w, r + i + 1, fma(a, after, load(w, r + i + 1)))

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
            size, more, xs, ys = min(tile, n - start), start > 0, start * d, start * k
            even = size + size % 2
            for o in range(k):
                c, r = load(state, p + width * rows + o), r0 + tile * o
                for i in range(size):
                    store(w, r + i, zero if shared else c - broadcast(y, ys + tile * o + i))
            for j in range(rows):
                v, at, out = (d + 1) * j, t0 + tile * j, p + width * j + d + 1
                v0, v1, v2, v3, b = (
                    load(w, v),
                    load(w, v + 1),
                    load(w, v + 2),
                    load(w, v + 3),
                    load(w, v + d),
                )
                a = load(state, out)
                if d > 4:
                    later_inputs(x, xs, even, tile, d, v, at, w)
                    forward(
                        True,
                        x,
                        xs,
                        even,
                        tile,
                        v0,
                        v1,
                        v2,
                        v3,
                        b,
                        a,
                        safe,
                        parameter,
                        const,
                        at,
                        r0,
                        w,
                    )
                else:
                    forward(
                        False,
                        x,
                        xs,
                        even,
                        tile,
                        v0,
                        v1,
                        v2,
                        v3,
                        b,
                        a,
                        safe,
                        parameter,
                        const,
                        at,
                        r0,
                        w,
                    )
                for o in range(1, k):
                    a, r = load(state, out + o), r0 + tile * o
                    for i in range(size):
                        store(w, r + i, fma(a, load(w, at + i), load(w, r + i)))
            for o in range(k):
                c = load(state, p + width * rows + o)
                gc, more_squares = finish(shared, ys + tile * o, size, y, c, r0 + tile * o, w)
                squares = squares + more_squares
                put(w, g + width * rows + o, gc, more)
            for j in range(rows):
                at, out, grad = t0 + tile * j, p + width * j + d + 1, g + width * j
                # One output's factor a of h, constant over the samples, waits until the sums are
                # done.
                e0, a = r0, load(state, out)
                if k > 1:
                    e0, a = h0, splat(1.0)
                    for o in range(k):
                        for i in range(size):
                            e = load(w, h0 + i) if o > 0 else zero
                            store(
                                w, h0 + i, fma(load(state, out + o), load(w, r0 + tile * o + i), e)
                            )
                ga, gb, gw0, gw1, gw2, gw3 = zero, zero, zero, zero, zero, zero
                for i in range(size):
                    e, t, xi = load(w, e0 + i), load(w, at + i), xs + i
                    et = e * t
                    h = pull(KIND, parameter, e, t, et)
                    store(w, h0 + i, h)
                    ga = ga + et
                    gb = gb + h
                    gw0 = fma(h, broadcast(x, xi), gw0)
                    gw1 = fma(h, broadcast(x, xi + tile), gw1)
                    gw2 = fma(h, broadcast(x, xi + 2 * tile), gw2)
                    gw3 = fma(h, broadcast(x, xi + 3 * tile), gw3)
                put_four(w, grad, a * gw0, a * gw1, a * gw2, a * gw3, more)
                put(w, grad + d, a * gb, more)
                for o in range(k):
                    if k > 1:
                        ga, ga_next, r = zero, zero, r0 + tile * o
                        for i in range(0, even, 2):
                            ga = fma(load(w, r + i), load(w, at + i), ga)
                            ga_next = fma(load(w, r + i + 1), load(w, at + i + 1), ga_next)
                        ga = ga + ga_next
                    put(w, grad + d + 1 + o, ga, more)
                for c in range(4, d, 4):
                    gw0, gw1, gw2, gw3 = zero, zero, zero, zero
                    for i in range(size):
                        h, xi = load(w, h0 + i), xs + tile * c + i
                        gw0 = fma(h, broadcast(x, xi), gw0)
                        gw1 = fma(h, broadcast(x, xi + tile), gw1)
                        gw2 = fma(h, broadcast(x, xi + 2 * tile), gw2)
                        gw3 = fma(h, broadcast(x, xi + 3 * tile), gw3)
                    put_four(w, grad + c, a * gw0, a * gw1, a * gw2, a * gw3, more)
        return squares

    return evaluate
