"""What `live` and `collect` of the task `appliance` have in common: where sound comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.meter.listening import pcm_options
from earmark.cli.options import Invocation

if TYPE_CHECKING:
    from earmark.inference.capture import Capture, Piece, Source

__all__ = ["complaining", "opened_capture", "print_devices", "source_options"]


def source_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """A sound device, or in its place a file, an address, or a pipe."""
    for option in (
        click.option("--list-devices-json", is_flag=True, help="The same as JSON."),
        click.option("--list-devices", is_flag=True, help="Print the sound devices that can hear, and end."),
        pcm_options,
        click.option("--as-fast-as-possible", is_flag=True, help="Of --input: do not wait for the clock."),
        click.option(
            "--input",
            "source",
            metavar="FILE",
            help="A recording, an address (rtsp://, http://), or a pipe; - is standard input.",
        ),
        click.option(
            "--max-lag-sec", type=click.FloatRange(min=0, min_open=True), help="Seconds that may wait."
        ),
        click.option(
            "--sd-device", "sd_device", help='Sound device: number, name or part of one; "" is the default.'
        ),
    ):
        function = option(function)
    return function


def print_devices(invocation: Invocation, *, as_json: bool) -> None:
    """The sound devices, as rows or as one document."""
    from earmark.cli.output import emit, note, to_json
    from earmark.inference.sources import input_devices

    found = input_devices()
    if as_json:
        click.echo(to_json(found), nl=False)
    else:
        emit(invocation, found["devices"], document=found)
    if not found["devices"]:
        note(
            invocation,
            "No sound device that can hear was found. Plug a microphone in, or name a file: --input",
        )


def opened_capture(
    given: dict[str, Any],
    *,
    sample_rate: int,
    file_rate: int,
    block_s: float,
    device: str | int,
    max_lag_s: float,
    keep_s: float,
) -> Capture:
    """Whatever the options name, not yet started.

    Parameters
    ----------
    sample_rate, file_rate : int
        Hz of a sound device, and of what FFmpeg opens.
    """
    from earmark.inference.capture import Capture

    source = _source(given, sample_rate, file_rate, block_s, device)
    return Capture(source, max_lag_s=max_lag_s, keep_s=keep_s)


def _source(
    given: dict[str, Any], sample_rate: int, file_rate: int, block_s: float, device: str | int
) -> Source:
    from earmark.cli.stream import pcm_format, standard_input
    from earmark.inference.sources import DeviceSource, MediaSource, PcmSource, is_pipe

    name, is_hurried = given["source"], given["as_fast_as_possible"]
    if name is None:
        number = int(device) if isinstance(device, str) and device.isdigit() else device
        return DeviceSource(number, sample_rate=sample_rate, block_s=block_s)
    is_raw = name == "-" or is_pipe(name)
    pcm = pcm_format("-" if is_raw else name, given["pcm"], given["sample_rate"], given["channels"])
    if pcm is None and is_raw:
        from earmark.errors import UsageError

        raise UsageError(
            f"`{name}` is a pipe, which does not say what it holds. Give --pcm and --sample-rate."
        )
    if pcm is None:
        return MediaSource(name, sample_rate=file_rate, is_paced=not is_hurried)
    return PcmSource(standard_input().fileno() if name == "-" else name, pcm, waits=is_hurried)


def complaining(invocation: Invocation) -> Callable[[Piece], None]:
    """Tells people, once each time, what was lost and that a source went away or came back."""
    from earmark.cli.output import note

    away: list[str] = []

    def complain(piece: Piece) -> None:
        if piece.problem is not None and not away:
            away.append(piece.problem)
            note(invocation, f"The source is away: {piece.problem}. It is tried again; the state is held.")
        if piece.reopened:
            away.clear()
            note(invocation, "The source is back.")
        if piece.lost_s > 0:
            note(invocation, f"{piece.lost_s:.1f} s of audio were dropped: this machine was too slow.")
        if piece.overflowed:
            note(invocation, "The sound device lost samples (overflow).")

    return complain
