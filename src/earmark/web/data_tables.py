"""The prepared items of a task, quick for a hundred thousand of them: read once, then kept until a file changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.data.manifest import Manifest
from earmark.data.seal import MANIFEST_FILE, SPLITS_FILE
from earmark.data.show import count_rows, item_table
from earmark.data.splits import Splits
from earmark.web.paging import Page, Wanted

if TYPE_CHECKING:
    import polars as pl

    from earmark.web.site import Site

__all__ = ["Prepared", "counts_of", "data_folder", "fold_rows", "is_prepared", "items_of", "prepared"]

N_KEPT = 4
"""Tables in memory; one of a hundred thousand rows has about 20 MB."""

SEARCHED = ("id", "label", "group")


@dataclass(frozen=True)
class Prepared:
    """The items of a task and how they are divided, as `earmark.data.show.item_table` has them."""

    items: pl.DataFrame
    counts: list[dict[str, Any]]
    n_train: int
    n_test: int
    n_groups: int
    n_folds: int
    manifest_hash: str
    splits_hash: str
    warnings: tuple[str, ...]


def data_folder(site: Site, task: str) -> Path:
    """Where `prepare` leaves what belongs to a task; one that is a file gives itself its name."""
    name = site.project(task).task.name if task.endswith(".py") else task
    return site.invocation().settings().path("data") / name


def is_prepared(folder: Path) -> bool:
    """Whether there are items, divided."""
    return (folder / SPLITS_FILE).is_file() and (folder / MANIFEST_FILE).is_file()


def prepared(folder: Path) -> Prepared:
    """What `prepare` left in a data folder.

    Raises
    ------
    UsageError
        A file is not what it should be.
    """
    return _read(folder, *_changed(folder))


def counts_of(folder: Path) -> tuple[int, int]:
    """Items and folds, without a look at the items themselves; UsageError as for `prepared`."""
    return _counted(folder, *_changed(folder))


def _changed(folder: Path) -> tuple[int, int]:
    """When the two files changed, ns: what was read is kept until then."""
    return (folder / MANIFEST_FILE).stat().st_mtime_ns, (folder / SPLITS_FILE).stat().st_mtime_ns


def items_of(found: Prepared, wanted: Wanted) -> Page:
    """The page of the items that have the split, fold and words that are wanted."""
    import polars as pl

    chosen = found.items
    split, fold = wanted.also.get("split"), wanted.also.get("fold")
    if split:
        chosen = chosen.filter(pl.col("split") == split)
    if fold is not None and fold.lstrip("-").isdigit():
        chosen = chosen.filter(pl.col("fold") == int(fold))
    for word in wanted.q.casefold().split():
        chosen = chosen.filter(_has(word, [name for name in SEARCHED if name in chosen.columns]))
    if wanted.column in chosen.columns:
        chosen = chosen.sort(
            wanted.column, descending=wanted.is_descending, nulls_last=True, maintain_order=True
        )
    part = chosen.slice(wanted.offset, wanted.limit)
    return Page(part.to_dicts(), chosen.height, wanted)


def fold_rows(counts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per split and fold: items of each class, in one row; classes are the keys of ``classes``."""
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for count in counts:
        key = (count["split"], count["fold"])
        row = rows.setdefault(key, {"split": key[0], "fold": key[1], "items": 0, "groups": 0, "classes": {}})
        row["items"] += count["items"]
        row["classes"][count["label"]] = count["items"]
        row["groups"] += count["groups"]
    return list(rows.values())


def _has(word: str, columns: list[str]) -> pl.Expr:
    import polars as pl

    text = pl.concat_str([pl.col(name).fill_null("") for name in columns], separator=" ")
    return text.str.to_lowercase().str.contains(word, literal=True)


@lru_cache(N_KEPT)
def _counted(folder: Path, _manifest_changed: int, _splits_changed: int) -> tuple[int, int]:
    splits = Splits.read(folder / SPLITS_FILE).table
    training = splits.filter(splits["split"] == "train")
    return splits.height, training.filter(training["fold"] >= 0)["fold"].n_unique()


@lru_cache(N_KEPT)
def _read(folder: Path, _manifest_changed: int, _splits_changed: int) -> Prepared:
    import polars as pl

    manifest, splits = Manifest.read(folder / MANIFEST_FILE), Splits.read(folder / SPLITS_FILE)
    items = item_table(manifest, splits)
    unit = pl.coalesce(pl.col("group"), pl.col("id"))
    training = items.filter(pl.col("split") == "train")
    return Prepared(
        items=items,
        counts=count_rows(items),
        n_train=training.height,
        n_test=items.filter(pl.col("split") == "test").height,
        n_groups=items.select(unit.n_unique()).item(),
        n_folds=training.filter(pl.col("fold") >= 0)["fold"].n_unique(),
        manifest_hash=manifest.hash,
        splits_hash=splits.hash,
        warnings=splits.warnings,
    )
