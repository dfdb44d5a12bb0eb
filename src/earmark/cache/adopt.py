"""Adopt the entries of earlier code after a refactoring that changed nothing: proved on a sample, then
re-keyed.

The sample is drawn with a seed from the inputs that are at hand and have an entry of the old code. It is
recomputed with the new code. Only when every value agrees do the old entries move to the new fingerprint, all
in one transaction. If one differs, nothing is touched and the differences are returned.
"""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from earmark.cache import records
from earmark.cache.records import Digested
from earmark.cache.store import ENTRIES, FAILURES, RECORDS, USAGE, delete_prefix, iterate_prefix
from earmark.errors import CacheError, UsageError

if TYPE_CHECKING:
    from earmark.cache.entries import FeatureCache

__all__ = ["Adoption", "Difference", "adopt", "differences", "rekey"]

Array = np.ndarray[Any, Any]

MAX_DIFFERENCES: Final = 100


@dataclasses.dataclass(frozen=True)
class Difference:
    """A value that the new code computes otherwise: identity in hexadecimal, column, both values."""

    identity: str
    column: str
    old: float
    new: float


@dataclasses.dataclass(frozen=True)
class Adoption:
    """What `adopt` did: entries moved (0 when refused), items compared, and what differed (at most 100)."""

    group: str
    adopted: bool
    entries: int
    compared: int
    tolerance: float
    differences: tuple[Difference, ...]


def adopt(
    cache: FeatureCache,
    group: str,
    old: bytes,
    new: Digested,
    *,
    columns: Sequence[str],
    identities: Sequence[bytes],
    recompute: Callable[[Sequence[bytes]], Sequence[Array]],
    sample: int = 20,
    seed: int = 0,
    tolerance: float = 0.0,
) -> Adoption:
    """Re-key the entries of fingerprint ``old`` to ``new`` if a recomputed sample agrees.

    Parameters
    ----------
    old : bytes
        Digest of the version whose entries are to be kept.
    new : Fingerprint
        Of the code as it is now.
    columns : sequence of str
        Names of the last axis, for the report.
    identities : sequence of bytes
        Inputs that can be recomputed now; the sample is drawn from those with an entry.
    recompute : callable
        From identities to arrays, in order, with the new code, not through the cache.
    sample : int
        Items to recompute, at least 1; all when there are fewer.
    tolerance : float
        0: bit-equal. Else ``|new - old| <= tolerance * max(1, |old|)``, element by element; missing agrees
        with missing.

    Raises
    ------
    CacheError
        No input at hand has an entry of ``old``.
    UsageError
        ``sample`` is less than 1, or ``tolerance`` is negative.
    """
    if sample < 1 or not tolerance >= 0.0:
        raise UsageError(
            f"adopt was given sample={sample}, tolerance={tolerance}. Expected at least 1 and at least 0."
        )
    chosen = _sample(cache, old, identities, sample, seed)
    found = []
    for identity, before, after in zip(chosen, cache.get_many(old, chosen), recompute(chosen), strict=True):
        if before is not None:
            found += differences(identity, columns, before, np.asarray(after), tolerance)
    if found:
        return Adoption(group, False, 0, len(chosen), tolerance, tuple(found[:MAX_DIFFERENCES]))
    moved = rekey(cache, group, old, new, columns) if old != new.digest else 0
    return Adoption(group, True, moved, len(chosen), tolerance, ())


def differences(
    identity: bytes, columns: Sequence[str], old: Array, new: Array, tolerance: float
) -> list[Difference]:
    """Where ``new`` departs from ``old``: the first place per column, or one named ``shape`` or ``dtype``."""
    if old.shape != new.shape:
        return [
            Difference(identity.hex(), f"shape {old.shape} -> {new.shape}", float(old.size), float(new.size))
        ]
    if tolerance == 0.0 and old.dtype != new.dtype:
        return [Difference(identity.hex(), f"dtype {old.dtype} -> {new.dtype}", old.itemsize, new.itemsize)]
    width = old.shape[-1] if old.ndim else 1
    before, after = old.reshape(-1, width) if width else old, new.reshape(-1, width) if width else new
    differs = _differs(before, after, tolerance)
    names = columns if len(columns) == width else [str(index) for index in range(width)]
    return [
        Difference(identity.hex(), names[column], float(before[row, column]), float(after[row, column]))
        for column in (np.flatnonzero(differs.any(axis=0)).tolist() if width else ())
        for row in [int(np.argmax(differs[:, column]))]
    ]


def _differs(old: Array, new: Array, tolerance: float) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if tolerance == 0.0:
        raw = [
            np.ascontiguousarray(array).view(np.uint8).reshape(*array.shape, array.itemsize)
            for array in (old, new)
        ]
        return np.asarray((raw[0] != raw[1]).any(axis=-1))
    before, after = old.astype(np.float64), new.astype(np.float64)
    with np.errstate(invalid="ignore"):
        near = np.abs(after - before) <= tolerance * np.maximum(1.0, np.abs(before))
    near &= np.isfinite(before)
    return np.asarray(~(near | (before == after) | (np.isnan(before) & np.isnan(after))))


def _sample(
    cache: FeatureCache, old: bytes, identities: Sequence[bytes], sample: int, seed: int
) -> list[bytes]:
    unique = list(dict.fromkeys(identities))
    stored = [identity for identity, found in zip(unique, cache.has_many(old, unique), strict=True) if found]
    if not stored:
        raise CacheError(
            f"None of {len(unique)} inputs at hand has an entry of version {old.hex()}: nothing to compare. "
            "Expected at least one. Name the manifest whose features are cached, or compute them again."
        )
    return random.Random(seed).sample(sorted(stored), min(sample, len(stored)))


def rekey(cache: FeatureCache, group: str, old: bytes, new: Digested, columns: Sequence[str]) -> int:
    """Move entries and cost from ``old`` to ``new``; an entry already there is of the new code and stays."""
    now_s = time.time()
    content = records.describe(group, columns, new.parts, now_s)

    def move(transaction: Any) -> int:
        moving = [identity for identity, _ in iterate_prefix(transaction, ENTRIES + old)]
        for identity in moving:
            value = transaction.pop(ENTRIES + old + identity)
            transaction.put(ENTRIES + new.digest + identity, value, overwrite=False)
        delete_prefix(transaction, FAILURES + old)
        transaction.put(RECORDS + new.digest, content, overwrite=False)
        cost = records.read_usage(transaction, old)
        records.add_usage(transaction, new.digest, dataclasses.replace(cost, last_used_s=now_s))
        transaction.delete(USAGE + old)
        return len(moving)

    return cache.write(move)
