"""All nets of a line in weight space on a CPU: what is linear in the weights is formed at both
ends, not at every point."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.func import functional_call

from lib.joint.dense_maps import dense, small_maps, taps_of
from lib.mixture.two_by_two import Run, pays
from lib.nets import Chain

Step = Callable[
    [Tensor, float], Tensor
]  # (feature before, gamma) -> pre-activation of the last layer of the step


def outputs(net1: Chain, net2: Chain, at: Tensor, blocks: Sequence[Tensor], lanes: int) -> Tensor:
    """The outputs of the nets gamma * theta_1 + (1 - gamma) * theta_2 on all images, (P, n,
    classes).

    Args:
        at: the gammas, (P,);  blocks: images (n_i, ...), sum n_i = n;  lanes: points side by side,
            one a thread, <= P.
    """
    # One thread a point scales better than all threads on one point; the count of each worker is
    # its own.
    own, one = torch.get_num_threads(), {"initializer": torch.set_num_threads, "initargs": (1,)}
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(lanes, **one) as pool:
        done = list(pool.map(lambda i: _lane(net1, net2, at[i::lanes], blocks), range(lanes)))
    torch.set_num_threads(own)
    out = done[0].new_empty(len(at), *done[0].shape[1:])
    for i, part in enumerate(done):
        out[i::lanes] = part
    return out


@torch.no_grad()
def _lane(net1: Chain, net2: Chain, at: Tensor, blocks: Sequence[Tensor]) -> Tensor:
    net1, net2 = (
        copy.deepcopy(net).eval() for net in (net1, net2)
    )  # `functional_call` wants modules of its own
    after = [*net1.activations, nn.Identity()]
    steps = [
        (_step(net1, net2, layers, size), after[layers[-1] - 1])
        for layers, size in _groups(net1, blocks[0])
    ]
    rows: list[list[Tensor]] = [[] for _ in at]
    for x in blocks:
        x = x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x
        # Both ends read the same images, so the first pre-activations are linear in gamma too.
        g1, g2 = (net.joint(1)(x) for net in (net1, net2))
        for row, gamma in zip(rows, at.tolist(), strict=True):
            f = activated(after[0], torch.lerp(g2, g1, gamma))
            for step, h in steps:
                f = activated(h, step(f, gamma))
            row.append(f)
    return torch.stack([torch.cat(row) for row in rows])


def _groups(net: Chain, x: Tensor) -> list[tuple[list[int], tuple[int, int] | None]]:
    """Layers 2..L, those that make a `Run` together, and the size of the maps that they read if it
    is small."""
    small = small_maps(net, x) if x.dim() == 4 else {}
    groups: list[tuple[list[int], tuple[int, int] | None]] = []
    for layer in range(2, net.depth + 1):
        size = small.get(layer)
        joined = (
            layer > 2
            and groups[-1][1] == size is not None
            and _only_relu(net.activations[layer - 2])
        )
        if joined and all(pays(net.joint(i), *size) for i in (layer - 1, layer)):
            groups[-1][0].append(layer)
        else:
            groups.append(([layer], size))
    return groups


def _step(net1: Chain, net2: Chain, layers: list[int], size: tuple[int, int] | None) -> Step:
    first, second = ([net.joint(layer) for layer in layers] for net in (net1, net2))
    if size is not None and pays(first[0], *size):
        return Run.of(first, second)
    (joint,), (other,) = first, second
    if size is not None:
        taps, after = taps_of(joint, *size)
        matrices = dense(joint, taps), dense(other, taps)

        def as_matrix(f: Tensor, gamma: float) -> Tensor:
            weight, bias = _between(*matrices, gamma)
            return torch.addmm(bias, f.flatten(1), weight).unflatten(
                1, (joint.out_channels, *after)
            )

        return as_matrix
    names = [name for name, _ in joint.named_parameters()]
    ends = [_nhwc(p) for p in joint.parameters()], [_nhwc(p) for p in other.parameters()]
    return lambda f, gamma: functional_call(
        joint, dict(zip(names, _between(*ends, gamma), strict=True)), (f,)
    )


def _between(first: Sequence[Tensor], second: Sequence[Tensor], gamma: float) -> list[Tensor]:
    return [torch.lerp(b, a, gamma) for a, b in zip(first, second, strict=True)]


def _nhwc(p: Tensor) -> Tensor:
    return p.contiguous(memory_format=torch.channels_last) if p.dim() == 4 else p


def _only_relu(h: nn.Module) -> bool:
    return isinstance(h, nn.ReLU) or (
        isinstance(h, nn.Sequential) and len(h) == 1 and _only_relu(h[0])
    )


def activated(h: nn.Module, g: Tensor) -> Tensor:
    """h(g) without gradient, for a g that belongs to no one else: ReLU overwrites it; pooling by
    halves, not windows.

    >>> h, g = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), torch.randn(2, 3, 4, 4)
    >>> torch.equal(h(g), activated(h, g.clone()))
    True
    """
    if isinstance(h, nn.ReLU):
        return torch.relu_(g)
    if isinstance(h, nn.Sequential):
        for m in h:
            g = activated(m, g)
        return g
    if (
        _halves(h) and g.shape[-1] % 2 == g.shape[-2] % 2 == 0
    ):  # three times faster, and it keeps no indices
        g = torch.maximum(g[..., ::2, :], g[..., 1::2, :])
        return torch.maximum(g[..., ::2], g[..., 1::2])
    return h(g)


def _halves(h: nn.Module) -> bool:
    return isinstance(h, nn.MaxPool2d) and (h.kernel_size, h.stride, h.padding, h.dilation) == (
        2,
        2,
        0,
        1,
    )
