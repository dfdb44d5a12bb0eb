"""A part of a recording as an input of its own: ``song.mp3#t=15,45`` is the song from 15 s to 45 s.

The form is that of W3C Media Fragments (www.w3.org/TR/media-frags, normal play time in seconds, both ends given). The
whole recording is decoded, then cut: cut and decoded the other way round, the resampler would meet other samples at the
ends, and the same part would have other features from a file than from a stream.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.errors import TooShortError

__all__ = ["Span", "cut", "cut_blocks", "fragment", "samples_of", "split_fragment"]

_FRAGMENT = re.compile(r"#t=(\d+(?:\.\d+)?),(\d+(?:\.\d+)?)$")


@dataclass(frozen=True, slots=True)
class Span:
    """From `start_s` up to, not including, `end_s`; seconds from the start of the recording, ``start_s < end_s``."""

    start_s: float
    end_s: float

    def __str__(self) -> str:
        return f"#t={_seconds(self.start_s)},{_seconds(self.end_s)}"


def fragment(uri: str, start_s: float, end_s: float) -> str:
    """The uri of a part of `uri`."""
    return f"{uri}{Span(start_s, end_s)}"


def split_fragment(uri: str) -> tuple[str, Span | None]:
    """The recording that `uri` names, and which part of it; None for the whole.

    A file that bears such a name in full is itself.
    """
    found = _FRAGMENT.search(uri)
    if found is None or Path(uri).exists():
        return uri, None
    start_s, end_s = float(found[1]), float(found[2])
    return (uri[: found.start()], Span(start_s, end_s)) if start_s < end_s else (uri, None)


def _seconds(value: float) -> str:
    """To the microsecond, which is less than a sample at any rate of audio."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def cut(clip: Clip, span: Span | None) -> Clip:
    """The part of a clip, which ends with the clip where the span reaches further.

    Raises
    ------
    TooShortError
        The clip ends before the span begins.
    """
    if span is None:
        return clip
    first, end = samples_of(span, len(clip.samples), clip.sample_rate, clip.uri)
    return Clip(clip.samples[first:end], clip.sample_rate, f"{clip.uri}{span}" if clip.uri else None)


def cut_blocks(
    blocks: Iterable[NDArray[np.float32]], span: Span | None, *, sample_rate: int, uri: str | None = None
) -> Iterator[NDArray[np.float32]]:
    """`cut` for a recording that comes in blocks; all are read, since damage may show at the end.

    Raises
    ------
    TooShortError
        The recording ends before the span begins.
    """
    if span is None:
        yield from blocks
        return
    first, end = (round(edge * sample_rate) for edge in (span.start_s, span.end_s))
    n_read = 0
    for block in blocks:
        yield block[max(0, first - n_read) : max(0, end - n_read)]
        n_read += len(block)
    samples_of(span, n_read, sample_rate, uri)


def samples_of(span: Span, n_samples: int, sample_rate: int, uri: str | None) -> tuple[int, int]:
    """First sample of a part, and the one behind its last, in a recording of `n_samples`; errors as of `cut`."""
    first, end = (round(edge * sample_rate) for edge in (span.start_s, span.end_s))
    if first >= n_samples:
        raise TooShortError(
            f"{uri or 'the clip'} ends at {n_samples / sample_rate:.1f} s, before {span} begins. "
            "Name a part of it, or the whole recording."
        )
    return first, min(end, n_samples)
