"""Eight float64 side by side as one Numba value: the vector type the descent kernel is written in.

A loop over scalars is fast only when LLVM chooses to vectorise it, and is silently wrong under
`fastmath` when an exact rounding trick is "simplified" away. `Lanes` states the vector width and
the order of the operations instead: every operator below is one LLVM instruction on `<8 x double>`,
strictly IEEE, which LLVM maps to one AVX-512 instruction, two AVX2 ones or four NEON ones.
Multiply-adds are fused where the machine has them."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, register_model
from numpy.typing import NDArray

LANES = 8

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Memory = Floats | int  # an array, or its `address`

_F64, _I64, _I32 = ir.DoubleType(), ir.IntType(64), ir.IntType(32)
_VEC, _INT_VEC = ir.VectorType(_F64, LANES), ir.VectorType(_I64, LANES)
_BITS = ir.IntType(LANES)


class Mask:
    """Eight truth values. They exist in compiled code only."""


class Lanes:
    """Eight numbers. They exist in compiled code only; here are their types."""

    __add__: Callable[[Lanes, Lanes], Lanes]
    __sub__: Callable[[Lanes, Lanes], Lanes]
    __mul__: Callable[[Lanes, Lanes], Lanes]
    __truediv__: Callable[[Lanes, Lanes], Lanes]
    __lt__: Callable[[Lanes, Lanes], Mask]
    __le__: Callable[[Lanes, Lanes], Mask]


class _Type(types.Type):
    def __init__(self, name: str) -> None:
        super().__init__(name=name)


lanes, mask = _Type("lanes"), _Type("lanes_mask")
_TYPES = {
    "Lanes": lanes,
    "Mask": mask,
    "bool": types.boolean,
    "float": types.float64,
    "int": types.intp,
    "None": types.void,
}


@register_model(_Type)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: _Type) -> None:
        vector = _VEC if kind is lanes else ir.VectorType(ir.IntType(1), LANES)
        base: Any = super()
        base.__init__(manager, kind, vector)


def _operator(op: Callable[..., Any], result: _Type, emit: Callable[..., Any]) -> None:
    cases = {"cases": [signature(result, lanes, lanes)]}
    infer_global(op)(type("Lanes" + op.__name__, (ConcreteTemplate,), cases))
    lower_builtin(op, lanes, lanes)(lambda context, builder, sig, args: emit(builder, *args))


_operator(operator.add, lanes, lambda b, x, y: b.fadd(x, y))
_operator(operator.sub, lanes, lambda b, x, y: b.fsub(x, y))
_operator(operator.mul, lanes, lambda b, x, y: b.fmul(x, y))
_operator(operator.truediv, lanes, lambda b, x, y: b.fdiv(x, y))
_operator(operator.lt, mask, lambda b, x, y: b.fcmp_ordered("<", x, y))
_operator(operator.le, mask, lambda b, x, y: b.fcmp_ordered("<=", x, y))

Function = TypeVar("Function", bound=Callable[..., Any])


def _instruction(emit: Callable[..., Any]) -> Callable[[Function], Function]:
    """Make a function one of compiled code: its annotations are its type, `emit` writes its LLVM.

    Args:
        emit: (builder, *arguments) -> value; a `Memory` arrives as a pointer to its first number.
    """

    def declared(function: Function) -> Function:
        *wanted, result = function.__annotations__.values()

        def typed(typing: Any, *given: Any) -> tuple[Any, Any]:
            kinds = (_TYPES.get(w, g) for w, g in zip(wanted, given, strict=True))
            return signature(_TYPES[result], *kinds), lower

        def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            pairs = zip(wanted, sig.args, args, strict=True)
            values = (_start(context, builder, k, v) if w == "Memory" else v for w, k, v in pairs)
            out = emit(builder, *values)
            return context.get_dummy_value() if result == "None" else out

        typed.__name__ = typed.__qualname__ = function.__name__
        typed.__doc__ = function.__doc__
        own = inspect.signature(function).parameters.values()
        first = inspect.Parameter("typing", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        typed.__signature__ = inspect.Signature([first, *own])  # type: ignore[attr-defined]
        return cast(Function, intrinsic(typed))

    return declared


def _start(context: Any, builder: Any, kind: Any, memory: Any) -> Any:
    # Where the numbers of an array, or of what `address` gave for one, begin.
    if isinstance(kind, types.Array):
        return context.make_array(kind)(context, builder, memory).data
    return builder.inttoptr(memory, _F64.as_pointer())


def _vector(builder: Any, memory: Any, index: Any) -> Any:
    return builder.gep(builder.bitcast(memory, _VEC.as_pointer()), [index])


def _splat(builder: Any, scalar: Any) -> Any:
    one = builder.insert_element(ir.Constant(_VEC, ir.Undefined), scalar, ir.Constant(_I32, 0))
    first = ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(_VEC, ir.Undefined), first)


def _call(name: str, *before: str) -> Callable[..., Any]:
    """The LLVM intrinsic of that name, on vectors; `before` it, the first argument is changed."""

    def emit(builder: Any, *args: Any) -> Any:
        for change in before:
            args = (getattr(builder, change)(args[0]), *args[1:])
        kind = ir.FunctionType(_VEC, [a.type for a in args])
        function = builder.module.declare_intrinsic(f"llvm.{name}.v{LANES}f64", (), kind)
        return builder.call(function, args)

    return emit


@_instruction(_splat)
def splat(scalar: float) -> Lanes:
    """The scalar in every lane."""
    raise NotImplementedError


@_instruction(lambda b, memory: b.ptrtoint(memory, _I64))
def address(array: Memory) -> int:
    """Where the numbers of an array begin, to be passed to an inner function in its place.

    Arrays are counted as they enter and leave a function, by atomic instructions, on which threads
    that share an array wait for each other. Somebody outside has to hold the array."""
    raise NotImplementedError


@_instruction(lambda b, memory, index: _splat(b, b.load(b.gep(memory, [index]))))
def broadcast(array: Memory, index: int) -> Lanes:
    """Element `index` >= 0, which is not checked, of a contiguous float64 array, in every lane."""
    raise NotImplementedError


def _load(builder: Any, memory: Any, index: Any) -> Any:
    loaded = builder.load(_vector(builder, memory, index))
    loaded.align = 8
    return loaded


@_instruction(_load)
def load(array: Memory, index: int) -> Lanes:
    """Eight numbers of a contiguous float64 array from element 8 * index on."""
    raise NotImplementedError


@_instruction(lambda b, memory, index, value: b.store(value, _vector(b, memory, index), align=8))
def store(array: Memory, index: int, value: Lanes) -> None:
    """Write eight numbers to a contiguous float64 array from element 8 * index on."""
    raise NotImplementedError


@_instruction(_call("fmuladd"))
def fma(x: Lanes, y: Lanes, z: Lanes) -> Lanes:
    """x * y + z, rounded once where the machine can."""
    raise NotImplementedError


@_instruction(_call("fmuladd", "fneg"))
def fnma(x: Lanes, y: Lanes, z: Lanes) -> Lanes:
    """z - x * y, rounded once where the machine can."""
    raise NotImplementedError


@_instruction(_call("sqrt"))
def sqrt(x: Lanes) -> Lanes:
    """Square root of every lane."""
    raise NotImplementedError


@_instruction(_call("fabs"))
def magnitude(x: Lanes) -> Lanes:
    """|x| of every lane."""
    raise NotImplementedError


@_instruction(lambda b, condition, x, y: b.select(condition, x, y))
def select(condition: Mask, x: Lanes, y: Lanes) -> Lanes:
    """x where the condition holds, else y."""
    raise NotImplementedError


@_instruction(lambda b, c: b.icmp_unsigned("!=", b.bitcast(c, _BITS), ir.Constant(_BITS, 0)))
def some(condition: Mask) -> bool:
    """Whether the condition holds in any lane."""
    raise NotImplementedError


@_instruction(lambda b, c: b.icmp_unsigned("==", b.bitcast(c, _BITS), ir.Constant(_BITS, 255)))
def every(condition: Mask) -> bool:
    """Whether the condition holds in all lanes."""
    raise NotImplementedError


def _total(builder: Any, x: Any) -> Any:
    width = LANES
    while width > 1:
        width //= 2
        kind = ir.VectorType(_I32, width)
        halves = (ir.Constant(kind, list(range(start, start + width))) for start in (0, width))
        low, high = (builder.shuffle_vector(x, x, half) for half in halves)
        x = builder.fadd(low, high)
    return builder.extract_element(x, ir.Constant(_I32, 0))


@_instruction(_total)
def total(x: Lanes) -> float:
    """The sum over the lanes, as a scalar, always in the same order."""
    raise NotImplementedError


def _exponent(builder: Any, x: Any) -> Any:
    bits = builder.shl(builder.bitcast(x, _INT_VEC), ir.Constant(_INT_VEC, [52] * LANES))
    return builder.bitcast(bits, _VEC)


@_instruction(_exponent)
def exponent_from_low_bits(x: Lanes) -> Lanes:
    """The number whose exponent field is the lowest eleven bits of x's significand (the rest is
    shifted out)."""
    raise NotImplementedError


def aligned(*shape: int) -> Floats:
    """Zeros (*shape, 8) on a cache-line boundary, so that no load straddles two lines."""
    size = int(np.prod(shape, dtype=np.int64)) * LANES
    raw = np.zeros(size + 8)
    start = (-raw.ctypes.data % 64) // 8
    return raw[start : start + size].reshape(*shape, LANES)
