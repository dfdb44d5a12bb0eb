"""Soundness of the stored rows: schema, gaps, clocks, missing and stuck values, labels, files.

Each check has a status: ``ok``, ``note`` (worth knowing) or ``fail`` (do not train on it), a value, and what to do.
Times are ms since 1970 UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from earmark.errors import InputError
from earmark.orderbook.state import MAX_GAP
from earmark.store.times import EARLIEST_MS, RECORDED_SINCE_MS
from earmark.tasks.market.schema import GROUP, SCHEMA
from earmark.tasks.market.validation.labels import CLASS_NAMES, class_counts, label_coverage

if TYPE_CHECKING:
    import polars as pl

    from earmark.store.offline import FeatureStore
    from earmark.store.schema import Problem
    from earmark.store.times import Instant

__all__ = ["Check", "Selection", "check_rows", "read_selection"]

NULL_SHARE = 0.10
"""Above it a feature is not healthy."""

CLOCK_JUMP_MS = 1_000
"""A change of the delay between exchange and receipt by more than this, from row to row, is a jump of a clock."""

STUCK_ROWS = 3
"""Rows in a row whose book features do not change at all."""


@dataclass(frozen=True)
class Check:
    """One finding: `status` is ok, note or fail; `next` is the command that helps."""

    name: str
    status: str
    value: Any
    message: str
    next: str = ""


@dataclass(frozen=True)
class Selection:
    """The rows that are looked at: of a group, with labels of a set where there is one.

    Parameters
    ----------
    rows : polars.DataFrame
        By symbol and time, columns of the files.
    labels : polars.DataFrame or None
        Key, status and direction of each horizon, for the same rows.
    horizon_s : int
        The one that is trained on.
    """

    store: FeatureStore
    group: str
    rows: pl.DataFrame
    labels: pl.DataFrame | None
    horizon_s: int


def read_selection(
    store: FeatureStore,
    group: str = GROUP,
    *,
    start: Instant | None = None,
    end: Instant | None = None,
    symbols: Sequence[str] | None = None,
    label_set: str = "default",
    horizon_s: int = 60,
) -> Selection:
    """Read what is checked.

    Raises
    ------
    InputError
        There is no such folder, or no row.
    """
    table = store.table(group)
    if not store.root.is_dir():
        raise InputError(
            f"No training data available: the folder `{store.root}` does not exist. Expected a feature store. Run: "
            "earmark collect market"
        )
    rows = table.scan(start, end, symbols).collect()
    if rows.is_empty():
        raise InputError(
            f"No training data available in the group {group} of `{store.root}`, {start or 'the beginning'} .. "
            f"{end or 'now'}. Expected rows. Run: earmark collect market"
        )
    found = store.labels(label_set, start, end, symbols)
    keys = ["symbol", "timestamp"]
    labels = None if found is None else rows.select(keys).join(found.collect(), on=keys, how="left")
    return Selection(store, group, rows, labels, horizon_s)


def check_rows(selection: Selection, *, now_ms: int, deep: bool = False) -> list[Check]:
    """All checks; `deep` also reads every file and compares it with its name."""
    return [
        *_schema(selection),
        *_gaps(selection.rows),
        *_staleness(selection.rows, now_ms),
        *_clocks(selection.rows),
        *_values(selection.rows),
        *_labels(selection),
        *_files(selection, deep=deep),
    ]


def _schema(selection: Selection) -> Iterator[Check]:
    schema = selection.store.schemas.get(selection.group, SCHEMA)
    problems = schema.problems(selection.rows)
    duplicates = [problem for problem in problems if problem.kind == "duplicate"]
    yield Check(
        "duplicates", "fail" if duplicates else "ok", len(duplicates), _joined(duplicates) or "each key once"
    )
    others = [p for p in problems if p.kind != "duplicate" and not _is_recorded(p, selection.rows)]
    serious = any(problem.kind not in ("range", "order") for problem in others)
    renaming = any(problem.kind in ("presence", "unknown") for problem in others)
    if not others:
        yield Check("schema", "ok", schema.id, f"all columns are those of {schema.id}")
        return
    message = f"Schema validation failed: {_joined(others)}"
    status = "fail" if serious else "note"
    yield Check("schema", status, len(others), message, "earmark migrate market columns" if renaming else "")


def _is_recorded(problem: Problem, rows: pl.DataFrame) -> bool:
    """Whether times are early for the reason alone that an older market was imported."""
    import polars as pl

    from earmark.tasks.market.importers.to_store import ORIGIN

    if (problem.kind, problem.column) != ("range", "timestamp") or "origin" not in rows.columns:
        return False
    early = rows.filter(pl.col("timestamp") < EARLIEST_MS)
    mistakes = (pl.col("timestamp") < RECORDED_SINCE_MS) | pl.col("origin").ne_missing(ORIGIN)
    return early.filter(mistakes).is_empty()


def _joined(problems: Sequence[Any]) -> str:
    return "; ".join(problem.message for problem in problems)


def _gaps(rows: pl.DataFrame) -> Iterator[Check]:
    import polars as pl

    distance = rows.select("symbol", pl.col("timestamp").diff().over("symbol").alias("ms")).drop_nulls()
    usual = distance["ms"].median()
    if not isinstance(usual, int | float):
        yield Check("gaps", "note", 0, "one row a symbol: there is no distance between rows")
        return
    far = distance.filter(pl.col("ms") > MAX_GAP * usual)
    longest = 0 if far.is_empty() else int(far["ms"].max())  # type: ignore[arg-type]
    text = f"rows are {usual / 1000:g} s apart; {far.height} gaps"
    yield Check(
        "gaps", "note" if far.height else "ok", far.height, f"{text}, the longest {longest / 1000:g} s"
    )


def _staleness(rows: pl.DataFrame, now_ms: int) -> Iterator[Check]:
    import polars as pl

    newest = int(rows["timestamp"].max())  # type: ignore[arg-type]
    ahead = newest > now_ms
    age_s = (now_ms - newest) / 1000
    text = "the newest row is of the future" if ahead else f"the newest row is {age_s / 3600:.1f} h old"
    yield Check("age_s", "fail" if ahead else "ok", round(age_s, 1), text)
    book = [
        name
        for name in ("mid_price", "depth_bid_10", "depth_ask_10", "total_bid_volume")
        if name in rows.columns
    ]
    same = (
        pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in book) if book else pl.lit(False)
    )
    stuck = rows.select(same.over("symbol").alias("same"), "symbol").with_columns(
        pl.col("same").fill_null(False).rle_id().over("symbol").alias("run")
    )
    runs = stuck.filter("same").group_by("symbol", "run").len().filter(pl.col("len") >= STUCK_ROWS - 1)
    count = int(runs["len"].sum())
    yield Check(
        "stuck", "note" if count else "ok", count, f"{count} rows repeat the book of the row before for long"
    )


def _clocks(rows: pl.DataFrame) -> Iterator[Check]:
    import polars as pl

    if "recv_ns" not in rows.columns or rows["recv_ns"].null_count() == rows.height:
        yield Check("clock_jumps", "note", None, "no time of receipt is stored, as for migrated rows")
        return
    delay = rows.select(
        "symbol", (pl.col("recv_ns") // 1_000_000 - pl.col("timestamp")).alias("ms")
    ).drop_nulls()
    jumps = delay.select((pl.col("ms").diff().over("symbol").abs() > CLOCK_JUMP_MS).sum()).item()
    median = delay["ms"].median()
    text = (
        f"{jumps} jumps above {CLOCK_JUMP_MS} ms; receipt is {median!s} ms after the exchange's time (median)"
    )
    yield Check("clock_jumps", "note" if jumps else "ok", jumps, text)


def _values(rows: pl.DataFrame) -> Iterator[Check]:
    import polars as pl

    names = [name for name in rows.columns if rows.schema[name].is_float()]
    nulls = rows.select(pl.col(names).null_count() / pl.len()).row(0, named=True)
    many = {
        name: round(share, 4) for name, share in nulls.items() if share > NULL_SHARE and name in SCHEMA.inputs
    }
    listed = ", ".join(f"{name} {share:.0%}" for name, share in many.items())
    text = (
        f"more than {NULL_SHARE:.0%} missing: {listed}"
        if many
        else f"no feature lacks above {NULL_SHARE:.0%}"
    )
    yield Check("nulls", "note" if many else "ok", many, text)
    infinite = rows.select(pl.col(names).is_infinite().sum()).row(0, named=True)
    bad = {name: count for name, count in infinite.items() if count}
    text = f"infinite values in {', '.join(bad)}" if bad else "no infinite values"
    yield Check("infinite", "fail" if bad else "ok", bad, text, "earmark extract market" if bad else "")
    features = [name for name in names if name in SCHEMA.inputs]
    distinct = rows.select(pl.col(features).drop_nulls().n_unique()).row(0, named=True)
    constant = [name for name, count in distinct.items() if count <= 1 and rows.height > 1]
    text = f"constant: {', '.join(constant)}" if constant else "no feature is constant"
    yield Check("constants", "note" if constant else "ok", constant, text)


def _labels(selection: Selection) -> Iterator[Check]:
    if selection.labels is None:
        text = "Future labels = None: nothing is labelled"
        yield Check("coverage", "fail", {}, text, "earmark label market")
        return
    coverage = label_coverage(selection.labels)
    shown = ", ".join(f"{horizon} s {share:.1%}" for horizon, share in coverage.items())
    enough = coverage.get(selection.horizon_s, 0.0) >= 0.8
    text = f"rows with a label: {shown or 'none'}; trained is {selection.horizon_s} s"
    yield Check(
        "coverage", "ok" if enough else "fail", coverage, text, "" if enough else "earmark label market"
    )
    counts = class_counts(selection.labels, selection.horizon_s)
    named = dict(zip(CLASS_NAMES, counts, strict=True))
    absent = [name for name, count in named.items() if not count]
    text = ", ".join(f"{name} {count}" for name, count in named.items())
    yield Check(
        "classes",
        "fail" if absent else "ok",
        named,
        text + (f"; absent: {', '.join(absent)}" if absent else ""),
    )


def _files(selection: Selection, *, deep: bool) -> Iterator[Check]:
    from earmark.store.part_files import is_intact

    table = selection.store.table(selection.group)
    damaged = {}
    for path in table.files()["path"] if deep else ():
        if not is_intact(path.rpartition("/")[2], table.storage.read(path)):
            damaged[path] = "its bytes are not those it was written with"
    if damaged:
        table.quarantine(damaged)
    aside = table.set_aside()
    text = (
        f"{len(aside)} files are set aside: {', '.join(f.path for f in aside[:3])}"
        if aside
        else "all files are whole"
    )
    yield Check("files", "fail" if aside else "ok", len(aside), text)
    refused = table.adopt()
    if refused:
        text = f"{len(refused)} files from elsewhere do not fit: {next(iter(refused.values()))}"
        yield Check("foreign", "fail", list(refused), text, "earmark migrate market columns")
