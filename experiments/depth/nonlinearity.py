"""What the bend of a smooth activation does to the flat directions of an approximate lift (claim B6
for tanh)."""

from __future__ import annotations

import torch
from torch import Tensor

from lib.depth import layer_on_data
from lib.linear import above_rounding
from lib.nets import MLP, Loss, mse


def bending(net: MLP, x: Tensor, y: Tensor, layer: int, loss: Loss = mse) -> Tensor:
    """Curvatures that sigma'' adds along the directions in which an affine layer could move freely,
    ascending.

    On the directions u = (dW, db) of W^[l], b^[l] with A dW = 0 and A db = 0 (A = W^[l+1]) the
    output of an affine layer does not change. With e_i = dR/dz^[l+1]_i, f = f^[l-1] and z = z^[l]
    the Hessian has on them the form

        K(u) = sum_i sum_j <e_i, A_j> sigma''(z_ij) (dw_j . f_i + db_j)^2.

    In `approximate_lift` A grows as 1/scale and sigma''(z) falls as scale at an inflection point: K
    has a limit, and the Hessian's eigenvalues approach it. At a critical shallow point K(0, db) ->
    0, so K has both signs unless all (0, db) lie in its kernel.

    Args:
        layer: hidden layer l of one net, with m_l > rank A for a free direction.
    Returns:
        the eigenvalues of K, ((m_l - rank A) (m_{l-1} + 1),).
    Raises:
        ValueError: layer outside 1..L-1, a batch of nets, or no free direction.

    Source: ours.

    >>> from lib.nets import init
    >>> x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    >>> bending(init((1, 3, 1), generator=0), x, x**2, 1).shape
    torch.Size([4])
    """
    on = layer_on_data(net, x, layer)
    outer = net.weights[layer]
    _, s, rows = torch.linalg.svd(outer, full_matrices=True)
    rank = int(above_rounding(s, outer.shape).sum())
    free = rows[rank:]
    if len(free) == 0:
        raise ValueError(
            f"layer {layer} of {net!r} has no free direction: its {net.widths[layer]} neurons are"
            f" all fixed by the layer behind; expected more than {rank} neurons"
        )
    e = on.reader_errors(y, loss)
    f = torch.cat([on.inputs, torch.ones_like(on.inputs[:, :1])], 1)
    blocks = torch.einsum("ij,ia,ib->jab", (e @ outer) * net.activation.second(on.z), f, f)
    k = torch.einsum("pj,jab,qj->paqb", free, blocks, free)
    return torch.linalg.eigvalsh(k.reshape(len(free) * f.shape[1], -1))
