"""Raw samples as they arrive, to mono at the rates of the feature groups: `decode`, in pieces.

The samples are those that `earmark.audio.decode.decode` gives for a wav file of the same numbers, bit for bit and
whatever the pieces: channels are averaged with equal weight, and soxr resamples at quality HQ. Raw samples have no
header, so their rate, channels and encoding must be told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.audio.decode import MAX_ABS_SAMPLE, RATES_HZ
from earmark.errors import DecodeError, UsageError

__all__ = ["ENCODINGS", "PcmDecoder", "PcmFormat"]

Samples = NDArray[np.float32]

ENCODINGS = {"s16le": "<i2", "f32le": "<f4"}
"""Name, as FFmpeg spells it, and numpy's type: little endian, channels interleaved."""

FULL_SCALE_16 = np.float32(1 / 32768)
BLOCK_S = 0.1  # pieces are gathered to this length, so that a stream of single samples is not a list of them


@dataclass(frozen=True)
class PcmFormat:
    """What raw samples are.

    Parameters
    ----------
    encoding : {"s16le", "f32le"}
    sample_rate : int
        Hz.
    channels : int
        Interleaved.

    Raises
    ------
    UsageError
        An unknown encoding, or a rate or number of channels that no audio has.
    """

    encoding: str
    sample_rate: int
    channels: int = 1

    def __post_init__(self) -> None:
        lowest, highest = RATES_HZ
        if self.encoding not in ENCODINGS:
            raise UsageError(
                f"the encoding is {self.encoding!r}; expected one of {', '.join(ENCODINGS)}. Convert the samples."
            )
        if not lowest <= self.sample_rate <= highest:
            raise UsageError(
                f"the sample rate is {self.sample_rate} Hz; expected {lowest} to {highest} Hz. Name the real one."
            )
        if self.channels < 1:
            raise UsageError(f"there are {self.channels} channels; expected 1 or more.")

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * np.dtype(ENCODINGS[self.encoding]).itemsize

    def frames(self, data: bytes) -> Samples:
        """Whole frames as float32, shape (n_frames, channels), integers scaled to [-1, 1)."""
        raw = np.frombuffer(data, ENCODINGS[self.encoding]).reshape(-1, self.channels)
        frames = raw.astype(np.float32)
        return frames * FULL_SCALE_16 if self.encoding == "s16le" else frames


class PcmDecoder:
    """Turns raw bytes into mono samples at several rates.

    Parameters
    ----------
    pcm : PcmFormat
    rates : iterable of int
        Hz.
    name : str
        Of the source, for messages.
    """

    def __init__(self, pcm: PcmFormat, rates: Iterable[int], name: str) -> None:
        self.pcm = pcm
        self.name = name
        self._resamplers = {rate: _Resampler(pcm.sample_rate, rate) for rate in sorted(set(rates))}
        self._bytes = bytearray()
        self._n_frames = 0

    def push(self, data: bytes) -> dict[int, Samples]:
        """The next bytes, of any number; gives what can be given at each rate, which may be nothing.

        Raises
        ------
        DecodeError
            A sample is not finite, or so large that it cannot be a sample.
        """
        self._bytes += data
        block = max(1, round(BLOCK_S * self.pcm.sample_rate)) * self.pcm.frame_bytes
        whole = len(self._bytes) // block * block
        return self._resampled(self._taken(whole), last=False)

    def finish(self) -> dict[int, Samples]:
        """The rest, after the last bytes.

        Raises
        ------
        DecodeError
            There was nothing, or the last frame is not whole.
        """
        left = len(self._bytes) % self.pcm.frame_bytes
        if not self._n_frames and len(self._bytes) < self.pcm.frame_bytes:
            raise DecodeError(
                f"`{self.name}` gave {len(self._bytes)} bytes and ended. Expected raw samples of "
                f"{self.pcm.frame_bytes} bytes a frame. Check the program that feeds it."
            )
        if left:
            raise DecodeError(
                f"`{self.name}` ends inside a frame: {left} bytes are left over. Expected frames of "
                f"{self.pcm.frame_bytes} bytes ({self.pcm.encoding}, channels: {self.pcm.channels}). It was cut short, "
                "or --pcm or --channels say something else than it holds."
            )
        return self._resampled(self._taken(len(self._bytes)), last=True)

    def _taken(self, n_bytes: int) -> bytes:
        taken = bytes(self._bytes[:n_bytes])
        del self._bytes[:n_bytes]
        return taken

    def _resampled(self, data: bytes, *, last: bool) -> dict[int, Samples]:
        frames = self._checked(self.pcm.frames(data))
        mono = _mono(frames)
        return {rate: resampler.push(mono, last=last) for rate, resampler in self._resamplers.items()}

    def _checked(self, frames: Samples) -> Samples:
        bad = ~(np.abs(frames) <= MAX_ABS_SAMPLE).all(axis=1)
        if bad.any():
            at = int(np.argmax(bad))
            value = frames[at][np.argmax(~(np.abs(frames[at]) <= MAX_ABS_SAMPLE))]
            raise DecodeError(
                f"`{self.name}` has the sample {value} at {(self._n_frames + at) / self.pcm.sample_rate:.2f} s. "
                "Expected finite samples, about -1 to 1. Check --pcm: the bytes may be of another encoding."
            )
        self._n_frames += len(frames)
        return frames


class _Resampler:
    """One channel to one rate; soxr gives the same samples for the same signal in any pieces."""

    def __init__(self, source_rate: int, rate: int) -> None:
        import soxr

        self._stream: Any = None
        if source_rate != rate:
            self._stream = soxr.ResampleStream(source_rate, rate, 1, dtype="float32", quality="HQ")

    def push(self, mono: Samples, *, last: bool) -> Samples:
        if self._stream is None:
            return mono
        resampled: Samples = self._stream.resample_chunk(mono, last=last)
        return resampled


def _mono(frames: Samples) -> Samples:
    """Mean over channels, added up in the order in which `decode` adds."""
    total = frames[:, 0].copy()
    for channel in frames.T[1:]:
        total += channel
    if frames.shape[1] > 1:
        total *= np.float32(1.0 / frames.shape[1])
    return total
