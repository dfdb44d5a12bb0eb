"""Signals that are no music: every function returns finite, decided values of the right shape, without a warning."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from signals import SAMPLE_RATE, broadband, tone

from earmark.audio import descriptors, hpss, mel, onset, pitch, spectrum, tonal
from earmark.audio import tempo as tempo_module
from earmark.audio.clip import Clip

SECOND = SAMPLE_RATE


def _clicks() -> np.ndarray:
    samples = np.zeros(4 * SECOND, np.float32)
    samples[:: SECOND // 2] = 1.0
    return samples


SIGNALS: dict[str, np.ndarray] = {
    "empty": np.zeros(0, np.float32),
    "one_sample": np.array([0.5], np.float32),
    "two_samples": np.array([0.5, -0.5], np.float32),
    "shorter_than_a_frame": broadband(1.0)[:700],
    "one_hop": broadband(1.0)[:512],
    "silence": np.zeros(3 * SECOND, np.float32),
    "nearly_silent": np.full(3 * SECOND, 1e-30, np.float32),
    "denormal": np.full(3 * SECOND, 1e-42, np.float32),
    "dc": np.full(3 * SECOND, 0.5, np.float32),
    "sine": tone(3.0, SAMPLE_RATE),
    "clicks": _clicks(),
    "one_click": np.eye(1, 3 * SECOND, SECOND, dtype=np.float32)[0],
    "clipping": np.sign(tone(3.0, SAMPLE_RATE) + np.float32(1e-6)),
    "noise": np.random.default_rng(0).standard_normal(3 * SECOND).astype(np.float32),
    "quiet_noise": np.random.default_rng(0).standard_normal(3 * SECOND).astype(np.float32) * np.float32(1e-6),
    "as_integers": broadband(3.0) * np.float32(32768.0),
    "huge": broadband(3.0) * np.float32(1e8),
    "half_silent": np.concatenate([np.zeros(2 * SECOND, np.float32), broadband(2.0)]),
    "alternating": np.tile(np.array([1, -1], np.float32), SECOND),
}

ANALYSES: dict[str, Callable[[Clip], object]] = {
    "magnitude": spectrum.magnitude,
    "rms": spectrum.rms,
    "zero_crossing_rate": spectrum.zero_crossing_rate,
    "log_mel": mel.log_mel,
    "mfcc": mel.mfcc,
    "onset_envelope": onset.onset_envelope,
    "tempo": tempo_module.tempo,
    "beat_frames": tempo_module.beat_frames,
    "beat_times_s": tempo_module.beat_times_s,
    "local_tempo": tempo_module.local_tempo,
    "tempogram": tempo_module.tempogram,
    "harmonic_percussive_energy": hpss.harmonic_percussive_energy,
    "harmonic_percussive_frames": hpss.harmonic_percussive_frames,
    "tuning": tonal.tuning,
    "chroma": tonal.chroma,
    "tonnetz": tonal.tonnetz,
    "yin": pitch.yin,
}
DESCRIPTORS = [
    name for name in descriptors.SpectralDescriptors.__dataclass_fields__ if not name.startswith("peak")
]


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("analysis", ANALYSES)
def test_finite_and_deterministic(analysis: str, signal: str) -> None:
    function, samples = ANALYSES[analysis], SIGNALS[signal]
    first, second = (Clip(samples.copy(), SAMPLE_RATE).memo(function) for _ in range(2))
    np.testing.assert_equal(first, second)
    assert all(np.isfinite(part).all() for part in (first if isinstance(first, tuple) else (first,)))


@pytest.mark.parametrize("signal", SIGNALS)
def test_one_value_for_each_frame(signal: str) -> None:
    clip = Clip(SIGNALS[signal], SAMPLE_RATE)
    n_frames = 1 + len(clip.samples) // 512
    found = clip.memo(descriptors.spectral_descriptors)
    for name in DESCRIPTORS:
        values = getattr(found, name)
        assert values.dtype == np.float32, name
        assert len(values) == n_frames, name
        assert np.isfinite(values).all(), name
    assert ((found.brightness >= 0) & (found.brightness <= 1)).all()
    assert ((found.flatness >= 0) & (found.flatness <= 1.001)).all()
    assert (found.contrast_db >= -1e-3).all(), "a peak is no lower than a valley"
    for function in ("rms", "onset_envelope", "local_tempo", "chroma", "tonnetz", "mfcc", "log_mel"):
        assert len(np.asarray(clip.memo(ANALYSES[function]))) == n_frames, function
    assert all(len(part) == n_frames for part in clip.memo(pitch.yin))


@pytest.mark.parametrize("signal", ["empty", "silence"])
def test_values_of_silence(signal: str) -> None:
    clip = Clip(SIGNALS[signal], SAMPLE_RATE)
    found = clip.memo(descriptors.spectral_descriptors)
    for name in DESCRIPTORS:
        expected = 1.0 if name == "flatness" else 0.0
        np.testing.assert_allclose(getattr(found, name), expected, atol=1e-5 * expected, err_msg=name)
    assert clip.memo(tempo_module.tempo) == 0.0
    assert len(clip.memo(tempo_module.beat_frames)) == 0
    assert (clip.memo(tempo_module.local_tempo) == 0).all()
    assert clip.memo(tonal.tuning) == 0.0
    assert (clip.memo(tonal.chroma) == 0).all() and (clip.memo(tonal.tonnetz) == 0).all()
    assert clip.memo(hpss.harmonic_percussive_energy) == (0.0, 0.0)
    assert (clip.memo(pitch.yin)[1] == 1).all(), "nothing periodic in silence"
    np.testing.assert_allclose(clip.memo(mel.log_mel), -100.0, atol=1e-4)


def test_constant_level_has_no_onset_but_its_own() -> None:
    clip = Clip(SIGNALS["sine"], SAMPLE_RATE)
    envelope = clip.memo(onset.onset_envelope)
    assert envelope[20:-20].max() < 0.05 * envelope.max()


def test_sine_is_where_it_is() -> None:
    clip = Clip(SIGNALS["sine"], SAMPLE_RATE)
    found = clip.memo(descriptors.spectral_descriptors)
    middle = slice(20, 100)
    np.testing.assert_allclose(found.centroid_hz[middle], 440.0, rtol=0.01)
    np.testing.assert_allclose(clip.memo(pitch.yin)[0][middle], 440.0, rtol=2e-3)
    assert clip.memo(tonal.tuning) == pytest.approx(0.0, abs=0.03)
    assert (clip.memo(tonal.chroma)[middle].argmax(axis=1) == 9).all(), "A"
    harmonic, percussive = clip.memo(hpss.harmonic_percussive_energy)
    assert harmonic > 20 * percussive


def test_click_is_percussive() -> None:
    harmonic, percussive = Clip(SIGNALS["one_click"], SAMPLE_RATE).memo(hpss.harmonic_percussive_energy)
    assert percussive > 20 * harmonic


def test_clicks_have_their_tempo() -> None:
    samples = np.zeros(20 * SECOND, np.float32)
    samples[:: SECOND // 2] = 1.0
    clip = Clip(samples, SAMPLE_RATE)
    assert clip.memo(tempo_module.tempo) == pytest.approx(120.0, rel=0.03)
    np.testing.assert_allclose(np.diff(clip.memo(tempo_module.beat_times_s)), 0.5, atol=0.03)
    assert np.median(clip.memo(tempo_module.local_tempo)) in (
        pytest.approx(120.0, rel=0.03),
        pytest.approx(60.0, rel=0.03),
    )


def test_scale_moves_levels_and_nothing_else() -> None:
    quiet, loud = (Clip(broadband(6.0) * np.float32(gain), SAMPLE_RATE) for gain in (0.25, 1.0))
    a, b = quiet.memo(descriptors.spectral_descriptors), loud.memo(descriptors.spectral_descriptors)
    np.testing.assert_allclose(a.centroid_hz, b.centroid_hz, rtol=1e-5)
    np.testing.assert_allclose(a.magnitude_sum * 4, b.magnitude_sum, rtol=1e-5)
    np.testing.assert_allclose(a.contrast_db, b.contrast_db, atol=1e-3)
    np.testing.assert_array_equal(quiet.memo(tempo_module.beat_frames), loud.memo(tempo_module.beat_frames))
    np.testing.assert_allclose(quiet.memo(spectrum.rms) * 4, loud.memo(spectrum.rms), rtol=1e-5)
