"""The two parts of the Hessian of small two-layer nets, eight nets side by side: the formula of `two_layer` in one loop.

With t_i the vector of all u_jc = sigma'(a_j) x_c (x_c = 1 for the bias), all s_j = sigma(a_j) and 1 of sample i,

    gram = sum_i t_i t_i^T,    coupling_k = sum_i delta_ki u_i,    own_jcc' = sum_i (A^T delta_i)_j sigma''(a_ij) x_ic x_ic'.

A batched product of matrices this small spends its time on calls; here every number is a vector of eight nets
(`lib.descent.lanes`), and a sample's t_i and the sums stay in the first-level cache.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numba import njit
from torch import Tensor

from lib.descent.lanes import LANES, aligned, broadcast, cached, fma, load, select, splat, store
from lib.descent.pointwise import ELU, KINDS, SIGMOID, TANH, pull, unit, value
from lib.mlp import MLP, flatten

MOST = 64  # entries of t_i: the sums of a larger net leave the cache, and matrix products are fast


def fits(net: MLP) -> bool:
    """Whether the kernel takes these two-layer nets.

    >>> from lib.mlp import init
    >>> fits(init((1, 3, 1))), fits(init((1, 500, 1)))
    (True, False)
    """
    d, m, _ = net.widths
    sigma = net.activation
    positive = sigma.parameter is None or sigma.parameter > 0
    kept = net.device.type == "cpu" and net.dtype == torch.float64 and sigma.name in KINDS
    return m * (d + 2) < MOST and kept and positive


@njit
def _second(kind, parameter, t, s1):
    """sigma''(z), given sigma(z) and sigma'(z)."""
    if kind == TANH:
        return splat(-2.0) * t * s1
    if kind == SIGMOID:
        return s1 * (splat(1.0) - splat(2.0) * t)
    if kind == ELU:
        return select(splat(0.0) < t, splat(0.0), t + splat(parameter))
    return splat(0.0)


@njit
def _sums(kind, per, u, theta, x, y, shape, parameter, gram, coupling, own, w):
    """Add up the unit u: theta (units, P, 8), all biases there, x (n, d), y (n, k);  w: scratch."""
    n, d, m, k = shape
    rows, one = m * (d + 2) + 1, splat(1.0)
    kappa, s0, s2, delta = splat(2.0 / (n * k)), m * (d + 1), rows, rows + m
    p = u * (m * (d + 1) + k * (m + 1))
    b, a, c = p + m * d, p + m * d + m, p + m * d + m + k * m
    for i in range(n):
        for j in range(m):
            z = load(theta, b + j)
            for q in range(d):
                z = fma(load(theta, p + j * d + q), broadcast(x, i * d + q), z)
            t = value(kind, parameter, z * splat(per))
            s1 = pull(kind, parameter, one, t, t)
            for q in range(d):
                store(w, j * (d + 1) + q, s1 * broadcast(x, i * d + q))
            store(w, j * (d + 1) + d, s1)
            store(w, s0 + j, t)
            store(w, s2 + j, _second(kind, parameter, t, s1))
        store(w, rows - 1, one)
        for o in range(k):
            f = load(theta, c + o) - broadcast(y, i * k + o)
            for j in range(m):
                f = fma(load(theta, a + o * m + j), load(w, s0 + j), f)
            store(w, delta + o, f * kappa)
            for r in range(s0):
                store(coupling, o * s0 + r, fma(f * kappa, load(w, r), load(coupling, o * s0 + r)))
        for r in range(rows):
            t = load(w, r)
            for q in range(r, rows):
                store(gram, r * rows + q, fma(t, load(w, q), load(gram, r * rows + q)))
        for j in range(m):
            e = splat(0.0)
            for o in range(k):
                e = fma(load(theta, a + o * m + j), load(w, delta + o), e)
            e = e * load(w, s2 + j)
            for q in range(d + 1):
                eq = e * broadcast(x, i * d + q) if q < d else e
                for r in range(q, d + 1):
                    g = (j * (d + 1) + q) * (d + 1) + r
                    store(own, g, load(own, g) + (eq * broadcast(x, i * d + r) if r < d else eq))


@njit
def _assemble(lane, a, kappa, shape, bias, output_bias, gram, coupling, own, h1, h2):
    """The matrices of one net from its sums: a (k, m); gram, own as upper triangles of vectors of eight."""
    _, d, m, k = shape
    rows, s0 = m * (d + 2) + 1, m * (d + 1)
    layer1 = m * d + (m if bias else 0)
    size = layer1 + k * m
    for p in range(layer1):
        j, c = (p // d, p % d) if p < m * d else (p - m * d, d)
        u = j * (d + 1) + c
        for q in range(p, layer1):
            j2, c2 = (q // d, q % d) if q < m * d else (q - m * d, d)
            v, scale = j2 * (d + 1) + c2, 0.0
            for o in range(k):
                scale += a[o, j] * a[o, j2]
            h1[p, q] = kappa * scale * gram[min(u, v) * rows + max(u, v), lane]
            h2[p, q] = own[u * (d + 1) + c2, lane] if j == j2 else 0.0
        for o in range(k):
            for j2 in range(m):
                h1[p, layer1 + o * m + j2] = kappa * a[o, j] * gram[u * rows + s0 + j2, lane]
            h2[p, layer1 + o * m + j] = coupling[o * s0 + u, lane]
            if output_bias:
                h1[p, size + o] = kappa * a[o, j] * gram[u * rows + rows - 1, lane]
    for o in range(k):
        for j in range(m):
            for j2 in range(j, m):
                h1[layer1 + o * m + j, layer1 + o * m + j2] = kappa * gram[(s0 + j) * rows + s0 + j2, lane]
            if output_bias:
                h1[layer1 + o * m + j, size + o] = kappa * gram[(s0 + j) * rows + rows - 1, lane]
        if output_bias:
            h1[size + o, size + o] = kappa * gram[rows * rows - 1, lane]
    for p in range(len(h1)):
        for q in range(p):
            h1[p, q], h2[p, q] = h1[q, p], h2[q, p]


@cached("lib.descent.pointwise")
def _run(
    first, last, kind, per, theta, x, y, shape, parameter, a, bias, output_bias, gram, coupling, own, w, h1, h2,
):  # fmt: skip
    n, _, _, k = shape
    for u in range(first, last):
        gram[:], coupling[:], own[:] = 0.0, 0.0, 0.0
        _sums(kind, per, u, theta, x, y, shape, parameter, gram.reshape(-1), coupling.reshape(-1), own.reshape(-1), w)
        for lane in range(min(LANES, len(h1) - LANES * u)):
            b = LANES * u + lane
            _assemble(lane, a[b], 2.0 / (n * k), shape, bias, output_bias, gram, coupling, own, h1[b], h2[b])


def squared_error_parts(net: MLP, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """H1 and H2 of the nets that `fits` takes; see `lib.curvature.two_layer.squared_error_parts`.

    >>> net = MLP((torch.ones(1, 1, 1), torch.ones(1, 1, 1)), activation="identity").to(torch.float64)
    >>> sum(squared_error_parts(net, torch.ones(4, 1).double(), torch.ones(4, 1).double())).tolist()
    [[[2.0, 2.0], [2.0, 2.0]]]
    """
    (w, a), (b, c) = net.weights, net.biases
    (d, m, k), count, n = net.widths, net.batch[0], len(x)
    units, rows = -(-count // LANES), m * (d + 2) + 1
    full = MLP((w, a), (w.new_zeros(count, m) if b is None else b, w.new_zeros(count, k) if c is None else c), net.activation)
    nets = np.zeros((units * LANES, full.n_parameters))
    nets[:count] = flatten(full).numpy()
    theta = aligned(units, full.n_parameters)
    theta[...] = nets.reshape(units, LANES, -1).swapaxes(1, 2)
    h1, h2 = np.zeros((2, count, net.n_parameters, net.n_parameters))
    parameter = 0.0 if net.activation.parameter is None else float(net.activation.parameter)
    data = np.ascontiguousarray(x.numpy()).reshape(-1), np.ascontiguousarray(y.numpy()).reshape(-1)
    weights, shape, kind = np.ascontiguousarray(a.numpy()), (n, d, m, k), KINDS[net.activation.name]

    def share(first: int, last: int) -> None:
        room = [aligned(size) for size in (rows * rows, k * m * (d + 1), m * (d + 1) ** 2)]
        _run(
            first, last, kind, unit(kind), theta.reshape(-1), *data, shape, parameter, weights, b is not None,
            c is not None, *room, aligned(rows + m + k).reshape(-1), h1, h2,
        )  # fmt: skip

    threads = min(torch.get_num_threads(), units)
    bounds = np.linspace(0, units, threads + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(share, bounds[:-1], bounds[1:]))
    return torch.from_numpy(h1), torch.from_numpy(h2)
