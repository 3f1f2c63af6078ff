"""The Gram of unfolded patches from shift structure, against the unfolded matrix and against
loops."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib.joint import Geometry
from lib.joint.gram import patch_cross, patch_gram, patch_sums

SMALL = settings(max_examples=60, deadline=None, derandomize=True)


@st.composite
def problems(draw):
    """A joint of any kernel, padding and dilation, and the size of an image that it fits on."""
    pair = lambda low, high: (  # noqa: E731
        draw(st.integers(low, high)),
        draw(st.integers(low, high)),
    )
    kernel, dilation, padding = pair(1, 4), pair(1, 2), (*pair(0, 3), *pair(0, 3))
    size = pair(1, 7)
    for axis in (0, 1):  # the smallest image that the kernel fits on, at least
        reach = dilation[axis] * (kernel[axis] - 1) + 1 - padding[2 * axis] - padding[2 * axis + 1]
        size = (max(size[0], reach), size[1]) if axis == 0 else (size[0], max(size[1], reach))
    return Geometry(2, 3, kernel, (1, 1), padding, dilation), size, draw(st.integers(0, 999))


def patches_by_loops(maps: np.ndarray, shape: Geometry) -> np.ndarray:
    """The unfolded patches (unknowns, samples), one number at a time."""
    n, channels, rows, columns = maps.shape
    out_rows, out_columns = shape.output_size(rows, columns)
    patches = np.zeros((channels * shape.taps, n * out_rows * out_columns))
    sample = 0
    for image, y, x in itertools.product(range(n), range(out_rows), range(out_columns)):
        for c, a, b in itertools.product(
            range(channels), range(shape.kernel[0]), range(shape.kernel[1])
        ):
            row = y * shape.stride[0] + a * shape.dilation[0] - shape.padding[0]
            column = x * shape.stride[1] + b * shape.dilation[1] - shape.padding[2]
            if 0 <= row < rows and 0 <= column < columns:
                patches[(c * shape.kernel[0] + a) * shape.kernel[1] + b, sample] = maps[
                    image, c, row, column
                ]
        sample += 1  # noqa: SIM113
    return patches


@SMALL
@given(problems())
def test_shifts_equal_the_unfolded_matrix(problem):
    shape, size, seed = problem
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(3, 2, *size, dtype=torch.float64, generator=generator)
    target = torch.randn(3, 3, *shape.output_size(*size), dtype=torch.float64, generator=generator)
    # float64 sums in another order; entries may cancel, hence the scale of the largest
    scale = 1e-13 * max(1.0, maps.square().sum().item())
    expected = patch_gram(maps, shape, "unfold")
    torch.testing.assert_close(patch_gram(maps, shape, "shifts"), expected, rtol=0, atol=scale)
    torch.testing.assert_close(
        patch_cross(maps, target, shape, "shifts"),
        patch_cross(maps, target, shape, "unfold"),
        rtol=0,
        atol=10 * scale,
    )
    torch.testing.assert_close(expected, expected.T, rtol=0, atol=scale)


@pytest.mark.parametrize(
    "shape",
    [
        Geometry(2, 3, (3, 3), (1, 1), (1, 1, 1, 1)),
        Geometry(2, 3, (3, 2), (2, 1), (1, 0, 0, 2)),
        Geometry(2, 3, (2, 3), (1, 3), (0, 0, 2, 2), (2, 1)),
        Geometry(2, 3),
    ],
)
def test_moments_against_loops(shape):
    rng = np.random.default_rng(0)
    maps, target = rng.normal(size=(2, 2, 6, 5)), rng.normal(size=(2, 3, *shape.output_size(6, 5)))
    patches, aim = patches_by_loops(maps, shape), target.transpose(1, 0, 2, 3).reshape(3, -1)
    x, g = torch.tensor(maps), torch.tensor(target)
    for got, expected in (
        (patch_gram(x, shape), patches @ patches.T),
        (patch_cross(x, g, shape), aim @ patches.T),
        (patch_sums(x, shape), patches.sum(1)),
    ):
        np.testing.assert_allclose(
            got.numpy(), expected, rtol=0, atol=1e-12
        )  # about 100 terms of order 1


def test_float32_is_equal_to_1e_5_relative():
    shape = Geometry(8, 8, (3, 3), (1, 1), (1, 1, 1, 1))
    maps = torch.randn(16, 8, 16, 16, generator=torch.Generator().manual_seed(0)).relu()
    exact = patch_gram(maps.double(), shape, "unfold")
    for method in ("shifts", "unfold"):
        assert (
            (patch_gram(maps, shape, method) - exact).abs().max() / exact.abs().max()
        ).item() < 1e-5


def test_memory_of_unfolding_is_bounded(monkeypatch):
    import lib.joint.gram as module

    shape = Geometry(2, 3, (3, 3), (2, 2), (1, 1, 1, 1))
    maps = torch.randn(7, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    target = torch.randn(
        7, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    whole = patch_gram(maps, shape), patch_cross(maps, target, shape)
    seen = []
    monkeypatch.setattr(module, "CHUNK", 2 * 9 * 16 * 2)  # two images' patches
    whole_unfold = Geometry.unfold
    monkeypatch.setattr(
        Geometry, "unfold", lambda s, part: seen.append(len(part)) or whole_unfold(s, part)
    )
    for got, expected in zip(
        (patch_gram(maps, shape), patch_cross(maps, target, shape)), whole, strict=True
    ):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    assert seen == [2, 2, 2, 1] * 2


def test_bad_calls_are_refused():
    strided = Geometry(1, 1, (3, 3), (2, 2))
    x = torch.zeros(1, 1, 5, 5)
    with pytest.raises(ValueError, match="shifts need stride 1"):
        patch_gram(x, strided, "shifts")
    with pytest.raises(ValueError, match="no method 'fft'"):
        patch_cross(x, x, strided, "fft")
    with pytest.raises(ValueError, match=r"expected \(1, outputs, 2, 2\)"):
        patch_cross(x, x, strided)
    with pytest.raises(ValueError, match=r"the kernel spans \[3, 3\]"):
        strided.output_size(2, 9)


# geometry


@pytest.mark.parametrize(
    "joint",
    [
        nn.Linear(6, 4),
        nn.Linear(6, 4, bias=False),
        nn.Conv2d(6, 4, 3, padding=1),
        nn.Conv2d(
            6, 4, (2, 3), stride=(1, 2), padding=(0, 1), dilation=(2, 1), groups=2, bias=False
        ),
        nn.Conv2d(6, 4, (4, 2), padding="same"),
        nn.Conv2d(6, 4, 3, padding="valid"),
    ],
)
@pytest.mark.filterwarnings(
    "ignore:Using padding=.same. with even kernel"
)  # torch pads a copy: slower, not wrong
def test_a_joint_rebuilt_from_its_geometry_is_the_same_map(joint):
    joint = joint.double()
    x = (
        torch.randn(2, 6, dtype=torch.float64)
        if isinstance(joint, nn.Linear)
        else torch.randn(2, 6, 9, 8).double()
    )
    again = Geometry.of(joint).build(joint.weight, joint.bias)
    torch.testing.assert_close(again(x), joint(x), rtol=0, atol=0)
    maps = Geometry.of(joint).as_maps(x)
    assert maps.dim() == 4
    if not isinstance(joint, nn.Linear):
        assert joint(x).shape[-2:] == Geometry.of(joint).output_size(*x.shape[-2:])


def test_joints_that_are_not_linear_in_zero_padded_patches_are_refused():
    with pytest.raises(TypeError, match="pads by 'reflect'"):
        Geometry.of(nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"))
    with pytest.raises(TypeError, match="the joint is ConvTranspose2d"):
        Geometry.of(nn.ConvTranspose2d(1, 1, 3))
    with pytest.raises(ValueError, match="5 input channels do not split into the joint's 2 groups"):
        Geometry.of(nn.Conv2d(4, 2, 3, groups=2)).with_inputs(5)
    with pytest.raises(ValueError, match=r"expected \(n, 6\)"):
        Geometry.of(nn.Linear(6, 4)).as_maps(torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"expected \(n, 6, rows, columns\)"):
        Geometry.of(nn.Conv2d(6, 4, 3)).as_maps(torch.zeros(2, 6))
