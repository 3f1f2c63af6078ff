"""Lifting in depth: a layer inserted between two others that acts as an affine map on the data (Bai
et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lib.depth.factorisation import Pieces, check_place, check_position, factor
from lib.nets import MLP, features
from lib.nets.dense import Dense, as_dense, as_kind_of, check_inputs
from lib.nets.drawing import Randomness, source_of


def lifted_dimension(widths: Sequence[int], position: int, width: int) -> int:
    """Dimension of the lifted manifold of one point, M' - M = width (m_q + m_{q+1} + 1) - m_q
    m_{q+1}.

    Args:
        widths: (m_0, ..., m_L) of the shallow net;  position: q in 0..L-1;  width: of the inserted
            layer.
    Raises:
        ValueError: position or width are impossible.

    Source: (Bai et al. 2024); it is a fibre of the merging map, whose derivative is onto at a
        full-rank factorisation.

    >>> lifted_dimension((2, 3, 1), 1, 4)
    17
    """
    check_place(widths, position, width)
    return (
        width * (widths[position] + widths[position + 1] + 1)
        - widths[position] * widths[position + 1]
    )


def lift(
    net: Dense,
    x: Tensor,
    position: int,
    width: int,
    *,
    pieces: Pieces = None,
    margin: float = 0.5,
    generator: Randomness = None,
) -> Dense:
    """A random element of the lifted manifold T_S(net): one more layer, the same outputs on the
    data x.

    Layer q+1 is replaced by two: W = A diag(slope) W', b = A (slope * b' + shift) + c, and every
    pre-activation of the new layer lies strictly inside an affine piece for every sample. A
    critical point stays critical, its numbers of positive and negative Hessian eigenvalues stay,
    and its corank grows by `lifted_dimension`.

    Args:
        net: one net or a batch of L >= 1 layers, or an nn.Sequential of Linear layers and
            activations;  x: the inputs S that must keep their outputs (n, m_0).
        position: q in 0..L-1; the new layer comes between layer q and q+1 (q = 0: right after the
            input, q = L-1: right before the output layer) and is hidden layer q+1 of the result.
        width: of the new layer, >= min(m_q, m_{q+1}).
        pieces: index into the activation's affine pieces, one for all neurons or one each; None
            draws them.
        margin: least distance of the data from the end of a piece, in units of a neuron's range.
        generator: source of randomness, or a seed; without it a fresh seed, named by a warning.
    Returns:
        a net of depth L + 1, of the kind that was given; `unlift(result, x, position + 1)` gives
        `net` back.
    Raises:
        ValueError: an argument is impossible or not finite, layer q+1 has no bias, sigma has no
            affine piece, or rounding breaks the promise.

    Source: (Bai et al. 2024), one-layer lifting; the sampling of the manifold is ours.

    >>> import torch
    >>> from lib.nets import forward, init
    >>> x = torch.eye(2, dtype=torch.float64)
    >>> net = init((2, 3, 1), "relu", generator=0)
    >>> deep = lift(net, x, 1, 4, generator=0); deep
    MLP(2-3-4-1, relu, 30 parameters)
    >>> bool((forward(deep, x) - forward(net, x)).abs().max() < 1e-14)
    True
    """
    mlp: MLP = as_dense(net)
    check_place(mlp.widths, position, width)
    check_inputs(mlp, x)
    bias = mlp.biases[position]
    if bias is None:
        raise ValueError(
            f"layer {position + 1} of {mlp!r} has no bias: the inserted layer shifts its data into"
            " an affine piece, and only a bias behind it can undo the shift (without one the lift"
            " is not critical either); give the layer a bias"
        )
    f = features(mlp, x)[position]
    f = f.expand(*mlp.batch, *f.shape[-2:])
    parts = factor(
        mlp.weights[position],
        bias,
        f,
        width,
        mlp.activation,
        pieces=pieces,
        margin=margin,
        generator=source_of(generator, "lift"),
    )
    deep = MLP(
        [*mlp.weights[:position], parts.weight_in, parts.weight_out, *mlp.weights[position + 1 :]],
        [*mlp.biases[:position], parts.bias_in, parts.bias_out, *mlp.biases[position + 1 :]],
        mlp.activation,
    )
    return as_kind_of(net, deep)


def lift_layers(
    net: Dense,
    x: Tensor,
    inserts: Sequence[tuple[int, int]],
    *,
    pieces: Pieces = None,
    margin: float = 0.5,
    generator: Randomness = None,
) -> Dense:
    """Several layers inserted at once: the composition of one-layer lifts.

    Args:
        inserts: pairs (position q in `net`, width); layers with one q are stacked in the order
            given.
        pieces: None, or one index for all; the rest as in `lift`.
    Raises:
        ValueError: as `lift`, or no insert at all.

    >>> import torch
    >>> from lib.nets import init
    >>> x = torch.eye(2, dtype=torch.float64)
    >>> net = init((2, 3, 1), "relu", generator=0)
    >>> lift_layers(net, x, [(0, 2), (1, 4), (1, 5)], generator=0)
    MLP(2-2-3-4-5-1, relu, 62 parameters)
    """
    if not inserts:
        raise ValueError("inserts is empty: expected at least one (position, width)")
    source = source_of(generator, "lift_layers")
    mlp: MLP = as_dense(net)
    for position, _ in inserts:
        check_position(mlp.widths, position)
    in_order = sorted(inserts, key=lambda pair: pair[0])  # stable
    for already, (position, width) in enumerate(in_order):
        mlp = lift(
            mlp, x, position + already, width, pieces=pieces, margin=margin, generator=source
        )
    return as_kind_of(net, mlp)
