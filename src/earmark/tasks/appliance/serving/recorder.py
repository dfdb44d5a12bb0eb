"""`collect`: one take of a room in a known state, named by the pattern, whole or not at all.

What was lost while recording cannot be mended, and a gap would be taught as sound: where audio was dropped or the
device went away, nothing is written. A file of the same name is never replaced; the next take has the next number.

Conventions: mono at the rate of the device; levels in dBFS of 100 ms.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earmark.audio.levels import amplitude_dbfs, root_mean_square
from earmark.errors import InputError, UsageError
from earmark.inference.capture import Piece
from earmark.tasks.appliance.names import NamePattern
from earmark.tasks.appliance.serving.health import CLIPPED_SHARE, FULL_SCALE

__all__ = ["FORMATS", "Meter", "Take", "encoded", "parse_facts", "record", "write_take"]

Samples = NDArray[np.float32]

FORMATS = ("m4a", "flac", "wav")
AAC_BITS_PER_S = 192_000
METER_S = 0.1


@dataclass(frozen=True)
class Meter:
    """What was heard in the last 100 ms: seconds so far, RMS and peak in dBFS, samples at full scale so far."""

    seconds: float
    rms_dbfs: float
    peak_dbfs: float
    n_clipped: int


@dataclass(frozen=True)
class Take:
    """A recording: samples, rate in Hz, and how often the device lost a few samples."""

    samples: Samples
    sample_rate: int
    n_overflows: int

    @property
    def clipped_share(self) -> float:
        """Share of samples at full scale."""
        return float(np.mean(np.abs(self.samples) >= FULL_SCALE)) if len(self.samples) else 0.0

    @property
    def rms_dbfs(self) -> float:
        """Level of the whole."""
        return float(amplitude_dbfs(root_mean_square(self.samples)))

    @property
    def warnings(self) -> list[str]:
        """What to know before it is used."""
        found = []
        if self.clipped_share > CLIPPED_SHARE:
            found.append(f"{self.clipped_share:.1%} of the samples are at full scale: turn the gain down")
        if not self.samples.any():
            found.append("every sample is exactly zero: the microphone is muted or unplugged")
        if self.n_overflows:
            found.append(f"the device lost a few samples {self.n_overflows} times")
        return found


def parse_facts(text: str) -> dict[str, bool]:
    """``ac=on,fridge=off`` as facts.

    Raises
    ------
    UsageError
        It has another form, or names a device twice.
    """
    facts: dict[str, bool] = {}
    for part in text.split(","):
        name, sign, word = part.strip().partition("=")
        if not name or not sign or word not in ("on", "off") or name in facts:
            raise UsageError(
                f"--set has {part.strip()!r}; expected each device once, as in ac=on,fridge=off."
            )
        facts[name] = word == "on"
    return facts


def record(
    pieces: Iterable[Piece],
    sample_rate: int,
    seconds: float,
    *,
    on_level: Callable[[Meter], None] = lambda _meter: None,
) -> Take:
    """Gather samples until there are enough.

    Raises
    ------
    InputError
        Audio was lost, the source went away, or it ended too soon.
    """
    wanted, n_held, n_overflows, n_clipped = round(seconds * sample_rate), 0, 0, 0
    held: list[Samples] = []
    size = max(1, round(METER_S * sample_rate))
    for piece in pieces:
        _require_whole(piece, n_held / sample_rate)
        n_overflows += piece.overflowed
        held.append(piece.samples)
        for start in range(0, len(piece.samples), size):
            frame = piece.samples[start : start + size]
            n_held += len(frame)
            n_clipped += int(np.count_nonzero(np.abs(frame) >= FULL_SCALE))
            on_level(_meter(frame, n_held / sample_rate, n_clipped))
        if n_held >= wanted:
            return Take(np.concatenate(held)[:wanted], sample_rate, n_overflows)
    raise InputError(
        f"the source ended after {n_held / sample_rate:.1f} s of {seconds:g} s; nothing was written. Record again."
    )


def write_take(
    take: Take,
    folder: Path,
    pattern: NamePattern,
    facts: Mapping[str, bool],
    daypart: str,
    form: str = "flac",
) -> Path:
    """Write a take under the first free name; nothing is replaced, also by two that record at once.

    Raises
    ------
    UsageError
        The facts or the daypart are not of the pattern.
    """
    data = encoded(take, form)
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder, prefix=".take-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        number = 1
        while True:
            stem = pattern.name(facts, daypart, take=number)
            number += 1
            if any(
                folder.glob(f"{stem}.*")
            ):  # also of another suffix: two equal stems are an error of `prepare`
                continue
            target = folder / f"{stem}.{form}"
            try:
                os.link(name, target)  # unlike a rename it fails where the name was taken meanwhile
            except FileExistsError:
                continue
            return target
    finally:
        Path(name).unlink()


def encoded(take: Take, form: str) -> bytes:
    """A take as the bytes of a file: AAC in m4a, or flac and wav with 24 bits."""
    buffer = io.BytesIO()
    if form == "m4a":
        _encode_aac(buffer, take)
    else:
        import soundfile

        soundfile.write(buffer, take.samples, take.sample_rate, format=form.upper(), subtype="PCM_24")
    return buffer.getvalue()


def _encode_aac(buffer: io.BytesIO, take: Take) -> None:
    import av

    with av.open(buffer, "w", format="ipod") as container:
        stream = container.add_stream("aac", rate=take.sample_rate, layout="mono", bit_rate=AAC_BITS_PER_S)
        frame = av.AudioFrame.from_ndarray(take.samples[None, :], format="fltp", layout="mono")
        frame.sample_rate = take.sample_rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)


def _require_whole(piece: Piece, at_s: float) -> None:
    if piece.problem is not None or piece.reopened or piece.lost_s > 0:
        reason = piece.problem or "audio was lost"
        raise InputError(
            f"{reason} after {at_s:.1f} s; nothing was written. Check the microphone and record again."
        )


def _meter(frame: Samples, seconds: float, n_clipped: int) -> Meter:
    rms, largest = root_mean_square(frame), float(np.abs(frame).max())
    return Meter(seconds, float(amplitude_dbfs(rms)), float(amplitude_dbfs(largest)), n_clipped)
