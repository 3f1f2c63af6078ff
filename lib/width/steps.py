"""Multi-step embeddings and the affine family of critical points that K splittings span (Theorem
2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils import _pytree

from lib.linear import Rank, rank
from lib.nets import MLP, flatten, stack
from lib.nets.checks import real
from lib.nets.dense import Dense, as_dense, as_kind_of
from lib.nets.surgery import expand
from lib.width.null import null_embed
from lib.width.splitting import split

Step = tuple[int, int | None, float | Tensor]


def embed(net: Dense, steps: Sequence[Step]) -> Dense:
    """K-step composition T^{alpha_K}_{l_K,s_K} ... T^{alpha_1}_{l_1,s_1} of one-step embeddings,
    applied in order.

    Args:
        net: one net or a batch of nets, or an nn.Sequential as in `split`.
        steps: (l, s, alpha) splits neuron s of layer l of the net as it then is; (l, None, b) adds
            a null neuron of bias b.
    Returns:
        The net that is K neurons wider.
    Raises:
        ValueError, TypeError: an impossible step; the message says which one.
    Source: (Zhang et al. 2022, Def. 4.6 and Thm 4.2).

    >>> from lib.nets import init
    >>> embed(init((1, 2, 2, 1), generator=0), [(1, 0, 0.3), (2, 1, -2.0), (1, None, 0.5)])
    MLP(1-4-3-1, tanh, 27 parameters)
    """
    mlp = as_dense(net)
    for count, step in enumerate(steps, start=1):
        if not isinstance(step, (tuple, list)) or len(step) != 3:
            raise TypeError(f"step {count} is {step!r}: expected (layer, neuron or None, number)")
        layer, neuron, number = step
        try:
            mlp = (
                null_embed(mlp, layer, number)
                if neuron is None
                else split(mlp, layer, neuron, number)
            )
        except (TypeError, ValueError) as error:
            raise type(error)(f"step {count}: {error}") from error
    return as_kind_of(net, mlp)


@dataclass(frozen=True, eq=False)
class AffineFamily:
    """{base + sum_i alpha_i v_i}: critical points of one loss, if they stem from one critical point
    (Theorem 2).

    Args:
        base: theta_B = T_{l_K,s_K} ... T_{l_1,s_1} theta_A, every copy with zero output weights.
        directions: v_i = T_{l_K,s_K} ... V_{l_i,s_i} ... T_{l_1,s_1} theta_A, stacked: K x *batch
            nets.
        silent: (K, *batch), True where v_i = 0, because the split neuron has only zero output
            weights.
    """

    base: MLP
    directions: MLP
    silent: Tensor

    def member(self, alphas: Sequence[float] | Tensor) -> MLP:
        """The net base + sum_i alpha_i v_i.

        Args:
            alphas: K finite numbers, or (*more, K) for a batch of members of one net's family.
        Raises:
            ValueError: not K numbers, or one is not finite.
        """
        if not isinstance(alphas, Tensor):
            alphas = torch.tensor(
                [float(a) for a in alphas], dtype=self.base.dtype, device=self.base.device
            )
        alphas = real("alphas", alphas, self.base, trailing=1)
        count = self.silent.shape[0]
        if alphas.shape[-1] != count:
            raise ValueError(f"got {alphas.shape[-1]} alphas: expected {count}, one a splitting")
        base = expand(self.base, alphas.shape[:-1])
        own = len(self.base.batch)

        def move(b: Tensor, v: Tensor) -> Tensor:
            # alphas (*more, K) against directions (K, *batch, *shape): one contraction over K,
            # batch broadcast.
            a = alphas.movedim(-1, 0)
            a = a.reshape(
                count, *(1,) * (own - (a.dim() - 1)), *a.shape[1:], *(1,) * (v.dim() - 1 - own)
            )
            more = a.dim() - v.dim()
            return b + (a * v.reshape(count, *(1,) * more, *v.shape[1:])).sum(0)

        member: MLP = _pytree.tree_map(move, base, self.directions)
        return member

    def dimension(self) -> Rank:
        """The rank of the directions: K, less those of silent neurons."""
        return rank(flatten(self.directions).movedim(0, -2))


def affine_family(net: MLP, steps: Sequence[tuple[int, int]]) -> AffineFamily:
    """The affine family that K splittings (l_i, s_i) of `net` span, one direction a splitting.

    Args:
        net: theta_A, one net or a batch; if it is critical, so is every member, with the same loss.
        steps: (layer, neuron) in order; a neuron may be split again, but a copy of the base has no
            output weights, so splitting the copy itself adds no dimension.
    Raises:
        ValueError: no steps, or an impossible one.
    Source: (Zhang et al. 2021, Thm 2).

    >>> from lib.nets import init
    >>> family = affine_family(init((1, 2, 2, 1), generator=0), [(1, 0), (2, 1)])
    >>> int(family.dimension().value), family.member([0.3, -1.0])
    (2, MLP(1-3-3-1, tanh, 22 parameters))
    """
    if not steps:
        raise ValueError("got no steps: expected at least one (layer, neuron)")
    base = embed(net, [(layer, neuron, 0.0) for layer, neuron in steps])
    directions = []
    for i, (layer, neuron) in enumerate(steps):
        before = embed(net, [(*s, 0.0) for s in steps[:i]])
        # V_{l,s} is linear and T^alpha = T + alpha V, so V theta = T^1 theta - T^0 theta: exact, as
        # copies cancel.
        v = _pytree.tree_map(
            torch.sub, split(before, layer, neuron, 1.0), split(before, layer, neuron, 0.0)
        )
        directions.append(embed(v, [(*s, 0.0) for s in steps[i + 1 :]]))
    stacked = stack(directions)
    return AffineFamily(base, stacked, (flatten(stacked) == 0).all(-1))
