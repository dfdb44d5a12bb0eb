"""The script a user would write with librosa for the 1449 columns of ``meter.audio``: separate calls, plain loops.

It shares no code with earmark, so it is at once the opponent of `benchmarks/meter_features.py` and the oracle of the
tests. Only the floor of the spectral contrast is taken over: without it the weakest bins hold rounding noise.
"""

from __future__ import annotations

import librosa
import numpy as np
import scipy.signal

SAMPLE_RATE = 22_050
FPS = SAMPLE_RATE / 512
CONTRAST_FLOOR = 2.0**-23
PAIRS = "3:4 5:4 7:4 3:2 5:3 7:3 5:7 9:4 11:4 9:7 11:7 9:3 11:3"


def audio_features(y: np.ndarray) -> dict[str, float]:
    """Column -> value of a decoded signal, in the order of version v6."""
    y = front_end(y)
    curves = four_curves(y)
    correlations = {name: autocorrelation(curve) for name, curve in curves.items()}
    profile = librosa.feature.tempogram(onset_envelope=curves["onset"], sr=SAMPLE_RATE, win_length=384).mean(
        axis=1
    )
    tempi = tempo_candidates(profile, curves["onset"])
    features = multi_tempo(correlations, tempi)
    features |= tempogram_profile(profile)
    features |= timbre(y)
    features |= onset_features(y, curves["onset"], tempi[0])
    features |= ratios(correlations, tempi[0])
    features |= salience(profile)
    return features


def front_end(y: np.ndarray) -> np.ndarray:
    sections = scipy.signal.butter(4, 60, "highpass", fs=SAMPLE_RATE, output="sos")
    return scipy.signal.sosfilt(sections, y / np.abs(y).max()).astype(np.float32)


def four_curves(y: np.ndarray) -> dict[str, np.ndarray]:
    magnitude = np.abs(librosa.stft(y))
    change = np.diff(magnitude, axis=1)
    return {
        "onset": librosa.onset.onset_strength(y=y, sr=SAMPLE_RATE),
        "rms": librosa.feature.rms(y=y)[0],
        "flux": np.concatenate([[0.0], np.sqrt((change**2).sum(axis=0))]),
        "chroma": librosa.feature.chroma_cqt(y=y, sr=SAMPLE_RATE).sum(axis=0),
    }


def autocorrelation(curve: np.ndarray) -> np.ndarray:
    products = librosa.autocorrelate(curve.astype(np.float64) - curve.mean())
    return products / products[0]


def peak(x: np.ndarray, lag: float) -> float:
    """P_x(L): the largest value within 5 % of a lag."""
    middle = int(np.floor(lag + 0.5 + 1e-6))
    if middle < 1 or middle >= len(x):
        return 0.0
    width = max(1, int(np.floor(middle / 20)))
    return float(x[max(1, middle - width) : middle + width + 1].max())


def frames_per_beat(bpm: float) -> float:
    return 60 / bpm * FPS


def tempo_candidates(profile: np.ndarray, envelope: np.ndarray) -> list[float]:
    maxima = [k for k in range(9, 87) if profile[k] > profile[k - 1] and profile[k] >= profile[k + 1]]
    maxima.sort(key=lambda k: -profile[k])
    chosen: list[int] = []
    for lag in maxima:
        if len(chosen) < 2 and all(abs(lag - other) >= 3 for other in chosen):
            chosen.append(lag)
    tempi = [60 * FPS / lag for lag in chosen]
    while len(tempi) < 2:
        bpm = librosa.beat.beat_track(onset_envelope=envelope, sr=SAMPLE_RATE)[0]
        tempi.append(float(np.atleast_1d(bpm)[0]) or 120.0)
    return [*tempi, max(30.0, tempi[0] / 2), min(300.0, 1.5 * tempi[0])]


def multi_tempo(correlations: dict[str, np.ndarray], tempi: list[float]) -> dict[str, float]:
    features = {}
    for t, bpm in enumerate(tempi, 1):
        for name, r in correlations.items():
            for i in range(64):
                beats = 0.5 + i * 15.5 / 63
                features[f"acf_t{t}_{name}_k{i:02d}"] = peak(r, beats * frames_per_beat(bpm))
    return features


def scaled(values: list[float] | np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    return values / values.max() if values.max() > 0 else np.zeros_like(values)


def tempogram_profile(profile: np.ndarray) -> dict[str, float]:
    tempi = [30 * 10 ** (i / 63) for i in range(64)]
    values = scaled([peak(profile, frames_per_beat(bpm)) for bpm in tempi])
    return {f"tgram_{i:02d}": value for i, value in enumerate(values)}


def timbre(y: np.ndarray) -> dict[str, float]:
    features = {}
    cepstrum = librosa.feature.mfcc(y=y, sr=SAMPLE_RATE, n_mfcc=13)
    magnitude = np.abs(librosa.stft(y))
    magnitude = np.maximum(magnitude, CONTRAST_FLOOR * magnitude.max(axis=0))
    contrast = librosa.feature.spectral_contrast(S=magnitude, sr=SAMPLE_RATE)
    for i, row in enumerate(cepstrum, 1):
        features[f"mfcc_mean_{i:02d}"] = row.mean()
    for i, row in enumerate(cepstrum, 1):
        features[f"mfcc_std_{i:02d}"] = row.std()
    for i, row in enumerate(contrast, 1):
        features[f"contrast_mean_{i}"] = row.mean()
    for i, row in enumerate(contrast, 1):
        features[f"contrast_std_{i}"] = row.std()
    return features


def onset_features(y: np.ndarray, envelope: np.ndarray, bpm: float) -> dict[str, float]:
    frames = librosa.onset.onset_detect(onset_envelope=envelope, sr=SAMPLE_RATE)
    times = librosa.frames_to_time(frames, sr=SAMPLE_RATE)
    between = np.diff(times)
    features = {
        "ioi_mean": between.mean() if len(between) else 0.0,
        "ioi_std": between.std() if len(between) else 0.0,
        "ioi_median": np.median(between) if len(between) else 0.0,
        "onset_rate": len(times) / (len(y) / SAMPLE_RATE),
    }
    for n in (2, 3, 4, 5, 7, 9, 11):
        bar = n * 60 / bpm
        histogram = np.zeros(32)
        for frame, time in zip(frames, times, strict=True):
            histogram[int(time / bar * 32 + 1e-6) % 32] += envelope[frame]
        features |= {f"bar{n}_b{i:02d}": value for i, value in enumerate(scaled(histogram))}
    return features


def ratios(correlations: dict[str, np.ndarray], bpm: float) -> dict[str, float]:
    features = {}
    for name, r in correlations.items():
        p = {n: peak(r, n * frames_per_beat(bpm)) for n in (2, 3, 4, 5, 6, 7, 9, 11)}
        features |= {f"acr_{name}_p{n}": value for n, value in p.items()}
        for pair in PAIRS.split():
            first, second = (int(n) for n in pair.split(":"))
            a, b = max(p[first], 0.0), max(p[second], 0.0)
            features[f"acr_{name}_r{first}_{second}"] = (a - b) / (a + b) if a + b >= 1e-8 else 0.0
    return features


def salience(profile: np.ndarray) -> dict[str, float]:
    bars = (2, 3, 4, 5, 6, 7, 9, 11, 12)
    values = [max(peak(profile, n * frames_per_beat(bpm)) for bpm in range(60, 201, 2)) for n in bars]
    return {f"salience_{n}": value for n, value in zip(bars, scaled(values), strict=True)}
