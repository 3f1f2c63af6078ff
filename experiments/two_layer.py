"""The optimum of a regularised net of one infinitely wide hidden layer, with a certificate of
optimality.

Over measures p on the weights w of a hidden neuron, output weights minimised out, the objective is
convex in p; a finite set of atoms that grows where its derivative is most negative finds the
minimum (column generation)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lib.convex import Space, solve_programme
from lib.convex.space import Stage
from lib.nets import Activation
from lib.nets.activations import get


@dataclass(frozen=True, eq=False)
class TwoLayer:
    """Q(p, u) = MSE + lambda_1 (1/C) sum_k (E_p |w_k|)^2 + lambda_u E_p |u|^2,  f(x) = E_p u
    sigma(w . x / C).

    The paper's objective of one hidden layer in the mean-field scaling; a net of m neurons is p =
    mean of m deltas.

    Args:
        x: (N, C) of full column rank, float64 (append a column of ones for a bias);  y: (N, K).
        strength: (lambda_1, lambda_u), both > 0.
        activation: bounded (tanh, sigmoid), otherwise the minimum is not attained (see
            `escaping_mass`).

    Raises:
        TypeError: not float64.
        ValueError: shapes, rank, strengths or activation as not expected.
    Source: (Gu et al. 2020, Eq. 1 and Thm 1, L = 1).
    """

    x: Tensor
    y: Tensor
    strength: tuple[float, float]
    activation: Activation

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        strength: tuple[float, float],
        activation: str | Activation = "tanh",
    ) -> None:
        for name, value in (
            ("x", x),
            ("y", y),
            ("strength", strength),
            ("activation", get(activation)),
        ):
            object.__setattr__(self, name, value)
        if x.dtype != torch.float64 or y.dtype != torch.float64:
            raise TypeError(f"x is {x.dtype}, y is {y.dtype}: expected torch.float64")
        if (
            x.dim() != 2
            or y.dim() != 2
            or len(x) != len(y)
            or torch.linalg.matrix_rank(x) < x.shape[1]
        ):
            raise ValueError(
                f"x has shape {tuple(x.shape)}, y {tuple(y.shape)}: expected (N, C) of rank C and"
                " (N, K)"
            )
        if len(strength) != 2 or not min(strength) > 0:
            raise ValueError(f"strengths are {strength}: expected two numbers > 0")
        if self.activation.name not in ("tanh", "sigmoid"):
            raise ValueError(
                f"activation is {self.activation!r}: expected tanh or sigmoid, under which the"
                " minimum is attained"
            )

    def features(self, w: Tensor) -> Tensor:
        """sigma(x . w / C), (*, N), of weights (*, C)."""
        return self.activation.value(w @ self.x.mT / self.x.shape[1])

    def space(self, w: Tensor) -> Space:
        """The feature space whose atoms are the neurons of weights w, (G, C)."""
        stages = (
            Stage(torch.nn.Identity(), lambda f, v: f @ v.flatten(1).mT),
            Stage(self.activation.value, lambda f, v: f @ v.flatten(1).mT),
        )
        return Space(self.x, (self.x @ w.mT / self.x.shape[1],), stages)


@dataclass(frozen=True, eq=False)
class Optimum:
    """The minimum over all widths.

    Args:
        w: weights of the atoms (G, C);  p: their masses (G,);  u: output weights (G, K), in the
            paper's scaling.
        value: Q there: an upper bound of the minimum, reached by this measure.
        lower: a lower bound on Q over every measure on the searched box, hence over nets of every
            width.
        rounds: of column generation.
    """

    w: Tensor
    p: Tensor
    u: Tensor
    value: float
    lower: float
    rounds: int

    @property
    def gap(self) -> float:
        """value - lower >= 0: how far from optimal the measure may be."""
        return self.value - self.lower


@dataclass(frozen=True, eq=False)
class Slope:
    """Q as a function of p alone, output weights minimised out, and what its derivative needs.

    Args:
        value: Q(p);  residual: dJ/df (N, K);  amplitude: E_p |w_k|, (C,);  u: the best output
            weights (G, K).
    """

    value: float
    residual: Tensor
    amplitude: Tensor
    u: Tensor


def slope(problem: TwoLayer, w: Tensor, p: Tensor) -> Slope:
    """Minimise over u for fixed (w, p), a ridge regression: (I + S) f = S y with S = E_p h h^T /
    (lambda_u N K).

    Args:
        w: (G, C);  p: (G,), >= 0 with sum 1.
    """
    h, (first, top) = problem.features(w), problem.strength
    scale = top * problem.y.numel()
    kernel = (h.mT * p) @ h / scale
    f = torch.linalg.solve(torch.eye(len(kernel), dtype=kernel.dtype) + kernel, kernel @ problem.y)
    residual = 2 * (f - problem.y) / problem.y.numel()
    u = -(h @ residual) / (2 * top)
    amplitude = p @ w.abs()
    ridge = first * amplitude.square().sum() / w.shape[1] + top * (p @ u.square().sum(1))
    return Slope(float((f - problem.y).square().mean() + ridge), residual, amplitude, u)


def derivative(problem: TwoLayer, at: Slope, w: Tensor) -> Tensor:
    """dQ/dp at a neuron w: -|h(w) . dJ/df|^2 / (4 lambda_u) + (2 lambda_1 / C) sum_k E_p|w_k|
    |w_k|, (*,).

    p is optimal exactly when this is nowhere below its mean under p; its minimum bounds Q from
    below: min Q >= Q(p) + min_w dQ/dp(w) - E_p dQ/dp.
    """
    first, top = problem.strength
    gain = (problem.features(w) @ at.residual).square().sum(-1) / (4 * top)
    return 2 * first / w.shape[-1] * (w.abs() @ at.amplitude) - gain


def two_layer_optimum(
    problem: TwoLayer,
    *,
    radius: float,
    tolerance: float = 1e-6,
    grid: int = 401,
    start: int = 31,
    rounds: int = 40,
) -> Optimum:
    """The minimum of Q over measures of neurons, by column generation with cvxpy and a lower bound
    from duality.

    Args:
        radius: weights searched, |w_k| <= radius; the bound is for this box.
        tolerance: stop at value - lower below it.
        grid: points a side of the grid on which the derivative is searched (local minima are
            refined off the grid).
        start: points a side of the first programme's grid;  rounds: at most.
    Returns:
        The optimum; `gap` says how certain it is.
    Raises:
        ValueError: C is not 1 or 2 (the search is on a grid), a radius that cuts the optimum off,
            or no convergence.
    Source: (Gu et al. 2020, Thm 1; column generation as in Bach 2017, Sec. 2).

    >>> x = torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None]
    >>> found = two_layer_optimum(TwoLayer(x, x, (0.01, 0.01)), radius=12)
    >>> found.gap < 1e-6 and found.value < float(x.square().mean())
    True
    """
    channels = problem.x.shape[1]
    if channels > 2:
        raise ValueError(
            f"x has {channels} columns: expected 1 or 2, since the optimal neurons are searched on"
            " a grid"
        )
    w, fine = _box(radius, start, channels), _box(radius, grid, channels)
    lower = -torch.inf
    for done in range(1, rounds + 1):
        p = solve_programme(
            problem.space(w), problem.y, strength=problem.strength, biases=False, known=w[..., None]
        ).point.p[0]
        here = slope(problem, w, p)
        found = _minima(problem, here, fine, grid, 2 * radius / (grid - 1))
        lower = max(
            lower,
            here.value
            + float(derivative(problem, here, found).min() - p @ derivative(problem, here, w)),
        )
        if here.value - lower < tolerance:
            kept = p > 0
            if w[kept].abs().max() >= radius:
                raise ValueError(
                    f"an optimal neuron lies on the boundary |w| = {radius}: expected a larger"
                    " radius"
                )
            return Optimum(w[kept], p[kept], here.u[kept], here.value, lower, done)
        w = torch.cat([w[p > 0], found])
        w = torch.unique((w / 1e-9).round() * 1e-9, dim=0)
    raise ValueError(
        f"gap {here.value - lower:.2g} after {rounds} rounds: expected below {tolerance:g}; "
        "allow more rounds or a finer grid"
    )


def _box(radius: float, points: int, channels: int) -> Tensor:
    axis = torch.linspace(-radius, radius, points, dtype=torch.float64)
    return torch.cartesian_prod(*[axis] * channels).reshape(-1, channels)


def _minima(problem: TwoLayer, at: Slope, fine: Tensor, grid: int, spacing: float) -> Tensor:
    """Local minima of the derivative on the grid, refined by a shrinking pattern search."""
    channels = fine.shape[1]
    values = derivative(problem, at, fine).reshape(1, 1, *(grid,) * channels)
    pool = torch.nn.functional.max_pool1d if channels == 1 else torch.nn.functional.max_pool2d
    around = -(pool(-values, 3, 1, 1) if channels == 2 else pool(-values[0], 3, 1, 1)[None])
    best = fine[(values <= around).flatten()]
    moves = torch.cat(
        [torch.zeros(1, channels), torch.eye(channels), -torch.eye(channels)]
    ).double()
    for step in range(48):  # 0.7^48 of the spacing: 4e-8 of it
        tried = best[:, None] + moves * spacing * 0.7**step
        lowest = derivative(problem, at, tried).argmin(1)
        best = tried[torch.arange(len(best)), lowest]
    return best
