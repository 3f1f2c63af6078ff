"""The conditions under which index maps and coefficients make a critical embedding, checked one by
one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lib.nets import MLP
from lib.nets.checks import finite_number, real
from lib.nets.dense import check_precise
from lib.width.embeddings import NULL, Embedding, indicator

SHOWN = 4  # violations spelled out in one message


def compatible(
    net: MLP,
    index: Sequence[Sequence[int] | Tensor],
    coefficients: Sequence[Tensor],
    shifts: Sequence[Tensor] | None = None,
    *,
    tolerance: float | None = None,
) -> Embedding:
    """The general compatible embedding of those index maps and coefficients, after checking every
    condition.

    FORWARD   sum over copies j of s of alpha_ij = 1 (i no null neuron), = 0 (i null), for each s;
    BACKWARD  sum over copies i of k of beta_i alpha_ij = beta_j (j no null neuron), = 0 (j null),
    for each k;
              beta^[L] = 1;
    NULL      sum over null j of alpha_ij sigma(b_*j) + alpha_b,i = 0 (i no null neuron), = b_*i (i
    null); BIAS      sigma(b_*j) = 0 where the next layer has no biases (the theorem assumes them:
    the gradient of W'_ij
              is sigma(b_*j) times that of the bias).

    NULL is weaker than the paper's Condition II, which also asks alpha_b,i = 0 for i that are no
    null neurons; its proof does not need that, and its dimension count has it free.

    Args:
        net: any net of the narrow shape (its values do not matter).
        index: I_1..I_{L-1}, each m'_l numbers in 0..m_l-1 or NULL, every narrow neuron at least
            once.
        coefficients: alpha^[1..L], (*batch, m'_l, m'_{l-1}).
        shifts: alpha_b^[1..L], (*batch, m'_l); zeros by default.
        tolerance: relative to 1 + the sum of the summands' absolute values; by default 1e-10, or
            256 roundings of the net's dtype where these are more.
    Returns:
        The `Embedding`, with its beta and b_*.
    Raises:
        ValueError: shapes do not match; or a condition is violated (each violation is named with
            layer, neuron, the sum found and the one expected).
    Source: (Zhang et al. 2022, Def. 5.1, 5.2 and Thm 5.1).

    >>> from lib.nets import init
    >>> net, ones = init((1, 1, 1), generator=0), torch.ones(2, 1, dtype=torch.float64)
    >>> compatible(net, [[0, 0]], [ones, torch.tensor([[0.25, 0.75]], dtype=torch.float64)])
    Embedding(1-1-1 into 1-2-1, tanh)
    >>> compatible(net, [[0, 0]], [ones, torch.tensor([[0.25, 0.5]], dtype=torch.float64)])
    ... # doctest: +NORMALIZE_WHITESPACE
    Traceback (most recent call last):
    ...
    ValueError: not compatible: FORWARD, layer 2, neuron 0: coefficients on copies of neuron 0 of
        layer 1 add up to
    0.75, expected 1
    """
    check_precise("the net", net.dtype)
    maps = _index_maps(net, index)
    alpha, shift = _coefficients(net, maps, coefficients, shifts)
    if tolerance is None:
        tolerance = max(1e-10, 256 * torch.finfo(net.dtype).eps)
    tests = _Tests(finite_number("tolerance", tolerance))
    _forward(net, maps, alpha, tests)
    null_bias = _null_bias(net, maps, alpha, shift, tests)
    beta = _backward(net, maps, alpha, tests)
    if tests.violations:
        shown = tests.violations[:SHOWN]
        more = len(tests.violations) - len(shown)
        raise ValueError(
            "not compatible: " + "; ".join(shown) + (f"; and {more} more" if more else "")
        )
    has_bias = tuple(b is not None for b in net.biases)
    return Embedding(maps, alpha, shift, beta, null_bias, net.activation, has_bias)


class _Tests:
    """Compares sums with what a condition expects, and words every violation."""

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self.violations: list[str] = []

    def compare(
        self, got: Tensor, expected: Tensor, size: Tensor, words: Callable[[int, int], str]
    ) -> None:
        """got against expected, (*batch, a, b), where size is the sum of the summands' absolute
        values."""
        excess = (got - expected).abs() - self.tolerance * (1 + size)
        flat = excess.reshape(-1, *got.shape[-2:])
        values = [t.expand_as(got).reshape(flat.shape) for t in (got, expected)]
        for a, b in (flat > 0).any(0).nonzero().tolist():
            worst = flat[:, a, b].argmax()
            found, wanted = (float(t[worst, a, b]) for t in values)
            self.violations.append(f"{words(a, b)} {found:.6g}, expected {wanted:.6g}")


def _forward(net: MLP, maps: Sequence[Tensor], alpha: Sequence[Tensor], tests: _Tests) -> None:
    for layer, a in enumerate(alpha, start=1):
        member = indicator(maps[layer - 1], net.widths[layer - 1], a)
        wanted = (maps[layer] != NULL).to(a).unsqueeze(-1)

        def words(i: int, s: int, layer: int = layer) -> str:
            source = f"copies of neuron {s} of layer {layer - 1}"
            return f"FORWARD, layer {layer}, neuron {i}: coefficients on {source} add up to"

        tests.compare(a @ member, wanted, a.abs() @ member, words)


def _null_bias(
    net: MLP,
    maps: Sequence[Tensor],
    alpha: Sequence[Tensor],
    shift: Sequence[Tensor],
    tests: _Tests,
) -> tuple[Tensor, ...]:
    null_bias = [torch.zeros_like(maps[0], dtype=net.dtype)]
    for layer, (a, b) in enumerate(zip(alpha, shift, strict=True), start=1):
        rows, columns = maps[layer], maps[layer - 1]
        constant = torch.where(columns == NULL, net.activation.value(null_bias[-1]), 0.0).unsqueeze(
            -1
        )
        into, size = (
            a @ constant + b.unsqueeze(-1),
            a.abs() @ constant.abs() + b.abs().unsqueeze(-1),
        )
        null_bias.append(torch.where(rows == NULL, into.squeeze(-1), 0.0))
        stray = into.masked_fill((rows == NULL).unsqueeze(-1), 0.0)

        def words(i: int, _: int, layer: int = layer) -> str:
            return (
                f"NULL, layer {layer}, neuron {i}: what null neurons of layer {layer - 1} feed it,"
                " with its shift, is"
            )

        tests.compare(stray, torch.zeros_like(stray), size, words)
        if net.biases[layer - 1] is None:

            def unbiased(j: int, _: int, layer: int = layer) -> str:
                return (
                    f"BIAS, layer {layer} has no biases: sigma(b_*) of null neuron {j} of layer"
                    f" {layer - 1} is"
                )

            tests.compare(
                constant, torch.zeros_like(constant), torch.zeros_like(constant), unbiased
            )
    return tuple(null_bias)


def _backward(
    net: MLP, maps: Sequence[Tensor], alpha: Sequence[Tensor], tests: _Tests
) -> tuple[Tensor, ...]:
    beta = [torch.ones(net.widths[-1], dtype=net.dtype, device=net.device)]
    for layer in range(net.depth, 0, -1):
        is_null = maps[layer - 1] == NULL
        member = indicator(maps[layer], net.widths[layer], alpha[layer - 1])
        weighted = beta[0].unsqueeze(-1) * alpha[layer - 1]  # beta_i alpha_ij
        sums = member.mT @ weighted

        def words(k: int, j: int, layer: int = layer) -> str:
            source = (
                f"{'null ' if maps[layer - 1][j] == NULL else ''}neuron {j} of layer {layer - 1}"
            )
            return (
                f"BACKWARD, layer {layer}, {source} to the copies of neuron {k}: beta-weighted"
                " coefficients add up to"
            )

        # One beta_j has to serve every k: the sums are compared with the first.
        tests.compare(
            sums, sums[..., :1, :].masked_fill(is_null, 0.0), member.mT @ weighted.abs(), words
        )
        beta.insert(0, torch.where(is_null, 0.0, sums.mean(-2)))
    return tuple(beta)


def _index_maps(net: MLP, index: Sequence[Sequence[int] | Tensor]) -> tuple[Tensor, ...]:
    if len(index) != net.depth - 1:
        raise ValueError(
            f"got {len(index)} index maps: expected {net.depth - 1}, one a hidden layer of {net}"
        )
    maps = [torch.arange(net.widths[0], device=net.device)]
    for layer, given in enumerate(index, start=1):
        i, width = torch.as_tensor(given, device=net.device), net.widths[layer]
        if i.dim() != 1 or i.dtype != torch.int64:
            raise ValueError(
                f"index map of layer {layer} has shape {tuple(i.shape)}, {i.dtype}: expected (m',),"
                " int64"
            )
        outside = i[(i != NULL) & ((i < 0) | (i >= width))].tolist()
        if outside:
            raise ValueError(
                f"index map of layer {layer} holds {outside}: expected 0..{width - 1} or NULL"
                f" ({NULL})"
            )
        missing = sorted(set(range(width)) - set(i.tolist()))
        if missing:
            raise ValueError(
                f"index map of layer {layer} leaves out neurons {missing}: expected a copy of every"
                " neuron"
            )
        maps.append(i)
    return (*maps, torch.arange(net.widths[-1], device=net.device))


def _coefficients(
    net: MLP,
    maps: Sequence[Tensor],
    coefficients: Sequence[Tensor],
    shifts: Sequence[Tensor] | None,
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    zeros = [torch.zeros_like(i, dtype=net.dtype) for i in maps[1:]]
    shifts = zeros if shifts is None else shifts
    if len(coefficients) != net.depth or len(shifts) != net.depth:
        raise ValueError(
            f"got coefficients of {len(coefficients)} layers, shifts of {len(shifts)}: expected"
            f" {net.depth} each"
        )
    for layer in range(1, net.depth + 1):
        shape = (len(maps[layer]), len(maps[layer - 1]))
        for name, t, dims in (("coefficients", coefficients, shape), ("shifts", shifts, shape[:1])):
            value = real(f"{name} of layer {layer}", t[layer - 1], net, trailing=len(dims))
            if value.shape[value.dim() - len(dims) :] != dims:
                raise ValueError(
                    f"{name} of layer {layer} have shape {tuple(value.shape)}: expected (*batch) +"
                    f" {dims}"
                )
        if net.biases[layer - 1] is None and (shifts[layer - 1] != 0).any():
            raise ValueError(
                f"layer {layer} has no biases: expected shifts 0, got"
                f" {float(shifts[layer - 1].abs().max()):g}"
            )
    return tuple(coefficients), tuple(shifts)
