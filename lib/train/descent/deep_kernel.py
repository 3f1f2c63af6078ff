"""The CPU kernel for nets of any depth: eight samples side by side, one net after the other, all
steps in one loop.

With f^[0] = x, z^[l] = W^[l] f^[l-1] + b^[l], f^[l] = sigma(z^[l]) and e^[l]_i = dR/dz^[l]_i, the
gradient is
    dR/dW^[l] = sum_i e^[l]_i f^[l-1]_i^T,   dR/db^[l] = sum_i e^[l]_i,   e^[l] = sigma'(z^[l])
    (W^[l+1]^T e^[l+1]), e^[L]_i = 2 / (n k) (f_i - y_i)  (mean squared error)   or
    (softmax(f_i) - y_i) / n  (cross entropy, y one-hot).

A feature of all samples is a row of `vectors` Lanes, the last one padded with samples of weight 0.
Features and errors stay in the cache; parameters are plain numbers in the order of
`lib.nets.mlp.flatten`."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from lib._simd.compiled import cached, compiled_for
from lib._simd.lanes import LANES, broadcast, fma, load, select, splat, store, total
from lib._simd.pointwise import (
    ELU,
    KINDS,
    LEAKY_RELU,
    RELU,
    SIGMOID,
    TANH,
    expm1,
    literal,
    pull,
    two_values,
    unit,
    value_with,
)
from lib.train.descent.numba_kernel import DUST


def scratch(widths: tuple[int, ...], vectors: int) -> int:
    """How many Lanes of scratch one thread needs: features and errors of layers 1..L, and one row
    for the loss."""
    return (2 * sum(widths[1:]) + 1) * vectors


_TO_UNIT = 1 / math.log(2)
_UNITS = {kind: unit(kind) for kind in KINDS.values()}


def _pass(kind: int):
    """The two elementwise loops of one activation, with nothing left to decide inside them."""
    factor = _UNITS[kind]

    @compiled_for(kind)
    def act(alpha, start, count, w):
        const, scale = literal(kind), splat(factor)
        for i in range(start, start + count - 1, 2):
            f, f_next = two_values(
                kind, alpha, load(w, i) * scale, load(w, i + 1) * scale, False, const
            )
            store(w, i, f)
            store(w, i + 1, f_next)
        if count % 2 == 1:
            last = start + count - 1
            store(w, last, value_with(kind, alpha, load(w, last) * scale, False, const))

    @compiled_for(kind)
    def pull_all(alpha, features, errors, count, w):
        for i in range(count):
            r, f = load(w, errors + i), load(w, features + i)
            store(w, errors + i, pull(kind, alpha, r, f, r * f))

    return act, pull_all


_tanh, _tanh_back = _pass(TANH)
_sigmoid, _sigmoid_back = _pass(SIGMOID)
_relu, _relu_back = _pass(RELU)
_leaky, _leaky_back = _pass(LEAKY_RELU)
_elu, _elu_back = _pass(ELU)


@njit
def activate(kind, alpha, start, count, w):
    if kind == TANH:
        _tanh(alpha, start, count, w)
    elif kind == SIGMOID:
        _sigmoid(alpha, start, count, w)
    elif kind == RELU:
        _relu(alpha, start, count, w)
    elif kind == LEAKY_RELU:
        _leaky(alpha, start, count, w)
    elif kind == ELU:
        _elu(alpha, start, count, w)


@njit
def pull_back(kind, alpha, features, errors, count, w):
    if kind == TANH:
        _tanh_back(alpha, features, errors, count, w)
    elif kind == SIGMOID:
        _sigmoid_back(alpha, features, errors, count, w)
    elif kind == RELU:
        _relu_back(alpha, features, errors, count, w)
    elif kind == LEAKY_RELU:
        _leaky_back(alpha, features, errors, count, w)
    elif kind == ELU:
        _elu_back(alpha, features, errors, count, w)


@njit
def forward(kind, x, theta, at, widths, has_bias, vectors, alpha, w):
    # Features of layer l start at row feature[l] of the scratch; layer 0 is x itself.
    depth, row = len(widths) - 1, 0
    for layer in range(depth):
        into, out = widths[layer], widths[layer + 1]
        source, below = (x, 0) if layer == 0 else (w, row - into)
        bias = at + out * into
        for j in range(out):
            shift = splat(theta[bias + j]) if has_bias[layer] else splat(0.0)
            weights, target, i = at + j * into, (row + j) * vectors, 0
            while i + 4 <= vectors:
                a = b = c = d = shift
                for m in range(into):
                    g, f = broadcast(theta, weights + m), (below + m) * vectors + i
                    a = fma(g, load(source, f), a)
                    b = fma(g, load(source, f + 1), b)
                    c = fma(g, load(source, f + 2), c)
                    d = fma(g, load(source, f + 3), d)
                store(w, target + i, a)
                store(w, target + i + 1, b)
                store(w, target + i + 2, c)
                store(w, target + i + 3, d)
                i += 4
            while i < vectors:
                a = shift
                for m in range(into):
                    a = fma(
                        broadcast(theta, weights + m), load(source, (below + m) * vectors + i), a
                    )
                store(w, target + i, a)
                i += 1
        if layer < depth - 1:
            activate(kind, alpha, row * vectors, out * vectors, w)
        at = bias + (out if has_bias[layer] else 0)
        row += out


@njit
def square_error(y, live, n, k, vectors, output, error, w):
    scale, squares = splat(2.0 / (n * k)), splat(0.0)
    for o in range(k):
        for i in range(vectors):
            r = (
                (load(w, output + o * vectors + i) - load(y, o * vectors + i))
                * load(live, i)
                * scale
            )
            store(w, error + o * vectors + i, r)
            squares = fma(r, r, squares)
    return total(squares) * 0.25 * n * k


@njit
def entropy_error(y, live, n, k, vectors, output, error, sums, w):
    gap = splat(0.0)
    for i in range(vectors):
        top, own = load(w, output + i), splat(0.0)
        for o in range(1, k):
            f = load(w, output + o * vectors + i)
            top = select(top < f, f, top)
        whole = splat(0.0)
        for o in range(k):
            f = load(w, output + o * vectors + i)
            p = expm1((f - top) * splat(_TO_UNIT)) + splat(1.0)
            store(w, error + o * vectors + i, p)
            whole = whole + p
            own = fma(load(y, o * vectors + i), f, own)
        scale = load(live, i) * splat(1.0 / n)
        for o in range(k):
            p = load(w, error + o * vectors + i) / whole - load(y, o * vectors + i)
            store(w, error + o * vectors + i, p * scale)
        store(w, sums + i, whole)
        gap = gap + (top - own) * scale
    logs = 0.0
    for i in range(n):
        logs += math.log(w[sums * LANES + i])
    return total(gap) + logs / n


@njit
def backward(kind, x, theta, at, end, widths, has_bias, vectors, alpha, g, w):
    # Errors of layer l lie `rows` below its features, so error(l) = feature(l) + rows.
    depth, rows = len(widths) - 1, 0
    for layer in range(1, depth + 1):
        rows += widths[layer]
    row, end = rows, end - at
    for layer in range(depth - 1, -1, -1):
        into, out = widths[layer], widths[layer + 1]
        row -= out
        bias = end - (out if has_bias[layer] else 0)
        weights = bias - out * into
        source, below = (x, 0) if layer == 0 else (w, row - into)
        for j in range(out):
            e = (rows + row + j) * vectors
            if has_bias[layer]:
                a = splat(0.0)
                for i in range(vectors):
                    a = a + load(w, e + i)
                g[bias + j] = total(a)
            m = 0
            while m + 4 <= into:
                a = b = c = d = splat(0.0)
                f = (below + m) * vectors
                for i in range(vectors):
                    r = load(w, e + i)
                    a = fma(r, load(source, f + i), a)
                    b = fma(r, load(source, f + vectors + i), b)
                    c = fma(r, load(source, f + 2 * vectors + i), c)
                    d = fma(r, load(source, f + 3 * vectors + i), d)
                slot = weights + j * into + m
                g[slot], g[slot + 1], g[slot + 2], g[slot + 3] = (
                    total(a),
                    total(b),
                    total(c),
                    total(d),
                )
                m += 4
            while m < into:
                a = splat(0.0)
                for i in range(vectors):
                    a = fma(load(w, e + i), load(source, (below + m) * vectors + i), a)
                g[weights + j * into + m] = total(a)
                m += 1
        if layer > 0:
            for m in range(into):
                e = (rows + row - into + m) * vectors
                i = 0
                while i + 4 <= vectors:
                    a = b = c = d = splat(0.0)
                    for j in range(out):
                        q, r = (
                            broadcast(theta, at + weights + j * into + m),
                            (rows + row + j) * vectors + i,
                        )
                        a = fma(q, load(w, r), a)
                        b = fma(q, load(w, r + 1), b)
                        c = fma(q, load(w, r + 2), c)
                        d = fma(q, load(w, r + 3), d)
                    store(w, e + i, a)
                    store(w, e + i + 1, b)
                    store(w, e + i + 2, c)
                    store(w, e + i + 3, d)
                    i += 4
                while i < vectors:
                    a = splat(0.0)
                    for j in range(out):
                        a = fma(
                            broadcast(theta, at + weights + j * into + m),
                            load(w, (rows + row + j) * vectors + i),
                            a,
                        )
                    store(w, e + i, a)
                    i += 1
            pull_back(
                kind,
                alpha,
                (row - into) * vectors,
                (rows + row - into) * vectors,
                into * vectors,
                w,
            )
        end = weights


@cached("lib.train.descent.numba_kernel", "lib._simd.pointwise")
def run(
    first, last, until, kind, entropy, x, y, live, n, widths, has_bias, alpha, adam, lr, beta1, beta2, eps, plan, keep,
    clock, following, theta, first_moment, second_moment, died, limit,
    best, best_gradient, best_step, best_loss, losses, smallest, smallest_gradient, smallest_step, smallest_loss, g, w,
):  # fmt: skip
    vectors, size, k = len(live) // LANES, len(g), widths[-1]
    rows = 0
    for layer in range(1, len(widths)):
        rows += widths[layer]
    output, error, sums = (rows - k) * vectors, (2 * rows - k) * vectors, 2 * rows * vectors
    for u in range(first, last):
        at = u * size
        while True:
            t = clock[u]
            due = following[u] < len(plan) and plan[following[u]] == t
            if t >= until and not due:
                break
            forward(kind, x, theta, at, widths, has_bias, vectors, alpha, w)
            if entropy:
                loss = entropy_error(y, live, n, k, vectors, output, error, sums, w)
            else:
                loss = square_error(y, live, n, k, vectors, output, error, w)
            if died[u] < 0 and not loss <= limit[u]:
                died[u] = t
            if due:
                r = following[u]
                if r > 0:
                    smallest_gradient[r - 1, u], smallest_step[r - 1, u] = (
                        best_gradient[u],
                        best_step[u],
                    )
                    smallest_loss[r - 1, u] = best_loss[u]
                    if keep:
                        smallest[r - 1, u] = best[u]
                losses[r, u] = loss if died[u] < 0 else np.inf
                best_gradient[u] = np.inf
                following[u] += 1
                if t >= until:
                    break
            backward(kind, x, theta, at, at + size, widths, has_bias, vectors, alpha, g, w)
            norm = 0.0
            for p in range(size):
                norm += abs(g[p])
            if norm < best_gradient[u]:
                best_gradient[u], best_step[u], best_loss[u] = norm, t, loss
                if keep:
                    for p in range(size):
                        best[u, p] = theta[at + p]
            if died[u] < 0:
                if adam:
                    rate, root = lr / (1 - beta1 ** (t + 1)), (1 - beta2 ** (t + 1)) ** 0.5
                    for p in range(size):
                        a = beta1 * first_moment[at + p] + (1 - beta1) * g[p]
                        b = beta2 * second_moment[at + p] + (1 - beta2) * g[p] * g[p]
                        a = (
                            0.0 if abs(a) < DUST else a
                        )  # as in `lib.train.descent.numba_kernel.undusted`
                        b = 0.0 if b < DUST else b
                        first_moment[at + p], second_moment[at + p] = a, b
                        theta[at + p] -= rate * a / (math.sqrt(b) / root + eps)
                else:
                    for p in range(size):
                        theta[at + p] -= lr * g[p]
            clock[u] = t + 1
