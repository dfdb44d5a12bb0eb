"""`earmark live meter`: what a microphone hears, while it hears it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.meter.answering import answer_options, opened_analyst
from earmark.cli.meter.listening import pcm_options, print_messages
from earmark.cli.options import Invocation, command

if TYPE_CHECKING:
    from earmark.inference.pcm import PcmFormat
    from earmark.tasks.meter.serving.live import Listener

__all__ = ["live"]


@command("live")
@click.option(
    "--input", "source", metavar="FILE", help="A recording at its own pace, or - for samples from a pipe."
)
@click.option("--device", help="Sound device, by name or number (default: that of the system).")
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), help="End after so many seconds.")
@click.option(
    "--all", "every", is_flag=True, help="Give late answers too, instead of staying with the present."
)
@pcm_options
@answer_options
@click.pass_obj
def live(
    invocation: Invocation,
    /,
    source: str | None,
    device: str | None,
    duration: float | None,
    every: bool,
    pcm: str | None,
    sample_rate: int | None,
    channels: int | None,
    **asked: Any,
) -> int:
    """Hear a microphone, and tell tempo and meter after 8 s, then every 0.5 s, later every 2 s. Ctrl-C ends it.

    Lines are those of `earmark stream meter`, without an answer of the whole; on a terminal they are text. Nothing is
    recorded or kept. A microphone needs the extra `live`; --input needs none.

    \b
    Examples:
      earmark live meter
      earmark live meter --input song.mp3
      arecord -f S16_LE -r 44100 | earmark live meter --input - --pcm s16le --sample-rate 44100
    """
    from earmark.cli.stream import pcm_format
    from earmark.tasks.meter.serving.live import Listener

    raw = pcm_format(source or "", pcm, sample_rate, channels)
    analyst = opened_analyst(invocation, **asked)
    listener = Listener(analyst, source or "<microphone>", catch_up=not every)
    pieces = _pieces(listener, source, device, raw)
    heard = takewhile(lambda _: duration is None or listener.signal.duration_s < duration, pieces)
    print_messages(invocation, (message for piece in heard for message in listener.hear(piece)))
    return 0


def _pieces(
    listener: Listener, source: str | None, device: str | None, raw: PcmFormat | None
) -> Iterator[Mapping[int, Any]]:
    from earmark.cli.stream import standard_input
    from earmark.tasks.meter.serving.microphone import decoded, microphone, paced
    from earmark.tasks.meter.serving.stream import PIECE_S, pieces_of_file, pieces_of_pcm

    if source is None:
        number = int(device) if device is not None and device.isdigit() else device
        return decoded(microphone(number), listener.rates)
    if source == "-" and raw is not None:
        return pieces_of_pcm(standard_input(), raw, listener.rates)
    return paced(pieces_of_file(standard_input() if source == "-" else source, listener.rates), PIECE_S)
