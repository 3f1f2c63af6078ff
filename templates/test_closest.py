"""The kernel agrees with its reference, and refuses what it cannot take."""

from __future__ import annotations

import pytest
import torch
from draws import seeded
from hypothesis import given, settings
from hypothesis import strategies as st

from templates.closest import closest, reference


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(2, 20), st.integers(1, 5), st.integers(0, 99))
def test_the_kernel_is_its_reference(n, m, seed):
    features = torch.randn(n, m, generator=seeded(seed), dtype=torch.float64)
    # a sum of at most five squares in another order
    assert closest(features) == pytest.approx(reference(features), rel=1e-15)


@pytest.mark.parametrize("bad", [torch.zeros(1, 2, dtype=torch.float64), torch.zeros(3, 2)])
def test_what_does_not_fit_is_refused(bad):
    with pytest.raises(ValueError, match="expected float64"):
        closest(bad)
