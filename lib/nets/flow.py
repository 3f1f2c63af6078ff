"""How the channels of a layer reach the layer that reads them, and their one reindexing: splitting,
merging and permuting channels are all of that form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lib.nets.chain import Chain
from lib.nets.checks import check_layer
from lib.nets.kinds import (
    ELEMENTWISE,
    NORMS,
    PER_CHANNEL,
    POOLING,
    RANDOM,
    Joint,
    leaves,
)


@dataclass(frozen=True, eq=False)
class Flow:
    """From a channel's source to what reads it.

    Args:
        source, reader: the joints of layers l and l + 1.
        between: the modules that follow the source, in order.
        followers: those with entries for every channel (BatchNorm, PReLU), and how many entries of
            each belong to a channel: the pixels after a Flatten, else 1.
        pixels: inputs of the reader per channel, 1 without a Flatten.
    """

    source: Joint
    reader: Joint
    between: tuple[nn.Module, ...]
    followers: tuple[tuple[nn.Module, int], ...]
    pixels: int

    @property
    def width(self) -> int:
        """The number of channels."""
        return self.source.weight.shape[0]

    def columns(self) -> Tensor:
        """The reader's weight as (outputs, channels, pixels, ...): a Flatten lays a channel's
        pixels side by side."""
        shape = (-1, self.pixels)
        columns: Tensor = self.reader.weight.detach().unflatten(1, shape)
        return columns


def flow(net: Chain, layer: int) -> Flow:
    """Follow the channels of a hidden layer to the layer that reads them.

    Dense layers are taken to act on inputs (n, features).

    Raises:
        TypeError: a module for which copies of channels do not stay copies: grouped convolutions,
            GroupNorm, LayerNorm, softmax, modules that are not understood.
        ValueError: no such hidden layer, or sizes that do not fit.

    >>> net = Chain([nn.Conv2d(1, 2, 3), nn.Linear(8, 1)], [nn.Flatten()])
    >>> flow(net, 1).pixels
    4
    """
    check_layer(net, layer)
    source, reader = net.joint(layer), net.joint(layer + 1)
    where = f"between layers {layer} and {layer + 1}"
    check_joint(source, layer)
    check_joint(reader, layer + 1)
    between = leaves(net.activations[layer - 1])
    flat, followers = type(source) is nn.Linear, []
    for module in between:
        if type(module) is nn.Flatten:
            if (module.start_dim, module.end_dim) != (1, -1):
                raise TypeError(f"{module} {where}: expected start_dim=1, end_dim=-1")
            flat = True
        elif flat and type(module) in (*POOLING, nn.BatchNorm2d):
            raise TypeError(
                f"{type(module).__name__} {where} acts on (n, channels, rows, columns), and what"
                " a Linear or Flatten makes is (n, features)"
            )
        elif _has_entries(module):
            followers.append((module, _entries(module, source, flat, where)))
        elif type(module) not in (*ELEMENTWISE, *POOLING, *RANDOM, nn.PReLU):
            raise TypeError(
                f"{type(module).__name__} {where}: copies of a channel stay copies only through"
                " elementwise activations, pooling, BatchNorm, PReLU and Flatten"
            )
    if (type(reader) is nn.Linear) != flat:
        wanted = "Linear" if flat else "Conv2d, or a Flatten before it"
        raise TypeError(f"layer {layer + 1} is {type(reader).__name__}: expected {wanted}")
    pixels, rest = divmod(reader.weight.shape[1], source.weight.shape[0])
    if rest or (pixels != 1 and type(source) is type(reader)):
        raise ValueError(
            f"layer {layer + 1} reads {reader.weight.shape[1]} inputs, layer {layer} makes"
            f" {source.weight.shape[0]} channels"
        )
    return Flow(source, reader, tuple(between), tuple(followers), pixels)


def reindex_channels(
    net: Chain, layer: int, index: Sequence[int], shares: Tensor | None = None
) -> None:
    """In place: channel i becomes a copy of index[i], and its reader takes it with weight
    shares[i].

    Whatever has entries for every channel (BatchNorm with its running statistics, PReLU) follows.

    Args:
        net: a copy of the caller's;  shares: (len(index),), ones by default.
    """
    found = flow(net, layer)
    for module, entries in ((found.source, 1), *found.followers):
        reindex_entries(module, runs(index, entries, found.source.weight))
    columns = found.columns()[:, torch.as_tensor(index, device=found.reader.weight.device)]
    if shares is not None:
        columns = columns * shares.to(columns).reshape(-1, *(1,) * (columns.dim() - 2))
    set_parameter(found.reader, "weight", columns.flatten(1, 2))
    set_widths(found.reader, inputs=found.reader.weight.shape[1])


def set_parameter(module: nn.Module, name: str, value: Tensor) -> None:
    """Put a copy of the value in the place of a parameter or buffer of any other shape."""
    old = getattr(module, name)
    value = value.detach().clone(memory_format=torch.contiguous_format)  # as files are written
    new = nn.Parameter(value, old.requires_grad) if isinstance(old, nn.Parameter) else value
    setattr(module, name, new)


def set_widths(joint: nn.Module, *, inputs: int | None = None, outputs: int | None = None) -> None:
    """Tell a joint of its new numbers of inputs and outputs."""
    kind = "channels" if isinstance(joint, nn.Conv2d) else "features"
    for side, width in (("in", inputs), ("out", outputs)):
        if width is not None:
            setattr(joint, f"{side}_{kind}", width)


def runs(index: Sequence[int], entries: int, like: Tensor) -> Tensor:
    """Every index as a run of so many: where the entries of these channels stand.

    >>> runs([2, 0], 2, torch.zeros(1))
    tensor([4, 5, 0, 1])
    """
    channels = torch.as_tensor(index, dtype=torch.int64, device=like.device)
    return (channels[:, None] * entries + torch.arange(entries, device=like.device)).flatten()


def reindex_entries(module: nn.Module, index: Tensor) -> None:
    tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    for name, tensor in tensors:
        if tensor.dim():  # all but BatchNorm's count of batches run over channels first
            set_parameter(module, name, tensor.detach()[index])
    if isinstance(module, nn.PReLU):
        module.num_parameters = len(index)
    elif isinstance(module, NORMS):
        setattr(module, "num_features", len(index))  # noqa: B010
    else:
        set_widths(module, outputs=len(index))


def _has_entries(module: nn.Module) -> bool:
    shared = type(module) is nn.PReLU and module.num_parameters == 1
    return type(module) in PER_CHANNEL and not shared


def _entries(module: nn.Module, source: Joint, flat: bool, where: str) -> int:
    size: int = getattr(module, "num_parameters" if type(module) is nn.PReLU else "num_features")
    entries, rest = divmod(size, source.weight.shape[0])
    if rest or (entries != 1 and not (flat and type(source) is nn.Conv2d)):
        raise ValueError(
            f"{type(module).__name__} of {size} entries {where}: expected one for each of the"
            f" {source.weight.shape[0]} channels"
        )
    return entries


def check_joint(joint: nn.Module, layer: int) -> None:
    """Raises TypeError unless the joint is Linear or Conv2d itself, and has one group."""
    if type(joint) not in (nn.Linear, nn.Conv2d):
        raise TypeError(f"layer {layer} is {type(joint).__name__}: expected Linear or Conv2d")
    if isinstance(joint, nn.Conv2d) and joint.groups != 1:
        raise TypeError(
            f"layer {layer} is a Conv2d with {joint.groups} groups, whose channels are not read by"
            " all: expected groups=1"
        )
