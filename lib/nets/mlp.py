"""Fully connected nets as one pytree: f^[l] = sigma(W^[l] f^[l-1] + b^[l]) for l < L, and f = W^[L]
f^[L-1] + b^[L].

Leading dimensions of the parameters are batches of independent nets, so one trial and ten thousand
take the same code. A gradient or a tangent of a net is an `MLP` too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree

from lib.nets.activations import Activation, get


@dataclass(frozen=True, eq=False)
class MLP:
    """A batch of fully connected nets of depth L (L - 1 hidden layers).

    Args:
        weights: W^[1..L], each (*batch, m_l, m_{l-1}).
        biases: b^[1..L], each (*batch, m_l), or None for a layer without bias.
        activation: sigma of the hidden layers, an `Activation` or its name.

    Raises:
        TypeError: a parameter is not a floating tensor, or dtypes differ.
        ValueError: shapes do not chain; the message names the layer.

    >>> net = MLP((torch.ones(2, 1), torch.ones(1, 2)), (torch.zeros(2), None), "tanh")
    >>> net
    MLP(1-2-1, tanh, 6 parameters)
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor | None, ...]
    activation: Activation

    def __init__(
        self,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor | None] | None = None,
        activation: str | Activation = "tanh",
    ) -> None:
        object.__setattr__(self, "weights", tuple(weights))
        object.__setattr__(
            self, "biases", tuple(biases) if biases is not None else (None,) * len(self.weights)
        )
        object.__setattr__(self, "activation", get(activation))
        _check(self)

    @property
    def depth(self) -> int:
        """L, the number of weight matrices."""
        return len(self.weights)

    @property
    def widths(self) -> tuple[int, ...]:
        """(m_0, ..., m_L)."""
        return (self.weights[0].shape[-1], *(w.shape[-2] for w in self.weights))

    @property
    def batch(self) -> torch.Size:
        """Leading dimensions: the shape of the batch of nets, () for one net."""
        return self.weights[0].shape[:-2]

    @property
    def dtype(self) -> torch.dtype:
        return self.weights[0].dtype

    @property
    def device(self) -> torch.device:
        return self.weights[0].device

    @property
    def n_parameters(self) -> int:
        """M, the number of parameters of one net of the batch."""
        return sum(p.shape[len(self.batch) :].numel() for p in self.parameters())

    def parameters(self) -> Iterator[Tensor]:
        """W^[1], b^[1], W^[2], ... without the absent biases: the order of `flatten`."""
        for w, b in zip(self.weights, self.biases, strict=True):
            yield w
            if b is not None:
                yield b

    def map(self, function: Callable[[Tensor], Tensor]) -> MLP:
        """The net whose parameters are function(parameter)."""
        return MLP(
            [function(w) for w in self.weights],
            [None if b is None else function(b) for b in self.biases],
            self.activation,
        )

    def to(self, *args: Any, **kwargs: Any) -> MLP:
        """Every parameter through `Tensor.to`."""
        return self.map(lambda p: p.to(*args, **kwargs))

    def __getitem__(self, index: Any) -> MLP:
        """The nets at that index of the batch dimensions."""
        if not self.batch:
            raise IndexError("this MLP is one net, not a batch of nets")
        probe = torch.empty(self.batch, device="meta")[
            index
        ]  # refuses an index that reaches beyond the batch
        del probe
        return self.map(lambda p: p[index])

    def __repr__(self) -> str:
        batch = f"{tuple(self.batch)} x " if self.batch else ""
        return (
            f"MLP({batch}{'-'.join(map(str, self.widths))}, {self.activation!r},"
            f" {self.n_parameters} parameters)"
        )


def _check(net: MLP) -> None:
    if not net.weights or len(net.weights) != len(net.biases):
        raise ValueError(
            f"got {len(net.weights)} weights and {len(net.biases)} biases: expected L >= 1 of each"
        )
    first = net.weights[0]
    for layer, (w, b) in enumerate(zip(net.weights, net.biases, strict=True), start=1):
        for name, p, dims in (("weight", w, 2), ("bias", b, 1)):
            if p is None and name == "bias":
                continue
            if not isinstance(p, Tensor) or not p.is_floating_point():
                kind = p.dtype if isinstance(p, Tensor) else type(p).__name__
                raise TypeError(f"{name} of layer {layer} is {kind}: expected a floating tensor")
            if p.dtype != first.dtype:
                raise TypeError(
                    f"{name} of layer {layer} is {p.dtype}, the first weight {first.dtype}:"
                    " expected one dtype"
                )
            if p.dim() < dims or p.shape[: p.dim() - dims] != first.shape[:-2]:
                raise ValueError(
                    f"{name} of layer {layer} has shape {tuple(p.shape)}: expected"
                    f" {tuple(first.shape[:-2])} + {dims} dimensions"
                )
        if layer > 1 and w.shape[-1] != net.weights[layer - 2].shape[-2]:
            raise ValueError(
                f"weight of layer {layer} takes {w.shape[-1]} inputs, layer {layer - 1} has"
                f" {net.weights[layer - 2].shape[-2]} neurons"
            )
        if b is not None and b.shape[-1] != w.shape[-2]:
            raise ValueError(
                f"bias of layer {layer} has {b.shape[-1]} entries, its weight {w.shape[-2]} rows"
            )


Context = tuple[tuple[bool, ...], Activation]


def leaves_of(net: MLP) -> tuple[list[Tensor], Context]:
    """The parameters, and what else it takes to rebuild the net."""
    return list(net.parameters()), (tuple(b is not None for b in net.biases), net.activation)


def rebuild(leaves: Iterable[Any], context: Context) -> MLP:
    """The inverse of `leaves_of`."""
    # Without the checks of __init__: transforms put placeholders (in_dims, None, batched tensors)
    # in the leaves.
    has_bias, sigma = context
    following = iter(leaves)
    weights, biases = [], []
    for has in has_bias:
        weights.append(next(following))
        biases.append(next(following) if has else None)
    net = object.__new__(MLP)
    for name, value in (
        ("weights", tuple(weights)),
        ("biases", tuple(biases)),
        ("activation", sigma),
    ):
        object.__setattr__(net, name, value)
    return net


_pytree.register_pytree_node(MLP, leaves_of, rebuild)


def check_mlp(what: str, net: MLP) -> None:
    """Raises TypeError unless `net` is an MLP.

    >>> check_mlp("net", MLP((torch.ones(1, 1),)))
    """
    if not isinstance(net, MLP):
        raise TypeError(f"{what} is {type(net).__name__}: expected an MLP")
