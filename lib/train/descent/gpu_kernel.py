"""The GPU kernel: all steps of a tile of small two-layer nets in one Triton program that never
leaves the chip.

Every tensor of a program has four axes, (neuron, input or output, net, sample), of sizes (M, D or
K, T, B), each a power of two. The last two lie across the threads of a warp, the others in
registers: a thread sums over its own samples, B at a time, and only once a step over its B - 1
neighbours. Parameters, moments and the snapshot of smallest gradient are loaded once a launch and
stored once; the formulas are those of `lib.train.descent.many_inputs`, the activations those of
`lib._simd.pointwise`, in float64 or float32.

This file imports Triton, so it is imported only where a net trains on a GPU.
"""

# ruff: noqa: PLR0913  # a kernel of Triton takes each array by itself
# Triton compiles this file itself: its values have no Python types.
# mypy: ignore-errors

from __future__ import annotations

import math

import triton
import triton.language as tl

from lib._simd.pointwise import ELU, LEAKY_RELU, RELU, SIGMOID, TANH, constants

_TANH, _SIGMOID, _RELU, _LEAKY, _ELU = (
    tl.constexpr(k) for k in (TANH, SIGMOID, RELU, LEAKY_RELU, ELU)
)
_Q0, _Q1, _P0, _P1, _P2 = (tl.constexpr(float(c)) for c in constants(TANH)[1:6])
_PER_LN2 = tl.constexpr(1 / math.log(2))


@triton.jit
def _parts(u, low: tl.constexpr, high: tl.constexpr, less: tl.constexpr):
    """2^(k - less), P and Q at u - k, k the integer next to u; see `lib._simd.pointwise`."""
    u = tl.where(u > high, high, u)  # a NaN compares false and passes: it must reach the loss
    u = tl.where(u < low, low, u)
    if u.dtype == tl.float64:
        rounder: tl.constexpr = 1.5 * 2.0**52 + 1023.0 - less
        shifted = u + rounder
        power = (shifted.to(tl.int64, bitcast=True) << 52).to(tl.float64, bitcast=True)
    else:
        rounder: tl.constexpr = 1.5 * 2.0**23 + 127.0 - less
        shifted = u + rounder
        power = (shifted.to(tl.int32, bitcast=True) << 23).to(tl.float32, bitcast=True)
    r = u - (shifted - rounder)
    s = r * r
    return power, r * ((_P2 * s + _P1) * s + _P0), (s + _Q1) * s + _Q0


@triton.jit
def _sigma(z, parameter, KIND: tl.constexpr):
    if KIND == _TANH:
        power, p, q = _parts(z * (2 * _PER_LN2), -60.0, 60.0, 1)
        g = (power - 0.5) * (q + p)
        t = (g + p) / (g + q)
    elif KIND == _SIGMOID:
        limit: tl.constexpr = 1000.0 if z.dtype == tl.float64 else 100.0
        power, p, q = _parts(z * _PER_LN2, -limit, limit, 0)
        grown = power * (q + p)
        t = grown / (grown + (q - p))
    elif KIND == _RELU:
        t = tl.where(z <= 0, 0.0, z)
    elif KIND == _LEAKY:
        t = tl.where(z <= 0, parameter * z, z)
    elif KIND == _ELU:
        power, p, q = _parts(z * _PER_LN2, -60.0, 0.0, 0)
        t = tl.where(z <= 0, parameter * (((power - 1.0) * (q + p) + 2 * p) / (q - p)), z)
    else:
        t = z
    return t


@triton.jit
def _pull(e, t, parameter, KIND: tl.constexpr):
    """e sigma'(z), given t = sigma(z); at a kink the left limit, and 0 where t lies within its own
    rounding of the end of the range, as in `lib._simd.pointwise.pull`."""
    last: tl.constexpr = 1 - 2.0**-50 if t.dtype == tl.float64 else 1 - 2.0**-21
    if KIND == _TANH:
        h = tl.where(tl.abs(t) >= last, 0.0, e - e * t * t)
    elif KIND == _SIGMOID:
        h = tl.where(t >= last, 0.0, e * t - e * t * t)
    elif KIND == _RELU:
        h = tl.where(t > 0, e, 0.0)
    elif KIND == _LEAKY:
        h = tl.where(t > 0, e, parameter * e)
    elif KIND == _ELU:
        h = tl.where(t > 0, e, tl.where(t <= -last * parameter, 0.0, e * t + parameter * e))
    else:
        h = e
    return h


@triton.jit
def _axis(size: tl.constexpr, axis: tl.constexpr):
    """0, 1, ..., size - 1 along one of the four axes."""
    if axis == 0:
        return tl.arange(0, size)[:, None, None, None]
    elif axis == 1:
        return tl.arange(0, size)[None, :, None, None]
    elif axis == 2:
        return tl.arange(0, size)[None, None, :, None]
    else:
        return tl.arange(0, size)[None, None, None, :]


@triton.jit
def _places(
    m, d, k, M: tl.constexpr, D: tl.constexpr, K: tl.constexpr, B1: tl.constexpr, B2: tl.constexpr
):
    """Where w, b, a, c stand in the order of `lib.nets.mlp.flatten`, and which of them are
    there."""
    j, i, o = _axis(M, 0), _axis(D, 1), _axis(K, 1)
    a = m * d + (m if B1 else 0)
    return (
        j * d + i, (j < m) & (i < d), m * d + j, (j < m) & B1,
        a + o * m + j, (j < m) & (o < k), a + k * m + o, (o < k) & B2,
    )  # fmt: skip


@triton.jit
def _load(
    source,
    net,
    count,
    m,
    d,
    k,
    M: tl.constexpr,
    D: tl.constexpr,
    K: tl.constexpr,
    B1: tl.constexpr,
    B2: tl.constexpr,
):
    """The parameters of the nets of a tile, from (parameter, net)."""
    pw, hw, pb, hb, pa, ha, pc, hc = _places(m, d, k, M, D, K, B1, B2)
    here = net < count
    w = tl.load(source + pw * count + net, here & hw, 0.0)
    b = tl.load(source + pb * count + net, here & hb, 0.0)
    a = tl.load(source + pa * count + net, here & ha, 0.0)
    return w, b, a, tl.load(source + pc * count + net, here & hc, 0.0)


@triton.jit
def _store(
    to,
    w,
    b,
    a,
    c,
    net,
    count,
    m,
    d,
    k,
    M: tl.constexpr,
    D: tl.constexpr,
    K: tl.constexpr,
    B1: tl.constexpr,
    B2: tl.constexpr,
):
    pw, hw, pb, hb, pa, ha, pc, hc = _places(m, d, k, M, D, K, B1, B2)
    here = net < count
    tl.store(to + pw * count + net, w, here & hw)
    tl.store(to + pb * count + net, b, here & hb)
    tl.store(to + pa * count + net, a, here & ha)
    tl.store(to + pc * count + net, c, here & hc)


@triton.jit
def _gradient(
    w, b, a, c, x, y, n, m, d, k, parameter, KIND: tl.constexpr,
    M: tl.constexpr, D: tl.constexpr, K: tl.constexpr, T: tl.constexpr, B: tl.constexpr,
    B1: tl.constexpr, B2: tl.constexpr,
):  # fmt: skip
    """The sum of r^2 and the gradient of every net, up to the factor 2 / (n k)."""
    gw, gb = tl.zeros((M, D, T, B), w.dtype), tl.zeros((M, 1, T, B), w.dtype)
    ga, gc = tl.zeros((M, K, T, B), w.dtype), tl.zeros((1, K, T, B), w.dtype)
    squares = tl.zeros((1, K, T, B), w.dtype)
    i, o, sample = _axis(D, 1), _axis(K, 1), _axis(B, 3)
    for start in range(0, n, B):
        live = start + sample < n
        xs = tl.load(x + i * n + start + sample, live & (i < d), 0.0)
        ys = tl.load(y + o * n + start + sample, live & (o < k), 0.0)
        t = _sigma(tl.sum(w * xs, 1, keep_dims=True) + b, parameter, KIND)
        r = tl.where(live, tl.sum(a * t, 0, keep_dims=True) + c - ys, 0.0)
        h = _pull(tl.sum(a * r, 1, keep_dims=True), t, parameter, KIND)
        squares += r * r
        gw += h * xs
        gb += h
        ga += r * t
        gc += r
    # Padding neurons have no weights, but sigma(0) may not be 0.
    ga = tl.where(_axis(M, 0) < m, tl.sum(ga, 3, keep_dims=True), 0.0)
    gb, gc = tl.sum(gb, 3, keep_dims=True), tl.sum(gc, 3, keep_dims=True)
    if not B1:
        gb = gb * 0.0
    if not B2:
        gc = gc * 0.0
    return (
        tl.sum(tl.sum(squares, 3, keep_dims=True), 1, keep_dims=True),
        tl.sum(gw, 3, keep_dims=True),
        gb,
        ga,
        gc,
    )


@triton.jit
def _l1(w, b, a, c):
    inner = tl.sum(tl.abs(w), 1, keep_dims=True) + tl.abs(b) + tl.sum(tl.abs(a), 1, keep_dims=True)
    return tl.sum(inner, 0, keep_dims=True) + tl.sum(tl.abs(c), 1, keep_dims=True)


@triton.jit
def _adam(p, g, first, second, alive, rule, rate, root):
    first = tl.load(rule + 1) * first + tl.load(rule + 2) * g
    second = tl.load(rule + 3) * second + tl.load(rule + 4) * g * g
    return (
        tl.where(alive, p - rate * first / (tl.sqrt(second) * root + tl.load(rule + 5)), p),
        first,
        second,
    )


@triton.jit
def run(
    theta, best, first, second, limit, died, best_gradient, best_step, best_loss, losses,
    smallest, smallest_gradient, smallest_step, smallest_loss, records, schedule, rule, x, y,
    count, n, m, d, k, begin, until, end, record, KIND: tl.constexpr, ADAM: tl.constexpr,
    KEEP: tl.constexpr, M: tl.constexpr, D: tl.constexpr, K: tl.constexpr, T: tl.constexpr,
    B: tl.constexpr, B1: tl.constexpr, B2: tl.constexpr,
):  # fmt: skip
    """Take the nets of one tile from step `begin` to step `until`; end is until + 1 when that step
    is recorded, too.

    theta, best, first, second: (P, count);  limit .. best_loss: (count,);  losses (R, count),
        smallest (R - 1, P,
    count), the other three (R - 1, count);  records (R + 1,), the last -1;  schedule: Adam's two
    factors of every step of this launch;  rule: lr, beta1, 1 - beta1, beta2, 1 - beta2, eps,
    parameter of the activation;  x (d, n), y (k, n)."""
    net = tl.program_id(0).to(tl.int64) * T + _axis(T, 2)
    here = net < count
    w, b, a, c = _load(theta, net, count, m, d, k, M, D, K, B1, B2)
    if KEEP:
        kw, kb, ka, kc = _load(best, net, count, m, d, k, M, D, K, B1, B2)
    if ADAM:
        fw, fb, fa, fc = _load(first, net, count, m, d, k, M, D, K, B1, B2)
        sw, sb, sa, sc = _load(second, net, count, m, d, k, M, D, K, B1, B2)
    top, dead = tl.load(limit + net, here, 0.0), tl.load(died + net, here, 0)
    norm0, step0 = tl.load(best_gradient + net, here, 0.0), tl.load(best_step + net, here, 0)
    loss0 = tl.load(best_loss + net, here, 0.0)
    lr, parameter = tl.load(rule), tl.load(rule + 6)
    scale = 2.0 / (tl.zeros((1, 1, 1, 1), w.dtype) + n * k)
    now, size = (
        tl.zeros((1, 1, T, 1), tl.int64) + begin,
        m * d + k * m + (m if B1 else 0) + (k if B2 else 0),
    )
    for t in range(begin, end):
        squares, gw, gb, ga, gc = _gradient(
            w, b, a, c, x, y, n, m, d, k, parameter, KIND, M, D, K, T, B, B1, B2
        )
        loss = squares * (0.5 * scale)
        dead = tl.where((dead < 0) & ((loss <= top) == 0), now, dead)
        alive = dead < 0
        if tl.load(records + record) == t:
            tl.store(
                losses + record.to(tl.int64) * count + net,
                tl.where(alive, loss, float("inf")),
                here,
            )
            if record > 0:
                row = (record - 1).to(tl.int64) * count
                tl.store(smallest_gradient + row + net, norm0, here)
                tl.store(smallest_step + row + net, step0, here)
                tl.store(smallest_loss + row + net, loss0, here)
                if KEEP:
                    _store(
                        smallest + row * size, kw, kb, ka, kc, net, count, m, d, k, M, D, K, B1, B2
                    )
            norm0 = tl.zeros_like(norm0) + float("inf")
            record += 1
        if t < until:
            gw, gb, ga, gc = gw * scale, gb * scale, ga * scale, gc * scale
            norm = _l1(gw, gb, ga, gc)
            better = alive & (norm < norm0)  # of a net that has diverged no iterate counts
            norm0, step0, loss0 = (
                tl.where(better, norm, norm0),
                tl.where(better, now, step0),
                tl.where(better, loss, loss0),
            )
            if KEEP:
                kw, kb, ka, kc = (
                    tl.where(better, w, kw),
                    tl.where(better, b, kb),
                    tl.where(better, a, ka),
                    tl.where(better, c, kc),
                )
            if ADAM:
                rate, root = (
                    tl.load(schedule + 2 * (t - begin)),
                    tl.load(schedule + 2 * (t - begin) + 1),
                )
                w, fw, sw = _adam(w, gw, fw, sw, alive, rule, rate, root)
                b, fb, sb = _adam(b, gb, fb, sb, alive, rule, rate, root)
                a, fa, sa = _adam(a, ga, fa, sa, alive, rule, rate, root)
                c, fc, sc = _adam(c, gc, fc, sc, alive, rule, rate, root)
            else:
                w, b = tl.where(alive, w - lr * gw, w), tl.where(alive, b - lr * gb, b)
                a, c = tl.where(alive, a - lr * ga, a), tl.where(alive, c - lr * gc, c)
        now += 1
    _store(theta, w, b, a, c, net, count, m, d, k, M, D, K, B1, B2)
    if KEEP:
        _store(best, kw, kb, ka, kc, net, count, m, d, k, M, D, K, B1, B2)
    if ADAM:
        _store(first, fw, fb, fa, fc, net, count, m, d, k, M, D, K, B1, B2)
        _store(second, sw, sb, sa, sc, net, count, m, d, k, M, D, K, B1, B2)
    tl.store(died + net, dead, here)
    tl.store(best_gradient + net, norm0, here)
    tl.store(best_step + net, step0, here)
    tl.store(best_loss + net, loss0, here)
