"""The theorems on splitting and on general compatible embeddings, measured at random points and at
planted critical points."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator, Tensor

from lib.certificate import certify
from lib.critical import plant
from lib.curvature import hessian, inertia
from lib.nets import MLP, flatten, forward, gradient, init
from lib.symmetry import rescale, rescaling_direction
from lib.width import (
    append,
    embedding,
    general_dimension,
    null_embed,
    random_embedding,
    saddle_witness,
    split,
    split_channel,
    tangent_dimension,
)

ACTIVATIONS = ("tanh", "sigmoid", "relu", "leaky_relu", "elu")
SHARES = (-2.0, 0.3, 1.0, 4.0)


def gaussian(generator: Generator, *shape: int) -> Tensor:
    """Standard normal numbers in double precision, of this shape."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@dataclass(frozen=True)
class SplittingErrors:
    """Rounding errors of splitting, one entry for each activation, depth, layer and share.

    Args:
        activation: its name;  output: relative gap far outside the sample.
        transport: relative gap between the gradient and its image, at a random point.
        gradient: L1 norm of the gradient after splitting an exact critical point.
    """

    activation: list[str]
    output: list[float]
    transport: list[float]
    gradient: list[float]


def splitting_errors(generator: Generator) -> SplittingErrors:
    """Split a neuron of every layer of nets of depth 2 to 4 with every share in SHARES."""
    x, far = gaussian(generator, 60, 3), 100 * gaussian(generator, 60, 3)
    found = SplittingErrors([], [], [], [])
    for sigma, depth in itertools.product(ACTIVATIONS, (2, 3, 4)):
        net = init((3, *[4] * (depth - 1), 2), sigma, std=0.7, generator=generator)
        anywhere, critical = gaussian(generator, 60, 2), plant(net, x, generator)
        size = float(forward(net, far).abs().max())
        for layer, alpha in itertools.product(range(1, depth), SHARES):
            after = embedding(net, [(layer, 1, alpha)])
            free = certify(net, x, anywhere, after=after, off_sample=far, spectrum=None)
            there = certify(net, x, critical, after=after, spectrum=None)
            found.activation.append(sigma)
            found.output.append(float(free.off_sample_gap) / size)
            found.transport.append(float(free.transport_gap) / float(free.gradient_before))
            found.gradient.append(float(there.gradient_after))
    return found


@dataclass(frozen=True)
class Dimensions:
    """Dimension of the family of general compatible embeddings for each pair (K1, K2)."""

    added: list[tuple[int, int]]
    predicted: list[int]
    found: list[int]


def family_dimensions(generator: Generator, most: int = 4) -> Dimensions:
    """Embed a 1-2-2-1 net with up to `most` more neurons in each hidden layer."""
    added = list(itertools.product(range(most + 1), repeat=2))
    net = init((1, 2, 2, 1), generator=generator)
    result = Dimensions(added, [], [])
    for k1, k2 in added:
        wide = (1, 2 + k1, 2 + k2, 1)
        result.predicted.append(general_dimension(net.widths, wide))
        member = random_embedding(net, wide, generator)
        result.found.append(int(tangent_dimension(member, net).value))
    return result


@dataclass(frozen=True)
class EmbeddingGaps:
    """Gaps in A^T H' A = H and H' A = C H, and whether no count of eigenvalues fell.

    Args:
        gaps: largest entries, two for each embedding.
        kept: for each embedding whose zero eigenvalues stand clear;  unclear: how many do not.
    """

    gaps: list[float]
    kept: list[bool]
    unclear: int


def embedding_gaps(generator: Generator, wanted: int = 12) -> EmbeddingGaps:
    """Random general compatible embeddings of planted critical points with two hidden layers."""
    gaps, kept, unclear = [], [], 0
    while len(kept) < wanted:
        net = init((2, 2, 2, 1), std=0.8, generator=generator)
        x = gaussian(generator, 60, 2)
        y = plant(net, x, generator, residual=0.5)
        after = random_embedding(net, (2, 3 + len(kept) % 2, 3, 1), generator)
        found = certify(net, x, y, after=after, spectrum=partial(inertia, require=False))
        gaps += [float(found.compression_gap), float(found.intertwining_gap)]
        if found.inertia_before.clear and found.inertia_after.clear:
            enough = int(found.found_zeros) >= int(found.predicted_zeros)
            kept.append(bool(found.inertia_kept) and enough)
        else:
            unclear += 1  # an eigenvalue too close to zero to be told from it
    return EmbeddingGaps(gaps, kept, unclear)


@dataclass(frozen=True)
class StrictSaddles:
    """Curvature along the witness directions of planted minima, and negative eigenvalues after."""

    predicted: list[float]
    measured: list[float]
    negative: list[int]
    blocks: list[str]


def strict_saddles(generator: Generator, sigma: str = "tanh", wanted: int = 8) -> StrictSaddles:
    """Three-fold splitting of planted points without a negative eigenvalue.

    For one hidden layer of ReLU the hidden block of H^(2) is zero, so the joint block decides;
    planted points are saddles already there, and all are kept: the case of the proof is tested.
    (With one output C = 0 at a critical point, and H^(2) is zero altogether: two outputs.)
    """
    found = StrictSaddles([], [], [], [])
    while len(found.predicted) < wanted:
        net = init((2, 3, 2 if sigma == "relu" else 1), sigma, generator=generator)
        x = gaussian(generator, 60, 2)
        y = plant(net, x, generator, residual=0.03)
        if sigma != "relu" and inertia(hessian(net, x, y)).counts[0]:
            continue
        witness = saddle_witness(net, x, y)
        h, u = hessian(witness.embedding(net), x, y), flatten(witness.direction)
        found.predicted.append(float(witness.curvature))
        found.measured.append(float(u @ h @ u))
        found.negative.append(inertia(h, require=False).counts[0])
        found.blocks.append(str(witness.block))
    return found


def split_planted_channel(generator: Generator) -> tuple[float, float]:
    """Output gap, and gradient L1 norm at a planted critical point, after splitting a channel."""
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3, padding=1),
        torch.nn.Tanh(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(3, 2, 3),
        torch.nn.Tanh(),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 2),
    ).double()
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.5, generator=generator)
    images = gaussian(generator, 100, 1, 8, 8)
    y = plant(net, images, generator)
    wider = split_channel(net, 1, channel=1, alpha=-0.7)
    gap = float((wider(images) - net(images)).detach().abs().max())
    torch.nn.functional.mse_loss(wider(images), y).backward()
    return gap, sum(float(p.grad.abs().sum()) for p in wider.parameters())


def rescaling_modes(generator: Generator, sigma: str) -> tuple[float, float]:
    """Hessian times the rescaling directions of three active neurons, and the gradient after
    rescaling one by 3; a fourth neuron is silent."""
    net = init((2, 4, 1), sigma, std=0.8, generator=generator)
    net = silenced(net, 1, 3)
    x = gaussian(generator, 80, 2)
    y = plant(net, x, generator)
    directions = torch.stack([flatten(rescaling_direction(net, 1, s)) for s in range(3)])
    mode = float((directions @ hessian(net, x, y)).abs().max())
    return mode, float(flatten(gradient(rescale(net, 1, 0, 3.0), x, y)).abs().sum())


def silenced(net: MLP, layer: int, neuron: int) -> MLP:
    """The net whose neuron reads as before and writes nothing."""
    weights = list(net.weights)
    writes = torch.ones(weights[layer].shape[-1], dtype=torch.float64)
    writes[neuron] = 0
    weights[layer] = weights[layer] * writes
    return MLP(tuple(weights), net.biases, net.activation)


def neurons_without_effect(generator: Generator) -> list[float]:
    """Gradient L1 norms of a planted critical point after a neuron without effect was added.

    A neuron that neither reads nor writes; a copy that does not write; a ReLU that is off on all
    data and writes; a neuron that reads at random and does not write; one that writes and does not
    read. Only the first is critical for every activation and all data.
    """
    net, x, y = _planted(generator, "tanh")
    zero = {d: torch.zeros(d, dtype=torch.float64) for d in (1, 2)}
    null = null_embed(net, 1, 0.7)
    reads = append(net, 1, gaussian(generator, 2), 0.7, zero[1])
    writes = append(net, 1, zero[2], 0.7, gaussian(generator, 1))
    copy = split(net, 1, 0, 0.0)
    norms = [float(flatten(gradient(n, x, y)).abs().sum()) for n in (null, copy, reads, writes)]
    net, x, y = _planted(torch.Generator().manual_seed(1), "relu")
    off = append(net, 1, zero[2], -0.7, torch.tensor([1.3], dtype=torch.float64))
    return [*norms[:2], float(flatten(gradient(off, x, y)).abs().sum()), *norms[2:]]


def _planted(generator: Generator, sigma: str) -> tuple[MLP, Tensor, Tensor]:
    net = init((2, 3, 1), sigma, std=0.8, generator=generator)
    x = gaussian(generator, 60, 2)
    return net, x, plant(net, x, generator)
