"""What the tests compare with: fully connected nets in plain numpy and Python loops, written from
the papers' formulas.

f^[l] = sigma(W^[l] f^[l-1] + b^[l]),  z^[L] = dloss/df,  z^[l] = W^[l+1]^T (z^[l+1] * g^[l+1]),
g^[l] = sigma'(.)."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import strategies as st

from lib.nets import MLP, init
from lib.nets.activations import NAMES

SIGMA = {
    "tanh": (math.tanh, lambda t: 1 / math.cosh(t) ** 2),
    "sigmoid": (lambda t: 1 / (1 + math.exp(-t)), lambda t: math.exp(-t) / (1 + math.exp(-t)) ** 2),
    "relu": (lambda t: max(t, 0.0), lambda t: float(t > 0)),
    "leaky_relu": (lambda t: t if t > 0 else 0.01 * t, lambda t: 1.0 if t > 0 else 0.01),
    "elu": (lambda t: t if t > 0 else math.exp(t) - 1, lambda t: 1.0 if t > 0 else math.exp(t)),
    "identity": (lambda t: t, lambda t: 1.0),
}


def arrays(net: MLP) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights and biases of one net as numpy arrays, a missing bias as zeros."""
    weights = [w.numpy().copy() for w in net.weights]
    biases = [
        np.zeros(len(w)) if b is None else b.numpy().copy()
        for w, b in zip(weights, net.biases, strict=True)
    ]
    return weights, biases


def loop_features(weights, biases, name: str, sample) -> list[list[float]]:
    """f^[0..L] of one input, neuron by neuron."""
    sigma = SIGMA[name][0]
    out = [list(map(float, sample))]
    for layer, (w, b) in enumerate(zip(weights, biases, strict=True), start=1):
        pre = [sum(w[i][j] * out[-1][j] for j in range(len(out[-1]))) + b[i] for i in range(len(b))]
        out.append(pre if layer == len(weights) else [sigma(t) for t in pre])
    return out


def loop_backward(weights, biases, name: str, sample, error) -> tuple[list, list[list[float]]]:
    """Features f^[0..L] and errors z^[0..L] * g of one input, where z^[L] is `error`; entry 0 of
    the errors is None."""
    features = loop_features(weights, biases, name, sample)
    slope = SIGMA[name][1]
    errors: list = [None] * (len(weights) + 1)
    errors[-1] = list(error)
    for layer in range(len(weights) - 1, 0, -1):
        w, b, v = weights[layer], biases[layer - 1], weights[layer - 1]
        z = [sum(w[k][i] * errors[layer + 1][k] for k in range(len(w))) for i in range(len(b))]
        pre = [
            sum(v[i][j] * features[layer - 1][j] for j in range(v.shape[1])) + b[i]
            for i in range(len(b))
        ]
        errors[layer] = [z[i] * slope(pre[i]) for i in range(len(b))]
    return features, errors


def loop_gradient(weights, biases, name: str, x, y) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Gradient of the mean squared error over samples and outputs, in loops."""
    grads, shifts = [np.zeros_like(w) for w in weights], [np.zeros_like(b) for b in biases]
    for sample, target in zip(x, y, strict=True):
        out = loop_features(weights, biases, name, sample)[-1]
        error = [2 * (out[k] - target[k]) / (len(x) * len(out)) for k in range(len(out))]
        f, e = loop_backward(weights, biases, name, sample, error)
        for layer in range(1, len(weights) + 1):
            for i in range(len(biases[layer - 1])):
                shifts[layer - 1][i] += e[layer][i]
                for j in range(len(f[layer - 1])):
                    grads[layer - 1][i, j] += e[layer][i] * f[layer - 1][j]
    return grads, shifts


def samples(net: MLP, n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random inputs and targets for a net: (n, m_0) and (n, m_L)."""
    g = torch.Generator().manual_seed(seed)
    draw = [
        torch.randn(n, m, generator=g, dtype=net.dtype) for m in (net.widths[0], net.widths[-1])
    ]
    return draw[0], draw[1]


@st.composite
def nets(
    draw,
    *,
    depths=(2, 4),
    widest: int = 6,
    names=NAMES,
    batches=((),),
    all_biases: bool = False,
    homogeneous=False,
) -> MLP:
    """Random nets: depth and widths in those ranges, every activation, with and without biases."""
    depth = draw(st.integers(*depths))
    widths = draw(st.lists(st.integers(1, widest), min_size=depth + 1, max_size=depth + 1))
    name = draw(
        st.sampled_from(
            [n for n in names if not homogeneous or n in ("relu", "leaky_relu", "identity")]
        )
    )
    bias = all_biases or draw(st.booleans())
    output_bias = all_biases or draw(st.booleans())
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    # std 0.7 keeps tanh and sigmoid of four layers away from saturation, where every gradient would
    # be zero
    batch = draw(st.sampled_from(batches))
    return init(
        widths, name, std=0.7, batch=batch, bias=bias, output_bias=output_bias, generator=generator
    )


@st.composite
def neurons(draw, net: MLP) -> tuple[int, int]:
    """A hidden layer and one of its neurons."""
    layer = draw(st.integers(1, net.depth - 1))
    return layer, draw(st.integers(0, net.widths[layer] - 1))


alphas = st.floats(-4, 5, allow_nan=False)  # far outside [0, 1] too
