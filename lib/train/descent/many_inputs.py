"""The gradient of one unit with any number of inputs and outputs.

A *unit* is J rows of eight neurons (`lib._simd.lanes`). Its lanes are eight nets of J neurons each,
or, when `shared`, eight neurons of each row of one net of 8 J neurons; then outputs are summed over
the lanes, and nothing else differs. Row j holds w_j (d inputs), b_j and a_j (k outputs); after the
rows comes the output bias c. Up to the factor 2 / (n k), which waits until the update, with i the
samples:

    t_ij = sigma(w_j x_i + b_j),    r_i = sum_j a_j t_ij + c - y_i,
    h_ij = sigma'(w_j x_i + b_j) (a_j . r_i),
    dR/da_j = sum_i r_i t_ij,    dR/db_j = sum_i h_ij,    dR/dw_j = sum_i h_ij x_i,
    dR/dc = sum_i r_i.

Samples pass in tiles so small that t stays in the cache, and in pairs, for which `two_values` needs
one division; the partner of an odd last sample is one whose r is 0. All memory is arrays of vectors
of eight, and every offset counts vectors; x and y are plain numbers, one tile after the other, in
it one feature of all its samples after the other.

The workspace w holds, one after the other: weights in units of the activation (rows (d + 1)), the
gradient in the order of the parameters, t of a tile (rows, tile), r (k, tile) and h (tile)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from lib._simd.compiled import compiled_for, inlined, njit
from lib._simd.lanes import (
    Lanes,
    Memory,
    broadcast,
    every,
    fma,
    load,
    magnitude,
    splat,
    store,
    total,
)
from lib._simd.pointwise import SAFE, Constants, in_lanes, pull, two_values, unit
from lib.train.descent.arguments import Sample, Sigma

BLOCK = 4  # inputs are taken four at a time: the layout pads them with zeros
Evaluate = Callable[[Sample, Sigma, Memory, int, Memory], Lanes]
How = tuple[bool, float, Constants]  # whether no clamp is needed, the parameter, the constants
Four = tuple[Lanes, Lanes, Lanes, Lanes]
Span = tuple[int, int]


@njit
def put(w: Memory, at: int, vector: Lanes, add: bool) -> None:
    """Write a vector, or add it to what is there."""
    store(w, at, vector + load(w, at) if add else vector)


@njit
def put_four(w: Memory, at: int, four: Four, factor: Lanes, add: bool) -> None:
    """`put` four vectors side by side, each times the factor."""
    v0, v1, v2, v3 = four
    put(w, at, factor * v0, add)
    put(w, at + 1, factor * v1, add)
    put(w, at + 2, factor * v2, add)
    put(w, at + 3, factor * v3, add)


@njit
def four_inputs(x: Memory, i: int, tile: int, v: Four, u: Lanes) -> Lanes:
    """u + v . x_i for the four inputs of a sample whose numbers start at x[i]."""
    v0, v1, v2, v3 = v
    u = fma(v0, broadcast(x, i), fma(v1, broadcast(x, i + tile), u))
    return fma(v2, broadcast(x, i + 2 * tile), fma(v3, broadcast(x, i + 3 * tile), u))


@njit
def four_sums(x: Memory, i: int, tile: int, h: Lanes, sums: Four) -> Four:
    """sums + h x_i for the four inputs of a sample whose numbers start at x[i]."""
    s0, s1, s2, s3 = sums
    return (
        fma(h, broadcast(x, i), s0),
        fma(h, broadcast(x, i + tile), s1),
        fma(h, broadcast(x, i + 2 * tile), s2),
        fma(h, broadcast(x, i + 3 * tile), s3),
    )


@inlined
def later_inputs(
    x: Memory, xs: int, size: int, tile: int, d: int, v: int, at: int, w: Memory
) -> None:
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


@inlined
def finish(
    shared: bool, sample: int, size: int, y: Memory, c: Lanes, r0: int, w: Memory
) -> tuple[Lanes, Lanes]:
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


@njit
def outer_sum(r: int, at: int, even: int, w: Memory) -> Lanes:
    """sum_i r_i t_i, in two sums, since an addition waits for the one before."""
    ga, ga_next = splat(0.0), splat(0.0)
    for i in range(0, even, 2):
        ga = fma(load(w, r + i), load(w, at + i), ga)
        ga_next = fma(load(w, r + i + 1), load(w, at + i + 1), ga_next)
    return ga + ga_next


@cache
def gradient_many(kind: int) -> Evaluate:
    """`evaluate(sample, sigma, state, p, w)` for one activation: the unit at state[p].

    Leaves the gradient in the workspace w from vector rows (d + 1) on, and returns the sum of r^2,
    one number per lane."""
    KIND, UNIT, REACH = kind, unit(kind), SAFE

    @compiled_for(kind)
    def prepare(sample: Sample, width: int, state: Memory, p: int, w: Memory) -> bool:
        # Weights in units of the activation. True when no pre-activation can leave the range that
        # needs no clamp.
        _, d, _, rows, _ = sample.size
        safe = True
        for j in range(rows):
            reach = splat(0.0)
            for c in range(d + 1):
                v = load(state, p + width * j + c) * splat(UNIT)
                store(w, (d + 1) * j + c, v)
                reach = fma(magnitude(v), splat(sample.far if c < d else 1.0), reach)
            safe = every(reach <= splat(REACH)) and safe
        return safe

    @inlined
    def forward(
        later: bool, sample: Sample, xs: int, even: int, j: int, a: Lanes, how: How, w: Memory
    ) -> None:
        # Row j: its t, where the sum over later inputs may be, and what it adds to r of the first
        # output. The weights of four inputs, bias and factor stay in registers over the samples.
        _, d, k, rows, tile = sample.size
        x, v, (safe, parameter, const) = sample.x, (d + 1) * j, how
        t = rows * (d + 1) + rows * (d + 1 + k) + k + tile * j
        r = t + tile * (rows - j)
        four, b = (load(w, v), load(w, v + 1), load(w, v + 2), load(w, v + 3)), load(w, v + d)
        for i in range(0, even, 2):
            u, u_next = (b + load(w, t + i), b + load(w, t + i + 1)) if later else (b, b)
            u = four_inputs(x, xs + i, tile, four, u)
            u_next = four_inputs(x, xs + i + 1, tile, four, u_next)
            now, after = two_values(KIND, parameter, u, u_next, safe, const)
            store(w, t + i, now)
            store(w, t + i + 1, after)
            store(w, r + i, fma(a, now, load(w, r + i)))
            store(w, r + i + 1, fma(a, after, load(w, r + i + 1)))

    @inlined
    def back(
        sample: Sample,
        parameter: float,
        span: Span,
        at: int,
        e0: int,
        h0: int,
        w: Memory,
    ) -> tuple[Lanes, Lanes, Four]:
        # The sums over samples of one row: of e t, of h and of h x for the first four inputs. h is
        # kept for the others.
        xs, size = span
        zero, tile = splat(0.0), sample.size[4]
        ga, gb, four = zero, zero, (zero, zero, zero, zero)
        for i in range(size):
            e, t = load(w, e0 + i), load(w, at + i)
            et = e * t
            h = pull(KIND, parameter, e, t, et)
            store(w, h0 + i, h)
            ga, gb = ga + et, gb + h
            four = four_sums(sample.x, xs + i, tile, h, four)
        return ga, gb, four

    @compiled_for(kind)
    def evaluate(sample: Sample, sigma: Sigma, state: Memory, p: int, w: Memory) -> Lanes:
        (n, d, k, rows, tile), x, y = sample.size, sample.x, sample.y
        zero, width = splat(0.0), d + 1 + k
        g = rows * (d + 1)
        t0 = g + width * rows + k
        r0, squares = t0 + tile * rows, zero
        h0 = r0 + tile * k
        how = prepare(sample, width, state, p, w), sigma.parameter, in_lanes(sigma.table)
        for start in range(0, n, tile):
            size, more, xs, ys = min(tile, n - start), start > 0, start * d, start * k
            even = size + size % 2
            for o in range(k):
                c, r = load(state, p + width * rows + o), r0 + tile * o
                for i in range(size):
                    store(w, r + i, zero if sample.shared else c - broadcast(y, ys + tile * o + i))
            for j in range(rows):
                at, out = t0 + tile * j, p + width * j + d + 1
                if d > 4:
                    later_inputs(x, xs, even, tile, d, (d + 1) * j, at, w)
                    forward(True, sample, xs, even, j, load(state, out), how, w)
                else:
                    forward(False, sample, xs, even, j, load(state, out), how, w)
                for o in range(1, k):
                    a, r = load(state, out + o), r0 + tile * o
                    for i in range(size):
                        store(w, r + i, fma(a, load(w, at + i), load(w, r + i)))
            for o in range(k):
                c, r = load(state, p + width * rows + o), r0 + tile * o
                gc, more_squares = finish(sample.shared, ys + tile * o, size, y, c, r, w)
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
                        b, r = load(state, out + o), r0 + tile * o
                        for i in range(size):
                            e = load(w, h0 + i) if o > 0 else zero
                            store(w, h0 + i, fma(b, load(w, r + i), e))
                ga, gb, four = back(sample, sigma.parameter, (xs, size), at, e0, h0, w)
                put_four(w, grad, four, a, more)
                put(w, grad + d, a * gb, more)
                put(w, grad + d + 1, outer_sum(r0, at, even, w) if k > 1 else ga, more)
                for o in range(1, k):
                    put(w, grad + d + 1 + o, outer_sum(r0 + tile * o, at, even, w), more)
                for c4 in range(4, d, 4):
                    four = (zero, zero, zero, zero)
                    for i in range(size):
                        four = four_sums(x, xs + tile * c4 + i, tile, load(w, h0 + i), four)
                    put_four(w, grad + c4, four, a, more)
        return squares

    return evaluate
