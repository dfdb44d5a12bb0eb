"""What `predict`, `stream` and `live` have in common on the command line: run, threshold, and lines of JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation

if TYPE_CHECKING:
    from earmark.tasks.market.serving.answers import Answerer

__all__ = ["answerer_of", "model_options", "print_records", "record_lines", "symbols_of"]

Record = dict[str, Any]


def model_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that asks a model."""
    for option in reversed(
        (
            click.option(
                "--run", "--model", "run_name", help="Run that answers (default: the promoted one)."
            ),
            click.option("--symbols", help="Names with commas between; all by default."),
            click.option(
                "--threshold",
                type=click.FloatRange(0, 1),
                default=0.0,
                help="Abstain where the model's confidence is lower (0: never).",
            ),
            click.option(
                "--output",
                "-o",
                type=click.Path(dir_okay=False, path_type=Path),
                help="Write the lines to a file instead.",
            ),
        )
    ):
        function = option(function)
    return function


def symbols_of(text: str | None) -> tuple[str, ...]:
    """``"a, b"`` -> ``("A", "B")``."""
    names = (part.strip().upper() for part in (text or "").split(","))
    return tuple(name for name in names if name)


def answerer_of(invocation: Invocation, run_name: str | None, threshold: float) -> Answerer:
    """The model of the named or promoted run; its name is told."""
    from earmark.cli.output import note
    from earmark.tasks.market.serving.answers import Answerer
    from earmark.tasks.market.serving.model import chosen_run, served_model

    model = served_model(chosen_run(invocation.folder, run_name))
    note(
        invocation,
        f"Model {model.name}, run {model.version}: {model.window} rows of {len(model.columns)} columns ({model.view}), "
        f"{model.horizon_s} s ahead.",
    )
    return Answerer(model, threshold=threshold)


def print_records(invocation: Invocation, records: Iterable[Record], output: Path | None) -> None:
    """Write records as lines, and tell how many there were."""
    from earmark.cli.output import note

    counted: dict[str, int] = {}
    with record_lines(output) as write:
        for record in records:
            write(record)
            answer = record["reason"] or record["signal_type"]
            counted[answer] = counted.get(answer, 0) + 1
    shares = ", ".join(f"{n} {answer}" for answer, n in sorted(counted.items()))
    note(invocation, f"{sum(counted.values())} rows: {shares}." + (f" In {output}." if output else ""))


@contextmanager
def record_lines(output: Path | None) -> Iterator[Callable[[Record], None]]:
    """Give a function that writes one record as a line of JSON: to standard output at once, to a file when all is
    written.
    """
    from earmark.cli.output import to_json

    if output is None:

        def write(record: Record) -> None:
            sys.stdout.write(to_json(record, indent=None))
            sys.stdout.flush()

        yield write
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f".{output.name}.partial")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            yield lambda record: _discard(file.write(to_json(record, indent=None)))
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)


def _discard(_: object) -> None:
    """A writer returns nothing."""
