"""The fused kernels against the same definitions written plainly with numpy and scipy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import njit
from scipy.fft import rfft
from signals import SAMPLE_RATE, broadband

from earmark.audio.clip import Clip
from earmark.audio.descriptors import CONTRAST_FLOOR, contrast_bands, spectral_descriptors
from earmark.audio.filterbanks import chroma_filterbank, mel_filterbank
from earmark.audio.hpss import harmonic_percussive_signals, separate
from earmark.audio.running_median import running_median, running_median_transposed
from earmark.audio.simd import LANES
from earmark.audio.spectrum import fft_frequencies_hz, hann_window, magnitude, rms, stft, zero_crossing_rate
from earmark.audio.tempo import local_tempo, tempogram
from earmark.audio.tempogram_kernel import windowed_autocorrelation
from earmark.audio.tile_fft import CHUNK, SPECTRUM_TILE, TIME_TILE, forward, inverse, twiddles
from earmark.audio.tonal import chroma, tuning

# around one frame, one tile of 16 frames, two tiles, and the 15 frames of look-ahead
LENGTHS = (
    1,
    2,
    511,
    512,
    1023,
    1024,
    2047,
    2048,
    16 * 512 - 1,
    16 * 512,
    17 * 512 + 3,
    31 * 512,
    32 * 512 + 9,
    70_001,
)


@pytest.fixture(scope="module")
def clip() -> Clip:
    return Clip(broadband(8.0), SAMPLE_RATE)


def test_forward_transform_is_the_fft() -> None:
    samples = np.random.default_rng(0).standard_normal(CHUNK + 500).astype(np.float32)
    time, spare = np.empty(TIME_TILE, np.float32), np.empty(TIME_TILE, np.float32)
    tile = np.empty(SPECTRUM_TILE, np.float32)
    for first in (0, 300, -1024, 5_000):
        forward(samples, first, hann_window(2048), twiddles(), time, spare, tile)
        padded = np.pad(samples, 20_000)[20_000 + first :]
        frames = np.stack([padded[512 * j : 512 * j + 2048] for j in range(LANES)])
        expected = rfft(frames.astype(np.float64) * hann_window(2048), axis=1)
        found = (tile.reshape(-1, 2, LANES)[:, 0] + 1j * tile.reshape(-1, 2, LANES)[:, 1]).T
        assert np.abs(found - expected).max() < 1e-6 * np.abs(expected).max()


def test_inverse_transform_restores_the_frames() -> None:
    samples = np.random.default_rng(1).standard_normal(CHUNK).astype(np.float32)
    time, spare = np.empty(TIME_TILE, np.float32), np.empty(TIME_TILE, np.float32)
    tile = np.empty(SPECTRUM_TILE, np.float32)
    forward(samples, 0, np.ones(2048, np.float32), twiddles(), time, spare, tile)
    inverse(tile, twiddles(), time, spare)
    found = spare.reshape(-1, 2, LANES)[:, ::-1].reshape(2048, LANES).T / 2048
    for j in range(LANES):
        np.testing.assert_allclose(found[j], samples[512 * j : 512 * j + 2048], atol=2e-5)


@njit
def _medians(source: np.ndarray, plain: np.ndarray, turned: np.ndarray) -> None:
    running_median(source, 0, LANES, plain, 0)
    running_median_transposed(source, 0, LANES, turned, 0)


@pytest.mark.parametrize("kind", ["normal", "ties", "ascending"])
def test_running_median_is_exact(kind: str) -> None:
    rng = np.random.default_rng(2)
    rows = {
        "normal": rng.standard_normal((46, LANES)),
        "ties": rng.integers(0, 4, (46, LANES)),
        "ascending": np.arange(46 * LANES).reshape(46, LANES),
    }[kind].astype(np.float32)
    plain, turned = np.empty(LANES * LANES, np.float32), np.empty(LANES * LANES, np.float32)
    _medians(rows.ravel(), plain, turned)
    expected = np.stack([np.median(rows[j : j + 31], axis=0) for j in range(LANES)])
    np.testing.assert_array_equal(plain.reshape(LANES, LANES), expected)
    np.testing.assert_array_equal(turned.reshape(LANES, LANES), expected.T)


@pytest.mark.parametrize("n", LENGTHS)
def test_separation_of_any_length(n: int) -> None:
    samples = broadband(4.0)[20_000 : 20_000 + n]
    clip = Clip(samples, SAMPLE_RATE)
    harmonic, percussive = harmonic_percussive_signals(clip)
    expected, frames = _plain_separation(clip)
    np.testing.assert_allclose(harmonic, expected, atol=3e-6)
    np.testing.assert_allclose(harmonic + percussive, samples, atol=1e-6)
    found = clip.memo(separate)
    assert found.harmonic_energy == pytest.approx(float(expected @ expected), rel=1e-4, abs=1e-9)
    rest = samples - expected
    assert found.percussive_energy == pytest.approx(float(rest @ rest), rel=1e-4, abs=1e-9)
    np.testing.assert_allclose(found.frames, frames, rtol=1e-4, atol=1e-4)


def _plain_medians(S: np.ndarray) -> np.ndarray:
    """Medians of 31 along the first axis, reflected. (scipy's median_filter is wrong on axes of length 2 and 3.)"""
    padded = np.pad(S, ((15, 15), (0, 0)), mode="symmetric")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 31, axis=0), axis=-1)


def _plain_separation(clip: Clip) -> tuple[np.ndarray, np.ndarray]:
    """Harmonic signal and frame sums, by numpy's median and one inverse FFT for each frame."""
    spectrum = clip.memo(stft).astype(np.complex128)
    S = np.abs(spectrum)
    h, p = _plain_medians(S) ** 2, _plain_medians(S.T).T ** 2
    mask = np.where(h + p > 0, h / np.where(h + p > 0, h + p, 1), 0.5)
    frames = np.fft.irfft(spectrum * mask, axis=1) * hann_window(2048)
    total, weight = np.zeros(2048 + 512 * len(S)), np.zeros(2048 + 512 * len(S))
    for i, frame in enumerate(frames):
        total[512 * i : 512 * i + 2048] += frame
        weight[512 * i : 512 * i + 2048] += hann_window(2048).astype(np.float64) ** 2
    inside = slice(1024, 1024 + len(clip.samples))
    sums = np.stack([(S * mask).sum(axis=1), (S * (1 - mask)).sum(axis=1)], axis=1)
    return total[inside] / weight[inside], sums


@pytest.mark.parametrize("n", LENGTHS)
def test_level_of_any_length(n: int) -> None:
    samples = broadband(4.0)[20_000 : 20_000 + n]
    clip = Clip(samples, SAMPLE_RATE)
    for length, hop in ((2048, 512), (1024, 256), (1000, 300)):
        frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, length // 2), length)[::hop]
        expected = np.sqrt((frames.astype(np.float64) ** 2).mean(axis=1))
        np.testing.assert_allclose(rms(clip, length, hop), expected, rtol=1e-5, atol=1e-9)
        edged = np.lib.stride_tricks.sliding_window_view(np.pad(samples, length // 2, mode="edge"), length)[
            ::hop
        ]
        crossings = (np.diff((edged < -1e-10).astype(int), axis=1) != 0).sum(axis=1) / length
        np.testing.assert_allclose(zero_crossing_rate(clip, length, hop), crossings, rtol=1e-6)


@pytest.mark.parametrize("n", LENGTHS)
def test_descriptors_of_any_length(n: int) -> None:
    clip = Clip(broadband(4.0)[20_000 : 20_000 + n], SAMPLE_RATE)
    found, S = clip.memo(spectral_descriptors), clip.memo(magnitude).astype(np.float64)
    f = fft_frequencies_hz(SAMPLE_RATE)
    total = S.sum(axis=1)
    centroid = S @ f / total
    np.testing.assert_allclose(found.magnitude_sum, total, rtol=1e-5)
    np.testing.assert_allclose(found.high_sum, S[:, f > 3000].sum(axis=1), rtol=1e-3)
    np.testing.assert_allclose(found.brightness, S[:, f > 3000].sum(axis=1) / (total + 1e-6), rtol=1e-3)
    np.testing.assert_allclose(found.centroid_hz, centroid, rtol=1e-4)
    spread = np.sqrt((S * (f - centroid[:, None]) ** 2).sum(axis=1) / total)
    np.testing.assert_allclose(found.bandwidth_hz, spread, rtol=1e-4)
    power = np.maximum(S**2, 1e-10)
    np.testing.assert_allclose(
        found.flatness, np.exp(np.log(power).mean(axis=1)) / power.mean(axis=1), rtol=1e-3
    )
    flux = np.sqrt((np.diff(S, axis=0, prepend=S[:1]) ** 2).sum(axis=1))
    np.testing.assert_allclose(found.flux, flux, rtol=1e-4, atol=1e-6)
    mel = S**2 @ mel_filterbank(SAMPLE_RATE).T
    np.testing.assert_allclose(found.mel_power, mel, rtol=1e-4, atol=1e-6 * mel.max())
    np.testing.assert_allclose(found.contrast_db, _plain_contrast(S), atol=0.02)
    for values, share in ((found.rolloff85_hz, 0.85), (found.rolloff90_hz, 0.90)):
        expected = f[(np.cumsum(S, axis=1) < share * total[:, None]).sum(axis=1)]
        assert np.abs(values - expected).max() <= f[1] * 1.01, "rounding may move it by one bin"
        assert (np.abs(values - expected) > 1).mean() < 0.1


def _plain_contrast(S: np.ndarray) -> np.ndarray:
    floored = np.maximum(S, CONTRAST_FLOOR * S.max(axis=1, keepdims=True))
    levels = []
    for side in (1, -1):
        means = []
        for first, end, count in contrast_bands(SAMPLE_RATE):
            means.append(np.sort(floored[:, first:end], axis=1)[:, ::-side][:, :count].mean(axis=1))
        level = 10 * np.log10(np.maximum(np.array(means).T, 1e-10))
        levels.append(np.maximum(level, level.max() - 80))
    return levels[0] - levels[1]


def test_chroma_is_the_filterbank_on_the_power(clip: Clip) -> None:
    weights = chroma_filterbank(SAMPLE_RATE, tuning=clip.memo(tuning))
    raw = clip.memo(magnitude).astype(np.float64) ** 2 @ weights.T
    np.testing.assert_allclose(clip.memo(chroma), raw / raw.max(axis=1, keepdims=True), atol=1e-4)


@pytest.mark.parametrize("window_frames", [384, 344, 33])
def test_running_autocorrelation_is_the_tempogram(window_frames: int, clip: Clip) -> None:
    from earmark.audio.onset import onset_envelope
    from earmark.audio.tempo import _padded

    padded = _padded(clip.memo(onset_envelope), window_frames)
    mean, energies = windowed_autocorrelation(padded, window_frames, window_frames)
    expected = clip.memo(tempogram, window_frames=window_frames)
    np.testing.assert_allclose(mean, expected.mean(axis=0), atol=1e-6)
    assert len(energies) == len(expected) and (energies >= 0).all()


def test_running_autocorrelation_does_not_drift() -> None:
    """A loud passage leaves nothing behind in the frames after it."""
    envelope = np.zeros(60_000)
    envelope[:5_000] = np.random.default_rng(3).random(5_000) * 80
    _, energies = windowed_autocorrelation(envelope, 384, 384)
    assert (energies[5_500:] == 0).all()


def test_local_tempo_is_the_best_lag_of_the_tempogram(clip: Clip) -> None:
    values = clip.memo(tempogram)[:, 13:44]
    bpm = 60 * SAMPLE_RATE / 512 / (13 + values.argmax(axis=1))
    np.testing.assert_allclose(clip.memo(local_tempo), bpm, rtol=1e-6)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_other_rates(rate: int) -> None:
    clip = Clip(broadband(3.0), rate)
    found = clip.memo(spectral_descriptors)
    f = fft_frequencies_hz(rate)
    S = clip.memo(magnitude)
    np.testing.assert_allclose(found.centroid_hz, S @ f / S.sum(axis=1), rtol=1e-4)
    absent = [start >= rate / 2 for start in (0, 200, 400, 800, 1600, 3200, 6400)]
    assert (found.contrast_db[:, absent] == 0).all() and np.isfinite(found.contrast_db).all()


def test_read_only_installation_uses_the_cache_directory(tmp_path: Path) -> None:
    """Where the package cannot be written to, numba compiles into NUMBA_CACHE_DIR and later processes load from it."""
    script = (
        "import numpy as np, time\n"
        "from earmark.audio.clip import Clip\n"
        "from earmark.audio.level_kernel import block_energies\n"
        "from earmark.audio.spectrum import rms\n"
        "rms(Clip(np.ones(5000, np.float32), 22050))\n"
        "print(sum(block_energies.stats.cache_hits.values()))\n"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    hits = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        hits.append(int(done.stdout))
    assert hits == [0, 1]
    assert list(tmp_path.rglob("*.nbc"))
