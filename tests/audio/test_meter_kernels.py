"""Front end, constant-Q chroma, onsets, curves and autocorrelation, each against an oracle or by hand."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from signals import SAMPLE_RATE, broadband

from earmark.audio.autocorrelation import autocorrelation, lag_peaks
from earmark.audio.clip import Clip
from earmark.audio.cqt import MARGIN_HOPS, cqt_chroma, pitch_class_magnitudes
from earmark.audio.cqt_filters import BLOCK_HOPS
from earmark.audio.curves import Curves, curves
from earmark.audio.front_end import front_end
from earmark.audio.onset import onset_envelope
from earmark.audio.onset_events import onset_events
from earmark.audio.tempo import mean_tempogram, tempogram
from earmark.audio.tonal import bin_tuning
from earmark.errors import UsageError

ENDS = 35  # frames at either end that hear beyond the clip


@pytest.fixture(scope="module")
def librosa() -> ModuleType:
    return pytest.importorskip("librosa", reason='librosa is not installed: pip install "earmark[bench]"')


@pytest.fixture(scope="module")
def music() -> Clip:
    return front_end(Clip(broadband(20.0), SAMPLE_RATE))


# --- front end ---------------------------------------------------------------------------------------------------


def test_the_front_end_is_the_peak_and_then_the_filter() -> None:
    samples = 0.3 * broadband(5.0)
    sections = scipy.signal.butter(4, 60, "highpass", fs=SAMPLE_RATE, output="sos")
    scaled = samples.astype(np.float64) / np.abs(samples).max()
    expected = scipy.signal.sosfilt(sections, scaled)
    ready = front_end(Clip(samples, SAMPLE_RATE, uri="x"))
    np.testing.assert_allclose(ready.samples, expected, atol=1e-6)
    assert ready.uri == "x" and ready.samples.dtype == np.float32
    plain = front_end(Clip(samples, SAMPLE_RATE), highpass_hz=0)
    np.testing.assert_allclose(plain.samples, scaled, atol=1e-6)


def test_the_filter_is_causal_and_stops_what_is_below() -> None:
    click = np.zeros(2048, dtype=np.float32)
    click[700] = -0.5
    ready = front_end(Clip(click, SAMPLE_RATE)).samples
    assert not ready[:700].any() and ready[700] < -0.9
    t = np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE
    for hz, low, high in ((15.0, 0.0, 0.01), (60.0, 0.70, 0.72), (600.0, 0.99, 1.01)):
        tail = front_end(Clip(np.sin(2 * np.pi * hz * t), SAMPLE_RATE)).samples[2 * SAMPLE_RATE :]
        assert low <= np.abs(tail).max() <= high


@pytest.mark.parametrize(
    "samples", [np.zeros(0), np.zeros(5), np.full(5, -3e-39)], ids=["empty", "zero", "tiny"]
)
def test_silence_passes_the_front_end(samples: np.ndarray) -> None:
    ready = front_end(Clip(samples, SAMPLE_RATE))
    assert ready.samples.shape == samples.shape and np.isfinite(ready.samples).all()


@pytest.mark.parametrize("corner_hz", [-1.0, 11_025.0, float("nan")])
def test_an_impossible_corner_is_named(corner_hz: float) -> None:
    with pytest.raises(UsageError, match="high-pass corner"):
        front_end(Clip(np.ones(8), SAMPLE_RATE), highpass_hz=corner_hz)


# --- constant-Q chroma -------------------------------------------------------------------------------------------


def test_tuning_and_chroma_are_the_reference(librosa: ModuleType, music: Clip) -> None:
    y = music.samples
    tuning = librosa.estimate_tuning(y=y, sr=SAMPLE_RATE, bins_per_octave=36)
    assert bin_tuning(music, 36) == pytest.approx(tuning, abs=1e-9)
    expected = librosa.feature.chroma_cqt(y=y, sr=SAMPLE_RATE).T
    found = cqt_chroma(music)
    assert found.shape == expected.shape and found.dtype == np.float32
    error = np.abs(found - expected).max(axis=1)
    assert error[ENDS:-ENDS].max() < 1e-3
    assert error.max() < 0.03


def test_magnitudes_are_the_reference_in_every_octave(librosa: ModuleType) -> None:
    """A tone in each octave, so that the scales of the octaves cannot hide behind the scaling of a frame."""
    t = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    for octave in range(7):
        clip = Clip(0.5 * np.sin(2 * np.pi * 41.2 * 2**octave * t), SAMPLE_RATE)
        bins = np.abs(
            librosa.cqt(
                clip.samples, sr=SAMPLE_RATE, n_bins=252, bins_per_octave=36, tuning=bin_tuning(clip, 36)
            )
        )
        expected = (librosa.filters.cq_to_chroma(252, bins_per_octave=36) @ bins)[:, 60:70]
        found = pitch_class_magnitudes(clip).T[:, 60:70]
        np.testing.assert_allclose(found, expected, atol=2e-3 * expected.max(), err_msg=f"octave {octave}")
        assert set(found.argmax(axis=0)) == {4}  # E


def test_blocks_leave_no_seams(music: Clip) -> None:
    """Later samples move the seams between blocks; frames that hear the same signal keep their values."""
    step = BLOCK_HOPS - 2 * MARGIN_HOPS
    n = 180 * 512
    samples = np.concatenate([np.zeros((step - 90) * 512, dtype=np.float32), music.samples[:n]])
    shifted, plain = Clip(samples, SAMPLE_RATE), Clip(music.samples[:n], SAMPLE_RATE)
    across = pitch_class_magnitudes(shifted)[step - 90 :]
    alone = pitch_class_magnitudes(plain)
    assert bin_tuning(shifted, 36) == bin_tuning(plain, 36)
    np.testing.assert_allclose(across, alone, atol=1e-3 * alone.max())


def test_near_silence_is_no_chord() -> None:
    rng = np.random.default_rng(2)
    hiss = 1e-6 * rng.standard_normal(8 * SAMPLE_RATE)
    tone = np.sin(2 * np.pi * 261.6 * np.arange(8 * SAMPLE_RATE) / SAMPLE_RATE)
    found = cqt_chroma(Clip(np.concatenate([hiss, tone]), SAMPLE_RATE))
    assert found[60:250].max() < 0.2 and found[-100:-50].max() == 1.0
    assert not cqt_chroma(Clip(np.zeros(9999), SAMPLE_RATE)).any()


@pytest.mark.parametrize("n_samples", [0, 1, 512, 9000])
def test_short_clips_have_their_frames(n_samples: int) -> None:
    clip = Clip(broadband(1.0)[:n_samples], SAMPLE_RATE)
    four = curves(clip)
    for name in Curves._fields:
        assert getattr(four, name).shape == (1 + n_samples // 512,)
        assert np.isfinite(getattr(four, name)).all()


def test_other_rates_work_down_to_the_highest_bin(librosa: ModuleType) -> None:
    samples = librosa.resample(broadband(6.0), orig_sr=22_050, target_sr=16_000)
    clip = Clip(samples, 16_000)
    expected = librosa.feature.chroma_cqt(y=samples, sr=16_000, tuning=bin_tuning(clip, 36)).T
    assert np.abs(cqt_chroma(clip) - expected)[ENDS:-ENDS].max() < 2e-3
    with pytest.raises(UsageError, match="8000 Hz"):
        cqt_chroma(Clip(samples, 8000))


# --- curves, onsets, tempogram -----------------------------------------------------------------------------------


def test_curves_are_the_reference(librosa: ModuleType, music: Clip) -> None:
    y, found = music.samples, curves(music)
    S = np.abs(librosa.stft(y))
    expected = {
        "onset": librosa.onset.onset_strength(y=y, sr=SAMPLE_RATE),
        "rms": librosa.feature.rms(y=y)[0],
        "flux": np.concatenate([[0.0], np.linalg.norm(np.diff(S, axis=1), axis=0)]),
        "chroma": librosa.feature.chroma_cqt(y=y, sr=SAMPLE_RATE).sum(axis=0),
    }
    for name, curve in expected.items():
        error = np.abs(getattr(found, name) - curve)
        inner = error[ENDS:-ENDS] if name == "chroma" else error
        assert inner.max() <= 1e-3 * curve.max(), name


def test_onsets_are_the_reference(librosa: ModuleType, music: Clip) -> None:
    envelope = librosa.onset.onset_strength(y=music.samples, sr=SAMPLE_RATE)
    frames = librosa.onset.onset_detect(onset_envelope=envelope, sr=SAMPLE_RATE)
    starts = librosa.onset.onset_detect(onset_envelope=envelope, sr=SAMPLE_RATE, backtrack=True)
    found = onset_events(music)
    np.testing.assert_array_equal(found.frames, frames)
    np.testing.assert_allclose(found.times_s, librosa.frames_to_time(frames, sr=SAMPLE_RATE))
    np.testing.assert_allclose(found.backtracked_s, librosa.frames_to_time(starts, sr=SAMPLE_RATE))
    np.testing.assert_allclose(found.strength, envelope[frames] / envelope.max(), rtol=1e-3)


def test_silence_has_no_onset_and_no_tempogram() -> None:
    clip = Clip(np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    events = onset_events(clip)
    assert not len(events.frames) and not len(events.strength) and not len(events.backtracked_s)
    assert not mean_tempogram(clip).any() and not onset_envelope(clip).any()


def test_the_mean_tempogram_is_the_mean_of_the_tempogram(music: Clip) -> None:
    np.testing.assert_allclose(mean_tempogram(music), tempogram(music).mean(axis=0), atol=1e-5)


# --- autocorrelation ---------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=40),
    st.integers(0, 50),
    st.booleans(),
)
def test_autocorrelation_is_the_sum_of_products(values: list[float], n_lags: int, unbiased: bool) -> None:
    x = np.array(values)
    centred = x - x.mean()
    energy = float(centred @ centred)
    expected = np.zeros(n_lags)
    for lag in range(min(n_lags, len(x))):
        products = sum(centred[t] * centred[t + lag] for t in range(len(x) - lag))
        expected[lag] = products * (len(x) / (len(x) - lag) if unbiased else 1)
    if np.sqrt(energy / len(x)) > 1e-5 * np.abs(x).max():
        np.testing.assert_allclose(
            autocorrelation(x, n_lags, unbiased=unbiased), expected / energy, atol=1e-6
        )
    elif energy < 1e-14 * np.abs(x).max() ** 2:
        assert not autocorrelation(x, n_lags, unbiased=unbiased).any()


def test_a_constant_has_no_autocorrelation_whatever_its_rounding() -> None:
    assert not autocorrelation(np.full(1000, np.float32(0.1)), 10).any()
    assert not autocorrelation(np.array([[0.3, 0.3 + 1e-8, 0.3], [0.0, 0.0, 0.0]]), 3).any()
    assert autocorrelation(np.empty((2, 0)), 4).shape == (2, 4)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.floats(-1, 1, width=32), min_size=0, max_size=120),
    st.lists(st.floats(0, 150), min_size=0, max_size=8),
)
def test_lag_peaks_are_the_largest_within_five_percent(values: list[float], lags: list[float]) -> None:
    expected = []
    for lag in lags:
        middle = int(np.floor(lag + 0.5 + 1e-6))
        width = max(1, int(0.05 * middle + 1e-9))
        inside = 1 <= middle <= len(values) - 1
        expected.append(max(values[max(1, middle - width) : middle + width + 1]) if inside else 0.0)
    np.testing.assert_array_equal(lag_peaks(np.array(values), lags), expected)
    two = np.stack([np.array(values), -np.array(values)])
    np.testing.assert_array_equal(lag_peaks(two, lags)[0], expected)
