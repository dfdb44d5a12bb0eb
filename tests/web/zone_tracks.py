"""Tracks for the page of zones."""

import io

import numpy as np
from scipy.io import wavfile

RATE = 22_050


def pulse(bpm, seconds=9.0):
    """Decaying noise at a tempo, as WAV bytes."""
    t = np.arange(int(seconds * RATE)) / RATE
    decay = np.exp(-((t * bpm / 60) % 1.0) * 12)
    noise = np.random.default_rng(0).standard_normal(len(t))
    file = io.BytesIO()
    wavfile.write(file, RATE, (0.5 * decay * noise / 4 * 32767).astype(np.int16))
    return file.getvalue()
