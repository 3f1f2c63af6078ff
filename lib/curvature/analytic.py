"""The two parts of the Hessian of R_S in closed form, for a batch of nets of any depth.

With a_l = W^[l] f^[l-1] + b^[l], P_l = da_l/dtheta and the errors delta_l = dR/da_l,

    H1 = sum_i P_L^T (d2 loss/df2) P_L                                      (Gauss-Newton)
    H2 = sum_i [ sum_{l<L} P_l^T diag(c_l) P_l + sum_{1<l<=L} (X_l + X_l^T) ],
    c_l = (W^[l+1]^T delta_{l+1}) sigma''(a_l),

where X_l couples W^[l]_jk with every earlier parameter: row (j,k) is delta_l,j df_k^[l-1]/dtheta.
Neuron j of the
first layer depends on its own input weights alone, so P_1 is kept as its diagonal blocks: a
two-layer net of width 500 needs no array larger than its Hessian. The others are (B, neuron,
parameter, sample): then no product has to move one of them in memory.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib.curvature.jets import jet, loss_jet
from lib.curvature.two_layer import squared_error_parts
from lib.nets import MLP, Loss, mse


def parts(net: MLP, x: Tensor, y: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """H1 (Gauss-Newton) and H2 of nets with one batch dimension; see the module's formula.

    Args:
        net: batch (B,);  x: (n, m_0);  y: targets;  loss: one of `CLOSED_FORM`.
    Returns:
        Two tensors (B, M, M), symmetric up to rounding, in the order of `lib.nets.mlp.flatten`.

    >>> h1, h2 = parts(MLP((torch.ones(1, 1, 1),)), torch.ones(4, 1), torch.zeros(4, 1), mse)
    >>> h1.flatten(), h2.flatten()
    (tensor([2.0000]), tensor([0.]))
    """
    if net.depth == 2 and loss is mse:
        return squared_error_parts(net, x, y)
    depth, size = net.depth, net.n_parameters
    count = net.batch[0]
    ends, w_ends = _offsets(net)
    xt = x.T if net.biases[0] is None else torch.cat([x.T, x.new_ones(1, x.shape[0])])  # (d', n)

    values: list[Tensor] = []
    firsts: list[Tensor] = []
    seconds: list[Tensor] = []
    f = x.T
    for w, b in zip(net.weights, net.biases, strict=True):
        a = w @ f if b is None else w @ f + b.unsqueeze(-1)  # (B, m_l, n)
        if len(values) < depth - 1:
            f, s1, s2 = jet(net.activation, a)
            values.append(f)
            firsts.append(s1)
            seconds.append(s2)
    delta, root = loss_jet(loss, a, y)
    deltas, pulled = [delta], []  # pulled: W^[l+1]^T delta_{l+1}
    for w, s1 in zip(net.weights[:0:-1], firsts[::-1], strict=True):
        pulled.append(w.mT @ deltas[-1])
        deltas.append(pulled[-1] * s1)
    deltas, pulled = deltas[::-1], pulled[::-1]

    h2 = x.new_zeros(count, size, size)
    if depth == 1:
        p = _own_block(x.new_zeros(count, net.widths[-1], size, x.shape[0]), 0, w_ends[0], xt)
    else:
        own = torch.cat(
            [torch.arange(w_ends[0]).view(net.widths[1], -1), _bias_index(net)], 1
        )  # (m_1, d')
        own = own.to(x.device)
        _first_layer_blocks(h2, net, own, xt, pulled[0] * seconds[0], deltas[1], firsts[0], ends[0])
        p = x.new_zeros(count, net.widths[2], ends[1], x.shape[0])
        u = firsts[0].unsqueeze(2) * xt  # da_1/d(own weights) sigma', (B, m_1, d', n)
        p[:, :, own.reshape(-1)] = (net.weights[1][..., None, None] * u.unsqueeze(1)).flatten(2, 3)
        _own_block(p, ends[0], w_ends[1], _with_one(values[0], net.biases[1]))
    for layer in range(2, depth):  # zero-based: from P_layer to P_{layer+1}
        _add_gram(h2, p, pulled[layer - 1] * seconds[layer - 1])
        q = p * firsts[layer - 1].unsqueeze(2)  # df^[layer]/dtheta
        cross = (deltas[layer] @ q.flatten(1, 2).mT).view(count, -1, ends[layer - 1])
        rows = slice(ends[layer - 1], w_ends[layer])
        h2[:, rows, : ends[layer - 1]] += cross
        h2[:, : ends[layer - 1], rows] += cross.mT
        p = x.new_zeros(count, net.widths[layer + 1], ends[layer], x.shape[0])
        p[:, :, : ends[layer - 1]] = (net.weights[layer] @ q.flatten(2)).unflatten(
            -1, (-1, x.shape[0])
        )
        _own_block(
            p, ends[layer - 1], w_ends[layer], _with_one(values[layer - 1], net.biases[layer])
        )
    g = p * root if isinstance(root, float) else torch.einsum("bkpn,bkcn->bcpn", p, root)
    g = g.transpose(1, 2).flatten(2)
    return g @ g.mT, h2


def _offsets(net: MLP) -> tuple[list[int], list[int]]:
    """Where in `flatten`'s order each layer ends, and where its weight does."""
    ends, w_ends, at = [], [], 0
    for layer, b in enumerate(net.biases):
        w_ends.append(at + net.widths[layer] * net.widths[layer + 1])
        at = w_ends[-1] + (0 if b is None else net.widths[layer + 1])
        ends.append(at)
    return ends, w_ends


def _bias_index(net: MLP) -> Tensor:
    start, width = net.widths[0] * net.widths[1], net.widths[1]
    columns = 0 if net.biases[0] is None else 1
    return torch.arange(start, start + columns * width).view(width, columns)


def _with_one(f: Tensor, bias: Tensor | None) -> Tensor:
    return f if bias is None else torch.cat([f, f.new_ones(f.shape[0], 1, f.shape[2])], 1)


def _own_block(p: Tensor, start: int, w_end: int, f: Tensor) -> Tensor:
    """Write da_j/dW_jk = f_k and da_j/db_j = 1 into the rows of the layer's own parameters."""
    width = p.shape[1]
    fan_in = (w_end - start) // width
    for j in range(width):
        p[:, j, start + j * fan_in : start + (j + 1) * fan_in] = f[..., :fan_in, :]
        if f.shape[-2] > fan_in:
            p[:, j, w_end + j] = 1
    return p


def _first_layer_blocks(
    h2: Tensor, net: MLP, own: Tensor, xt: Tensor, c: Tensor, delta: Tensor, slope: Tensor, end: int
) -> None:
    """The diagonal blocks of layer 1 and its coupling X_2 with W^[2], neuron by neuron."""
    squares = (xt.unsqueeze(1) * xt).flatten(0, 1)  # (d'^2, n)
    block = (c @ squares.T).unflatten(-1, (len(xt), len(xt)))
    h2[:, own.unsqueeze(2), own.unsqueeze(1)] = block
    cross = torch.einsum("bkn,bjn,cn->bkjc", delta, slope, xt)
    rows = end + torch.arange(delta.shape[1] * slope.shape[1], device=own.device).view(
        delta.shape[1], -1, 1
    )
    h2[:, rows, own] = cross
    h2[:, own, rows] = cross


def _add_gram(h: Tensor, p: Tensor, weight: Tensor) -> None:
    """Add sum_kn weight_kn p_k.n p_k.n^T; p (B, K, P, n), weight (B, K, n)."""
    size = p.shape[2]
    for rows, w in zip(p.unbind(1), weight.unbind(1), strict=True):
        h[:, :size, :size] += (rows * w.unsqueeze(1)) @ rows.mT
