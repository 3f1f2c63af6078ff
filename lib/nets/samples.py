"""The one check of data: finite numbers, at least one sample, a target for each, in batches of any
kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

Data = Tensor | Iterable[Tensor | tuple[Tensor, ...] | list[Tensor]]


def check_finite(what: str, values: Tensor) -> None:
    """Raises ValueError where a tensor holds NaN or infinity, TypeError for what is no tensor.

    Args:
        what: its name in the message.

    >>> check_finite("x", torch.zeros(2))
    """
    check_tensor(what, values)
    wrong = int((~torch.isfinite(values)).sum())
    if wrong:
        raise ValueError(
            f"{what}: {wrong} of {values.numel()} numbers are NaN or infinite; expected finite"
            " numbers"
        )


def check_tensor(what: str, t: Tensor) -> None:
    """Raises TypeError unless t is a tensor of real numbers.

    >>> check_tensor("y", torch.ones(2))
    """
    if not isinstance(t, Tensor):
        raise TypeError(f"{what} is {type(t).__name__}: expected a tensor")
    if t.is_complex() or t.dtype == torch.bool:
        raise TypeError(f"{what} is {t.dtype}: expected real numbers")


def check_samples(x: Tensor, y: Tensor | None = None, *, at_least: int = 1) -> None:
    """Raises unless x is (n, ...) of n >= at_least finite samples, and y, if given, has one finite
    target for each; integers among them are class indices >= 0.

    Raises:
        TypeError: no tensors.  ValueError: too few samples, another number of targets, numbers
            that are not finite, or negative classes.

    >>> check_samples(torch.zeros(2, 3), torch.tensor([0, 1]))
    """
    for name, values in (("x", x), ("y", y)):
        if values is not None and not isinstance(values, Tensor):
            raise TypeError(f"{name} is {type(values).__name__}: expected a torch.Tensor")
    if x.dim() < 2 or len(x) < at_least or x[:1].numel() == 0:
        raise ValueError(
            f"x has shape {tuple(x.shape)}: expected (n, ...) of n >= {at_least} samples"
        )
    check_finite("x", x)
    if y is None:
        return
    if y.dim() < 1 or len(y) != len(x):
        raise ValueError(
            f"{len(x)} samples and targets of shape {tuple(y.shape)}: expected one for each sample"
        )
    check_finite("y", y)
    if not y.is_floating_point() and bool((y < 0).any()):
        raise ValueError(f"the smallest class in y is {int(y.min())}: expected 0, 1, ...")


def check_classes(y: Tensor, classes: int) -> None:
    """Raises unless y is (n,) class indices, int64, each in 0..classes - 1.

    Raises:
        TypeError: another dtype.  ValueError: another shape, or an index outside.

    >>> check_classes(torch.tensor([0, 2]), 3)
    """
    if y.dtype != torch.int64:
        raise TypeError(f"the labels are {y.dtype}: expected class indices, torch.int64")
    if y.dim() != 1:
        raise ValueError(f"the labels have shape {tuple(y.shape)}: expected (n,)")
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < classes:
        raise ValueError(
            f"the labels run from {int(y.min())} to {int(y.max())}: expected 0..{classes - 1}, the"
            f" {classes} classes of the net"
        )


def in_batches(data: Data, batch: int) -> Iterator[Tensor]:
    """A tensor of samples in parts of `batch`; batches as they come, without their targets.

    Args:
        data: samples (n, ...), or an iterable of batches, such as a DataLoader: tensors, or tuples
            (x, y, ...) of which only x is read.
    Raises:
        TypeError: a batch that is no tensor.  ValueError: numbers that are not finite, batch < 1.

    >>> [len(x) for x in in_batches(torch.zeros(5, 2), 3)]
    [3, 2]
    """
    if batch < 1:
        raise ValueError(f"batch is {batch}: expected >= 1")
    if not isinstance(data, (Tensor, Iterable)):
        raise TypeError(f"x is {type(data).__name__}: expected a tensor, or batches of them")
    for part in torch.split(data, batch) if isinstance(data, Tensor) else data:
        x = part[0] if isinstance(part, (tuple, list)) and len(part) else part
        if not isinstance(x, Tensor):
            raise TypeError(f"a batch is {type(x).__name__}: expected a tensor, or (x, y)")
        check_finite("x", x)
        yield x
