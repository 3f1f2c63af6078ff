"""What chapter 05 measures of Theorem 1 of Gu et al. (2020): Jensen's inequality along segments,
two small nets that show where convexity ends, and descent on finitely wide nets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.two_layer import TwoLayer
from lib.convex import Point, Space, convex_objective, mix_points
from lib.convex.terms import Terms, violation
from lib.nets import MLP, Loss, mse


@dataclass(frozen=True, eq=False)
class Segment:
    """The objective along gamma * first + (1 - gamma) * second.

    Args:
        gammas: (n,);  terms: at each;  violation: the largest of the constraints on the segment.
    """

    gammas: Tensor
    terms: tuple[Terms, ...]
    violation: float

    @property
    def totals(self) -> Tensor:
        """Q at each gamma, (n,)."""
        return torch.tensor([t.total for t in self.terms], dtype=torch.float64)

    @property
    def slack(self) -> Tensor:
        """Chord minus curve, (n,): >= 0 everywhere on a convex function."""
        q = self.totals
        return self.gammas * q[-1] + (1 - self.gammas) * q[0] - q


def segment(
    space: Space,
    first: Point,
    second: Point,
    y: Tensor,
    *,
    strength: Sequence[float],
    loss: Loss = mse,
    steps: int = 11,
) -> Segment:
    """The objective at `steps` evenly spaced mixtures of two points, gamma from 0 (`second`) to 1
    (`first`).

    Args:
        y, strength, loss: as `convex_objective` takes them;  steps: >= 2.
    Raises:
        ValueError: fewer than two steps, or points that are not on this space.
    Source: (Gu et al. 2020, Thm 1).
    """
    if steps < 2:
        raise ValueError(f"steps is {steps}: expected >= 2, the two ends among them")
    gammas = torch.linspace(0, 1, steps, dtype=torch.float64)
    points = [mix_points(first, second, float(g)) for g in gammas]
    terms = tuple(convex_objective(space, q, y, strength=strength, loss=loss) for q in points)
    return Segment(gammas, terms, max(violation(space, q) for q in points))


def random_point(
    space: Space, outputs: int, generator: torch.Generator, *, noise: float = 1.0
) -> Point:
    """A random feasible point: Dirichlet masses, weights drawn from all that carry each layer's
    features to the next.

    w~_j = A^+ (v_j p_j) + noise * (random element of the null space of A), A = [patches of the
    layer below, 1].

    Args:
        outputs: K;  noise: of the free part, and of u~ and c.
    Returns:
        A point with every p > 0 and `violation` at rounding level.
    Raises:
        ValueError: no weights lead from one layer's atoms to the next layer's (too few atoms, or
            foreign ones).
    """
    p = [
        torch.rand(g, generator=generator, dtype=torch.float64).log().neg() for g in space.sizes[1:]
    ]
    p = [q / q.sum() for q in p]
    weights, biases = [], []
    for layer, (q, v) in enumerate(zip(p, space.atoms, strict=True), start=1):
        stage = space.stages[layer - 1]
        a = stage.patches(space.below(layer))
        a = torch.cat([a, torch.ones_like(a[:, :1])], 1)
        target = (v * q.reshape(1, -1, *(1,) * (v.dim() - 2))).movedim(1, -1).reshape(len(a), -1)
        inverse = torch.linalg.pinv(a, rtol=1e-12)
        free = (
            noise
            * torch.randn(a.shape[1], len(q), generator=generator, dtype=torch.float64)
            / a.shape[1]
        )
        solved = inverse @ target + free - inverse @ (a @ free)
        missed = float((a @ solved - target).abs().max() / target.abs().max())
        if missed > 1e-8:
            raise ValueError(
                f"no weights lead to the atoms of layer {layer} (relative error {missed:.2g}): "
                "take atoms of nets, or more atoms below"
            )
        weights.append(solved[:-1].mT.reshape(len(q), -1, stage.taps))
        biases.append(solved[-1])
    u = noise * torch.randn(
        outputs, space.sizes[-1], space.stages[-1].taps, generator=generator, dtype=torch.float64
    )
    c = noise * torch.randn(outputs, generator=generator, dtype=torch.float64)
    return Point(tuple(p), tuple(weights), tuple(biases), u * p[-1][None, :, None], c)


def swapped_neurons() -> tuple[MLP, MLP, Tensor, Tensor]:
    """Two nets, equal but for the order of their neurons, between which the objective in the
    weights has a barrier.

    f(x) = relu(x) + relu(-x) = |x| with the neurons in either order. The midpoint of the weights
    has w = 0, so f = 0: the loss rises from 0 to mean y^2. As distributions of features both nets
    are the same point, and so is any mixture.

    Returns:
        (first, second, x, y), float64; y = |x| on five points.
    Source: (derived; the paper only states that the original form is not convex).

    >>> from lib.nets import risk
    >>> first, second, x, y = swapped_neurons()
    >>> weights = [(a + b) / 2 for a, b in zip(first.weights, second.weights)]
    >>> middle = MLP(weights, activation="relu")
    >>> [float(risk(net, x, y)) for net in (first, middle, second)]
    [0.0, 0.5, 0.0]
    """
    x = torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None]
    w = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    u = torch.ones(1, 2, dtype=torch.float64)
    return MLP((w, u), activation="relu"), MLP((-w, u), activation="relu"), x, x.abs()


def escaping_mass(width: int, *, slope: float = 1.0) -> MLP:
    """A ReLU net of one live neuron among `width` that computes slope * relu(x) with a vanishing
    regulariser.

    One neuron in the paper's scaling has w = m s and u = slope / s, so that f = (1/m) u relu(w x) =
    slope * relu(x), R^(1) = (w / m)^2 = s^2 and R^(u) = u^2 / m = slope^2 / (m s^2). At s^4 =
    slope^2 / m their sum is

    R^(1) + R^(u) = 2 slope / sqrt(m),

    which goes to 0: for an unbounded homogeneous activation the infimum of Theorem 1's programme is
        not attained. Its
    mass escapes to infinite features. A bounded activation (tanh), or a bounded set of atoms,
    forbids it.

    Args:
        width: m >= 1;  slope: > 0.
    Returns:
        The net in ordinary scaling, 1-m-1 without biases, float64.
    Raises:
        ValueError: width < 1 or slope <= 0.
    Source: (derived; not in the paper).

    >>> from lib.nets import forward
    >>> x = torch.tensor([[-2.0], [3.0]], dtype=torch.float64)
    >>> forward(escaping_mass(100), x).flatten().round(decimals=12).tolist()
    [0.0, 3.0]
    """
    if width < 1 or not slope > 0:
        raise ValueError(f"width is {width}, slope {slope}: expected width >= 1 and slope > 0")
    s = math.sqrt(slope) / width**0.25
    w, u = (torch.zeros(shape, dtype=torch.float64) for shape in ((width, 1), (1, width)))
    w[0, 0], u[0, 0] = (
        width * s,
        slope / (s * width),
    )  # one input channel: the paper's w is the ordinary one
    return MLP((w, u), activation="relu")


def two_layer_objective(problem: TwoLayer, w: Tensor, u: Tensor) -> Tensor:
    """Q of nets of m neurons: p = (1/m) sum of deltas at (w_j, u_j).

    Args:
        w: (*batch, m, C);  u: (*batch, m, K).
    Returns:
        (*batch,).

    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> float(two_layer_objective(TwoLayer(one, torch.tanh(one), (1.0, 1.0)), one, one))
    2.0
    """
    first, top = problem.strength
    f = (problem.features(w).mT @ u) / w.shape[-2]
    fit = (f - problem.y).square().mean((-2, -1))
    return fit + first * w.abs().mean(-2).square().mean(-1) + top * u.square().sum(-1).mean(-1)


def descend_two_layer(
    problem: TwoLayer,
    width: int,
    *,
    nets: int,
    steps: int,
    lr: float,
    generator: torch.Generator,
    spread: float = 4.0,
) -> tuple[Tensor, Tensor]:
    """Plain (sub)gradient descent of many nets of one width, independently, in the paper's scaling.

    theta_{t+1} = theta_t - lr (1 - t / steps) m grad Q: the factor m gives every neuron a step of
    its own size, as the mean-field limit has it; the falling rate settles the |w| terms, whose
    slope jumps at 0.

    Args:
        width: m;  nets: how many;  steps, lr: of descent.
        spread: standard deviation of the first w; u starts at N(0, 1).
    Returns:
        w (nets, m, C) and u (nets, m, K).
    Raises:
        ValueError: a number that is not positive, or divergence.

    >>> x = torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None]
    >>> problem, g = TwoLayer(x, x, (0.01, 0.01)), torch.Generator().manual_seed(0)
    >>> found = descend_two_layer(problem, 3, nets=2, steps=10, lr=0.1, generator=g)
    >>> tuple(two_layer_objective(problem, *found).shape)
    (2,)
    """
    if min(width, nets, steps) < 1 or not (lr > 0 and spread > 0):
        raise ValueError(
            f"width {width}, nets {nets}, steps {steps}, lr {lr}, spread {spread}: expected"
            " each > 0"
        )
    x, y = problem.x, problem.y
    (first, top), channels = problem.strength, x.shape[1]
    w = spread * torch.randn(nets, width, channels, generator=generator, dtype=torch.float64)
    u = torch.randn(nets, width, y.shape[1], generator=generator, dtype=torch.float64)
    for t in range(steps):
        z = w @ x.mT / channels
        h = problem.activation.value(z)
        residual = 2 * ((h.mT @ u) / width - y) / y.numel()  # dJ/df, (nets, N, K)
        inner = problem.activation.derivative(z) * (u @ residual.mT)
        amplitude = w.abs().mean(1, keepdim=True)
        step = lr * (1 - t / steps)
        du = h @ residual + 2 * top * u
        dw = inner @ x / channels + 2 * first / channels * amplitude * w.sign()
        w, u = w - step * dw, u - step * du
    if not torch.isfinite(two_layer_objective(problem, w, u)).all():
        raise ValueError(f"descent diverged at lr {lr}: take a smaller one")
    return w, u
