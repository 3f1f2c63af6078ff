"""Dropout from a generator of its own, so that nothing else that draws can change a training, nor
be changed by it: the global stream of torch is shared by all threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_GLOBAL_STREAM = threading.Lock()


class _OwnDropout(TorchFunctionMode):
    """While active, in this thread, `functional.dropout` draws from the generator, in the way in
    which torch does on the CPU."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(
        self,
        function: Callable[..., Any],
        kinds: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function is functional.dropout:
            return self.dropout(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))

    def dropout(
        self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        if p == 0 or not training:
            return input
        kept = torch.empty_like(input).bernoulli_(1 - p, generator=self.generator).div_(1 - p)
        return input.mul_(kept) if inplace else input * kept


@contextmanager
def dropout_from(seed: int, device: torch.device, compiled: bool = False) -> Iterator[None]:
    """Dropout masks that are a function of the seed alone.

    Args:
        compiled: the net runs in a graph that draws from the global stream; that is seeded, held
            for this thread alone, and left as it was.

    >>> x = torch.ones(5)
    >>> with dropout_from(0, x.device):
    ...     one = functional.dropout(x, 0.5)
    >>> with dropout_from(0, x.device):
    ...     bool((functional.dropout(x, 0.5) == one).all())
    True
    """
    if not compiled:
        with _OwnDropout(torch.Generator(device).manual_seed(seed)):
            yield
        return
    devices = [device] if device.type == "cuda" else []
    with _GLOBAL_STREAM, torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield
