"""Splitting channels of convolutional nets: all kernels that read one channel share one alpha."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from lib.nets.chain import Net, as_chain, as_given, plain
from lib.nets.checks import check_neuron, check_preserved, finite_number
from lib.nets.flow import Flow, flow, reindex_channels, runs, set_parameter
from lib.nets.kinds import check_deterministic
from lib.width.traced import merge_traced, split_traced


def split_channel(
    net: Net, layer: int | str, channel: int, alpha: float, *, x: Tensor | None = None
) -> Net:
    """One-step splitting of a channel: a copy, placed last, takes the part alpha of all weights
    that read the channel.

    The kernels (and bias) that make the channel are copied, with a BatchNorm's scale, shift and
    running statistics and a PReLU's slope; the kernels K_{o,s} that read it become
    (1 - alpha) K_{o,s} and alpha K_{o,s} for all o with one alpha. After a Flatten, the columns of
    all the channel's pixels do. A dense layer's neuron is split in the same way.

    Output and criticality are kept, in training mode with BatchNorm too: the batch statistics of a
    copy are the same.

    Args:
        net: a `Chain` (a VGG is one), or an nn.Sequential of Conv2d, Linear, elementwise
            activations, pooling, BatchNorm, PReLU and Flatten; or any module that torch.fx traces,
            such as a residual net; left as it is.
        layer: l in 1..L-1, the number of the Conv2d or Linear whose output channel is split; for
            a net that is traced its name, and all channels that belong together are split.
        channel: counted from 0.
        alpha: any real number;  x: inputs (n, ...) on which to measure that the outputs stay; not
            measured by default, and dense layers are taken to act on (n, features).
    Returns:
        A new net of the same kind that shares nothing with `net`, every module in its mode.
    Raises:
        TypeError: a module for which copies of channels do not stay copies or parameters are not
            plain (grouped convolutions, GroupNorm, LayerNorm, softmax, hooks, weight norm, ...).
        ValueError: no such layer or channel, alpha not finite, active dropout, parameters shared
            between modules, or outputs that changed on x.
    Source: (Zhang et al. 2021, App. A.1: channels sharing a kernel are split with a common alpha).

    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 4, 1))
    >>> split_channel(net, 1, channel=1, alpha=0.3)[3]
    Linear(in_features=12, out_features=1, bias=True)
    """
    if isinstance(layer, str):
        return _measured(net, split_traced(net, layer, channel, alpha), x)
    chain = copy.deepcopy(as_chain(net))
    check_neuron(chain, layer, channel)
    alpha = finite_number("alpha", alpha)
    found = flow(chain, layer)
    check_deterministic(chain.activations[layer - 1])
    width = found.width
    shares = torch.ones(width + 1, dtype=torch.float64)
    shares[channel], shares[-1] = 1 - alpha, alpha
    reindex_channels(chain, layer, [*range(width), channel], shares)
    if x is not None:
        check_preserved(as_chain(net), chain, x)
    return as_given(net, plain(chain))


def merge_channel(
    net: Net, layer: int | str, channel: int, copied: int | None = None, *, x: Tensor | None = None
) -> Net:
    """The left inverse of `split_channel`: removes an exact copy of a channel and adds up the
    weights reading the two.

    Args:
        copied: the channel to remove, the last one by default;  x: as in `split_channel`.
    Raises:
        ValueError: the two are no exact copies; and as `split_channel`.

    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 4, 1))
    >>> merge_channel(split_channel(net, 1, 1, 0.3), 1, 1)[0]
    Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1))
    """
    if isinstance(layer, str):
        return _measured(net, merge_traced(net, layer, channel, copied), x)
    chain = copy.deepcopy(as_chain(net))
    check_neuron(chain, layer, channel)
    found = flow(chain, layer)
    check_deterministic(chain.activations[layer - 1])
    copied = found.width - 1 if copied is None else copied
    check_neuron(chain, layer, copied)
    if copied == channel:
        raise ValueError(f"channel {channel} cannot be merged into itself: expected two channels")
    for name, one, other in _entries(found, channel, copied):
        if not torch.equal(one, other):
            raise ValueError(
                f"channels {channel} and {copied} of layer {layer} differ in {name}: expected exact"
                " copies"
            )
    columns = found.columns().clone()
    columns[:, channel] += columns[:, copied]
    set_parameter(found.reader, "weight", columns.flatten(1, 2))
    reindex_channels(chain, layer, [c for c in range(found.width) if c != copied])
    if x is not None:
        check_preserved(as_chain(net), chain, x)
    return as_given(net, plain(chain))


def _entries(found: Flow, channel: int, copied: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    """What belongs to the two channels, in the source and in all that follows it."""
    for module, entries in ((found.source, 1), *found.followers):
        for name, tensor in module.state_dict().items():
            if tensor.dim():
                one, other = (tensor[runs([c], entries, tensor)] for c in (channel, copied))
                yield f"{name} of {type(module).__name__}", one, other


def _measured(net: Net, changed: Net, x: Tensor | None) -> Net:
    if x is not None:
        check_preserved(net, changed, x)
    return changed
