"""The family of general compatible embeddings: dimension and curvature (Zhang et al. 2022, Sec. 5.3
and Thm 6.2)."""

import math

import numpy as np
import pytest
import torch
from draws import seeded
from hypothesis import given, settings
from hypothesis import strategies as st
from mlp_oracle import nets

from lib.critical import plant
from lib.curvature import hessian, inertia
from lib.linear import affine_map
from lib.nets import MLP, flatten, gradient, init
from lib.width import (
    affine_family,
    embedding,
    general_dimension,
    random_embedding,
    tangent_dimension,
)
from lib.width.constructions import three_fold, two_fold_null
from lib.width.embeddings import NULL
from lib.width.general import tangents


def critical_point(widths, name="tanh", seed=0, residual=0.1, extra=10):
    g = seeded(seed)
    net = init(widths, name, generator=g)
    x = torch.randn(net.n_parameters + extra, widths[0], generator=g, dtype=torch.float64)
    return net, x, plant(net, x, g, residual=residual)


def constraint_tangents(found, net) -> np.ndarray:
    """Oracle for `tangents`: the null space of the linearised conditions, in numpy, mapped to the
    wide parameters.

    Unknowns: d alpha, d alpha_b, d beta, d b_*, for all layers; equations: differentials of
        FORWARD, BACKWARD and NULL.
    """
    sigma = net.activation
    index = [i.tolist() for i in found.index]
    depth, wide = net.depth, found.wide
    names = [
        ("a", at, i, j)
        for at in range(1, depth + 1)
        for i in range(wide[at])
        for j in range(wide[at - 1])
    ]
    names += [("s", at, i) for at in range(1, depth + 1) for i in range(wide[at])]
    names += [
        (kind, at, i)
        for kind in ("beta", "null")
        for at in range(1, depth)
        for i in range(wide[at])
    ]
    column = {name: k for k, name in enumerate(names)}
    equations = []

    def equation(terms):
        row = np.zeros(len(names))
        for name, value in terms:
            if name in column:  # beta^[0], beta^[L] and b_*^[0] are fixed
                row[column[name]] += value
        equations.append(row)

    for at in range(1, depth + 1):
        a, beta = found.coefficients[at - 1].numpy(), found.beta[at].numpy()
        below_bias = found.null_bias[at - 1]
        value, slope = sigma.value(below_bias).tolist(), sigma.derivative(below_bias).tolist()
        rows, columns = index[at], index[at - 1]
        nulls = [j for j, c in enumerate(columns) if c == NULL]
        for i, source in enumerate(rows):
            for s in range(net.widths[at - 1]):
                equation([(("a", at, i, j), 1.0) for j, c in enumerate(columns) if c == s])
            fed = [(("a", at, i, j), value[j]) for j in nulls]
            fed += [(("null", at - 1, j), a[i, j] * slope[j]) for j in nulls] + [
                (("s", at, i), 1.0)
            ]
            equation(fed + ([(("null", at, i), -1.0)] if source == NULL else []))
            if source != NULL:
                equation([(("null", at, i), 1.0)])
            else:
                equation([(("beta", at, i), 1.0)])
        if at > 1:
            for j, c in enumerate(columns):
                for k in range(net.widths[at]):
                    copies = [i for i, r in enumerate(rows) if r == k]
                    terms = [(("a", at, i, j), beta[i]) for i in copies]
                    terms += [(("beta", at, i), a[i, j]) for i in copies]
                    equation(terms + ([] if c == NULL else [(("beta", at - 1, j), -1.0)]))
    _, values, basis = np.linalg.svd(np.array(equations))
    kernel = basis[int((values > 1e-9 * values[0]).sum()) :]
    blocks = []
    for at in range(1, depth + 1):
        w = net.weights[at - 1].numpy()
        for i, r in enumerate(index[at]):
            for j, c in enumerate(index[at - 1]):
                entry = 1.0 if NULL in (r, c) else w[r, c]
                blocks.append(kernel[:, column[("a", at, i, j)]] * entry)
        blocks += [kernel[:, column[("s", at, i)]] for i in range(wide[at])]
    return np.array(blocks).T


@settings(max_examples=15, deadline=None, derandomize=True)
@given(nets(depths=(2, 4), widest=2, all_biases=True), st.data())
def test_claim_a12_dimension_of_the_family(net, data):
    wide = (
        net.widths[0],
        *(m + data.draw(st.integers(0, 2)) for m in net.widths[1:-1]),
        net.widths[-1],
    )
    # Kinks and flat pieces make sigma'(b_*) = 0, but the rank does not depend on it: b_* moves the
    # shift itself.
    found = random_embedding(net, wide, seeded(data.draw(st.integers(0, 1000))), null=0.3)
    assert int(tangent_dimension(found, net).value) == general_dimension(net.widths, wide)


@pytest.mark.parametrize(
    ("narrow", "wide", "formula"),
    [
        ((1, 2, 1), (1, 5, 1), 3),
        ((1, 2, 2, 1), (1, 3, 3, 1), 1 + 1 + 1),
        ((1, 2, 3, 1), (1, 4, 6, 1), 2 + 3 + 2 * 3),
        ((2, 1, 2, 1, 1), (2, 3, 3, 3, 1), 2 + 1 + 2 + 2 * 1 + 1 * 2),
    ],
)
@pytest.mark.parametrize("null", [0.0, 1.0])
def test_claim_a12_two_hidden_layers_and_the_oracle(narrow, wide, formula, null):
    net = init(narrow, "tanh", generator=seeded(1))
    found = random_embedding(net, wide, seeded(2), null=null)
    assert general_dimension(narrow, wide) == formula
    measured = tangent_dimension(found, net)
    assert (int(measured.value), bool(measured.gap > 1e8)) == (formula, True)
    ours, oracle = tangents(found, net).numpy(), constraint_tangents(found, net)
    assert np.linalg.matrix_rank(oracle, tol=1e-9) == formula
    # One space: together they span no more. Both are of order one, with rounding 1e-13.
    assert np.linalg.matrix_rank(np.vstack([ours, oracle]), tol=1e-9) == formula


def test_the_family_contains_theorem_2s_affine_family():
    net = init((1, 2, 2, 1), generator=seeded(0))
    steps = [(1, 0), (2, 1)]
    affine = flatten(affine_family(net, steps).directions)
    general = tangents(embedding(net, [(*s, 0.3) for s in steps]), net)
    joint = torch.cat([affine, general])
    assert int(torch.linalg.matrix_rank(general, rtol=1e-10)) == 3  # K1 + K2 + K1 K2
    assert int(torch.linalg.matrix_rank(joint, rtol=1e-10)) == 3
    assert int(torch.linalg.matrix_rank(affine)) == 2


def test_no_widening_leaves_only_the_identity():
    net = init((1, 2, 2, 1), generator=0)
    found = random_embedding(net, (1, 2, 2, 1), seeded(3))
    assert int(tangent_dimension(found, net).value) == 0
    order = found.index[1]
    assert torch.equal(found(net).weights[0], net.weights[0][order])


def test_tangents_lie_in_the_kernel_at_critical_points_only():
    net, x, y = critical_point((2, 2, 2, 1))
    found = random_embedding(net, (2, 4, 3, 1), seeded(1), null=0.3)
    v = tangents(found, net)
    h = hessian(found(net), x, y)
    # rounding of sums of M' products of entries of both
    assert float((v @ h).abs().max()) < 1e-14 * len(h) * float(h.abs().max() * v.abs().max())
    other = hessian(found(net), x, y + torch.sin(3 * x[:, :1]))
    assert float((v @ other).abs().max()) > 1e-3


NETS = [
    ((2, 2, 1), "tanh"),
    ((2, 3, 2), "sigmoid"),
    ((1, 2, 2, 1), "tanh"),
    ((2, 2, 2, 2), "elu"),
    ((1, 2, 2, 2, 1), "tanh"),
]


@pytest.mark.parametrize(("widths", "name"), NETS)
@pytest.mark.parametrize("kind", ["split", "null", "three-fold", "two-fold null", "general"])
def test_theorem_6_2_inertia_never_decreases(widths, name, kind):
    """A7: i_-, i_0 and i_+ at exact critical points, minima (small residual) and saddles
    (large)."""
    for seed, residual in ((0, 0.003), (1, 1.0)):
        net, x, y = critical_point(widths, name, seed, residual)
        wider = (widths[0], *(m + 2 for m in widths[1:-1]), widths[-1])
        found = {
            "split": lambda net=net: embedding(net, [(1, 0, 1.7), (net.depth - 1, 1, -0.4)]),
            "null": lambda net=net: embedding(net, [(1, None, 0.4), (net.depth - 1, None, -1.0)]),
            "three-fold": lambda net=net: three_fold(net),
            "two-fold null": lambda net=net: two_fold_null(
                net, [torch.ones(m).double() for m in net.widths[1:-1]]
            ),
            "general": lambda net=net, wider=wider, seed=seed: random_embedding(
                net, wider, seeded(seed), null=0.2
            ),
        }[kind]()
        before = inertia(hessian(net, x, y), require=False).counts
        after = inertia(hessian(found(net), x, y), require=False).counts
        assert all(b >= a for a, b in zip(before, after, strict=True)), (before, after)
        assert sum(after) == found(net).n_parameters > sum(before)


@pytest.mark.parametrize(("widths", "name"), NETS)
def test_claim_a7_transported_curvature_at_any_parameters(widths, name):
    net = init(widths, name, std=0.7, generator=seeded(0))
    x = torch.randn(12, widths[0], generator=seeded(1)).double()
    y = torch.randn(12, widths[-1], generator=seeded(2)).double()
    found = random_embedding(
        net, (widths[0], *(m + 2 for m in widths[1:-1]), widths[-1]), seeded(3), null=0.3
    )
    a, c = affine_map(found, net).matrix, affine_map(found.transport, net).matrix
    h, wide = hessian(net, x, y), hessian(found(net), x, y)
    scale = float(wide.abs().max()) * float(a.abs().max()) ** 2 * len(wide)
    torch.testing.assert_close(a.mT @ wide @ a, h, rtol=0, atol=1e-14 * scale)
    torch.testing.assert_close(wide @ a, c @ h, rtol=0, atol=1e-14 * scale)
    torch.testing.assert_close(
        a.mT @ c, torch.eye(len(h)).double(), rtol=0, atol=1e-13 * float(a.abs().max()) ** 2
    )
    assert int(torch.linalg.matrix_rank(a)) == net.n_parameters  # an embedding is injective


def test_random_members_are_reproducible_and_differ():
    net = init((1, 2, 2, 1), generator=0)
    one, same, other = (random_embedding(net, (1, 4, 4, 1), seeded(s)) for s in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(one.coefficients, same.coefficients, strict=True))
    assert not torch.equal(one.coefficients[1], other.coefficients[1])
    assert not bool((one.coefficients[1] >= 0).all() and (one.coefficients[1] <= 1).all())


def test_the_share_of_null_neurons():
    net = init((1, 2, 1), generator=0)
    none, some, every = (random_embedding(net, (1, 40, 1), seeded(0), null=p) for p in (0, 0.5, 1))
    counts = [int((e.index[1] == NULL).sum()) for e in (none, some, every)]
    assert counts[0] == 0
    assert 8 < counts[1] < 30  # binomial(38, 1/2), five standard deviations
    assert counts[2] == 38
    assert all(set(range(2)) <= set(e.index[1].tolist()) for e in (none, some, every))


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "relu", "elu"])
@pytest.mark.parametrize(("bias", "output_bias"), [(False, False), (True, False)])
def test_nets_without_some_biases(name, bias, output_bias):
    """As in the paper's experiments: no output bias; null neurons only with sigma(b_*) = 0."""
    net = init((2, 2, 2, 1), name, std=0.7, bias=bias, output_bias=output_bias, generator=0)
    found = random_embedding(net, (2, 5, 4, 1), seeded(0), null=0.5)
    x = torch.randn(8, 2, generator=seeded(1)).double()
    y = torch.randn(8, 1, generator=seeded(2)).double()
    a, b = gradient(found(net), x, y), found.transport(gradient(net, x, y))
    torch.testing.assert_close(flatten(a), flatten(b), rtol=1e-10, atol=1e-12)
    if name == "sigmoid" and not bias:
        assert all((i != NULL).all() for i in found.index)
    assert int(tangent_dimension(found, net).value) <= general_dimension(net.widths, found.wide)


def test_zero_weights_lower_the_dimension():
    net = init((1, 2, 1), generator=seeded(0))
    dead = MLP((net.weights[0], torch.zeros(1, 2).double()), net.biases, net.activation)
    found = random_embedding(net, (1, 4, 1), seeded(0), null=0)
    assert int(tangent_dimension(found, net).value) == 2
    assert int(tangent_dimension(found, dead).value) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda n, g: random_embedding(n, (1, 1, 1), g),
            r"widths \(1, 1, 1\): expected 3 of them, at least \(1, 2, 1\)",
        ),
        (lambda n, g: random_embedding(n, (2, 3, 1), g), r"equal at both ends"),
        (lambda n, g: random_embedding(n, (1, 3), g), r"expected 3 of them"),
        (
            lambda n, g: random_embedding(n, (1, 3, 1), g, null=1.5),
            r"null is 1.5: expected a probability",
        ),
        (lambda n, g: random_embedding(n, (1, 3, 1), g, null=math.nan), r"null is nan"),
        (
            lambda n, g: random_embedding(n, (1, 3, 1), g, scale=-1.0),
            r"scale is -1.0: expected >= 0",
        ),
        (lambda n, g: general_dimension((1, 2, 1), (1, 1, 1)), r"expected at least \(1, 2, 1\)"),
        (lambda n, g: general_dimension((1, 2, 1), (1, 2, 2)), r"equal at both ends"),
        (lambda n, g: general_dimension((1, 2, 1), (1, 2)), r"expected at least"),
        (
            lambda n, g: tangents(three_fold(n), init((1, 2, 1), batch=(2,), generator=0)),
            r"expected one net",
        ),
        (
            lambda n, g: tangents(embedding(n, [(1, 0, torch.zeros(2).double())]), n),
            r"coefficients without batch dimensions",
        ),
    ],
)
def test_impossible_requests(call, message):
    with pytest.raises(ValueError, match=message):
        call(init((1, 2, 1), generator=0), seeded(0))
