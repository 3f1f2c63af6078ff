"""How the kernels are compiled: names that tell apart what Numba would take for one, in memory and
in its disk cache."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from pathlib import Path

from numba import njit


def compiled_for(kind: int) -> Callable:
    """`njit` for a function that a factory makes anew for every kind of activation.

    Numba tells such functions apart by a counter that starts anew in every process. Kernels that
    were cached by different processes could then bring two functions of one symbol name, of which
    the linker silently keeps the first, with the activation of another kernel. The kind in the name
    keeps them apart."""

    def compiled(function: Callable) -> Callable:
        function.__qualname__ += f"_{kind}"
        return njit(function)

    return compiled


def cached(*modules: str) -> Callable:
    """`njit` without the GIL, with a disk cache that also watches these modules and
    `lib._simd.lanes`.

    Numba's cache watches only the file of the function, not those that it is built from: a hash of
    their source becomes part of its name.
    """
    files = [sys.modules[name].__file__ for name in ("lib._simd.lanes", *modules)]
    source = zlib.crc32(b"".join(Path(file).read_bytes() for file in files))

    def compiled(function: Callable) -> Callable:
        function.__qualname__ += f"_{source:08x}"
        return njit(nogil=True, cache=True)(function)

    return compiled
