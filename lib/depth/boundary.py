"""What happens where a lifted manifold ends: a sample on the kink of an inserted neuron (our answer
to claim B6).

Inside the manifold the risk is R(pi(theta')): a lifted local minimum is a local minimum. Past its
boundary the neuron follows another branch of sigma, and the risk can fall at first order (ReLU) or
at second order (ELU with alpha = 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.depth.merging import merge
from lib.depth.pieces import all_pieces, pieces_of
from lib.nets import MLP, Loss, mse, preactivations
from lib.nets.checks import check_single


@dataclass(frozen=True)
class Exits:
    """One-sided expansion R(-d) = R + first * d + second * d^2 / 2 + ... just past each neuron's
    boundary.

    Args:
        first: (m,) per unit of pre-activation;  second: (m,), to be used where `first` is 0.
        sample: (m,) a sample that reaches the kink first.

    >>> Exits(torch.tensor([-1.0]), torch.zeros(1), torch.zeros(1, dtype=torch.int64)).descends
    tensor([True])
    """

    first: Tensor
    second: Tensor
    sample: Tensor

    @property
    def descends(self) -> Tensor:
        """(m,) bool: the risk falls when the neuron's bias moves past the boundary."""
        return (self.first < 0) | ((self.first == 0) & (self.second < 0))


def layer_error(net: MLP, x: Tensor, y: Tensor, layer: int, loss: Loss = mse) -> Tensor:
    """dR / dz^[l], the derivative of the risk with respect to every sample's pre-activation of
    layer l: (n, m_l).

    Args:
        layer: 1..L, one net.
    Raises:
        ValueError: layer outside 1..L, or a batch of nets.

    >>> net = MLP((torch.ones(1, 1),), (torch.zeros(1),))
    >>> layer_error(net, torch.ones(2, 1), torch.zeros(2, 1), 1)
    tensor([[1.],
            [1.]])
    """
    check_single(net)
    if not 1 <= layer <= net.depth:
        raise ValueError(f"layer {layer} outside 1..{net.depth}")
    z = preactivations(net, x)[layer - 1].detach().requires_grad_()
    out = z
    for w, b in zip(net.weights[layer:], net.biases[layer:], strict=True):
        out = net.activation.value(out) @ w.mT.detach()
        out = out if b is None else out + b.detach()
    return torch.autograd.grad(loss(out, y), z)[0]


def slide(net: MLP, x: Tensor, layer: int, neuron: int, distance: float) -> MLP:
    """The net with one linearised neuron's bias moved so that its nearest sample is `distance`
    inside its affine piece.

    b^[l]_j changes and b^[l+1] takes the change back, so for distance > 0 the result is another
    element of the same lifted manifold; 0 is its boundary, and with distance < 0 it has left the
    manifold.

    Args:
        x: inputs S (n, m_0);  layer: linearised hidden layer l of one net;  neuron: j in 0..m_l-1.
        distance: of the nearest pre-activation from the end of the piece, in the units of
            pre-activations.
    Raises:
        ValueError: the layer is not linearised, the neuron does not exist, it has no end, or a bias
            is missing.

    >>> net = MLP((torch.ones(1, 1), torch.ones(1, 1)), (torch.ones(1), torch.zeros(1)), "relu")
    >>> moved = slide(net, torch.tensor([[0.0], [3.0]]), 1, 0, 0.25); moved.biases
    (tensor([0.2500]), tensor([0.7500]))
    """
    piece = _piece_of(net, x, layer, neuron)
    z = preactivations(net, x)[layer - 1][:, neuron]
    nearest, _ = _nearest(z, piece)
    move = (
        piece.low + distance - nearest
        if math.isfinite(piece.low)
        else piece.high - distance - nearest
    )
    inner, outer = net.biases[layer - 1].clone(), net.biases[layer]
    inner[neuron] += move
    outer = outer - net.weights[layer][:, neuron] * piece.slope * move
    return MLP(
        net.weights,
        [*net.biases[: layer - 1], inner, outer, *net.biases[layer + 1 :]],
        net.activation,
    )


def kink_errors(net: MLP, x: Tensor, y: Tensor, layer: int, loss: Loss = mse) -> Tensor:
    """Error dR/dz^[l+1], summed over the samples that reach the end of each neuron's piece first:
    (m_l, m_{l+1}).

    Several samples count as first when their pre-activations agree to rounding: those that share a
    feature vector, as all inactive samples of a ReLU layer do.

    Args:
        x, y: the sample;  layer: linearised hidden layer l of one net.
    Raises:
        ValueError: the layer is not linearised, a piece has no end, a bias is missing, or a batch
            of nets.

    >>> net = MLP((torch.ones(1, 1), torch.ones(1, 1)), (torch.ones(1), torch.zeros(1)), "relu")
    >>> kink_errors(net, torch.tensor([[0.0], [3.0]]), torch.tensor([[2.0], [3.0]]), 1)
    tensor([[-1.]])
    """
    z = preactivations(net, x)[layer - 1]
    pieces = [_piece_of(net, x, layer, j) for j in range(net.widths[layer])]
    errors, rows = layer_error(net, x, y, layer + 1, loss), []
    for j, piece in enumerate(pieces):
        nearest, _ = _nearest(z[:, j], piece)
        first = (z[:, j] - nearest).abs() <= 64 * torch.finfo(z.dtype).eps * (
            1 + z[:, j].abs().max()
        )
        rows.append(errors[first].sum(0))
    return torch.stack(rows)


def exits(net: MLP, x: Tensor, y: Tensor, layer: int, loss: Loss = mse) -> Exits:
    """One-sided derivatives of the risk just past the boundary of each neuron of a linearised
    layer.

    With e_j the `kink_errors` of neuron j and A = W^[l+1],
    first_j = <e_j, A_j> |slope - sigma'(outside)| up to the side's sign, second_j = <e_j, A_j>
    sigma''(outside).

    Args:
        x, y: the sample;  layer: linearised hidden layer l of one net.
    Raises:
        ValueError: as `kink_errors`.

    Source: ours (the boundary case left open by "a lifted local minimum can become a strict
        saddle", Bai et al., v1).

    >>> net = MLP((torch.ones(1, 1), torch.ones(1, 1)), (torch.ones(1), torch.zeros(1)), "relu")
    >>> exits(net, torch.tensor([[0.0], [3.0]]), torch.tensor([[2.0], [3.0]]), 1).first
    tensor([-1.])
    """
    pulls = (kink_errors(net, x, y, layer, loss) * net.weights[layer].mT).sum(-1)
    z = preactivations(net, x)[layer - 1]
    first, second, sample = [], [], []
    for j, pull in enumerate(pulls):
        piece = _piece_of(net, x, layer, j)
        side, end = (-1.0, piece.low) if math.isfinite(piece.low) else (1.0, piece.high)
        outside = torch.nextafter(
            torch.tensor(end, dtype=net.dtype), torch.tensor(side * math.inf, dtype=net.dtype)
        )
        outside = outside.to(net.device)
        # sigma(end + side d) - (slope (end + side d) + shift) = side (sigma' - slope) d + sigma''
        # d^2 / 2 + ...
        first.append(pull * side * (net.activation.derivative(outside) - piece.slope))
        second.append(pull * net.activation.second(outside))
        sample.append(_nearest(z[:, j], piece)[1])
    return Exits(torch.stack(first), torch.stack(second), torch.stack(sample))


def _piece_of(net: MLP, x: Tensor, layer: int, neuron: int):
    merge(net, x, layer)  # refuses a layer that is not linearised, and names the neurons
    check_single(net)
    if not 0 <= neuron < net.widths[layer]:
        raise ValueError(f"neuron {neuron} outside 0..{net.widths[layer] - 1} of layer {layer}")
    if net.biases[layer - 1] is None or net.biases[layer] is None:
        raise ValueError(
            f"layers {layer} and {layer + 1} of {net!r} need biases: they move along the manifold"
        )
    piece = all_pieces(net.activation)[int(pieces_of(net, x, layer)[neuron])]
    if not (math.isfinite(piece.low) or math.isfinite(piece.high)):
        raise ValueError(
            f"the affine piece of {net.activation!r} has no end: its lifted manifold has no"
            " boundary"
        )
    return piece


def _nearest(z: Tensor, piece) -> tuple[Tensor, Tensor]:
    i = z.argmin() if math.isfinite(piece.low) else z.argmax()
    return z[i], i
