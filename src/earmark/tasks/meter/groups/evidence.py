"""What the analysis of a recording reads besides beats and the features of a model: onsets, accents, tempo evidence.

These groups are in the cache like all others, so a file that was analysed before is answered without opening its audio,
and by the same numbers. They are no features of any model.

Conventions: seconds from the start of the window; BPM; levels are 0 to 1 of full scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.front_end import front_end
from earmark.audio.onset import onset_envelope
from earmark.audio.onset_events import onset_events
from earmark.audio.spectrum import rms
from earmark.audio.tempo import mean_tempogram, tempo
from earmark.features.group import feature_group
from earmark.tasks.meter.groups.tempo import tempogram_bpm
from earmark.tasks.meter.schema import FRAMES_PER_S, MAX_BPM, MIN_BPM, MIN_DURATION_S, SAMPLE_RATE

__all__ = ["ACCENTS", "EVIDENCE", "LENGTH", "ONSETS", "Length", "tempogram_confidence"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Length:
    """The row of `LENGTH`: how much there is, how loud, and how fast it may be.

    Parameters
    ----------
    n_samples : int
        At 22 050 Hz.
    peak : float
        Largest absolute sample before the front end, of full scale.
    dp_bpm, tempogram_bpm : float
        0 where there is none.
    tempogram_confidence : float
    """

    n_samples: int
    peak: float
    dp_bpm: float
    tempogram_bpm: float
    tempogram_confidence: float

    @classmethod
    def of_row(cls, row: Array) -> Length:
        """From a row of the group; counts of samples are exact in float32 up to 12 minutes."""
        n_samples, *rest = (float(value) for value in row)
        return cls(int(n_samples), *rest)


@feature_group(
    "meter.length",
    columns=("n_samples", "peak", "dp_bpm", "tempogram_bpm", "tempogram_confidence"),
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
)
def LENGTH(clip: Clip) -> Array:  # noqa: N802  a group is a constant
    """Length, peak level and tempo evidence of a window."""
    ready = clip.memo(front_end)
    peak = np.abs(clip.samples).max(initial=0.0)
    return np.array(
        [len(clip.samples), peak, ready.memo(tempo), ready.memo(tempogram_bpm), tempogram_confidence(ready)]
    )


@feature_group(
    "meter.onsets",
    kind="events",
    columns=("time_s", "strength", "backtracked_s"),
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
)
def ONSETS(clip: Clip) -> Array:  # noqa: N802
    """Onsets: the attack, height of the envelope's peak behind it, and where the sound begins."""
    found = clip.memo(front_end).memo(onset_events)
    return np.stack([found.attacks_s, found.strength, found.backtracked_s], axis=1)


@feature_group(
    "meter.accents",
    kind="frames",
    columns=("onset", "rms"),
    frame_s=1 / FRAMES_PER_S,
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
)
def ACCENTS(clip: Clip) -> Array:  # noqa: N802
    """The curves in which accents are heard."""
    ready = clip.memo(front_end)
    return np.stack([ready.memo(onset_envelope), ready.memo(rms)], axis=1)


EVIDENCE = (LENGTH, ONSETS, ACCENTS)


def tempogram_confidence(clip: Clip) -> float:
    """How far the highest value of the mean tempogram between 30 and 300 BPM stands out: (peak - mean) / peak.

    0 where nothing is heard.
    """
    g = clip.memo(mean_tempogram)
    lags = slice(int(np.ceil(60 * FRAMES_PER_S / MAX_BPM)), int(60 * FRAMES_PER_S / MIN_BPM) + 1)
    peak = float(g[lags].max(initial=0.0))
    return max(0.0, (peak - float(g[lags].mean())) / peak) if peak > 0 else 0.0
