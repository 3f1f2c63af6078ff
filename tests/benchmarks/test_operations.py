"""benchmarks.operations: counted multiply-adds against counts by hand."""

from __future__ import annotations

import torch

from benchmarks.operations import multiply_adds


def test_products_count_double_in_float64() -> None:
    a = torch.ones(3, 4)
    assert multiply_adds(lambda: a @ a.T) == 3 * 4 * 3
    assert multiply_adds(lambda: a.double() @ a.double().T) == 2 * 3 * 4 * 3


def test_convolutions_count_no_padding() -> None:
    joint = torch.nn.Conv2d(2, 5, 3, padding=1)
    with torch.no_grad():  # on 2 x 2 maps each of four outputs meets four pixels, not nine
        assert multiply_adds(lambda: joint(torch.ones(7, 2, 2, 2))) == 7 * 2 * 5 * 16
        assert (
            multiply_adds(lambda: torch.nn.Conv2d(2, 5, 3, stride=2)(torch.ones(7, 2, 5, 5)))
            == 7 * 2 * 5 * 4 * 9
        )


def test_factorisation_and_triangular_systems() -> None:
    n, k = 6, 2
    matrix, right = torch.eye(n), torch.ones(n, k)
    assert multiply_adds(lambda: torch.linalg.cholesky(matrix)) == n**3 / 6
    assert multiply_adds(lambda: torch.cholesky_solve(right, matrix)) == n * n * k
