"""The conditions under which index maps and coefficients make a critical embedding, checked one by one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lib.mlp import MLP
from lib.width.checks import real
from lib.width.embedding import NULL, Embedding, indicator


def compatible(
    net: MLP,
    index: Sequence[Sequence[int] | Tensor],
    coefficients: Sequence[Tensor],
    shifts: Sequence[Tensor] | None = None,
    *,
    tolerance: float = 1e-10,
) -> Embedding:
    """The general compatible embedding of those index maps and coefficients, after checking every condition.

    FORWARD   sum over copies j of s of alpha_ij = 1 (i no null neuron), = 0 (i null), for each s;
    BACKWARD  sum over copies i of k of beta_i alpha_ij = beta_j (j no null neuron), = 0 (j null), for each k; beta^[L] = 1;
    NULL      sum over null j of alpha_ij sigma(b_*j) + alpha_b,i = 0 (i no null neuron), = b_*i (i null);
    BIAS      sigma(b_*j) = 0 where the next layer has no biases (the theorem assumes them: the gradient of W'_ij is
              sigma(b_*j) times that of the bias).

    NULL is weaker than the paper's Condition II, which also asks alpha_b,i = 0 for i that are no null neurons; its
    proof does not need that, and its dimension count has it free.

    Args:
        net: any net of the narrow shape (its values do not matter).
        index: I_1..I_{L-1}, each m'_l numbers in 0..m_l-1 or NULL, every narrow neuron at least once.
        coefficients: alpha^[1..L], (*batch, m'_l, m'_{l-1}).
        shifts: alpha_b^[1..L], (*batch, m'_l); zeros by default.
        tolerance: relative to 1 + the sum of the summands' absolute values.
    Returns:
        The `Embedding`, with its beta and b_*.
    Raises:
        ValueError: shapes do not match; or a condition is violated (each violation is named with layer, neuron, the
            sum found and the one expected).
    Source: (Zhang et al. 2022, Def. 5.1, 5.2 and Thm 5.1).

    >>> from lib.mlp import init
    >>> net, ones = init((1, 1, 1)), torch.ones(2, 1, dtype=torch.float64)
    >>> compatible(net, [[0, 0]], [ones, torch.tensor([[0.25, 0.75]], dtype=torch.float64)])
    Embedding(1-1-1 into 1-2-1, tanh)
    >>> compatible(net, [[0, 0]], [ones, torch.tensor([[0.25, 0.5]], dtype=torch.float64)])
    Traceback (most recent call last):
    ...
    ValueError: not compatible: FORWARD, layer 2, neuron 0: coefficients on the copies of neuron 0 of layer 1 add up to 0.75, expected 1
    """
    maps = _index_maps(net, index)
    alpha, shift = _coefficients(net, maps, coefficients, shifts)
    sigma, depth = net.activation, net.depth
    found: list[str] = []

    def compare(kind: str, got: Tensor, expected: Tensor, size: Tensor, say) -> None:
        bad = ((got - expected).abs() > tolerance * (1 + size)).reshape(-1, *got.shape[-2:])
        for a, b in bad.any(0).nonzero().tolist():
            g = got.reshape(-1, *got.shape[-2:])[:, a, b]
            e = expected.expand_as(got).reshape(-1, *got.shape[-2:])[:, a, b]
            worst = (g - e).abs().argmax()
            found.append(f"{kind}, {say(a, b)} {float(g[worst]):.6g}, expected {float(e[worst]):.6g}")

    null_bias = [torch.zeros_like(maps[0], dtype=net.dtype)]
    for layer in range(1, depth + 1):
        rows, columns, a = maps[layer], maps[layer - 1], alpha[layer - 1]
        member = indicator(columns, net.widths[layer - 1], a)
        compare(
            "FORWARD",
            a @ member,
            (rows != NULL).to(a).unsqueeze(-1),
            a.abs() @ member,
            lambda i, s, at=layer: f"layer {at}, neuron {i}: coefficients on the copies of neuron {s} of layer {at - 1} add up to",
        )
        constant = torch.where(columns == NULL, sigma.value(null_bias[-1]), 0.0)
        into = (a @ constant.unsqueeze(-1)).squeeze(-1) + shift[layer - 1]
        size = (a.abs() @ constant.abs().unsqueeze(-1)).squeeze(-1) + shift[layer - 1].abs()
        free = into.masked_fill(rows == NULL, 0.0).unsqueeze(-1)
        compare(
            "NULL",
            free,
            torch.zeros_like(free),
            size.unsqueeze(-1),
            lambda i, _, at=layer: f"layer {at}, neuron {i}: what null neurons of layer {at - 1} feed it plus its shift is",
        )
        if net.biases[layer - 1] is None:
            compare(
                "BIAS",
                constant.unsqueeze(-1),
                torch.zeros_like(constant).unsqueeze(-1),
                torch.zeros_like(constant).unsqueeze(-1),
                lambda j, _, at=layer: f"layer {at} has no biases and sigma(b_*) of null neuron {j} of layer {at - 1} is",
            )
        null_bias.append(torch.where(rows == NULL, into, 0.0))

    beta = [torch.ones(net.widths[-1], dtype=net.dtype, device=net.device)]
    for layer in range(depth, 0, -1):
        rows, columns, a = maps[layer], maps[layer - 1], alpha[layer - 1]
        weighted = beta[0].unsqueeze(-1) * a  # beta_i alpha_ij
        member = indicator(rows, net.widths[layer], a)
        sums, size = member.mT @ weighted, member.mT @ weighted.abs()
        below = torch.where(columns == NULL, 0.0, sums.mean(-2))
        compare(
            "BACKWARD",
            sums,
            torch.where(columns == NULL, 0.0, sums[..., :1, :]),
            size,
            lambda k, j, at=layer: (
                f"layer {at}, from neuron {j} of layer {at - 1} to the copies of neuron {k}: beta-weighted coefficients add up to"
            ),
        )
        beta.insert(0, below)
    if found:
        more = f"; and {len(found) - 4} more" if len(found) > 4 else ""
        raise ValueError("not compatible: " + "; ".join(found[:4]) + more)
    has_bias = tuple(b is not None for b in net.biases)
    return Embedding(maps, alpha, shift, tuple(beta), tuple(null_bias), sigma, has_bias)


def _index_maps(net: MLP, index: Sequence[Sequence[int] | Tensor]) -> tuple[Tensor, ...]:
    if len(index) != net.depth - 1:
        raise ValueError(f"got {len(index)} index maps: expected {net.depth - 1}, one a hidden layer of {net}")
    maps = [torch.arange(net.widths[0], device=net.device)]
    for layer, given in enumerate(index, start=1):
        i, width = torch.as_tensor(given, device=net.device), net.widths[layer]
        if i.dim() != 1 or i.dtype != torch.int64:
            raise ValueError(f"index map of layer {layer} has shape {tuple(i.shape)}, {i.dtype}: expected (m',), int64")
        outside = i[(i != NULL) & ((i < 0) | (i >= width))].tolist()
        if outside:
            raise ValueError(f"index map of layer {layer} holds {outside}: expected 0..{width - 1} or NULL ({NULL})")
        missing = sorted(set(range(width)) - set(i.tolist()))
        if missing:
            raise ValueError(f"index map of layer {layer} leaves out neurons {missing}: expected a copy of every neuron")
        maps.append(i)
    return (*maps, torch.arange(net.widths[-1], device=net.device))


def _coefficients(
    net: MLP, maps: Sequence[Tensor], coefficients: Sequence[Tensor], shifts: Sequence[Tensor] | None
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    zeros = [torch.zeros_like(i, dtype=net.dtype) for i in maps[1:]]
    shifts = zeros if shifts is None else shifts
    if len(coefficients) != net.depth or len(shifts) != net.depth:
        raise ValueError(f"got coefficients of {len(coefficients)} layers, shifts of {len(shifts)}: expected {net.depth} each")
    for layer in range(1, net.depth + 1):
        shape = (len(maps[layer]), len(maps[layer - 1]))
        for name, t, dims in (("coefficients", coefficients, shape), ("shifts", shifts, shape[:1])):
            value = real(f"{name} of layer {layer}", t[layer - 1], net, trailing=len(dims))
            if value.shape[value.dim() - len(dims) :] != dims:
                raise ValueError(f"{name} of layer {layer} have shape {tuple(value.shape)}: expected (*batch) + {dims}")
        if net.biases[layer - 1] is None and (shifts[layer - 1] != 0).any():
            raise ValueError(f"layer {layer} has no biases: expected shifts 0, got {float(shifts[layer - 1].abs().max()):g}")
    return tuple(coefficients), tuple(shifts)
