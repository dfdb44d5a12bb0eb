"""`earmark stream`: what a trained model says of a recording while it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from earmark.cli.options import Invocation, command, open_project, task_argument

if TYPE_CHECKING:
    from earmark.inference.pcm import PcmFormat
    from earmark.inference.smoothing import Segment

__all__ = ["pcm_format", "standard_input", "stream"]

Line = dict[str, Any]


@command()
@task_argument()
@click.argument("source", metavar="FILE", default="-")
@click.option(
    "--pcm", type=click.Choice(["s16le", "f32le"]), help="Standard input holds raw samples of this form."
)
@click.option("--sample-rate", type=click.IntRange(min=1), help="Of raw samples, in Hz.")
@click.option("--channels", type=click.IntRange(min=1), help="Of raw samples, interleaved (default: 1).")
@click.option("--every", type=click.FloatRange(min=0.1), default=5.0, help="Seconds from line to line.")
@click.option(
    "--window", type=click.FloatRange(min=0.1), default=60.0, help="Seconds that a line looks back."
)
@click.option(
    "--hysteresis",
    type=click.FloatRange(0, 1),
    default=0.1,
    help="Lead in probability that another label needs.",
)
@click.option("--dwell", type=click.FloatRange(min=0), default=15.0, help="Seconds for which it must lead.")
@click.option(
    "--only-changes", is_flag=True, help="Only lines on which the label changes, errors, and the last."
)
@click.option(
    "--no-final", is_flag=True, help="No answer of the whole: flat memory for raw samples without end."
)
@click.option("--realtime", is_flag=True, help="Give each line when a listener would hear it.")
@click.option(
    "--run", "run_name", help="Run to predict with (default: the promoted one, else the best of the newest)."
)
@click.option(
    "--method", type=click.Choice(["model", "rules", "rules-first"]), default="model", help="What decides."
)
@click.option("--threshold", type=click.FloatRange(0, 1), help="Confidence below which nothing is decided.")
@click.option("--no-cache", is_flag=True, help="Compute everything and keep nothing.")
@click.pass_obj
def stream(
    invocation: Invocation,
    task: str,
    source: str,
    pcm: str | None,
    sample_rate: int | None,
    channels: int | None,
    every: float,
    window: float,
    hysteresis: float,
    dwell: float,
    only_changes: bool,
    no_final: bool,
    realtime: bool,
    run_name: str | None,
    method: str,
    threshold: float | None,
    no_cache: bool,
) -> int:
    """Answer FILE as it is heard: a line every few seconds, and at the end what `predict` says of the whole.

    FILE is an audio file, or - for standard input: the bytes of an audio file, which are read to their end first, or
    with --pcm raw samples, which are answered as they come. The label of a line changes only when another one has
    led for --dwell seconds, so a change is told about half a window and the dwell time late; its time in `since` and
    in the timeline is set back. On a terminal lines are text and a timeline ends them; elsewhere they are JSON, one
    object per line.

    \b
    Examples:
      earmark stream zones set.flac
      earmark stream zones set.flac --realtime --only-changes
      ffmpeg -i set.m4a -f s16le -ac 1 -ar 44100 - | earmark stream zones - --pcm s16le --sample-rate 44100
    """
    from earmark.cli.output import complain, note
    from earmark.inference.smoothing import Hysteresis
    from earmark.inference.windows import Windowing
    from earmark.tasks.verbs.stream import StreamOptions
    from earmark.tasks.verbs.stream import stream as run_stream

    form = _chosen_format(invocation)
    raw = pcm_format(source, pcm, sample_rate, channels)
    opened = run_stream(
        open_project(invocation, task),
        standard_input() if source == "-" else source,
        pcm=raw,
        options=StreamOptions(
            Windowing(every, window), Hysteresis(hysteresis, dwell), final=not no_final, realtime=realtime
        ),
        run=run_name,
        method=method,
        threshold=threshold,
        use_cache=not no_cache,
    )
    if opened.run is not None:
        note(invocation, f"Run: {opened.run.name}")
    write = _writer(form, opened.classes)
    has_failed = False
    try:
        for line in _changes(opened.lines()) if only_changes else opened.lines():
            click.echo(write(line), nl=False)
            sys.stdout.flush()
            has_failed = has_failed or "error" in line
    except KeyboardInterrupt:
        from earmark.cli.main import EXIT_INTERRUPTED

        _echo_timeline(form, opened.timeline())
        complain("Interrupted. The lines above stand; there is no answer of the whole.")
        return EXIT_INTERRUPTED
    _echo_timeline(form, opened.timeline())
    return 1 if has_failed else 0


def _chosen_format(invocation: Invocation) -> str:
    """The form that was asked for; else a table on a terminal and JSON lines elsewhere, since a program reads them."""
    context: click.Context | None = click.get_current_context()
    while context is not None:
        if context.get_parameter_source("common_format") is click.core.ParameterSource.COMMANDLINE:
            return invocation.format
        context = context.parent
    return "table" if sys.stdout.isatty() else "json"


def pcm_format(
    source: str, pcm: str | None, sample_rate: int | None, channels: int | None
) -> PcmFormat | None:
    """What the options say that raw samples on standard input are; None where they say that there are none."""
    from earmark.errors import UsageError
    from earmark.inference.pcm import PcmFormat

    if pcm is None:
        if sample_rate is not None or channels is not None:
            raise UsageError(
                "--sample-rate and --channels describe raw samples. Give --pcm too, or leave them out."
            )
        return None
    if source != "-":
        raise UsageError(
            f"--pcm describes standard input, and FILE is `{source}`. Give - and pipe the samples."
        )
    if sample_rate is None:
        raise UsageError(
            "raw samples do not say their rate. Give --sample-rate, such as --sample-rate 44100."
        )
    return PcmFormat(pcm, sample_rate, channels or 1)


def standard_input() -> BinaryIO:
    """The bytes that are piped in."""
    from earmark.errors import UsageError

    if sys.stdin.isatty():
        raise UsageError("standard input is a terminal; expected audio. Name a FILE, or pipe audio in.")
    return sys.stdin.buffer


def _changes(lines: Iterator[Line]) -> Iterator[Line]:
    """The lines whose label is not that of the line before, those that tell of an error, and the last."""
    label = None
    for line in lines:
        if line.get("final") or "error" in line or line["label"] != label:
            yield line
        label = line["label"]


def _writer(form: str, classes: tuple[str, ...]) -> Callable[[Line], str]:
    from earmark.cli.output import to_json

    if form == "json":
        return lambda line: to_json(line, indent=None)
    return _text if form == "table" else _CsvWriter(classes)


class _CsvWriter:
    """Rows of one CSV table, its header before the first."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self._classes = classes
        self._has_header = False

    def __call__(self, line: Line) -> str:
        from earmark.cli.output import render

        probabilities, so_far = line["probabilities"] or {}, line.get("so_far") or {}
        row = {
            **{name: line.get(name) for name in ("t", "final", "label", "since", "confidence")},
            **{f"p_{name}": probabilities.get(name) for name in self._classes},
            "so_far": so_far.get("label"),
            "error": line.get("error"),
        }
        header, _, body = render("csv", [row]).partition("\n")
        text = body if self._has_header else f"{header}\n{body}"
        self._has_header = True
        return text


def _text(line: Line) -> str:
    """A line for people: when, the label, the window's probabilities, the answer so far."""
    if line.get("error"):
        return f"{_clock(line['t'])}  {line['label'] or '-'}  {line['error']}\n"
    shown = "  ".join(f"{name} {p:.2f}" for name, p in (line["probabilities"] or {}).items())
    so_far = line.get("so_far")
    words = [_clock(line["t"]), f"{line['label'] or '-':<10}", shown or "too short for an answer"]
    if line.get("final"):
        words.insert(1, "the whole:")
    elif so_far:
        words.append(f"so far {so_far['label']} {max(so_far['probabilities'].values()):.2f}")
    words += line.get("warnings") or []
    return "  ".join(words).rstrip() + "\n"


def _echo_timeline(form: str, timeline: tuple[Segment, ...]) -> None:
    if form == "table" and timeline:
        click.echo("\nTimeline")
        for span in timeline:
            click.echo(f"{_clock(span.start_s)} - {_clock(span.end_s)}  {span.label}")


def _clock(seconds: float) -> str:
    """``3725`` -> ``1:02:05``; minutes and seconds below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:>2}:{rest:02}"
