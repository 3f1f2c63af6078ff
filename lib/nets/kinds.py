"""Which modules of torch the library understands, and which it refuses.

A module is known by its exact type: a subclass may have a `forward` of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

Joint = nn.Linear | nn.Conv2d  # the trainable linear map of a layer
Kinds = tuple[type[nn.Module], ...]

JOINTS: Kinds = (nn.Linear, nn.Conv2d)
# act on every number alone, so that copies of a channel stay copies
ELEMENTWISE: Kinds = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU,
    nn.Mish, nn.Softplus, nn.Softsign, nn.Tanh, nn.Tanhshrink, nn.Hardtanh, nn.Hardswish,
    nn.Hardsigmoid, nn.Hardshrink, nn.Softshrink, nn.Sigmoid, nn.LogSigmoid, nn.Threshold,
)  # fmt: skip
POOLING: Kinds = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
RANDOM: Kinds = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.RReLU,
)  # fmt: skip
NORMS: Kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
PER_CHANNEL: Kinds = (*NORMS, nn.PReLU)
# understood as maps between layers, not as something that treats channels alike
MIXING: Kinds = (
    nn.Softmax, nn.Softmin, nn.LogSoftmax, nn.Softmax2d, nn.LayerNorm, nn.GroupNorm, nn.GLU,
    nn.InstanceNorm1d, nn.InstanceNorm2d, nn.LocalResponseNorm, nn.Unflatten, nn.ZeroPad2d,
    nn.Upsample, nn.PixelShuffle,
)  # fmt: skip
KNOWN: Kinds = (
    *JOINTS, *ELEMENTWISE, *POOLING, *RANDOM, *PER_CHANNEL, *MIXING, nn.Flatten,
)  # fmt: skip


def leaves(module: nn.Module) -> list[nn.Module]:
    """The modules of nested plain `nn.Sequential`s in the order in which they act.

    >>> len(leaves(nn.Sequential(nn.ReLU(), nn.Sequential(nn.Tanh(), nn.Flatten()))))
    3
    """
    if type(module) is not nn.Sequential:
        return [module]
    return [leaf for inner in module for leaf in leaves(inner)]


def check_plain(net: nn.Module) -> None:
    """Refuse what changes a module from outside: hooks, parametrizations, shared tensors.

    Raises:
        TypeError: hooks, parametrizations (weight norm too), a `forward` put on an instance, or
            weights that are no plain floating parameters.
        ValueError: a parameter or buffer that two modules share.

    >>> check_plain(nn.Linear(1, 1))
    """
    seen: dict[int, str] = {}
    for name, module in net.named_modules(remove_duplicate=False):
        where = f"module {name}" if name else "the net"
        hooks = (
            module._forward_hooks,
            module._forward_pre_hooks,
            module._backward_hooks,
            module._backward_pre_hooks,
        )
        if any(hooks) or parametrize.is_parametrized(module) or "forward" in vars(module):
            raise TypeError(
                f"{where} has hooks, parametrizations or a forward of its own: expected plain"
                " modules; remove them first (torch.nn.utils.parametrize.remove_parametrizations)"
            )
        if type(module) in JOINTS and module._parameters.get("weight") is None:
            raise TypeError(f"the weight of {where} is no nn.Parameter: expected one")
        for key, p in (*module._parameters.items(), *module._buffers.items()):
            if p is None:
                continue
            if id(p) in seen:
                raise ValueError(
                    f"{key} of {where} is also {seen[id(p)]}: expected parameters and buffers that"
                    " no two modules share"
                )
            seen[id(p)] = f"{key} of {where}"
            if key in module._parameters and not p.is_floating_point() or p.is_inference():
                raise TypeError(
                    f"{key} of {where} is {p.dtype}{', of inference mode' * p.is_inference()}:"
                    " expected an ordinary floating tensor"
                )


def check_known(net: nn.Module) -> None:
    """Refuse a net that is not made of modules that the library understands, or as `check_plain`.

    Raises:
        TypeError: not an `nn.Sequential` (its subclasses may have a `forward` of their own), or
            modules of other types; the message lists them.

    >>> check_known(nn.Sequential(nn.Linear(1, 1), nn.ReLU()))
    """
    if type(net) is not nn.Sequential:
        raise TypeError(
            f"net is {type(net).__name__}: expected a plain nn.Sequential or a Chain, whose data"
            " flow is known; where an operator takes layers by name, name one, and it is traced"
        )
    check_plain(net)
    unknown = [
        f"{name} ({type(module).__name__})"
        for name, module in net.named_modules(remove_duplicate=False)
        if type(module) not in (nn.Sequential, *KNOWN)
    ]
    if unknown:
        raise TypeError(
            f"modules not understood: {', '.join(unknown)}; expected Linear, Conv2d, activations,"
            " pooling, BatchNorm1d or 2d, dropout and Flatten of torch itself; for grafting, wrap"
            " other maps between layers as Chain(joints, activations)"
        )


def check_deterministic(net: nn.Module) -> None:
    """Refuse active dropout, whose outputs are random.

    Raises:
        ValueError: a module of dropout, or RReLU, in training mode.

    >>> check_deterministic(nn.Sequential(nn.Dropout(0.5)).eval())
    """
    for module in net.modules():
        if isinstance(module, RANDOM) and module.training and getattr(module, "p", 1) > 0:
            raise ValueError(
                f"{type(module).__name__} is active, its outputs are random: call .eval() first, or"
                " remove it"
            )


def check_by_sample(net: nn.Module) -> None:
    """Refuse BatchNorm that normalises by the batch even in eval mode.

    Raises:
        ValueError: it keeps no running statistics.

    >>> check_by_sample(nn.BatchNorm1d(2))
    """
    for name, module in net.named_modules():
        if isinstance(module, _BatchNorm) and module.running_mean is None:
            raise ValueError(
                f"{name or 'the net'} ({type(module).__name__}) keeps no running statistics: what"
                " it does to a sample depends on the batch; expected track_running_stats=True"
            )


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """A net in eval mode for a while; every module gets its own mode back, after an error too.

    >>> net = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    >>> with evaluating(net):
    ...     net.training
    False
    >>> [module.training for module in net]
    [True, False]
    """
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def overwrites(net: nn.Module) -> bool:
    """Whether a module works in place, and so may overwrite what it is given.

    >>> overwrites(nn.Sequential(nn.ReLU(inplace=True)))
    True
    """
    return any(getattr(module, "inplace", False) for module in net.modules())
