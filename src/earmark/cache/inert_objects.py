"""What a pickle may name, and what is put in its place; the closed list behind `earmark.cache.inert_pickle`.

Each entry of `CALLABLES` takes plain data and returns plain data; nothing is imported. Classes that are not known
become `Record`s. Foreign objects are never printed, hashed or compared, which could take exponential time.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, cast

import numpy as np

from earmark.errors import CacheError

__all__ = ["CALLABLES", "CLASSES", "Record", "finished_array"]

CLASSES: Final = frozenset(
    {
        ("builtins", "object"),
        ("__builtin__", "object"),
        ("collections", "OrderedDict"),
        ("numpy", "ndarray"),
        ("pandas.core.frame", "DataFrame"),
        ("pandas.core.internals.managers", "BlockManager"),
        ("pandas.core.indexes.base", "Index"),
        ("pandas.core.indexes.range", "RangeIndex"),
        ("pandas.core.indexes.numeric", "Int64Index"),
    }
)
"""Classes of the standard library and the large libraries that may be named."""

GUARDED_ROOTS: Final = sys.stdlib_module_names | {
    "__builtin__",
    "builtins",
    "joblib",
    "numba",
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
    "setuptools",
    "pip",
    "sklearn",
    "tensorflow",
    "torch",
    "xgboost",
    "yaml",
}
"""Top-level modules from which only what is listed may be named."""

_NUMERIC_KINDS: Final = "biufc"


@dataclasses.dataclass
class Record:
    """An object as the pickle describes it: where its class was, what it was made with, its state.

    ``state`` holds the attributes by name; ``values`` a state that has no names (a data class with slots).
    """

    module: str
    name: str
    arguments: tuple[Any, ...] = ()
    state: dict[str, Any] = dataclasses.field(default_factory=dict)
    values: tuple[Any, ...] = ()


@dataclasses.dataclass(frozen=True)
class Global:
    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclasses.dataclass
class _Dtype:
    """A numpy dtype in the making: `numpy.dtype("f8", False, True)` and then its state, which has the byte order."""

    text: str
    order: str = "|"

    def real(self) -> np.dtype[Any]:
        try:
            dtype = np.dtype(self.text)
        except TypeError as error:
            raise refused(f"the array type {self.text!r}") from error
        if dtype.kind not in _NUMERIC_KINDS + "SUO" or dtype.fields:
            raise refused(f"the array type {self.text!r}")
        return dtype.newbyteorder(cast(Literal["<", ">"], self.order)) if self.order in "<>" else dtype


class _Array:
    """A numpy array in the making; `array` once its state is known."""

    def __init__(self) -> None:
        self.array: np.ndarray[Any, Any] | None = None


def finished_array(value: Any) -> Any:
    """The array of an object that `read_inert` left as an array in the making; any other value as it is."""
    if not isinstance(value, _Array):
        return value
    if value.array is None:
        raise CacheError("The pickle is malformed: an array without content. Make a fresh copy of the file.")
    return value.array


def checked_global(module: Any, name: Any) -> Global:
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError("a global without a name")
    found = Global(module, name)
    listed = (module, name) in CLASSES or (module, name) in CALLABLES
    if not listed and (module.partition(".")[0] in GUARDED_ROOTS or not name.isidentifier()):
        raise refused(f"the global {found}")
    return found


def called(function: Any, arguments: tuple[Any, ...]) -> Any:
    """What REDUCE yields: only the functions listed in `CALLABLES`, done here, by us."""
    if not isinstance(function, Global) or (function.module, function.name) not in CALLABLES:
        raise refused(f"a call of {name_of(function)}")
    return CALLABLES[function.module, function.name](*arguments)


def made(kind: Any, arguments: tuple[Any, ...]) -> Any:
    """A new object: of a listed class, or of an unknown one if it takes no arguments."""
    if not isinstance(kind, Global):
        raise refused(f"an object made of {name_of(kind)}")
    if (kind.module, kind.name) in CALLABLES:
        return CALLABLES[kind.module, kind.name](*arguments)
    if arguments:
        raise refused(f"a call of {kind} with arguments")
    return Record(kind.module, kind.name)


def set_state(target: Any, state: Any) -> None:
    """What BUILD does, for the objects in the making that this module knows."""
    if isinstance(target, _Dtype):
        target.order = text_of(state[1])
    elif isinstance(target, _Array):
        _, shape, dtype, fortran, content = state
        target.array = _array(content, dtype, shape, "F" if fortran else "C")
    elif isinstance(target, Record):
        parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
        if all(part is None or isinstance(part, dict) for part in parts):
            for part in parts:
                target.state.update((text_of(key), value) for key, value in (part or {}).items())
        elif isinstance(state, (list, tuple)):
            target.values = tuple(state)
        else:
            raise ValueError(f"a state of type {type(state).__name__}")
    else:
        raise refused(f"setting the state of a {type(target).__name__}")


def _array(content: Any, dtype: Any, shape: Any, order: str) -> np.ndarray[Any, Any]:
    if not isinstance(dtype, _Dtype):
        raise ValueError("an array without a type")
    real = dtype.real()
    lengths = tuple(int(length) for length in shape)
    count = math.prod(lengths)
    if min(lengths, default=0) < 0:
        raise ValueError(f"an array of shape {lengths}")
    if real.kind == "O":
        if not isinstance(content, list) or len(content) != count:
            raise ValueError(f"an array of {count} objects without them")
        flat = np.empty(count, dtype=object)
        for place, item in enumerate(content):
            flat[place] = item
    else:
        if not isinstance(content, bytes) or len(content) != count * real.itemsize:
            raise ValueError(f"an array of shape {lengths} whose bytes do not fit")
        flat = np.frombuffer(content, real) if count else np.empty(0, real)
    return flat.reshape(lengths, order="F" if order == "F" else "C")


def _scalar(dtype: Any, content: Any = None) -> Any:
    return _array(content, dtype, (), "C").item()


def _reconstruct(kind: Any, *_: Any) -> _Array:
    if name_of(kind) != "numpy.ndarray":
        raise refused(f"an array of the class {name_of(kind)}")
    return _Array()


def _new_dtype(text: Any, *_: Any) -> _Dtype:
    return _Dtype(text_of(text))


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    """How protocols up to 2 spell bytes: ``_codecs.encode(text, "latin1")``."""
    if not isinstance(text, str) or encoding != "latin1":
        raise refused("a call of _codecs.encode with another encoding than latin1")
    return text.encode("latin1")


def _bytes(content: Any = b"", *_: Any) -> bytes:
    if not isinstance(content, bytes):
        raise refused(f"a call of bytes or bytearray with a {type(content).__name__}")
    return content


def plain_set(items: Any = ()) -> set[Any]:
    return {plain_key(item) for item in items}


def _ordered(items: Any = ()) -> dict[Any, Any]:
    return {plain_key(key): value for key, value in items}


def _reconstructed(kind: Any, base: Any, state: Any = None) -> Any:
    """``copyreg._reconstructor``: how protocols 0 and 1 make an object."""
    if name_of(base) not in ("builtins.object", "__builtin__.object") or state is not None:
        raise refused(f"a call of copyreg._reconstructor for {name_of(kind)}")
    return made(kind, ())


def _path(*parts: Any) -> str:
    return "/".join(text_of(part) for part in parts).replace("//", "/", 1)


def _record_of(module: str, name: str) -> Callable[..., Record]:
    return lambda *arguments: Record(module, name, arguments)


_PANDAS_RECORDS: Final = (
    ("pandas.core.indexes.base", "_new_Index"),
    ("pandas._libs.internals", "_unpickle_block"),
    ("pandas.core.internals.blocks", "new_block"),
    ("pandas.core.internals.managers", "BlockManager"),
)

CALLABLES: Final[Mapping[tuple[str, str], Callable[..., Any]]] = {
    **{
        (module, "_reconstruct"): _reconstruct
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
    },
    **{(module, "scalar"): _scalar for module in ("numpy.core.multiarray", "numpy._core.multiarray")},
    **{
        (module, "_frombuffer"): lambda content, dtype, shape, order: _array(content, dtype, shape, order)
        for module in ("numpy.core.numeric", "numpy._core.numeric")
    },
    ("numpy", "dtype"): _new_dtype,
    ("_codecs", "encode"): _encoded,
    **{(module, "bytearray"): _bytes for module in ("builtins", "__builtin__")},
    **{(module, "bytes"): _bytes for module in ("builtins", "__builtin__")},
    **{(module, "slice"): slice for module in ("builtins", "__builtin__")},
    **{(module, name): plain_set for module in ("builtins", "__builtin__") for name in ("set", "frozenset")},
    **{(module, "_reconstructor"): _reconstructed for module in ("copyreg", "copy_reg")},
    ("collections", "OrderedDict"): _ordered,
    **{
        (module, name): _path
        for module in ("pathlib", "pathlib._local")
        for name in ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")
    },
    **{place: _record_of(*place) for place in _PANDAS_RECORDS},
}
"""What REDUCE may call, and what is done instead. Each takes plain data and returns plain data."""


def plain_key(key: Any) -> Any:
    """``key`` if it is plain, so that no hash or comparison of a foreign object is ever asked for."""
    if key is None or isinstance(key, (str, bytes, int, float, bool)):
        return key
    raise ValueError(f"a {type(key).__name__} as a key")


def text_of(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a {type(value).__name__} where a name was expected")
    return value


def name_of(value: Any) -> str:
    """``value`` for a message; nothing but a global is printed."""
    return str(value) if isinstance(value, Global) else f"a {type(value).__name__}"


def refused(what: str) -> CacheError:
    return CacheError(
        f"The pickle holds {what}, which a table of features has no need of, so reading stopped and nothing was run. "
        "Expected lists, numbers, text, arrays and data classes. Do not open this file with pickle."
    )
