"""Hessians of small nets of any depth, eight nets side by side: what `lib.curvature.lanes_kernel`
is given."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lib.curvature.jets import CLOSED_FORM
from lib.nets import MLP, Activation, Loss, cross_entropy, flatten, mse

if TYPE_CHECKING:  # Numba takes a second to import, so the kernel is imported where it runs
    from lib._simd.lanes import Floats, Ints
    from lib.curvature.lanes_kernel import Net, Risk, Sigma

MOST = 256  # parameters: the sums of a larger net leave the cache
SMALL = 64  # parameters that even one net may have


def fits(net: MLP, loss: Loss) -> bool:
    """Whether the kernel takes these nets and this loss, and is the fastest for them.

    A few larger nets leave its lanes empty, and for wide nets of two layers one Gram matrix does
    (`two_layer`).

    >>> from lib.nets import init
    >>> from lib.nets import mse
    >>> fits(init((1, 3, 3, 1), generator=0), mse), fits(init((1, 500, 1), generator=0), mse)
    (True, False)
    """
    from lib._simd.lanes import LANES
    from lib._simd.pointwise import KINDS

    sigma = net.activation
    known = (
        sigma.name in KINDS
        and (sigma.parameter is None or sigma.parameter > 0)
        and loss in CLOSED_FORM
    )
    most = SMALL if net.batch.numel() < LANES / 2 or (net.depth == 2 and loss is mse) else MOST
    return (
        known
        and net.n_parameters <= most
        and net.device.type == "cpu"
        and net.dtype == torch.float64
    )


@lru_cache(maxsize=64)
def pairs(widths: tuple[int, ...], biases: tuple[bool, ...]) -> Ints:
    """The two parameters, in the order of `flatten`, of every entry of a triangle of H: the
    triangle of the neurons, and in each of its places the parameters of the one by those of the
    other.

    >>> pairs((1, 1, 1), (True, False)).tolist()
    [[0, 0], [0, 1], [1, 1], [0, 2], [1, 2], [2, 2]]
    """
    owners, start = [], 0  # the parameters of every neuron: of its inputs, then its bias
    for into, out, bias in zip(widths, widths[1:], biases, strict=False):
        end = start + out * into
        owners += [
            [*range(start + a * into, start + (a + 1) * into)] + [end + a] * bias
            for a in range(out)
        ]
        start = end + out * bias
    found = []
    for a, mine in enumerate(owners):
        for c in range(a, len(owners)):
            found += [(p, q) for b, p in enumerate(mine) for q in owners[c][b if c == a else 0 :]]
    return np.array(found, dtype=np.int64)


def hessians(net: MLP, x: Tensor, y: Tensor, loss: Loss, split: bool) -> Tensor:
    """H of the nets and the loss that `fits` takes, (1, B, M, M), symmetric; or its parts (2, B, M,
    M), Gauss-Newton first.

    >>> from lib.nets import mse
    >>> one, x = torch.ones(1, 1, 1, dtype=torch.float64), torch.ones(4, 1, dtype=torch.float64)
    >>> hessians(MLP((one, one), activation="identity"), x, x, mse, split=False).tolist()
    [[[[2.0, 2.0], [2.0, 2.0]]]]
    """
    from lib._simd.lanes import aligned
    from lib.curvature.lanes_kernel import Found, Sample, Work, run

    kernel_net, size = _layout(net)
    theta, entries = _units(net), pairs(net.widths, tuple(b is not None for b in net.biases))
    h = np.empty((2 if split else 1, net.batch[0], net.n_parameters, net.n_parameters))
    targets = (
        torch.nn.functional.one_hot(y, net.widths[-1]).to(x.dtype) if loss is cross_entropy else y
    )
    sample = Sample(*(np.ascontiguousarray(t.detach().numpy()) for t in (x, targets)))
    sigma, risk = _sigma(net.activation), _risk(net, len(x), loss)

    def share(first: int, last: int) -> None:
        sums = aligned(len(h), len(entries)).reshape(len(h), -1)
        job = Work(sums, aligned(size).reshape(-1)), Found(entries, h)
        run(first, last, sigma, risk, kernel_net, theta.reshape(-1), sample, job)

    threads = max(1, min(torch.get_num_threads(), len(theta)))
    bounds = np.linspace(0, len(theta), threads + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(share, bounds[:-1], bounds[1:]))
    return torch.from_numpy(h)


def _units(net: MLP) -> Floats:
    """The nets, with a bias everywhere, as (units, parameters, lanes); nets of zeros fill up."""
    from lib._simd.lanes import LANES, aligned

    count = net.batch[0]
    biases = tuple(
        w.new_zeros(w.shape[:-1]) if b is None else b
        for w, b in zip(net.weights, net.biases, strict=True)
    )
    full = flatten(MLP(net.weights, biases, net.activation)).detach().numpy()
    units, size = -(-count // LANES), full.shape[-1]
    nets = np.zeros((units * LANES, size))
    nets[:count] = full
    theta = aligned(units, size)
    theta[...] = nets.reshape(units, LANES, size).swapaxes(1, 2)
    return theta


def _layout(net: MLP) -> tuple[Net, int]:
    """The shape as the kernel takes it, and the vectors of its scratch."""
    from lib.curvature.lanes_kernel import Net, Places

    widths, neurons = np.array(net.widths), int(sum(net.widths[1:]))
    neuron = np.concatenate([[0, 0], np.cumsum(widths[1:-1])])
    feature = np.concatenate([[0], np.cumsum(widths[:-1] + 1)])
    weight = np.concatenate([[0, 0], np.cumsum((widths[:-1] + 1) * widths[1:])[:-1]])
    bias = np.array([0, *(b is not None for b in net.biases)], dtype=np.int64)
    features = int(feature[-1] + widths[-1] + 1)
    room = [features, *3 * [neurons], *2 * [neurons**2], int(widths.max()) + 1]
    places = Places(*(sum(room[:kind]) for kind in range(len(room))))
    return Net(widths, neuron, feature, weight, bias, places), sum(room)


def _sigma(activation: Activation) -> Sigma:
    from lib._simd.pointwise import KINDS, constants, unit
    from lib.curvature.lanes_kernel import Sigma

    kind, parameter = KINDS[activation.name], activation.parameter
    return Sigma(kind, unit(kind), float(parameter or 0.0), constants(kind))


def _risk(net: MLP, n: int, loss: Loss) -> Risk:
    from lib.curvature.lanes_kernel import Risk

    entropy = loss is cross_entropy
    return Risk(entropy, 1 / n if entropy else 2 / (n * net.widths[-1]))
