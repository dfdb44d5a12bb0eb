"""What `stream` and `live` of the task `meter` have in common: raw samples, and messages as lines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

import click

from earmark.cli.options import Invocation

__all__ = ["pcm_options", "print_messages"]

Message = dict[str, Any]


def pcm_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What raw samples on standard input are."""
    for option in (
        click.option(
            "--channels", type=click.IntRange(min=1), help="Of raw samples, interleaved (default: 1)."
        ),
        click.option("--sample-rate", type=click.IntRange(min=1), help="Of raw samples, in Hz."),
        click.option(
            "--pcm",
            type=click.Choice(["s16le", "f32le"]),
            help="Standard input holds raw samples of this form.",
        ),
    ):
        function = option(function)
    return function


def print_messages(invocation: Invocation, messages: Iterable[Message]) -> bool:
    """Print each message as it comes: for people on a terminal, else a line of JSON; gives whether the last failed."""
    from earmark.cli.output import to_json

    for_people = sys.stdout.isatty() and invocation.format == "table"
    message: Message = {}
    for message in messages:
        text = _text(message) if for_people else to_json(message, indent=None)
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()
    return "error" in message


def _text(message: Message) -> str:
    """A line for people; nothing of an onset."""
    kind = message.get("type")
    if kind == "onset":
        return ""
    if kind == "warmup_progress":
        heard = f"{message['seconds']:g} of {message['total']:g} s, {message['onset_count']} onsets"
        return f"listening: {heard}\n"
    at = f"{message['t']:6.1f} s" if kind == "analysis" else "the whole"
    if "error" in message:
        return f"{at}  {message['error']}\n"
    return f"{at}  {_summary(message['data'] if kind == 'analysis' else message)}\n"


def _summary(document: Message) -> str:
    first = next(iter(document["meter_hypotheses"]), None)
    meter = (
        f"{first['numerator']}/{first['denominator']} ({first['confidence']:.0%})" if first else "no meter"
    )
    bpm = document["tempo"]["bpm"]
    words = [meter, "no tempo" if bpm is None else f"{bpm:.1f} BPM"]
    words += ["not sure"] if document["abstained"] else []
    words += ["stable"] if document["source_type"] == "live" and document["converged"] else []
    return "  ".join(words)
