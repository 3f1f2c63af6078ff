"""The kinds of functions, methods and modules that are followed; all others are not."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional

from lib.nets.kinds import ELEMENTWISE, POOLING, RANDOM

# c f(x) = f(c x) for c > 0, so that multiples of a channel stay multiples
_HOMOGENEOUS = ("relu", "leaky_relu", "dropout", "dropout2d", "contiguous", "clone")
_POINTWISE = (
    "relu6", "elu", "celu", "selu", "gelu", "silu", "mish", "softplus", "softsign", "tanh",
    "tanhshrink", "hardtanh", "hardswish", "hardsigmoid", "hardshrink", "softshrink", "sigmoid",
    "logsigmoid", "threshold", "exp", "abs", "neg", "square", "sqrt", "clamp",
)  # fmt: skip
_POOLING = (
    "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "interpolate",
)  # fmt: skip
_PAIRS = {
    "add": True, "iadd": True, "sub": True, "isub": True, "maximum": True, "minimum": True,
    "mul": False, "imul": False, "truediv": False, "div": False, "itruediv": False,
}  # fmt: skip
_OTHERS = {
    "cat": "join", "concat": "join", "concatenate": "join", "flatten": "flatten",
    "view": "reshape", "reshape": "reshape", "mean": "average", "size": "size", "getitem": "item",
    "getattr": "attribute", "pad": "pad",
}  # fmt: skip
_HOMOGENEOUS_MODULES = (nn.Identity, nn.ReLU, nn.LeakyReLU, nn.Upsample, *RANDOM)
_NAMESPACES = (torch, functional, torch.Tensor, operator)


def _found(names: Sequence[str]) -> dict[object, str]:
    """Every function of torch of these names, in place (`relu_`) too -> its name."""
    return {
        getattr(space, spelt): name
        for name in names
        for spelt in (name, f"{name}_")
        for space in _NAMESPACES
        if hasattr(space, spelt)
    } | {getattr: "getattr"}


_FUNCTIONS: Mapping[object, str] = _found(
    (*_HOMOGENEOUS, *_POINTWISE, *_POOLING, *_PAIRS, *_OTHERS)
)


def operation(target: Callable[..., object] | str) -> tuple[str, bool]:
    """The kind of operation that a function, or the method of that name, is, and whether positive
    multiples of what it takes become the same multiples of what it gives.

    Returns:
        "pointwise", "pool", "pad", "pair", "join", "flatten", "reshape", "average", "size", "item",
        "attribute", or "" for what is not followed.

    >>> operation(torch.relu_), operation("softmax")
    (('pointwise', True), ('', False))
    """
    name = _FUNCTIONS.get(target, "")
    if isinstance(target, str):
        name = _FUNCTIONS.get(getattr(torch.Tensor, target, None), "")
    if name in (*_HOMOGENEOUS, *_POINTWISE):
        return "pointwise", name in _HOMOGENEOUS
    if name in _POOLING:
        return "pool", True
    if name in _PAIRS:
        return "pair", _PAIRS[name]
    return _OTHERS.get(name, ""), False


def module_operation(module: nn.Module) -> tuple[str, bool]:
    """The same for a module, by its exact type; "pointwise", "pool", "flatten", "random", or "".

    >>> module_operation(nn.MaxPool2d(2)), module_operation(nn.Softmax(1))
    (('pool', True), ('', False))
    """
    kind, homogeneous = type(module), type(module) in _HOMOGENEOUS_MODULES
    if kind in RANDOM and module.training and getattr(module, "p", 1) > 0:
        return "random", False
    if kind in (*POOLING, nn.Upsample, nn.ZeroPad2d):
        return ("", False) if getattr(module, "return_indices", False) else ("pool", True)
    if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
        return "flatten", True
    return ("pointwise", homogeneous) if kind in (*ELEMENTWISE, *RANDOM, nn.PReLU) else ("", False)
