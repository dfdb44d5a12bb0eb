"""The feature columns against the script a user would write with librosa, on broadband and on real music.

Pure tones, clicks and silence are left out on purpose: tuning, contrast and tempo of such signals rest on rounding
errors, and each implementation decides them in its own way.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from zone_signals import SAMPLE_RATE, planted_drop, synthetic_tracks

from earmark.audio.clip import Clip
from earmark.audio.decode import decode
from earmark.audio.descriptors import CONTRAST_FLOOR
from earmark.tasks.zones.feature_sets import FEATURE_SETS

librosa = pytest.importorskip(
    "librosa", reason="librosa is the peer of this test; pip install earmark[bench]"
)

REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "zones" / "audio"
# Counts and thresholds jump where a value lies on an edge; they are compared apart.
EXACT = ("drop_count", "drop_frequency", "has_climax")
RELATIVE = 1e-3


def naive_full(y: np.ndarray) -> dict[str, float]:
    """All columns of `full55` that librosa has a definition for, one call after the other."""
    S = np.abs(librosa.stft(y))
    r = librosa.feature.rms(y=y)[0].astype(np.float64)
    o = librosa.onset.onset_strength(y=y, sr=SAMPLE_RATE)
    bpm, beats = librosa.beat.beat_track(onset_envelope=o, sr=SAMPLE_RATE)
    cepstrum = librosa.feature.mfcc(y=y, sr=SAMPLE_RATE)
    # Lossy coding and synthesis leave top bands whose valleys are rounding noise: the same floor on both sides.
    floored = np.maximum(S, CONTRAST_FLOOR * S.max(axis=0))
    contrast = librosa.feature.spectral_contrast(S=floored, sr=SAMPLE_RATE)
    harmonic, percussive = librosa.effects.hpss(y)
    energies = np.sum(harmonic.astype(np.float64) ** 2), np.sum(percussive.astype(np.float64) ** 2)
    chroma = librosa.feature.chroma_stft(y=y, sr=SAMPLE_RATE)
    shares = chroma / np.maximum(chroma.sum(axis=0), 1e-30)
    frequency_hz = librosa.fft_frequencies(sr=SAMPLE_RATE)
    intervals = np.diff(librosa.frames_to_time(beats, sr=SAMPLE_RATE))
    tempogram = librosa.feature.tempogram(onset_envelope=o, sr=SAMPLE_RATE)
    lag_bpm = librosa.tempo_frequencies(len(tempogram), sr=SAMPLE_RATE)
    inside = (lag_bpm >= 60) & (lag_bpm <= 200)
    local_bpm = lag_bpm[inside][np.argmax(tempogram[inside], axis=0)]
    values = {
        "tempo": float(np.atleast_1d(bpm)[0]),
        "zero_crossing_rate": librosa.feature.zero_crossing_rate(y).mean(),
        "low_energy": (r < r.mean()).mean(),
        "rms_energy": r.mean(),
        "spectral_rolloff": librosa.feature.spectral_rolloff(S=S, sr=SAMPLE_RATE).mean(),
        "brightness": (S[frequency_hz > 3000].sum(axis=0) / (S.sum(axis=0) + 1e-6)).mean(),
        "spectral_centroid": librosa.feature.spectral_centroid(S=S, sr=SAMPLE_RATE).mean(),
        "energy_variance": r.std(),
        "drop_strength": np.percentile(np.abs(np.diff(r)), 90),
        "onset_strength_mean": o.mean(),
        "onset_strength_std": o.std(),
        "beat_strength": r[beats].mean(),
        "tempo_stability": 1 / (1 + local_bpm.std() / local_bpm.mean()),
        "harmonic_ratio": energies[0] / (sum(energies) + 1e-6),
        "percussive_ratio": energies[1] / (sum(energies) + 1e-6),
        "energy_slope": np.clip(np.polyfit(np.linspace(0, 1, len(r)), r, 1)[0] / (r.std() + 1e-6), -1, 1),
        "energy_buildup_ratio": (np.diff(r) > 0).mean(),
        "onset_acceleration": np.abs(np.diff(o, n=2)).mean(),
        "peak_energy_ratio": r.max() / r.mean(),
        "rhythmic_regularity": 1 / (1 + intervals.std() / intervals.mean()),
        "harmonic_complexity": -(shares * np.log(np.maximum(shares, 1e-30))).sum(axis=0).mean(),
        "has_climax": float(r.max() - r.mean() > 2 * r.std()),
        "climax_position": np.argmax(r) / len(r),
        "dynamic_range": np.ptp(librosa.amplitude_to_db(r, ref=np.max, top_db=80)),
    }
    for k in range(5):
        values[f"mfcc_{k + 1}_mean"], values[f"mfcc_{k + 1}_std"] = cepstrum[k].mean(), cepstrum[k].std()
    for band in range(7):
        values[f"spectral_contrast_mean_{band}"] = contrast[band].mean()
        values[f"spectral_contrast_std_{band}"] = contrast[band].std()
    return {name: float(value) for name, value in values.items()}


def naive_drops(r: np.ndarray) -> tuple[int, float, float]:
    """Count, mean contrast and intensity by scipy's own median filter and peak finder."""
    from scipy.ndimage import median_filter
    from scipy.signal import find_peaks

    curve = median_filter(r, size=21, mode="nearest")
    mean, std = curve.mean(), curve.std()
    valleys = find_peaks(-curve, height=-(mean - 0.3 * std), distance=50)[0]
    peaks = find_peaks(curve, height=mean + 0.3 * std, distance=50)[0]
    events: dict[int, int] = {}
    for valley in valleys:
        later = peaks[peaks > valley]
        if len(later) and (later[0] - valley) * 512 / SAMPLE_RATE <= 8:
            peak = int(later[0])
            if (curve[peak] - curve[valley]) / mean > 0.5:
                events[peak] = min(events.get(peak, valley), int(valley), key=lambda place: curve[place])
    contrasts = [(curve[peak] - curve[valley]) / mean for peak, valley in events.items()]
    return (
        len(events),
        float(np.mean(contrasts)) if events else 0.0,
        float(np.mean([curve[peak] for peak in events]) / mean) if events else 0.0,
    )


def check(clip: Clip) -> None:
    chosen = FEATURE_SETS["full55"]
    ours = {
        name.rpartition(".")[2]: float(value)
        for group in chosen.groups
        for name, value in zip(group.column_names, group(clip), strict=True)
        if name in chosen.columns
    }
    expected = naive_full(clip.samples)
    count, contrast, intensity = naive_drops(librosa.feature.rms(y=clip.samples)[0].astype(np.float64))
    expected |= {"drop_contrast_mean": contrast, "drop_intensity": intensity}
    expected |= {"drop_count": count, "drop_frequency": count / (clip.duration_s / 60)}
    assert set(ours) - set(expected) == {"drop_contrast_max"}
    for name, value in expected.items():
        # A ratio near zero is compared on the scale of ratios; everything else relatively.
        tolerance = 1e-6 if name in EXACT else RELATIVE * max(abs(value), 1e-2)
        assert ours[name] == pytest.approx(value, abs=tolerance), name


def test_rendered_track_agrees() -> None:
    check(planted_drop()[0])


def test_broadband_track_agrees() -> None:
    rng = np.random.default_rng(17)
    clip = synthetic_tracks(1)[0]
    noise = 0.02 * rng.standard_normal(len(clip.samples)) * np.hanning(len(clip.samples))
    check(Clip(clip.samples + noise.astype(np.float32), clip.sample_rate))


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="the real songs are not beside this checkout")
@pytest.mark.parametrize("index", [0, 30, 60, 90])
def test_real_songs_agree(index: int) -> None:
    check(decode(sorted(REAL.glob("*.ogg"))[index], sample_rate=SAMPLE_RATE))
