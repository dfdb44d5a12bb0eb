"""What was heard when a device switched: the seconds around each event, kept as a file to listen to.

`Clips` cuts them from what is heard and hands them on; `ClipFolder` writes them, whole, and removes the oldest;
`Background` lets a thread do so, so that a slow disk never holds up what listens. Nothing else is kept.

Conventions: a clip is centred on the middle of the window that told of the switch, mono at the rate of the detector;
audio that was lost is missing in it. Clips are named ``clip_<when>_<device>-<on|off>.flac``; other files of the folder
are not touched.
"""

from __future__ import annotations

import queue
import re
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earmark.data.parquet import write_bytes_atomic
from earmark.inference.windows import Heard
from earmark.tasks.appliance.serving.engine import Answered
from earmark.tasks.appliance.serving.recorder import Take, encoded

__all__ = ["CLIP_NAME", "Background", "ClipFolder", "Clips", "Write", "time_of_day"]

Samples = NDArray[np.float32]
Write = Callable[[str, Samples], None]

CLIP_NAME = r"clip_[\w.+-]{1,120}(_[a-z][a-z0-9_]{0,40}-(on|off)){1,8}\.flac"
"""Pattern of the names."""

N_WAITING = 16
"""Clips that a slow disk may be behind."""


def time_of_day(timestamp: float) -> str:
    """Seconds of the Unix epoch as they stand in a name: ``20260102T101500.250Z``."""
    when = datetime.fromtimestamp(timestamp, UTC)
    return f"{when:%Y%m%dT%H%M%S}.{when.microsecond // 1000:03d}Z"


class ClipFolder:
    """A folder of clips that does not grow without end.

    Parameters
    ----------
    folder : Path
    sample_rate : int
        Hz of what is written.
    keep : int
        Clips at most; the oldest are removed.
    """

    def __init__(self, folder: Path, sample_rate: int, keep: int = 200) -> None:
        self._folder, self._sample_rate, self._keep = folder, sample_rate, keep

    def write(self, name: str, samples: Samples) -> None:
        """Write a clip, whole or not at all, and remove what is too much."""
        write_bytes_atomic(
            self._folder / name, encoded(Take(samples, self._sample_rate, n_overflows=0), "flac")
        )
        for path in self._by_age()[: -self._keep]:
            path.unlink(missing_ok=True)

    def _by_age(self) -> list[Path]:
        found = []
        for path in self._folder.glob("clip_*.flac"):
            with suppress(FileNotFoundError):  # another program has just removed it
                if re.fullmatch(CLIP_NAME, path.name):
                    found.append((path.stat().st_mtime_ns, path.name, path))
        return [path for _, _, path in sorted(found)]


class Background:
    """Writes in a thread; what finds no room behind a slow disk is left out, and told.

    Parameters
    ----------
    write : callable
        Of a name and samples.
    on_loss : callable
        Told, once each time, why clips are left out.
    """

    def __init__(self, write: Write, on_loss: Callable[[str], None]) -> None:
        self._write, self._on_loss = write, on_loss
        self._waiting: queue.Queue[tuple[str, Samples] | None] = queue.Queue(N_WAITING)
        self._is_losing = False
        self._thread = threading.Thread(target=self._run, name="earmark clips", daemon=True)
        self._thread.start()

    def write(self, name: str, samples: Samples) -> None:
        """Have a clip written; never waits."""
        try:
            self._waiting.put_nowait((name, samples))
        except queue.Full:
            self._lose("the disk is too slow")

    def close(self) -> None:
        """Wait for what is not written yet."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (clip := self._waiting.get()) is not None:
            try:
                self._write(*clip)
            except OSError as error:
                self._lose(f"`{error.filename}`: {error.strerror}")
            else:
                self._is_losing = False

    def _lose(self, reason: str) -> None:
        if not self._is_losing:
            self._is_losing = True
            self._on_loss(f"clips of events are left out: {reason}. What is heard is answered as before.")


class Clips:
    """Cuts the seconds around each switch out of what is heard.

    Parameters
    ----------
    write : callable
        Given the name and the samples of each clip, as soon as all of it was heard.
    sample_rate : int
        Hz.
    seconds : float
        Of a clip.

    Examples
    --------
    ::

        engine = Engine(detector, rule, on_heard=clips.hear)
        for answered in engine.hear(samples):
            clips.take(answered, time_of_day(now))
        clips.close()
    """

    def __init__(self, write: Write, sample_rate: int, seconds: float = 12.0) -> None:
        self._write, self._rate = write, sample_rate
        self._n_samples = round(seconds * sample_rate)
        self._heard = Heard()
        self._wanted: deque[tuple[str, int, int]] = deque()  # name, first sample, the one behind

    def hear(self, samples: Samples) -> None:
        """Take the next samples; they are not to be written to afterwards."""
        self._heard.append(samples)
        while self._wanted and self._wanted[0][2] <= self._heard.length:
            self._cut()

    def take(self, answered: Answered, when: str) -> str | None:
        """Remember to keep a clip if a device switched in a window; its name, or None.

        Parameters
        ----------
        when : str
            What tells this clip from others, as `time_of_day`.
        """
        window = answered.window
        first = round((window.start_s + window.end_s) / 2 * self._rate) - self._n_samples // 2
        self._forget(first)
        if not answered.decided.events:
            return None
        devices = "".join(f"_{one.device}-{one.kind}" for one in answered.decided.events)
        name = f"clip_{re.sub(r'[^A-Za-z0-9.+-]', '-', when)[:80]}{devices}.flac"
        self._wanted.append((name, max(0, first), first + self._n_samples))
        return name

    def close(self) -> None:
        """Write what waits for its end, as far as it was heard."""
        while self._wanted:
            self._cut()

    def _cut(self) -> None:
        name, first, stop = self._wanted.popleft()
        # of its own: what was heard is forgotten meanwhile, and a view would keep a whole piece alive
        samples = self._heard.span(first, stop).copy()
        if len(samples):
            self._write(name, samples)

    def _forget(self, first: int) -> None:
        """Samples that no clip has which waits for its end, or begins at `first` or later."""
        if self._wanted:
            first = self._wanted[0][1]
        self._heard.forget(max(0, min(first, self._heard.length)))
