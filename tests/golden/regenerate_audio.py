"""Write ``audio.json``: what the audio functions say of one generated clip.

Run ``python tests/golden/regenerate_audio.py`` after a change of definition, look at the difference, and say
in the commit why each number moved.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "audio"))

from signals import SAMPLE_RATE, broadband

from earmark.audio.clip import Clip
from earmark.audio.cqt import cqt_chroma
from earmark.audio.descriptors import spectral_descriptors
from earmark.audio.hpss import harmonic_percussive_energy
from earmark.audio.mel import mfcc
from earmark.audio.onset import onset_envelope
from earmark.audio.pitch import yin
from earmark.audio.spectrum import rms, zero_crossing_rate
from earmark.audio.tempo import beat_frames, local_tempo, mean_tempogram, tempo
from earmark.audio.tonal import bin_tuning, chroma, tonnetz, tuning

GOLDEN = Path(__file__).with_name("audio.json")


def measured() -> dict[str, list[float]]:
    """Means and standard deviations over the frames, and the values that are one for the clip."""
    clip = Clip(broadband(20.0), SAMPLE_RATE)
    shape = clip.memo(spectral_descriptors)
    frames = {name: getattr(shape, name) for name in shape.__dataclass_fields__ if "peak" not in name}
    for function in (rms, zero_crossing_rate, mfcc, onset_envelope, local_tempo, chroma, tonnetz, cqt_chroma):
        frames[function.__name__] = clip.memo(function)
    frames["f0_hz"], frames["aperiodicity"] = clip.memo(yin)
    result = {
        name: np.stack([values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)])
        .ravel()
        .tolist()
        for name, values in frames.items()
    }
    result["tempo"] = [clip.memo(tempo)]
    result["tuning"] = [clip.memo(tuning)]
    result["bin_tuning"] = [clip.memo(bin_tuning, bins_per_octave=36)]
    result["mean_tempogram"] = clip.memo(mean_tempogram).tolist()
    result["harmonic_percussive_energy"] = list(clip.memo(harmonic_percussive_energy))
    result["beat_frames"] = clip.memo(beat_frames).tolist()
    return result


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(measured(), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {GOLDEN}")
