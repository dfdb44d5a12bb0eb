"""Samples of a sound device, or of a recording at the pace at which it sounds.

Conventions: mono float32 at 22 050 Hz in pieces of 100 ms; a piece that had to wait joins the next, so a slow reader
gets longer pieces, never a growing queue.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.errors import MissingExtraError, UsageError
from earmark.inference.pcm import PcmDecoder, PcmFormat
from earmark.tasks.meter.schema import SAMPLE_RATE

__all__ = ["decoded", "devices", "microphone", "paced"]

Samples = NDArray[np.float32]

PIECE_SAMPLES = SAMPLE_RATE // 10
LONGEST_WAIT_S = 60.0
"""More than the ring of a listener holds is of no use to it."""


def microphone(device: str | int | None = None) -> Iterator[Samples]:
    """Pieces of what a sound device hears, until the caller stops; at least 100 ms each.

    Raises
    ------
    MissingExtraError
        The package `sounddevice`, or the PortAudio library that it needs, is not installed.
    UsageError
        There is no such device, or it cannot be opened.
    """
    sound = _sound_library()
    pieces: queue.Queue[Samples] = queue.Queue(maxsize=int(10 * LONGEST_WAIT_S))

    def keep(data: Samples, _n: int, _time: Any, _status: Any) -> None:
        if pieces.full():
            pieces.get_nowait()
        pieces.put_nowait(data[:, 0].copy())

    try:
        with sound.InputStream(
            samplerate=SAMPLE_RATE,
            channels=1,
            dtype="float32",
            device=device,
            blocksize=PIECE_SAMPLES,
            callback=keep,
        ):
            while True:
                yield _all_of(pieces)
    except (sound.PortAudioError, ValueError) as problem:
        raise UsageError(
            f"the sound device {'that is the default' if device is None else repr(device)} cannot be opened "
            f"({problem}). Expected a microphone. Name one of: {', '.join(devices()) or 'none was found'}."
        ) from problem


def decoded(pieces: Iterable[Samples], rates: tuple[int, ...]) -> Iterator[Mapping[int, Samples]]:
    """Pieces of a microphone at every rate that is asked for."""
    decoder = PcmDecoder(PcmFormat("f32le", SAMPLE_RATE), rates, "<microphone>")
    for piece in pieces:
        yield decoder.push(piece.astype("<f4").tobytes())


def devices() -> list[str]:
    """Names of the sound devices that can hear."""
    sound = _sound_library()
    return [str(one["name"]) for one in sound.query_devices() if one["max_input_channels"] > 0]


def paced(pieces: Iterable[Mapping[int, Samples]], seconds_of: float) -> Iterator[Mapping[int, Samples]]:
    """Pieces of `seconds_of` seconds each, none given before a listener would have heard it."""
    started = time.monotonic()
    for number, piece in enumerate(pieces, 1):
        time.sleep(max(0.0, started + number * seconds_of - time.monotonic()))
        yield piece


def _all_of(pieces: queue.Queue[Samples]) -> Samples:
    """Everything that waits, and at least one piece."""
    found = [pieces.get()]
    while not pieces.empty():
        found.append(pieces.get_nowait())
    return np.concatenate(found)


def _sound_library() -> Any:
    try:
        return import_module("sounddevice")
    except (ImportError, OSError):  # the package loads PortAudio when it is imported
        raise MissingExtraError("sounddevice", "live", "Hearing a microphone") from None
