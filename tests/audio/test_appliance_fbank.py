"""Kaldi's filter bank: against Kaldi's own code, its constants, and shapes that leave nothing to guess."""

from __future__ import annotations

import numpy as np
import pytest

from earmark.audio.kaldi_fbank import (
    FBANK_MEAN,
    FBANK_STD,
    N_MELS,
    SAMPLE_RATE,
    kaldi_fbank,
    n_fbank_frames,
    normalised_fbank,
)
from earmark.errors import UsageError

FLOOR = -15.942385  # natural log of 2^-23


def noise(n_samples: int = 96_000, amplitude: float = 0.1, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(n_samples) * amplitude).astype(np.float32)


def by_kaldi(waveform: np.ndarray) -> np.ndarray:
    """Filter bank of Kaldi's C++ code, shape (n_frames, 128)."""
    knf = pytest.importorskip("kaldi_native_fbank", reason="pip install 'kaldi-native-fbank<1.23'")
    options = knf.FbankOptions()
    options.frame_opts.dither = 0.0
    options.mel_opts.num_bins = N_MELS
    try:
        computer = knf.OnlineFbank(options)
        computer.accept_waveform(SAMPLE_RATE, (waveform.astype(np.float64) * 2**15).tolist())
    except ValueError as error:
        pytest.skip(f"kaldi-native-fbank >= 1.23 refuses bands without a bin ({error}); install one below")
    computer.input_finished()
    return np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)])


@pytest.mark.parametrize("amplitude", [1e-4, 1e-2, 0.3])
@pytest.mark.parametrize("n_samples", [400, 16_123, 96_000])
def test_agrees_with_kaldi_on_noise(amplitude: float, n_samples: int) -> None:
    waveform = noise(n_samples, amplitude)
    reference = by_kaldi(waveform)
    ours = kaldi_fbank(waveform, SAMPLE_RATE)
    assert ours.shape == reference.shape
    assert np.abs(ours - reference).max() / (2 * FBANK_STD) < 1e-4


def test_six_seconds_are_598_frames_and_filter_3_is_empty() -> None:
    rows = kaldi_fbank(noise(), SAMPLE_RATE)
    assert rows.shape == (598, 128) and rows.dtype == np.float32
    np.testing.assert_allclose(rows[:, 3], FLOOR, atol=1e-6)
    varying = np.flatnonzero(np.ptp(rows, axis=0) > 0)
    assert varying.tolist() == [i for i in range(128) if i != 3]
    assert n_fbank_frames(16_000) == 98  # 1 s, 48 tokens of 16 x 16


def test_silence_and_constants_are_at_the_floor() -> None:
    for waveform in (np.zeros(8_000), np.full(8_000, 0.25), -np.ones(8_000)):
        assert np.allclose(kaldi_fbank(waveform, SAMPLE_RATE), FLOOR, atol=1e-6)


def test_normalised_by_mean_and_twice_the_deviation() -> None:
    waveform = noise(4_000)
    raw = kaldi_fbank(waveform, SAMPLE_RATE).astype(np.float64)
    ours = normalised_fbank(waveform, SAMPLE_RATE)
    np.testing.assert_allclose(ours, (raw - 15.41663) / (2 * 6.55582), atol=1e-6)
    other = normalised_fbank(waveform, SAMPLE_RATE, mean=15.2913, std=5.90532)
    np.testing.assert_allclose(other, (raw - 15.2913) / (2 * 5.90532), atol=1e-6)
    assert (FBANK_MEAN, FBANK_STD) == (15.41663, 6.55582)


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5])
def test_a_batch_gives_the_bits_of_its_members(batch: int) -> None:
    """Trap 9: up to four waveforms were averaged as if they were channels."""
    waveforms = np.stack([noise(16_000, seed=seed) for seed in range(batch)])
    rows = kaldi_fbank(waveforms, SAMPLE_RATE)
    assert rows.shape == (batch, 98, 128)
    for row, waveform in zip(rows, waveforms, strict=True):
        assert np.array_equal(row, kaldi_fbank(waveform, SAMPLE_RATE))
    assert np.array_equal(rows, kaldi_fbank(waveforms[:, None, :], SAMPLE_RATE))


def test_channels_are_averaged() -> None:
    stereo = np.stack([noise(16_000, seed=1), noise(16_000, seed=2)])[None]
    mean = stereo.astype(np.float64).mean(axis=1)
    assert np.array_equal(kaldi_fbank(stereo, SAMPLE_RATE), kaldi_fbank(mean, SAMPLE_RATE))


def test_memory_layout_does_not_matter() -> None:
    strided = np.repeat(noise(20_000), 3)[::3]
    column = np.asfortranarray(np.stack([noise(20_000), noise(20_000, seed=4)]))
    expected = kaldi_fbank(noise(20_000), SAMPLE_RATE)
    assert np.array_equal(kaldi_fbank(strided, SAMPLE_RATE), expected)
    assert np.array_equal(kaldi_fbank(column, SAMPLE_RATE)[0], expected)


def test_a_frame_hears_only_its_25_ms() -> None:
    waveform = noise(16_000)
    changed = waveform.copy()
    changed[:8_000] = noise(8_000, seed=9)
    changed[8_400:] = noise(7_600, seed=10)
    ours, other = kaldi_fbank(waveform, SAMPLE_RATE), kaldi_fbank(changed, SAMPLE_RATE)
    assert np.array_equal(ours[50], other[50])  # frame 50 is 8000 to 8400
    assert not np.array_equal(ours[49], other[49]) and not np.array_equal(ours[51], other[51])


def test_less_than_a_frame_is_no_frame() -> None:
    assert kaldi_fbank(noise(399), SAMPLE_RATE).shape == (0, 128)
    assert kaldi_fbank(np.zeros((2, 10)), SAMPLE_RATE).shape == (2, 0, 128)


def test_other_rates_and_shapes_are_refused() -> None:
    with pytest.raises(UsageError, match="44100 Hz.*16000 Hz"):
        kaldi_fbank(noise(), 44_100)
    with pytest.raises(UsageError, match=r"\(1, 1, 1, 8\)"):
        kaldi_fbank(np.zeros((1, 1, 1, 8)), SAMPLE_RATE)
