"""Splitting channels of convolutional nets: all kernels that read one channel share one alpha."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lib.nets.checks import finite_number

# Modules that act on every channel alone and in the same way, so that copies of a channel stay
# copies.
ELEMENTWISE = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus,
    nn.Tanh, nn.Hardtanh, nn.Sigmoid,
)  # fmt: skip
POOLING = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
DROPOUT = (nn.Dropout, nn.Dropout2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True)
class _Path:
    """From a channel's source to what reads it: module places, and pixels a channel after
    flattening (else 1)."""

    source: int
    norms: tuple[int, ...]
    reader: int
    pixels: int


def split_channel(net: nn.Sequential, place: int, channel: int, alpha: float) -> nn.Sequential:
    """One-step splitting of a channel: a copy, placed last, takes the part alpha of all weights
    that read the channel.

    The kernels (and bias) that make the channel are copied, with a BatchNorm's scale, shift and
    running statistics; the kernels K_{o,s} that read it become (1 - alpha) K_{o,s} and alpha
    K_{o,s} for all o with one alpha. After a Flatten, the columns of all the channel's pixels do. A
    linear layer's neuron is split in the same way.

    Output and criticality are kept, in training mode with BatchNorm too: the batch statistics of a
        copy are the same.

    Args:
        net: nn.Sequential of Conv2d, Linear, elementwise activations, pooling, BatchNorm, Flatten;
            left as it is.
        place: index in `net` of the Conv2d or Linear whose output channel is split.
        channel: 0-based.
        alpha: any real number.
    Returns:
        A new nn.Sequential that shares nothing with `net`, in the same training or evaluation mode.
    Raises:
        TypeError: another container, or a module for which copies of channels do not stay copies or
            parameters are not plain (grouped convolutions, GroupNorm, LayerNorm, active dropout,
            softmax, hooks, weight norm, ...).
        ValueError: no such module or channel, alpha not finite, parameters shared between modules,
            or no later layer that reads the channel.
    Source: (Zhang et al. 2021, App. A.1: channels sharing a kernel are split with a common alpha).

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 4, 1))
    >>> split_channel(net, 0, channel=1, alpha=0.3)[3]
    Linear(in_features=12, out_features=1, bias=True)
    """
    path = _trace(net, place)
    alpha = finite_number("alpha", alpha)
    width = net[place].weight.shape[0]
    _check_channel(place, channel, width)
    share = torch.ones(width + 1, dtype=torch.float64)
    share[channel], share[-1] = 1 - alpha, alpha
    return _reindexed(net, path, [*range(width), channel], share)


def merge_channel(
    net: nn.Sequential, place: int, channel: int, copied: int | None = None
) -> nn.Sequential:
    """The left inverse of `split_channel`: removes an exact copy of a channel and adds up the
    weights reading the two.

    Args:
        copied: the channel to remove, the last one by default.
    Raises:
        ValueError: the two are no exact copies; and as `split_channel`.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 4, 1))
    >>> merge_channel(split_channel(net, 0, 1, 0.3), 0, 1)[0]
    Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1))
    """
    path = _trace(net, place)
    width = net[place].weight.shape[0]
    copied = width - 1 if copied is None else copied
    _check_channel(place, channel, width)
    _check_channel(place, copied, width)
    if copied == channel:
        raise ValueError(f"channel {channel} cannot be merged into itself: expected two channels")
    for at in (place, *path.norms):
        for name, t in net[at].state_dict().items():
            if t.dim() and not torch.equal(t[channel], t[copied]):
                raise ValueError(
                    f"channels {channel} and {copied} differ in {name} of module {at}: expected"
                    " exact copies"
                )
    joined = copy.deepcopy(net)
    with torch.no_grad():
        columns = _columns(joined[path.reader].weight, path.pixels)
        columns[:, channel] += columns[:, copied]
    keep = [c for c in range(width) if c != copied]
    return _reindexed(joined, path, keep, torch.ones(len(keep), dtype=torch.float64))


def _reindexed(net: nn.Sequential, path: _Path, index: list[int], shares: Tensor) -> nn.Sequential:
    """Channel i of the source becomes a copy of index[i]; its reader takes it with weight
    shares[i]."""
    out = copy.deepcopy(net)
    for at in (path.source, *path.norms):
        module = out[at]
        for name, t in [
            *module.named_parameters(recurse=False),
            *module.named_buffers(recurse=False),
        ]:
            if t.dim():  # all but BatchNorm's count of batches run over channels first
                _put(module, name, t.detach()[index])
        name = next(
            n for n in ("out_channels", "out_features", "num_features") if hasattr(module, n)
        )
        setattr(module, name, len(index))
    reader = out[path.reader]
    weight = _columns(reader.weight.detach(), path.pixels)[:, index]
    weight = (weight * shares.to(weight).reshape(-1, *(1,) * (weight.dim() - 2))).flatten(1, 2)
    if isinstance(reader, nn.Conv2d):
        reader.in_channels = len(index)
    else:
        reader.in_features = weight.shape[1]
    _put(reader, "weight", weight)
    return out


def _columns(weight: Tensor, pixels: int) -> Tensor:
    """The weight as (out, channel, pixel, ...): a Flatten lays a channel's pixels side by side."""
    return weight.unflatten(1, (weight.shape[1] // pixels, pixels))


def _put(module: nn.Module, name: str, value: Tensor) -> None:
    old = getattr(module, name)
    value = value.clone()
    setattr(
        module,
        name,
        nn.Parameter(value, old.requires_grad) if isinstance(old, nn.Parameter) else value,
    )


def _trace(net: nn.Sequential, place: int) -> _Path:
    """Follow the channels of module `place` to the module that reads them, refusing whatever would
    mix them."""
    if type(net) is not nn.Sequential:
        raise TypeError(
            f"net is {type(net).__name__}: expected an nn.Sequential, whose data flow is known"
        )
    if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < len(net):
        raise ValueError(f"module {place!r} outside 0..{len(net) - 1}")
    _check_plain(net)
    if not isinstance(net[place], (nn.Conv2d, nn.Linear)):
        raise TypeError(f"module {place} is {type(net[place]).__name__}: expected Conv2d or Linear")
    _check_groups(place, net[place])
    norms, flat = [], isinstance(net[place], nn.Linear)
    for at in range(place + 1, len(net)):
        module = net[at]
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            _check_groups(at, module)
            if isinstance(module, nn.Linear) != flat:
                raise TypeError(
                    f"module {at} is {type(module).__name__}: expected"
                    f" {'Linear' if flat else 'Conv2d or Flatten'}"
                )
            width = net[place].weight.shape[0]
            pixels, rest = divmod(module.weight.shape[1], width)
            if rest or (pixels != 1 and not _flattened(net, place, at)):
                raise ValueError(
                    f"module {at} reads {module.weight.shape[1]} inputs, module {place} makes"
                    f" {width} channels"
                )
            return _Path(place, tuple(norms), at, pixels)
        if type(module) in NORMS:
            if _flattened(net, place, at):
                raise TypeError(
                    f"module {at} is {type(module).__name__} after a Flatten: expected it before"
                )
            norms.append(at)
        elif isinstance(module, nn.Flatten):
            if (module.start_dim, module.end_dim) != (1, -1):
                raise TypeError(f"module {at} is {module}: expected start_dim=1, end_dim=-1")
            flat = True
        elif isinstance(module, DROPOUT):
            if module.training and module.p > 0:
                raise TypeError(
                    f"module {at} is active {module}, which treats copies differently: expected"
                    " net.eval()"
                )
        elif type(module) not in (*ELEMENTWISE, *POOLING):
            raise TypeError(
                f"module {at} is {type(module).__name__}: copies of a channel stay copies only"
                " through elementwise activations, pooling, BatchNorm and Flatten"
            )
    raise ValueError(
        f"no Conv2d or Linear after module {place} reads its channels: expected a hidden layer"
    )


def _flattened(net: nn.Sequential, start: int, stop: int) -> bool:
    return any(isinstance(net[at], nn.Flatten) for at in range(start + 1, stop)) and isinstance(
        net[start], nn.Conv2d
    )


def _check_groups(at: int, module: nn.Module) -> None:
    if getattr(module, "groups", 1) != 1:
        raise TypeError(f"module {at} is a Conv2d with {module.groups} groups: expected groups=1")


def _check_plain(net: nn.Sequential) -> None:
    seen: dict[int, str] = {}
    for name, module in net.named_modules(remove_duplicate=False):
        where = f"module {name}" if name else "the net"
        hooks = (
            module._forward_hooks,
            module._forward_pre_hooks,
            module._backward_hooks,
            module._backward_pre_hooks,
        )
        if any(hooks) or parametrize.is_parametrized(module):
            raise TypeError(f"{where} has hooks or parametrizations: expected plain parameters")
        for key, p in module.named_parameters(recurse=False):
            if id(p) in seen:
                raise ValueError(
                    f"{key} of {where} is also {seen[id(p)]}: expected parameters that no two"
                    " modules share"
                )
            seen[id(p)] = f"{key} of {where}"


def _check_channel(place: int, channel: int, width: int) -> None:
    if isinstance(channel, bool) or not isinstance(channel, int):
        raise TypeError(f"channel is {channel!r}: expected an int")
    if not 0 <= channel < width:
        raise ValueError(f"channel {channel} outside 0..{width - 1} of module {place}")
