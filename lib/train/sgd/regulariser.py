"""The l_{1,2} regulariser of Gu et al. (2020), normalised as in the paper and as in the authors'
code; weight decay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from lib.nets import Chain

PENALTIES = ("l12", "l12_paper", "l2", "none")


def l12(weight: Tensor) -> Tensor:
    """The l_{1,2} penalty of one layer as the authors' code computes it.

    R = mean_k [ sqrt(m_in) mean_{j,a,b} |w_{jk}(a, b)| ]^2, k over inputs, j over outputs, (a, b)
    over the kernel.

    Args:
        weight: (m_out, m_in, *kernel), in the ordinary parametrisation g = sum_k f_k * w_jk.
    Source: the authors' code of (Gu et al. 2020).

    >>> l12(torch.full((5, 4, 3, 3), -0.5))
    tensor(1.)
    """
    per_input = weight.abs().mean([d for d in range(weight.dim()) if d != 1])
    return weight.shape[1] * per_input.square().mean()


def l12_paper(weight: Tensor) -> Tensor:
    """The l_{1,2} penalty of one hidden layer as the paper prints it.

    The paper writes g = (1/m_in) sum_k f_k * v_jk, so v = m_in w, and

    R = (1/m_in) sum_k [ (1/m_out) sum_j || vec v_jk ||_1 ]^2 = m_in (kernel elements)^2 `l12`(w).

    Args:
        weight: w, (m_out, m_in, *kernel), in the ordinary parametrisation.
    Source: (Gu et al. 2020, Eq. 1).

    >>> l12_paper(torch.full((5, 4), -0.5))
    tensor(4.)
    """
    v = (weight.shape[1] * weight).reshape(*weight.shape[:2], -1)
    return v.abs().sum(2).mean(0).square().mean()


def l2_paper(weight: Tensor) -> Tensor:
    """The penalty of the output layer as the paper prints it: (1/m) sum_j ||u_j||^2 with u = m w.

    Args:
        weight: w, (classes, m).
    Source: (Gu et al. 2020, Eq. 1).

    >>> l2_paper(torch.full((1, 4), 0.5))
    tensor(4.)
    """
    m = weight.shape[1]
    return (m * weight).square().sum() / m


def layer_penalties(net: Chain, kind: str = "l12") -> tuple[Tensor, ...]:
    """The penalty of every layer, one number each.

    Args:
        kind: "l12" (authors' code: every weight, biases free), "l12_paper" (`l12_paper` in the
            hidden layers and `l2_paper` in the last), "l2" (half the sum of squares of weights and
            biases) or "none".
    Raises:
        ValueError: unknown kind.

    >>> from torch import nn
    >>> net = Chain([nn.Linear(4, 2), nn.Linear(2, 1)], [nn.ReLU()])
    >>> [p.shape for p in layer_penalties(net)]
    [torch.Size([]), torch.Size([])]
    """
    if kind not in PENALTIES:
        raise ValueError(f"no penalty {kind!r}: expected {', '.join(PENALTIES)}")
    if not isinstance(net, Chain):
        raise TypeError(f"net is {type(net).__name__}: expected a Chain, see Chain.from_sequential")
    weights = [cast(Tensor, joint.weight) for joint in net.joints]
    if kind == "l12":
        return tuple(l12(w) for w in weights)
    if kind == "l12_paper":
        return (*(l12_paper(w) for w in weights[:-1]), l2_paper(weights[-1]))
    if kind == "l2":
        return tuple(_half_square(list(joint.parameters())) for joint in net.joints)
    return tuple(w.new_zeros(()) for w in weights)


def penalty(net: Chain, kind: str = "l12") -> Tensor:
    """The sum of `layer_penalties`.

    >>> from torch import nn
    >>> joint = nn.Linear(4, 2, bias=False); _ = nn.init.ones_(joint.weight)
    >>> penalty(Chain([joint], []), "l2").item()
    4.0
    """
    return torch.stack(layer_penalties(net, kind)).sum()


def _half_square(parameters: Sequence[Tensor]) -> Tensor:
    return 0.5 * torch.stack([p.square().sum() for p in parameters]).sum()
