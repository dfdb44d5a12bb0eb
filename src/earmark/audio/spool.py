"""Recordings too long for memory: decoded once into a temporary file, cut from there.

A set of two hours is 635 MB of samples at 22 050 Hz, twice that while it is decoded, and that in every worker. On the
disk it takes the same room and no memory; a part of it is read in a millisecond. Parts are the samples that `decode`
and `cut` give, bit for bit.

The file has no name and vanishes with the process. It lies where temporary files lie (``TMPDIR``).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from earmark.audio.clip import Clip
from earmark.audio.decode import decode_into
from earmark.audio.fragment import Span, samples_of

__all__ = ["SPOOL_S", "Spool", "spool"]

SPOOL_S = 1200.0
"""Recordings longer than this are not held in memory: 106 MB at 22 050 Hz."""
BYTES_PER_SAMPLE = 4


@dataclass(frozen=True)
class Spool:
    """A decoded recording on the disk; `spool` makes one."""

    file: BinaryIO
    n_samples: int
    sample_rate: int
    uri: str

    def __del__(self) -> None:
        self.file.close()

    def cut(self, span: Span) -> Clip:
        """A part of the recording; errors as of `earmark.audio.fragment.cut`."""
        first, end = samples_of(span, self.n_samples, self.sample_rate, self.uri)
        self.file.seek(first * BYTES_PER_SAMPLE)
        stored = bytearray(
            self.file.read((end - first) * BYTES_PER_SAMPLE)
        )  # writable, as decoded samples are
        return Clip(np.frombuffer(stored, dtype=np.float32), self.sample_rate, f"{self.uri}{span}")


def spool(recording: str, *, sample_rate: int) -> Spool:
    """Decode a recording into a temporary file.

    Raises
    ------
    DecodeError
        As `earmark.audio.decode.decode`.
    OSError
        There is no room for it.
    """
    file = tempfile.TemporaryFile(prefix="earmark-")  # noqa: SIM115  closed with the last reference to the spool
    try:
        n_samples = decode_into(file, recording, sample_rate=sample_rate)
    except BaseException:
        file.close()
        raise
    return Spool(file, n_samples, sample_rate, recording)
