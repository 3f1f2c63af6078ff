"""A second opinion on certificates: the intervals of mpmath, derivatives by truncated Taylor
series, signs by an LDL^T decomposition. It shares no line with lib.certify."""

from __future__ import annotations

from itertools import product

from mpmath import iv, mpf


def number(value, radius=0.0):
    """The interval around a float."""
    return iv.mpf([mpf(value) - mpf(radius), mpf(value) + mpf(radius)])


class Series:
    """A function of M parameters up to second order: value, gradient, Hessian."""

    def __init__(self, value, first, second):
        self.value, self.first, self.second = value, first, second

    @classmethod
    def constant(cls, value, size):
        zero = iv.mpf(0)
        return cls(value, [zero] * size, [[zero] * size for _ in range(size)])

    @classmethod
    def parameter(cls, value, index, size):
        found = cls.constant(value, size)
        found.first[index] = iv.mpf(1)
        return found

    def __add__(self, other):
        return Series(
            self.value + other.value,
            [a + b for a, b in zip(self.first, other.first, strict=True)],
            [
                [a + b for a, b in zip(r, s, strict=True)]
                for r, s in zip(self.second, other.second, strict=True)
            ],
        )

    def __mul__(self, other):
        a, b = self, other
        return Series(
            a.value * b.value,
            [a.value * q + p * b.value for p, q in zip(a.first, b.first, strict=True)],
            [
                [
                    a.value * b.second[i][j]
                    + a.first[i] * b.first[j]
                    + a.first[j] * b.first[i]
                    + a.second[i][j] * b.value
                    for j in range(len(a.first))
                ]
                for i in range(len(a.first))
            ],
        )

    def through(self, value, slope, bend):
        """The chain rule for a function with these derivatives at the value."""
        size = len(self.first)
        return Series(
            value,
            [slope * p for p in self.first],
            [
                [
                    slope * self.second[i][j] + bend * self.first[i] * self.first[j]
                    for j in range(size)
                ]
                for i in range(size)
            ],
        )


def tanh(s):
    t = 1 - 2 / (iv.exp(2 * s.value) + 1)
    return s.through(t, 1 - t * t, -2 * t * (1 - t * t))


def sigmoid(s):
    t = 1 / (iv.exp(-s.value) + 1)
    return s.through(t, t * (1 - t), t * (1 - t) * (1 - 2 * t))


def risk(net, x, y, radius):
    """The mean squared error as a series in the parameters, at every net within the radius."""
    size, taken = net.n_parameters, 0
    layers = []
    for w, b in zip(net.weights, net.biases, strict=True):
        parts = []
        for p in (w.flatten().tolist(), [] if b is None else b.tolist()):
            parts.append(
                [Series.parameter(number(v, radius), taken + k, size) for k, v in enumerate(p)]
            )
            taken += len(p)
        layers.append((*parts, w.shape))
    sigma = {"tanh": tanh, "sigmoid": sigmoid}[net.activation.name]
    total = Series.constant(iv.mpf(0), size)
    for inputs, targets in zip(x.tolist(), y.tolist(), strict=True):
        f = [Series.constant(number(v), size) for v in inputs]
        for depth, (w, b, (outputs, width)) in enumerate(layers):
            z = []
            for j in range(outputs):
                at = b[j] if b else Series.constant(iv.mpf(0), size)
                for k in range(width):
                    at = at + w[j * width + k] * f[k]
                z.append(at)
            f = z if depth == len(layers) - 1 else [sigma(s) for s in z]
        for out, target in zip(f, targets, strict=True):
            r = out + Series.constant(-number(target), size)
            total = total + r * r
    scale = Series.constant(iv.mpf(1) / (y.numel()), size)
    return total * scale


def agrees(found, x, y):
    """Whether everything that a `CertifiedPoint` says is proved here as well."""
    iv.prec = 100
    size = found.net.n_parameters
    slope = risk(found.net, x, y, 0.0).first
    hessian = risk(found.net, x, y, found.radius).second
    c = [[number(v) for v in row] for row in found.inverse.tolist()]
    box = number(0.0, found.radius)
    for i in range(size):
        image = -sum((c[i][k] * slope[k] for k in range(size)), iv.mpf(0))
        for j in range(size):
            entry = sum((c[i][k] * hessian[k][j] for k in range(size)), iv.mpf(0))
            image += ((1 if i == j else 0) - entry) * box
        if not (image.a > -found.radius and image.b < found.radius):
            return False
    return signs(hessian, found.basis.tolist()) == found.counts


def signs(matrix, basis):
    """Counts by the pivots of L D L^T of Q^T H Q, None where a pivot may be zero."""
    size = len(matrix)
    q = [[number(v) for v in row] for row in basis]
    half = [
        [sum((matrix[i][k] * q[k][j] for k in range(size)), iv.mpf(0)) for j in range(size)]
        for i in range(size)
    ]
    s = [
        [sum((q[k][i] * half[k][j] for k in range(size)), iv.mpf(0)) for j in range(size)]
        for i in range(size)
    ]
    counts = [0, 0, 0]
    for k in range(size):
        pivot = s[k][k]
        if pivot.a <= 0 <= pivot.b:
            return None
        counts[0 if pivot.b < 0 else 2] += 1
        for i, j in product(range(k + 1, size), repeat=2):
            s[i][j] = s[i][j] - s[i][k] * s[k][j] / pivot
    return tuple(counts)
