"""Merging the channels of convolutional nets: the left inverse of splitting a channel.

A channel is a kernel with its bias: a neuron whose copies sit at every pixel. Elementwise
activations and pooling keep copies of a channel copies, and positive multiples positive multiples,
so the plan of a dense layer serves unchanged."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Generic

import torch
from torch import Tensor, nn

from lib.merge.batchnorm import fold_batchnorm
from lib.merge.neurons import LayerReport
from lib.merge.rows import Likeness, RowMerge, plan_merge
from lib.merge.traced import merge_traced_channels
from lib.nets import Activation, Chain
from lib.nets.activations import get
from lib.nets.chain import Net, as_chain, as_given, plain
from lib.nets.checks import check_preserved
from lib.nets.drawing import Randomness
from lib.nets.flow import Flow, flow, set_parameter, set_widths
from lib.nets.kinds import ELEMENTWISE, Joint
from lib.nets.samples import check_samples
from lib.nets.sequential import activation_of
from lib.traced.editing import is_traced

PROBED = 16  # inputs on which folding is measured


@dataclass(frozen=True, eq=False)
class ChannelMerge(Generic[Net]):
    """A net with merged channels, and its outputs compared with those before.

    Args:
        net: the result, in eval mode, its batch normalisation folded, dropout gone.
        layers: a report for each hidden layer.
        change: max_i |f'(x_i) - f(x_i)| (2-norm over outputs);  size: max_i |f(x_i)|, to compare
            with.
        agreement: share of the inputs with the same largest output, None for one output.
    """

    net: Net
    layers: tuple[LayerReport, ...]
    change: float
    size: float
    agreement: float | None


def merge_channels(
    net: Net,
    x: Tensor,
    cosine: float = 0.9,
    amplitude: float = 0.0,
    *,
    tolerance: float | None = None,
    rule: str = "complete",
    representative: str = "mean",
    generator: Randomness = None,
) -> ChannelMerge[Net]:
    """Each group of similar channels (and of neurons of dense layers) becomes one, as in
    `merge_neurons`.

    Args:
        net: a `Chain` (a VGG is one) or nn.Sequential of Conv2d, Linear, activations, pooling,
            Flatten, dropout and BatchNorm, in eval mode; or any module that torch.fx traces, such
            as a residual net, whose groups of channels that belong together are merged and whose
            BatchNorm stays; left as it is.
        x: inputs (n, ...) on which the outputs are compared.
        cosine, amplitude, tolerance, rule, representative, generator: as in `merge_neurons`, for
            rows (kernel, bias). A constant channel joins the next bias where no zero padding would
            tell it from one.
    Returns:
        The net, the groups, and the comparison.
    Raises:
        ValueError: the net is in training mode, no inputs, thresholds out of range, or folding
            changed the outputs.
        TypeError: a module that mixes channels or has a slope for each (PReLU), or normalisation
            that cannot be folded.
    Source: (Zhang et al. 2021, App. A.1: channels sharing a kernel), read backwards.

    >>> from lib.width import split_channel
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 1)).eval()
    >>> wide = split_channel(net, 1, 1, 0.3)
    >>> merge_channels(wide, torch.ones(1, 1, 4, 4), cosine=1.0).layers[0].groups
    ((0,), (1, 2))
    """
    like = Likeness(cosine, amplitude, tolerance, rule, representative, generator)
    if is_traced(net):
        with torch.no_grad():
            merged, own_reports = merge_traced_channels(net, like)
            return _compared(merged, own_reports, _run(net, x), _run(merged, x))
    whole = copy.deepcopy(as_chain(net))
    folded = plain(fold_batchnorm(whole))
    reports = []
    with torch.no_grad():
        before = _outputs(whole.eval(), x)
        check_preserved(whole, folded, x[:PROBED])
        for layer in range(1, folded.depth):
            found = flow(folded, layer)
            if found.followers:
                raise TypeError(
                    f"PReLU behind layer {layer} has a slope for each channel: expected one slope"
                )
            columns = found.columns()
            plan = plan_merge(
                _kernels(found.source),
                columns.movedim(1, -1).flatten(0, -2),
                _activation(found),
                like,
                foldable=_takes_constants(found),
            )
            _apply(found, columns, plan)
            reports.append(LayerReport(layer, plan.groups, plan.dropped, plan.folded, plan.bound))
        after = _outputs(folded, x)
    return _compared(as_given(net, folded), tuple(reports), before, after)


def _compared(
    net: Net, reports: tuple[LayerReport, ...], before: Tensor, after: Tensor
) -> ChannelMerge[Net]:
    change, size = (float(t.norm(dim=1).max()) for t in (after - before, before))
    same = (before.argmax(1) == after.argmax(1)).double().mean()
    agreement = float(same) if before.shape[1] > 1 else None
    return ChannelMerge(net, reports, change, size, agreement)


def _run(net: nn.Module, x: Tensor) -> Tensor:
    """The outputs of a module that is traced, (n, .); x is left as it is."""
    check_samples(x)
    outputs: Tensor = net(x.clone())
    if not isinstance(outputs, Tensor):
        raise TypeError(f"the net gives {type(outputs).__name__}: expected one tensor")
    return outputs.flatten(1)


def _outputs(net: Chain, x: Tensor) -> Tensor:
    """The outputs (n, .), after checking that dense layers read (n, features)."""
    check_samples(x)
    f = net.features(x[:1])
    for layer in range(1, net.depth + 1):
        if isinstance(net.joint(layer), nn.Linear) and f[layer - 1].dim() != 2:
            raise ValueError(
                f"layer {layer} is Linear and reads {tuple(f[layer - 1].shape)}: expected"
                " (n, features), whose last axis BatchNorm acts on too"
            )
    outputs: Tensor = net(x)
    return outputs.flatten(1)


def _kernels(source: Joint) -> Tensor:
    w = source.weight.flatten(1)
    bias = w.new_zeros(len(w)) if source.bias is None else source.bias
    return torch.cat([w, bias.unsqueeze(1)], dim=1)


def _apply(found: Flow, columns: Tensor, plan: RowMerge) -> None:
    source, reader, outgoing = found.source, found.reader, columns.movedim(1, -1)
    if reader.bias is not None:
        gained = (outgoing @ plan.constants).flatten(1).sum(1)
        set_parameter(reader, "bias", reader.bias + gained)
    set_parameter(reader, "weight", (outgoing @ plan.mixing).movedim(-1, 1).flatten(1, 2))
    set_widths(reader, inputs=reader.weight.shape[1])
    shape = source.weight.shape[1:]
    set_parameter(source, "weight", plan.rows[:, :-1].reshape(-1, *shape))
    if source.bias is not None:
        set_parameter(source, "bias", plan.rows[:, -1])
    set_widths(source, outputs=len(plan.rows))


def _activation(found: Flow) -> Activation:
    # What stands between a source and its reader as one function; only its value, name and degree
    # are used.
    between = [
        m
        for m in found.between
        if type(m) in (*ELEMENTWISE, nn.PReLU, nn.RReLU) and type(m) is not nn.Identity
    ]
    if not between:
        return get("identity")
    try:
        known = [activation_of(m) for m in between]
    except TypeError:  # GELU and the like: not homogeneous, and no bound
        known = []
    if len(known) == 1:
        return known[0]
    homogeneous = bool(known) and all(s.degree == 1 for s in known)
    whole = copy.deepcopy(nn.Sequential(*between))

    def value(t: Tensor) -> Tensor:
        result: Tensor = whole(t.clone())  # a module may work in place
        return result

    return Activation("chain", value, value, value, degree=1 if homogeneous else None)


def _takes_constants(found: Flow) -> bool:
    # Zero padding makes a constant channel differ at the border, and a divisor of one's own changes
    # it everywhere: then no bias can replace it.
    for m in (*found.between, found.reader):
        if isinstance(m, nn.Conv2d) and m.padding not in (0, (0, 0), "valid"):
            if m.padding_mode == "zeros":
                return False
        elif isinstance(m, nn.AvgPool2d):
            padded = m.padding not in (0, (0, 0)) and m.count_include_pad
            if padded or m.divisor_override is not None:
                return False
    return found.reader.bias is not None
