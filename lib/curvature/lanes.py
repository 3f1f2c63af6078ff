"""Hessians of small nets of any depth, eight nets side by side: what `lib.curvature.lanes_kernel`
is given."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from lib.curvature.jets import CLOSED_FORM
from lib.nets import MLP, Loss, cross_entropy, flatten, mse

MOST, SMALL = (
    256,
    64,
)  # parameters: the sums of a larger net leave the cache; those that even one net may have


def fits(net: MLP, loss: Loss) -> bool:
    """Whether the kernel takes these nets and this loss, and is the fastest for them.

    A few larger nets leave its lanes empty, and for wide nets of two layers one Gram matrix does
    (`two_layer`).

    >>> from lib.nets import init
    >>> from lib.nets import mse
    >>> fits(init((1, 3, 3, 1), generator=0), mse), fits(init((1, 500, 1), generator=0), mse)
    (True, False)
    """
    from lib._simd.lanes import LANES  # where it is needed: Numba takes a second to import
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
def pairs(widths: tuple[int, ...], biases: tuple[bool, ...]) -> np.ndarray:
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
    >>> net = MLP((torch.ones(1, 1, 1), torch.ones(1, 1, 1)), activation="identity").to(torch.float64)
    >>> hessians(net, torch.ones(4, 1).double(), torch.ones(4, 1).double(), mse, False).tolist()
    [[[[2.0, 2.0], [2.0, 2.0]]]]
    """
    from lib._simd.lanes import LANES, aligned
    from lib._simd.pointwise import KINDS, constants, unit
    from lib.curvature.lanes_kernel import run

    count, widths, n = net.batch[0], np.array(net.widths), len(x)
    units, size = -(-count // LANES), int(sum(net.widths[1:]))
    biases = tuple(
        w.new_zeros(w.shape[:-1]) if b is None else b
        for w, b in zip(net.weights, net.biases, strict=True)
    )
    full = MLP(net.weights, biases, net.activation)
    nets = np.zeros((units * LANES, full.n_parameters))
    nets[:count] = flatten(full).detach().numpy()
    theta = aligned(units, full.n_parameters)
    theta[...] = nets.reshape(units, LANES, full.n_parameters).swapaxes(1, 2)
    neuron = np.concatenate([[0, 0], np.cumsum(widths[1:-1])])
    feature = np.concatenate([[0], np.cumsum(widths[:-1] + 1)])
    weight = np.concatenate([[0, 0], np.cumsum((widths[:-1] + 1) * widths[1:])[:-1]])
    bias = np.array([0, *(b is not None for b in net.biases)], dtype=np.int64)
    # f, sigma', sigma'' W^T delta, delta, df/dz, S, and a row of an entry's factors
    room = [
        int(feature[-1] + widths[-1] + 1),
        size,
        size,
        size,
        size**2,
        size**2,
        int(widths.max()) + 1,
    ]
    places = tuple(int(v) for v in np.concatenate([[0], np.cumsum(room)[:-1]]))
    layout, entries = (
        (widths, neuron, feature, weight, bias, places),
        pairs(net.widths, tuple(b is not None for b in net.biases)),
    )
    sums = np.empty((2 if split else 1, count, net.n_parameters, net.n_parameters))
    entropy = loss is cross_entropy
    targets = torch.nn.functional.one_hot(y, net.widths[-1]).to(x.dtype) if entropy else y
    data = [np.ascontiguousarray(t.detach().numpy()).reshape(-1) for t in (x, targets)]
    sigma = net.activation
    kind, parameter = KINDS[sigma.name], 0.0 if sigma.parameter is None else float(sigma.parameter)

    def share(first: int, last: int) -> None:
        run(
            first, last, kind, unit(kind), parameter, constants(kind), entropy, 1 / n if entropy else 2 / (n * net.widths[-1]),
            split, layout, theta.reshape(-1), *data, n, aligned(len(sums), len(entries)).reshape(len(sums), -1),
            aligned(sum(room)).reshape(-1), entries, sums,
        )  # fmt: skip

    threads = max(1, min(torch.get_num_threads(), units))
    bounds = np.linspace(0, units, threads + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(share, bounds[:-1], bounds[1:]))
    return torch.from_numpy(sums)
