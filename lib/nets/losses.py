"""The empirical risk R_S(theta) = (1/n) sum_i loss(f(x_i), y_i), and its gradient, for a batch of
nets."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lib.nets.mlp import MLP, leaves_of, rebuild
from lib.nets.propagation import check_fits, forward
from lib.nets.samples import check_classes, check_tensor

Loss = Callable[[Tensor, Tensor], Tensor]


def mse(output: Tensor, y: Tensor) -> Tensor:
    """Mean of the squared error over samples and outputs (`nn.MSELoss`), one number per net.

    Args:
        output: (*batch, n, m_L);  y: (n, m_L).
    Raises:
        ValueError: y has another shape; broadcasting it would compare every output with every
            target.

    >>> mse(torch.tensor([[1.0], [3.0]]), torch.zeros(2, 1))
    tensor(5.)
    """
    check_tensor("output", output)
    check_tensor("y", y)
    if y.dim() < 2 or y.shape[-2:] != output.shape[-2:]:
        expected = tuple(output.shape[-2:])
        labels = "" if y.is_floating_point() else "; for class labels pass loss=cross_entropy"
        raise ValueError(
            f"targets of mse have shape {tuple(y.shape)}: expected {expected}, as the outputs"
            f"{labels}"
        )
    return ((output - y) ** 2).mean(dim=(-2, -1))


def cross_entropy(output: Tensor, y: Tensor) -> Tensor:
    """Mean over samples of -log softmax(output)[y], one number per net.

    Args:
        output: logits (*batch, n, m_L);  y: class indices (n,), int64.
    Raises:
        ValueError: y is not (n,) int64 or holds a class that the outputs have not, or these are no
            logits.

    >>> cross_entropy(torch.zeros(3, 2), torch.tensor([0, 1, 1]))
    tensor(0.6931)
    """
    check_tensor("output", output)
    check_tensor("y", y)
    if not output.is_floating_point() or output.dim() < 2 or not output.shape[-1]:
        raise ValueError(
            f"outputs of cross_entropy are {tuple(output.shape)}, {output.dtype}: expected logits"
            " (*batch, n, m_L)"
        )
    if y.dtype != torch.int64 or y.shape != output.shape[-2:-1]:
        expected = f"class indices ({output.shape[-2]},), int64"
        raise ValueError(
            f"targets of cross_entropy are {tuple(y.shape)}, {y.dtype}: expected {expected}"
        )
    check_classes(y, output.shape[-1])
    log_p = output.log_softmax(-1)
    return -log_p.gather(-1, y.expand(log_p.shape[:-1]).unsqueeze(-1)).mean(dim=(-2, -1))


def risk(net: MLP, x: Tensor, y: Tensor, loss: Loss = mse) -> Tensor:
    """R_S(theta), the loss over the sample S = (x, y): (*batch,).

    Raises:
        TypeError: x or y are no tensors, or x not of the net's dtype.
        ValueError: no samples, x is not (n, m_0), or y not one target a sample and output.

    >>> risk(MLP((torch.ones(1, 1),)), torch.ones(4, 1), torch.zeros(4, 1))
    tensor(1.)
    """
    check_fits(net, x)
    check_tensor("y", y)
    if not y.dim() or not len(x):
        raise ValueError(f"got x {tuple(x.shape)}, y {tuple(y.shape)}: expected n >= 1 samples")
    if y.shape[0] != x.shape[0] or (y.dim() == 2 and y.shape[1] != net.weights[-1].shape[-2]):
        raise ValueError(
            f"targets have shape {tuple(y.shape)}: expected ({x.shape[0]},"
            f" {net.weights[-1].shape[-2]}), or ({x.shape[0]},) class indices"
        )
    return loss(forward(net, x), y)


def gradient(net: MLP, x: Tensor, y: Tensor, loss: Loss = mse) -> MLP:
    """Gradient of `risk` with respect to the parameters, as an `MLP` of the same shapes.

    >>> gradient(MLP((torch.ones(1, 1),)), torch.ones(4, 1), torch.zeros(4, 1)).weights
    (tensor([[2.]]),)
    """
    check_fits(net, x)
    check_tensor("y", y)
    with torch.enable_grad():
        leaf = net.map(lambda p: p.detach().requires_grad_())
        # Nets of a batch do not interact: the gradient of the sum holds every net's own gradient.
        total = risk(leaf, x.detach(), y.detach(), loss).sum()
        grads = torch.autograd.grad(total, list(leaf.parameters()))
    return rebuild(grads, leaves_of(net)[1])
