"""Theorem 1's convex programme on finitely many atoms, solved to optimality by cvxpy."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import cvxpy as cp
import numpy as np
import torch
from torch import Tensor

from lib.convex.space import Point, Space
from lib.convex.terms import Terms, check_strength, objective
from lib.nets import Loss, cross_entropy, mse

LOSSES: dict[str, Loss] = {"mse": mse, "cross_entropy": cross_entropy}


@dataclass(frozen=True, eq=False)
class Solution:
    """A solved programme.

    Args:
        point: the optimal (w~, p, u~);  terms: the objective there, recomputed from the point.
        value: the solver's objective value;  status: the solver's, "optimal" or
            "optimal_inaccurate".
    """

    point: Point
    terms: Terms
    value: float
    status: str


def solve(
    space: Space,
    y: Tensor,
    *,
    strength: Sequence[float],
    loss: str = "mse",
    biases: bool = True,
    known: Tensor | None = None,
    solver: str = "CLARABEL",
) -> Solution:
    """Minimise Q over (w~, p, u~) on fixed atoms: a second-order cone programme (with exponential
    cones for logits).

    min J(f) + sum_l lambda^(l) R^(l) + lambda^(u) R^(u)  s.t.  A^(l) w~_j + b~_j = v_j p_j,  sum
    p = 1,  p >= 0.

    Args:
        y: targets (N, K) for "mse", class indices (N,) for "cross_entropy".
        strength: (lambda^(1), ..., lambda^(L), lambda^(u)).
        biases: let b~ and c be free; False fixes them at 0, as in the paper.
        known: weights w of the atoms of layer 1, (G_1, C, taps), in the paper's scaling. Then
            w~^(1) = w p / C is substituted and layer 1's constraints with it, which is much
            smaller, and exact when the inputs have full rank; they must reproduce the atoms without
            biases in layer 1.
        solver: any conic solver that cvxpy has.
    Returns:
        The solution; masses below 1e-9 are the solver's zeros, and set to 0 with everything that
        hangs on them.
    Raises:
        ValueError: strengths or loss unknown, `known` that does not reproduce the atoms, or a
            solver that fails.
    Source: (Gu et al. 2020, Thm 1).

    >>> from lib.convex import from_net, objective, swapped_neurons
    >>> net, _, x, y = swapped_neurons()
    >>> space, point = from_net(net, x)
    >>> found = solve(space, y, strength=(1e-3, 1e-3))
    >>> found.terms.total <= objective(space, point, y, strength=(1e-3, 1e-3)).total
    True
    """
    check_strength(space, strength)
    if loss not in LOSSES:
        raise ValueError(f"no loss {loss!r}: expected {' or '.join(LOSSES)}")
    outputs = y.shape[1] if loss == "mse" else int(y.max()) + 1
    p = [cp.Variable(g, nonneg=True) for g in space.sizes[1:]]
    u = cp.Variable((outputs, space.sizes[-1] * space.stages[-1].taps))
    c = cp.Variable(outputs) if biases else np.zeros(outputs)
    constraints = [cp.sum(q) == 1 for q in p]
    cost = 0
    w: list[cp.Expression] = []
    b: list[cp.Expression | np.ndarray] = []
    for layer, q in enumerate(p, start=1):
        if layer == 1 and known is not None:
            w.append(cp.multiply(_tied(space, known), q[:, None]))
            b.append(np.zeros(space.sizes[1]))
        else:
            w.append(
                cp.Variable(
                    (space.sizes[layer], space.sizes[layer - 1] * space.stages[layer - 1].taps)
                )
            )
            b.append(cp.Variable(space.sizes[layer]) if biases else np.zeros(space.sizes[layer]))
            constraints.append(_carries(space, layer, w[-1], b[-1], q))
        before = None if layer == 1 else p[layer - 2]
        cost += strength[layer - 1] * _squared_mass(
            w[-1], space.sizes[layer - 1], before, constraints
        )
    cost += strength[-1] * _top(u, space.sizes[-1], p[-1], constraints)
    last = space.stages[-1].patches(space.atoms[-1]).numpy()
    f = last @ u.T + (cp.reshape(c, (1, outputs), order="C") if biases else 0)
    problem = cp.Problem(cp.Minimize(_risk(f, y, loss) + cost), constraints)
    with warnings.catch_warnings():
        # `status` carries what this warning says, and the certificate of lib.convex.two_layer
        # judges the point itself
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        problem.solve(solver=solver)
    if problem.status not in ("optimal", "optimal_inaccurate"):
        raise ValueError(
            f"{solver} ended with status {problem.status}: are the atoms reachable from the layer"
            " below?"
        )
    point = _point(space, p, w, b, u, c)
    return Solution(
        point,
        objective(space, point, y, strength=strength, loss=LOSSES[loss]),
        float(problem.value),
        problem.status,
    )


def _tied(space: Space, known: Tensor) -> np.ndarray:
    shape = (space.sizes[1], space.sizes[0], space.stages[0].taps)
    if tuple(known.shape) != shape:
        raise ValueError(f"known weights have shape {tuple(known.shape)}: expected {shape}")
    made = space.stages[0].linear(space.x, known / space.sizes[0])
    if not torch.allclose(made, space.atoms[0], rtol=1e-9, atol=1e-9):
        raise ValueError(
            "the known weights do not reproduce the atoms of layer 1: expected atoms = (1/C) sum_k"
            " x_k * w_k"
        )
    return (known / space.sizes[0]).flatten(1).numpy()


def _carries(space: Space, layer: int, w, b, p):
    a = space.stages[layer - 1].patches(space.below(layer)).numpy()
    v = space.atoms[layer - 1].movedim(1, -1).reshape(len(a), -1).numpy()
    return a @ w.T + cp.reshape(b, (1, v.shape[1]), order="C") == cp.multiply(
        v, cp.reshape(p, (1, v.shape[1]), order="C")
    )


def _squared_mass(w, inputs: int, before, constraints: list):
    """sum_k (sum_j |w~_jk|_1)^2 / p_k; the paper's r_2 of r_1."""
    taps = w.shape[1] // inputs
    collect = np.kron(np.eye(inputs), np.ones((1, taps)))  # taps of one input channel
    mass = collect @ cp.sum(cp.abs(w), axis=0)
    return (
        inputs * cp.sum_squares(mass)
        if before is None
        else _perspectives(mass[None, :], before, constraints)
    )


def _top(u, atoms: int, p, constraints: list):
    taps = u.shape[1] // atoms
    columns = [u[:, t::taps] for t in range(taps)]
    return _perspectives(cp.vstack(columns) if taps > 1 else columns[0], p, constraints)


def _perspectives(rows, p, constraints: list):
    """sum_j |rows_j|^2 / p_j as rotated cones |(2 s, p - t)| <= p + t, which all hold s^2 <= p
    t."""
    t = cp.Variable(p.shape[0])
    if (
        not rows.is_affine()
    ):  # a cone takes affine entries only: bound the norms from above by variables
        bound = cp.Variable(rows.shape)
        constraints.append(rows <= bound)
        rows = bound
    constraints.append(
        cp.SOC(p + t, cp.vstack([2 * rows, cp.reshape(p - t, (1, p.shape[0]), order="C")]), axis=0)
    )
    return cp.sum(t)


def _risk(f, y: Tensor, loss: str):
    if loss == "mse":
        return cp.sum_squares(f - y.numpy()) / y.numel()
    picked = np.eye(f.shape[1])[y.numpy()]
    return (cp.sum(cp.log_sum_exp(f, axis=1)) - cp.sum(cp.multiply(picked, f))) / len(y)


def _point(space: Space, p, w, b, u, c) -> Point:
    def value(e) -> Tensor:
        return torch.as_tensor(
            np.asarray(e.value if isinstance(e, cp.Expression) else e), dtype=torch.float64
        )

    masses = [value(q) for q in p]
    masses = [torch.where(m > 1e-9, m, 0.0) for m in masses]
    masses = [m / m.sum() for m in masses]
    alive = [torch.ones(space.sizes[0], dtype=torch.float64), *((m > 0).double() for m in masses)]
    weights = tuple(
        value(e).reshape(space.sizes[i + 1], space.sizes[i], -1)
        * alive[i + 1][:, None, None]
        * alive[i][:, None]
        for i, e in enumerate(w)
    )
    biases = tuple(value(e) * alive[i + 1] for i, e in enumerate(b))
    top = value(u).reshape(-1, space.sizes[-1], space.stages[-1].taps) * alive[-1][:, None]
    return Point(tuple(masses), weights, biases, top, value(c))
