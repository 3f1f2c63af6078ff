"""The CPU kernel for nets of any depth: eight samples side by side, one net after the other, all
steps in one loop.

With f^[0] = x, z^[l] = W^[l] f^[l-1] + b^[l], f^[l] = sigma(z^[l]) and e^[l]_i = dR/dz^[l]_i, the
gradient is

    dR/dW^[l] = sum_i e^[l]_i f^[l-1]_i^T,   dR/db^[l] = sum_i e^[l]_i,
    e^[l] = sigma'(z^[l]) (W^[l+1]^T e^[l+1]),
    e^[L]_i = 2 / (n k) (f_i - y_i)   (mean squared error)   or
              (softmax(f_i) - y_i) / n   (cross entropy, y one-hot).

A feature of all samples is a row of `vectors` Lanes, the last one padded with samples of weight 0.
Features and errors stay in the cache; parameters are plain numbers in the order of
`lib.nets.vectors.flatten`."""

from __future__ import annotations

import math

import numpy as np

from lib._simd.compiled import cached, njit
from lib._simd.lanes import Floats, address
from lib.train.descent.arguments import Clock, Iterates, Nets, Rows, Shape, Share, Update
from lib.train.descent.deep_layers import backward, forward, hidden_rows
from lib.train.descent.deep_losses import entropy_error, square_error
from lib.train.descent.numba_kernel import DUST


def scratch(widths: tuple[int, ...], vectors: int) -> int:
    """How many Lanes of scratch one thread needs: features and errors of layers 1..L, and one row
    for the loss."""
    return (2 * sum(widths[1:]) + 1) * vectors


@njit
def evaluate(shape: Shape, rows: Rows, theta: int, at: int, w: Floats) -> float:
    """The loss of the net at theta[at]; its features and the errors of its outputs stay in w."""
    above, k, v = hidden_rows(shape.widths), shape.widths[-1], shape.vectors
    output, error, sums = (above - k) * v, (2 * above - k) * v, 2 * above * v
    forward(shape, rows.x, theta, at, address(w))
    if shape.entropy:
        return entropy_error(shape, rows, output, error, sums, w)
    return square_error(shape, rows, output, error, address(w))


@njit
def close_interval(u: int, r: int, best: Iterates, smallest: Iterates, keep: bool) -> None:
    """Copy net u's iterate of smallest gradient to record r of intervals."""
    smallest.gradient[r, u], smallest.step[r, u] = best.gradient[u], best.step[u]
    smallest.loss[r, u] = best.loss[u]
    if keep:
        smallest.net[r, u] = best.net[u]


@njit
def descend_by_adam(update: Update, t: int, at: int, nets: Nets, g: Floats) -> None:
    """One step of Adam; t counts from 0. Small moments become 0, see `numba_kernel.undusted`."""
    _, lr, beta1, beta2, eps = update
    theta, first, second = nets.theta, nets.first, nets.second
    rate, root = lr / (1 - beta1 ** (t + 1)), (1 - beta2 ** (t + 1)) ** 0.5
    for p in range(len(g)):
        a = beta1 * first[at + p] + (1 - beta1) * g[p]
        b = beta2 * second[at + p] + (1 - beta2) * g[p] * g[p]
        a = 0.0 if abs(a) < DUST else a
        b = 0.0 if b < DUST else b
        first[at + p], second[at + p] = a, b
        theta[at + p] -= rate * a / (math.sqrt(b) / root + eps)


@njit
def keep_smaller(
    u: int, t: int, loss: float, best: Iterates, nets: Nets, g: Floats, keep: bool
) -> None:
    """Take the iterate of net u if its gradient norm is the smallest since the last record."""
    size, norm = len(g), 0.0
    for p in range(size):
        norm += abs(g[p])
    if norm < best.gradient[u]:
        best.gradient[u], best.step[u], best.loss[u] = norm, t, loss
        if keep:
            for p in range(size):
                best.net[u, p] = nets.theta[u * size + p]


@njit
def step(update: Update, t: int, at: int, nets: Nets, g: Floats) -> None:
    """One update of the net whose parameters start at `at`."""
    if update.adam:
        descend_by_adam(update, t, at, nets, g)
    else:
        theta = nets.theta
        for p in range(len(g)):
            theta[at + p] -= update.lr * g[p]


_PARTS = ("arguments", "deep_layers", "deep_losses", "numba_kernel")


@cached("lib._simd.pointwise", *(f"lib.train.descent.{part}" for part in _PARTS), name="deep")
def run(
    share: Share, clock: Clock, shape: Shape, sample: Rows, update: Update, nets: Nets,
    found: tuple[Iterates, Iterates, Floats], work: tuple[Floats, Floats],
) -> None:  # fmt: skip
    """Take the nets of the share to its step, each from its own step and next record.

    found: the iterates of the open interval (nets,), those of closed ones (R - 1, nets), and the
    recorded losses (R, nets);  work: a gradient, and the scratch."""
    (first, last, until), (steps, following, plan) = share, clock
    (best, smallest, losses), (g, w) = found, work
    rows = Rows(address(sample.x), address(sample.y), address(sample.live))
    theta, size, keep = address(nets.theta), len(g), best.net.shape[-1] > 0
    died, limit = nets.died, nets.limit
    for u in range(first, last):
        at = u * size
        while True:
            t, r = steps[u], following[u]
            due = r < len(plan) and plan[r] == t
            if t >= until and not due:
                break
            loss = evaluate(shape, rows, theta, at, w)
            if died[u] < 0 and not loss <= limit[u]:
                died[u] = t
            if due:
                if r > 0:
                    close_interval(u, r - 1, best, smallest, keep)
                losses[r, u] = loss if died[u] < 0 else np.inf
                best.gradient[u] = np.inf
                following[u] += 1
                if t >= until:
                    break
            backward(shape, rows.x, theta, at, g, address(w))
            if died[u] < 0:
                keep_smaller(u, t, loss, best, nets, g, keep)
                step(update, t, at, nets, g)
            steps[u] = t + 1
