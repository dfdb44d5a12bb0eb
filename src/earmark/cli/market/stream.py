"""`earmark stream market`: what a model says of a recording, as if it happened now."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.market.predictions import answerer_of, model_options, print_records, symbols_of
from earmark.cli.options import Invocation, command

if TYPE_CHECKING:
    from earmark.tasks.market.serving.answers import Answerer

__all__ = ["stream"]


@command("stream")
@click.argument("source", required=False, type=click.Path(exists=True, allow_dash=True, path_type=Path))
@model_options
@click.option("--start-date", help="Of the raw store: first UTC day or ISO time.")
@click.option("--end-date", help="Of the raw store: last UTC day or ISO time, included.")
@click.option(
    "--venue", type=click.Choice(["bybit", "binance"]), help="Exchange whose messages are read (bybit)."
)
@click.option("--depth", type=int, help="Levels per side of the book in messages (200).")
@click.pass_obj
def stream(invocation: Invocation, /, source: Path | None, **given: Any) -> int:
    """Tell a recording to the collector's pipeline and predict each sample that comes of it.

    SOURCE is a folder of a journal, a folder of raw rows (default: those of the project), a file of messages, or - for
    messages on standard input: one a line, as the venue sent it or as {"received_ns": ..., "text": "..."}. The
    records are those of `earmark predict market` for the same samples, to the last digit.

    \b
    Examples:
      earmark stream market --symbols BTCUSDT --start-date 2025-06-01
      earmark stream market data/collector/journal
      zcat frames.jsonl.gz | earmark stream market -
    """
    answerer = answerer_of(invocation, given["run_name"], given["threshold"])
    print_records(invocation, _records(invocation, answerer, source, given), given["output"])
    return 0


def _records(
    invocation: Invocation, answerer: Answerer, source: Path | None, given: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    from earmark.store.journal import segment_paths
    from earmark.store.raw import RawStore
    from earmark.store.times import range_ms
    from earmark.tasks.market.serving.recorded import stream_journal, stream_raw

    symbols = symbols_of(given["symbols"])
    if source is not None and not source.is_dir():
        yield from _of_lines(invocation, answerer, source, given)
    elif source is not None and segment_paths(source):
        yield from (r for r in stream_journal(answerer, source) if not symbols or r["symbol"] in symbols)
    else:
        start_ms, end_ms = range_ms(given["start_date"], given["end_date"])
        raw = RawStore(source or invocation.settings().path("data") / "raw")
        yield from stream_raw(answerer, raw, symbols=symbols, start_ms=start_ms, end_ms=end_ms)


def _of_lines(
    invocation: Invocation, answerer: Answerer, source: Path, given: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    from earmark.tasks.market.serving.recorded import stream_lines
    from earmark.tasks.market.venues import venue

    market = invocation.settings(market__venue=given["venue"], market__depth=given["depth"]).settings.market
    chosen, symbols = venue(market.venue), symbols_of(given["symbols"])
    if str(source) == "-":
        yield from stream_lines(answerer, sys.stdin, chosen, depth=market.depth, symbols=symbols)
        return
    with source.open(encoding="utf-8") as lines:
        yield from stream_lines(answerer, lines, chosen, depth=market.depth, symbols=symbols)
