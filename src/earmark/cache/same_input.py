"""Two contents that are one input to every feature: entries of the one stand for the other too.

An identity is of all bytes of a file, so tags written into it make it a new input, although its samples are the same
to the bit. Who has proved that says so here, and nothing is computed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from earmark.cache.records import DIGEST_BYTES
from earmark.cache.store import ENTRIES
from earmark.errors import CacheError

if TYPE_CHECKING:
    from earmark.cache.entries import FeatureCache

__all__ = ["same_input"]


def same_input(cache: FeatureCache, pairs: Iterable[tuple[bytes, bytes]]) -> int:
    """Copy the entries of one identity to another, under every fingerprint, in one transaction.

    Parameters
    ----------
    pairs : iterable of (bytes, bytes)
        Identity known so far, and the one of the same samples; in the order in which they came about, since the
        second may be the first of a later pair. Nothing is compared here: the caller has.

    Returns
    -------
    int
        Entries copied. One that the second identity already has stays as it is; failures are not copied.

    Raises
    ------
    CacheError
        An identity has not 16 bytes, or the cache cannot be written.
    """
    known = list(pairs)
    if any(len(identity) != DIGEST_BYTES for pair in known for identity in pair):
        raise CacheError(
            f"An identity of another length was given; expected {DIGEST_BYTES} bytes. Pass what identify() returns."
        )
    return cache.write(lambda transaction: _copy(transaction, known)) if known else 0


def _copy(transaction: Any, pairs: Sequence[tuple[bytes, bytes]]) -> int:
    n_copied = 0
    for prefix in list(_prefixes(transaction)):
        for old, new in pairs:
            stored = transaction.get(prefix + old)
            if stored is not None:
                n_copied += transaction.put(prefix + new, stored, overwrite=False)
    return n_copied


def _prefixes(transaction: Any) -> Iterator[bytes]:
    """What the keys of each fingerprint's entries begin with; one seek each, however many entries there are."""
    cursor = transaction.cursor()
    size = len(ENTRIES) + DIGEST_BYTES
    found = cursor.set_range(ENTRIES)
    while found and bytes(cursor.key()).startswith(ENTRIES):
        prefix = bytes(cursor.key())[:size]
        yield prefix
        # The first key behind the greatest one that this fingerprint can have.
        found = cursor.set_range(prefix + b"\xff" * DIGEST_BYTES + b"\0")
