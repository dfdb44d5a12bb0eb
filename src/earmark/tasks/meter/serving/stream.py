"""`stream meter`: the messages of a listener about a recording as it runs, and in the end the answer of a batch.

Raw samples are answered as they come, in pieces of any size; the bytes of a file are read to their end first, since
only then is it known whether the file is whole. The last line is the document that `predict` gives for the same
samples, to the last bit; for a file it comes through the same cache.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from earmark.audio.decode import decode
from earmark.audio.fragment import cut, split_fragment
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
            return pieces_of_file(_Bytes(self.source.read()), rates)
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
    """A decoded recording, or the part of it that is named, a second at a time."""
    recording, part = split_fragment(source) if isinstance(source, str) else (source, None)
    with exempt(str(recording)):
        clips = {rate: cut(decode(recording, sample_rate=rate), part) for rate in rates}
    n_pieces = max(-(-len(clip.samples) // round(PIECE_S * rate)) for rate, clip in clips.items())
    for k in range(n_pieces):
        yield {
            rate: clip.samples[round(k * PIECE_S * rate) : round((k + 1) * PIECE_S * rate)]
            for rate, clip in clips.items()
        }


class _Bytes(io.BytesIO):
    """The bytes of a file from standard input; the decoder's messages name it so."""

    name = STDIN
