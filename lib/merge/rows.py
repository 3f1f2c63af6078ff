"""How one layer's neurons are merged: which go, which are folded away, and what the next layer's
weights become.

A neuron is a row v = (w, b) and the column of its output weights. Merging is linear in the output
weights: W' = W @ mixing and b' = b + W @ constants, so one plan serves dense layers and channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lib.merge.grouping import Groups, group_directions, group_duplicates
from lib.nets import Activation
from lib.nets.checks import finite_tolerance
from lib.nets.drawing import Randomness, source_of

REPRESENTATIVES = ("mean", "medoid", "random")
_LIPSCHITZ = {"tanh": 1.0, "sigmoid": 0.25, "relu": 1.0, "identity": 1.0}


@dataclass(frozen=True, eq=False)
class RowMerge:
    """A plan for one layer of m neurons.

    Args:
        rows: (g, d + 1) input weights and bias of the neurons that stay.
        mixing: (m, g), the next layer's weights become W @ mixing.
        constants: (m,), the next layer's bias gains W @ constants.
        groups: members of each neuron that stays, its leader first, in the order of `rows`.
        dropped, folded: neurons removed without trace, and replaced by a constant.
        bound: largest change of the next pre-activation (2-norm) per unit of |(f, 1)|, f the
            layer's input.
    """

    rows: Tensor
    mixing: Tensor
    constants: Tensor
    groups: Groups
    dropped: tuple[int, ...]
    folded: tuple[int, ...]
    bound: float


def lipschitz(sigma: Activation) -> float:
    """sup |sigma'|, inf for an activation this module does not know.

    >>> from lib.nets.activations import sigmoid
    >>> lipschitz(sigmoid)
    0.25
    """
    if sigma.name in ("leaky_relu", "elu"):
        return max(1.0, abs(sigma.parameter or 0.0))
    return _LIPSCHITZ.get(sigma.name, math.inf)


@dataclass(frozen=True)
class Likeness:
    """Which neurons of a layer become one, and which one.

    Args:
        cosine, rule: as in `group_directions`, for a homogeneous sigma.
        amplitude: neurons with amplitude <= this share of the layer's largest go: |a_k| |v_k|^p of
            a homogeneous sigma, else |a_k| |w_k|, and then the neuron is replaced by its constant
            sigma(b_k).
        tolerance: on rows to be equal (sigma not homogeneous) and on w to be zero (a constant
            neuron), in the units of the parameters; default rounding, 64 eps of the largest one (of
            the neuron's own largest for a homogeneous sigma, whose neurons may differ in scale).
        representative: the group's direction: "mean", of the members weighted by amplitude;
            "medoid", the member with the largest sum of cosines to the others; "random", any
            member, as in the paper, drawn with `generator`.
    Raises:
        ValueError: amplitude outside 0..1 (1 excluded), an unknown representative, or a tolerance
            that is not finite and >= 0.

    >>> Likeness(0.99).representative
    'mean'
    """

    cosine: float = 0.9
    amplitude: float = 0.0
    tolerance: float | None = None
    rule: str = "complete"
    representative: str = "mean"
    generator: Randomness = None

    def __post_init__(self) -> None:
        if self.representative == "random":  # drawn once, so that the layers do not draw alike
            object.__setattr__(self, "generator", source_of(self.generator, "a merge"))
        if not 0 <= self.amplitude < 1:
            raise ValueError(
                f"amplitude is {self.amplitude!r}: expected a share in 0..1, 1 excluded, of the"
                " layer's largest"
            )
        if self.representative not in REPRESENTATIVES:
            raise ValueError(
                f"representative {self.representative!r} is unknown: expected one of"
                f" {', '.join(REPRESENTATIVES)}"
            )
        if self.tolerance is not None:
            finite_tolerance(self.tolerance)


def plan_merge(
    rows: Tensor,
    outgoing: Tensor,
    sigma: Activation,
    like: Likeness,
    *,
    foldable: bool = True,
) -> RowMerge:
    """The merge of one layer.

    A group G of a p-homogeneous sigma becomes one neuron v_j of the group's direction, with output
    weights sum_k a_k (|v_k| / |v_j|)^p; |v_j| is that of the member of lowest index, so that a
    splitting is undone exactly. For other sigma only equal rows merge, with output weights sum_k
    a_k. A group's leader is its member of largest amplitude.

    Args:
        rows: (m, d + 1), v_k = (w_k, b_k), b_k = 0 for a layer without bias.
        outgoing: (p, m), column k belongs to neuron k.
        sigma: the layer's activation.
        foldable: the next layer has a bias that can take constants; else one constant neuron takes
            them.
    Raises:
        ValueError: parameters that are not finite, or what `lib.merge.grouping` refuses.
    Source: (Zhang et al. 2021, Sec. 3.2), a_j <- sum_k a_k |w_k| / |w_j|.

    >>> from lib.nets.activations import relu
    >>> rows = torch.tensor([[1.0, 1.0], [3.0, 3.0], [0.0, 2.0]])
    >>> plan = plan_merge(rows, torch.tensor([[1.0, 1.0, 5.0]]), relu, Likeness())
    >>> plan.groups, plan.folded, (torch.tensor([[1.0, 1.0, 5.0]]) @ plan.mixing)
    (((1, 0),), (2,), tensor([[4.]]))
    """
    for name, part in (("input weights and biases", rows), ("output weights", outgoing)):
        if not torch.isfinite(part).all():
            raise ValueError(f"{name} hold inf or nan: expected finite numbers")
    if rows.dtype in (torch.bfloat16, torch.float16):
        # planned in float32: what is alike is told apart by more than eight bits
        plan = plan_merge(rows.float(), outgoing.float(), sigma, like, foldable=foldable)
        parts = {name: getattr(plan, name).to(rows) for name in ("rows", "mixing", "constants")}
        return replace(plan, **parts)
    degree, values = sigma.degree, sigma.value(rows[:, -1])
    size = _amplitudes(rows, outgoing, sigma)
    low, constant = size <= like.amplitude * size.max(), _constant(rows, degree, like.tolerance)
    if degree is None:
        constant |= low
    # A neuron is removed without trace, or replaced by the constant sigma(b), or grouped with
    # others.
    nothing = constant & (values == 0)
    gone = (outgoing == 0).all(0) | nothing | (low if degree is not None else nothing)
    fold = ~gone & constant if foldable else torch.zeros_like(gone)
    shared = ~gone & constant if not foldable and degree is None else torch.zeros_like(gone)
    groups = _groups(rows, size, ~(gone | fold | shared), degree, like)
    if shared.any():
        # No bias takes the constants: the neuron of the largest one stands for all of them.
        lead = int(torch.where(shared, values.abs(), -1).argmax())
        groups += ((lead, *(i for i in _indices(shared) if i != lead)),)
    groups = tuple(sorted(groups, key=min))
    # |v_k - what replaces v_k|, unless k is grouped
    lost = torch.where(fold | shared | nothing, safe_norm(rows[:, :-1], 1), safe_norm(rows, 1))
    new, mixing = rows.new_zeros(1, rows.shape[1]), rows.new_zeros(len(rows), 1)
    if groups:  # else no layer is empty: one null neuron stays
        merged = [_merged(rows, g, size, sigma, like, bool(shared[g[0]])) for g in groups]
        new = torch.stack([m.row for m in merged])
        mixing = rows.new_zeros(len(rows), len(groups))
        for column, (members, m) in enumerate(zip(groups, merged, strict=True)):
            mixing[list(members), column] = m.shares
            lost[list(members)] = m.lost
    # Neurons are Lipschitz in v . (f, 1), so the triangle inequality bounds what the next layer
    # sees.
    total = float((safe_norm(outgoing, 0) * lost).sum())
    bound = lipschitz(sigma) * total if total > 0 else 0.0
    constants = torch.where(fold, values, 0)
    return RowMerge(
        new, mixing, constants, groups or ((0,),), _indices(gone), _indices(fold), bound
    )


@dataclass(frozen=True, eq=False)
class _Merged:
    """One neuron for a group: its row, the members' shares, and |v_k - what replaces v_k|."""

    row: Tensor
    shares: Tensor
    lost: Tensor


def _merged(
    rows: Tensor,
    members: tuple[int, ...],
    size: Tensor,
    sigma: Activation,
    like: Likeness,
    shared: bool,
) -> _Merged:
    k, own = list(members), rows[list(members)]
    if len(members) == 1 and not shared:
        return _Merged(own[0], own.new_ones(1), own.new_zeros(1))
    norm, row = safe_norm(own, 1), own[0].clone()
    if shared:
        values = sigma.value(own[:, -1])
        row[:-1] = 0
        return _Merged(row, values / values[0], safe_norm(own[:, :-1], 1))
    if sigma.degree is None:
        return _Merged(row, torch.ones_like(norm), safe_norm(own - own[0], 1))
    direction, first = _direction(own, size[k], like), norm[k.index(min(k))]
    lost = safe_norm(own - norm.unsqueeze(1) * direction, 1)
    return _Merged(first * direction, (norm / first) ** sigma.degree, lost)


def _direction(rows: Tensor, size: Tensor, like: Likeness) -> Tensor:
    units = rows / safe_norm(rows, 1).unsqueeze(1)
    if like.representative == "random":
        draws = source_of(like.generator, "a merge")
        return units[int(torch.randint(len(rows), (1,), generator=draws))]
    if like.representative == "medoid" or len(rows) == 1:
        return units[int((units @ units.sum(0)).argmax())]
    mean = (size / size.max()) @ units
    # Below a right angle between members no mean vanishes; beyond, the leader speaks for a group
    # that has no direction.
    return mean / mean.norm() if mean.norm() > math.sqrt(torch.finfo(rows.dtype).eps) else units[0]


def safe_norm(t: Tensor, dim: int) -> Tensor:
    """2-norms whose squares neither overflow nor vanish.

    >>> safe_norm(torch.tensor([[3e30, 4e30], [0.0, 0.0]]), 1)
    tensor([5.0000e+30, 0.0000e+00])
    """
    mantissa, exponent = _norms(t, dim)
    return torch.ldexp(mantissa, exponent)


def _norms(t: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    # As mantissa * 2^exponent: powers of two scale without rounding.
    exponent = torch.frexp(t.abs().amax(dim)).exponent
    half = (exponent // 2).unsqueeze(dim)  # in two steps, since 2^-exponent may not be a number
    scaled = torch.ldexp(torch.ldexp(t, -half), half - exponent.unsqueeze(dim))
    return scaled.norm(dim=dim), exponent


def _amplitudes(rows: Tensor, outgoing: Tensor, sigma: Activation) -> Tensor:
    # |a_k| |v_k|^p, or |a_k| |w_k| for a sigma that is not homogeneous, up to a common factor.
    degree = sigma.degree
    out, up = _norms(outgoing, 0)
    inner, power = _norms(rows[:, :-1] if degree is None else rows, 1)
    times = 1 if degree is None else degree
    size, exponent = out * inner**times, up + times * power
    there = size > 0
    if not there.any():
        return size
    return torch.ldexp(size, (exponent - exponent[there].max()).clamp_max(0))


def _constant(rows: Tensor, degree: int | None, tolerance: float | None) -> Tensor:
    if tolerance is None:
        largest = rows.abs().amax(1, keepdim=True) if degree is not None else rows.abs().max()
        return (rows[:, :-1].abs() <= 64 * torch.finfo(rows.dtype).eps * largest).all(1)
    return (rows[:, :-1].abs() <= tolerance).all(1)


def _groups(rows: Tensor, size: Tensor, rest: Tensor, degree: int | None, like: Likeness) -> Groups:
    kept = rest.nonzero().flatten()
    if len(kept) == 0:
        return ()
    order = (-size[kept]).argsort(stable=True)
    if degree is None:
        tolerance = like.tolerance
        if tolerance is None:
            tolerance = 64 * torch.finfo(rows.dtype).eps * float(rows.abs().max())
        found = group_duplicates(rows[kept], tolerance, order=order)
    else:
        found = group_directions(rows[kept], like.cosine, order=order, rule=like.rule)
    return tuple(tuple(int(kept[i]) for i in members) for members in found)


def _indices(mask: Tensor) -> tuple[int, ...]:
    return tuple(mask.nonzero().flatten().tolist())
