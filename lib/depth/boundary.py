"""What happens where a lifted manifold ends: a sample on the kink of an inserted neuron (our answer
to claim B6).

Inside the manifold the risk is R(pi(theta')): a lifted local minimum is a local minimum. Past its
boundary the neuron follows another branch of sigma, and the risk can fall at first order (ReLU) or
at second order (ELU with alpha = 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.depth.layers import LayerOnData, layer_on_data
from lib.depth.pieces import all_pieces
from lib.nets import MLP, Loss, mse
from lib.nets.activations import AffinePiece
from lib.nets.checks import check_neuron, check_single, finite_number
from lib.nets.dense import check_problem
from lib.nets.surgery import replace


@dataclass(frozen=True)
class Exits:
    """One-sided expansion R(-d) = R + first * d + second * d^2 / 2 + ... just past each neuron's
    boundary.

    Args:
        first: (m,) per unit of pre-activation;  second: (m,), to be used where `first` is 0.
        sample: (m,) a sample that reaches the kink first.
        errors: dR/dz^[l+1], summed over the samples that reach the end of each neuron's piece
            first: (m, m_{l+1}). Several are first when they share a feature vector, as all inactive
            samples of a ReLU layer do.
    """

    first: Tensor
    second: Tensor
    sample: Tensor
    errors: Tensor

    @property
    def descends(self) -> Tensor:
        """(m,) bool: the risk falls when the neuron's bias moves past the boundary."""
        return (self.first < 0) | ((self.first == 0) & (self.second < 0))


@dataclass(frozen=True)
class _End:
    """The nearer end of a neuron's affine piece: where, on which side, and who comes closest."""

    piece: AffinePiece
    side: float  # -1: the lower end
    at: float
    nearest: Tensor
    sample: Tensor


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
    check_neuron(net, layer, neuron)
    finite_number("distance", distance)
    on, (inner, outer) = _bounded(net, x, layer)
    end = _end(on, neuron)
    move = end.at - end.side * distance - end.nearest
    inner = inner.clone()
    inner[neuron] += move
    outer = outer - net.weights[layer][:, neuron] * end.piece.slope * move
    return replace(net, {}, {layer: inner, layer + 1: outer})


def exits(net: MLP, x: Tensor, y: Tensor, layer: int, loss: Loss = mse) -> Exits:
    """One-sided derivatives of the risk just past the boundary of each neuron of a linearised
    layer.

    With e_j the `errors` of neuron j and A = W^[l+1],
    first_j = <e_j, A_j> |slope - sigma'(outside)| up to the side's sign, second_j = <e_j, A_j>
    sigma''(outside).

    Args:
        x, y: the sample;  layer: linearised hidden layer l of one net.
    Raises:
        ValueError: the layer is not linearised, a piece has no end, a bias is missing, or a batch
            of nets.

    Source: ours (the boundary case left open by "a lifted local minimum can become a strict
        saddle", Bai et al., v1).

    >>> net = MLP((torch.ones(1, 1), torch.ones(1, 1)), (torch.ones(1), torch.zeros(1)), "relu")
    >>> exits(net, torch.tensor([[0.0], [3.0]]), torch.tensor([[2.0], [3.0]]), 1).first
    tensor([-1.])
    """
    check_problem(net, x, y, loss)
    on, _ = _bounded(net, x, layer)
    ends = [_end(on, j) for j in range(net.widths[layer])]
    each = on.reader_errors(y, loss)
    errors = torch.stack([each[_at_the_end(on, j, end)].sum(0) for j, end in enumerate(ends)])
    outside = torch.stack(
        [
            torch.nextafter(*(torch.tensor(t, dtype=net.dtype) for t in (e.at, e.side * math.inf)))
            for e in ends
        ]
    ).to(net.device)
    # sigma(end + side d) - (slope (end + side d) + shift) = side (sigma' - slope) d + sigma'' d^2/2
    side, slope = (
        torch.tensor(values, dtype=net.dtype, device=net.device)
        for values in ([e.side for e in ends], [e.piece.slope for e in ends])
    )
    pull = (errors * net.weights[layer].mT).sum(-1)
    first = pull * side * (net.activation.derivative(outside) - slope)
    second = pull * net.activation.second(outside)
    return Exits(first, second, torch.stack([e.sample for e in ends]), errors)


def _bounded(net: MLP, x: Tensor, layer: int) -> tuple[LayerOnData, tuple[Tensor, Tensor]]:
    # A linearised layer whose biases, and those of the layer behind it, can move.
    on = layer_on_data(net, x, layer)
    _ = on.lines  # refuses a layer that is not linearised, and names the neurons
    check_single(net)
    inner, outer = net.biases[layer - 1], net.biases[layer]
    if inner is None or outer is None:
        raise ValueError(
            f"layers {layer} and {layer + 1} of {net!r} need biases: they move along the manifold"
        )
    return on, (inner, outer)


def _end(on: LayerOnData, neuron: int) -> _End:
    piece = all_pieces(on.net.activation)[int(on.pieces[neuron])]
    if not (math.isfinite(piece.low) or math.isfinite(piece.high)):
        raise ValueError(
            f"the affine piece of {on.net.activation!r} has no end: its lifted manifold has no"
            " boundary"
        )
    z, low = on.z[:, neuron], math.isfinite(piece.low)
    sample = z.argmin() if low else z.argmax()
    return _End(piece, -1.0 if low else 1.0, piece.low if low else piece.high, z[sample], sample)


def _at_the_end(on: LayerOnData, neuron: int, end: _End) -> Tensor:
    # Samples whose pre-activations agree with the nearest one to rounding.
    z = on.z[:, neuron]
    return (z - end.nearest).abs() <= 64 * torch.finfo(z.dtype).eps * (1 + z.abs().max())
