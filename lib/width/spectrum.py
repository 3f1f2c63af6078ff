"""What splitting a neuron into equal copies adds to the spectrum of the Hessian, from two small
matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lib.nets import MLP, Loss, preactivations
from lib.nets.checks import check_index, check_neuron, check_single
from lib.nets.dense import check_parameters, check_problem

if TYPE_CHECKING:
    from lib.curvature.signs import Inertia


@dataclass(frozen=True, eq=False)
class SplitSpectrum:
    """The two matrices of one neuron that decide what its copies add.

    Args:
        bend: B = E[(a . e) sigma''(z) u u^T], (*batch, p, p), with u the neuron's inputs (and 1
            where it has a bias), z its pre-activation, a its output weights and e the errors of the
            layer above.
        slope: C = E[sigma'(z) u e^T], (*batch, p, m_{l+1}). At a critical point C a = 0.
    """

    bend: Tensor
    slope: Tensor

    def block(self, copies: int = 2) -> Tensor:
        """[[B / k, C], [C^T, 0]]: the Hessian along any direction in which k equal copies part,
        (*batch, q, q)."""
        check_index("copies", copies)
        if copies < 2:
            raise ValueError(f"copies is {copies!r}: expected an int >= 2")
        corner = self.bend.new_zeros(
            *self.slope.shape[:-2], self.slope.shape[-1], self.slope.shape[-1]
        )
        upper = torch.cat([self.bend / copies, self.slope], dim=-1)
        return torch.cat([upper, torch.cat([self.slope.mT, corner], dim=-1)], dim=-2)

    def inertia(self, **options: Any) -> Inertia:
        """Counts of the eigenvalues that each further copy adds; they do not depend on how many
        there are.

        Args:
            options: as in `lib.curvature.signs`.
        """
        from lib.curvature.signs import inertia

        return inertia(self.block(), **options)

    def parts(self, *, uncertainty: float = 0.0) -> tuple[int, tuple[int, int, int]]:
        """rank C, and the counts (negative, zero, positive) of B on ker C^T, of one net.

        Args:
            uncertainty: how far entries may be off, as for `lib.curvature.inertia`; what a polished
                point leaves of its gradient, over the norm of the neuron's output weights.
        Raises:
            NoSpectralGap: rounding leaves the rank, or a sign, open.
        """
        from lib.curvature.signs import inertia

        inputs = self.slope.shape[-2]
        # one scale for both matrices: at a critical point with one output C is rounding alone
        block = self.block()
        blur = uncertainty + float(torch.finfo(block.dtype).eps * len(block) * block.norm())
        # the singular values of C as eigenvalues, so that one rule says what is zero
        of_slope = SplitSpectrum(torch.zeros_like(self.bend), self.slope).block()
        rank = int(inertia(of_slope, uncertainty=blur).positive)
        if rank == inputs:
            return rank, (0, 0, 0)
        kernel = torch.linalg.svd(self.slope)[0][:, rank:]
        rest = kernel.T @ self.bend @ kernel
        return rank, inertia((rest + rest.T) / 2, uncertainty=blur).counts


def shared_counts(
    rank: int, outputs: int, rest: tuple[int, int, int], shares: Sequence[float | Fraction]
) -> tuple[int, int, int]:
    """What splitting a neuron into copies of any shares adds to (negative, zero, positive).

    Args:
        rank: of C;  outputs: m_{l+1};  rest: the counts of B on ker C^T.
        shares: k numbers that add up to 1.

    >>> shared_counts(0, 1, (0, 0, 2), [0.3, 0.7]), shared_counts(0, 1, (0, 0, 2), [1.3, -0.3])
    ((0, 1, 2), (2, 1, 0))
    """
    k, positive = len(shares), sum(s > 0 for s in shares)
    zero = sum(s == 0 for s in shares)
    down, flat, up = rest
    other = k - positive - zero
    return (
        (k - 1) * rank + (positive - 1) * down + other * up,
        (k - 1) * (outputs - rank) + (k - 1 - zero) * flat + zero * sum(rest),
        (k - 1) * rank + (positive - 1) * up + other * down,
    )


def split_inertia(
    net: MLP,
    x: Tensor,
    y: Tensor,
    loss: Loss,
    layer: int,
    neuron: int,
    shares: Sequence[float | Fraction],
    *,
    uncertainty: float = 0.0,
) -> tuple[int, int, int]:
    """Negative, zero and positive eigenvalues that appear when a neuron is split with any shares.

    With B and C of `split_spectrum`, r = rank C, B restricted to ker C^T, and of the k shares p
    positive, q negative and z zero,

        In(H') - In(H) = (k - 1) (r, m_{l+1} - r, r) + (p - 1) In(B) + q In(-B)
                         + z (0, dim ker C^T, 0),

    at any parameters, critical or not: H' is congruent to H plus its form on the directions with
    sum_i share_i delta_i = 0 and sum_i epsilon_i = 0.

    Args:
        net: one net;  x, y: the sample;  loss: as in `lib.nets.losses`.
        layer, neuron: as in `lib.width.split_into`;  shares: k >= 1 numbers that add up to 1.
        uncertainty: of a polished point, its gradient over the norm of the output weights.
    Returns:
        What In(H') has beyond In(H), each >= 0.
    Raises:
        ValueError: a batch, no such neuron, shares that do not add up to 1.
        NoSpectralGap: rounding leaves rank C or a sign of B open.
    Source: derived in the chapter on certified landscapes; for one output and two copies (Fukumizu
        and Amari 2000, Thm 3).

    >>> from lib.nets import init, mse
    >>> x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    >>> net = init((1, 2, 3), generator=0)
    >>> y = torch.cat([x, x**2, x**3], dim=1)
    >>> split_inertia(net, x, y, mse, 1, 0, [0.5, 0.5]), split_inertia(net, x, y, mse, 1, 0, [1, 0])
    ((2, 1, 2), (2, 1, 2))
    """
    check_single(net)
    if not shares or not abs(float(sum(shares)) - 1) <= 1e-9:
        raise ValueError(f"shares {list(shares)} add up to {float(sum(shares))}: expected 1")
    rank, rest = split_spectrum(net, x, y, loss, layer, neuron).parts(uncertainty=uncertainty)
    return shared_counts(rank, net.widths[layer + 1], rest, shares)


def split_spectrum(
    net: MLP, x: Tensor, y: Tensor, loss: Loss, layer: int, neuron: int
) -> SplitSpectrum:
    """B and C of a neuron, from which the Hessian of its equal splits into k copies follows at any
    point.

    The Hessian H' after the split is orthogonally similar to D H D (+) I_{k-1} (x) [[B/k, C], [C^T,
    0]], where D divides the coordinates of the input weights by sqrt(k), multiplies those of the
    output weights by it, and leaves all others. So

        inertia(H') = inertia(H) + (k - 1) inertia([[B, C], [C^T, 0]]),
        each copy adds   rank C + n_-(B on ker C^T)   negative eigenvalues and
        m_{l+1} - rank C + n_0(B on ker C^T)          zeros.

    At a critical point C a = 0, hence rank C <= m_{l+1} - 1 where the neuron writes, and at least
    one zero appears.

    Args:
        net: one net or a batch;  x, y: the sample;  loss: as in `lib.nets.losses`.
        layer, neuron: as in `lib.width.split`.
    Raises:
        ValueError: no such hidden layer or neuron, or the sample does not fit the net.
    Source: derived in the chapter on width; for one output B is the matrix of (Fukumizu and Amari
        2000, Thm 3).

    >>> from lib.nets import init, mse
    >>> x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    >>> y = torch.cat([x, x**2, x**3], dim=1)
    >>> found = split_spectrum(init((1, 2, 3), generator=0), x, y, mse, 1, 0)
    >>> found.bend.shape, found.slope.shape, found.inertia().counts
    (torch.Size([2, 2]), torch.Size([2, 3]), (2, 1, 2))
    """
    check_neuron(net, layer, neuron)
    check_parameters(net)
    check_problem(net, x, y, loss)
    net, x = net.map(Tensor.detach), x.detach()
    z = preactivations(net, x)
    above = z[layer].detach().requires_grad_()
    with torch.enable_grad():
        out = above
        for w, b in zip(net.weights[layer + 1 :], net.biases[layer + 1 :], strict=True):
            out = net.activation.value(out) @ w.mT
            out = out if b is None else out + b.unsqueeze(-2)
        (errors,) = torch.autograd.grad(loss(out, y).sum(), above)  # nets do not interact
    u = x.expand(*net.batch, *x.shape) if layer == 1 else net.activation.value(z[layer - 2])
    if net.biases[layer - 1] is not None:
        u = torch.cat([u, torch.ones_like(u[..., :1])], dim=-1)
    mine, a = z[layer - 1][..., neuron], net.weights[layer][..., neuron]
    weight = (errors @ a.unsqueeze(-1)).squeeze(-1) * net.activation.second(mine)
    return SplitSpectrum(
        u.mT @ (weight.unsqueeze(-1) * u),
        u.mT @ (net.activation.derivative(mine).unsqueeze(-1) * errors),
    )
