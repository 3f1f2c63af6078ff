"""The one check of data: finite numbers, at least one sample, a target for each, in batches of any
kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

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
    if batch != int(batch) or batch < 1:
        raise ValueError(f"batch is {batch}: expected a whole number >= 1")
    if not isinstance(data, (Tensor, Iterable)):
        raise TypeError(f"x is {type(data).__name__}: expected a tensor, or batches of them")
    for part in torch.split(data, int(batch)) if isinstance(data, Tensor) else data:
        x = part[0] if isinstance(part, (tuple, list)) and len(part) else part
        if not isinstance(x, Tensor):
            raise TypeError(f"a batch is {type(x).__name__}: expected a tensor, or (x, y)")
        check_finite("x", x)
        yield x


def labelled_batches(data: Data, y: Tensor | None, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Samples with their targets: tensors x and y in parts, or batches (x, y, ...) as they come.

    Raises:
        ValueError: no samples, not one target for each, batches without targets, or y beside
            batches.

    >>> [len(x) for x, y in labelled_batches(torch.zeros(5, 2), torch.zeros(5), 3)]
    [3, 2]
    """
    if isinstance(data, Tensor) != isinstance(y, Tensor):
        raise ValueError("expected tensors x and y, or batches (x, y) alone")
    pairs: Iterable[Any] = data
    if isinstance(data, Tensor) and isinstance(y, Tensor):
        check_samples(data, y)
        pairs = zip(data.split(int(batch)), y.split(int(batch)), strict=True)
    empty = True
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) < 2:
            raise ValueError(f"a batch is {type(pair).__name__}: expected (x, y)")
        check_samples(pair[0], pair[1])
        yield pair[0], pair[1]
        empty = False
    if empty:
        raise ValueError("got no batches: expected at least one")


def whole(data: Data, y: Tensor | None = None, *, labelled: bool = False) -> list[Tensor]:
    """All samples as one tensor, and where there are targets, these too.

    Args:
        data: samples (n, ...), or batches of them;  y: their targets.
        labelled: without y, take the targets from batches (x, y, ...).
    Raises:
        ValueError: as `labelled_batches`, or numbers that are not finite.

    >>> [len(t) for t in whole([(torch.zeros(2, 3), torch.ones(2))] * 4, labelled=True)]
    [8, 8]
    """
    if isinstance(data, Tensor) and (y is not None or not labelled):
        check_samples(data, y)
        return [data] if y is None else [data, y]
    if y is None and not labelled:
        return whole(torch.cat(list(in_batches(data, 1)) or [torch.zeros(0, 1)]))
    return [torch.cat(parts) for parts in zip(*labelled_batches(data, y, 1), strict=True)]


def check_alone(run: Callable[[Tensor], Tensor], x: Tensor, together: Tensor) -> None:
    """Refuse a net that is random, or that gives a sample something else alone than in a batch.

    Args:
        run: what the net does with samples;  x: samples (n, ...);  together: what it made of them.
    Raises:
        ValueError: `run` draws random numbers, or what it makes of the first sample
            differs by more than 1 % of the largest output, which rounding does not reach.

    >>> check_alone(torch.relu, torch.ones(3, 2), torch.ones(3, 2))
    """
    expected = "expected a net that is not random and treats every sample by itself"
    # Half of a small net's dropouts leave a sample as it was, so values alone show them by chance.
    with _Draws() as draws:
        alone = run(x[:1])
    if draws.seen:
        raise ValueError(f"the net draws random numbers ({draws.seen[0]}): {expected}")
    here = together[: len(alone)].detach()
    apart, size = (float(t.abs().max()) for t in (alone.detach() - here, here))
    if apart > 0.01 * size:
        raise ValueError(
            f"the first sample alone gives outputs {apart:.2g} from those in its batch, of size"
            f" {size:.2g}: {expected}"
        )


class _Draws(TorchDispatchMode):
    """The operations of this thread, while it is entered, that draw random numbers."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.seen.append(str(func))
        return func(*args, **(kwargs or {}))
