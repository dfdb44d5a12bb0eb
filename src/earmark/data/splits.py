"""Which items train, in which fold they validate, and which are the sealed test set.

A policy names what must stay together (`group_on`), what is kept in proportion (`stratify_on`), or, for
series in time, what orders the items (`time_on`). A *unit* is the smallest thing that is ever assigned: all
items of a group, joined with all items of equal content. Units are visited in the order of a hash of the seed
and their content, so the result does not depend on row order.

Table: ``id``, ``split``, ``fold``, ``content_hash`` and, with `time_on`, ``gaps``.

``split``
    ``train``, ``test``, ``auxiliary``: an item that only trains and is never scored, or ``purged``: too close
    to the test set, in time or by its group, to be used in either.
``fold``
    Fold in which a training item validates, 0 .. n_folds - 1, and whose training leaves out an auxiliary item;
    -1 elsewhere.
``gaps``
    Folds whose training leaves the item out, since its label overlaps their validation span.

Where the makers of a data set divided it themselves, a column that the policy names (`given_on`) says so: ``test``
is sealed, ``val`` is fold 0, ``train`` fills the other folds, ``purged`` stays out, as the seconds between a
training and a test part of one recording. Items without such a word are divided as usual. What shares a group or
content with a given test item is ``purged``, since a given test set is neither enlarged nor changed; what shares one
with a ``val`` item joins fold 0.

Preparing again with more tracks keeps every earlier test item in test: earlier test items are known by id and
by content, units that contain one are test, and otherwise only units without earlier training items can
become test. To draw a new test set, pass ``reseal=True``; the ledger says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.data.assignment import assign, item_keys
from earmark.data.parquet import read_table, write_table
from earmark.data.policy import SplitPolicy
from earmark.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

    from earmark.data.manifest import Manifest

__all__ = ["SplitPolicy", "Splits"]

_FORMAT = "earmark-splits-1"
_REMEDY = "Run `earmark prepare` to write them."


@dataclass(frozen=True)
class Splits:
    """An assignment of the items of one manifest; see the module for the columns.

    Parameters
    ----------
    table : polars.DataFrame
    policy : SplitPolicy
    items_hash : str
        `Manifest.items_hash` of the manifest that was split.
    test_keys : frozenset of str
        Ids and contents that are or once were in this test set; they never train.
    sealed_hash : str
        Hash of ``sealed.parquet``; empty until sealed.
    warnings : tuple of str
        What the user should know of this assignment.
    manifest_hash : str
        `Manifest.hash` of the manifest as it was sealed; empty until sealed.
    """

    table: pl.DataFrame
    policy: SplitPolicy
    items_hash: str
    test_keys: frozenset[str] = frozenset()
    sealed_hash: str = ""
    warnings: tuple[str, ...] = ()
    manifest_hash: str = ""

    @classmethod
    def make(
        cls,
        manifest: Manifest,
        policy: SplitPolicy | None = None,
        *,
        previous: Splits | None = None,
        reseal: bool = False,
    ) -> Splits:
        """Split a manifest with all its labels.

        Parameters
        ----------
        manifest : Manifest
        policy : SplitPolicy, optional
        previous : Splits, optional
            The splits of an earlier preparation of the same collection, whose test items stay test items.
        reseal : bool
            Draw a new test set regardless of `previous`.

        Raises
        ------
        UsageError
            A column of the policy is missing, grouped data would be split by item, or there are too few
            groups.
        """
        policy = policy or SplitPolicy()
        kept = None if reseal else previous
        earlier_test = kept.test_keys if kept else frozenset()
        earlier_train = kept._keys("train", "auxiliary") if kept else frozenset()
        table, warnings = assign(manifest.table, policy, earlier_test, earlier_train)
        splits = cls(table, policy, manifest.items_hash, warnings=tuple(warnings))
        return cls(
            table, policy, manifest.items_hash, earlier_test | splits._keys("test"), "", splits.warnings
        )

    @classmethod
    def read(cls, path: str | Path) -> Splits:
        """Read splits written by `write`."""
        table, metadata = read_table(path, "table of splits", remedy=_REMEDY)
        if metadata.get("earmark.format") != _FORMAT:
            raise UsageError(
                f"`{path}` is marked {metadata.get('earmark.format')!r}, expected {_FORMAT!r}: "
                f"it holds no splits of this version of earmark. {_REMEDY}"
            )
        try:
            return cls(
                table,
                SplitPolicy(**json.loads(metadata["earmark.policy"])),
                metadata["earmark.items_hash"],
                frozenset(json.loads(metadata["earmark.test_keys"])),
                metadata["earmark.sealed_hash"],
                tuple(json.loads(metadata["earmark.warnings"])),
                metadata["earmark.manifest_hash"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"`{path}` lacks what splits need to know ({error}); it was written by another version of earmark, or "
                f"by hand. Remove this file; the sealed labels beside it still guard the test set. {_REMEDY}"
            ) from error

    def write(self, path: str | Path) -> None:
        """Write table, policy, seed and hashes in one step."""
        metadata = {
            "earmark.format": _FORMAT,
            "earmark.policy": json.dumps(self.policy.to_dict()),
            "earmark.items_hash": self.items_hash,
            "earmark.test_keys": json.dumps(sorted(self.test_keys)),
            "earmark.sealed_hash": self.sealed_hash,
            "earmark.warnings": json.dumps(self.warnings),
            "earmark.manifest_hash": self.manifest_hash,
            "earmark.hash": self.hash,
        }
        write_table(path, self.table, metadata)

    @property
    def hash(self) -> str:
        """32 hexadecimal digits over policy and assignment, independent of row order."""
        digest = hashlib.blake2b(json.dumps(self.policy.to_dict()).encode(), digest_size=16)
        for row in self.table.sort("id").iter_rows():
            digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        return digest.hexdigest()

    @property
    def train_ids(self) -> tuple[str, ...]:
        """Ids that may train, in table order."""
        return self._ids("train")

    @property
    def test_ids(self) -> tuple[str, ...]:
        """Ids of the sealed test set, in table order."""
        return self._ids("test")

    @property
    def auxiliary_ids(self) -> tuple[str, ...]:
        """Ids that only train, in table order."""
        return self._ids("auxiliary")

    def rows(self) -> dict[str, dict[str, Any]]:
        """Row of each id, as a dict of the table's columns."""
        return {row["id"]: row for row in self.table.iter_rows(named=True)}

    def require(self, manifest: Manifest) -> None:
        """Raise a `UsageError` unless these are the splits of `manifest`."""
        if manifest.items_hash != self.items_hash:
            raise UsageError(
                f"the splits were made for items {self.items_hash[:8]}, the manifest holds items "
                f"{manifest.items_hash[:8]}: ids, groups or contents differ. Run `earmark prepare` again."
            )

    def _ids(self, split: str) -> tuple[str, ...]:
        return tuple(id for id, of in self.table.select("id", "split").iter_rows() if of == split)

    def _keys(self, *splits: str) -> frozenset[str]:
        rows: Sequence[tuple[str, str, str | None]] = self.table.select("id", "split", "content_hash").rows()
        return frozenset(key for id, of, content in rows if of in splits for key in item_keys(id, content))
