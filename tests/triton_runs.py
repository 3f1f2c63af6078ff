"""Run in a process of its own by test_descent_gpu.py: the GPU kernel's trajectories, on a GPU or
else interpreted.

`TRITON_INTERPRET` must be set before Triton is imported. Every case is a function of nothing that
returns trajectories; `main` writes their arrays into one file.
"""

from __future__ import annotations

import sys

import numpy as np
import torch

import lib.train.descent.gpu as gpu
from lib.nets import MLP, init
from lib.nets.activations import NAMES, elu, leaky_relu
from lib.train.descent import descend

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LONG = 1000 if DEVICE == "cuda" else 6  # the interpreter takes 50 ms a step
# d, m, k, n, batch, hidden bias, output bias: odd shapes, one and several programs, one and several
# blocks of samples.
SHAPES = [
    (1, 3, 1, 50, (5,), True, False),
    (2, 5, 3, 7, (), True, True),
    (1, 1, 1, 1, (), False, False),
    (3, 2, 1, 20, (2, 5), True, True),
    (5, 1, 2, 3, (2,), False, False),
    (1, 9, 1, 70, (3,), False, True),
]


def problem(d, m, k, n, batch, bias, output_bias, activation="tanh", seed=0, dtype=torch.float64):  # noqa: PLR0913
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, dtype=dtype, generator=g)
    y = torch.randn(n, k, dtype=dtype, generator=g)
    net = init((d, m, k), activation, std=0.5, batch=batch, generator=g).to(dtype)
    biases = [net.biases[0] if bias else None, net.biases[1] if output_bias else None]
    return MLP(net.weights, biases, net.activation), x, y


def run(net, x, y, backend, **settings):
    if backend == "triton":
        net, x, y = net.to(DEVICE), x.to(DEVICE), y.to(DEVICE)
    return descend(net, x, y, backend=backend, **settings)


def followed(activation: str, optimizer: str, dtype: torch.dtype, backend: str):
    """All recorded steps of every activation and optimizer; the shapes take turns."""
    turn = 2 * NAMES.index(activation) + (optimizer == "adam")
    net, x, y = problem(*SHAPES[turn % len(SHAPES)], activation, seed=turn, dtype=dtype)
    rate = {"gd": 0.01, "adam": 0.003}[optimizer]
    return run(
        net, x, y, backend, steps=LONG, lr=rate, optimizer=optimizer, records=range(0, LONG, 3)
    )


def shaped(place: int, backend: str):
    net, x, y = problem(*SHAPES[place])
    return run(net, x, y, backend, steps=4, lr=0.02, optimizer="adam", records=range(5))


def parametrised(name: str, backend: str):
    sigma = {"leaky_relu": leaky_relu(0.3), "elu": elu(0.5)}[name]
    net, x, y = problem(*SHAPES[0], sigma)
    return run(net, x, y, backend, steps=10, lr=0.01, records=5)


def wide(backend: str):
    net, x, y = problem(*SHAPES[0])
    net = net.map(lambda p: p * 400)  # pre-activations beyond the clamp
    return run(net, x, y, backend, steps=10, lr=1e-3, records=5)


def diverging(backend: str):
    net, x, y = problem(*SHAPES[3], "relu")
    net.weights[0][1, 2] *= 1e5
    return run(net, x, y, backend, steps=12, lr=0.02, records=range(13), on_divergence="mask")


def resumed(optimizer: str, backend: str):
    net, x, y = problem(*SHAPES[0])
    settings = dict(lr=0.02, optimizer=optimizer, records=[3, 5, 9])
    half = run(net, x, y, backend, steps=6, **settings | {"records": [3, 5]})
    place = DEVICE if backend == "triton" else "cpu"
    return descend(
        net.to(place), x.to(place), y.to(place), steps=12, backend=backend, resume=half, **settings
    )


def whole(optimizer: str, backend: str):
    net, x, y = problem(*SHAPES[0])
    return run(net, x, y, backend, steps=12, lr=0.02, optimizer=optimizer, records=[3, 5, 6, 9])


def unkept(backend: str):
    net, x, y = problem(*SHAPES[3])
    return run(net, x, y, backend, steps=6, lr=0.02, keep_smallest=False, records=[2])


# The formulas that differ in float32 are those with an exponential.
SINGLE = [("tanh", "gd"), ("tanh", "adam"), ("sigmoid", "gd"), ("elu", "gd")]
CASES = {
    **{
        f"followed {a} {o} {str(t)[6:]}": lambda b, a=a, o=o, t=t: followed(a, o, t, b)
        for a in NAMES for o in ("gd", "adam") for t in (torch.float64, torch.float32)
        if t == torch.float64 or (a, o) in SINGLE
    },
    **{f"shape {i}": lambda b, i=i: shaped(i, b) for i in range(len(SHAPES))},
    **{f"parameter {a}": lambda b, a=a: parametrised(a, b) for a in ("leaky_relu", "elu")},
    **{f"{name} {o}": lambda b, f=f, o=o: f(o, b) for name, f in (("resumed", resumed), ("whole", whole)) for o in ("gd", "adam")},  # noqa: E501
    "wide": wide, "diverging": diverging, "unkept": unkept,
}  # fmt: skip


def main(path: str) -> None:
    own, arrays = gpu.tile, {}
    for name, case in CASES.items():
        if DEVICE == "cpu" and not name.startswith("shape"):
            # Wider blocks mean fewer of the interpreter's operations; `shape` keeps the layout of a
            # GPU.
            gpu.tile = lambda m, d, k, n: gpu.Tile(
                *(1 << (s - 1).bit_length() for s in (m, d, k)), 16, 64, 1
            )
        arrays |= {f"{name}/{key}": value for key, value in case("triton").arrays().items()}
        gpu.tile = own
    np.savez(path, **arrays)


if __name__ == "__main__":
    main(sys.argv[1])
