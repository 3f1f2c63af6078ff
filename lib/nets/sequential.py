"""Conversion between `MLP` and `nn.Sequential(Linear, sigma, Linear, ..., Linear)`."""

from __future__ import annotations

from torch import nn

from lib.nets.activations import NAMES, Activation, elu, get, leaky_relu, relu
from lib.nets.checks import check_single
from lib.nets.kinds import check_known, leaves
from lib.nets.mlp import MLP
from lib.nets.surgery import linear

_MODULES: dict[type[nn.Module], str] = {
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    nn.ReLU: "relu",
    nn.Identity: "identity",
}


def from_sequential(module: nn.Sequential) -> MLP:
    """The `MLP` of `nn.Sequential(Linear, sigma, Linear, ..., Linear)`, nested ones included;
    parameters are detached copies.

    Raises:
        TypeError: a module that is neither `Linear` nor a known activation in its place, hooks or
            parametrizations, or activations that differ.
        ValueError: parameters that two modules share.

    >>> from_sequential(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)))
    MLP(2-3-1, tanh, 13 parameters)
    """
    check_known(module)
    modules = leaves(module)
    if len(modules) % 2 == 0:
        raise TypeError(f"got {len(modules)} modules: expected Linear, activation, ..., Linear")
    for place, m in enumerate(modules):
        if (place % 2 == 0) != isinstance(m, nn.Linear):
            expected = "Linear" if place % 2 == 0 else "an activation"
            raise TypeError(f"module {place} is {type(m).__name__}: expected {expected}")
    sigmas = {activation_of(m) for m in modules[1::2]} or {get("identity")}
    if len(sigmas) > 1:
        raise TypeError(f"activations differ: {sorted(map(repr, sigmas))}; expected one")
    linears = [m for m in modules if isinstance(m, nn.Linear)]
    biases = [None if m.bias is None else m.bias.detach().clone() for m in linears]
    return MLP([m.weight.detach().clone() for m in linears], biases, sigmas.pop())


def to_sequential(net: MLP) -> nn.Sequential:
    """One net as `nn.Sequential(Linear, sigma, Linear, ...)`; the inverse of `from_sequential`.

    Raises:
        ValueError: `net` is a batch of nets.

    >>> from lib.nets import init
    >>> to_sequential(init((2, 3, 1), generator=0))[0]
    Linear(in_features=2, out_features=3, bias=True)
    """
    check_single(net)
    modules: list[nn.Module] = []
    for w, b in zip(net.weights, net.biases, strict=True):
        modules += [linear(w, b), activation_module(net.activation)]
    return nn.Sequential(*modules[:-1])


def activation_of(module: nn.Module) -> Activation:
    """The `Activation` of an activation module.

    Raises:
        TypeError: the module is no known activation.

    >>> activation_of(nn.ELU())
    elu(1)
    """
    if type(module) is nn.LeakyReLU:
        return leaky_relu(module.negative_slope) if module.negative_slope else relu
    if type(module) is nn.ELU:
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
    if sigma.parameter is not None:
        kinds = {"leaky_relu": nn.LeakyReLU, "elu": nn.ELU}
        return kinds[sigma.name](sigma.parameter)
    for kind, name in _MODULES.items():
        if name == sigma.name:
            return kind()
    raise TypeError(f"{sigma!r} has no module: expected one of {', '.join(NAMES)}")
