"""Numerical rank with its gap, Jacobians, and the matrix of an affine operator."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.linear import affine_map, jacobian, rank
from lib.nets import flatten, forward, init, unflatten
from lib.symmetry import permute
from lib.width import null_embed, split

few = settings(max_examples=25, deadline=None, derandomize=True)


@few
@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 8), st.integers(0, 999))
def test_rank_of_products_agrees_with_numpy(rows, columns, inner, seed):
    g = torch.Generator().manual_seed(seed)
    a = (
        torch.randn(rows, inner, generator=g).double()
        @ torch.randn(inner, columns, generator=g).double()
    )
    found = rank(a)
    assert int(found.value) == min(rows, columns, inner) == np.linalg.matrix_rank(a.numpy())
    assert float(found.gap) > 1e6
    np.testing.assert_allclose(
        found.singular_values, np.linalg.svd(a.numpy(), compute_uv=False), atol=1e-12
    )


def test_rank_batches_and_the_edges():
    a = torch.stack(
        [torch.eye(3), torch.diag(torch.tensor([1.0, 0.0, 0.0])), torch.zeros(3, 3)]
    ).double()
    found = rank(a)
    assert found.value.tolist() == [3, 1, 0]
    assert found.gap.tolist() == [math.inf] * 3
    small = rank(torch.diag(torch.tensor([1.0, 1e-4, 1e-12]).double()), tolerance=1e-6)
    assert (int(small.value), float(small.gap)) == (2, pytest.approx(1e8))


def test_a_rank_without_a_gap_is_refused():
    with pytest.raises(
        ValueError, match=r"1e-13 is counted, 1e-15 is not, a gap below 1000; set tolerance"
    ):
        rank(torch.diag(torch.tensor([1.0, 1e-13, 1e-15]).double()))
    assert int(rank(torch.diag(torch.tensor([1.0, 1e-13, 1e-15]).double()), clear=10).value) == 2
    with pytest.raises(
        ValueError, match=r"shape \(3,\): expected \(\*batch, rows, columns\) of finite"
    ):
        rank(torch.ones(3))
    with pytest.raises(ValueError, match="finite numbers"):
        rank(torch.full((2, 2), math.nan))


def test_jacobian_against_finite_differences():
    net = init((2, 3, 2), generator=0)
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(0)).double()
    theta = flatten(net).requires_grad_()
    found = jacobian(forward(unflatten(theta, net), x), [theta])
    h, eye = 1e-6, torch.eye(net.n_parameters).double()
    for i in range(net.n_parameters):
        moved = [
            forward(unflatten(theta.detach() + s * h * eye[i], net), x).flatten() for s in (1, -1)
        ]
        # central difference: error h^2 times a third derivative, plus eps / h
        torch.testing.assert_close(found[:, i], (moved[0] - moved[1]) / (2 * h), rtol=0, atol=1e-8)


def test_jacobian_of_several_inputs_with_unused_ones():
    a, b, c = (torch.ones(2, requires_grad=True) for _ in range(3))
    found = jacobian(a * torch.tensor([2.0, 3.0]) + b.sum(), [a, b, c])
    assert found.tolist() == [[2, 0, 1, 1, 0, 0], [0, 3, 1, 1, 0, 0]]
    assert not found.requires_grad


@pytest.mark.parametrize(
    "operator",
    [
        lambda net: split(net, 2, 1, -1.5),
        lambda net: null_embed(net, 1, 0.7),
        lambda net: permute(net, {1: [2, 0, 1]}),
        lambda net: net,
    ],
)
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_the_matrix_reproduces_the_operator(operator, batch):
    net = init((2, 3, 2, 1), batch=batch, generator=0)
    found = affine_map(operator, net)
    image = flatten(operator(net))
    assert found.matrix.shape == (*batch, image.shape[-1], net.n_parameters)
    torch.testing.assert_close(
        (found.matrix @ flatten(net).unsqueeze(-1)).squeeze(-1) + found.offset, image
    )


def test_the_columns_of_a_splitting_in_loops():
    net = init((1, 2, 1), output_bias=False, generator=0)  # w1 w2 b1 b2 a1 a2
    matrix = affine_map(lambda n: split(n, 1, 0, 0.25), net).matrix
    expected = torch.zeros(9, 6).double()  # w1 w2 w3 b1 b2 b3 a1 a2 a3
    for row, column, value in [(0, 0, 1), (1, 1, 1), (2, 0, 1), (3, 2, 1), (4, 3, 1), (5, 2, 1)]:
        expected[row, column] = value
    for row, column, value in [(6, 4, 0.75), (7, 5, 1), (8, 4, 0.25)]:
        expected[row, column] = value
    assert torch.equal(matrix, expected)


def test_operators_that_are_not_affine_are_refused():
    with pytest.raises(ValueError, match="expected an affine one"):
        affine_map(lambda net: net.map(torch.square), init((1, 2, 1), generator=0))
