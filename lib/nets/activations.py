"""Activation functions: value, derivatives, affine pieces and degree of homogeneity.

An *affine piece* is an open interval on which sigma(t) = slope * t + shift with slope != 0; lifting
in depth places every pre-activation inside one (Bai et al. 2024). A function is *p-homogeneous*
when sigma(beta t) = beta^p sigma(t) for every beta > 0 (Zhang et al. 2021, App. A.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class AffinePiece:
    """The open interval (low, high) on which sigma(t) = slope * t + shift.

    >>> relu.pieces[0]
    AffinePiece(low=0.0, high=inf, slope=1.0, shift=0.0)
    """

    low: float
    high: float
    slope: float
    shift: float


@dataclass(frozen=True)
class Activation:
    """A scalar function applied elementwise, with what the operators need to know of it.

    Args:
        name: one of `NAMES`.
        value, derivative, second: sigma, sigma' and sigma'' on tensors of any shape. Where sigma'
            jumps, it is the left limit (0 at a ReLU's kink), one fixed subgradient, as the papers'
            theorems require.
        pieces: its affine pieces, empty for tanh and sigmoid.
        degree: p when sigma is p-homogeneous, else None.
        parameter: the negative slope of leaky ReLU or the alpha of ELU, else None.

    >>> tanh.value(torch.zeros(2)), tanh.derivative(torch.zeros(2))
    (tensor([0., 0.]), tensor([1., 1.]))
    """

    name: str
    value: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
    second: Callable[[Tensor], Tensor]
    pieces: tuple[AffinePiece, ...] = ()
    degree: int | None = None
    parameter: float | None = None

    def __repr__(self) -> str:
        return self.name if self.parameter is None else f"{self.name}({self.parameter:g})"

    # Two activations are the same function when name and parameter agree; the callables are derived
    # from them.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Activation) and (self.name, self.parameter) == (
            other.name,
            other.parameter,
        )

    def __hash__(self) -> int:
        return hash((self.name, self.parameter))

    def __reduce__(self) -> str | tuple[Any, ...]:
        # By name, since most of the callables are lambdas, which cannot be pickled.
        if self.name in NAMES:
            return _named, (self.name, self.parameter)
        return object.__reduce__(self)


def _sech2(t: Tensor) -> Tensor:
    return 1 - torch.tanh(t) ** 2


def _logistic_slope(t: Tensor) -> Tensor:
    s = torch.sigmoid(t)
    return s * (1 - s)


tanh = Activation("tanh", torch.tanh, _sech2, lambda t: -2 * torch.tanh(t) * _sech2(t))
sigmoid = Activation(
    "sigmoid",
    torch.sigmoid,
    _logistic_slope,
    lambda t: _logistic_slope(t) * (1 - 2 * torch.sigmoid(t)),
)
relu = Activation(
    "relu",
    torch.relu,
    lambda t: (t > 0).to(t.dtype),
    torch.zeros_like,
    (AffinePiece(0.0, math.inf, 1.0, 0.0),),
    degree=1,
)
identity = Activation(
    "identity",
    lambda t: t,
    torch.ones_like,
    torch.zeros_like,
    (AffinePiece(-math.inf, math.inf, 1.0, 0.0),),
    degree=1,
)


def leaky_relu(slope: float = 0.01) -> Activation:
    """Leaky ReLU, max(t, 0) + slope * min(t, 0).

    Raises:
        ValueError: slope is not a finite number, or is 0 (that is `relu`).

    >>> leaky_relu(0.2).value(torch.tensor([-1.0, 2.0]))
    tensor([-0.2000,  2.0000])
    """
    slope = _finite("leaky_relu slope", slope)
    if slope == 0:
        raise ValueError("leaky_relu slope is 0: use relu")
    return Activation(
        "leaky_relu",
        lambda t: torch.where(t > 0, t, slope * t),
        lambda t: torch.where(t > 0, torch.ones_like(t), torch.full_like(t, slope)),
        torch.zeros_like,
        (AffinePiece(0.0, math.inf, 1.0, 0.0), AffinePiece(-math.inf, 0.0, slope, 0.0)),
        degree=1,
        parameter=slope,
    )


def elu(alpha: float = 1.0) -> Activation:
    """ELU, t for t > 0 and alpha * (exp(t) - 1) otherwise.

    Raises:
        ValueError: alpha is not a finite number.

    >>> elu().value(torch.tensor([-40.0, 2.0], dtype=torch.float64))
    tensor([-1.,  2.], dtype=torch.float64)
    """
    alpha = _finite("elu alpha", alpha)

    def below(
        t: Tensor,
    ) -> Tensor:  # clamped so that the unused branch cannot overflow into its gradient
        return alpha * torch.exp(t.clamp(max=0))

    return Activation(
        "elu",
        lambda t: torch.where(t > 0, t, alpha * torch.expm1(t.clamp(max=0))),
        lambda t: torch.where(t > 0, torch.ones_like(t), below(t)),
        lambda t: torch.where(t > 0, torch.zeros_like(t), below(t)),
        (AffinePiece(0.0, math.inf, 1.0, 0.0),),
        parameter=alpha,
    )


NAMES = ("tanh", "sigmoid", "relu", "leaky_relu", "elu", "identity")


def get(name: str | Activation) -> Activation:
    """The activation of that name, with its usual parameter (leaky slope 0.01, ELU alpha 1).

    Raises:
        ValueError: the name is not one of `NAMES`.

    >>> get("leaky_relu")
    leaky_relu(0.01)
    """
    if isinstance(name, Activation):
        return name
    if name not in NAMES:
        raise ValueError(
            f"activation {name!r} is unknown: expected one of {', '.join(NAMES)}, or an Activation"
        )
    return _named(name)


def _named(name: str, parameter: float | None = None) -> Activation:
    found = {"tanh": tanh, "sigmoid": sigmoid, "relu": relu, "identity": identity}.get(name)
    if found is not None:
        return found
    make = {"leaky_relu": leaky_relu, "elu": elu}[name]
    return make() if parameter is None else make(parameter)


def _finite(what: str, number: float) -> float:
    if not isinstance(number, (int, float)) or not math.isfinite(number):
        raise ValueError(f"{what} is {number!r}: expected a finite number")
    return float(number)
