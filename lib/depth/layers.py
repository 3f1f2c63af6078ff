"""What is known of one hidden layer on the data: computed once, read by everything that acts on the
layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import jacrev

from lib.depth.pieces import NO_PIECE, all_pieces, place
from lib.linear import rank
from lib.nets import MLP, Loss, flatten, mse, preactivations, unflatten
from lib.nets.checks import check_layer, check_single
from lib.nets.dense import check_inputs


@dataclass(frozen=True, eq=False)
class LayerOnData:
    """One hidden layer of a net on the data x.

    Args:
        net: the net, or a batch of nets;  layer: l in 1..L-1.
        inputs: f^[l-1], (*batch, n, m_{l-1});  z: pre-activations (*batch, n, m_l).
        pieces: affine piece of every neuron, int64 (*batch, m_l), -1 where none holds all samples.
        flat: intervals where sigma is constant count as pieces.
    """

    net: MLP
    layer: int
    inputs: Tensor
    z: Tensor
    pieces: Tensor
    flat: bool

    @property
    def is_linearised(self) -> bool:
        """Every neuron has its data in one piece."""
        return bool((self.pieces != NO_PIECE).all())

    @property
    def lines(self) -> tuple[Tensor, Tensor]:
        """Slope and shift of every neuron's piece, (*batch, m_l): sigma(t) = slope * t + shift.

        Raises:
            ValueError: a neuron has its data in no single piece; the message lists them.
        """
        if not self.is_linearised:
            missing = (self.pieces == NO_PIECE).reshape(-1, self.pieces.shape[-1]).any(0)
            raise ValueError(
                f"layer {self.layer} of {self.net!r} is not linearised on the"
                f" {self.z.shape[-2]} samples: neurons {missing.nonzero().flatten().tolist()} have"
                " data in no single affine piece; expected every neuron in one"
            )
        table = all_pieces(self.net.activation, self.flat)
        slope, shift = (
            torch.tensor([getattr(p, name) for p in table], dtype=self.z.dtype)
            for name in ("slope", "shift")
        )
        return slope.to(self.z.device)[self.pieces], shift.to(self.z.device)[self.pieces]

    def merged(self) -> MLP:
        """The net without the layer: W = W^[l+1] diag(slope) W^[l]; ValueError as `lines`."""
        return merge_lines(self.net, self.layer, *self.lines)

    def jacobian(self) -> Tensor:
        """J = d pi / d theta', (M, M'), of the merging map pi at one net.

        Near the net the risk is R(pi(theta')), so at a critical point the Hessians obey
        H' = J^T H J.
        """
        check_single(self.net)
        lines = self.lines

        def merged(theta: Tensor) -> Tensor:
            return flatten(merge_lines(unflatten(theta, self.net), self.layer, *lines))

        found: Tensor = jacrev(merged)(flatten(self.net))
        return found

    @property
    def is_regular(self) -> bool:
        """Whether the merging map's derivative is onto.

        It is when diag(slope) W^[l] has full column rank, or W^[l+1] diag(slope) full row rank.
        """
        slope, _ = self.lines
        check_single(self.net)
        inner = slope.unsqueeze(-1) * self.net.weights[self.layer - 1]
        outer = self.net.weights[self.layer] * slope
        ranks = [int(rank(matrix, clear=0.0).value) for matrix in (inner, outer)]
        return ranks[0] == inner.shape[-1] or ranks[1] == outer.shape[-2]

    def reader_errors(self, y: Tensor, loss: Loss = mse) -> Tensor:
        """dR / dz^[l+1], what every sample asks of the next layer of one net: (n, m_{l+1})."""
        check_single(self.net)
        value, behind = self.net.activation.value, slice(self.layer, None)
        weights = [w.detach() for w in self.net.weights[behind]]
        biases = [None if b is None else b.detach() for b in self.net.biases[behind]]
        out = value(self.z.detach()) @ weights[0].mT
        z = (out if biases[0] is None else out + biases[0]).requires_grad_()
        with torch.enable_grad():
            out = z
            for w, b in zip(weights[1:], biases[1:], strict=True):
                out = value(out) @ w.mT
                out = out if b is None else out + b
            return torch.autograd.grad(loss(out, y), z)[0]


def layer_on_data(net: MLP, x: Tensor, layer: int, *, flat: bool = False) -> LayerOnData:
    """Pre-activations and affine pieces of a hidden layer on the data.

    Args:
        x: inputs (n, m_0);  layer: l in 1..L-1.
        flat: count intervals where sigma is constant (dead ReLUs) as pieces.
    Raises:
        ValueError: the layer is no hidden layer, or x does not fit.

    Source: layer linearisation of (Bai et al. 2024).

    >>> net = MLP((torch.tensor([[1.0], [-1.0]]), torch.ones(1, 2)), activation="relu")
    >>> layer_on_data(net, torch.tensor([[1.0], [2.0]]), 1).pieces
    tensor([ 0, -1])
    """
    check_layer(net, layer)
    check_inputs(net, x)
    z = preactivations(net, x)
    f = x if layer == 1 else net.activation.value(z[layer - 2])
    return _known(net, layer, f, z[layer - 1], flat)


def layers_on_data(net: MLP, x: Tensor, *, flat: bool = False) -> tuple[LayerOnData, ...]:
    """`layer_on_data` of every hidden layer, from one pass.

    >>> from lib.nets import init
    >>> net = init((1, 3, 3, 1), generator=torch.Generator().manual_seed(0))
    >>> [on.layer for on in layers_on_data(net, torch.ones(2, 1).double())]
    [1, 2]
    """
    check_inputs(net, x)
    z = preactivations(net, x)[:-1]
    f = (x, *(net.activation.value(t) for t in z))
    return tuple(_known(net, layer, f[layer - 1], t, flat) for layer, t in enumerate(z, start=1))


def _known(net: MLP, layer: int, f: Tensor, z: Tensor, flat: bool) -> LayerOnData:
    return LayerOnData(net, layer, f, z, place(z, net.activation, flat), flat)


def merge_lines(net: MLP, layer: int, slope: Tensor, shift: Tensor) -> MLP:
    """The net without hidden layer l, whose neurons are sigma(t) = slope * t + shift;
    differentiable.

    W = W^[l+1] diag(slope) W^[l],  b = W^[l+1] (slope * b^[l] + shift) + b^[l+1].

    Args:
        slope, shift: (*batch, m_l).

    >>> one = torch.ones(1)
    >>> net = MLP((2 * torch.ones(1, 1), 3 * torch.ones(1, 1)), (one, 0 * one), "relu")
    >>> merged = merge_lines(net, 1, one, 0 * one); merged.weights, merged.biases
    ((tensor([[6.]]),), (tensor([3.]),))
    """
    check_layer(net, layer)
    inner, bias = net.weights[layer - 1], net.biases[layer - 1]
    constant = shift if bias is None else slope * bias + shift
    return merge_affine(net, layer, slope.unsqueeze(-1) * inner, constant)


def merge_affine(net: MLP, layer: int, weight: Tensor, bias: Tensor) -> MLP:
    """The net without hidden layer l, whose features are weight f^[l-1] + bias."""
    outer, outer_bias = net.weights[layer], net.biases[layer]
    total = (outer @ bias.unsqueeze(-1)).squeeze(-1)
    total = total if outer_bias is None else total + outer_bias
    return MLP(
        [*net.weights[: layer - 1], outer @ weight, *net.weights[layer + 1 :]],
        [*net.biases[: layer - 1], total, *net.biases[layer + 1 :]],
        net.activation,
    )
