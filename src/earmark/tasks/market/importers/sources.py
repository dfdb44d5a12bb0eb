"""Telling by its layout what a folder of recorded market data holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from earmark.errors import InputError
from earmark.tasks.market.importers import lean, okcoin, sgx
from earmark.tasks.market.importers.recording import Recording

__all__ = ["read_source"]

READERS: dict[str, tuple[tuple[str, ...], Callable[[list[Path]], tuple[Recording, ...]]]] = {
    "LEAN zips": (lean.PATTERNS, lean.read),
    "OKCoin databases": (okcoin.PATTERNS, okcoin.read),
    "SGX A50 tables": (sgx.PATTERNS, sgx.read),
}
"""Which files belong to a kind of source, and what reads them."""


def read_source(path: str | Path) -> tuple[Recording, ...]:
    """Recordings of all symbols in a file or below a folder, sorted by symbol.

    Raises
    ------
    InputError
        Nothing that is known lies there, or files of more than one kind, or a file is broken.

    Examples
    --------
    >>> recordings = read_source("lean/equity/usa/second/spy")     # doctest: +SKIP
    >>> [(recording.symbol, recording.n_levels) for recording in recordings]     # doctest: +SKIP
    [('SPY', 1)]
    """
    root = Path(path)
    if not root.exists():
        raise InputError(f"{root} does not exist; expected a file or folder of {_expected()}")
    found = {name: files for name, (patterns, _) in READERS.items() if (files := _files(root, patterns))}
    if len(found) != 1:
        kinds = " and ".join(found) or "nothing that is known"
        raise InputError(f"{root} holds {kinds}; expected a file or folder of one kind: {_expected()}")
    ((name, files),) = found.items()
    read = READERS[name][1]
    return read(files)


def _files(root: Path, patterns: tuple[str, ...]) -> list[Path]:
    if root.is_file():
        return [root] if any(root.match(pattern) for pattern in patterns) else []
    return sorted(path for pattern in patterns for path in root.rglob(pattern))


def _expected() -> str:
    return "; ".join(f"{name} ({', '.join(patterns)})" for name, (patterns, _) in READERS.items())
