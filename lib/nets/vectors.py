"""Nets as vectors of parameters, and several nets as one batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lib.nets.mlp import MLP, check_mlp, leaves_of, rebuild
from lib.nets.samples import check_tensor


def flatten(net: MLP) -> Tensor:
    """The parameters as one vector per net, (*batch, M), in the order W^[1], b^[1], W^[2], ...
    (row-major).

    >>> flatten(MLP((torch.ones(2, 1), torch.zeros(1, 2))))
    tensor([1., 1., 0., 0.])
    """
    check_mlp("net", net)
    at = len(net.batch)  # sizes are spelt out, since -1 is ambiguous for a batch of no nets
    return torch.cat(
        [p.reshape(*net.batch, p.shape[at:].numel()) for p in net.parameters()], dim=-1
    )


def unflatten(vector: Tensor, like: MLP) -> MLP:
    """The inverse of `flatten`: parameters (*batch, M) in the shapes of one net of `like`.

    Raises:
        ValueError: the vector's last dimension is not M.

    >>> from lib.nets import init
    >>> net = init((1, 2, 1), generator=0)
    >>> torch.equal(flatten(unflatten(flatten(net), net)), flatten(net))
    True
    """
    check_tensor("vector", vector)
    check_mlp("like", like)
    if vector.shape[-1:] != (like.n_parameters,):
        raise ValueError(
            f"vector has shape {tuple(vector.shape)}: expected (*batch, {like.n_parameters}) for"
            f" {like}"
        )
    shapes = [p.shape[len(like.batch) :] for p in like.parameters()]
    parts = vector.split([s.numel() for s in shapes], dim=-1)
    leaves = [p.reshape(*vector.shape[:-1], *s) for p, s in zip(parts, shapes, strict=True)]
    return rebuild(leaves, leaves_of(like)[1])


def stack(nets: Sequence[MLP]) -> MLP:
    """Nets of one shape as one batch, along a new first dimension.

    Raises:
        ValueError: the nets differ in shape, biases or activation.

    >>> from lib.nets import init
    >>> stack([init((1, 2, 1), generator=0)] * 3)
    MLP((3,) x 1-2-1, tanh, 7 parameters)
    """
    for number, net in enumerate(nets):
        check_mlp(f"net {number}", net)
    contexts = {(leaves_of(n)[1], n.widths, n.batch) for n in nets}
    if len(contexts) != 1:
        raise ValueError(
            f"cannot stack {[repr(n) for n in nets]}: expected nets of one shape and activation"
        )
    context = leaves_of(nets[0])[1]
    return rebuild(
        [torch.stack(ps) for ps in zip(*(n.parameters() for n in nets), strict=True)], context
    )


def concatenate(nets: Sequence[MLP]) -> MLP:
    """Batches of nets of one shape as one batch, along their first dimension.

    Raises:
        ValueError: the nets differ in shape, biases or activation, or are single nets (`stack`
            takes those).

    >>> from lib.nets import init
    >>> concatenate([init((1, 2, 1), batch=(n,), generator=0) for n in (3, 2)])
    MLP((5,) x 1-2-1, tanh, 7 parameters)
    """
    for number, net in enumerate(nets):
        check_mlp(f"net {number}", net)
    contexts = {(leaves_of(n)[1], n.widths, n.batch[1:]) for n in nets}
    if len(contexts) != 1 or not all(n.batch for n in nets):
        raise ValueError(
            f"cannot concatenate {[repr(n) for n in nets]}: expected batches of nets of one shape"
            " and activation"
        )
    context = leaves_of(nets[0])[1]
    return rebuild(
        [torch.cat(ps) for ps in zip(*(n.parameters() for n in nets), strict=True)], context
    )
