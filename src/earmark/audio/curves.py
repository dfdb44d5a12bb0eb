"""Four curves of a clip in which its rhythm shows: onsets, level, change of the spectrum, and harmony.

Conventions: one value per centred frame of 2048 samples, hop 512.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.audio import spectrum
from earmark.audio.clip import Clip
from earmark.audio.cqt import cqt_chroma
from earmark.audio.descriptors import spectral_descriptors
from earmark.audio.onset import onset_envelope

Array = NDArray[np.float32]


class Curves(NamedTuple):
    """What `curves` returns; each float32, shape (n_frames,).

    Attributes
    ----------
    onset
        Mean rise of the mel bands, dB (`earmark.audio.onset`).
    rms
        Level.
    flux
        Euclidean distance to the magnitude spectrum before; 0 in the first frame.
    chroma
        Sum of the 12 pitch classes (`earmark.audio.cqt`), 0 to 12: high where many sound together.
    """

    onset: Array
    rms: Array
    flux: Array
    chroma: Array


def curves(clip: Clip) -> Curves:
    """The four curves of a clip that has passed the front end; all finite, 0 where silent."""
    return Curves(
        onset=clip.memo(onset_envelope),
        rms=clip.memo(spectrum.rms),
        flux=clip.memo(spectral_descriptors).flux,
        chroma=clip.memo(cqt_chroma).sum(axis=1),
    )
