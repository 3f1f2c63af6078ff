"""The two parts of the Hessian of a two-layer net's squared error, from one Gram matrix of
n-vectors a net.

With s_j = sigma(a_j), u_jc = sigma'(a_j) x_c (x_c = 1 for the bias) and A = W^[2], every derivative
of the output is a multiple of a row of T = [u; s; 1]: df_k/dW^[1]_jc = A_kj u_jc, df_k/dA_kj = s_j.
So with G = T T^T, kappa = 2 / (n m_2),

    H1[jc, j'c'] = kappa (A^T A)_jj' G[u_jc, u_j'c'],
    H1[jc, kj'] = kappa A_kj G[u_jc, s_j'],           H1[kj, kj'] = kappa G[s_j, s_j'],
    H2[jc, jc'] = sum_i (A^T delta)_j sigma''(a_j) x_c x_c',   H2[jc, kj] = sum_i delta_k u_jc,

delta = dR/df. G does not grow with the number of outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib.curvature.jets import jet
from lib.nets import MLP


def squared_error_parts(net: MLP, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """H1 (Gauss-Newton) and H2 of two-layer nets with one batch dimension; see the module's
    formula.

    Args:
        net: batch (B,), depth 2;  x: (n, m_0);  y: (n, m_2).
    Returns:
        Two tensors (B, M, M), symmetric up to rounding, in the order of `lib.nets.mlp.flatten`.

    >>> net = MLP((torch.ones(1, 1, 1), torch.ones(1, 1, 1)), activation="identity")
    >>> sum(squared_error_parts(net, torch.ones(4, 1), torch.ones(4, 1))).tolist()
    [[[2.0, 2.0], [2.0, 2.0]]]
    """
    (w, a), (b, b_out) = net.weights, net.biases
    count, (d, m, k), n = net.batch[0], net.widths, x.shape[0]
    kappa = 2 / (n * k)
    s, s1, s2 = jet(
        net.activation, w @ x.T if b is None else w @ x.T + b.unsqueeze(-1)
    )  # (B, m, n)
    f = a @ s if b_out is None else a @ s + b_out.unsqueeze(-1)
    delta = kappa * (f - y.T)

    own = d * m + (0 if b is None else m)  # parameters of layer 1, in the order W^[1], b^[1]
    features = m + (0 if b_out is None else 1)
    t = x.new_empty(count, own + features, n)
    torch.mul(s1.unsqueeze(2), x.T, out=t[:, : d * m].view(count, m, d, n))
    if b is not None:
        t[:, d * m : own] = s1
    t[:, own : own + m] = s
    if b_out is not None:
        t[:, own + m :] = 1
    gram = kappa * (t @ t.mT)

    neuron, column = _labels(d, m, b is not None, x.device)  # of every parameter of layer 1
    scale = a[:, :, neuron]  # (B, k, own)
    h1, h2 = x.new_zeros(2, count, net.n_parameters, net.n_parameters)
    h1[:, :own, :own] = gram[:, :own, :own] * (scale.mT @ scale)
    cross = gram[:, None, :own, own:] * scale.unsqueeze(-1)  # (B, k, own, features)
    for j in range(k):
        rows = slice(own + j * m, own + (j + 1) * m)
        _symmetric(h1, slice(0, own), rows, cross[:, j, :, :m])
        h1[:, rows, rows] = gram[:, own : own + m, own : own + m]
        if b_out is not None:
            at = slice(own + k * m + j, own + k * m + j + 1)
            _symmetric(h1, slice(0, own), at, cross[:, j, :, m:])
            _symmetric(h1, rows, at, gram[:, own : own + m, own + m :])
            h1[:, at, at] = gram[:, own + m :, own + m :]

    xt = x.T if b is None else torch.cat([x.T, x.new_ones(1, n)])
    block = ((a.mT @ delta) * s2) @ (xt.unsqueeze(1) * xt).flatten(0, 1).T  # (B, m, d'^2)
    p, q = (neuron.unsqueeze(1) == neuron).nonzero(as_tuple=True)
    h2[:, p, q] = block[:, neuron[p], column[p] * len(xt) + column[q]]
    coupling = (t[:, :own] @ delta.mT).mT  # (B, k, own)
    outer = own + torch.arange(k, device=x.device).unsqueeze(1) * m + neuron
    inner = torch.arange(own, device=x.device)
    h2[:, inner, outer] = coupling
    h2[:, outer, inner] = coupling
    return h1, h2


def _labels(d: int, m: int, bias: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """The neuron and the input (d for the bias) that each parameter of layer 1 belongs to."""
    neurons, columns = torch.arange(m, device=device), torch.arange(d, device=device)
    neuron, column = neurons.repeat_interleave(d), columns.repeat(m)
    if not bias:
        return neuron, column
    return torch.cat([neuron, neurons]), torch.cat([column, torch.full_like(neurons, d)])


def _symmetric(h: Tensor, rows: slice, columns: slice, values: Tensor) -> None:
    h[:, rows, columns] = values
    h[:, columns, rows] = values.mT
