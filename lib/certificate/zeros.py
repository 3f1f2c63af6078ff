"""How many zero modes theory promises after an embedding."""

from __future__ import annotations

import torch
from torch import Tensor

from lib.linear import affine_map, rank
from lib.nets import MLP
from lib.width.embeddings import Embedding
from lib.width.general import tangents


def promised_zeros(net: MLP, embedding: Embedding, h: Tensor, zeros: int) -> int:
    """How many zero modes theory promises after an embedding of a critical point, at least.

    rank [A ker H, tangent space of the critical points that the family of general compatible
    embeddings sweeps]: by H' A = C H the first, and by criticality of the whole family the second,
    lie in the kernel of H'.

    Args:
        net: one critical net;  embedding: unbatched.
        h: its Hessian (M, M);  zeros: dim ker H.
    Raises:
        ValueError: a batch, or no clear rank.

    >>> from lib.nets import init
    >>> from lib.width import embedding
    >>> net = init((1, 2, 1), generator=0)
    >>> promised_zeros(net, embedding(net, [(1, 0, 0.3), (1, 1, 2.0)]), torch.eye(7).double(), 0)
    2
    """
    values, vectors = torch.linalg.eigh(h)
    kernel = vectors[:, values.abs().argsort()[:zeros]].mT
    spanning = torch.cat([kernel @ affine_map(embedding, net).matrix.mT, tangents(embedding, net)])
    length = spanning.norm(dim=-1, keepdim=True)
    spanning = spanning / torch.where(length > 1e-12 * length.max(), length, torch.inf)
    # Kernel vectors are as exact as the spectral gap is wide, so the threshold stays far above
    # rounding.
    return int(rank(spanning, tolerance=1e-7).value)
