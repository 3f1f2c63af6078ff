"""Conversion between `MLP` and `nn.Sequential(Linear, sigma, Linear, ..., Linear)`."""

from __future__ import annotations

import torch
from torch import nn

from lib.nets.activations import NAMES, Activation, elu, get, leaky_relu
from lib.nets.mlp import MLP

_MODULES = {nn.Tanh: "tanh", nn.Sigmoid: "sigmoid", nn.ReLU: "relu", nn.Identity: "identity"}


def from_sequential(module: nn.Sequential) -> MLP:
    """The `MLP` of `nn.Sequential(Linear, sigma, Linear, ..., Linear)`; parameters are detached
    copies.

    Raises:
        TypeError: a module that is neither `Linear` nor a known activation in its place, or
            activations that differ.

    >>> from_sequential(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)))
    MLP(2-3-1, tanh, 13 parameters)
    """
    layers = list(module)
    if len(layers) % 2 == 0:
        raise TypeError(f"got {len(layers)} modules: expected Linear, activation, ..., Linear")
    for place, m in enumerate(layers):
        if (place % 2 == 0) != isinstance(m, nn.Linear):
            expected = "Linear" if place % 2 == 0 else "an activation"
            raise TypeError(f"module {place} is {type(m).__name__}: expected {expected}")
    sigmas = {activation_of(m) for m in layers[1::2]} or {get("identity")}
    if len(sigmas) > 1:
        raise TypeError(f"activations differ: {sorted(map(repr, sigmas))}; expected one")
    linear = layers[0::2]
    biases = [None if m.bias is None else m.bias.detach().clone() for m in linear]
    return MLP([m.weight.detach().clone() for m in linear], biases, sigmas.pop())


def to_sequential(net: MLP) -> nn.Sequential:
    """One net as `nn.Sequential(Linear, sigma, Linear, ...)`; the inverse of `from_sequential`.

    Raises:
        ValueError: `net` is a batch of nets.

    >>> from lib.nets.drawing import init
    >>> to_sequential(init((2, 3, 1), generator=0))[0]
    Linear(in_features=2, out_features=3, bias=True)
    """
    if net.batch:
        raise ValueError(f"{net} is a batch of nets: index one first")
    modules: list[nn.Module] = []
    for w, b in zip(net.weights, net.biases, strict=True):
        linear = nn.Linear(
            w.shape[1], w.shape[0], bias=b is not None, dtype=w.dtype, device=w.device
        )
        with torch.no_grad():
            linear.weight.copy_(w)
            if b is not None:
                linear.bias.copy_(b)
        modules += [linear, activation_module(net.activation)]
    return nn.Sequential(*modules[:-1])


def activation_of(module: nn.Module) -> Activation:
    """The `Activation` of an activation module.

    Raises:
        TypeError: the module is no known activation.

    >>> activation_of(nn.ELU())
    elu(1)
    """
    if isinstance(module, nn.LeakyReLU):
        return leaky_relu(module.negative_slope)
    if isinstance(module, nn.ELU):
        return elu(module.alpha)
    if type(module) not in _MODULES:
        raise TypeError(
            f"{type(module).__name__} is no known activation: expected one of {', '.join(NAMES)}"
        )
    return get(_MODULES[type(module)])


def activation_module(sigma: Activation) -> nn.Module:
    """The module of an `Activation`; the inverse of `activation_of`.

    Raises:
        TypeError: an activation of one's own, which has no module.

    >>> activation_module(leaky_relu(0.2))
    LeakyReLU(negative_slope=0.2)
    """
    if sigma.name == "leaky_relu":
        return nn.LeakyReLU(sigma.parameter)
    if sigma.name == "elu":
        return nn.ELU(sigma.parameter)
    for kind, name in _MODULES.items():
        if name == sigma.name:
            return kind()
    raise TypeError(f"{sigma!r} has no module: expected one of {', '.join(NAMES)}")
