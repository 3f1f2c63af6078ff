"""The gradient of one unit with one input and one output: the inner loops of `gradient_many` in
their shortest form."""

from __future__ import annotations

from functools import cache

from lib._simd.compiled import compiled_for, inlined
from lib._simd.lanes import Lanes, Memory, broadcast, every, fma, load, magnitude, splat, store
from lib._simd.pointwise import NEAR, SAFE, in_lanes, pull, two_values, unit
from lib.train.descent.arguments import Sample, Sigma
from lib.train.descent.many_inputs import Evaluate, How, finish, put


@cache
def gradient_one(kind: int) -> Evaluate:
    """`evaluate` as in `gradient_many`, for d = k = 1."""
    KIND, UNIT, REACH, MILD = kind, unit(kind), SAFE, NEAR

    @compiled_for(kind)
    def prepare(sample: Sample, state: Memory, p: int, w: Memory) -> bool:
        # As in `gradient_many`.
        safe = True
        for j in range(sample.size[3]):
            v, b = load(state, p + 3 * j) * splat(UNIT), load(state, p + 3 * j + 1) * splat(UNIT)
            store(w, 2 * j, v)
            store(w, 2 * j + 1, b)
            reach = fma(magnitude(v), splat(sample.far), magnitude(b))
            safe = every(reach <= splat(REACH)) and safe
        return safe

    @inlined
    def forward(
        sample: Sample, span: tuple[int, int], row: tuple[int, Lanes, Lanes], how: How, t: int,
        r: int, w: Memory,
    ) -> None:  # fmt: skip
        # One row: its t at w[t], and what it adds to r at w[r]; the first one starts r. Weight,
        # bias and factor of the row stay in registers over the samples.
        (start, pairs), (j, a, c), (safe, parameter, const) = span, row, how
        x, y, v, b = sample.x, sample.y, load(w, 2 * j), load(w, 2 * j + 1)
        for i in range(0, 2 * pairs, 2):
            at, after = start + i, start + i + 1
            u, u_next = fma(v, broadcast(x, at), b), fma(v, broadcast(x, after), b)
            f, f_next = two_values(KIND, parameter, u, u_next, safe, const)
            store(w, t + i, f)
            store(w, t + i + 1, f_next)
            if j > 0:
                s, s_next = load(w, r + i), load(w, r + i + 1)
            elif sample.shared:
                s, s_next = splat(0.0), splat(0.0)
            else:
                s, s_next = c - broadcast(y, at), c - broadcast(y, after)
            store(w, r + i, fma(a, f, s))
            store(w, r + i + 1, fma(a, f_next, s_next))

    @inlined
    def back(
        near: bool, sample: Sample, parameter: float, span: tuple[int, int], t: int, r0: int,
        w: Memory,
    ) -> tuple[Lanes, Lanes, Lanes]:  # fmt: skip
        # The sums over samples of one row, two of each kind: an addition waits for the one before.
        (start, pairs), x, zero = span, sample.x, splat(0.0)
        gw, gb, ga, gw_next, gb_next, ga_next = zero, zero, zero, zero, zero, zero
        for i in range(0, 2 * pairs, 2):
            r, r_next = load(w, r0 + i), load(w, r0 + i + 1)
            f, f_next = load(w, t + i), load(w, t + i + 1)
            rt, rt_next = r * f, r_next * f_next
            h = pull(KIND, parameter, r, f, rt, near)
            h_next = pull(KIND, parameter, r_next, f_next, rt_next, near)
            ga, ga_next = ga + rt, ga_next + rt_next
            gb, gb_next = gb + h, gb_next + h_next
            gw = fma(h, broadcast(x, start + i), gw)
            gw_next = fma(h_next, broadcast(x, start + i + 1), gw_next)
        return gw + gw_next, gb + gb_next, ga + ga_next

    @compiled_for(kind)
    def evaluate(sample: Sample, sigma: Sigma, state: Memory, p: int, w: Memory) -> Lanes:
        n, _, _, rows, tile = sample.size
        g, t0 = 2 * rows, 5 * rows + 1
        r0 = t0 + tile * rows
        how = prepare(sample, state, p, w), sigma.parameter, in_lanes(sigma.table)
        squares, c = splat(0.0), load(state, p + 3 * rows)
        for start in range(0, n, tile):
            size, more = min(tile, n - start), start > 0
            span = start, (size + 1) // 2
            # The first row apart: the loop of the others has no branch.
            forward(sample, span, (0, load(state, p + 2), c), how, t0, r0, w)
            for j in range(1, rows):
                row = j, load(state, p + 3 * j + 2), c
                forward(sample, span, row, how, t0 + tile * j, r0, w)
            gc, more_squares = finish(sample.shared, start, size, sample.y, c, r0, w)
            squares = squares + more_squares
            put(w, g + 3 * rows, gc, more)
            for j in range(rows):
                reach = fma(
                    magnitude(load(w, 2 * j)), splat(sample.far), magnitude(load(w, 2 * j + 1))
                )
                at = t0 + tile * j
                if every(reach <= splat(MILD)):
                    gw, gb, ga = back(True, sample, sigma.parameter, span, at, r0, w)
                else:
                    gw, gb, ga = back(False, sample, sigma.parameter, span, at, r0, w)
                # The factor a of h, constant over the samples, has waited until here.
                a = load(state, p + 3 * j + 2)
                put(w, g + 3 * j, a * gw, more)
                put(w, g + 3 * j + 1, a * gb, more)
                put(w, g + 3 * j + 2, ga, more)
        return squares

    return evaluate
