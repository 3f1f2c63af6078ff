"""Merging the channels of convolutional nets: the left inverse of splitting a channel.

A channel is a kernel with its bias: a neuron whose copies sit at every pixel. Elementwise
activations and pooling keep copies of a channel copies, and positive multiples positive multiples,
so the plan of a dense layer serves unchanged."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lib.merge.batchnorm import fold_batchnorm
from lib.merge.neurons import LayerReport
from lib.merge.rows import Likeness, RowMerge, plan_merge
from lib.nets import Activation
from lib.nets.activations import get
from lib.nets.drawing import Randomness
from lib.nets.sequential import activation_of
from lib.width.channels import ELEMENTWISE, _columns, _put, _trace


@dataclass(frozen=True, eq=False)
class ChannelMerge:
    """A net with merged channels, and its outputs compared with those before.

    Args:
        net: the result, in eval mode, its batch normalisation folded.
        layers: a report for each layer with a reader; `layer` is its place in `net`, whose modules
            keep their places.
        change: max_i |f'(x_i) - f(x_i)| (2-norm over outputs);  size: max_i |f(x_i)|, to compare
            with.
        agreement: share of the inputs with the same largest output, None for one output.
    """

    net: nn.Sequential
    layers: tuple[LayerReport, ...]
    change: float
    size: float
    agreement: float | None


def merge_channels(
    net: nn.Sequential,
    x: Tensor,
    cosine: float = 0.9,
    amplitude: float = 0.0,
    *,
    tolerance: float | None = None,
    rule: str = "complete",
    representative: str = "mean",
    generator: Randomness = None,
) -> ChannelMerge:
    """Each group of similar channels (and of neurons of dense layers) becomes one, as in
    `merge_neurons`.

    Args:
        net: nn.Sequential of Conv2d, Linear, activations, pooling, Flatten, Dropout and BatchNorm,
            in eval mode.
        x: inputs (n, ...) on which the outputs are compared.
        cosine, amplitude, tolerance, rule, representative, generator: as in `merge_neurons`, for
            rows (kernel, bias). A constant channel joins the next bias where no zero padding would
            tell it from one.
    Returns:
        The net, the groups, and the comparison.
    Raises:
        ValueError: the net is in training mode, no inputs, or thresholds out of range.
        TypeError: a module that mixes channels, or normalisation that cannot be folded.
    Source: (Zhang et al. 2021, App. A.1: channels sharing a kernel), read backwards.

    >>> from lib.width.channels import split_channel
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 4, 1)).eval()
    >>> merge_channels(split_channel(net, 0, 1, 0.3), torch.ones(1, 1, 4, 4), cosine=1.0).layers[0].groups
    ((0,), (1, 2))
    """
    folded = fold_batchnorm(net)
    if len(x) == 0:
        raise ValueError("got no inputs: expected at least one to compare outputs on")
    like = Likeness(cosine, amplitude, tolerance, rule, representative, generator)
    reports = []
    last = max(at for at, m in enumerate(folded) if isinstance(m, (nn.Conv2d, nn.Linear)))
    places = [
        at for at, m in enumerate(folded) if isinstance(m, (nn.Conv2d, nn.Linear)) and at != last
    ]
    with torch.no_grad():
        before = net(x).flatten(1)
        for at in places:
            path = _trace(folded, at)
            reader = folded[path.reader]
            columns = _columns(reader.weight, path.pixels)
            plan = plan_merge(
                _kernels(folded[at]),
                columns.movedim(1, -1).flatten(0, -2),
                _activation(folded, at, path.reader),
                like,
                foldable=_takes_constants(folded, at, path.reader),
            )
            _apply(folded[at], reader, columns, plan)
            reports.append(LayerReport(at, plan.groups, plan.dropped, plan.folded, plan.bound))
        after = folded(x).flatten(1)
    change, size = (float(t.norm(dim=1).max()) for t in (after - before, before))
    same = (
        float((after.argmax(1) == before.argmax(1)).double().mean())
        if before.shape[1] > 1
        else None
    )
    return ChannelMerge(folded, tuple(reports), change, size, same)


def _kernels(source: nn.Conv2d | nn.Linear) -> Tensor:
    w = source.weight.flatten(1)
    return torch.cat(
        [w, (w.new_zeros(len(w)) if source.bias is None else source.bias).unsqueeze(1)], dim=1
    )


def _apply(source: nn.Module, reader: nn.Module, columns: Tensor, plan: RowMerge) -> None:
    shape = source.weight.shape[1:]
    if reader.bias is not None:
        gained = (columns.movedim(1, -1) @ plan.constants).flatten(1).sum(1)
        _put(reader, "bias", reader.bias + gained)
    weight = (columns.movedim(1, -1) @ plan.mixing).movedim(-1, 1).flatten(1, 2)
    _put(reader, "weight", weight)
    _put(source, "weight", plan.rows[:, :-1].unflatten(1, shape))
    if source.bias is not None:
        _put(source, "bias", plan.rows[:, -1])
    for module, name, width in ((source, "out", len(plan.rows)), (reader, "in", weight.shape[1])):
        setattr(
            module,
            f"{name}_channels" if isinstance(module, nn.Conv2d) else f"{name}_features",
            width,
        )


def _activation(net: nn.Sequential, start: int, stop: int) -> Activation:
    # What stands between a source and its reader as one function; only its value, name and degree
    # are used.
    between = [
        m
        for m in net[start + 1 : stop]
        if isinstance(m, ELEMENTWISE) and not isinstance(m, nn.Identity)
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
    chain = nn.Sequential(*between)
    return Activation("chain", chain, chain, chain, degree=1 if homogeneous else None)


def _takes_constants(net: nn.Sequential, start: int, stop: int) -> bool:
    # Zero padding makes a constant channel differ at the border: then no bias can replace it.
    modules = [m for m in net[start + 1 : stop + 1] if isinstance(m, (nn.Conv2d, nn.AvgPool2d))]
    for m in modules:
        padded = m.padding not in (0, (0, 0), "valid")
        if padded and (
            m.padding_mode == "zeros" if isinstance(m, nn.Conv2d) else m.count_include_pad
        ):
            return False
    return net[stop].bias is not None
