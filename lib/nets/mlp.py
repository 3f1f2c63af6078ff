"""Fully connected nets as one pytree: f^[l] = sigma(W^[l] f^[l-1] + b^[l]) for l < L, and f = W^[L]
f^[L-1] + b^[L].

Leading dimensions of the parameters are batches of independent nets, so one trial and ten thousand
take the same code. A gradient or a tangent of a net is an `MLP` too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

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

    def to(self, *args, **kwargs) -> MLP:
        """Every parameter through `Tensor.to`."""
        return self.map(lambda p: p.to(*args, **kwargs))

    def __getitem__(self, index) -> MLP:
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


def _flatten_pytree(net: MLP):
    return list(net.parameters()), (tuple(b is not None for b in net.biases), net.activation)


def _rebuild(leaves, context) -> MLP:
    # Without the checks of __init__: transforms put placeholders (in_dims, None, batched tensors)
    # in the leaves.
    has_bias, sigma = context
    leaves = iter(leaves)
    weights, biases = [], []
    for has in has_bias:
        weights.append(next(leaves))
        biases.append(next(leaves) if has else None)
    net = object.__new__(MLP)
    for name, value in (
        ("weights", tuple(weights)),
        ("biases", tuple(biases)),
        ("activation", sigma),
    ):
        object.__setattr__(net, name, value)
    return net


_pytree.register_pytree_node(MLP, _flatten_pytree, _rebuild)


def preactivations(net: MLP, x: Tensor) -> tuple[Tensor, ...]:
    """W^[l] f^[l-1] + b^[l] for l = 1..L; the last one is the output.

    Args:
        x: inputs (n, m_0), shared by every net of the batch.
    Returns:
        L tensors (*batch, n, m_l).
    Raises:
        ValueError: x is not (n, m_0).

    >>> [tuple(t.shape) for t in preactivations(init((3, 4, 2)), torch.ones(5, 3, dtype=torch.float64))]
    [(5, 4), (5, 2)]
    """
    width = net.weights[0].shape[-1]
    if x.dim() != 2 or x.shape[-1] != width:
        raise ValueError(f"inputs have shape {tuple(x.shape)}: expected (n, {width})")
    out, f = [], x
    for layer, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        f = f if layer == 0 else net.activation.value(out[-1])
        z = f @ w.mT
        out.append(z if b is None else z + b.unsqueeze(-2))
    return tuple(out)


def features(net: MLP, x: Tensor) -> tuple[Tensor, ...]:
    """f^[0..L]: the input, the hidden features and the output.

    Returns:
        L + 1 tensors: (n, m_0), then (*batch, n, m_l).

    >>> [tuple(t.shape) for t in features(init((3, 4, 2)), torch.ones(5, 3, dtype=torch.float64))]
    [(5, 3), (5, 4), (5, 2)]
    """
    z = preactivations(net, x)
    return (x, *(net.activation.value(t) for t in z[:-1]), z[-1])


def forward(net: MLP, x: Tensor) -> Tensor:
    """The output f(x), (*batch, n, m_L).

    >>> forward(MLP((torch.ones(2, 1), torch.ones(1, 2)), activation="relu"), torch.tensor([[3.0], [-1.0]]))
    tensor([[6.],
            [0.]])
    """
    return preactivations(net, x)[-1]


def flatten(net: MLP) -> Tensor:
    """The parameters as one vector a net, (*batch, M), in the order W^[1], b^[1], W^[2], ...
    (row-major).

    >>> flatten(MLP((torch.ones(2, 1), torch.zeros(1, 2))))
    tensor([1., 1., 0., 0.])
    """
    at = len(net.batch)  # sizes are spelt out, since -1 is ambiguous for a batch of no nets
    return torch.cat(
        [p.reshape(*net.batch, p.shape[at:].numel()) for p in net.parameters()], dim=-1
    )


def unflatten(vector: Tensor, like: MLP) -> MLP:
    """The inverse of `flatten`: parameters (*batch, M) in the shapes of one net of `like`.

    Raises:
        ValueError: the vector's last dimension is not M.

    >>> net = init((1, 2, 1)); torch.equal(flatten(unflatten(flatten(net), net)), flatten(net))
    True
    """
    if vector.shape[-1] != like.n_parameters:
        raise ValueError(
            f"vector has {vector.shape[-1]} entries: expected {like.n_parameters} for {like}"
        )
    shapes = [p.shape[len(like.batch) :] for p in like.parameters()]
    parts = vector.split([s.numel() for s in shapes], dim=-1)
    leaves = [p.reshape(*vector.shape[:-1], *s) for p, s in zip(parts, shapes, strict=True)]
    return _rebuild(leaves, _flatten_pytree(like)[1])


def stack(nets: Sequence[MLP]) -> MLP:
    """Nets of one shape as one batch, along a new first dimension.

    Raises:
        ValueError: the nets differ in shape, biases or activation.

    >>> stack([init((1, 2, 1))] * 3)
    MLP((3,) x 1-2-1, tanh, 7 parameters)
    """
    contexts = {(_flatten_pytree(n)[1], n.widths, n.batch) for n in nets}
    if len(contexts) != 1:
        raise ValueError(
            f"cannot stack {[repr(n) for n in nets]}: expected nets of one shape and activation"
        )
    context = _flatten_pytree(nets[0])[1]
    return _rebuild(
        [torch.stack(ps) for ps in zip(*(n.parameters() for n in nets), strict=True)], context
    )


def concatenate(nets: Sequence[MLP]) -> MLP:
    """Batches of nets of one shape as one batch, along their first dimension.

    Raises:
        ValueError: the nets differ in shape, biases or activation, or are single nets (`stack`
            takes those).

    >>> concatenate([init((1, 2, 1), batch=(3,)), init((1, 2, 1), batch=(2,))])
    MLP((5,) x 1-2-1, tanh, 7 parameters)
    """
    contexts = {(_flatten_pytree(n)[1], n.widths, n.batch[1:]) for n in nets}
    if len(contexts) != 1 or not all(n.batch for n in nets):
        raise ValueError(
            f"cannot concatenate {[repr(n) for n in nets]}: expected batches of nets of one shape"
            " and activation"
        )
    context = _flatten_pytree(nets[0])[1]
    return _rebuild(
        [torch.cat(ps) for ps in zip(*(n.parameters() for n in nets), strict=True)], context
    )


def init(
    widths: Sequence[int],
    activation: str | Activation = "tanh",
    *,
    std: float = 1.0,
    batch: Sequence[int] = (),
    bias: bool = True,
    output_bias: bool = True,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> MLP:
    """Nets with every parameter drawn from N(0, std^2), as in both papers on embedding (Zhang et
    al. 2021, App. B).

    Args:
        widths: (m_0, ..., m_L).
        std: standard deviation of every parameter (the papers quote the variance).
        batch: shape of the batch of nets.
        bias: hidden layers have biases;  output_bias: so has the output layer (needs `bias`).
        generator: source of randomness; without one, seed 0.

    Raises:
        ValueError: fewer than two widths, a width < 1, or std < 0.

    >>> init((1, 3, 1), batch=(200,), output_bias=False)
    MLP((200,) x 1-3-1, tanh, 9 parameters)
    """
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"widths {tuple(widths)}: expected at least two, each >= 1")
    if not std >= 0:
        raise ValueError(f"std is {std}: expected >= 0")
    generator = generator or torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return std * torch.randn(*batch, *shape, generator=generator, dtype=dtype)

    depth = len(widths) - 1
    weights, biases = [], []
    for layer in range(1, depth + 1):
        weights.append(draw(widths[layer], widths[layer - 1]))
        has = bias and (layer < depth or output_bias)
        biases.append(draw(widths[layer]) if has else None)
    return MLP(weights, biases, activation)
