"""Polish nets to nearby critical points of any index: Levenberg-Marquardt on the gradient,
batched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lib.curvature import hessian
from lib.nets import MLP, Loss, flatten, gradient, mse, risk, unflatten
from lib.nets.checks import check_index
from lib.nets.dense import as_dense, check_problem

TOLERANCE = 1e-13
# Directions whose eigenvalue is rounding (see lib.curvature.signs) carry no information: the
# pseudo-inverse drops them.
CUT = 100 * torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class CriticalPoint:
    """Where `polish` arrived, one entry a net.

    Args:
        net: the nets, *batch.
        loss: R_S, (*batch).
        gradient: L1 norm of the gradient, (*batch);  gradient_before: at the start.
        moved: Euclidean distance from the start in parameter space, (*batch).
        steps: accepted steps, (*batch), int64.
        converged: gradient <= tolerance within reach of the start, (*batch), bool. Where False,
            `net` is the best point seen, not a critical point.
        tolerance: the L1 norm asked for.

    >>> from lib.nets import init
    >>> x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    >>> net = init((1, 1, 1), std=0.5, output_bias=False, generator=0)
    >>> polish(net, x, torch.tanh(x))  # doctest: +ELLIPSIS
    CriticalPoint(loss=..., gradient=..., converged)
    """

    net: MLP
    loss: Tensor
    gradient: Tensor
    gradient_before: Tensor
    moved: Tensor
    steps: Tensor
    converged: Tensor
    tolerance: float

    def __getitem__(self, index: Any) -> CriticalPoint:
        """The points at that index of the batch."""
        parts = {
            n: getattr(self, n)[index]
            for n in ("loss", "gradient", "gradient_before", "moved", "steps", "converged")
        }
        return CriticalPoint(net=self.net[index], tolerance=self.tolerance, **parts)

    @property
    def found(self) -> CriticalPoint:
        """The converged points alone, as one flat batch."""
        return self[self.converged]

    def __repr__(self) -> str:
        if self.converged.dim():
            share = f"{int(self.converged.sum())} of {self.converged.numel()}"
            return f"CriticalPoint({share} converged to {self.tolerance:g})"
        state = "converged" if self.converged else "NOT converged"
        return (
            f"CriticalPoint(loss={float(self.loss):.6g}, gradient={float(self.gradient):.1e},"
            f" {state})"
        )


def polish(
    net: MLP | nn.Sequential,
    x: Tensor,
    y: Tensor,
    loss: Loss = mse,
    *,
    tolerance: float = TOLERANCE,
    max_steps: int = 200,
    radius: float = 0.1,
    reach: float = 3.0,
) -> CriticalPoint:
    """Move every net to a critical point nearby, whatever its index, until its gradient's L1 norm
    is at most `tolerance`.

    Each step s minimises ||g + H s|| within ||s|| <= Delta: with H = Q diag(lambda) Q^T,
        s = -Q diag(lambda / (lambda^2 + mu)) Q^T g,   mu >= ||g||^2 the least that keeps ||s|| <=
        Delta,
    where eigenvalues within rounding of zero are dropped (pseudo-inverse), so that degenerate
    points converge as fast as others; it is accepted when ||g|| falls. Nothing in it prefers
    minima: a saddle is as good an end as a minimum. Below `tolerance` it goes on while steps still
    halve the gradient: embeddings multiply what is left of it.

    Args:
        net: float64, any depth and batch; x: (n, m_0); y: targets.
        tolerance: the L1 norm of the gradient to reach.
        max_steps: of which each costs one Hessian and one eigendecomposition for the nets still
            under way.
        radius: Delta at the start, relative to the norm of a net's parameters; grows and shrinks as
            steps succeed or fail.
        reach: give a net up once it is farther from its start than this many times the norm of its
            parameters there: it is not near a critical point, and gradients also vanish at
            infinity, where neurons saturate. `math.inf` to allow.
    Returns:
        A `CriticalPoint`; read `converged` (or take `.found`) before using it.
    Raises:
        TypeError: net or data are not float64.
        ValueError: shapes do not match; a setting out of range; a non-finite parameter or gradient.

    Source: (Zhang et al. 2021, Sec. 3.2) calls the point of least gradient in a slow window an
    empirical critical point; this turns it into one to rounding.

    >>> from lib.nets import init
    >>> x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    >>> nets = init((1, 2, 1), std=0.5, batch=(5,), output_bias=False, generator=0)
    >>> points = polish(nets, x, torch.tanh(2 * x))
    >>> bool((points.found.gradient <= 1e-13).all())
    True
    """
    _check(tolerance, max_steps, radius, reach)
    net = as_dense(net)
    check_problem(net, x, y, loss)
    like = net.map(lambda p: p.detach().reshape(-1, *p.shape[len(net.batch) :]))
    search = _Search(like, x, y, loss, tolerance, radius, reach)
    before = search.gradient.abs().sum(-1)
    for _ in range(max_steps):
        live = (~search.done).nonzero().flatten()
        if not len(live):
            break
        search.step(live)
    after, moved = search.gradient.abs().sum(-1), search.moved
    values = {
        "loss": risk(unflatten(search.theta, like), x, y, loss),
        "gradient": after,
        "gradient_before": before,
        "moved": moved,
        "steps": search.steps,
        "converged": (after <= tolerance) & (moved <= reach * search.size),
    }
    return CriticalPoint(
        net=unflatten(search.theta.reshape(*net.batch, search.theta.shape[-1]), like),
        tolerance=tolerance,
        **{name: value.reshape(net.batch) for name, value in values.items()},
    )


class _Search:
    """Where every net of a flat batch stands, and the step that all of them take."""

    def __init__(
        self,
        like: MLP,
        x: Tensor,
        y: Tensor,
        loss: Loss,
        tolerance: float,
        radius: float,
        reach: float,
    ) -> None:
        self.like, self.x, self.y, self.loss = like, x, y, loss
        self.tolerance, self.reach = tolerance, reach
        self.start = flatten(like)
        self.theta = self.start.clone()
        self.gradient = self.slope(self.theta)
        if not bool(torch.isfinite(self.gradient).all()):
            bad = (~torch.isfinite(self.gradient).all(-1)).nonzero().flatten()[:5].tolist()
            raise ValueError(
                f"the gradient is not finite at nets {bad} of the flattened batch: polish needs"
                " finite nets and data"
            )
        # so that the zero net, a critical point, has room to move as well
        self.size = self.start.norm(dim=-1).clamp_min(1e-3)
        self.delta = radius * self.size
        self.steps = torch.zeros_like(self.size, dtype=torch.int64)
        self.done = torch.zeros_like(self.size, dtype=torch.bool)

    @property
    def moved(self) -> Tensor:
        distance: Tensor = (self.theta - self.start).norm(dim=-1)
        return distance

    def slope(self, theta: Tensor) -> Tensor:
        return flatten(gradient(unflatten(theta, self.like), self.x, self.y, self.loss))

    def step(self, live: Tensor) -> None:
        here, slope, delta = self.theta[live], self.gradient[live], self.delta[live]
        h = hessian(unflatten(here, self.like), self.x, self.y, self.loss)
        values, vectors = torch.linalg.eigh(h)
        s, predicted = _step(values, vectors, slope, delta)
        trial = here + s
        at_trial = self.slope(trial)
        old, new, length = slope.norm(dim=-1), at_trial.norm(dim=-1), s.norm(dim=-1)
        gain = (old - new) / (old - predicted).clamp_min(torch.finfo(old.dtype).tiny)
        ok = torch.isfinite(new) & (new < old)
        wider = torch.where((gain > 0.75) & (length > 0.9 * delta), 2.0, 1.0)
        self.delta[live] = torch.where(ok & (gain > 0.1), delta * wider, 0.25 * length)
        self.theta[live] = torch.where(ok.unsqueeze(-1), trial, here)
        self.gradient[live] = torch.where(ok.unsqueeze(-1), at_trial, slope)
        self.steps[live] += ok
        reached = self.gradient[live].abs().sum(-1) <= self.tolerance
        # An allowed length below rounding, or a step that moves nothing, cannot help.
        stuck = self.delta[live] <= torch.finfo(old.dtype).eps * self.size[live]
        lost = self.moved[live] > self.reach * self.size[live]
        self.done[live] = (reached & ~(ok & (new < old / 2))) | stuck | lost


def _step(values: Tensor, vectors: Tensor, g: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
    """The step of the formula above and ||g + H s||, for eigenpairs (B, M), (B, M, M) and Delta
    (B,)."""
    scale = values.abs().amax(-1, keepdim=True)
    values = torch.where(values.abs() <= CUT * values.shape[-1] * scale, 0.0, values)
    c = (vectors.mT @ g.unsqueeze(-1)).squeeze(-1)
    low = c.square().sum(-1, keepdim=True)

    def along(mu: Tensor) -> Tensor:
        return torch.where(values == 0, 0.0, -values * c / (values.square() + mu))

    # ||s|| falls in mu: bisection on log mu between ||g||^2 and the mu at which even the steepest
    # bound obeys Delta
    high = torch.maximum(low, scale * c.norm(dim=-1, keepdim=True) / delta.unsqueeze(-1)) * 2
    low = low.clamp_min(1e-300)
    inside = along(low).norm(dim=-1, keepdim=True) <= delta.unsqueeze(-1)
    a, b = low.log(), high.clamp_min(1e-300).log()
    for _ in range(30):
        middle = (a + b) / 2
        fits = along(middle.exp()).norm(dim=-1, keepdim=True) <= delta.unsqueeze(-1)
        a, b = torch.where(fits, a, middle), torch.where(fits, middle, b)
    s = along(torch.where(inside, low, b.exp()))
    predicted = (c + values * s).norm(dim=-1)
    return (vectors @ s.unsqueeze(-1)).squeeze(-1), predicted


def _check(tolerance: float, max_steps: int, radius: float, reach: float) -> None:
    for name, value in (("tolerance", tolerance), ("radius", radius), ("reach", reach)):
        if not value > 0:
            raise ValueError(f"{name} is {value}: expected > 0")
    check_index("max_steps", max_steps)
    if max_steps < 0:
        raise ValueError(f"max_steps is {max_steps!r}: expected an integer >= 0")
