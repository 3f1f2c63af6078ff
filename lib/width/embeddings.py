"""Embeddings as data: index maps and coefficients, the net they give, and the gradient they
transport."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lib.nets import MLP, Activation

NULL = -1  # the index of a null neuron; the papers write 0 and count neurons from 1


@dataclass(frozen=True, eq=False)
class Embedding:
    """A general compatible embedding, theta -> A theta + c, built by `compatible` (which checks
    it).

    W'^[l]_ij = alpha^[l]_ij W^[l]_{I_l(i),I_{l-1}(j)},  b'^[l]_i = alpha_b^[l]_i + b^[l]_{I_l(i)},

    where an entry of W with a null index reads 1 and one of b reads 0.

    Args:
        index: I_0..I_L, int64 (m'_l,): the neuron of the narrow net that each wide neuron stems
            from, or NULL.
        coefficients: alpha^[1..L], (*batch, m'_l, m'_{l-1}).
        shifts: alpha_b^[1..L], (*batch, m'_l); zero for a layer without biases.
        beta: beta^[0..L], (*batch, m'_l): errors of wide neurons are beta times those of the narrow
            ones; 0 for null.
        null_bias: b_*^[0..L], (*batch, m'_l): the constant pre-activation of null neurons; 0 for
            the others.
        activation: sigma;  has_bias: which layers have biases.
    """

    index: tuple[Tensor, ...]
    coefficients: tuple[Tensor, ...]
    shifts: tuple[Tensor, ...]
    beta: tuple[Tensor, ...]
    null_bias: tuple[Tensor, ...]
    activation: Activation
    has_bias: tuple[bool, ...]

    @property
    def narrow(self) -> tuple[int, ...]:
        """(m_0, ..., m_L)."""
        return tuple(int(i.max()) + 1 for i in self.index)

    @property
    def wide(self) -> tuple[int, ...]:
        """(m'_0, ..., m'_L)."""
        return tuple(len(i) for i in self.index)

    def __call__(self, net: MLP) -> MLP:
        """The wide net.

        Raises:
            ValueError: the net has other widths, biases or another activation.
        """
        self._check(net)
        weights, biases = [], []
        for layer in range(1, net.depth + 1):
            w = _gather(net.weights[layer - 1], self.index[layer], self.index[layer - 1], null=1.0)
            weights.append(self.coefficients[layer - 1] * w)
            b = net.biases[layer - 1]
            biases.append(
                None
                if b is None
                else self.shifts[layer - 1] + _pick(b, self.index[layer], null=0.0)
            )
        return _chained(weights, biases, net.activation)

    def transport(self, gradient: MLP) -> MLP:
        """C: the risk's gradient at the wide net from that at the narrow one, grad R'(A theta +
        c) = C grad R(theta).

        grad W'_ij = beta_i grad W_{I(i)I(j)}, or beta_i sigma(b_*j) grad b_{I(i)} for null j;
        grad b'_i = beta_i grad b_{I(i)}; both 0 for null i.
        """
        self._check(gradient)
        weights, biases = [], []
        for layer in range(1, gradient.depth + 1):
            rows, columns = self.index[layer], self.index[layer - 1]
            beta = self.beta[layer]
            w = _gather(gradient.weights[layer - 1], rows, columns, null=0.0)
            b = gradient.biases[layer - 1]
            if b is not None:
                b = _pick(b, rows, null=0.0)
                constant = torch.where(
                    columns == NULL, self.activation.value(self.null_bias[layer - 1]), 0.0
                )
                w = w + b.unsqueeze(-1) * constant.unsqueeze(-2)
            weights.append(beta.unsqueeze(-1) * w)
            biases.append(None if b is None else beta * b)
        return _chained(weights, biases, gradient.activation)

    def with_coefficients(
        self, coefficients: Sequence[Tensor], shifts: Sequence[Tensor]
    ) -> Embedding:
        """The same index maps with other coefficients, unchecked; beta and null_bias are kept and
        may not fit."""
        return replace(self, coefficients=tuple(coefficients), shifts=tuple(shifts))

    def _check(self, net: MLP) -> None:
        has_bias = tuple(b is not None for b in net.biases)
        if (net.widths, has_bias, net.activation) != (self.narrow, self.has_bias, self.activation):
            raise ValueError(
                f"got {net} with biases {has_bias}: expected widths {self.narrow},"
                f" {self.activation!r} and biases {self.has_bias}"
            )

    def __repr__(self) -> str:
        return (
            f"Embedding({'-'.join(map(str, self.narrow))} into {'-'.join(map(str, self.wide))},"
            f" {self.activation!r})"
        )


def indicator(index: Tensor, width: int, like: Tensor) -> Tensor:
    """S with S_is = 1 where I(i) = s: (m', m), zero rows for null neurons.

    >>> indicator(torch.tensor([1, NULL]), 2, torch.zeros(1))
    tensor([[0., 1.],
            [0., 0.]])
    """
    return (index.unsqueeze(-1) == torch.arange(width, device=index.device)).to(like)


def _gather(w: Tensor, rows: Tensor, columns: Tensor, null: float) -> Tensor:
    picked = w.index_select(-2, rows.clamp_min(0)).index_select(-1, columns.clamp_min(0))
    return torch.where((rows == NULL).unsqueeze(-1) | (columns == NULL), null, picked)


def _pick(b: Tensor, rows: Tensor, null: float) -> Tensor:
    return torch.where(rows == NULL, null, b.index_select(-1, rows.clamp_min(0)))


def _chained(weights: list[Tensor], biases: list[Tensor | None], sigma: Activation) -> MLP:
    # Coefficients of some layers may have batch dimensions that others lack: one batch for all.
    batch = torch.broadcast_shapes(
        *(w.shape[:-2] for w in weights), *(b.shape[:-1] for b in biases if b is not None)
    )
    return MLP(
        [w.expand(*batch, *w.shape[-2:]) for w in weights],
        [None if b is None else b.expand(*batch, b.shape[-1]) for b in biases],
        sigma,
    )
