"""Certificates for `nn.Module`s, convolutional ones too: the same measures on the vector of all
their parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from lib.certificate.report import Certificate
from lib.curvature import Inertia, inertia
from lib.linear import jacobian
from lib.nets import Loss, mse
from lib.nets.derivatives import output_and_leaves
from lib.nets.samples import check_samples


def module_gradient(module: nn.Module, x: Tensor, y: Tensor, loss: Loss = mse) -> Tensor:
    """Gradient of loss(module(x), y) as one vector (M,), in the order of `module.parameters()`.

    The module is used in its present modes and left untouched.

    >>> with torch.no_grad():
    ...     linear = nn.Linear(1, 1, bias=False); _ = linear.weight.fill_(1.0)
    >>> module_gradient(linear, torch.ones(4, 1), torch.zeros(4, 1))
    tensor([2.])
    """
    return _gradient(module, x, y, loss)[0].detach()


def module_hessian(module: nn.Module, x: Tensor, y: Tensor, loss: Loss = mse) -> Tensor:
    """The exact Hessian (M, M) of loss(module(x), y) by automatic differentiation, for some hundred
    parameters.

    Raises:
        TypeError: parameters are not float64.

    >>> linear = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    >>> module_hessian(linear, torch.ones(4, 1).double(), torch.zeros(4, 1).double())
    tensor([[2.]], dtype=torch.float64)
    """
    gradient, leaves = _gradient(module, x, y, loss)
    if gradient.dtype != torch.float64:
        raise TypeError(
            f"parameters are {gradient.dtype}: curvature is float64; pass module.double()"
        )
    with torch.enable_grad():
        h = jacobian(gradient, leaves)
    return (h + h.mT) / 2


def certify_modules(
    before: nn.Module,
    after: nn.Module,
    x: Tensor,
    y: Tensor,
    loss: Loss = mse,
    *,
    off_sample: Tensor | None = None,
    predicted_zeros: int | None = None,
    curvature: bool = True,
) -> Certificate:
    """What an operator on modules preserved: outputs, risk, gradient norms and the inertia of the
    exact Hessians.

    Args:
        before, after: modules of the same in- and outputs, each in the mode in which it is to be
            compared.
        x, y: the sample, one batch;  loss: as in `lib.nets.losses`.
        off_sample: other inputs;  predicted_zeros: zero modes expected at a critical point.
        curvature: compute Hessians (float64, some hundred parameters); False for large modules.
    Returns:
        A `Certificate`.
    Raises:
        ValueError: outputs of different shapes;  TypeError: Hessians of modules that are not
            float64.
    Source: (Zhang et al. 2021, Thm 1 and App. A.1).

    >>> from lib.width import split_channel
    >>> net = nn.Sequential(nn.Conv2d(1, 1, 2), nn.Tanh(), nn.Flatten(), nn.Linear(4, 1)).double()
    >>> x, y = torch.ones(3, 1, 3, 3, dtype=torch.float64), torch.zeros(3, 1, dtype=torch.float64)
    >>> found = certify_modules(net, split_channel(net, 1, 0, 0.3), x, y)
    >>> found.parameters, bool(found.output_gap < 1e-15)
    ((10, 19), True)
    """
    if off_sample is not None:
        check_samples(off_sample)
    gradients = [module_gradient(m, x, y, loss) for m in (before, after)]
    outputs = [_output(m, x) for m in (before, after)]
    counts: list[Inertia | None] = [None, None]
    if curvature:
        counts = [inertia(module_hessian(m, x, y, loss)) for m in (before, after)]
    return Certificate(
        parameters=(len(gradients[0]), len(gradients[1])),
        output_gap=_gap(before, after, x),
        off_sample_gap=None if off_sample is None else _gap(before, after, off_sample),
        risk_before=loss(outputs[0], y),
        risk_after=loss(outputs[1], y),
        gradient_before=gradients[0].abs().sum(),
        gradient_after=gradients[1].abs().sum(),
        inertia_before=counts[0],
        inertia_after=counts[1],
        predicted_zeros=None if predicted_zeros is None else torch.tensor(predicted_zeros),
    )


def _gradient(module: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> tuple[Tensor, list[Tensor]]:
    check_samples(x, y)
    output, leaves = output_and_leaves(module, x)
    with torch.enable_grad():
        slopes = torch.autograd.grad(loss(output, y), leaves, create_graph=True)
        return parameters_to_vector(slopes), leaves


def _output(module: nn.Module, x: Tensor) -> Tensor:
    return output_and_leaves(module, x)[0].detach()


def _gap(before: nn.Module, after: nn.Module, x: Tensor) -> Tensor:
    a, b = _output(before, x), _output(after, x)
    if a.shape != b.shape:
        raise ValueError(
            f"outputs have shapes {tuple(a.shape)} and {tuple(b.shape)}: expected the same"
        )
    return (a - b).abs().max()
