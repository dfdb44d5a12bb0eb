"""Constructs that cannot be followed: what they reach is decided while they run.

Each is an error where a group is fingerprinted, with the function, the line and what to write, unless the group says
with ``depends_on=`` what its code reaches that way.
"""

from __future__ import annotations

from types import CodeType

from earmark.cache.bytecode import line_of
from earmark.errors import FingerprintError

__all__ = ["CONSTANT_DECIDES", "MAKERS", "NATIVE_READERS", "UNFOLLOWABLE", "unfollowable"]

UNFOLLOWABLE = {
    "builtins.eval": "runs code from a string",
    "builtins.exec": "runs code from a string",
    "builtins.compile": "makes code from a string",
    "builtins.globals": "looks names up by a variable",
    "builtins.getattr": "reads an attribute whose name is not a constant",
    "builtins.type.__subclasses__": "finds whatever classes were defined",
    "builtins.__import__": "imports a module whose name is not a constant",
    "importlib.__import__": "imports a module whose name is not a constant",
    "importlib.import_module": "imports a module whose name is not a constant",
    "importlib.util.spec_from_file_location": "loads code from a file",
    "importlib.util.module_from_spec": "loads code from a file",
    "importlib.metadata.entry_points": "loads whatever packages are installed",
    "pkgutil.iter_modules": "looks modules up while it runs",
    "pkgutil.walk_packages": "looks modules up while it runs",
    "runpy.run_module": "runs a module by name",
    "runpy.run_path": "runs code from a file",
    "sys.modules": "looks a module up by a variable",
    "types.CodeType": "makes code while it runs",
    "types.FunctionType": "makes a function while it runs",
}
"""Qualified name of what is called -> what it does."""

CONSTANT_DECIDES = {
    "builtins.getattr",
    "builtins.__import__",
    "importlib.__import__",
    "importlib.import_module",
    "sys.modules",
}
"""Those that can be followed where the deciding argument is a constant."""

MAKERS = {"types.CodeType", "types.FunctionType"}
"""Those that do something only where they are called."""

NATIVE_READERS = frozenset(
    {
        "av.open",
        "h5py.File",
        "lmdb.open",
        "polars.read_csv",
        "polars.read_ipc",
        "polars.read_json",
        "polars.read_ndjson",
        "polars.read_parquet",
        "polars.scan_csv",
        "polars.scan_ipc",
        "polars.scan_ndjson",
        "polars.scan_parquet",
        "pyarrow.memory_map",
        "pyarrow.parquet.read_table",
        "safetensors.safe_open",
        "soundfile.SoundFile",
        "soundfile.blocks",
        "soundfile.read",
    }
)
"""Functions that open files in native code, where Python's audit events do not see them."""


def unfollowable(what: str, code: CodeType, offset: int, module: str) -> FingerprintError:
    """The error for a construct of `UNFOLLOWABLE` or `NATIVE_READERS` in a function."""
    where = f"`{module}.{code.co_qualname}` ({code.co_filename}, line {line_of(code, offset)})"
    name = what.removeprefix("builtins.")
    if what in NATIVE_READERS:
        return FingerprintError(
            f"{where} calls {name}, which opens files where Python cannot see it; expected every file that features "
            "depend on to be known. Name the files: depends_on=[Path(...)]; or depends_on=[None] if it only reads "
            "the item itself."
        )
    return FingerprintError(
        f"{where} uses {name}, which {UNFOLLOWABLE[what]}, so what it reaches cannot be followed; expected references "
        "that are visible in the code. Refer to it directly, or name the functions, modules, values or files it can "
        "reach: depends_on=[...] on the feature group."
    )
