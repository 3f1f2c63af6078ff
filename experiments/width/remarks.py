"""What the papers state beside their figures: representations, symmetries, homogeneity of another
degree, losses without a finite minimum, and points that no embedding can open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from experiments.width.soft_labels import plant_labels, soft_cross_entropy
from experiments.width.theorems import gaussian
from lib.certificate import certify
from lib.critical import plant
from lib.curvature import hessian, inertia
from lib.nets import MLP, Activation, features, flatten, gradient, init, risk
from lib.symmetry import orbit_distance, permute, rescale, rescaling_direction
from lib.width import embedding, random_embedding, split
from lib.width.constructions import three_fold, two_fold_null

SQUARE = Activation(
    "relu squared",
    lambda t: t.relu() ** 2,
    lambda t: 2 * t.relu(),
    lambda t: 2 * (t > 0).to(t.dtype),
    degree=2,
)


def left_over(given: Tensor, wanted: Tensor) -> float:
    """Share of the variance of the wanted features outside the span of the given ones and 1.

    >>> x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    >>> round(left_over(x, x**2), 12), left_over(x, 3 * x + 1) < 1e-20
    (1.0, True)
    """
    base = torch.cat([given, torch.ones_like(given[:, :1])], 1)
    centred = wanted - wanted.mean(0)
    # copies of a feature make the base singular, where lstsq need not find the least squares
    rest = centred - base @ (torch.linalg.pinv(base) @ centred)
    return float(rest.square().sum() / centred.square().sum())


def representations(generator: Generator) -> tuple[float, float, float]:
    """Of nets of every activation with two hidden layers: the variance that narrow and wide
    features of a layer leave over of each other after general embeddings (Prop. 1 iii), the gap of
    Lemma 1 (features of a split layer), and the Hessian along the direction of Lemma 2."""
    spans, gaps, kernels = [], [], []
    for sigma in ("tanh", "sigmoid", "elu"):
        net = init((3, 4, 3, 2), sigma, std=0.7, generator=generator)
        x = gaussian(generator, 60, 3)
        y = plant(net, x, generator, residual=0.3)
        for wide in (random_embedding(net, (3, 6, 5, 2), generator)(net), split(net, 1, 1, -0.7)):
            pairs = list(zip(features(net, x)[1:-1], features(wide, x)[1:-1], strict=True))
            spans += [left_over(*p) for p in pairs] + [left_over(*p[::-1]) for p in pairs]
        grown = features(wide, x)[1]
        gaps.append(float((grown - torch.cat([pairs[0][0], pairs[0][0][:, 1:2]], 1)).abs().max()))
        direction = flatten(split(net, 1, 1, 0.3)) - flatten(wide)
        kernels.append(float((hessian(wide, x, y) @ direction).abs().max()))
    return max(spans), max(gaps), max(kernels)


@dataclass(frozen=True)
class Symmetry:
    """Largest gradient and relative gap of the spectrum after the neurons of a critical net are
    permuted; and how far the mirror image of one of two minima is from the other."""

    gradient: float
    spectrum: float
    mirror: float


def symmetries(minima: Sequence[MLP], x: Tensor, y: Tensor) -> Symmetry:
    """Permute the neurons of two minima, and mirror the first: (x, y) -> (-x, -y) keeps the data,
    and takes a net of an odd activation to that with biases of the other sign."""
    norms, gaps = [], []
    for net in minima:
        moved = permute(net, {1: list(range(net.widths[1]))[::-1]})
        norms.append(float(flatten(gradient(moved, x, y)).abs().sum()))
        spectra = [torch.linalg.eigvalsh(hessian(n, x, y)) for n in (net, moved)]
        gaps.append(float((spectra[0] - spectra[1]).abs().max() / spectra[0].abs().max()))
    first, second = minima
    biases = [None if b is None else -b for b in first.biases]
    mirrored = MLP(first.weights, biases, first.activation)
    return Symmetry(max(norms), max(gaps), orbit_distance(mirrored, second))


def of_degree_two(generator: Generator) -> tuple[float, float]:
    """For squared ReLU: the gradient after rescaling a neuron at a critical point, whose output
    weights go with the factor to the power -2, and the Hessian along the rescaling."""
    net, x = init((2, 3, 1), SQUARE, generator=generator), gaussian(generator, 40, 2)
    y = plant(net, x, generator, residual=0.3)
    h = hessian(net, x, y)
    norms = [float(flatten(gradient(rescale(net, 1, k, 3.0), x, y)).abs().sum()) for k in range(3)]
    along = [float((h @ flatten(rescaling_direction(net, 1, k))).abs().max()) for k in range(3)]
    return max(norms), max(along)


def with_cross_entropy(generator: Generator) -> tuple[float, float, int]:
    """Splittings, null neurons and general embeddings at points that are critical for cross entropy
    with soft labels: largest output gap and gradient, and embeddings that lose an eigenvalue of a
    sign."""
    output, norms, lost = [], [], 0
    for _ in range(3):
        net, x = init((2, 3, 3), std=0.7, generator=generator), gaussian(generator, 60, 2)
        y = plant_labels(net, x, generator)
        steps = ([(1, 0, 0.3), (1, 1, -0.5)], [(1, None, 0.4)])
        ways = [embedding(net, list(s)) for s in steps]
        for op in (*ways, random_embedding(net, (2, 5, 3), generator)):
            found = certify(net, x, y, soft_cross_entropy, after=op)
            output.append(float(found.output_gap))
            norms.append(float(found.gradient_after))
            lost += not bool(found.inertia_kept)
    return max(output), max(norms), lost


def without_bend(generator: Generator) -> tuple[float, int, int]:
    """Where H^(2) = 0, as at an exact fit, no embedding tried makes a saddle: the gradient after
    two-fold global null embeddings (Ex. 5.2), the largest number of negative eigenvalues after
    these, three-fold global splittings and random embeddings; and the smallest after three-fold
    splitting where the fit leaves a residual and H^(2) is not 0."""
    norms, closed, opened = [], [], []
    for _ in range(3):
        net, x = init((2, 2, 1), std=0.7, generator=generator), gaussian(generator, 40, 2)
        exact, rest = (plant(net, x, generator, residual=r) for r in (0.0, 0.01))
        assert float(risk(net, x, exact)) < 1e-28
        null = two_fold_null(net, [gaussian(generator, 2)])
        for op in (null, three_fold(net), random_embedding(net, (2, 5, 1), generator)):
            closed.append(inertia(hessian(op(net), x, exact), require=False).counts[0])
        norms.append(float(flatten(gradient(null(net), x, rest)).abs().sum()))
        opened.append(inertia(hessian(three_fold(net)(net), x, rest), require=False).counts[0])
    return max(norms), max(closed), min(opened)
