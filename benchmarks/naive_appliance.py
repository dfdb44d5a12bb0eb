"""The script a user would write with librosa and scipy for the columns of ``appliance.*``: separate calls, plain loops.

It shares no code with earmark, so it is at once the opponent of `benchmarks/appliance_features.py` and the oracle of
the tests. Each function takes the samples of a window at 16 kHz and returns column -> value.
"""

from __future__ import annotations

import warnings

import librosa
import numpy as np
import scipy.signal
import scipy.stats

SAMPLE_RATE = 16_000


def db(power: np.ndarray | float) -> np.ndarray:
    return 10 * np.log10(np.asarray(power) + 1e-12)


def level(y: np.ndarray) -> dict[str, float]:
    y = y.astype(np.float64)
    rms = np.sqrt(np.mean(y**2))
    rms_dbfs = 20 * np.log10(max(rms, 1e-8))
    peak_dbfs = 20 * np.log10(max(np.abs(y).max(), 1e-8))
    frames = [y[start : start + 1600] for start in range(0, len(y) - 1599, 1600)]
    levels = [20 * np.log10(max(np.sqrt(np.mean(frame**2)), 1e-8)) for frame in frames]
    p10, p50, p90 = np.percentile(levels, [10, 50, 90])
    values = {"rms": rms, "rms_dbfs": rms_dbfs, "peak_dbfs": peak_dbfs, "crest_db": peak_dbfs - rms_dbfs}
    return values | {"level_p10": p10, "level_p50": p50, "level_p90": p90, "level_range": p90 - p10}


def spectrum(y: np.ndarray) -> dict[str, float]:
    f, _, segments = scipy.signal.spectrogram(
        y.astype(np.float64), SAMPLE_RATE, "hann", nperseg=16_000, noverlap=8_000, detrend="constant"
    )
    _, p = scipy.signal.welch(y.astype(np.float64), SAMPLE_RATE, "hann", nperseg=16_000, noverlap=8_000)
    features = {}
    for k in range(-17, 9):
        centre = 1000 * 10 ** (k / 10)
        inside = (f >= centre * 10**-0.05) & (f < centre * 10**0.05)
        features[f"third_octave_mean_{k}"] = db(p[inside].sum())
        features[f"third_octave_std_{k}"] = np.std(db(segments[inside].sum(axis=0)))
    features["low_mid_ratio"] = p[(f >= 20) & (f <= 200)].mean() / (p[(f > 200) & (f <= 2000)].mean() + 1e-9)
    inside = (f >= 20) & (f <= 7900)
    features |= shape(f[inside], p[inside])
    features["flux"] = flux(y)
    return features | modulation(y.astype(np.float64))


def shape(f: np.ndarray, p: np.ndarray) -> dict[str, float]:
    centroid = np.average(f, weights=p)
    return {
        "centroid": centroid,
        "bandwidth": np.sqrt(np.average((f - centroid) ** 2, weights=p)),
        "rolloff85": f[np.argmax(np.cumsum(p) >= 0.85 * p.sum())],
        "flatness": scipy.stats.gmean(p) / p.mean(),
        "slope": np.polyfit(np.log2(f), db(p), 1)[0],
    }


def flux(y: np.ndarray) -> float:
    magnitude = np.abs(librosa.stft(y, n_fft=512, hop_length=160, center=False))
    magnitude = librosa.util.normalize(magnitude, norm=2, axis=0)
    return np.maximum(0, np.diff(magnitude, axis=1)).sum(axis=0).mean()


def modulation(y: np.ndarray) -> dict[str, float]:
    envelope = np.array([np.sqrt(np.mean(frame**2)) for frame in y[: len(y) // 160 * 160].reshape(-1, 160)])
    f, power = scipy.signal.periodogram(envelope, 100, detrend="constant")
    bands = ((0.5, 2), (2, 8), (8, 32))
    # one-sided: all bins count twice, but the one at half the rate
    power[-1] *= 2 if len(envelope) % 2 == 0 else 1
    return {
        f"env_mod_{i}": power[(f >= low) & (f < high)].sum() / power.sum()
        for i, (low, high) in enumerate(bands, 1)
    }


def lines(y: np.ndarray) -> dict[str, float]:
    _, p = scipy.signal.welch(y.astype(np.float64), SAMPLE_RATE, "hann", nperseg=16_000, noverlap=8_000)
    features = {}
    for mains in (50, 60):
        for h in range(1, 17):
            line = [p[h * mains + i] for i in (-1, 0, 1)]
            beside = [p[h * mains + sign * i] for i in range(4, 13) for sign in (-1, 1)]
            features[f"mains_{mains}_{h}"] = db(np.mean(line)) - db(np.median(beside))
    level_db = db(p)
    whitened = np.array([level_db[i] - np.median(level_db[i - 20 : i + 21]) for i in range(20, 2020)])
    fundamentals = np.arange(20, 120.25, 0.5)
    heights = [
        np.mean([np.interp(h * f, np.arange(20, 2020), whitened) for h in range(1, 11) if h * f <= 2000])
        for f in fundamentals
    ]
    best = int(np.argmax(heights))
    contrast = heights[best] - np.median(heights)
    return features | {"comb_max": heights[best], "comb_f0": fundamentals[best], "comb_contrast": contrast}


def logmel256(y: np.ndarray) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Empty filters")
        power = librosa.feature.melspectrogram(
            y=y, sr=SAMPLE_RATE, n_fft=512, win_length=400, hop_length=160, n_mels=128, pad_mode="constant"
        )
    level_db = librosa.power_to_db(power, top_db=None)
    return moments("mel", level_db)


def g1(y: np.ndarray) -> dict[str, float]:
    magnitude = np.abs(librosa.stft(y, n_fft=2048, hop_length=512))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Empty filters")
        power = librosa.feature.melspectrogram(S=magnitude**2, sr=SAMPLE_RATE, n_mels=64, fmin=20, fmax=4000)
    level_db = librosa.power_to_db(power, ref=np.max, amin=1e-30, top_db=80)
    cepstrum = librosa.feature.mfcc(S=level_db, n_mfcc=13)
    f = librosa.fft_frequencies(sr=SAMPLE_RATE, n_fft=2048)
    low = (magnitude[(f >= 20) & (f <= 200)].astype(np.float64) ** 2).mean()
    mid = (magnitude[(f > 200) & (f <= 2000)].astype(np.float64) ** 2).mean()
    return moments("mel", level_db) | moments("mfcc", cepstrum) | {"low_mid_ratio": low / (mid + 1e-9)}


def moments(name: str, rows: np.ndarray) -> dict[str, float]:
    means = {f"{name}_mean_{i}": value for i, value in enumerate(rows.mean(axis=1))}
    return means | {f"{name}_std_{i}": value for i, value in enumerate(rows.std(axis=1))}


def fbank(y: np.ndarray) -> np.ndarray:
    """Kaldi's filter bank frame by frame, as its documentation describes it, shape (n_frames, 128)."""
    window = np.hanning(400) ** 0.85
    mel = 1127 * np.log(1 + np.arange(257) * 31.25 / 700)
    edges = np.linspace(1127 * np.log(1 + 20 / 700), 1127 * np.log(1 + 8000 / 700), 130)
    bank = [np.interp(mel, edges[i : i + 3], [0, 1, 0], left=0, right=0) for i in range(128)]
    rows = []
    for start in range(0, len(y) - 399, 160):
        frame = y[start : start + 400].astype(np.float64) * 2**15
        frame = frame - frame.mean()
        frame = np.append(frame[0] * (1 - 0.97), frame[1:] - 0.97 * frame[:-1])
        power = np.abs(np.fft.rfft(frame * window, 512)) ** 2
        rows.append(np.log(np.maximum(np.dot(bank, power), 1.1920929e-07)))
    return (np.array(rows) - 15.41663) / (2 * 6.55582)
