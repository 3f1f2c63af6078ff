"""Losses of the deep kernel, with the errors of the last layer; see `deep_kernel`."""

from __future__ import annotations

import math

from lib._simd.compiled import njit
from lib._simd.lanes import LANES, Floats, Lanes, Memory, fma, load, select, splat, store, total
from lib._simd.pointwise import ELU, expm1, unit
from lib.train.descent.arguments import Rows, Shape

_TO_UNIT = unit(ELU)  # of e^z


@njit
def square_error(shape: Shape, rows: Rows, output: int, error: int, w: Memory) -> float:
    """(1 / (n k)) sum r^2 of outputs at w[output]; its errors 2 r / (n k) go to w[error]."""
    n, vectors, k = shape.n, shape.vectors, shape.widths[-1]
    scale, squares = splat(2.0 / (n * k)), splat(0.0)
    for o in range(k):
        for i in range(vectors):
            at = o * vectors + i
            r = (load(w, output + at) - load(rows.y, at)) * load(rows.live, i) * scale
            store(w, error + at, r)
            squares = fma(r, r, squares)
    mean: float = total(squares) * 0.25 * n * k
    return mean


@njit
def powers(shape: Shape, i: int, output: int, error: int, w: Memory) -> tuple[Lanes, Lanes]:
    """e^(f - max f) of vector i of all outputs to w[error]; the maximum, and the sum of these."""
    vectors, k = shape.vectors, shape.widths[-1]
    top, whole = load(w, output + i), splat(0.0)
    for o in range(1, k):
        f = load(w, output + o * vectors + i)
        top = select(top < f, f, top)
    for o in range(k):
        f = load(w, output + o * vectors + i)
        p = expm1((f - top) * splat(_TO_UNIT)) + splat(1.0)
        store(w, error + o * vectors + i, p)
        whole = whole + p
    return top, whole


@njit
def entropy_error(shape: Shape, rows: Rows, output: int, error: int, sums: int, w: Floats) -> float:
    """The cross entropy of logits at w[output] and one-hot targets; its errors go to w[error].

    The sums of powers are kept at w[sums]: one logarithm per sample follows."""
    n, vectors, k = shape.n, shape.vectors, shape.widths[-1]
    gap = splat(0.0)
    for i in range(vectors):
        top, whole = powers(shape, i, output, error, w)
        own, scale = splat(0.0), load(rows.live, i) * splat(1.0 / n)
        for o in range(k):
            at = o * vectors + i
            own = fma(load(rows.y, at), load(w, output + at), own)
            p = load(w, error + at) / whole - load(rows.y, at)
            store(w, error + at, p * scale)
        store(w, sums + i, whole)
        gap = gap + (top - own) * scale
    logs = 0.0
    for i in range(n):
        logs += math.log(w[sums * LANES + i])
    return total(gap) + logs / n
