"""Inertia of a Hessian: how many eigenvalues are negative, zero and positive, and how clearly they
separate."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lib.nets.samples import check_tensor

# An eigenvalue counts as zero up to ALLOWANCE times the rounding level eps M ||H||. Zero modes made
# by splitting planted critical points of 300 random nets (depth 2 to 4) were at most 34 such units
# from zero, half within 0.003.
ALLOWANCE = 100.0


class NoSpectralGap(ValueError):
    """The eigenvalues of a matrix do not fall apart into zero and non-zero ones.

    Args:
        eigenvalues: all of them, ascending.
        candidates: the widest gaps as pairs (largest |eigenvalue| below, smallest above), widest
            first.
    """

    def __init__(
        self, message: str, eigenvalues: Tensor, candidates: tuple[tuple[float, float], ...]
    ) -> None:
        super().__init__(message)
        self.eigenvalues = eigenvalues
        self.candidates = candidates


@dataclass(frozen=True)
class Inertia:
    """(n-, n0, n+) of a batch of symmetric matrices.

    Args:
        negative, zero, positive: counts (*batch), int64.
        eigenvalues: (*batch, M), ascending.
        threshold: (*batch): |eigenvalue| at most this counts as zero.
        noise: (*batch): the level below which an eigenvalue says nothing.
        gap: (*batch): smallest |non-zero eigenvalue| / max(largest |zero eigenvalue|, noise); inf
            for a zero matrix.
        clear: (*batch), bool: the gap is as wide as was demanded.

    >>> inertia(torch.diag(torch.tensor([-2.0, 0.0, 1.0], dtype=torch.float64)))
    Inertia(negative=1, zero=1, positive=1, gap=7.5e+14)
    """

    negative: Tensor
    zero: Tensor
    positive: Tensor
    eigenvalues: Tensor
    threshold: Tensor
    noise: Tensor
    gap: Tensor
    clear: Tensor

    @property
    def counts(self) -> tuple[int, int, int]:
        """(n-, n0, n+) of one matrix as integers.

        Raises:
            ValueError: this is the inertia of a batch.
        """
        if self.negative.dim():
            raise ValueError(
                f"inertia of a batch {tuple(self.negative.shape)}: read negative, zero and positive"
            )
        return int(self.negative), int(self.zero), int(self.positive)

    def __repr__(self) -> str:
        if self.negative.dim():
            return f"Inertia(batch {tuple(self.negative.shape)}, {int(self.clear.sum())} clear)"
        n, z, p = self.counts
        return f"Inertia(negative={n}, zero={z}, positive={p}, gap={float(self.gap):.2g})"


def inertia(
    h: Tensor,
    *,
    gap: float = 1e3,
    uncertainty: float | Tensor = 0.0,
    threshold: float | Tensor | None = None,
    require: bool = True,
) -> Inertia:
    """Count negative, zero and positive eigenvalues, and refuse to guess where no gap separates
    zero from non-zero.

    noise = eps M ||H||_2 + uncertainty,   threshold = 100 noise,   zero: |lambda| <= threshold,
    gap found = min |non-zero| / max(max |zero|, noise), which must reach `gap`. So a matrix without
    zero eigenvalues passes when its smallest one stands clear of rounding.

    Args:
        h: symmetric float64, (*batch, M, M).
        gap: least ratio between non-zero and zero eigenvalues, > 1.
        uncertainty: what else blurs the eigenvalues, in their unit, () or (*batch). At a polished
            point with gradient norm r, a zero mode made by splitting neuron s is off by at most r /
            ||W^[l+1]_{:,s}||: ||H V theta|| <= sqrt(2) r by the gradient transport of Theorem 1,
            and ||V theta|| = sqrt(2) ||W^[l+1]_{:,s}||.
        threshold: use this in place of 100 noise, () or (*batch), e.g. the dashed line of a figure.
        require: raise where the gap is too narrow; otherwise `clear` tells.
    Returns:
        An `Inertia`.
    Raises:
        TypeError: h is not float64.
        ValueError: h is not square, symmetric and finite, gap <= 1, or a negative uncertainty or
            threshold.
        NoSpectralGap: the gap found is narrower than `gap`; names the eigenvalues on either side.

    Source: (Zhang et al. 2021, Sec. 3.2, Fig. 3), whose threshold is a line drawn by eye.

    >>> h = torch.diag(torch.tensor([1e-14, 1e-12, 1.0], dtype=torch.float64))
    >>> inertia(h)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    lib.curvature.signs.NoSpectralGap: zero and non-zero eigenvalues are only a factor 100 apart ...
    """
    _check(h, gap)
    values = torch.linalg.eigvalsh(h)
    size = values.abs()
    batch, m = h.shape[:-2], h.shape[-1]
    scale = size.amax(-1)
    noise = torch.finfo(h.dtype).eps * m * scale + _level("uncertainty", uncertainty, h, batch)
    limit = ALLOWANCE * noise if threshold is None else _level("threshold", threshold, h, batch)
    is_zero = size <= limit.unsqueeze(-1)
    above = torch.where(is_zero, torch.inf, size).amin(-1)
    below = torch.maximum(torch.where(is_zero, size, 0.0).amax(-1), noise)
    found = torch.where(torch.isinf(above), torch.inf, above / below)
    result = Inertia(
        negative=((values < 0) & ~is_zero).sum(-1),
        zero=is_zero.sum(-1),
        positive=((values > 0) & ~is_zero).sum(-1),
        eigenvalues=values,
        threshold=limit.expand(batch),
        noise=noise,
        gap=found,
        clear=found >= gap,
    )
    if require and not bool(result.clear.all()):
        raise _no_gap(result, gap)
    return result


def _level(name: str, value: float | Tensor, h: Tensor, batch: torch.Size) -> Tensor:
    level = torch.as_tensor(value, dtype=h.dtype, device=h.device)
    if level.dim() and level.shape != batch:
        raise ValueError(
            f"{name} has shape {tuple(level.shape)}: expected one number, or {tuple(batch)}"
        )
    if not bool((level >= 0).all()):
        raise ValueError(f"{name} is {value}: expected >= 0")
    return level


def _check(h: Tensor, gap: float) -> None:
    check_tensor("h", h)
    if h.dtype != torch.float64:
        raise TypeError(f"matrix is {h.dtype}: inertia needs torch.float64")
    if h.dim() < 2 or h.shape[-1] != h.shape[-2] or h.shape[-1] == 0:
        raise ValueError(f"matrix has shape {tuple(h.shape)}: expected (*batch, M, M), M >= 1")
    if not bool(torch.isfinite(h).all()):
        raise ValueError("matrix holds a non-finite entry: inertia needs finite numbers")
    skew, scale = (h - h.mT).abs().amax((-2, -1)), h.abs().amax((-2, -1))
    if bool((skew > 1e-12 * scale).any()):
        worst = float((skew / scale.clamp_min(1e-300)).max())
        raise ValueError(
            f"matrix is not symmetric (relative skew {worst:.1e}): pass (h + h.mT) / 2"
        )
    if not gap > 1:
        raise ValueError(f"gap is {gap}: expected a ratio > 1")


def _no_gap(result: Inertia, gap: float) -> NoSpectralGap:
    index = tuple((~result.clear).nonzero()[0].tolist())
    values, noise = result.eigenvalues[index], float(result.noise[index])
    size = values.abs().sort().values.clamp_min(noise)
    ratio = size[1:] / size[:-1]
    order = ratio.argsort(descending=True)[:3].tolist()
    candidates = tuple((float(size[i]), float(size[i + 1])) for i in order)
    named = ", ".join(f"{low:.2e} | {high:.2e} (x{high / low:.3g})" for low, high in candidates)
    where = f"matrix {index} of the batch: " if index else ""
    return NoSpectralGap(
        f"{where}zero and non-zero eigenvalues are only a factor {float(result.gap[index]):.3g}"
        f" apart at threshold {float(result.threshold[index]):.2e} (noise {noise:.2e}), expected"
        f" {gap:g}. Widest gaps in |eigenvalue|: {named}. Polish the point further, or state an"
        " uncertainty or threshold",
        values,
        candidates,
    )
