"""The guard on the test set: its labels live in one file, and each look at them is written down first.

`seal` writes three tables into the task's data folder: ``sealed.parquet`` with the labels of the test items,
``splits.parquet`` with the hashes of the other two, and ``manifest.parquet``, in which those labels (and what
else the policy says tells them) are missing and a column ``split`` shows where each item is.
`SealedLabels.open` is the only way to the labels. It appends a line to ``ledger.jsonl`` and flushes it to the
disk before it returns anything, so that an opening that is not in the ledger has not happened.

The guard is against mistakes, not malice: whoever edits the files can read them. But the hash shows an edit,
and the ledger is one line of JSON per event: ``event`` (``open`` or ``reseal``), ``when`` (UTC), ``run``,
``commit``, ``version``, ``data``, ``reason``, ``n``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from earmark.data.assignment import item_keys
from earmark.data.ledger import (
    LEDGER_FILE,
    Openings,
    append_event,
    count_openings,
    ledger_event,
    read_ledger,
)
from earmark.data.manifest import Manifest
from earmark.data.parquet import file_hash, read_table, write_table
from earmark.data.splits import Splits
from earmark.errors import SealError

__all__ = [
    "LEDGER_FILE",
    "MANIFEST_FILE",
    "SEALED_FILE",
    "SPLITS_FILE",
    "Opening",
    "Openings",
    "SealedLabels",
    "read_ledger",
    "seal",
]

MANIFEST_FILE = "manifest.parquet"
SPLITS_FILE = "splits.parquet"
SEALED_FILE = "sealed.parquet"

_FORMAT = "earmark-sealed-1"
_REMEDY = "Run `earmark prepare` again from the labels; earlier test items stay sealed."
_KEPT = ("id", "label", "group", "content_hash", "source", "sample_weight")
_TOKEN = object()  # only this module makes openings


class Opening:
    """Proof that the seal was opened, with what lay behind it; made by `SealedLabels.open` alone.

    Attributes
    ----------
    rows : tuple of dict
        ``id``, ``label``, ``group`` and, where known, ``content_hash``, ``source``, ``sample_weight`` and the
        policy's sealed columns.
    unlabelled : tuple of dict
        The same of test items without a label, of which a sealed column tells something.
    record : dict
        The line of the ledger.
    """

    def __init__(
        self, rows: Sequence[Mapping[str, Any]], record: Mapping[str, Any], *, token: object
    ) -> None:
        if token is not _TOKEN:
            raise SealError(
                "an opening of the test set was made by hand. Expected one from `SealedLabels.open`, "
                "which writes it to the ledger. Use `earmark evaluate --split test`."
            )
        told = [dict(row) for row in rows]
        self.rows = tuple(row for row in told if row["label"] is not None)
        self.unlabelled = tuple(row for row in told if row["label"] is None)
        self.record = dict(record)

    @property
    def labels(self) -> dict[str, str]:
        """Label of each test item, by id."""
        return {row["id"]: row["label"] for row in self.rows}


class SealedLabels:
    """The sealed labels of one data folder.

    Parameters
    ----------
    folder : str or Path
        Where `seal` wrote its tables.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def open(self, *, run: str, reason: str, commit: str | None = None) -> Opening:
        """Record the opening, then return the labels.

        Parameters
        ----------
        run : str
            Name of the run that is evaluated.
        reason : str
            Why, in a few words; shown in reports.
        commit : str, optional
            Version of the code that evaluates.

        Raises
        ------
        SealError
            The sealed file is missing or was changed, the reason or run is empty, or the ledger cannot be
            written.
        """
        if not run.strip() or not reason.strip():
            raise SealError(
                f"the test set was to be opened by run {run!r} for reason {reason!r}; both must be named."
            )
        splits = Splits.read(self.folder / SPLITS_FILE)
        rows = self._verified_rows(splits)
        n = sum(row["label"] is not None for row in rows)
        record = _record("open", splits, run=run, commit=commit, reason=reason, n=n)
        append_event(self.folder / LEDGER_FILE, record)
        return Opening(rows, record, token=_TOKEN)

    def openings(self) -> Openings:
        """How often, and by how many runs, this test set was opened."""
        return count_openings(read_ledger(self.folder / LEDGER_FILE))

    def _verified_rows(self, splits: Splits) -> list[dict[str, Any]]:
        path = self.folder / SEALED_FILE
        found = file_hash(path) if path.is_file() else "no file"
        if not splits.sealed_hash or found != splits.sealed_hash:
            raise SealError(
                f"`{path}` has the hash {found[:8]}, the splits were sealed with "
                f"{splits.sealed_hash[:8] or 'none'}: it was changed or is missing. {_REMEDY}"
            )
        table, _ = read_table(path, "table of sealed labels", remedy=_REMEDY)
        return list(table.iter_rows(named=True))


def seal(
    folder: str | Path, manifest: Manifest, splits: Splits, *, reseal_reason: str | None = None
) -> tuple[Manifest, Splits]:
    """Write manifest, splits and sealed labels, and return the first two as they can be read from now on.

    Parameters
    ----------
    folder : str or Path
    manifest : Manifest
        With all labels.
    splits : Splits
        Of that manifest.
    reseal_reason : str, optional
        Required where an earlier test item would leave the test set; written to the ledger.

    Raises
    ------
    SealError
        An item of the earlier test set would train and no `reseal_reason` is given.
    UsageError
        The splits are not those of the manifest.
    """
    folder = Path(folder)
    splits.require(manifest)
    folder.mkdir(parents=True, exist_ok=True)
    _guard_earlier(folder, splits, reseal_reason)
    sealed_hash = _write_sealed(folder / SEALED_FILE, manifest, splits)
    manifest = _without_test_labels(manifest, splits)
    splits = replace(splits, sealed_hash=sealed_hash, manifest_hash=manifest.hash)
    splits.write(folder / SPLITS_FILE)
    manifest.write(folder / MANIFEST_FILE)
    return manifest, splits


def _guard_earlier(folder: Path, splits: Splits, reseal_reason: str | None) -> None:
    """Refuse, or write down, that earlier test items leave the test set."""
    earlier = _earlier_test_keys(folder)
    released = sorted(earlier - splits.test_keys)
    if not earlier or not (released or reseal_reason):
        return
    if not reseal_reason:
        raise SealError(
            f"{len(released)} keys of the earlier test set in `{folder}` would be released, the first being "
            f"`{released[0]}`. Expected every earlier test item to stay sealed: pass the earlier splits as "
            "`previous`, or `--reseal` with a reason to draw a new test set; the ledger will say so."
        )
    append_event(
        folder / LEDGER_FILE,
        _record("reseal", splits, run="", commit=None, reason=reseal_reason, n=len(splits.test_ids)),
    )


def _earlier_test_keys(folder: Path) -> frozenset[str]:
    """What is or was in the test set; from the sealed labels where somebody removed the splits."""
    if (folder / SPLITS_FILE).is_file():
        return Splits.read(folder / SPLITS_FILE).test_keys
    if not (folder / SEALED_FILE).is_file():
        return frozenset()
    table, _ = read_table(folder / SEALED_FILE, "table of sealed labels", remedy=_REMEDY)
    contents = table["content_hash"] if "content_hash" in table.columns else [None] * table.height
    return frozenset(key for id, of in zip(table["id"], contents, strict=True) for key in item_keys(id, of))


def _write_sealed(path: Path, manifest: Manifest, splits: Splits) -> str:
    import polars as pl

    telling = [name for name in ("label", *splits.policy.sealed_columns) if name in manifest.table.columns]
    is_told = pl.any_horizontal(pl.col(name).is_not_null() for name in telling)
    test = pl.col("id").is_in(list(splits.test_ids)) & is_told
    group = pl.col(splits.policy.group_on or "group").cast(pl.String).alias("group")
    table = manifest.table.filter(test).with_columns(group).sort("id")
    kept = dict.fromkeys((*_KEPT, *splits.policy.sealed_columns))
    table = table.select(name for name in kept if name in table.columns)
    write_table(path, table, {"earmark.format": _FORMAT, "earmark.items_hash": splits.items_hash})
    return file_hash(path)


def _without_test_labels(manifest: Manifest, splits: Splits) -> Manifest:
    import polars as pl

    split = splits.rows()
    of = pl.Series("split", [split[id]["split"] for id in manifest.ids], dtype=pl.String)
    table = manifest.table.with_columns(of)
    telling = [name for name in ("label", *splits.policy.sealed_columns) if name in table.columns]
    hidden = [
        pl.when(pl.col("split") == "test").then(None).otherwise(pl.col(name)).alias(name) for name in telling
    ]
    return Manifest(table.with_columns(hidden), root=manifest.root)


def _record(
    event: str, splits: Splits, *, run: str, commit: str | None, reason: str, n: int
) -> dict[str, Any]:
    data = f"{splits.items_hash}:{splits.sealed_hash}"
    return ledger_event(event, data, run=run, commit=commit, reason=reason, n=n)
