"""How the kernels are compiled: typed decorators, and a disk cache that a fault cannot break.

Numba's own cache watches only the file of the function, not those that it is built from; it puts
the functions that a closure holds into its key as objects that are new in every process; and a
file cut short ends every later run. `cached` mends all three."""

from __future__ import annotations

import importlib.util
import pickle
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

# What reading a file that was cut short or overwritten ends with.
_BROKEN: tuple[type[Exception], ...] = (pickle.UnpicklingError, EOFError, OSError, AttributeError)
_BROKEN += (ImportError, IndexError, KeyError, TypeError, ValueError)


def njit(function: Kernel) -> Kernel:
    """`numba.njit`, with the type of the function kept."""
    return cast(Kernel, numba.njit(function))


def inlined(function: Kernel) -> Kernel:
    """`njit` that Numba itself inlines: for inner loops, whose arguments then stay in registers."""
    return cast(Kernel, numba.njit(inline="always")(function))


def compiled_for(kind: int) -> Callable[[Kernel], Kernel]:
    """`njit` for a function that a factory makes anew for every kind of activation.

    Numba tells such functions apart by a counter that starts anew in every process. Kernels that
    were cached by different processes could then bring two functions of one symbol name, of which
    the linker silently keeps the first, with the activation of another kernel. The kind in the name
    keeps them apart."""

    def compiled(function: Kernel) -> Kernel:
        function.__qualname__ += f"_{kind}"
        return njit(function)

    return compiled


def cached(*modules: str, name: str = "") -> Callable[[Kernel], Kernel]:
    """`njit` without the GIL, and with a disk cache.

    Args:
        modules: of lib, whose functions the kernel calls, besides `lib._simd.lanes`. A hash of
            their source becomes part of the kernel's name, so that a change of them is seen.
        name: what tells kernels of one factory apart.
    """
    specs = [importlib.util.find_spec(module) for module in ("lib._simd.lanes", *modules)]
    files = [spec.origin for spec in specs if spec is not None and spec.origin is not None]
    source = zlib.crc32(b"".join(Path(file).read_bytes() for file in files))

    def compiled(function: Kernel) -> Kernel:
        function.__qualname__ += f"_{name}_{source:08x}"
        dispatcher: Any = numba.njit(nogil=True)(function)
        try:
            dispatcher._cache = _Cache(function)
        except (RuntimeError, OSError):  # Numba found no folder that it may write to
            _say_uncached()
        return cast(Kernel, dispatcher)

    return compiled


class _Cache:
    """The kernels of one function on disk. Whatever cannot be read is compiled again."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.disk = cast(Any, FunctionCache(function))
        # The name holds all that a kernel depends on: its kind and a hash of the source.
        self.disk._index_key = lambda signature, codegen: (
            signature,
            codegen.magic_tuple(),
            function.__qualname__,
        )

    @property
    def cache_path(self) -> str:
        return str(self.disk.cache_path)

    def load_overload(self, signature: Any, target: Any) -> Any:
        try:
            return self.disk.load_overload(signature, target)
        except _BROKEN:
            self._forget()
            return None

    def save_overload(self, signature: Any, data: Any) -> None:
        try:
            self.disk.save_overload(signature, data)
        except OSError:
            _say_uncached()

    def _forget(self) -> None:
        try:
            self.disk.flush()
        except OSError:
            self.disk.disable()
            _say_uncached()


def _say_uncached() -> None:
    warnings.warn(
        "the compiled kernels cannot be kept on disk, so every process compiles them anew, in"
        " seconds: set NUMBA_CACHE_DIR to a folder that can be written to",
        RuntimeWarning,
        stacklevel=4,
    )
