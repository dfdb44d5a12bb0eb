"""Samples of a sound device, or of a recording at the pace at which it sounds.

Conventions: mono float32 at 22 050 Hz in pieces of 100 ms. The device is read by `earmark.inference.capture`: one that
goes away is opened again, and a reader that is a minute late stays with the present.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from earmark.errors import DecodeError, UsageError
from earmark.inference.capture import Capture
from earmark.inference.pcm import PcmDecoder, PcmFormat
from earmark.inference.sources import DeviceSource
from earmark.tasks.meter.schema import SAMPLE_RATE

__all__ = ["decoded", "microphone", "paced"]

Samples = NDArray[np.float32]

PIECE_S = 0.1
LONGEST_WAIT_S = 60.0
"""More than the ring of a listener holds is of no use to it."""


def microphone(device: str | int | None = None) -> Iterator[Samples]:
    """Pieces of what a sound device hears, until the caller stops.

    Raises
    ------
    MissingExtraError
        The package `sounddevice`, or the PortAudio library that it needs, is not installed.
    UsageError
        There is no such device, or it cannot be opened.
    """
    source = DeviceSource(device, sample_rate=SAMPLE_RATE, block_s=PIECE_S)
    capture = Capture(source, max_lag_s=LONGEST_WAIT_S, keep_s=LONGEST_WAIT_S / 2)
    try:
        for piece in capture.pieces():
            if len(piece.samples):
                yield piece.samples
    except DecodeError as problem:
        raise UsageError(str(problem)) from problem


def decoded(pieces: Iterable[Samples], rates: tuple[int, ...]) -> Iterator[Mapping[int, Samples]]:
    """Pieces of a microphone at every rate that is asked for."""
    decoder = PcmDecoder(PcmFormat("f32le", SAMPLE_RATE), rates, "<microphone>")
    for piece in pieces:
        yield decoder.push(piece.astype("<f4").tobytes())


def paced(pieces: Iterable[Mapping[int, Samples]], seconds_of: float) -> Iterator[Mapping[int, Samples]]:
    """Pieces of `seconds_of` seconds each, none given before a listener would have heard it."""
    started = time.monotonic()
    for number, piece in enumerate(pieces, 1):
        time.sleep(max(0.0, started + number * seconds_of - time.monotonic()))
        yield piece
