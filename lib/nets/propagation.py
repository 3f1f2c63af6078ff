"""What a fully connected net computes: pre-activations, features and the output."""

from __future__ import annotations

from torch import Tensor

from lib.nets.mlp import MLP, check_mlp
from lib.nets.samples import check_tensor


def check_fits(net: MLP, x: Tensor) -> None:
    """Raises TypeError unless `net` is an MLP and x a tensor of its dtype, ValueError unless x is
    (n, m_0).

    >>> import torch
    >>> check_fits(MLP((torch.ones(2, 1),)), torch.ones(3, 1))
    """
    check_mlp("net", net)
    check_tensor("x", x)
    width = net.weights[0].shape[-1]
    if x.dim() != 2 or x.shape[-1] != width:
        raise ValueError(f"inputs have shape {tuple(x.shape)}: expected (n, {width})")
    if x.dtype != net.dtype:
        raise TypeError(f"inputs are {x.dtype}: expected {net.dtype}, the dtype of the net")


def preactivations(net: MLP, x: Tensor) -> tuple[Tensor, ...]:
    """W^[l] f^[l-1] + b^[l] for l = 1..L; the last one is the output.

    Args:
        x: inputs (n, m_0), shared by every net of the batch.
    Returns:
        L tensors (*batch, n, m_l).
    Raises:
        ValueError: x is not (n, m_0).  TypeError: x has another dtype than the net.

    >>> import torch
    >>> from lib.nets import init
    >>> net, x = init((3, 4, 2), generator=0), torch.ones(5, 3, dtype=torch.float64)
    >>> [tuple(t.shape) for t in preactivations(net, x)]
    [(5, 4), (5, 2)]
    """
    check_fits(net, x)
    out: list[Tensor] = []
    f = x
    for layer, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        f = f if layer == 0 else net.activation.value(out[-1])
        z = f @ w.mT
        out.append(z if b is None else z + b.unsqueeze(-2))
    return tuple(out)


def features(net: MLP, x: Tensor) -> tuple[Tensor, ...]:
    """f^[0..L]: the input, the hidden features and the output.

    Returns:
        L + 1 tensors: (n, m_0), then (*batch, n, m_l).

    >>> import torch
    >>> from lib.nets import init
    >>> net, x = init((3, 4, 2), generator=0), torch.ones(5, 3, dtype=torch.float64)
    >>> [tuple(t.shape) for t in features(net, x)]
    [(5, 3), (5, 4), (5, 2)]
    """
    z = preactivations(net, x)
    return (x, *(net.activation.value(t) for t in z[:-1]), z[-1])


def forward(net: MLP, x: Tensor) -> Tensor:
    """The output f(x), (*batch, n, m_L).

    >>> import torch
    >>> net = MLP((torch.ones(2, 1), torch.ones(1, 2)), activation="relu")
    >>> forward(net, torch.tensor([[3.0], [-1.0]]))
    tensor([[6.],
            [0.]])
    """
    return preactivations(net, x)[-1]
