"""Telling critical points apart: canonical forms, orbit distances, and clusters modulo the
symmetries of a net."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from lib.critical.polishing import CriticalPoint
from lib.nets import MLP, forward

ODD = ("tanh", "identity")  # sigma(-t) = -sigma(t): a neuron may flip (w, b, a) -> (-w, -b, -a)


@dataclass(frozen=True)
class Cluster:
    """Critical points that are one function, up to symmetry and the tolerances asked for.

    Args:
        representative: the member of smallest gradient, one net, in canonical form.
        members: their indices in the flattened batch, (count,), int64.
        loss: the representative's.
        output: f(x) of the representative, (n, m_L).
        spread: largest root mean square difference of a member's output from the representative's.
    """

    representative: MLP
    members: Tensor
    loss: float
    output: Tensor
    spread: float

    @property
    def count(self) -> int:
        return len(self.members)


def canonical(net: MLP) -> MLP:
    """The same functions with neurons in a fixed order and, for odd activations, fixed signs.

    In every hidden layer: where the activation is odd, the first non-zero entry of a neuron's (W_s,
        b_s), or failing
    that of its output weights, is made positive; then neurons are sorted by (W_s, b_s,
    W^[l+1]_{:,s}).

    For two layers, nets that differ by permutation and signs have one canonical form, bit for bit.
    With more layers
    this holds as long as no two neurons of a layer share all input weights: a tie is broken by
        weights not yet sorted.

    Args:
        net: any depth and batch.
    Returns:
        Nets of the same shape.

    >>> a = MLP((torch.tensor([[2.0], [-1.0]]), torch.tensor([[3.0, 4.0]])), (torch.tensor([0.0, 5.0]), None))
    >>> canonical(a).weights
    (tensor([[1.],
            [2.]]), tensor([[-4.,  3.]]))
    """
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
        ValueError: a batch, another depth, or shapes and activations that differ.

    >>> net = MLP((torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0, 4.0]])))
    >>> other = MLP((torch.tensor([[2.0], [-1.0]]), torch.tensor([[4.0, -3.0]])))
    >>> orbit_distance(net, other)
    0.0
    """
    for net in (a, b):
        if net.batch or net.depth != 2:
            raise ValueError(f"{net}: expected one two-layer net")
    if (
        a.widths != b.widths
        or a.activation != b.activation
        or [t is None for t in a.biases] != [t is None for t in b.biases]
    ):
        raise ValueError(f"cannot compare {a} with {b}: expected one shape and activation")
    u, v = (_neurons(net, output_weights) for net in (a, b))
    cost = (u[:, None] - v).square().sum(-1)
    if a.activation.name in ODD:
        cost = torch.minimum(cost, (u[:, None] + v).square().sum(-1))
    rows, columns = linear_sum_assignment(cost.numpy())
    total = float(cost[rows, columns].sum())
    if output_weights and a.biases[1] is not None:
        total += float((a.biases[1] - b.biases[1]).square().sum())
    return total**0.5


def cluster(
    points: CriticalPoint | MLP,
    x: Tensor,
    *,
    losses: Tensor | None = None,
    loss_tolerance: float = 1e-6,
    output_tolerance: float = 1e-4,
    input_tolerance: float | None = None,
) -> tuple[Cluster, ...]:
    """Group critical points by loss, output function on the data and, if asked, input weights
    modulo symmetry.

    Two points are one cluster when their losses differ by at most `loss_tolerance`, their outputs f(x) by
    at most `output_tolerance` in root mean square, and their (w, b) by at most `input_tolerance` in
    `orbit_distance`. Mirror images x -> -x, y -> -y are different functions and stay apart.

    Args:
        points: converged critical points (`polish(...).found`), or nets with their `losses`; any
            batch, taken flat.
        x: inputs (n, m_0) on which functions are compared.
        losses: (*batch), only with nets.
        input_tolerance: compare input weights as well (two-layer nets); None leaves that out, since
            neurons with zero output weights may point anywhere.
    Returns:
        Clusters by falling loss; those of one loss in the order of their outputs.
    Raises:
        ValueError: points that did not converge, losses missing or superfluous, a negative
            tolerance, or a point that is close to two clusters that are not close to one another
            (the tolerance does not separate these points).

    Source: (Zhang et al. 2021, Fig. 4) clusters by loss, output function and input parameters.

    >>> net = MLP((torch.tensor([[[1.0]], [[-1.0]], [[2.0]]]), torch.tensor([[[3.0]], [[-3.0]], [[1.0]]])))
    >>> [c.count for c in cluster(net, torch.ones(4, 1), losses=torch.zeros(3))]
    [1, 2]
    """
    net, loss, gradient = _flat(points, losses)
    for name, tol in (
        ("loss_tolerance", loss_tolerance),
        ("output_tolerance", output_tolerance),
        ("input_tolerance", input_tolerance or 0.0),
    ):
        if not tol >= 0:
            raise ValueError(f"{name} is {tol}: expected >= 0")
    output = forward(net, x)
    leaders: list[int] = []
    members: list[list[int]] = []
    # In the order of their gradients, so that the best point of each cluster is the one the others
    # are compared with.
    for i in gradient.sort(stable=True).indices.tolist():
        near = [k for k, j in enumerate(leaders) if abs(float(loss[i] - loss[j])) <= loss_tolerance]
        near = [k for k in near if _rms(output[i], output[leaders[k]]) <= output_tolerance]
        if input_tolerance is not None:
            near = [
                k
                for k in near
                if orbit_distance(net[i], net[leaders[k]], output_weights=False) <= input_tolerance
            ]
        if len(near) > 1:
            raise ValueError(
                f"point {i} is within tolerance of clusters led by points"
                f" {[leaders[k] for k in near]}: tolerances loss {loss_tolerance}, output {output_tolerance},"
                f" input {input_tolerance} do not separate these points; polish further, or change the"
                " tolerances"
            )
        if near:
            members[near[0]].append(i)
        else:
            leaders.append(i), members.append([i])
    found = [
        Cluster(
            representative=canonical(net[j]),
            members=torch.tensor(sorted(of)),
            loss=float(loss[j]),
            output=output[j],
            spread=max(_rms(output[i], output[j]) for i in of),
        )
        for j, of in zip(leaders, members, strict=True)
    ]
    return tuple(
        sorted(
            found,
            key=lambda c: (
                -round(c.loss / max(loss_tolerance, 1e-300)),
                c.output.flatten().tolist(),
            ),
        )
    )


def _flat(points: CriticalPoint | MLP, losses: Tensor | None) -> tuple[MLP, Tensor, Tensor]:
    if isinstance(points, CriticalPoint):
        if losses is not None:
            raise ValueError("got losses and critical points: these carry their own")
        if not bool(points.converged.all()):
            lost = int((~points.converged).sum())
            raise ValueError(
                f"{lost} of {points.converged.numel()} points did not converge: pass points.found"
            )
        net, loss, gradient = points.net, points.loss, points.gradient
    else:
        if losses is None or losses.shape != points.batch:
            got = None if losses is None else tuple(losses.shape)
            raise ValueError(f"losses are {got}: nets need losses of shape {tuple(points.batch)}")
        net, loss, gradient = points, losses, torch.zeros_like(losses)
    flat = net.map(lambda p: p.reshape(-1, *p.shape[len(net.batch) :]))
    return flat, loss.reshape(-1), gradient.reshape(-1)


def _rms(a: Tensor, b: Tensor) -> float:
    return float((a - b).square().mean().sqrt())


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
