"""Theorem 1's convex programme on finitely many atoms, solved to optimality by cvxpy."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cvxpy
import numpy as np
import torch
from torch import Tensor

from lib.convex.space import Point, Space, mix_points
from lib.convex.terms import Terms, check_strength, convex_objective
from lib.nets import Loss, cross_entropy, mse
from lib.nets.samples import check_samples

cp: Any = cvxpy  # which has no types
Expression = Any


@dataclass(frozen=True, eq=False)
class ProgrammeSolution:
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


def solve_programme(
    space: Space,
    y: Tensor,
    *,
    strength: Sequence[float],
    loss: Loss = mse,
    biases: bool = True,
    known: Tensor | None = None,
    masses: Sequence[Tensor] | None = None,
    solver: str = "CLARABEL",
) -> ProgrammeSolution:
    """Minimise Q over (w~, p, u~) on fixed atoms: a second-order cone programme (with exponential
    cones for logits).

    min J(f) + sum_l lambda^(l) R^(l) + lambda^(u) R^(u)  s.t.  A^(l) w~_j + b~_j = v_j p_j,  sum
    p = 1,  p >= 0.

    Args:
        y: targets (N, K) for `mse`, class indices (N,) for `cross_entropy`.
        strength: (lambda^(1), ..., lambda^(L), lambda^(u));  loss: `mse` or `cross_entropy`.
        biases: let b~ and c be free; False fixes them at 0, as in the paper.
        known: weights w of the atoms of layer 1, (G_1, C, taps), in the paper's scaling. Then
            w~^(1) = w p / C is substituted and layer 1's constraints with it, which is much
            smaller, and exact when the inputs have full rank; they must reproduce the atoms without
            biases in layer 1.
        masses: fixed p^(1..L), over which it is then not minimised.
        solver: any conic solver that cvxpy has.
    Returns:
        The solution; masses below 1e-9 are the solver's zeros, and set to 0 with everything that
        hangs on them.
    Raises:
        ValueError: strengths or loss unknown, masses of other layers, `known` that does not
            reproduce the atoms, or a solver that fails.
    Source: (Gu et al. 2020, Thm 1).

    >>> from lib.convex import from_net
    >>> from lib.nets import init
    >>> x = torch.linspace(-1, 1, 4, dtype=torch.float64)[:, None]
    >>> space, point = from_net(init((1, 3, 1), generator=0), x)
    >>> found = solve_programme(space, x, strength=(1e-3, 1e-3))
    >>> found.terms.total <= convex_objective(space, point, x, strength=(1e-3, 1e-3)).total
    True
    """
    check_strength(space, strength)
    check_samples(space.x, y)
    if loss not in _RISKS:
        raise ValueError(f"no loss {loss!r}: expected lib.nets.mse or lib.nets.cross_entropy")
    outputs = y.shape[1] if loss is mse else int(y.max()) + 1
    variables = _Variables.of(space, outputs, biases=biases, known=known, masses=masses)
    cost = _RISKS[loss](variables.output(space), y) + variables.penalty(space, strength)
    problem = cp.Problem(cp.Minimize(cost), variables.constraints)
    with warnings.catch_warnings():
        # `status` carries what this warning says, and the terms are recomputed from the
        # point itself
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        problem.solve(solver=solver)
    if problem.status not in ("optimal", "optimal_inaccurate"):
        raise ValueError(
            f"{solver} ended with status {problem.status}: are the atoms reachable from the layer"
            " below?"
        )
    point = variables.point(space)
    terms = convex_objective(space, point, y, strength=strength, loss=loss)
    return ProgrammeSolution(point, terms, float(problem.value), problem.status)


def minimum_at_shares(
    space: Space,
    first: Point,
    second: Point,
    y: Tensor,
    shares: Sequence[float],
    *,
    strength: Sequence[float],
    loss: Loss = mse,
) -> tuple[ProgrammeSolution, ...]:
    """F(p) = min over (w~, u~) of Q(w~, p, u~) at the mixtures p = gamma p_1 + (1 - gamma) p_2.

    F is convex in gamma, since Q is jointly convex; it lies below Q of the mixed points, which for
    nets without common features is the ensemble, and that below its chord. Algorithm 2 of the
    paper approximates F.

    Args:
        space, first, second: two points on one space, see `union`;  y, strength, loss: as for
            `solve_programme`.
        shares: gammas in [0, 1].
    Returns:
        The solution at each share; `terms.total` is F.
    Source: (Gu et al. 2020, Thm 1); the minimum over (w~, u~) is ours.

    >>> from lib.convex import from_net, union
    >>> from lib.nets import init
    >>> x = torch.linspace(-1, 1, 4, dtype=torch.float64)[:, None]
    >>> space, p, q = union(*(from_net(init((1, 3, 1), generator=s), x) for s in (0, 1)))
    >>> low, middle, high = minimum_at_shares(space, p, q, x, (0, 0.5, 1), strength=(0.01, 0.01))
    >>> middle.terms.total <= (low.terms.total + high.terms.total) / 2 + 1e-6
    True
    """
    mixed = [mix_points(first, second, gamma).p for gamma in shares]
    return tuple(
        solve_programme(space, y, strength=strength, loss=loss, masses=masses) for masses in mixed
    )


@dataclass(eq=False)
class _Variables:
    """(p, w~, b~, u~, c) as cvxpy expressions, and the constraints on them."""

    p: list[Expression]
    w: list[Expression]
    b: list[Expression]
    u: Expression
    c: Expression
    constraints: list[Expression]

    @classmethod
    def of(
        cls,
        space: Space,
        outputs: int,
        *,
        biases: bool,
        known: Tensor | None,
        masses: Sequence[Tensor] | None,
    ) -> _Variables:
        """The variables of a space; masses and the weights of layer 1 may be given."""
        p = [cp.Variable(g, nonneg=True) for g in space.sizes[1:]]
        constraints: list[Expression] = [cp.sum(q) == 1 for q in p]
        if masses is not None:
            p, constraints = [cp.Constant(m.numpy()) for m in _checked(space, masses)], []
        u = cp.Variable((outputs, space.sizes[-1] * space.stages[-1].taps))
        made = cls(p, [], [], u, cp.Variable(outputs) if biases else np.zeros(outputs), constraints)
        for layer in range(1, space.depth + 1):
            made._add_layer(space, layer, biases=biases, known=known if layer == 1 else None)
        return made

    def _add_layer(self, space: Space, layer: int, *, biases: bool, known: Tensor | None) -> None:
        atoms, q = space.sizes[layer], self.p[layer - 1]
        if known is not None:
            self.w.append(cp.multiply(_tied(space, known), q[:, None]))
            self.b.append(np.zeros(atoms))
            return
        columns = space.sizes[layer - 1] * space.stages[layer - 1].taps
        self.w.append(cp.Variable((atoms, columns)))
        self.b.append(cp.Variable(atoms) if biases else np.zeros(atoms))
        a = space.stages[layer - 1].patches(space.below(layer)).numpy()
        v = space.atoms[layer - 1].movedim(1, -1).reshape(len(a), -1).numpy()
        made = a @ self.w[-1].T + _row(self.b[-1], atoms)
        self.constraints.append(made == cp.multiply(v, _row(q, atoms)))

    def output(self, space: Space) -> Expression:
        """f, (N, K)."""
        last = space.stages[-1].patches(space.atoms[-1]).numpy()
        return last @ self.u.T + _row(self.c, self.u.shape[0])

    def penalty(self, space: Space, strength: Sequence[float]) -> Expression:
        """sum_l lambda^(l) R^(l) + lambda^(u) R^(u); adds the cones that it needs."""
        taps = space.stages[-1].taps
        columns = [self.u[:, t::taps] for t in range(taps)]
        top = self._perspectives(cp.vstack(columns) if taps > 1 else columns[0], self.p[-1])
        cost = strength[-1] * top
        for layer, w in enumerate(self.w):
            inputs = space.sizes[layer]
            # r_2 of r_1: sum_k (sum_j |w~_jk|_1)^2 / p_k, over the taps of one input channel
            collect = np.kron(np.eye(inputs), np.ones((1, w.shape[1] // inputs)))
            mass = collect @ cp.sum(cp.abs(w), axis=0)
            cost += strength[layer] * (
                inputs * cp.sum_squares(mass)
                if layer == 0
                else self._perspectives(mass[None, :], self.p[layer - 1])
            )
        return cost

    def _perspectives(self, s: Expression, p: Expression) -> Expression:
        """sum_j |s_j|^2 / p_j as rotated cones |(2 s, p - t)| <= p + t, which all hold s^2 <= p
        t."""
        t = cp.Variable(p.shape[0])
        if not s.is_affine():  # a cone takes affine entries only: bound them by variables
            bound = cp.Variable(s.shape)
            self.constraints.append(s <= bound)
            s = bound
        self.constraints.append(cp.SOC(p + t, cp.vstack([2 * s, _row(p - t, p.shape[0])]), axis=0))
        return cp.sum(t)

    def point(self, space: Space) -> Point:
        """The values after solving."""
        masses = [_value(q) for q in self.p]
        masses = [torch.where(m > 1e-9, m, 0.0) for m in masses]
        masses = [m / m.sum() for m in masses]
        inputs = torch.ones(space.sizes[0], dtype=torch.float64)
        alive = [inputs, *((m > 0).double() for m in masses)]
        weights = tuple(
            _value(w).reshape(space.sizes[i + 1], space.sizes[i], -1)
            * alive[i + 1][:, None, None]
            * alive[i][:, None]
            for i, w in enumerate(self.w)
        )
        biases = tuple(_value(b) * alive[i + 1] for i, b in enumerate(self.b))
        top = _value(self.u).reshape(-1, space.sizes[-1], space.stages[-1].taps)
        return Point(tuple(masses), weights, biases, top * alive[-1][:, None], _value(self.c))


def _checked(space: Space, masses: Sequence[Tensor]) -> Sequence[Tensor]:
    sizes = tuple(len(m) for m in masses)
    if sizes != space.sizes[1:] or not all(
        bool((m >= 0).all()) and abs(float(m.sum()) - 1) < 1e-9 for m in masses
    ):
        raise ValueError(
            f"masses of sizes {sizes}: expected {space.sizes[1:]}, each >= 0 with sum 1"
        )
    return masses


def _tied(space: Space, known: Tensor) -> np.ndarray[Any, Any]:
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


def _row(e: Expression, length: int) -> Expression:
    return cp.reshape(e, (1, length), order="C")


def _value(e: Expression) -> Tensor:
    found = e.value if isinstance(e, cp.Expression) else e
    return torch.as_tensor(np.asarray(found), dtype=torch.float64)


def _squared(f: Expression, y: Tensor) -> Expression:
    return cp.sum_squares(f - y.numpy()) / y.numel()


def _logistic(f: Expression, y: Tensor) -> Expression:
    picked = np.eye(f.shape[1])[y.numpy()]
    return (cp.sum(cp.log_sum_exp(f, axis=1)) - cp.sum(cp.multiply(picked, f))) / len(y)


_RISKS: dict[Loss, Callable[[Expression, Tensor], Expression]] = {
    mse: _squared,
    cross_entropy: _logistic,
}
