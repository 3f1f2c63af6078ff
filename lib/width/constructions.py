"""Named embeddings as `Embedding`s: compositions of steps, and the two global ones of the long
paper."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lib.nets import MLP
from lib.nets.checks import check_layer, check_neuron, real
from lib.nets.dense import as_dense
from lib.width.compatibility import compatible
from lib.width.embeddings import NULL, Embedding
from lib.width.steps import Step


def embedding(net: MLP | nn.Sequential, steps: Sequence[Step]) -> Embedding:
    """The `Embedding` that `embed(net, steps)` applies, with its gradient transport.

    Each step copies a column of index and coefficients, as it copies a neuron; the shares multiply.

    Args, Raises: as `embed`.

    >>> from lib.nets import init
    >>> embedding(init((1, 2, 1), generator=0), [(1, 0, 0.25), (1, None, 0.5)]).beta[1]
    tensor([0.7500, 1.0000, 0.2500, 0.0000], dtype=torch.float64)
    """
    net = as_dense(net)
    index = [torch.arange(m, device=net.device) for m in net.widths]
    like = net.weights[0]
    alpha = [like.new_ones(w.shape[-2:]) for w in net.weights]
    shift = [like.new_zeros(w.shape[-2]) for w in net.weights]
    for count, (layer, neuron, number) in enumerate(steps, start=1):
        try:
            check_layer(net, layer)
            number = real("alpha" if neuron is not None else "bias", number, net)
            if neuron is not None:
                check_neuron(net, layer, neuron, width=len(index[layer]))
        except (TypeError, ValueError) as error:
            raise type(error)(f"step {count}: {error}") from error
        into, out, b = alpha[layer - 1], alpha[layer], shift[layer - 1]
        if neuron is None:
            new, row, bias = NULL, torch.zeros_like(into[..., :1, :]), number.unsqueeze(-1)
            column = torch.zeros_like(out[..., :1])
        else:
            new, row, bias = (
                int(index[layer][neuron]),
                into[..., neuron : neuron + 1, :],
                b[..., neuron : neuron + 1],
            )
            share = number[..., None, None]
            column, rest = (
                share * out[..., neuron : neuron + 1],
                (1 - share) * out[..., neuron : neuron + 1],
            )
            here = torch.arange(out.shape[-1], device=net.device) == neuron
            out = torch.where(here, rest, out)
        index[layer] = torch.cat([index[layer], torch.tensor([new], device=net.device)])
        alpha[layer - 1] = torch.cat([into, row], dim=-2)
        alpha[layer] = _join(out, column)
        shift[layer - 1] = _join(b, bias)
    return compatible(net, index[1:-1], alpha, shift)


def three_fold(net: MLP) -> Embedding:
    """Three-fold global splitting: three copies of the hidden layers side by side, W'^[L] = [W^[L],
    W^[L], -W^[L]].

    Source: (Zhang et al. 2022, Ex. 5.1).

    >>> from lib.nets import init
    >>> three_fold(init((1, 2, 2, 1), generator=0))
    Embedding(1-2-2-1 into 1-6-6-1, tanh)
    """
    check_layer(net, 1)
    index = [torch.arange(m, device=net.device).repeat(3) for m in net.widths[1:-1]]
    return compatible(net, index, _blocks(net, hidden=(1.0, 1.0, 1.0), last=(1.0, 1.0, -1.0)))


def two_fold_null(net: MLP, biases: Sequence[Tensor]) -> Embedding:
    """Two-fold global null embedding: beside the net a second copy of its hidden layers whose
    weights are all zero.

    W'^[L] = [W^[L], 0]; the second copy's biases are arbitrary.

    Args:
        biases: L - 1 tensors (*batch, m_l).
    Raises:
        ValueError: wrong number or shapes; or non-zero features of null neurons under a layer
            without biases.
    Source: (Zhang et al. 2022, Ex. 5.2).

    >>> from lib.nets import init
    >>> biases = [torch.tensor([0.3, -2.0], dtype=torch.float64)]
    >>> two_fold_null(init((1, 2, 1), generator=0), biases)
    Embedding(1-2-1 into 1-4-1, tanh)
    """
    check_layer(net, 1)
    if len(biases) != net.depth - 1:
        raise ValueError(
            f"got biases of {len(biases)} layers: expected {net.depth - 1}, one a hidden layer of"
            f" {net}"
        )
    index, shift = [], []
    for layer, given in enumerate(biases, start=1):
        b, width = real(f"biases of layer {layer}", given, net, trailing=1), net.widths[layer]
        if b.shape[-1] != width:
            raise ValueError(f"biases of layer {layer} are {b.shape[-1]}: expected {width}")
        own = torch.arange(width, device=net.device)
        index.append(torch.cat([own, torch.full_like(own, NULL)]))
        shift.append(torch.cat([torch.zeros_like(b), b], dim=-1))
    shift.append(net.weights[0].new_zeros(net.widths[-1]))
    return compatible(net, index, _blocks(net, hidden=(1.0, 0.0), last=(1.0, 0.0)), shift)


def _blocks(net: MLP, hidden: Sequence[float], last: Sequence[float]) -> list[Tensor]:
    """Coefficients of copies side by side: copy c reads copy c with hidden[c], the output reads it
    with last[c]."""
    between, out = net.weights[0].new_tensor(hidden), net.weights[0].new_tensor(last)
    blocks = [between.unsqueeze(-1), *[torch.diag(between)] * (net.depth - 2), out.unsqueeze(0)]
    return [
        torch.kron(block, torch.ones_like(block[0, 0]).expand(w.shape[-2:]))
        for block, w in zip(blocks, net.weights, strict=True)
    ]


def _join(t: Tensor, last: Tensor) -> Tensor:
    """cat along the last dimension, batch dimensions broadcast."""
    batch = torch.broadcast_shapes(t.shape[:-1], last.shape[:-1])
    return torch.cat([t.expand(*batch, t.shape[-1]), last.expand(*batch, last.shape[-1])], dim=-1)
