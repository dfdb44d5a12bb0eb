"""`earmark predict market`: what a model says of stored rows, or of files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.market.predictions import answerer_of, model_options, print_records, symbols_of
from earmark.cli.options import Invocation, command

if TYPE_CHECKING:
    from earmark.tasks.market.serving.answers import Answerer

__all__ = ["predict"]


@command("predict")
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
@model_options
@click.option("--start-date", help="First UTC day or ISO time.")
@click.option("--end-date", help="Last UTC day or ISO time, included.")
@click.option("--feature-group", help="Group of the feature store; default that of the training.")
@click.pass_obj
def predict(invocation: Invocation, /, files: tuple[Path, ...], **given: Any) -> int:
    """Predict the direction of the mid price for each row of the feature store, or of FILES.

    Prints a line of JSON per row. FILES are tables with the columns of the schema (.parquet), batches of the earlier
    layout (.npy, with its metadata file) or exported windows (.npz). A row without a whole window behind it, or below
    the threshold, is marked as abstained, with the reason.

    \b
    Examples:
      earmark predict market --start-date 2025-06-01 --end-date 2025-06-02
      earmark predict market --symbols BTCUSDT --threshold 0.5 -o btc.jsonl
      earmark predict market data/holdout/test_data.npz --run 20250601
    """
    answerer = answerer_of(invocation, given["run_name"], given["threshold"])
    records = _of_files(answerer, files, given) if files else _of_store(invocation, answerer, given)
    print_records(invocation, records, given["output"])
    return 0


def _of_files(answerer: Answerer, files: tuple[Path, ...], given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    from earmark.errors import UsageError
    from earmark.tasks.market.serving.stored import predict_file

    of_store = [name for name in ("start_date", "end_date", "feature_group") if given[name] is not None]
    if of_store:
        options = ", ".join("--" + name.replace("_", "-") for name in of_store)
        raise UsageError(f"{options} choose rows of the feature store, and files were named. Leave one out.")
    for path in files:
        for symbol in symbols_of(given["symbols"]) or (None,):
            yield from predict_file(answerer, path, symbol=symbol)


def _of_store(invocation: Invocation, answerer: Answerer, given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    from earmark.store.times import range_ms
    from earmark.tasks.market.serving.stored import predict_store

    start_ms, end_ms = range_ms(given["start_date"], given["end_date"])
    return predict_store(
        answerer,
        invocation.settings().path("data") / "feature_store",
        group=given["feature_group"],
        symbols=symbols_of(given["symbols"]),
        start_ms=start_ms,
        end_ms=end_ms,
    )
