"""One net for all that permutations and sign flips make of it, and distances that do not see
them."""

from __future__ import annotations

import math

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from lib.nets.mlp import MLP, check_mlp
from lib.nets.samples import check_finite
from lib.symmetry.alignment import of_size_one

ODD = ("tanh", "identity")  # sigma(-t) = -sigma(t): a neuron may flip (w, b, a) -> (-w, -b, -a)


def canonical(net: MLP) -> MLP:
    """The same functions with neurons in a fixed order and, for odd activations, fixed signs.

    In every hidden layer: where the activation is odd, the first non-zero entry of a neuron's
    (W_s, b_s), or failing that of its output weights, is made positive; then neurons are sorted by
    (W_s, b_s, W^[l+1]_{:,s}).

    For two layers, nets that differ by permutation and signs have one canonical form, bit for bit.
    With more layers this holds as long as no two neurons of a layer share all input weights: a tie
    is broken by weights not yet sorted.

    Args:
        net: any depth and batch.
    Returns:
        Nets of the same shape.

    >>> weights = (torch.tensor([[2.0], [-1.0]]), torch.tensor([[3.0, 4.0]]))
    >>> canonical(MLP(weights, (torch.tensor([0.0, 5.0]), None))).weights
    (tensor([[1.],
            [2.]]), tensor([[-4.,  3.]]))
    """
    check_mlp("net", net)
    odd = net.activation.name in ODD
    weights, biases = (
        [w.clone() for w in net.weights],
        [None if b is None else b.clone() for b in net.biases],
    )
    for layer in range(net.depth - 1):
        w, b, out = weights[layer], biases[layer], weights[layer + 1]
        if odd:
            keys = _keys(w, b, out)
            first = (keys != 0).to(torch.int64).argmax(-1, keepdim=True)
            sign = torch.where(keys.gather(-1, first).squeeze(-1) < 0, -1.0, 1.0).to(w.dtype)
            w, out = w * sign.unsqueeze(-1), out * sign.unsqueeze(-2)
            b = None if b is None else b * sign
        w, out = w + 0.0, out + 0.0  # -0.0 becomes 0.0, so that flips leave no trace
        b = None if b is None else b + 0.0
        order = _lexicographic(_keys(w, b, out))
        weights[layer] = w.gather(-2, order.unsqueeze(-1).expand_as(w))
        biases[layer] = None if b is None else b.gather(-1, order)
        weights[layer + 1] = out.gather(-1, order.unsqueeze(-2).expand_as(out))
    return MLP(weights, biases, net.activation)


def orbit_distance(a: MLP, b: MLP, *, output_weights: bool = True) -> float:
    """The least Euclidean distance between two two-layer nets over permutations and, where odd,
    signs of their neurons.

    min over permutations pi and signs s of || a - (s pi) b ||: a linear assignment, exact, since
    neurons contribute one by one.

    Args:
        a, b: single two-layer nets of one shape.
        output_weights: compare W^[2] as well; without it (w, b) alone, which all splittings of one
            net share.
    Raises:
        ValueError: a batch, another depth, shapes and activations that differ, or numbers that are
            not finite.

    >>> net = MLP((torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0, 4.0]])))
    >>> other = MLP((torch.tensor([[2.0], [-1.0]]), torch.tensor([[4.0, -3.0]])))
    >>> orbit_distance(net, other)
    0.0
    """
    for name, net in (("a", a), ("b", b)):
        check_mlp(name, net)
        for p in net.parameters():
            check_finite(f"the weights of {name}", p)
        if net.batch or net.depth != 2:
            raise ValueError(f"{net}: expected one two-layer net")
    if (
        a.widths != b.widths
        or a.activation != b.activation
        or [t is None for t in a.biases] != [t is None for t in b.biases]
    ):
        raise ValueError(f"cannot compare {a} with {b}: expected one shape and activation")
    u, v, size = of_size_one(*(_neurons(net, output_weights) for net in (a, b)))
    cost = (u[:, None] - v).square().sum(-1)
    if a.activation.name in ODD:
        cost = torch.minimum(cost, (u[:, None] + v).square().sum(-1))
    rows, columns = linear_sum_assignment(cost.cpu().numpy())
    apart = size * math.sqrt(float(cost[rows, columns].sum()))
    ours, theirs = a.biases[1], b.biases[1]
    if output_weights and ours is not None and theirs is not None:
        ours, theirs, size = of_size_one(ours, theirs)
        apart = math.hypot(apart, size * float((ours - theirs).norm()))
    return apart


def _neurons(net: MLP, output_weights: bool) -> Tensor:
    """(m, .): what belongs to each hidden neuron of one two-layer net."""
    parts = [net.weights[0]]
    parts += [net.biases[0].unsqueeze(-1)] if net.biases[0] is not None else []
    parts += [net.weights[1].mT] if output_weights else []
    return torch.cat(parts, -1)


def _keys(w: Tensor, b: Tensor | None, out: Tensor) -> Tensor:
    return torch.cat([w, *([] if b is None else [b.unsqueeze(-1)]), out.mT], -1)


def _lexicographic(keys: Tensor) -> Tensor:
    """Indices that sort rows (*batch, m, k) by their first entry, ties by the second, and so on."""
    order = torch.arange(keys.shape[-2]).expand(keys.shape[:-1])
    for column in keys.unbind(-1)[::-1]:
        order = order.gather(-1, column.gather(-1, order).sort(dim=-1, stable=True).indices)
    return order
