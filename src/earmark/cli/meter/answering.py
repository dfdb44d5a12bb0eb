"""What `predict`, `stream` and `live` of the task `meter` have in common: options, and answers as rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, open_project

if TYPE_CHECKING:
    from earmark.tasks.meter.serving.predict import Analyst

__all__ = ["COLUMNS", "answer_options", "opened_analyst", "row_of"]

Document = dict[str, Any]

COLUMNS = (
    "path",
    "duration",
    "bpm",
    "tempo_confidence",
    "tempo_category",
    "meter",
    "confidence",
    "grouping",
    "division",
    "ambiguity",
    "stability",
    "abstained",
    "source",
    "run",
    "code",
    "error",
)
"""Of a row, in the order of the CSV."""


def answer_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that asks a model of meter."""
    for option in (
        click.option(
            "--threshold",
            type=click.FloatRange(0, 1),
            help="Probability of the best class below which the answer abstains.",
        ),
        click.option(
            "--fallback",
            type=click.Choice(["rule"]),
            help="What answers where there is no run; marked as such.",
        ),
        click.option(
            "--run",
            "--model",
            "run_name",
            help="Run that answers (default: the promoted one, the newest, the shipped one).",
        ),
    ):
        function = option(function)
    return function


def opened_analyst(
    invocation: Invocation, *, run_name: str | None, fallback: str | None, threshold: float | None
) -> Analyst:
    """What answers in this project; its name is told."""
    from earmark.cli.output import note
    from earmark.tasks.meter.serving.predict import analyst_for

    project = open_project(invocation, "meter")
    analyst = analyst_for(project, run=run_name, fallback=fallback, threshold=threshold)
    speaker = analyst.answerer.speaker
    note(invocation, f"Run: {speaker.run}" if speaker.run else "No model: the rule answers.")
    return analyst


def row_of(document: Document) -> Document:
    """A document as a flat row of `COLUMNS`; of a failure only path, code and error."""
    if "error" in document:
        return {name: document.get(name) for name in COLUMNS}
    first: Document = next(iter(document["meter_hypotheses"]), {})
    known = {
        "path": document["path"],
        "duration": document["duration"],
        "bpm": document["tempo"]["bpm"],
        "tempo_confidence": document["tempo"]["confidence"],
        "tempo_category": document["tempo"]["tempo_category"],
        "meter": f"{first['numerator']}/{first['denominator']}" if first else None,
        "confidence": first.get("confidence"),
        "grouping": "+".join(map(str, first["grouping"])) if first else None,
        "division": first.get("division"),
        "ambiguity": document["meter_ambiguity"],
        "stability": document["meter_stability"],
        "abstained": document["abstained"],
        "source": document["source"],
        "run": document["run"],
    }
    return {name: known.get(name) for name in COLUMNS}
