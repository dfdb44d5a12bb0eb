"""Scores into sound by fluidsynth, under guard: what it writes is bounded in size and in time.

A MIDI file that ends with a note held makes fluidsynth write without end. Our own writer ends every
note; beyond that the samples are read from a pipe up to the length that is due, and the process is killed
when they are there, when the time is over, or when the reader stops. No file is written.

Conventions: mono float32 within [-1, 1], seconds, Hz. Sound fonts are looked for where Debian's packages put them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earmark.errors import InputError, UsageError
from earmark.tasks.meter.schema import SAMPLE_RATE

__all__ = ["INSTALL", "SOUND_FONTS", "Room", "find_sound_fonts", "has_fluidsynth", "render_midi"]

INSTALL = "apt-get install fluidsynth fluid-soundfont-gm timgm6mb-soundfont"
SOUND_FONTS = (
    "/usr/share/sounds/sf2/FluidR3_GM.sf2",
    "/usr/share/sounds/sf2/TimGM6mb.sf2",
    "/usr/share/soundfonts/FluidR3_GM.sf2",
    "/usr/share/sounds/sf3/default-GM.sf3",
    "/usr/share/sounds/sf2/default-GM.sf2",
)
TIME_LIMIT_S = 60.0
_BYTES_PER_FRAME = 4  # two channels of 16 bits


@dataclass(frozen=True)
class Room:
    """What fluidsynth adds: gain 0-10, reverberation and chorus on or off, the size of the room 0-1."""

    gain: float = 0.5
    reverb: bool = True
    chorus: bool = False
    room_size: float = 0.4


def has_fluidsynth() -> bool:
    """Whether the program and a sound font are there."""
    return shutil.which("fluidsynth") is not None and any(Path(path).is_file() for path in SOUND_FONTS)


def find_sound_fonts() -> tuple[Path, ...]:
    """The sound fonts that are installed, best first.

    Raises
    ------
    UsageError
        There is none.
    """
    found = {Path(path).resolve(): None for path in SOUND_FONTS if Path(path).is_file()}
    if not found:
        raise UsageError(f"no sound font was found; looked for {', '.join(SOUND_FONTS)}. Run: {INSTALL}")
    return tuple(found)


def render_midi(
    data: bytes,
    sound_font: str | Path,
    duration_s: float,
    *,
    room: Room | None = None,
    sample_rate: int = SAMPLE_RATE,
    time_limit_s: float = TIME_LIMIT_S,
) -> NDArray[np.float32]:
    """Play a MIDI file and keep its first seconds.

    Parameters
    ----------
    data : bytes
        A standard MIDI file.
    sound_font : path
    duration_s : float
        What is kept; a file that ends earlier is followed by silence, a file that never ends is cut.
    room : Room, optional
    sample_rate : int
    time_limit_s : float
        Clock time after which the process is killed.

    Returns
    -------
    np.ndarray, float32, shape (n_samples,)

    Raises
    ------
    UsageError
        fluidsynth is not installed.
    InputError
        It could not play the file, or was not ready in time.
    """
    if shutil.which("fluidsynth") is None:
        raise UsageError(f"rendering with a sound font needs the program `fluidsynth`. Run: {INSTALL}")
    n_frames = round(duration_s * sample_rate)
    with tempfile.TemporaryDirectory(prefix="earmark-midi-") as folder:
        path = Path(folder) / "piece.mid"
        path.write_bytes(data)
        sound = _read_bounded(
            _options(room or Room(), sample_rate),
            [str(sound_font), str(path)],
            n_frames * _BYTES_PER_FRAME,
            time_limit_s,
        )
    stereo = np.frombuffer(sound, dtype="<i2").reshape(-1, 2)
    samples = np.zeros(n_frames, dtype=np.float32)
    samples[: len(stereo)] = stereo.mean(axis=1, dtype=np.float32) / 32768
    return samples


def _options(room: Room, sample_rate: int) -> list[str]:
    switches = ("-R", "1" if room.reverb else "0", "-C", "1" if room.chorus else "0")
    settings = ("-o", "synth.dynamic-sample-loading=1", "-o", f"synth.reverb.room-size={room.room_size:g}")
    return ["-n", "-i", "-q", "-r", str(sample_rate), "-g", f"{room.gain:g}", *switches, *settings]


def _read_bounded(options: list[str], arguments: list[str], n_bytes: int, time_limit_s: float) -> bytes:
    """At most so many bytes of samples, from a process that does not outlive this call."""
    with _playing(options, arguments) as (process, source, errors):
        alarm = threading.Timer(time_limit_s, process.kill)
        alarm.start()
        try:
            with os.fdopen(source, "rb") as pipe:
                sound = pipe.read(n_bytes)
            in_time = alarm.is_alive()
        finally:
            alarm.cancel()
        if len(sound) < n_bytes and (process.wait() != 0 or not in_time):
            reason = "took longer than its limit" if not in_time else _last_line(errors)
            raise InputError(
                f"fluidsynth gave {len(sound)} of {n_bytes} bytes: it {reason}. Expected a playable MIDI file. "
                "Leave the piece out or raise the time limit."
            )
    return sound[: len(sound) // _BYTES_PER_FRAME * _BYTES_PER_FRAME]


@contextmanager
def _playing(options: list[str], arguments: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    """fluidsynth writing raw samples into a pipe of its own: its remarks go to another place."""
    source, target = os.pipe()
    with tempfile.NamedTemporaryFile(prefix="earmark-fluidsynth-") as errors:
        command = ["fluidsynth", *options, "-T", "raw", "-O", "s16", "-F", f"/dev/fd/{target}", *arguments]
        process = subprocess.Popen(
            command, pass_fds=(target,), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
        )
        os.close(target)
        try:
            yield process, source, Path(errors.name)
        finally:
            process.kill()
            process.wait()


def _last_line(errors: Path) -> str:
    lines = errors.read_text(errors="replace").strip().splitlines()
    return f"said `{lines[-1]}`" if lines else "ended without a word"
