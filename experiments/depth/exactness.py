"""What theorems on lifting say of random lifts of planted critical points, measured (claims B1 to
B4)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.depth.planted import Planted, critical_net, gaussian
from lib.certificate import certify
from lib.certificate.report import Certificate
from lib.curvature import Inertia, hessian, inertia
from lib.depth import layer_on_data, lift, lift_layers, lifted_dimension
from lib.depth.pieces import affine_error
from lib.nets import MLP, Activation, features, forward, preactivations
from lib.nets.activations import get

WIDTHS = ((2, 3, 2), (2, 2, 2, 1), (3, 2, 2))
FAR = 30.0  # how much farther out the inputs off the sample lie


@dataclass(frozen=True)
class LiftTrial:
    """One random lift of a critical point.

    Args:
        activation: its name;  saddle: of a strict saddle, else of a minimum.
        output_gap: largest change of an output on the sample;  off_sample_gap: on inputs farther
            out, relative to the largest output there.
        gradient: L1 norm of the gradient at the lift.
        dimension_error: dimension of the fibre of the merging map, less that of the formula.
        inertia_errors: counts of negative, zero and positive eigenvalues, less those of the
            theorem; () where no Hessian was formed.
        representation_error: part of the features that the theorem on representations leaves over.
    """

    activation: str
    saddle: bool
    output_gap: float
    off_sample_gap: float
    gradient: float
    dimension_error: int
    inertia_errors: tuple[int, ...]
    representation_error: float

    @property
    def is_exact(self) -> bool:
        """Dimension and spectrum are as the theorem says."""
        return not any((self.dimension_error, *self.inertia_errors))


def exact_lifts(
    sigmas: Sequence[str | Activation], lifts: int, generator: torch.Generator
) -> list[LiftTrial]:
    """Lifts of a minimum and of a saddle of every activation and shape, at every place, of the
    least width and two more.

    Args:
        sigmas: activations with an affine piece;  lifts: of each critical point.

    >>> len(exact_lifts(("relu",), 1, torch.Generator().manual_seed(0)))
    6
    """
    trials = []
    for sigma, saddle, widths in itertools.product(sigmas, (False, True), WIDTHS):
        point = critical_net(widths, sigma, saddle=saddle, generator=generator)
        far = FAR * gaussian(generator, 200, widths[0])
        for turn in range(lifts):
            place = turn % point.net.depth
            width = min(point.net.widths[place : place + 2]) + turn % 3
            deep = lift(point.net, point.x, place, width, generator=generator)
            trials.append(_trial(point, deep, far, place, saddle))
    return trials


def _trial(point: Planted, deep: MLP, far: Tensor, place: int, saddle: bool) -> LiftTrial:
    net, spectrum = point.net, inertia if point.net.n_parameters < 20 else None
    found = certify(net, point.x, point.y, after=deep, off_sample=far, spectrum=spectrum)
    rank = int(torch.linalg.matrix_rank(layer_on_data(deep, point.x, place + 1).jacobian()))
    width = deep.widths[place + 1]
    return LiftTrial(
        str(get(net.activation)),
        saddle,
        float(found.output_gap),
        float(found.off_sample_gap / forward(net, far).abs().max()),
        float(found.gradient_after),
        deep.n_parameters - rank - lifted_dimension(net.widths, place, width),
        _inertia_errors(found, deep.n_parameters - net.n_parameters),
        representation_error(deep, point.x, place + 1),
    )


def representation_error(deep: MLP, x: Tensor, layer: int) -> float:
    """How far an inserted layer is from keeping the representation on the sample.

    With f before it, h its features and z what the next layer receives, the spans with the constant
    obey {z, 1} in {h, 1} in {f, 1}, with equality on the right if diag(slope) W' has full column
    rank. The largest share of variance that one of these inclusions leaves over.
    """
    f, h = features(deep, x)[layer - 1 : layer + 1]
    z = preactivations(deep, x)[layer]
    pairs = [(h, f), (z, h)]
    if int(torch.linalg.matrix_rank(deep.weights[layer - 1])) == deep.widths[layer - 1]:
        pairs.append((f, h))
    return max(float(affine_error(*pair)) for pair in pairs)


def _inertia_errors(found: Certificate, added: int) -> tuple[int, ...]:
    if found.inertia_before is None or found.inertia_after is None:
        return ()
    before, after = found.inertia_before.counts, found.inertia_after.counts
    return after[0] - before[0], after[1] - before[1] - added, after[2] - before[2]


def tower(generator: torch.Generator) -> list[Inertia]:
    """Spectra of one saddle of a 2-3-2 net (ELU), as it is and with one to three layers put in."""
    point = critical_net((2, 3, 2), "elu", saddle=True, generator=generator)
    nets = [point.net]
    nets += [lift_layers(point.net, point.x, [(1, 3)] * k, generator=generator) for k in (1, 2, 3)]
    return [inertia(hessian(net, point.x, point.y)) for net in nets]


@dataclass(frozen=True)
class Growth:
    """What lifting by one to three layers added: parameters, and eigenvalues of each sign."""

    parameters: int
    zeros: int
    negative: int
    positive: int

    @property
    def is_exact(self) -> bool:
        """Nothing but one zero eigenvalue for each parameter."""
        return self.zeros == self.parameters and self.negative == self.positive == 0


def growth(
    sigmas: Sequence[str | Activation], lifts: int, generator: torch.Generator
) -> tuple[list[Growth], int]:
    """Lifts of 2-2-2 minima and saddles by one to three layers of several widths.

    Returns:
        the lifts whose spectrum has a clear gap, and how many have none: long chains blur small
        eigenvalues, and no count is better than a wrong one.

    >>> found, blurred = growth(("relu",), 1, torch.Generator().manual_seed(0))
    >>> [g.is_exact for g in found], blurred
    ([True, True], 0)
    """
    found, blurred = [], 0
    for sigma, saddle in itertools.product(sigmas, (False, True)):
        for turn in range(lifts):
            if turn % 4 == 0:
                base = critical_net((2, 2, 2), sigma, saddle=saddle, generator=generator)
            inserts = [(turn % 2, 2 + turn % 3)] + [(1, 2)] * (turn % 3)
            deep = lift_layers(base.net, base.x, inserts, generator=generator)
            after = inertia(hessian(deep, base.x, base.y), require=False)
            if not bool(after.clear):
                blurred += 1
                continue
            a, b = base.inertia.counts, after.counts
            added = deep.n_parameters - base.net.n_parameters
            found.append(Growth(added, b[1] - a[1], b[0] - a[0], b[2] - a[2]))
    return found, blurred
