"""Layer linearisation: which affine piece of sigma holds a neuron's data, and how far a layer is
from affine."""

from __future__ import annotations

import torch
from torch import Tensor

from lib.linear import above_rounding
from lib.nets import MLP, Activation, features, preactivations
from lib.nets.activations import AffinePiece
from lib.nets.dense import check_inputs, check_precise

NO_PIECE = -1

# A neuron that is constant on its piece (slope 0) is affine too, but it is no piece of Bai et al.,
# who need slope != 0: a layer that holds one can be merged without changing an output, yet need not
# be a lift.
_FLAT = {"relu": (AffinePiece(-float("inf"), 0.0, 0.0, 0.0),)}


def all_pieces(sigma: Activation, flat: bool = False) -> tuple[AffinePiece, ...]:
    """The affine pieces of sigma, followed by the intervals where it is constant if `flat`.

    >>> from lib.nets.activations import relu
    >>> len(all_pieces(relu)), all_pieces(relu, flat=True)[1].slope
    (1, 0.0)
    """
    return sigma.pieces + (_FLAT.get(sigma.name, ()) if flat else ())


def place(z: Tensor, sigma: Activation, flat: bool = False) -> Tensor:
    """Index of the affine piece that strictly holds every sample's pre-activation, -1 where none
    does.

    Args:
        z: pre-activations (*batch, n, m).
        flat: also accept intervals where sigma is constant; they come after the pieces of
            `sigma.pieces`.
    Returns:
        int64 (*batch, m).
    Raises:
        ValueError: no sample.

    >>> from lib.nets.activations import relu
    >>> place(torch.tensor([[1.0, -1.0], [2.0, 3.0]]), relu)
    tensor([ 0, -1])
    """
    if z.dim() < 2 or z.shape[-2] == 0:
        raise ValueError(
            f"pre-activations have shape {tuple(z.shape)}: expected (*batch, n, m) with n >= 1"
        )
    low, high = z.amin(-2), z.amax(-2)
    index = torch.full_like(low, NO_PIECE, dtype=torch.int64)
    for k, piece in enumerate(all_pieces(sigma, flat)):
        index = torch.where((low > piece.low) & (high < piece.high), k, index)
    return index


def linearised_share(net: MLP, x: Tensor, *, flat: bool = False) -> Tensor:
    """Share of the neurons of each hidden layer whose data all lie in one affine piece: (*batch,
    L - 1), in 0..1.

    Source: layer linearisation of (Bai et al. 2024, Def. of the lifting operator); the share is our
        measure.

    >>> net = MLP((torch.tensor([[1.0], [-1.0]]), torch.ones(1, 2)), activation="relu")
    >>> x = torch.tensor([[1.0], [2.0]])
    >>> linearised_share(net, x), linearised_share(net, x, flat=True)
    (tensor([0.5000]), tensor([1.]))
    """
    check_inputs(net, x)
    z = preactivations(net, x)[:-1]
    if not z:
        raise ValueError(f"{net!r} has no hidden layer")
    return torch.stack(
        [(place(t, net.activation, flat) != NO_PIECE).to(t.dtype).mean(-1) for t in z], dim=-1
    )


def affine_error(h: Tensor, f: Tensor) -> Tensor:
    """Relative error of the best affine map f -> h: min_{A,c} sum ||h_i - A f_i - c||^2 / sum
    ||h_i - mean h||^2.

    It is 0 for every h when n <= m + 1 points carry no information about curvature, and 0 for a
    constant h.

    Args:
        h: (*batch, n, m');  f: (*batch, n, m), the same leading dimensions or one (n, m) for all.
    Returns:
        (*batch,), in 0..1.
    Raises:
        ValueError: the numbers of samples differ.

    >>> t = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    >>> float(affine_error(3 * t - 1, t)) < 1e-30, float(affine_error(t**2, t))
    (True, 1.0)
    """
    if h.dim() < 2 or f.dim() < 2 or h.shape[-2] != f.shape[-2]:
        raise ValueError(
            f"h has shape {tuple(h.shape)}, f {tuple(f.shape)}: expected (*batch, n, m') and"
            " (*batch, n, m)"
        )
    h, f = h - h.mean(-2, keepdim=True), f - f.mean(-2, keepdim=True)
    u, s, _ = torch.linalg.svd(f, full_matrices=False)
    basis = u * above_rounding(s, f.shape).to(u.dtype).unsqueeze(-2)
    rest = h - basis @ (basis.mT @ h)
    total = h.square().sum((-2, -1))
    return torch.where(
        total > 0,
        rest.square().sum((-2, -1)) / total.clamp_min(torch.finfo(s.dtype).tiny),
        0 * total,
    )


def layer_affine_error(net: MLP, x: Tensor) -> Tensor:
    """`affine_error` of every hidden layer's output as a function of its input: (*batch, L - 1).

    >>> net = MLP((torch.tensor([[1.0]]), torch.ones(1, 1)), activation="relu")
    >>> layer_affine_error(net, torch.tensor([[1.0], [2.0], [4.0]])) < 1e-12
    tensor([True])
    """
    check_inputs(net, x)
    check_precise("the net", net.dtype)
    f = features(net, x)
    if len(f) == 2:
        raise ValueError(f"{net!r} has no hidden layer")
    return torch.stack([affine_error(h, g) for g, h in zip(f[:-2], f[1:-1], strict=True)], dim=-1)
