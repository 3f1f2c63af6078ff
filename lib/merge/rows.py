"""How one layer's neurons are merged: which go, which are folded away, and what the next layer's
weights become.

A neuron is a row v = (w, b) and the column of its output weights. Merging is linear in the output
weights: W' = W @ mixing and b' = b + W @ constants, so one plan serves dense layers and channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.merge.grouping import Groups, group_directions, group_duplicates
from lib.nets import Activation

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
        return max(1.0, abs(sigma.parameter))
    return _LIPSCHITZ.get(sigma.name, math.inf)


def plan_merge(
    rows: Tensor,
    outgoing: Tensor,
    sigma: Activation,
    *,
    cosine: float = 0.9,
    amplitude: float = 0.0,
    tolerance: float | None = None,
    rule: str = "complete",
    representative: str = "mean",
    generator: torch.Generator | None = None,
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
        cosine, rule: as in `group_directions`, for a homogeneous sigma.
        amplitude: neurons with amplitude <= this share of the layer's largest go: |a_k| |v_k|^p of
            a homogeneous sigma, else |a_k| |w_k|, and then the neuron is replaced by its constant
            sigma(b_k).
        tolerance: on rows to be equal (sigma not homogeneous) and on w to be zero (a constant
            neuron), in the units of the parameters; default rounding, 64 eps of the largest one.
        representative: the group's direction: "mean", of the members weighted by amplitude;
            "medoid", the member with the largest sum of cosines to the others; "random", any
            member, as in the paper, drawn with `generator` (default seed 0).
        foldable: the next layer has a bias that can take constants; else one constant neuron takes
            them.
    Raises:
        ValueError: amplitude outside 0..1 (1 excluded), or what `lib.merge.grouping` refuses.
    Source: (Zhang et al. 2021, Sec. 3.2), a_j <- sum_k a_k |w_k| / |w_j|.

    >>> from lib.nets.activations import relu
    >>> rows = torch.tensor([[1.0, 1.0], [3.0, 3.0], [0.0, 2.0]])
    >>> plan = plan_merge(rows, torch.tensor([[1.0, 1.0, 5.0]]), relu)
    >>> plan.groups, plan.folded, (torch.tensor([[1.0, 1.0, 5.0]]) @ plan.mixing)
    (((1, 0),), (2,), tensor([[4.]]))
    """
    if not 0 <= amplitude < 1:
        raise ValueError(
            f"amplitude is {amplitude!r}: expected a share in 0..1, 1 excluded, of the layer's"
            " largest"
        )
    for name, part in (("input weights and biases", rows), ("output weights", outgoing)):
        if not torch.isfinite(part).all():
            raise ValueError(f"{name} hold inf or nan: expected finite numbers")
    if representative not in REPRESENTATIVES:
        raise ValueError(
            f"representative {representative!r} is unknown: expected one of"
            f" {', '.join(REPRESENTATIVES)}"
        )
    if tolerance is None:
        tolerance = 64 * torch.finfo(rows.dtype).eps * float(rows.abs().max())
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"tolerance is {tolerance!r}: expected a finite number >= 0")
    norm_in, norm_out, norm_w = rows.norm(dim=1), outgoing.norm(dim=0), rows[:, :-1].norm(dim=1)
    degree, values = sigma.degree, sigma.value(rows[:, -1])
    size = norm_out * (norm_w if degree is None else norm_in**degree)
    low = size <= amplitude * size.max()
    constant = (rows[:, :-1].abs() <= tolerance).all(1)
    if degree is None:
        constant |= low
    # A neuron is removed without trace, or replaced by the constant sigma(b), or grouped with
    # others.
    nothing = constant & (values == 0)
    gone = (norm_out == 0) | nothing | (low if degree is not None else nothing)
    fold = ~gone & constant if foldable else torch.zeros_like(gone)
    shared = ~gone & constant if not foldable and degree is None else torch.zeros_like(gone)

    groups = _groups(rows, size, ~(gone | fold | shared), degree, cosine, tolerance, rule)
    if (
        shared.any()
    ):  # no bias takes the constants: the neuron of the largest one stands for all of them
        lead = int(torch.where(shared, values.abs(), -1).argmax())
        groups += ((lead, *(i for i in _indices(shared) if i != lead)),)
    groups = tuple(sorted(groups, key=min))
    lost = torch.where(
        fold | shared | nothing, norm_w, norm_in
    )  # |v_k - what replaces v_k|, unless k is grouped
    generator = generator or torch.Generator().manual_seed(0)
    directions = {
        g: _direction(rows[list(g)], size[list(g)], representative, generator)
        for g in groups
        if degree is not None
    }
    new, mixing = _mix(rows, groups, directions, shared, values, degree, lost)
    # Neurons are Lipschitz in v . (f, 1), so the triangle inequality bounds what the next layer
    # sees.
    total = float((norm_out * lost).sum())
    bound = lipschitz(sigma) * total if total > 0 else 0.0
    constants = torch.where(fold, values, 0)
    return RowMerge(
        new, mixing, constants, groups or ((0,),), _indices(gone), _indices(fold), bound
    )


def _direction(
    rows: Tensor, size: Tensor, representative: str, generator: torch.Generator
) -> Tensor:
    units = rows / rows.norm(dim=1, keepdim=True)
    if representative == "random":
        return units[int(torch.randint(len(rows), (1,), generator=generator))]
    if representative == "medoid" or len(rows) == 1:
        return units[int((units @ units.sum(0)).argmax())]
    mean = (size / size.max()) @ units
    # Below a right angle between members no mean vanishes; beyond, the leader speaks for a group
    # that has no direction.
    return mean / mean.norm() if mean.norm() > math.sqrt(torch.finfo(rows.dtype).eps) else units[0]


def _mix(
    rows: Tensor,
    groups: Groups,
    directions: dict,
    shared: Tensor,
    values: Tensor,
    degree: int | None,
    lost: Tensor,
) -> tuple[Tensor, Tensor]:
    # The rows that stay and the mixing matrix; what each member loses is written into `lost`.
    if not groups:  # no layer is empty: one null neuron stays
        return rows.new_zeros(1, rows.shape[1]), rows.new_zeros(len(rows), 1)
    norm = rows.norm(dim=1)
    new, mixing = (
        rows[torch.tensor([g[0] for g in groups])].clone(),
        rows.new_zeros(len(rows), len(groups)),
    )
    for column, members in enumerate(groups):
        k, lead, first = torch.tensor(members), members[0], min(members)
        if shared[lead]:
            new[column, :-1] = 0
            mixing[k, column] = values[k] / values[lead]
        elif degree is None:
            mixing[k, column] = 1
            lost[k] = (rows[k] - rows[lead]).norm(dim=1)
        elif len(members) == 1:
            mixing[lead, column], lost[lead] = 1, 0
        else:
            new[column] = norm[first] * directions[members]
            mixing[k, column] = (norm[k] / norm[first]) ** degree
            lost[k] = (rows[k] - norm[k].unsqueeze(1) * directions[members]).norm(dim=1)
    return new, mixing


def _groups(
    rows: Tensor,
    size: Tensor,
    rest: Tensor,
    degree: int | None,
    cosine: float,
    tolerance: float,
    rule: str,
) -> Groups:
    kept = rest.nonzero().flatten()
    if len(kept) == 0:
        return ()
    order = (-size[kept]).argsort(stable=True)
    if degree is None:
        found = group_duplicates(rows[kept], tolerance, order=order)
    else:
        found = group_directions(rows[kept], cosine, order=order, rule=rule)
    return tuple(tuple(int(kept[i]) for i in members) for members in found)


def _indices(mask: Tensor) -> tuple[int, ...]:
    return tuple(mask.nonzero().flatten().tolist())
