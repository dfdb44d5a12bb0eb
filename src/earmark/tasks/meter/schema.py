"""Words and numbers of the task that every room of it shares: classes, signatures, the rate of its frames.

Conventions: a class is the number of beats per bar, written as text; a signature is ``numerator/denominator``; seconds
from the start of the clip that is looked at; BPM. Frames are 512 samples at 22 050 Hz.
"""

from __future__ import annotations

CLASSES = ("3", "4", "5", "7", "9", "11")
"""Beats per bar, in the order of every table and matrix."""

SIGNATURES = ("2/4", "3/4", "4/4", "5/4", "5/8", "6/8", "7/4", "7/8", "9/8", "10/8", "11/8", "12/8")
"""The twelve meters in which the signals speak, in the order of their columns."""

CURVES = ("onset", "rms", "flux", "chroma")
"""The four curves of a clip, in the order of their columns."""

SAMPLE_RATE = 22_050
HOP_LENGTH = 512
FRAMES_PER_S = SAMPLE_RATE / HOP_LENGTH

WINDOW_S = 30.0
"""What one answer looks at; longer files are cut into windows."""

WINDOW_HOP_S = 15.0
WHOLE_S = 31.0
"""A clip of up to this length is one window: 30 s clips come a little longer from lossy codecs."""

MIN_DURATION_S = 2.0
MIN_BPM, MAX_BPM = 30.0, 300.0

BEAT_COLUMNS = ("time_s", "position", "strength")
"""Columns of a tracker's events: position counts from 1 at the downbeat, 0 without bars; strength 0 to 1."""

DEFAULT_SLOTS = ("dp", "beat_this", "bars")
"""Names of the trackers in the three slots that feed the features, unless the settings name others."""

MERT_LAYER = 3
"""The transformer layer of MERT whose pooled outputs are features, counted from 0."""
