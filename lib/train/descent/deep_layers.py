"""Features and errors of nets of any depth, eight samples side by side; see `deep_kernel`.

A feature of all samples is a row of `vectors` Lanes. In the scratch w lie the features of layers
1..L, then their errors, in the same order, so error(l) = feature(l) + rows, all of these rows."""

from __future__ import annotations

from collections.abc import Callable

from lib._simd.compiled import compiled_for, njit
from lib._simd.lanes import Floats, Ints, Lanes, Memory, broadcast, fma, load, splat, store, total
from lib._simd.pointwise import (
    ELU,
    KINDS,
    LEAKY_RELU,
    RELU,
    SIGMOID,
    TANH,
    literal,
    pull,
    two_values,
    unit,
    value_with,
)
from lib.train.descent.arguments import Shape

_UNITS = {kind: unit(kind) for kind in KINDS.values()}
Act = Callable[[float, int, int, Memory], None]
Back = Callable[[float, int, int, int, Memory], None]


def _pass(kind: int) -> tuple[Act, Back]:
    """The two elementwise loops of one activation, with nothing left to decide inside them."""
    factor = _UNITS[kind]

    @compiled_for(kind)
    def act(alpha: float, start: int, count: int, w: Memory) -> None:
        const, scale = literal(kind), splat(factor)
        for i in range(start, start + count - 1, 2):
            u, v = load(w, i) * scale, load(w, i + 1) * scale
            f, f_next = two_values(kind, alpha, u, v, False, const)
            store(w, i, f)
            store(w, i + 1, f_next)
        if count % 2 == 1:
            last = start + count - 1
            store(w, last, value_with(kind, alpha, load(w, last) * scale, False, const))

    @compiled_for(kind)
    def pull_all(alpha: float, features: int, errors: int, count: int, w: Memory) -> None:
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
def activate(kind: int, alpha: float, start: int, count: int, w: Memory) -> None:
    """sigma of `count` vectors of the scratch, in place. One decision for many vectors."""
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
def pull_back(kind: int, alpha: float, features: int, errors: int, count: int, w: Memory) -> None:
    """Errors of features to errors of pre-activations, in place."""
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
def combine(
    theta: Memory, terms: tuple[int, int, int], shift: Lanes, source: Memory, start: int,
    vectors: int, w: Memory, target: int,
) -> None:  # fmt: skip
    """A row of the scratch: shift + sum_m theta[first + m step] (row m of the source).

    terms = (first, step, how many). Four vectors at a time stay in registers, so that a coefficient
    is read once for 32 samples and no addition waits for the one before."""
    first, step, count = terms
    i = 0
    while i + 4 <= vectors:
        a = b = c = d = shift
        for m in range(count):
            g, f = broadcast(theta, first + m * step), start + m * vectors + i
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
        for m in range(count):
            a = fma(broadcast(theta, first + m * step), load(source, start + m * vectors + i), a)
        store(w, target + i, a)
        i += 1


@njit
def forward(shape: Shape, x: Memory, theta: Memory, at: int, w: Memory) -> None:
    """The features of every layer, of the net whose parameters start at theta[at]."""
    widths, has_bias, vectors = shape.widths, shape.has_bias, shape.vectors
    depth, row = len(widths) - 1, 0
    for layer in range(depth):
        into, out = widths[layer], widths[layer + 1]
        source, below = (x, 0) if layer == 0 else (w, (row - into) * vectors)
        bias = at + out * into
        for j in range(out):
            shift = broadcast(theta, bias + j) if has_bias[layer] else splat(0.0)
            terms, target = (at + j * into, 1, into), (row + j) * vectors
            combine(theta, terms, shift, source, below, vectors, w, target)
        if layer < depth - 1:
            activate(shape.kind, shape.alpha, row * vectors, out * vectors, w)
        at = bias + (out if has_bias[layer] else 0)
        row += out


@njit
def products(
    e: int, source: Memory, start: int, sizes: tuple[int, int], g: Floats, at: int, w: Memory
) -> None:
    """g[at + m] = sum over samples of the error row at w[e] times row m of the source, for all
    m < into; four rows at a time share the loads of the error. sizes = (into, vectors)."""
    (into, vectors), m = sizes, 0
    while m + 4 <= into:
        a = b = c = d = splat(0.0)
        f = start + m * vectors
        for i in range(vectors):
            r = load(w, e + i)
            a = fma(r, load(source, f + i), a)
            b = fma(r, load(source, f + vectors + i), b)
            c = fma(r, load(source, f + 2 * vectors + i), c)
            d = fma(r, load(source, f + 3 * vectors + i), d)
        g[at + m], g[at + m + 1], g[at + m + 2] = total(a), total(b), total(c)
        g[at + m + 3] = total(d)
        m += 4
    while m < into:
        a = splat(0.0)
        for i in range(vectors):
            a = fma(load(w, e + i), load(source, start + m * vectors + i), a)
        g[at + m] = total(a)
        m += 1


@njit
def row_total(e: int, vectors: int, w: Memory) -> float:
    """The sum over all samples of a row of the scratch."""
    a = splat(0.0)
    for i in range(vectors):
        a = a + load(w, e + i)
    return total(a)


@njit
def backward(shape: Shape, x: Memory, theta: Memory, at: int, g: Floats, w: Memory) -> None:
    """The gradient in g, in the order of the parameters, from the errors of the last layer."""
    widths, has_bias, vectors = shape.widths, shape.has_bias, shape.vectors
    depth, rows = len(widths) - 1, hidden_rows(widths)
    row, end = rows, len(g)
    for layer in range(depth - 1, -1, -1):
        into, out = widths[layer], widths[layer + 1]
        row -= out
        bias = end - (out if has_bias[layer] else 0)
        weights = bias - out * into
        source, below = (x, 0) if layer == 0 else (w, (row - into) * vectors)
        for j in range(out):
            e = (rows + row + j) * vectors
            if has_bias[layer]:
                g[bias + j] = row_total(e, vectors, w)
            products(e, source, below, (into, vectors), g, weights + j * into, w)
        if layer > 0:
            errors, under = (rows + row) * vectors, (rows + row - into) * vectors
            for m in range(into):
                terms, target = (at + weights + m, into, out), under + m * vectors
                combine(theta, terms, splat(0.0), w, errors, vectors, w, target)
            features = (row - into) * vectors
            pull_back(shape.kind, shape.alpha, features, under, into * vectors, w)
        end = weights


@njit
def hidden_rows(widths: Ints) -> int:
    """How many rows the features of layers 1..L are."""
    rows = 0
    for layer in range(1, len(widths)):
        rows += widths[layer]
    return rows
