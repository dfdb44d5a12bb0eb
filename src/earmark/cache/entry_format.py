"""How one array lies in the cache: a checksum, a header, the little-endian samples.

::

    offset  size      field
    0       8         xxh3-64 of the samples, seeded with the xxh3-64 of the header (little-endian)
    8       2         b"em"
    10      1         version, 1
    11      1         code of the dtype, see DTYPES
    12      1         number of dimensions, at most 8
    13      3         zero
    16      8 each    shape, uint64 little-endian; one zero when there is no dimension
    24 or more        samples in C order

The seed makes the one checksum cover header and samples alike. Anything that does not fit raises
`BadEntryError`; the caller counts it as a miss. Reference: xxHash fast digest algorithm, XXH3
(https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md).
"""

from __future__ import annotations

import math
import struct
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
from xxhash import xxh3_64_intdigest

from earmark.errors import CacheError

__all__ = ["BadEntryError", "decode", "encode", "samples", "stored_shape"]

MAGIC: Final = b"em"
VERSION: Final = 1
MAX_DIMENSIONS: Final = 8
MAX_VECTORS: Final = 4096
DTYPES: Final = ("f4", "f8", "f2", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1", "c8", "c16")
"""A dtype's place is its code on disk: append only."""

_CODES: Final = {np.dtype("<" + name): code for code, name in enumerate(DTYPES)}
_FIXED: Final = struct.Struct("<2sBBB3x")
_CHECKSUM: Final = struct.Struct("<Q")
_START: Final = struct.Struct("<Q16s")
"""Checksum and the whole header of a vector."""
_HEADER_AT: Final = 8
_SHAPE_AT: Final = 16


class BadEntryError(Exception):
    """Stored bytes that are not a sound entry. Stays inside the package: it becomes a miss."""


def encode(array: np.ndarray[Any, Any]) -> bytes:
    """The stored form of ``array``.

    Raises
    ------
    CacheError
        For a dtype that is not a plain number (objects, text, dates) or more than 8 dimensions.
    """
    plain = np.asarray(array)
    plain = np.ascontiguousarray(plain, dtype=plain.dtype.newbyteorder("<")).reshape(plain.shape)
    header, seed = _header(plain.dtype, plain.shape)
    data = plain.reshape(-1).view(np.uint8).data
    return b"".join((_CHECKSUM.pack(xxh3_64_intdigest(data, seed)), header, data))


def decode(stored: memoryview) -> np.ndarray[Any, Any]:
    """A writable copy of the array in ``stored``; raises `BadEntryError`."""
    return samples(stored).copy()


def samples(stored: memoryview) -> np.ndarray[Any, Any]:
    """A view of the checked array in ``stored``, valid as long as that memory; raises `BadEntryError`."""
    try:
        checksum, header = _START.unpack_from(stored)
        layout = _vectors.get(header) or _other_layout(stored)
    except (IndexError, struct.error) as error:
        raise BadEntryError(f"only {len(stored)} bytes") from error
    dtype, shape, count, end, size, seed = layout
    if len(stored) != size:
        raise BadEntryError(f"{len(stored)} bytes, expected {size}")
    if checksum != xxh3_64_intdigest(stored[end:], seed):
        raise BadEntryError("the checksum does not match")
    flat = np.frombuffer(stored, dtype, count, end) if count else np.empty(0, dtype)
    return flat if len(shape) == 1 else flat.reshape(shape)


def stored_shape(stored: memoryview) -> tuple[int, ...] | None:
    """The shape that the header of ``stored`` states, ``None`` when it is no header; samples are not read."""
    try:
        return _other_layout(stored)[1]
    except (BadEntryError, IndexError, struct.error):
        return None


@lru_cache(maxsize=4096)
def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[bytes, int]:
    if dtype not in _CODES:
        raise CacheError(
            f"An array of dtype {dtype} cannot be cached; expected plain numbers. Return float32 values."
        )
    if len(shape) > MAX_DIMENSIONS:
        raise CacheError(
            f"An array of {len(shape)} dimensions cannot be cached; expected at most {MAX_DIMENSIONS}."
        )
    lengths = shape or (0,)
    header = _FIXED.pack(MAGIC, VERSION, _CODES[dtype], len(shape)) + struct.pack(
        f"<{len(lengths)}Q", *lengths
    )
    return header, xxh3_64_intdigest(header)


def _other_layout(stored: memoryview) -> _Layout:
    """The layout of an entry whose header is not in `_vectors`, and now is if it is a vector's."""
    header = bytes(stored[_HEADER_AT : _SHAPE_AT + 8 * max(1, stored[12])])
    layout = _layout(header)
    if len(header) == _START.size - _HEADER_AT and len(_vectors) < MAX_VECTORS:
        _vectors[header] = layout
    return layout


@lru_cache(maxsize=4096)
def _layout(header: bytes) -> _Layout:
    magic, version, code, dimensions = _FIXED.unpack_from(header)
    if magic != MAGIC or version != VERSION or code >= len(DTYPES) or dimensions > MAX_DIMENSIONS:
        raise BadEntryError(f"unknown header {header[:8].hex()}")
    shape = struct.unpack(f"<{max(1, dimensions)}Q", header[_FIXED.size :])[:dimensions]
    dtype, count = np.dtype("<" + DTYPES[code]), math.prod(shape)
    end = _HEADER_AT + len(header)
    return dtype, shape, count, end, end + count * dtype.itemsize, xxh3_64_intdigest(header)


_Layout: TypeAlias = tuple[np.dtype[Any], tuple[int, ...], int, int, int, int]
"""What a header states: dtype, shape, number of samples, where they begin, bytes of the entry, seed of the checksum."""

_vectors: Final[dict[bytes, _Layout]] = {}
"""Header -> layout of the vectors met so far, which nearly all entries are: a look-up takes less than parsing."""
