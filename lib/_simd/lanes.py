"""Eight float64 side by side as one Numba value: the vector type the descent kernel is written in.

A loop over scalars is fast only when LLVM chooses to vectorise it, and is silently wrong under
`fastmath` when an exact rounding trick is "simplified" away. `Lanes` states the vector width and
the order of the operations instead: every operator below is one LLVM instruction on `<8 x double>`,
strictly IEEE, which LLVM maps to one AVX-512 instruction, two AVX2 ones or four NEON ones.
Multiply-adds are fused where the machine has them."""

from __future__ import annotations

import operator

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, register_model

LANES = 8

_F64, _I64, _I32 = ir.DoubleType(), ir.IntType(64), ir.IntType(32)
_VEC, _INT_VEC = ir.VectorType(_F64, LANES), ir.VectorType(_I64, LANES)


class _Lanes(types.Type):
    def __init__(self, name: str) -> None:
        super().__init__(name=name)


lanes, mask = _Lanes("lanes"), _Lanes("lanes_mask")


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type) -> None:
        super().__init__(
            dmm, fe_type, _VEC if fe_type is lanes else ir.VectorType(ir.IntType(1), LANES)
        )


def _operator(op, result: types.Type, emit) -> None:
    infer_global(op)(
        type(
            "Lanes" + op.__name__, (ConcreteTemplate,), {"cases": [signature(result, lanes, lanes)]}
        )
    )
    lower_builtin(op, lanes, lanes)(lambda context, builder, sig, args: emit(builder, *args))


_operator(operator.add, lanes, lambda b, x, y: b.fadd(x, y))
_operator(operator.sub, lanes, lambda b, x, y: b.fsub(x, y))
_operator(operator.mul, lanes, lambda b, x, y: b.fmul(x, y))
_operator(operator.truediv, lanes, lambda b, x, y: b.fdiv(x, y))
_operator(operator.lt, mask, lambda b, x, y: b.fcmp_ordered("<", x, y))
_operator(operator.le, mask, lambda b, x, y: b.fcmp_ordered("<=", x, y))


def _splat(builder, scalar):
    one = builder.insert_element(ir.Constant(_VEC, ir.Undefined), scalar, ir.Constant(_I32, 0))
    first = ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(_VEC, ir.Undefined), first)


def _call(builder, name: str, result, *args):
    function_type = ir.FunctionType(result, [a.type for a in args])
    return builder.call(builder.module.declare_intrinsic(name, (), function_type), args)


def _start(context, builder, kind, memory):
    # Where the numbers of an array, or of what `address` gave for one, begin.
    if isinstance(kind, types.Array):
        return context.make_array(kind)(context, builder, memory).data
    return builder.inttoptr(memory, _F64.as_pointer())


def _vector(context, builder, kind, memory, index):
    start = builder.bitcast(_start(context, builder, kind, memory), _VEC.as_pointer())
    return builder.gep(start, [index])


@intrinsic
def splat(typing, scalar):
    """The scalar in every lane."""
    return lanes(types.float64), lambda context, builder, sig, args: _splat(builder, args[0])


@intrinsic
def address(typing, array):
    """Where the numbers of an array begin, to be passed to an inner function in its place.

    Arrays are counted as they enter and leave a function, by atomic instructions, on which threads
    that share an array wait for each other. Somebody outside has to hold the array.
    """

    def emit(context, builder, sig, args):
        return builder.ptrtoint(_start(context, builder, sig.args[0], args[0]), _I64)

    return types.intp(array), emit


@intrinsic
def broadcast(typing, array, index):
    """Element `index` >= 0, which is not checked, of a contiguous float64 array or of its
    `address`, in every lane."""

    def emit(context, builder, sig, args):
        start = _start(context, builder, sig.args[0], args[0])
        return _splat(builder, builder.load(builder.gep(start, [args[1]])))

    return lanes(array, types.intp), emit


@intrinsic
def load(typing, array, index):
    """Eight numbers of a contiguous float64 array, or of its `address`, from element 8 * index
    on."""

    def emit(context, builder, sig, args):
        loaded = builder.load(_vector(context, builder, sig.args[0], args[0], args[1]))
        loaded.align = 8
        return loaded

    return lanes(array, types.intp), emit


@intrinsic
def store(typing, array, index, value):
    """Write eight numbers to a contiguous float64 array, or to its `address`, from element 8 *
    index on."""

    def emit(context, builder, sig, args):
        builder.store(args[2], _vector(context, builder, sig.args[0], args[0], args[1]), align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), emit


@intrinsic
def fma(typing, x, y, z):
    """x * y + z, rounded once where the machine can."""
    return lanes(lanes, lanes, lanes), lambda context, builder, sig, args: _call(
        builder, f"llvm.fmuladd.v{LANES}f64", _VEC, *args
    )


@intrinsic
def fnma(typing, x, y, z):
    """z - x * y, rounded once where the machine can."""
    return lanes(lanes, lanes, lanes), lambda context, builder, sig, args: _call(
        builder, f"llvm.fmuladd.v{LANES}f64", _VEC, builder.fneg(args[0]), *args[1:]
    )


@intrinsic
def sqrt(typing, x):
    """Square root of every lane."""
    return lanes(lanes), lambda context, builder, sig, args: _call(
        builder, f"llvm.sqrt.v{LANES}f64", _VEC, *args
    )


@intrinsic
def magnitude(typing, x):
    """|x| of every lane."""
    return lanes(lanes), lambda context, builder, sig, args: _call(
        builder, f"llvm.fabs.v{LANES}f64", _VEC, *args
    )


@intrinsic
def select(typing, condition, x, y):
    """x where the condition holds, else y."""
    return lanes(mask, lanes, lanes), lambda context, builder, sig, args: builder.select(*args)


@intrinsic
def some(typing, condition):
    """Whether the condition holds in any lane."""

    def emit(context, builder, sig, args):
        bits = builder.bitcast(args[0], ir.IntType(LANES))
        return builder.icmp_unsigned("!=", bits, ir.Constant(ir.IntType(LANES), 0))

    return types.boolean(mask), emit


@intrinsic
def every(typing, condition):
    """Whether the condition holds in all lanes."""

    def emit(context, builder, sig, args):
        bits = builder.bitcast(args[0], ir.IntType(LANES))
        return builder.icmp_unsigned("==", bits, ir.Constant(ir.IntType(LANES), 2**LANES - 1))

    return types.boolean(mask), emit


@intrinsic
def total(typing, x):
    """The sum over the lanes, as a scalar, always in the same order."""

    def emit(context, builder, sig, args):
        (x,), width = args, LANES
        while width > 1:
            width //= 2
            kind = ir.VectorType(_I32, width)
            halves = (ir.Constant(kind, list(range(start, start + width))) for start in (0, width))
            low, high = (builder.shuffle_vector(x, x, half) for half in halves)
            x = builder.fadd(low, high)
        return builder.extract_element(x, ir.Constant(_I32, 0))

    return types.float64(lanes), emit


@intrinsic
def exponent_from_low_bits(typing, x):
    """The number whose exponent field is the lowest eleven bits of x's significand (the rest is
    shifted out)."""

    def emit(context, builder, sig, args):
        bits = builder.bitcast(args[0], _INT_VEC)
        return builder.bitcast(builder.shl(bits, ir.Constant(_INT_VEC, [52] * LANES)), _VEC)

    return lanes(lanes), emit


def aligned(*shape: int) -> np.ndarray:
    """Zeros (*shape, 8) on a cache-line boundary, so that no load straddles two lines."""
    size = int(np.prod(shape, dtype=np.int64)) * LANES
    raw = np.zeros(size + 8)
    start = (-raw.ctypes.data % 64) // 8
    return raw[start : start + size].reshape(*shape, LANES)
