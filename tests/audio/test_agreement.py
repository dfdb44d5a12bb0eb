"""Agreement with librosa 0.11 within 1e-3, on generated broadband music and, where it is at hand, on real music.

librosa is an oracle here and no dependency: without it (extra ``bench``) these tests skip and the golden
numbers remain.
Spectral contrast is compared with librosa on magnitudes that have the floor of `earmark.audio.descriptors`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from signals import REAL_MUSIC, SAMPLE_RATE, broadband

from earmark.audio.clip import Clip
from earmark.audio.decode import decode
from earmark.audio.descriptors import CONTRAST_FLOOR, spectral_descriptors
from earmark.audio.filterbanks import chroma_filterbank, mel_filterbank
from earmark.audio.hpss import harmonic_percussive_energy, harmonic_percussive_frames
from earmark.audio.mel import log_mel, mfcc
from earmark.audio.onset import onset_envelope
from earmark.audio.pitch import yin
from earmark.audio.spectrum import magnitude, rms, stft, zero_crossing_rate
from earmark.audio.tempo import beat_frames, beat_times_s, tempo, tempogram
from earmark.audio.tonal import chroma, tonnetz, tuning

librosa = pytest.importorskip("librosa", reason='librosa is not installed: pip install "earmark[bench]"')

TOLERANCE = 1e-3
SONGS = sorted(REAL_MUSIC.glob("*.ogg"))
QUICK_SONGS = SONGS[5::40]
needs_music = pytest.mark.skipif(not SONGS, reason=f"no real music at {REAL_MUSIC}")

Oracle = Callable[[np.ndarray, np.ndarray], object]

# Frame by frame: largest difference relative to the largest value.
FRAMES: dict[str, tuple[Callable[[Clip], np.ndarray], Oracle]] = {
    "stft": (lambda c: c.memo(stft), lambda y, S: librosa.stft(y).T),
    "magnitude": (lambda c: c.memo(magnitude), lambda y, S: S.T),
    "rms": (lambda c: c.memo(rms), lambda y, S: librosa.feature.rms(y=y)[0]),
    "zero_crossing_rate": (
        lambda c: c.memo(zero_crossing_rate),
        lambda y, S: librosa.feature.zero_crossing_rate(y)[0],
    ),
    "centroid": (
        lambda c: c.memo(spectral_descriptors).centroid_hz,
        lambda y, S: librosa.feature.spectral_centroid(S=S)[0],
    ),
    "bandwidth": (
        lambda c: c.memo(spectral_descriptors).bandwidth_hz,
        lambda y, S: librosa.feature.spectral_bandwidth(S=S)[0],
    ),
    "flatness": (
        lambda c: c.memo(spectral_descriptors).flatness,
        lambda y, S: librosa.feature.spectral_flatness(S=S)[0],
    ),
    "mel_power": (
        lambda c: c.memo(spectral_descriptors).mel_power,
        lambda y, S: librosa.feature.melspectrogram(y=y).T,
    ),
    "log_mel": (
        lambda c: c.memo(log_mel),
        lambda y, S: librosa.power_to_db(librosa.feature.melspectrogram(y=y)).T,
    ),
    "mfcc": (lambda c: c.memo(mfcc), lambda y, S: librosa.feature.mfcc(y=y).T),
    "onset": (lambda c: c.memo(onset_envelope), lambda y, S: librosa.onset.onset_strength(y=y)),
    "tempogram": (lambda c: c.memo(tempogram), lambda y, S: librosa.feature.tempogram(y=y).T),
    "chroma": (lambda c: c.memo(chroma), lambda y, S: librosa.feature.chroma_stft(y=y).T),
    "tonnetz": (
        lambda c: c.memo(tonnetz),
        lambda y, S: librosa.feature.tonnetz(chroma=librosa.feature.chroma_stft(y=y)).T,
    ),
    "hpss_frames": (
        lambda c: c.memo(harmonic_percussive_frames),
        lambda y, S: np.stack([part.sum(axis=0) for part in librosa.decompose.hpss(S)], axis=1),
    ),
}

# One number or a few for the clip: relative difference of each.
SUMMARIES: dict[str, tuple[Callable[[Clip], object], Oracle]] = {
    "rolloff85_mean": (
        lambda c: c.memo(spectral_descriptors).rolloff85_hz.mean(),
        lambda y, S: librosa.feature.spectral_rolloff(S=S, roll_percent=0.85).mean(),
    ),
    "rolloff90_mean": (
        lambda c: c.memo(spectral_descriptors).rolloff90_hz.mean(),
        lambda y, S: librosa.feature.spectral_rolloff(S=S, roll_percent=0.90).mean(),
    ),
    "contrast_mean": (
        lambda c: c.memo(spectral_descriptors).contrast_db.mean(axis=0, dtype=np.float64),
        lambda y, S: _contrast(S).mean(axis=1),
    ),
    "contrast_std": (
        lambda c: c.memo(spectral_descriptors).contrast_db.std(axis=0, dtype=np.float64),
        lambda y, S: _contrast(S).std(axis=1),
    ),
    "mfcc_mean": (
        lambda c: c.memo(mfcc)[:, :5].mean(axis=0),
        lambda y, S: librosa.feature.mfcc(y=y)[:5].mean(axis=1),
    ),
    "hpss_energy": (
        lambda c: np.array(c.memo(harmonic_percussive_energy)),
        lambda y, S: np.array([np.sum(part.astype(np.float64) ** 2) for part in librosa.effects.hpss(y)]),
    ),
    "tuning": (
        lambda c: c.memo(tuning) + 1.0,
        lambda y, S: librosa.estimate_tuning(S=S**2, sr=SAMPLE_RATE) + 1.0,
    ),
}


def _contrast(S: np.ndarray) -> np.ndarray:
    return librosa.feature.spectral_contrast(S=np.maximum(S, CONTRAST_FLOOR * S.max(axis=0)), sr=SAMPLE_RATE)


@pytest.fixture(scope="module")
def generated() -> tuple[Clip, np.ndarray]:
    clip = Clip(broadband(20.0), SAMPLE_RATE)
    return clip, np.abs(librosa.stft(clip.samples))


@pytest.mark.parametrize("name", FRAMES)
def test_frames_on_generated_music(name: str, generated: tuple[Clip, np.ndarray]) -> None:
    _compare_frames(name, *generated)


@pytest.mark.parametrize("name", SUMMARIES)
def test_summaries_on_generated_music(name: str, generated: tuple[Clip, np.ndarray]) -> None:
    _compare_summary(name, *generated)


def test_beats_on_generated_music(generated: tuple[Clip, np.ndarray]) -> None:
    _compare_beats(generated[0])


def test_pitch_on_generated_music(generated: tuple[Clip, np.ndarray]) -> None:
    _compare_pitch(generated[0])


@needs_music
@pytest.mark.parametrize("song", QUICK_SONGS, ids=lambda path: path.stem)
def test_real_music(song: Path) -> None:
    _compare_song(song, seconds=15)


@needs_music
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_real_music() -> None:
    for song in SONGS:
        _compare_song(song)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
@pytest.mark.parametrize("n_fft", [1024, 2048])
def test_filterbanks(rate: int, n_fft: int) -> None:
    with np.errstate(all="ignore"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *a, **k: None)  # librosa remarks on empty bands
        expected = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=128)
    np.testing.assert_allclose(mel_filterbank(rate, n_fft), expected, atol=1e-7)
    np.testing.assert_allclose(
        mel_filterbank(rate, n_fft, 40, 20.0, 3500.0),
        librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=40, fmin=20.0, fmax=3500.0),
        atol=1e-7,
    )
    for value in (-0.5, 0.0, 0.13, 0.49):
        np.testing.assert_allclose(
            chroma_filterbank(rate, n_fft, value),
            librosa.filters.chroma(sr=rate, n_fft=n_fft, tuning=value),
            atol=1e-6,
        )


def _compare_song(song: Path, seconds: int | None = None) -> None:
    clip = decode(song, sample_rate=SAMPLE_RATE)
    if seconds is not None:
        clip = Clip(clip.samples[: seconds * SAMPLE_RATE], SAMPLE_RATE, uri=clip.uri)
    S = np.abs(librosa.stft(clip.samples))
    for name in FRAMES:
        _compare_frames(name, clip, S)
    for name in SUMMARIES:
        _compare_summary(name, clip, S)
    _compare_beats(clip)


def _compare_frames(name: str, clip: Clip, S: np.ndarray) -> None:
    ours, oracle = FRAMES[name]
    found, expected = ours(clip), np.asarray(oracle(clip.samples, S))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max(), (name, clip.uri)


def _compare_summary(name: str, clip: Clip, S: np.ndarray) -> None:
    ours, oracle = SUMMARIES[name]
    found, expected = np.asarray(ours(clip)), np.asarray(oracle(clip.samples, S))
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE, err_msg=f"{name} {clip.uri}")


def _compare_beats(clip: Clip) -> None:
    """Identical to librosa's tracker on its own envelope."""
    envelope = librosa.onset.onset_strength(y=clip.samples, sr=SAMPLE_RATE)
    bpm, frames = librosa.beat.beat_track(
        onset_envelope=envelope, sr=SAMPLE_RATE, start_bpm=120, tightness=100
    )
    assert clip.memo(tempo) == pytest.approx(float(np.atleast_1d(bpm)[0]), rel=1e-9), clip.uri
    np.testing.assert_array_equal(clip.memo(beat_frames), frames, err_msg=str(clip.uri))
    np.testing.assert_allclose(clip.memo(beat_times_s), librosa.frames_to_time(frames, sr=SAMPLE_RATE))


def _compare_pitch(clip: Clip) -> None:
    expected = librosa.yin(clip.samples, fmin=65, fmax=2093, sr=SAMPLE_RATE)
    f0_hz, aperiodicity = clip.memo(yin)
    assert f0_hz.shape == expected.shape
    assert (np.abs(f0_hz - expected) > TOLERANCE * expected).mean() < 0.01
    assert ((aperiodicity >= 0) & (aperiodicity <= 1)).all()
