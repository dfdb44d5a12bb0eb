"""`earmark stream meter`: onsets and answers of a recording while it runs, and in the end that of `predict`."""

from __future__ import annotations

from typing import Any

import click

from earmark.cli.meter.answering import answer_options, opened_analyst
from earmark.cli.meter.listening import pcm_options, print_messages
from earmark.cli.options import Invocation, command

__all__ = ["stream"]


@command("stream")
@click.argument("source", metavar="FILE", default="-")
@pcm_options
@answer_options
@click.option("--no-cache", is_flag=True, help="Compute everything and keep nothing.")
@click.pass_obj
def stream(
    invocation: Invocation,
    /,
    source: str,
    pcm: str | None,
    sample_rate: int | None,
    channels: int | None,
    no_cache: bool,
    **asked: Any,
) -> int:
    """Answer FILE as it is heard: onsets, an answer every 2 s, and at the end what `predict` says of the whole.

    FILE is an audio file, or - for standard input: the bytes of an audio file, which are read to their end first, or
    with --pcm raw samples, which are answered as they come. Lines are JSON objects: warmup_progress, onset, analysis,
    and last the document of the whole. On a terminal they are text.

    \b
    Examples:
      earmark stream meter song.flac
      ffmpeg -i set.m4a -f s16le -ac 1 -ar 44100 - | earmark stream meter - --pcm s16le --sample-rate 44100
    """
    from earmark.cli.stream import pcm_format, standard_input
    from earmark.tasks.meter.serving.stream import Stream

    raw = pcm_format(source, pcm, sample_rate, channels)
    analyst = opened_analyst(invocation, **asked)
    opened = Stream(analyst, standard_input() if source == "-" else source, raw, use_cache=not no_cache)
    return 1 if print_messages(invocation, opened.lines()) else 0
