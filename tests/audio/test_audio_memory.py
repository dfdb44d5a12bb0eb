"""Memory: one long track stays small, many tracks do not add up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from signals import broadband, write_sound

PEAK_MIB = 600
SCRIPT = """
import json, sys
from earmark.audio.decode import decode
from earmark.audio.hpss import harmonic_percussive_energy
from earmark.audio.mel import mfcc
from earmark.audio.spectrum import rms, zero_crossing_rate
from earmark.audio.tempo import beat_frames, local_tempo
from earmark.audio.tonal import chroma

FUNCTIONS = (rms, zero_crossing_rate, mfcc, beat_frames, local_tempo, chroma, harmonic_percussive_energy)
resident = []
for _ in range(int(sys.argv[2])):
    clip = decode(sys.argv[1], sample_rate=22050)
    for function in FUNCTIONS:
        clip.memo(function)
    resident.append(int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
peak = int(status["VmHWM"].split()[0]) / 1024
print(json.dumps({"peak": peak, "resident": resident}))
"""


def _run(path: Path, rounds: int) -> dict[str, object]:
    command = [sys.executable, "-c", SCRIPT, str(path), str(rounds)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=280).stdout)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_ten_minutes_of_stereo_stay_below_the_limit(tmp_path: Path) -> None:
    minute = np.repeat(broadband(60.0), 2)
    audio = np.tile(np.stack([minute, minute[::-1]], axis=1), (10, 1))
    path = write_sound(tmp_path / "long.flac", audio, 44_100)
    del audio
    result = _run(path, 2)
    assert result["peak"] < PEAK_MIB, result


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_memory_does_not_grow_over_tracks(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "short.flac", np.repeat(broadband(20.0), 2), 44_100)
    resident = _run(path, 200)["resident"]
    early, late = max(resident[20:60]), max(resident[-40:])
    assert late < early + 10, f"grew from {early:.0f} to {late:.0f} MiB over 140 tracks"
