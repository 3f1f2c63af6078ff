"""The family of general compatible embeddings: its parametrisation, random members, and its
dimension."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lib.linear import Rank, jacobian, rank
from lib.nets import MLP, Activation, flatten
from lib.nets.checks import check_layer, finite_number
from lib.width.compatibility import compatible
from lib.width.embeddings import NULL, Embedding, indicator


def random_embedding(
    net: MLP,
    widths: Sequence[int],
    generator: torch.Generator,
    *,
    null: float = 0.25,
    scale: float = 1.0,
) -> Embedding:
    """A random general compatible embedding into nets of those widths.

    Index maps are uniform; beta, the free part of alpha and the effective biases are normal,
    projected on the conditions by `assemble`.

    Args:
        net: any net of the narrow shape.
        widths: (m'_0, ..., m'_L), m'_l >= m_l, with the net's own m_0 and m_L.
        generator: source of randomness.
        null: probability that an additional neuron is null. None is drawn in a layer below one
            without biases when sigma(0) != 0, for none would keep criticality.
        scale: standard deviation of the free coefficients, >= 0.
    Returns:
        An `Embedding`; nothing in it depends on the weights of `net`, on data or on the loss.
    Raises:
        ValueError: impossible widths, null outside [0, 1], or scale < 0.
    Source: (Zhang et al. 2022, Def. 5.2).

    >>> from lib.nets import init
    >>> net, source = init((1, 2, 2, 1), generator=0), torch.Generator().manual_seed(0)
    >>> random_embedding(net, (1, 4, 3, 1), source)
    Embedding(1-2-2-1 into 1-4-3-1, tanh)
    """
    check_layer(net, 1)
    widths = tuple(widths)
    fits = len(widths) == net.depth + 1 and (widths[0], widths[-1]) == (
        net.widths[0],
        net.widths[-1],
    )
    if not fits or any(w < m for w, m in zip(widths, net.widths, strict=True)):
        raise ValueError(
            f"widths {widths}: expected {net.depth + 1} of them, at least {net.widths}, equal at"
            " both ends"
        )
    if not 0 <= null <= 1:
        raise ValueError(f"null is {null}: expected a probability")
    if finite_number("scale", scale) < 0:
        raise ValueError(f"scale is {scale}: expected >= 0")

    def uniform(count: int) -> Tensor:
        return torch.rand(count, generator=generator, dtype=torch.float64)

    def normal(*shape: int) -> Tensor:
        return scale * torch.randn(*shape, generator=generator, dtype=net.dtype)

    at_zero = float(net.activation.value(torch.zeros((), dtype=net.dtype)))
    index = []
    for layer in range(1, net.depth):
        m, extra = net.widths[layer], widths[layer] - net.widths[layer]
        drawn = (uniform(extra) * m).long().clamp_max(m - 1)
        is_null = uniform(extra) < (0 if net.biases[layer] is None and at_zero != 0 else null)
        own = torch.cat([torch.arange(m), torch.where(is_null, NULL, drawn)])
        index.append(own[torch.randperm(len(own), generator=generator)])
    beta = [normal(w) for w in widths[1:-1]]
    alpha = [normal(out, into) for into, out in zip(widths[:-1], widths[1:], strict=True)]
    # A layer without biases, above or at the null neuron, leaves it no other pre-activation than 0.
    free = [
        net.biases[layer - 1] is not None and net.biases[layer] is not None
        for layer in range(1, net.depth)
    ]
    null_bias = [normal(w) * f for w, f in zip(widths[1:-1], free, strict=True)]
    maps = [torch.arange(widths[0]), *index, torch.arange(widths[-1])]
    coefficients, shifts = assemble(maps, net.widths, beta, alpha, null_bias, net.activation)
    # What rounding leaves of a shift that is zero in exact arithmetic
    shifts = [
        s if b is not None else torch.zeros_like(s) for s, b in zip(shifts, net.biases, strict=True)
    ]
    # Drawn on the CPU, so that a seed means the same on every device
    here = net.device
    return compatible(net, index, [c.to(here) for c in coefficients], [s.to(here) for s in shifts])


def assemble(
    maps: Sequence[Tensor],
    narrow: Sequence[int],
    beta: Sequence[Tensor],
    alpha: Sequence[Tensor],
    null_bias: Sequence[Tensor],
    sigma: Activation,
) -> tuple[list[Tensor], list[Tensor]]:
    """Coefficients and shifts that fulfil every condition, from free numbers of the same shapes.

    With S_l the indicator of I_l, beta^[l] shifted so that S_l^T beta^[l] = 1, and B_l =
    diag(beta^[l]) S_l,

        alpha^[l]_ij = beta^[l-1]_j (i, j no null neurons) + [(I - S_l B_l^T) Z (I - S_{l-1} N^{-1}
        S_{l-1}^T)]_ij,

    N the numbers of copies: the first term meets FORWARD and BACKWARD, and the projections keep
        what leaves them so.
    Compatible coefficients are reproduced: a projection, hence a parametrisation of the whole
        family around a member.

    Args:
        maps: I_0..I_L;  narrow: (m_0, ..., m_L).
        beta: L - 1 tensors (m'_l,);  alpha: Z^[1..L], (m'_l, m'_{l-1});  null_bias: b_*, L - 1
            tensors (m'_l,).
    Returns:
        alpha^[1..L] and alpha_b^[1..L].

    >>> from lib.nets.activations import tanh
    >>> maps = [torch.tensor([0]), torch.tensor([0, 0]), torch.tensor([0])]
    >>> free = [torch.zeros(2, 1), torch.tensor([[1.0, 0.0]])]
    >>> assemble(maps, (1, 1, 1), [torch.tensor([0.0, 2.0])], free, [torch.zeros(2)], tanh)[0][1]
    tensor([[-0.5000,  1.5000]])
    """
    members = [indicator(i, m, alpha[0]) for i, m in zip(maps, narrow, strict=True)]
    ones = [torch.ones_like(alpha[0][0]), torch.ones_like(alpha[-1][:, 0])]
    shares = [
        ones[0],
        *(_shift_to_one(s, b) for s, b in zip(members[1:-1], beta, strict=True)),
        ones[1],
    ]
    pre = [torch.zeros_like(ones[0]), *null_bias, torch.zeros_like(ones[1])]
    coefficients, shifts = [], []
    for layer in range(1, len(maps)):
        below, here = members[layer - 1], members[layer]
        z = alpha[layer - 1] - here @ ((here * shares[layer].unsqueeze(-1)).mT @ alpha[layer - 1])
        z = z - ((z @ below) / below.sum(0)) @ below.mT
        base = (here.sum(-1).unsqueeze(-1) * below.sum(-1)) * shares[layer - 1]
        a = base + z
        constant = torch.where(maps[layer - 1] == NULL, sigma.value(pre[layer - 1]), 0.0)
        coefficients.append(a)
        shifts.append(torch.where(maps[layer] == NULL, pre[layer], 0.0) - a @ constant)
    return coefficients, shifts


def general_dimension(narrow: Sequence[int], wide: Sequence[int]) -> int:
    """K + sum_l K_l K_{l-1} with K_l = m'_l - m_l and K = sum_l K_l: the family's dimension, for
    nets with biases.

    Raises:
        ValueError: other depths, narrower widths, or other in- or outputs.
    Source: (Zhang et al. 2022, Sec. 5.3).

    >>> general_dimension((1, 2, 2, 1), (1, 3, 4, 1))
    5
    """
    extra = [w - m for m, w in zip(narrow, wide, strict=False)]
    if len(narrow) != len(wide) or min(extra) < 0 or extra[0] or extra[-1]:
        raise ValueError(
            f"widths {tuple(wide)}: expected at least {tuple(narrow)}, equal at both ends"
        )
    return sum(extra) + sum(a * b for a, b in zip(extra[:-1], extra[1:], strict=True))


def tangents(embedding: Embedding, net: MLP) -> Tensor:
    """Directions along which the wide net moves within the general compatible embeddings of `net`,
    (rows, M').

    The rows span the tangent space; each is the derivative of the wide net by one free number of
    `assemble`. At a critical net they all lie in the kernel of the wide Hessian.

    Args:
        embedding: unbatched;  net: one net.
    Raises:
        ValueError: a batch.

    >>> from lib.nets import init
    >>> net = init((1, 2, 1), generator=0)
    >>> tangents(random_embedding(net, (1, 3, 1), torch.Generator().manual_seed(0)), net).shape
    torch.Size([12, 10])
    """
    if net.batch or any(a.dim() > 2 for a in embedding.coefficients):
        raise ValueError(
            f"got {net} and {embedding}: expected one net and coefficients without batch dimensions"
        )
    maps, narrow, sigma = embedding.index, embedding.narrow, embedding.activation
    inner = range(1, len(maps) - 1)
    # Null neurons may move where a bias sets their pre-activation and the layer above has biases;
    # else it is pinned.
    movable = [embedding.has_bias[layer - 1] and embedding.has_bias[layer] for layer in inner]
    beta = [embedding.beta[layer].detach().requires_grad_() for layer in inner]
    alpha = [a.detach().requires_grad_() for a in embedding.coefficients]
    null_bias = [embedding.null_bias[layer].detach().requires_grad_() for layer in inner]
    pinned = [b if m else b.detach() for b, m in zip(null_bias, movable, strict=True)]
    with torch.enable_grad():
        wide = embedding.with_coefficients(*assemble(maps, narrow, beta, alpha, pinned, sigma))(net)
        return jacobian(flatten(wide), [*beta, *alpha, *null_bias]).mT


def tangent_dimension(embedding: Embedding, net: MLP) -> Rank:
    """The numerical rank of `tangents`, to compare with `general_dimension`; less where weights of
    `net` vanish.

    >>> from lib.nets import init
    >>> net = init((1, 2, 2, 1), generator=0)
    >>> wide = random_embedding(net, (1, 3, 4, 1), torch.Generator().manual_seed(0))
    >>> int(tangent_dimension(wide, net).value)
    5
    """
    return rank(tangents(embedding, net))


def _shift_to_one(member: Tensor, beta: Tensor) -> Tensor:
    """beta, shifted equally within the copies of each neuron to add up to 1 there, and 0 on null
    neurons."""
    gap = (1 - beta @ member) / member.sum(0)
    return (beta + member @ gap) * member.sum(-1)
