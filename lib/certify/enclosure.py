"""Loss, gradient and Hessian of a net whose parameters are balls: each encloses the values at every
net in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import flint
from torch import Tensor

from lib.certify.balls import Ball, Matrix, ball, jets, matrix
from lib.nets import MLP


@dataclass(frozen=True, eq=False)
class Passes:
    """One forward, one tangent and one backward pass over the sample, in balls.

    Args:
        weights: W^[1..L];  jets: at [l - 1][i][j] (sigma, sigma', sigma'') of neuron j of hidden
            layer l on sample i.
        tangents: at [l - 1][i] the derivatives of z^[l] by all parameters, (m_l, M).
        residuals: f(x_i) - y_i.
        errors: at [l - 1][i] the derivatives of the loss by z^[l].
        above: at [l - 1][i] those by the features f^[l], l < L.
    """

    net: MLP
    inputs: list[list[Ball]]
    weights: list[Matrix]
    jets: list[list[list[tuple[Ball, Ball, Ball]]]]
    tangents: list[list[Matrix]]
    residuals: list[list[Ball]]
    errors: list[list[list[Ball]]]
    above: list[list[list[Ball]]]

    def loss(self) -> Ball:
        """R_S, the mean squared error."""
        squares = [r * r for row in self.residuals for r in row]
        return sum(squares, flint.arb(0)) / len(squares)

    def gradient(self) -> list[Ball]:
        """sum_i (dz^[L]_i / dtheta)^T e_i, the M partial derivatives."""
        rows = [row for t in self.tangents[-1] for row in t.tolist()]
        errors = [e for row in self.errors[-1] for e in row]
        product = flint.arb_mat([errors]) * flint.arb_mat(rows)
        return list(product.entries())

    def hessian(self) -> Matrix:
        """(M, M): the sum of Gauss-Newton, curvature of sigma, and products of two layers."""
        rows: list[list[Ball]] = []
        weights: list[Ball] = []
        scale = flint.arb(2) / sum(len(r) for r in self.residuals)
        for t in self.tangents[-1]:
            rows += t.tolist()
            weights += [scale] * t.nrows()
        for layer, of_layer in enumerate(self.jets):
            for i, of_sample in enumerate(of_layer):
                rows += self.tangents[layer][i].tolist()
                weights += [g * j[2] for g, j in zip(self.above[layer][i], of_sample, strict=True)]
        scaled = [[w * v for v in row] for w, row in zip(weights, rows, strict=True)]
        mixed = self._products_of_layers()
        return flint.arb_mat(rows).transpose() * flint.arb_mat(scaled) + mixed + mixed.transpose()

    def _products_of_layers(self) -> Matrix:
        """sum_i e^[l]_ij sigma'(z^[l-1]_ik) dz^[l-1]_ik in the row of W^[l]_jk."""
        size = self.net.n_parameters
        mixed = flint.arb_mat(size, size)
        for layer in range(1, self.net.depth):
            errors = flint.arb_mat(self.errors[layer]).transpose()
            start = _offset(self.net, layer)
            for k in range(self.net.widths[layer]):
                moved = []
                for t, of_sample in zip(
                    self.tangents[layer - 1], self.jets[layer - 1], strict=True
                ):
                    moved.append([of_sample[k][1] * t[k, c] for c in range(size)])
                product = errors * flint.arb_mat(moved)
                for j in range(product.nrows()):
                    row = start + j * self.net.widths[layer] + k
                    for c in range(size):
                        mixed[row, c] = product[j, c]
        return mixed

    def features(self, layer: int, i: int) -> list[Ball]:
        """f^[layer] of sample i, the input for layer 0."""
        return self.inputs[i] if layer == 0 else [j[0] for j in self.jets[layer - 1][i]]


def passes(net: MLP, x: Tensor, y: Tensor, radius: float = 0.0) -> Passes:
    """All passes at the nets within `radius` of `net`, in every parameter.

    Raises:
        ValueError: a pre-activation may lie on the kink of the activation.

    >>> import torch
    >>> from lib.nets import gradient, flatten, init
    >>> net, x = init((1, 2, 1), generator=0), torch.ones(3, 1, dtype=torch.float64)
    >>> found = passes(net, x, 0 * x).gradient()
    >>> plain = flatten(gradient(net, x, 0 * x)).tolist()
    >>> max(abs(float(a.mid()) - b) for a, b in zip(found, plain)) < 1e-12
    True
    """
    weights = [matrix(w, radius) for w in net.weights]
    biases = [None if b is None else [ball(v, radius) for v in b.tolist()] for b in net.biases]
    inputs = [[ball(v) for v in row] for row in x.tolist()]
    jet = jets(net.activation)
    found: list[list[list[tuple[Ball, Ball, Ball]]]] = [[] for _ in net.weights[1:]]
    tangents: list[list[Matrix]] = [[] for _ in net.weights]
    residuals = []
    for here, target in zip(inputs, y.tolist(), strict=True):
        f, tangent = here, None
        for layer, w in enumerate(weights):
            tangent = _tangent(net, layer, w, f, tangent)
            tangents[layer].append(tangent)
            z = (w * flint.arb_mat([[v] for v in f])).entries()
            bias = biases[layer]
            z = list(z) if bias is None else [a + b for a, b in zip(z, bias, strict=True)]
            if layer == net.depth - 1:
                residuals.append([v - ball(t) for v, t in zip(z, target, strict=True)])
                break
            at = [jet(v) for v in z]
            found[layer].append(at)
            f = [j[0] for j in at]
            tangent = _scaled(tangent, [j[1] for j in at])
    errors, above = _backward(weights, found, residuals)
    return Passes(net, inputs, weights, found, tangents, residuals, errors, above)


def _tangent(net: MLP, layer: int, w: Matrix, f: Sequence[Ball], before: Matrix | None) -> Matrix:
    """W (df/dtheta), and f and 1 at the weights and the bias of the layer itself."""
    outputs, inputs = net.widths[layer + 1], net.widths[layer]
    out = flint.arb_mat(outputs, net.n_parameters) if before is None else w * before
    start = _offset(net, layer)
    bias = net.biases[layer] is not None
    for j in range(outputs):
        for k, value in enumerate(f):
            out[j, start + j * inputs + k] = value
        if bias:
            out[j, start + outputs * inputs + j] = flint.arb(1)
    return out


def _scaled(rows: Matrix, factors: Sequence[Ball]) -> Matrix:
    return flint.arb_mat(
        [[s * v for v in row] for s, row in zip(factors, rows.tolist(), strict=True)]
    )


def _backward(
    weights: Sequence[Matrix],
    found: Sequence[Sequence[Sequence[tuple[Ball, Ball, Ball]]]],
    residuals: Sequence[Sequence[Ball]],
) -> tuple[list[list[list[Ball]]], list[list[list[Ball]]]]:
    scale = flint.arb(2) / sum(len(r) for r in residuals)
    errors = [[[scale * r for r in row] for row in residuals]]
    above: list[list[list[Ball]]] = []
    for layer in range(len(weights) - 2, -1, -1):
        transposed = weights[layer + 1].transpose()
        down = [
            list((transposed * flint.arb_mat([[e] for e in row])).entries()) for row in errors[0]
        ]
        above.insert(0, down)
        errors.insert(
            0,
            [
                [g * j[1] for g, j in zip(row, at, strict=True)]
                for row, at in zip(down, found[layer], strict=True)
            ],
        )
    return errors, above


def _offset(net: MLP, layer: int) -> int:
    """Where W^[layer + 1] begins in the order of `lib.nets.flatten`."""
    sizes = [
        w.numel() + (0 if b is None else b.numel())
        for w, b in zip(net.weights, net.biases, strict=True)
    ]
    return sum(sizes[:layer])
