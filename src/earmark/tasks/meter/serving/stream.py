"""`stream meter`: the messages of a listener about a recording as it runs, and in the end the answer of a batch.

Raw samples are answered as they come, in pieces of any size, and a file as it is decoded, so memory does not grow with
its length. Damage that shows only in the midst of a file ends the messages there. The last line is the document that
`predict` gives for the same samples, to the last bit; for a file it comes through the same cache.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from earmark.audio.decode import decode_blocks
from earmark.audio.fragment import Span, cut_blocks, split_fragment
from earmark.cache.data_files import exempt
from earmark.inference.pcm import PcmDecoder, PcmFormat
from earmark.tasks.meter.serving.heard import Recording
from earmark.tasks.meter.serving.live import Listener
from earmark.tasks.meter.serving.predict import Analyst, document_of

__all__ = ["STDIN", "Stream", "pieces_of_file", "pieces_of_pcm"]

Pieces = Iterator[Mapping[int, NDArray[np.float32]]]

STDIN = "<stdin>"
READ_BYTES = 1 << 14
PIECE_S = 1.0


@dataclass(frozen=True)
class Stream:
    """A source and who answers about it.

    Parameters
    ----------
    analyst : Analyst
    source : str or binary file
        A path or URI, or an open file.
    pcm : PcmFormat or None
        What the raw samples of an open file are; None where it holds the bytes of an audio file.
    use_cache : bool
        For the answer of the whole, where the source is a path.
    """

    analyst: Analyst
    source: str | BinaryIO
    pcm: PcmFormat | None = None
    use_cache: bool = True

    def lines(self) -> Iterator[dict[str, Any]]:
        """Messages as they fall due, then the document of the whole; a failure is a line with ``error``.

        Raises
        ------
        InputError
            The source is no audio, or cut short.
        """
        name = self.source if isinstance(self.source, str) else STDIN
        listener = Listener(self.analyst, name)
        recording = None if isinstance(self.source, str) else Recording(self.analyst, name)
        for samples in self._pieces(listener.rates):
            yield from listener.hear(samples)
            if recording is not None:
                recording.hear(samples)
        if recording is not None:
            yield document_of(recording.finish())
        else:
            yield from map(document_of, self.analyst.files([name], workers=0, use_cache=self.use_cache))

    def _pieces(self, rates: tuple[int, ...]) -> Pieces:
        if isinstance(self.source, str):
            return pieces_of_file(self.source, rates)
        if self.pcm is None:
            return pieces_of_file(self.source, rates)
        return pieces_of_pcm(self.source, self.pcm, rates)


def pieces_of_pcm(source: BinaryIO, pcm: PcmFormat, rates: tuple[int, ...], name: str = STDIN) -> Pieces:
    """Raw samples as they come, mono at each rate."""
    decoder = PcmDecoder(pcm, rates, name)
    # Of a pipe `read` waits for the full number of bytes; a message must not wait for those after it.
    read = getattr(source, "read1", source.read)
    while data := read(READ_BYTES):
        yield decoder.push(data)
    yield decoder.finish()


def pieces_of_file(source: str | BinaryIO, rates: tuple[int, ...]) -> Pieces:
    """A recording as it is decoded, or the part of it that is named, a second at a time."""
    recording, part = split_fragment(source) if isinstance(source, str) else (source.read(), None)
    nothing = np.empty(0, dtype=np.float32)
    with exempt(str(recording)) if isinstance(recording, str) else nullcontext():
        of_rate = [_seconds_of(recording, part, rate) for rate in rates]
        for pieces in zip_longest(*of_rate, fillvalue=nothing):
            yield dict(zip(rates, pieces, strict=True))


def _seconds_of(recording: str | bytes, part: Span | None, rate: int) -> Iterator[NDArray[np.float32]]:
    """Pieces of `PIECE_S`, the last one shorter."""
    source = recording if isinstance(recording, str) else _Bytes(recording)
    name = recording if isinstance(recording, str) else STDIN
    blocks = cut_blocks(decode_blocks(source, sample_rate=rate), part, sample_rate=rate, uri=name)
    n, held = round(PIECE_S * rate), np.empty(0, dtype=np.float32)
    for block in blocks:
        held = np.concatenate([held, block])
        whole = len(held) // n * n
        yield from np.split(held[:whole], range(n, whole, n)) if whole else ()
        held = held[whole:]
    if len(held):
        yield held


class _Bytes(io.BytesIO):
    """The bytes of a file from standard input; the decoder's messages name it so."""

    name = STDIN
