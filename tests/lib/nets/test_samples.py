"""The one check of data that every operator shares."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from lib.nets.samples import check_finite, check_samples, in_batches


def test_numbers_that_are_not_finite_are_counted_and_named():
    x = torch.ones(3, 2)
    x[0, 0], x[2, 1] = float("nan"), float("inf")
    with pytest.raises(ValueError, match="the images: 2 of 6 numbers are NaN or infinite"):
        check_finite("the images", x)
    check_finite("labels", torch.arange(3))


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (torch.zeros(0, 2), None, "n >= 1"),
        (torch.zeros(3), None, r"shape \(3,\)"),
        (torch.zeros(3, 0), None, r"shape \(3, 0\)"),
        (torch.zeros(3, 2), torch.zeros(2, 1), "3 samples and targets"),
        (torch.zeros(3, 2), torch.tensor([0, -1, 1]), "smallest class in y is -1"),
        (torch.zeros(2, 2), torch.tensor([[0.0], [float("nan")]]), "y: 1 of 2"),
    ],
)
def test_samples_that_nothing_can_be_learned_from_are_refused(x, y, words):
    with pytest.raises(ValueError, match=words):
        check_samples(x, y)


def test_arrays_are_refused_by_name():
    with pytest.raises(TypeError, match="x is ndarray"):
        check_samples(torch.zeros(2, 2).numpy())


def test_loaders_tensors_and_lists_give_the_same_batches():
    x = torch.arange(10.0).reshape(5, 2)
    loader = DataLoader(TensorDataset(x, torch.zeros(5)), batch_size=2)
    for data in (x, loader, list(x.split(2)), [[part, None] for part in x.split(2)]):
        assert torch.equal(torch.cat(list(in_batches(data, 2))), x)
    with pytest.raises(TypeError, match="a batch is str"):
        list(in_batches(["x"], 2))
    with pytest.raises(ValueError, match="batch is 0"):
        list(in_batches(x, 0))
