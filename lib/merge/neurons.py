"""Merging the neurons of a fully connected net: the left inverse of splitting, null embedding and
rescaling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.merge.grouping import Groups
from lib.merge.rows import Likeness, RowMerge, lipschitz, plan_merge
from lib.nets import MLP, features, forward
from lib.nets.checks import check_single
from lib.nets.dense import check_inputs, check_precise
from lib.nets.drawing import Randomness

ORDINARY = 20  # largest parameters of a layer within 2^-20..2^20 are left as they are


@dataclass(frozen=True)
class LayerReport:
    """What happened to one hidden layer; neurons are numbered as in the net before.

    Args:
        layer: l in 1..L-1.
        groups: members of each neuron that stays, its leader first.
        dropped, folded: neurons removed without trace, and replaced by a constant in the next bias.
        bound: largest change of the pre-activation of layer l + 1 (2-norm) per unit of |(f^[l-1],
            1)|.
    """

    layer: int
    groups: Groups
    dropped: tuple[int, ...]
    folded: tuple[int, ...]
    bound: float


@dataclass(frozen=True, eq=False)
class NeuronMerge:
    """A net with merged neurons.

    Args:
        net: the result.
        layers: a report for each layer that was looked at.
        predicted: bound on max_i |f'(x_i) - f(x_i)| (2-norm) from the parameters and the sizes of
            the features on x;
        found: that maximum itself. Both are None without x.

    >>> from lib.nets import init
    >>> merge_neurons(init((1, 3, 1), "relu", generator=0)).found is None
    True
    """

    net: MLP
    layers: tuple[LayerReport, ...]
    predicted: float | None
    found: float | None


def merge_neurons(
    net: MLP,
    cosine: float = 0.9,
    amplitude: float = 0.0,
    *,
    tolerance: float | None = None,
    rule: str = "complete",
    representative: str = "mean",
    generator: Randomness = None,
    x: Tensor | None = None,
) -> NeuronMerge:
    """Each group of similar neurons becomes one; neurons that write nothing go, constant ones join
    the next bias.

    For a p-homogeneous sigma a group of cos(v_k, v_j) >= cosine, v = (w, b), becomes one neuron v_j
    with output weights sum_k a_k (|v_k| / |v_j|)^p. For any other sigma equal neurons merge, with
    output weights sum_k a_k. With cosine = 1 the output changes by rounding alone, and
    `merge_neurons` undoes splitting, null embedding and the rescaling of copies; up to the order of
    neurons where the copy has taken all of the output weights (alpha = 1).

    Args:
        net: one net of any depth.
        cosine: of neurons in one group, in -1..1 (homogeneous sigma only).
        amplitude: neurons of at most this share of the layer's largest amplitude |a_k| |v_k|^p go;
            for a sigma that is not homogeneous the amplitude is |a_k| |w_k|, and such a neuron
            becomes the constant sigma(b_k).
        tolerance: largest |difference| of weights and biases that count as equal, and of weights
            that count as zero; default rounding, 64 eps of the layer's largest parameter.
        rule: what makes a group, see `lib.merge.grouping`.
        representative: direction of v_j: "mean" of the members, weighted by amplitude, "medoid"
            (the most central member), or "random" (any member, the paper's choice, drawn with
            `generator`).
        x: inputs (n, m_0) on which the output change is predicted and found.
    Returns:
        The net, the groups of every layer, and the output change.
    Raises:
        ValueError: a batch of nets, parameters or inputs that are not finite, thresholds out of
            range.
    Source: (Zhang et al. 2021, Sec. 3.2 and Fig. 5).

    >>> from lib.nets import init
    >>> from lib.width import split
    >>> net = init((2, 3, 1), "relu", generator=0)
    >>> merge_neurons(split(net, 1, 0, 0.25), cosine=1.0).layers[0].groups
    ((0, 3), (1,), (2,))
    """
    check_single(net)
    if x is not None:
        check_inputs(net, x)
        check_precise("the net", net.dtype)
        x = x.detach()
    net = net.map(Tensor.detach)
    like = Likeness(cosine, amplitude, tolerance, rule, representative, generator)
    before, reports, predicted = net, [], 0.0
    powers = _powers(net)
    net = _scaled(net, powers)
    for layer in range(1, net.depth):
        foldable = net.biases[layer] is not None
        plan = plan_merge(
            _rows(net, layer), net.weights[layer], net.activation, like, foldable=foldable
        )
        if x is not None:
            predicted += _predict(net, layer, plan.bound, x)
        net = _apply(net, layer, plan)
        reports.append(LayerReport(layer, plan.groups, plan.dropped, plan.folded, plan.bound))
    net, reports = _remove_dead(_scaled(net, [-power for power in powers]), reports)
    if x is None:
        return NeuronMerge(net, tuple(reports), None, None)
    found = float((forward(net, x) - forward(before, x)).norm(dim=-1).max())
    return NeuronMerge(net, tuple(reports), predicted, found)


def _powers(net: MLP) -> list[int]:
    # What brings the parameters of each hidden layer near to 1, as powers of 2, where a user scaled
    # a whole layer: small weights on huge features are then no longer taken for zero beside biases.
    powers, limit = [0] * (net.depth - 1), 500 if net.dtype == torch.float64 else 100
    for at in range(len(powers)) if net.activation.degree is not None else ():
        size = float(_rows(net, at + 1).abs().max())
        if size > 0 and not 2.0**-ORDINARY <= size <= 2.0**ORDINARY:
            powers[at] = max(-limit, min(limit, -math.frexp(size)[1]))
        net = _scaled(net, [power * (i == at) for i, power in enumerate(powers)])
    return powers


def _scaled(net: MLP, powers: Sequence[int]) -> MLP:
    """The same function, the neurons of hidden layer l times 2^powers[l - 1]: exact."""
    weights, biases, degree = list(net.weights), list(net.biases), net.activation.degree or 0
    for at, power in enumerate(powers):
        if power:
            bias, scale = biases[at], 2.0**power
            weights[at], weights[at + 1] = weights[at] * scale, weights[at + 1] / scale**degree
            biases[at] = None if bias is None else bias * scale
    return MLP(weights, biases, net.activation)


def _rows(net: MLP, layer: int) -> Tensor:
    w, b = net.weights[layer - 1].detach(), net.biases[layer - 1]
    return torch.cat([w, (w.new_zeros(len(w)) if b is None else b.detach()).unsqueeze(1)], dim=1)


def _apply(net: MLP, layer: int, plan: RowMerge) -> MLP:
    weights, biases = list(net.weights), list(net.biases)
    weights[layer - 1] = plan.rows[:, :-1]
    biases[layer - 1] = None if biases[layer - 1] is None else plan.rows[:, -1]
    behind = biases[layer]
    if behind is not None:
        biases[layer] = behind + weights[layer] @ plan.constants
    weights[layer] = weights[layer] @ plan.mixing
    return MLP(weights, biases, net.activation)


def _predict(net: MLP, layer: int, bound: float, x: Tensor) -> float:
    # The change of pre-activation layer + 1 passes through the layers behind it, each Lipschitz in
    # the 2-norm.
    f = features(net, x)[layer - 1]
    size = (f.norm(dim=-1) ** 2 + (net.biases[layer - 1] is not None)).sqrt().max()
    change = bound * float(size)
    for w in net.weights[layer + 1 :]:
        change *= lipschitz(net.activation) * float(torch.linalg.matrix_norm(w, 2))
    return change


def _remove_dead(net: MLP, reports: list[LayerReport]) -> tuple[MLP, list[LayerReport]]:
    # A neuron whose readers have all gone writes nothing now; from the output back, since removing
    # one may orphan others.
    for place in sorted(range(len(reports)), key=lambda i: -reports[i].layer):
        report = reports[place]
        read = (net.weights[report.layer] != 0).any(0)
        if read.all() or len(read) == 1:
            continue
        if not read.any():
            read[0] = True  # no layer is empty
        keep = read.nonzero().flatten()
        weights, biases, layer = list(net.weights), list(net.biases), report.layer
        weights[layer - 1], weights[layer] = weights[layer - 1][keep], weights[layer][:, keep]
        bias = biases[layer - 1]
        biases[layer - 1] = None if bias is None else bias[keep]
        net = MLP(weights, biases, net.activation)
        orphans = tuple(
            i for kept, g in zip(read.tolist(), report.groups, strict=True) if not kept for i in g
        )
        groups = tuple(g for kept, g in zip(read.tolist(), report.groups, strict=True) if kept)
        dropped = tuple(sorted((*report.dropped, *orphans)))
        reports[place] = LayerReport(layer, groups, dropped, report.folded, report.bound)
    return net, reports
