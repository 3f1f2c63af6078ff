"""The CPU kernel: every step of eight lanes of a two-layer net in one compiled loop that never leaves the cache.

A *unit* is J rows of eight neurons (`lib.descent.lanes`). Its lanes are eight nets of J neurons each, or, when
`shared`, eight neurons of each row of one net of 8 J neurons; then outputs are summed over the lanes, and nothing
else differs. With row j holding w_j (d inputs), b_j and a_j (k outputs), after the rows the output bias c:

    t_ij = sigma(w_j x_i + b_j),    r_i = 2 / (n k) (sum_j a_j t_ij + c - y_i),
    dR/da_j = sum_i r_i t_ij,  dR/db_j = sum_i s_ij,  dR/dw_j = sum_i s_ij x_i,  s_ij = sigma'(.) (a_j . r_i).

Samples go through in tiles so small that t and sigma' stay in the first-level cache.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numba import njit

from lib.descent.lanes import fma, load, magnitude, select, some, splat, sqrt, store, total
from lib.descent.pointwise import slope, unit, value

TILE_LANES = 192  # vectors of t (and as many of sigma') in flight: 2 x 12 KiB


def workspace(rows: int, inputs: int, outputs: int) -> int:
    """How many vectors of scratch one thread needs."""
    tile = max(1, TILE_LANES // rows)
    return rows * (inputs + 1) + (rows * (inputs + 1 + outputs) + outputs) + tile * (2 * rows + outputs + 1)


@cache
def kernel(kind: int, scalar: bool) -> Callable:
    """The compiled `run` for one activation; `scalar` is the special case of one input and one output.

    Both are constants of the machine code: 12 possible kernels, each compiled on first use and cached on disk.
    """
    UNIT = unit(kind)
    KIND, SCALAR, TILE = kind, scalar, TILE_LANES

    @njit
    def forward(x, y, i0, i1, rows, d, k, shared, scale, alpha, p, scaled, w, t0, s0, r0):
        # Writes t, sigma' and r of the samples i0..i1; returns the sum of r^2.
        width = d + 1 + k
        squares = splat(0.0)
        for i in range(i0, i1):
            at = (i - i0) * rows
            if SCALAR:
                xi = splat(x[i, 0])
                f = splat(0.0)
                for j in range(rows):
                    u = fma(load(w, scaled + 2 * j), xi, load(w, scaled + 2 * j + 1))
                    t = value(KIND, alpha, u)
                    store(w, t0 + at + j, t)
                    store(w, s0 + at + j, slope(KIND, alpha, u, t))
                    f = fma(load(p, 3 * j + 2), t, f)
                if shared:
                    f = splat(total(f))
                r = (f + load(p, 3 * rows) - splat(y[i, 0])) * splat(scale)
                store(w, r0 + i - i0, r)
                squares = fma(r, r, squares)
            else:
                for j in range(rows):
                    u = load(w, scaled + (d + 1) * j + d)
                    for c in range(d):
                        u = fma(load(w, scaled + (d + 1) * j + c), splat(x[i, c]), u)
                    t = value(KIND, alpha, u)
                    store(w, t0 + at + j, t)
                    store(w, s0 + at + j, slope(KIND, alpha, u, t))
                for o in range(k):
                    f = splat(0.0)
                    for j in range(rows):
                        f = fma(load(p, width * j + d + 1 + o), load(w, t0 + at + j), f)
                    if shared:
                        f = splat(total(f))
                    r = (f + load(p, width * rows + o) - splat(y[i, o])) * splat(scale)
                    store(w, r0 + (i - i0) * k + o, r)
                    squares = fma(r, r, squares)
        return squares

    @njit
    def backward(x, i0, i1, rows, d, k, p, g, w, t0, s0, r0, e0):
        # Adds the samples i0..i1 to the gradient, the vectors g.. of the workspace.
        width = d + 1 + k
        for j in range(rows):
            base = width * j
            if SCALAR:
                a = load(p, base + 2)
                gw, gb, ga = load(w, g + base), load(w, g + base + 1), load(w, g + base + 2)
                for i in range(i0, i1):
                    at = i - i0
                    r = load(w, r0 + at)
                    ga = fma(r, load(w, t0 + at * rows + j), ga)
                    s = r * load(w, s0 + at * rows + j) * a
                    gb = gb + s
                    gw = fma(s, splat(x[i, 0]), gw)
                store(w, g + base, gw)
                store(w, g + base + 1, gb)
                store(w, g + base + 2, ga)
            else:
                gb = load(w, g + base + d)
                for i in range(i0, i1):
                    at = i - i0
                    e = splat(0.0)
                    for o in range(k):
                        e = fma(load(p, base + d + 1 + o), load(w, r0 + at * k + o), e)
                    s = e * load(w, s0 + at * rows + j)
                    store(w, e0 + at, s)
                    gb = gb + s
                store(w, g + base + d, gb)
                for o in range(k):
                    ga = load(w, g + base + d + 1 + o)
                    for i in range(i0, i1):
                        at = i - i0
                        ga = fma(load(w, r0 + at * k + o), load(w, t0 + at * rows + j), ga)
                    store(w, g + base + d + 1 + o, ga)
                for c in range(d):
                    gw = load(w, g + base + c)
                    for i in range(i0, i1):
                        gw = fma(load(w, e0 + i - i0), splat(x[i, c]), gw)
                    store(w, g + base + c, gw)
        for o in range(k):
            gc = load(w, g + width * rows + o)
            for i in range(i0, i1):
                gc = gc + load(w, r0 + (i - i0) * k + o)
            store(w, g + width * rows + o, gc)

    @njit
    def evaluate(x, y, rows, shared, alpha, p, w):
        # Leaves the gradient in the workspace; returns the loss of every lane.
        n, d, k = x.shape[0], x.shape[1], y.shape[1]
        width = d + 1 + k
        tile = max(1, TILE // rows)
        g = rows * (d + 1)
        t0 = g + width * rows + k
        s0 = t0 + tile * rows
        r0 = s0 + tile * rows
        e0 = r0 + tile * k
        for j in range(rows):
            for c in range(d + 1):
                store(w, (d + 1) * j + c, load(p, width * j + c) * splat(UNIT))
        for c in range(width * rows + k):
            store(w, g + c, splat(0.0))
        scale = 2.0 / (n * k)
        squares = splat(0.0)
        for i0 in range(0, n, tile):
            i1 = min(n, i0 + tile)
            part = forward(x, y, i0, i1, rows, d, k, shared, scale, alpha, p, 0, w, t0, s0, r0)
            squares = squares + part
            backward(x, i0, i1, rows, d, k, p, g, w, t0, s0, r0, e0)
        return squares * splat(0.25 * n * k)

    @njit(nogil=True, cache=True)
    def run(
        first, last, until, x, y, rows, shared, alpha, adam, lr, beta1, beta2, eps, live, records,
        clock, following, params, moment1, moment2, alive, died, limit, best, best_at, losses, smallest, smallest_at, w,
    ):  # fmt: skip
        """Take the units first..last to step `until`, all state in the arrays; see `lib.descent.packing`."""
        d, k = x.shape[1], y.shape[1]
        width = d + 1 + k
        n_rows, n_all = width * rows, width * rows + k
        g = rows * (d + 1)
        keep = best.shape[1] > 0
        for unit in range(first, last):
            p = params[unit]
            here, bests, m, v = live, best[unit], moment1[unit], moment2[unit]
            at, running, deaths, limits = best_at[unit], alive[unit], died[unit], limit[unit]
            t = clock[unit]
            while True:
                recording = following[unit] < records.size and t == records[following[unit]]
                if t >= until and not recording:
                    break
                loss = evaluate(x, y, rows, shared, alpha, p, w)
                zero = splat(0.0)
                ok = loss <= load(limits, 0)
                going = select(ok, load(running, 0), zero)
                now = splat(float(t))
                # A lane that stops being alive in this step has died now.
                store(deaths, 0, select(going < load(running, 0), now, load(deaths, 0)))
                store(running, 0, going)
                if recording:
                    index = following[unit]
                    store(losses[unit, index], 0, select(zero < going, loss, splat(np.inf)))
                    if index > 0:
                        for c in range(3):
                            store(smallest_at[unit, index - 1], c, load(at, c))
                        if keep:
                            for c in range(n_all):
                                store(smallest[unit, index - 1], c, load(bests, c))
                    store(at, 0, splat(np.inf))
                    following[unit] = index + 1
                    if t >= until:
                        break
                norm = zero
                for c in range(n_rows):
                    grad = load(w, g + c) * load(here, c)
                    store(w, g + c, grad)
                    norm = norm + magnitude(grad)
                if shared:
                    norm = splat(total(norm))
                for c in range(n_rows, n_all):
                    grad = load(w, g + c) * load(here, c)
                    store(w, g + c, grad)
                    norm = norm + magnitude(grad)
                better = norm < load(at, 0)
                if some(better):
                    store(at, 0, select(better, norm, load(at, 0)))
                    store(at, 1, select(better, now, load(at, 1)))
                    store(at, 2, select(better, loss, load(at, 2)))
                    if keep:
                        for c in range(n_all):
                            store(bests, c, select(better, load(p, c), load(bests, c)))
                moves = zero < going
                if not some(moves):
                    pass
                elif adam:
                    rate = splat(lr / (1.0 - beta1 ** (t + 1)))
                    root = splat(1.0 / np.sqrt(1.0 - beta2 ** (t + 1)))
                    for c in range(n_all):
                        grad = load(w, g + c)
                        first_m = fma(splat(beta1), load(m, c), splat(1.0 - beta1) * grad)
                        second_m = fma(splat(beta2), load(v, c), splat(1.0 - beta2) * grad * grad)
                        store(m, c, first_m)
                        store(v, c, second_m)
                        moved = load(p, c) - rate * first_m / fma(sqrt(second_m), root, splat(eps))
                        store(p, c, select(moves, moved, load(p, c)))
                else:
                    for c in range(n_all):
                        moved = fma(splat(-lr), load(w, g + c), load(p, c))
                        store(p, c, select(moves, moved, load(p, c)))
                t += 1
                clock[unit] = t

    return run
