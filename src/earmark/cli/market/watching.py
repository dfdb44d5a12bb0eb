"""A live table of a running collector on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from earmark.cli.options import Invocation

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["signal_text", "watching"]

_COLUMNS = ("symbol", "state", "mid", "spread", "updates/s", "samples", "buffer", "gaps", "age (s)")
_STYLES = {"live": "green", "connecting": "yellow", "resyncing": "yellow", "stale": "red", "paused": "red"}


@contextmanager
def watching(invocation: Invocation, *, is_wanted: bool) -> Iterator[Callable[[dict[str, Any]], None] | None]:
    """Give a callback that draws statistics, or None where nothing is to be drawn."""
    if not is_wanted or invocation.quiet:
        yield None
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), auto_refresh=False) as live:
        yield lambda found: live.update(table_of(found), refresh=True)


def signal_text(model: dict[str, Any]) -> str:
    """What became of the samples that a model was asked about, as a sentence."""
    from earmark.tasks.market.collect.status import signal_counts

    counts = ", ".join(f"{n} {outcome.replace('_', ' ')}" for outcome, n in signal_counts(model).items())
    ended = f" It has failed: {model['error']}" if model["error"] else ""
    return f"Signals of {model['name']}, run {model['run']}: {counts}.{ended}"


def table_of(found: dict[str, Any]) -> Table:
    """The statistics of a collector as a table, a row per symbol."""
    from rich.table import Table

    caption = (
        f"{found['total_samples']} samples, {found['files_written']} files, {found['rss_mb']:.0f} MB, "
        f"loop lag {found['worst_loop_lag_ms']:.0f} ms"
    )
    if found["model"] is not None:
        caption += f"\n{signal_text(found['model'])}"
    table = Table(title=f"{found['venue']} since {found['started']}", caption=caption)
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name in ("symbol", "state") else "right")
    for symbol, row in found["symbols"].items():
        table.add_row(*_cells(symbol, row))
    return table


def _cells(symbol: str, row: dict[str, Any]) -> list[str]:
    style = _STYLES[row["state"]]
    return [
        symbol,
        f"[{style}]{row['state']}[/]",
        "-" if row["mid"] is None else f"{row['mid']:g}",
        "-" if row["spread"] is None else f"{row['spread']:.4g}",
        f"{row['updates_per_s']:.1f}",
        str(row["total_samples"]),
        str(row["buffer_size"]),
        str(row["counts"].get("gaps", 0)),
        "-" if row["age_s"] is None else f"{row['age_s']:.1f}",
    ]
