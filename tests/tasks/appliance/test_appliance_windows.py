"""Windows: the reference grid, levels against brute force, outliers by rank, every reader the same mean of channels."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
from appliance_recordings import noise
from hypothesis import given
from hypothesis import strategies as st

from earmark.audio.decode import decode
from earmark.errors import TooShortError, UsageError
from earmark.tasks.appliance import windows
from earmark.tasks.appliance.windows import Windowing, measure, outliers, window_rms

RATE = 16_000


def test_three_minutes_give_the_reference_grid() -> None:
    for seconds in (180.210068, 180.813787):
        starts = Windowing().starts_s(round(seconds * RATE))
        assert (len(starts), starts[0], starts[-1]) == (117, 0.0, 174.0)
        assert np.array_equal(starts, np.arange(117) * 1.5)
        assert outliers(np.arange(117.0)).sum() == 1
    assert len(Windowing(4.0, 0.5).starts_s(180 * RATE)) == 353


@given(
    n=st.integers(0, 5 * RATE),
    window_s=st.sampled_from([0.1, 0.5, 1.0, 1.37]),
    hop_s=st.sampled_from([0.1, 0.3, 0.7, 1.0, 2.0]),
)
def test_windows_start_at_every_multiple_of_the_hop_where_a_whole_one_fits(
    n: int, window_s: float, hop_s: float
) -> None:
    starts = Windowing(window_s, hop_s).starts_s(n)
    hop, first = Fraction(str(hop_s)), []
    while round(len(first) * hop * RATE) + round(window_s * RATE) <= n:
        first.append(float(len(first) * hop))
    assert starts.tolist() == first


@given(
    n_window=st.integers(1, 50),
    hop=st.integers(1, 70),
    n=st.integers(50, 400),
    quiet=st.tuples(st.integers(0, 400), st.integers(0, 400)),
    seed=st.integers(0, 9),
)
def test_levels_are_those_of_each_window_alone_and_silence_is_zero(
    n_window: int, hop: int, n: int, quiet: tuple[int, int], seed: int
) -> None:
    samples = np.random.default_rng(seed).standard_normal(n).astype(np.float32)
    samples[min(quiet) : max(quiet)] = 0.0
    firsts = np.arange(0, n - n_window + 1, hop)
    found = window_rms(samples, firsts, n_window)
    for first, rms in zip(firsts, found, strict=True):
        window = samples[first : first + n_window].astype(np.float64)
        assert rms == pytest.approx(np.sqrt(np.mean(window**2)), rel=1e-12)
        assert (rms == 0.0) == (not window.any())


def test_of_equal_levels_the_earliest_is_an_outlier_and_both_ranks_count() -> None:
    rms = np.array([1.0, 5.0, 5.0, 2.0, 5.0])
    flux = np.array([9.0, 1.0, 2.0, 8.0, 3.0])
    assert np.flatnonzero(outliers(rms, share=0.4)).tolist() == [1, 2]
    assert np.flatnonzero(outliers(rms, flux, share=0.4, by="flux")).tolist() == [0, 3]
    # mean ranks: 3, 2.5, 3, 3, 3.5
    assert np.flatnonzero(outliers(rms, flux, share=0.4, by="rms+flux")).tolist() == [0, 4]
    assert not outliers(rms, share=0.0).any()
    for share in (-0.1, 1.0, float("nan")):
        with pytest.raises(UsageError, match="share of windows"):
            outliers(rms, share=share)
    with pytest.raises(UsageError, match="flux was not measured"):
        outliers(rms, by="flux")


def test_a_long_recording_has_the_windows_of_a_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, noise(61.3, rate=22_050), 22_050)
    held = measure(path, Windowing(3.0, 0.7), with_flux=True)
    monkeypatch.setattr(windows, "SPOOL_S", 1.0)
    monkeypatch.setattr(windows, "_PIECE_S", 7.0)
    spooled = measure(path, Windowing(3.0, 0.7), with_flux=True)
    assert np.array_equal(held.starts_s, spooled.starts_s)
    assert np.allclose(held.rms, spooled.rms, rtol=1e-12)
    assert held.flux is not None
    assert np.array_equal(held.flux, spooled.flux)
    assert held.duration_s == spooled.duration_s


def test_a_recording_shorter_than_a_window_is_refused_with_its_length(tmp_path: Path) -> None:
    path = tmp_path / "short.wav"
    soundfile.write(path, noise(5.9), RATE)
    with pytest.raises(TooShortError, match=r"has 5\.900 s; expected at least one window of 6 s"):
        measure(path, Windowing())
    for lengths in ((0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (float("nan"), 1.0)):
        with pytest.raises(UsageError, match="cannot be cut"):
            Windowing(*lengths)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".m4a"])
def test_every_reader_gives_the_mean_of_the_channels_without_a_program_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    left = np.sin(2 * np.pi * 440 * np.arange(8 * 44_100) / 44_100) * 0.5
    path = tmp_path / f"stereo{suffix}"
    write_audio(path, np.stack([left, left * 0.5]), 44_100)
    clip = decode(path, sample_rate=RATE)
    rms = window_rms(clip.samples, np.array([RATE]), 6 * RATE)[0]
    lossy = suffix in (".ogg", ".m4a")
    assert rms == pytest.approx(0.375 / np.sqrt(2), rel=2e-2 if lossy else 1e-4)


def write_audio(path: Path, channels: np.ndarray, rate: int) -> None:
    """Samples (n_channels, n) in the form of the suffix."""
    if path.suffix != ".m4a":
        soundfile.write(path, channels.T, rate)
        return
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate, layout="stereo")
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(channels, dtype=np.float32), format="fltp", layout="stereo"
        )
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
