"""An affine map as a product through a layer whose data lie inside affine pieces: the algebra of
lifting in depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.depth.pieces import all_pieces, place
from lib.nets import Activation
from lib.nets.checks import check_index, finite_number
from lib.nets.dense import check_kept, check_precise

Pieces = int | Sequence[int] | None


@dataclass(frozen=True)
class Factors:
    """An affine map b + W f written as c + A sigma(W' f + b') on the data.

    Args:
        weight_in: W', (*batch, width, m_q);  bias_in: b', (*batch, width).
        weight_out: A, (*batch, m_{q+1}, width);  bias_out: c, (*batch, m_{q+1}).
    """

    weight_in: Tensor
    bias_in: Tensor
    weight_out: Tensor
    bias_out: Tensor


def factor(
    weight: Tensor,
    bias: Tensor,
    f: Tensor,
    width: int,
    sigma: Activation,
    *,
    generator: torch.Generator,
    pieces: Pieces = None,
    margin: float = 0.5,
) -> Factors:
    """A random factorisation W = A diag(slope) W', b = A (slope * b' + shift) + c with the data
    inside affine pieces.

    diag(slope) W' (or A, when m_{q+1} <= width < m_q) has orthonormal singular vectors drawn
    uniformly and singular values uniform in [1/2, 2]; the other factor is the pseudo-inverse
    solution plus Gaussian noise in the null space.

    Args:
        weight: W, (*batch, m_{q+1}, m_q);  bias: b, (*batch, m_{q+1});  f: the layer's inputs
            (*batch, n, m_q).
        width: >= min(m_q, m_{q+1}).
        pieces: index into `sigma.pieces`, one for all neurons or one each, or None: at random.
        margin: least distance of a pre-activation from the end of its piece, in units of the
            neuron's own range over the data (1 for a neuron constant on them), > 0.
    Raises:
        ValueError: width, pieces or margin are impossible, sigma has no affine piece, or rounding
            breaks the factorisation.  TypeError: neither float32 nor float64.

    >>> from lib.nets.activations import relu
    >>> draws, f = torch.Generator().manual_seed(0), torch.tensor([[-1.0, 0.5]])
    >>> g = factor(torch.ones(1, 2), torch.zeros(1), f, 3, relu, generator=draws)
    >>> h = torch.relu(f @ g.weight_in.mT + g.bias_in)
    >>> bool((h @ g.weight_out.mT + g.bias_out + 0.5).abs() < 1e-5)
    True
    """
    check_place((weight.shape[-1], weight.shape[-2]), 0, width)
    check_precise("the weight", weight.dtype)
    if finite_number("margin", margin) <= 0:
        raise ValueError(
            f"margin is {margin!r}: expected a finite number > 0 (at 0 the data touch the kink)"
        )
    chosen = _choose(pieces, width, sigma, generator)
    slope, shift, low, high = (
        weight.new_tensor([getattr(sigma.pieces[k], name) for k in chosen])
        for name in ("slope", "shift", "low", "high")
    )
    first, last = _random_factors(weight, width, generator)
    inner = first / slope.unsqueeze(-1)
    reach = _reach(f @ inner.mT)
    # A bounded piece may be narrower than the neuron's range: shrink that row and grow its outgoing
    # column to match.
    room = (high - low) / (1 + 4 * margin)
    shrink = torch.where(reach > room, room / reach, torch.ones_like(reach))
    u = (f @ inner.mT) * shrink.unsqueeze(-2)
    inner, last = inner * shrink.unsqueeze(-1), last / shrink.unsqueeze(-2)
    start = _starts(u, reach * shrink, low, high, margin, generator)
    outer_bias = bias - (last @ (slope * start + shift).unsqueeze(-1)).squeeze(-1)
    wanted = torch.tensor(chosen, device=u.device).expand(start.shape)
    z = u + start.unsqueeze(-2)
    if not torch.equal(place(z, sigma), wanted):
        raise ValueError(
            f"margin {margin} is lost in the rounding of {weight.dtype}: expected a larger margin"
        )
    through = (slope * z + shift) @ last.mT + outer_bias.unsqueeze(-2)
    direct = f @ weight.mT + bias.unsqueeze(-2)
    size = f.abs() @ weight.abs().mT + bias.abs().unsqueeze(-2)
    size = torch.where(size.amax((-2, -1), keepdim=True) > 0, size, f.abs().amax())  # W = b = 0
    check_kept("outputs of the layer", (through - direct).abs().amax((-2, -1)), size.amax((-2, -1)))
    return Factors(inner, start, last, outer_bias)


def check_position(widths: Sequence[int], position: int) -> None:
    """Refuse a position q outside 0..L-1: a layer goes between layer q and q+1.

    >>> check_position((2, 3, 1), 1)
    """
    check_index("position", position)
    if not 0 <= position < len(widths) - 1:
        raise ValueError(
            f"position {position} outside 0..{len(widths) - 2}: a layer goes between layer q and"
            f" q+1 of {tuple(widths)}"
        )


def check_place(widths: Sequence[int], position: int, width: int) -> None:
    """Refuse a position q outside 0..L-1 and a width below min(m_q, m_{q+1}).

    >>> check_place((2, 3, 1), 1, 1)
    """
    check_position(widths, position)
    check_index("width", width)
    least = min(widths[position], widths[position + 1])
    if width < least:
        raise ValueError(
            f"width {width} is too small: expected >= min({widths[position]},"
            f" {widths[position + 1]}) = {least}, or the product of the two new weights cannot have"
            " full rank"
        )


def _choose(pieces: Pieces, width: int, sigma: Activation, generator: torch.Generator) -> list[int]:
    count = len(all_pieces(sigma))
    if count == 0:
        raise ValueError(
            f"{sigma!r} has no affine piece, so no layer of it is exactly affine: use"
            " approximate_lift"
        )
    if pieces is None:
        return [int(k) for k in torch.randint(count, (width,), generator=generator)]
    chosen = list(pieces) if isinstance(pieces, Sequence) else [pieces] * width
    if len(chosen) != width:
        raise ValueError(
            f"pieces has {len(chosen)} entries: expected one for each of the {width} neurons"
        )
    for k in chosen:
        check_index("piece", k)
        if not 0 <= k < count:
            raise ValueError(
                f"piece {k!r} outside 0..{count - 1}: expected an affine piece of {sigma!r}"
            )
    return chosen


def _random_factors(
    weight: Tensor, width: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    # first (width, m_q) and last (m_{q+1}, width) with last @ first = weight.
    out, into = weight.shape[-2:]

    def noise(*shape: int) -> Tensor:
        drawn = torch.randn(*weight.shape[:-2], *shape, generator=generator, dtype=weight.dtype)
        return drawn.to(weight.device)

    if width >= into:
        first = _full_rank(noise(width, into), generator)
        pinv = torch.linalg.pinv(first)
        free = noise(out, width)
        return first, weight @ pinv + free - (free @ first) @ pinv
    last = _full_rank(noise(width, out), generator).mT
    pinv = torch.linalg.pinv(last)
    free = noise(width, into)
    return pinv @ weight + free - pinv @ (last @ free), last


def _full_rank(gaussian: Tensor, generator: torch.Generator) -> Tensor:
    # Tall matrix of full column rank with condition number <= 4: rounding then stays far below
    # every tolerance.
    u, _, v = torch.linalg.svd(gaussian, full_matrices=False)
    drawn = torch.rand(u.shape[:-2] + u.shape[-1:], generator=generator, dtype=u.dtype)
    s = 0.5 + 1.5 * drawn.to(u.device)
    matrix: Tensor = (u * s.unsqueeze(-2)) @ v
    return matrix


def _reach(u: Tensor) -> Tensor:
    return u.amax(-2) - u.amin(-2)


def _starts(
    u: Tensor, reach: Tensor, low: Tensor, high: Tensor, margin: float, generator: torch.Generator
) -> Tensor:
    unit = torch.where(reach > 0, reach, torch.ones_like(reach))
    random = torch.rand(reach.shape, generator=generator, dtype=u.dtype).to(u.device)
    gap = margin * unit * (1 - torch.log1p(-random))
    above, below = low - u.amin(-2) + gap, high - u.amax(-2) - gap
    left, right = low - u.amin(-2) + margin * reach, high - u.amax(-2) - margin * reach
    bounded = left + random * (right - left)
    anywhere = torch.randn(reach.shape, generator=generator, dtype=u.dtype).to(u.device)
    one_end = torch.where(torch.isfinite(low), above, below)
    two_ends = torch.where(torch.isfinite(low) & torch.isfinite(high), bounded, one_end)
    return torch.where(torch.isfinite(low) | torch.isfinite(high), two_ends, anywhere)
