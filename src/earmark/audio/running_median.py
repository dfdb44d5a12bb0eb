"""Exact running medians of width 31 by sorting networks, 16 lanes at a time.

Sixteen neighbouring windows of 31 values have 16 values in common. These are sorted once; then the windows
are halved, the values that each half has in common merged into the sorted ones, and all that can no longer be
the median dropped, until one window and one value are left. Every step is a minimum or a maximum of rows,
without branches, about 35 operations for each median.

References: K. Batcher, Sorting networks and their applications, AFIPS 1968 (odd-even merge, here for any two
lengths); D. Knuth, TAOCP 3, section 5.3.4.
"""

# LLVM's builders have no types.
# mypy: disable-error-code="untyped-decorator, no-untyped-call, import-untyped"

from __future__ import annotations

from typing import Any

from numba.core import types

from earmark.audio.simd import LANES, greater, intrinsic, lesser, row_pointer, transposed

WIDTH = 31
MEDIAN_RANK = WIDTH // 2
N_TAPS = WIDTH + LANES - 1  # values under 16 windows


@intrinsic
def running_median(typingctx: Any, source: Any, start: Any, step: Any, target: Any, begin: Any) -> Any:
    """Medians of 16 windows along rows that lie ``step`` floats apart.

    Window j holds the rows at ``source[start + step * (j + i)]``, i < 31; its median becomes row j at
    ``target[begin + 16 j]``.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _generate(context, builder, sig, args, lambda rows: rows)

    return types.void(source, types.intp, types.intp, target, types.intp), codegen


@intrinsic
def running_median_transposed(
    typingctx: Any, source: Any, start: Any, step: Any, target: Any, begin: Any
) -> Any:
    """As `running_median`, but lane k of window j becomes lane j of row k."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _generate(context, builder, sig, args, lambda rows: transposed(builder, rows))

    return types.void(source, types.intp, types.intp, target, types.intp), codegen


def _generate(context: Any, builder: Any, sig: Any, args: Any, arrange: Any) -> Any:
    """Code that loads the taps, finds the medians and stores them."""
    source, start, step, target, begin = args
    taps = []
    for i in range(N_TAPS):
        index = builder.add(start, builder.mul(step, step.type(i)))
        taps.append(builder.load(row_pointer(context, builder, sig.args[0], source, index), align=4))
    core = _sorted(builder, taps[LANES - 1 : WIDTH])
    medians = _halve(builder, taps, 0, LANES, core, MEDIAN_RANK)
    for j, value in enumerate(arrange(medians)):
        index = builder.add(begin, begin.type(LANES * j))
        builder.store(value, row_pointer(context, builder, sig.args[3], target, index), align=4)
    return context.get_dummy_value()


def _halve(
    builder: Any, taps: list[Any], first: int, end: int, candidates: list[Any], rank: int
) -> list[Any]:
    """Medians of the windows first .. end - 1.

    ``candidates`` are the sorted values all these windows share and that may be their median, which is number
    ``rank`` among them and the values not yet merged.
    """
    if end - first == 1:
        return [candidates[rank]]
    middle = (first + end) // 2
    medians = []
    for low, high, new in (
        (first, middle, taps[middle - 1 : end - 1]),
        (middle, end, taps[first + WIDTH : middle + WIDTH]),
    ):
        merged = _merged(builder, candidates, _sorted(builder, new))
        n_missing = high - low - 1
        dropped = max(0, rank - n_missing)
        medians += _halve(builder, taps, low, high, merged[dropped : rank + 1], rank - dropped)
    return medians


def _sorted(builder: Any, values: list[Any]) -> list[Any]:
    """Batcher's merge sort."""
    if len(values) < 2:
        return values
    half = len(values) // 2
    return _merged(builder, _sorted(builder, values[:half]), _sorted(builder, values[half:]))


def _merged(builder: Any, a: list[Any], b: list[Any]) -> list[Any]:
    """Batcher's odd-even merge of two sorted lists of any lengths; what nobody reads, LLVM removes."""
    if not a or not b:
        return a or b
    if len(a) == len(b) == 1:
        return [lesser(builder, a[0], b[0]), greater(builder, a[0], b[0])]
    odd = _merged(builder, a[0::2], b[0::2])
    even = _merged(builder, a[1::2], b[1::2])
    result = odd[:1]
    for low, high in zip(even, odd[1:], strict=False):
        result += [lesser(builder, low, high), greater(builder, low, high)]
    paired = len(result) // 2
    return result + even[paired:] + odd[1 + paired :]
