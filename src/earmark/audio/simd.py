"""Sixteen lanes of float32 as one value inside numba functions.

A tile is 16 frames side by side: a flat float32 array whose row r holds lane 0 .. 15 at ``16 r .. 16 r +
15``. Kernels work on whole rows, so a scalar algorithm written once runs on 16 frames at a time, whatever the
width of the machine's registers: LLVM splits a row into the vectors that the processor has. numba by itself
vectorises neither a sorting network nor a butterfly.

``load``/``store`` move a row, ``splat`` fills one, ``+ - * /`` work by lane. An index counts floats, not
rows, and is not checked.
"""

# LLVM's builders have no types.
# mypy: disable-error-code="untyped-decorator, no-untyped-call, import-untyped"

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic as _numba_intrinsic
from numba.extending import lower_builtin, models, register_model
from numpy.typing import NDArray

Array = NDArray[np.float32]

LANES = 16
intrinsic: Any = _numba_intrinsic  # what it makes is called with other arguments than it is written with
_FLOAT = ir.FloatType()
_ROW = ir.VectorType(_FLOAT, LANES)
_INT_ROW = ir.VectorType(ir.IntType(32), LANES)
_FAST = ("contract", "nsz")


class Row(types.Type):
    """numba's type of 16 float32 lanes."""

    def __init__(self) -> None:
        super().__init__(name="Row")


row = Row()


@register_model(Row)
class _RowModel(models.PrimitiveModel):
    def __init__(self, manager: Any, row_type: Row) -> None:
        super().__init__(manager, row_type, _ROW)


class _Arithmetic(AbstractTemplate):
    """Two rows give a row."""

    def generic(self, args: Any, kws: Any) -> Any:
        return signature(row, row, row) if args == (row, row) else None


@infer_global(operator.add)
class _Add(_Arithmetic):
    pass


@infer_global(operator.sub)
class _Sub(_Arithmetic):
    pass


@infer_global(operator.mul)
class _Mul(_Arithmetic):
    pass


@infer_global(operator.truediv)
class _Div(_Arithmetic):
    pass


@lower_builtin(operator.add, Row, Row)
def _lower_add(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.fadd(*args, flags=_FAST)


@lower_builtin(operator.sub, Row, Row)
def _lower_sub(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.fsub(*args, flags=_FAST)


@lower_builtin(operator.mul, Row, Row)
def _lower_mul(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.fmul(*args, flags=_FAST)


@lower_builtin(operator.truediv, Row, Row)
def _lower_div(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.fdiv(*args, flags=_FAST)


@njit(cache=True)
def aligned(n: int) -> Array:
    """Uninitialised float32 array whose rows do not straddle cache lines (64 bytes)."""
    array = np.empty(n + LANES, np.float32)
    first = (-array.ctypes.data % 64) // 4
    return array[first : first + n]


def row_pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """LLVM pointer to the row that starts at a float index of a one-dimensional array."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _ROW.as_pointer())


def lesser(builder: Any, a: Any, b: Any) -> Any:
    """LLVM minimum by lane, one instruction; NaN does not occur."""
    return builder.select(builder.fcmp_ordered("<", a, b, flags=("nnan", "nsz")), a, b)


def greater(builder: Any, a: Any, b: Any) -> Any:
    """LLVM maximum by lane, one instruction; NaN does not occur."""
    return builder.select(builder.fcmp_ordered(">", a, b, flags=("nnan", "nsz")), a, b)


@intrinsic
def load(typingctx: Any, array: Any, index: Any) -> Any:
    """Row at ``array[index : index + 16]``."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(row_pointer(context, builder, sig.args[0], *args), align=4)

    return row(array, types.intp), codegen


@intrinsic
def store(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """Write a row to ``array[index : index + 16]``."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store(args[2], row_pointer(context, builder, sig.args[0], *args[:2]), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, row), codegen


@intrinsic
def splat(typingctx: Any, value: Any) -> Any:
    """Row with the same number in all lanes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        first = builder.insert_element(ir.Constant(_ROW, ir.Undefined), args[0], ir.IntType(32)(0))
        lanes = ir.Constant(_INT_ROW, [0] * LANES)
        return builder.shuffle_vector(first, ir.Constant(_ROW, ir.Undefined), lanes)

    return row(types.float32), codegen


@intrinsic
def minimum(typingctx: Any, a: Any, b: Any) -> Any:
    """Smaller of two rows, by lane."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return lesser(builder, *args)

    return row(row, row), codegen


@intrinsic
def maximum(typingctx: Any, a: Any, b: Any) -> Any:
    """Larger of two rows, by lane."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return greater(builder, *args)

    return row(row, row), codegen


@intrinsic
def where_less(typingctx: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
    """By lane: ``yes`` where a < b, else ``no``."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", args[0], args[1]), args[2], args[3])

    return row(row, row, row, row), codegen


@intrinsic
def less_bits(typingctx: Any, a: Any, b: Any) -> Any:
    """Integer whose bit j is set where a < b in lane j."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lanes = builder.fcmp_ordered("<", *args)
        return builder.zext(builder.bitcast(lanes, ir.IntType(LANES)), ir.IntType(64))

    return types.int64(row, row), codegen


@intrinsic
def square_root(typingctx: Any, value: Any) -> Any:
    """Square root by lane."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.FunctionType(_ROW, [_ROW])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.sqrt.v{LANES}f32")
        return builder.call(function, args)

    return row(row), codegen


@intrinsic
def exponent(typingctx: Any, value: Any) -> Any:
    """Binary exponent of positive normal numbers, by lane: floor(log2(x)) as float."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.lshr(builder.bitcast(args[0], _INT_ROW), ir.Constant(_INT_ROW, [23] * LANES))
        return builder.sitofp(builder.sub(bits, ir.Constant(_INT_ROW, [127] * LANES)), _ROW)

    return row(row), codegen


@intrinsic
def mantissa(typingctx: Any, value: Any) -> Any:
    """Positive normal numbers scaled by a power of two into [1, 2), by lane."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.and_(builder.bitcast(args[0], _INT_ROW), ir.Constant(_INT_ROW, [0x7FFFFF] * LANES))
        return builder.bitcast(builder.or_(bits, ir.Constant(_INT_ROW, [127 << 23] * LANES)), _ROW)

    return row(row), codegen


@intrinsic
def delayed(typingctx: Any, before: Any, value: Any) -> Any:
    """Lanes moved up by one; lane 0 is lane 15 of ``before``."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lanes = ir.Constant(_INT_ROW, list(range(LANES - 1, 2 * LANES - 1)))
        return builder.shuffle_vector(args[0], args[1], lanes)

    return row(row, row), codegen


def transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """LLVM transposition of 16 rows: four rounds that interleave row i with row i + 8."""
    low = ir.Constant(_INT_ROW, [k for i in range(LANES // 2) for k in (i, LANES + i)])
    high = ir.Constant(_INT_ROW, [k for i in range(LANES // 2, LANES) for k in (i, LANES + i)])
    for _ in range(4):
        half = [builder.shuffle_vector(rows[i], rows[i + 8], mask) for i in range(8) for mask in (low, high)]
        rows = half
    return rows


@intrinsic
def transpose(
    typingctx: Any, source: Any, start: Any, pitch: Any, target: Any, begin: Any, target_pitch: Any
) -> Any:
    """16 x 16 block at ``source[start]``, rows ``pitch`` floats apart, to ``target[begin]``, with lanes as rows."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def at(array: int, first: int, step: int, i: int) -> Any:
            index = builder.add(args[first], builder.mul(args[step], args[step].type(i)))
            return row_pointer(context, builder, sig.args[array], args[array], index)

        rows = [builder.load(at(0, 1, 2, i), align=4) for i in range(LANES)]
        for i, value in enumerate(transposed(builder, rows)):
            builder.store(value, at(3, 4, 5, i), align=4)
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, target, types.intp, types.intp), codegen
