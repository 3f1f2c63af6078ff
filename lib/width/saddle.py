"""How embedding makes strict saddles: the witness directions of three-fold global splitting
(Theorem 6.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lib.nets import MLP, Loss, mse, unflatten
from lib.nets.checks import finite_tolerance
from lib.width.constructions import three_fold
from lib.width.embeddings import Embedding

Block = str | list[Any]  # nested as the batch of nets is


@dataclass(frozen=True, eq=False)
class Witness:
    """A direction along which the risk falls after three-fold global splitting.

    Args:
        embedding: `three_fold` of the net.
        direction: u, in the shapes of the wide net.
        curvature: the predicted u^T H' u < 0, (*batch): -lambda / 2 or 2 lambda.
        eigenvalue: lambda of H^(2)'s block, (*batch).
        block: "hidden" where lambda belongs to the parameters of the hidden layers, "joint" where
            those of the output layer take part, (*batch) nested as a list; a str for one net.
    """

    embedding: Embedding
    direction: MLP
    curvature: Tensor
    eigenvalue: Tensor
    block: Block


def saddle_witness(
    net: MLP, x: Tensor, y: Tensor, loss: Loss = mse, *, tolerance: float = 1e-11
) -> Witness:
    """The direction that shows a critical point, embedded by three-fold global splitting, to be a
    strict saddle.

    With (lambda, v) an eigenpair of H^(2) = E sum_i (d loss / d f_i) grad^2 f_i, of its block at
    the hidden layers,

        lambda > 0:  u = (v/2, v/2, v) on the three copies,  u^T H' u = -lambda / 2;
        lambda < 0:  u = (v, -v, 0),                         u^T H' u = 2 lambda;

    whichever falls more. If that block is zero, v is the eigenvector of H^(2) over all weights
    (output biases aside) for its most negative lambda, and u = (v, -v, 0) again. To first order u
    does not change the output, so that the Gauss-Newton part H^(1) adds nothing.

    Args:
        net: one net or a batch, critical for the claim about saddles (the curvature is right
            everywhere).
        x, y: the sample;  loss: `mse` or `cross_entropy`.
        tolerance: an eigenvalue counts as zero below tolerance * max(max |H^(1)|, max |H^(2)|).
    Returns:
        A `Witness`; u^T u is 3/2 or 2.
    Raises:
        ValueError: H^(2) is zero over the weights, so that no such witness exists; no hidden layer;
            or another loss.
    Source: (Zhang et al. 2022, Thm 6.3).

    >>> from lib.nets import init
    >>> g = torch.Generator().manual_seed(0)
    >>> x = torch.randn(20, 1, generator=g, dtype=torch.float64)
    >>> found = saddle_witness(init((1, 2, 1), generator=0), x, torch.sin(x))
    >>> found.block, bool(found.curvature < 0)
    ('hidden', True)
    """
    from lib.curvature import decompose  # here, so that splitting needs no compiled kernels

    finite_tolerance(tolerance)
    embedding = three_fold(net)
    parts = decompose(net, x, y, loss)
    h2 = parts.second_order
    size = torch.maximum(parts.gauss_newton.abs().amax((-2, -1)), h2.abs().amax((-2, -1)))
    bias = net.biases[-1]
    outer = net.weights[-1].shape[-2:].numel()
    joint = net.n_parameters - (0 if bias is None else bias.shape[-1])
    hidden = joint - outer

    values, vectors = torch.linalg.eigh(h2[..., :hidden, :hidden])
    low, high = values[..., 0], values[..., -1]
    rises = -high / 2 < 2 * low  # the positive eigenvalue gives the steeper fall
    v = torch.where(rises.unsqueeze(-1), vectors[..., -1], vectors[..., 0])
    v = torch.cat([v, v.new_zeros(*v.shape[:-1], outer)], dim=-1)
    in_hidden = torch.maximum(high, -low) > tolerance * size

    values, vectors = torch.linalg.eigh(h2[..., :joint, :joint])
    eigenvalue = torch.where(in_hidden, torch.where(rises, high, low), values[..., 0])
    v = torch.where(in_hidden.unsqueeze(-1), v, vectors[..., 0])
    if not (eigenvalue.abs() > tolerance * size).all():
        raise ValueError(
            f"H^(2) of {net} is zero over the weights (up to"
            f" {float((h2.abs().amax((-2, -1)) / size).min()):.1g} of the Hessian): no witness"
            " exists, as for a net that fits its data or is linear in its parameters"
        )
    scaled = (in_hidden & rises).unsqueeze(-1)
    v = torch.cat([v, v.new_zeros(*v.shape[:-1], net.n_parameters - joint)], dim=-1)
    shares = torch.where(scaled, v.new_tensor([0.5, 0.5, 1.0]), v.new_tensor([1.0, -1.0, 0.0]))
    return Witness(
        embedding,
        _on_copies(embedding, unflatten(v, net), shares),
        torch.where(scaled.squeeze(-1), -eigenvalue / 2, 2 * eigenvalue),
        eigenvalue,
        _named(in_hidden.tolist()),
    )


def _on_copies(embedding: Embedding, v: MLP, shares: Tensor) -> MLP:
    """shares[c] * v on copy c of every hidden layer and of the output weights: block-diagonal, as
    the embedding is."""
    wide = embedding.wide
    weights, biases = [], []
    for layer in range(1, v.depth + 1):
        w, b = v.weights[layer - 1], v.biases[layer - 1]
        copies = [shares[..., c, None, None] * w for c in range(3)]
        if layer == 1:
            weights.append(torch.cat(copies, dim=-2))
        elif layer == v.depth:
            weights.append(torch.cat(copies, dim=-1))
        else:
            block = w.new_zeros(*v.batch, wide[layer], wide[layer - 1])
            for c, part in enumerate(copies):
                rows, columns = w.shape[-2:]
                block[..., c * rows : (c + 1) * rows, c * columns : (c + 1) * columns] = part
            weights.append(block)
        if b is None or layer == v.depth:
            biases.append(None if b is None else torch.zeros_like(b))
        else:
            biases.append(torch.cat([shares[..., c, None] * b for c in range(3)], dim=-1))
    return MLP(weights, biases, v.activation)


def _named(in_hidden: bool | list[Any]) -> Block:
    if isinstance(in_hidden, list):
        return [_named(i) for i in in_hidden]
    return "hidden" if in_hidden else "joint"
