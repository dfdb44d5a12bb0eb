"""Files about an answer: beats as text, JAMS, and the song with clicks; each whole or not at all.

A file is named after its input; a second input of the same name gets ``-2``, and so on, so that nothing of one run
overwrites another's answer.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from earmark.audio.decode import decode
from earmark.audio.fragment import cut, split_fragment
from earmark.data.parquet import write_bytes_atomic
from earmark.tasks.meter.analysis.beats_file import beats_text
from earmark.tasks.meter.analysis.jams import jams
from earmark.tasks.meter.analysis.recording import Analysis
from earmark.tasks.meter.analysis.sonify import wav_bytes, with_clicks

__all__ = ["Exports"]

SONG_RATE = 44_100


@dataclass
class Exports:
    """Writes files about the answers of one run, into the folders that are given; these are made.

    Parameters
    ----------
    beats : Path, optional
        ``NAME.tsv``: time and number of each beat.
    jams : Path, optional
        ``NAME.jams``.
    sonify : Path, optional
        ``NAME.wav``: the recording with clicks, mono at 44.1 kHz; it is decoded again.
    """

    beats: Path | None = None
    jams: Path | None = None
    sonify: Path | None = None
    _taken: dict[Path, str] = field(default_factory=dict)

    def write(self, analysis: Analysis) -> None:
        """Write what was asked for about one answer."""
        if self.beats is not None:
            self._write(analysis, self.beats, ".tsv", beats_text(analysis.beats).encode())
        if self.jams is not None:
            text = json.dumps(jams(analysis), indent=2, allow_nan=False) + "\n"
            self._write(analysis, self.jams, ".jams", text.encode())
        if self.sonify is not None:
            self._write(analysis, self.sonify, ".wav", _sonified(analysis))

    def _write(self, analysis: Analysis, folder: Path, suffix: str, content: bytes) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(self._path(analysis.path, folder, suffix), content)

    def _path(self, source: str, folder: Path, suffix: str) -> Path:
        recording, part = split_fragment(source)
        stem = Path(recording).stem + (re.sub(r"[^\w.,-]+", "_", str(part)) if part else "")
        number = 1
        while True:
            path = folder / f"{stem}{f'-{number}' if number > 1 else ''}{suffix}"
            if self._taken.setdefault(path, source) == source:
                return path
            number += 1


def _sonified(analysis: Analysis) -> bytes:
    recording, part = split_fragment(analysis.path)
    clip = cut(decode(recording, sample_rate=SONG_RATE), part)
    return wav_bytes(with_clicks(clip, analysis.beats), SONG_RATE)
