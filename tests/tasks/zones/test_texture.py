"""Texture columns: free of gain and duration, larger for denser sound, and by hand where a formula allows."""

from __future__ import annotations

import numpy as np
import pytest
from zone_signals import SAMPLE_RATE, coloured_noise, degenerate_clips, planted_drop

from earmark.audio.clip import Clip
from earmark.tasks.zones.texture import BANDS, PULSE_FLOOR, RATES_HZ, onset_rate, pulse_power, texture

FRAME_RATE_HZ = SAMPLE_RATE / 512


def row(clip: Clip) -> dict[str, float]:
    return dict(zip(texture.columns, texture(clip).tolist(), strict=True))


def clicks(per_second: float, duration_s: float = 12.0) -> Clip:
    """Bursts of noise of 10 ms over a faint noise."""
    rng = np.random.default_rng(2)
    samples = 1e-3 * rng.standard_normal(int(duration_s * SAMPLE_RATE))
    for start in (np.arange(0.5, duration_s - 0.5, 1 / per_second) * SAMPLE_RATE).astype(int):
        samples[start : start + 220] += 0.3 * rng.standard_normal(220)
    return Clip(samples.astype(np.float32), SAMPLE_RATE)


def test_columns() -> None:
    assert len(texture.columns) == 7 * 3 + 13 + 5 + 5 * 4 + 8
    assert texture.columns[0] == "contrast_0_p10"
    assert texture.columns[-1] == "level_spread"


def test_gain_changes_nothing() -> None:
    clip = planted_drop()[0]
    quiet = row(Clip(0.25 * clip.samples, SAMPLE_RATE))
    for name, value in row(clip).items():
        assert quiet[name] == pytest.approx(value, rel=0.02, abs=0.02), name


def test_onset_rate_counts_bursts() -> None:
    for per_second in (1.0, 2.0, 4.0):
        n_bursts = len(np.arange(0.5, 11.5, 1 / per_second))
        assert row(clicks(per_second))["onset_rate"] == pytest.approx(n_bursts / 12, rel=0.1)
    assert onset_rate(np.array([0.0, 3.5, 0.0, 2.9, 0.0, 4.0, 4.0, 0.0])) == pytest.approx(
        2 * FRAME_RATE_HZ / 8
    )
    assert onset_rate(np.zeros(1)) == 0


@pytest.mark.parametrize(
    ("rate_hz", "expected"), [(1.0, "slow"), (3.0, "beat"), (6.0, "fast"), (12.0, "rough")]
)
def test_pulse_power_finds_the_rate(rate_hz: float, expected: str) -> None:
    time = np.arange(600) / FRAME_RATE_HZ
    power = pulse_power(np.sin(2 * np.pi * rate_hz * time)[:, None])[0]
    assert list(RATES_HZ)[int(np.argmax(power))] == expected
    assert np.sort(power)[-1] - np.sort(power)[-2] > 5


def test_pulse_power_does_not_grow_with_duration() -> None:
    for n_frames in (400, 800, 1600):
        time = np.arange(n_frames) / FRAME_RATE_HZ
        power = pulse_power((10 * np.sin(2 * np.pi * 3 * time))[:, None])[0, 1]
        assert power == pytest.approx(np.log(100 / 4 * 3 / 8), abs=0.05)  # amplitude^2/4, Hann energy 3/8


def test_a_constant_curve_has_the_floor() -> None:
    np.testing.assert_allclose(pulse_power(np.full((50, 2), -30.0)), np.log(PULSE_FLOOR))


def test_denser_sound_has_less_contrast_and_more_flux() -> None:
    sparse, dense = row(clicks(1.0)), row(clicks(8.0))
    assert all(dense[f"flux_{band}"] > sparse[f"flux_{band}"] for band in BANDS)
    assert dense["percussive_p90"] > 0.5
    noise, tone = row(coloured_noise(0.0, 10.0, 1)), row(degenerate_clips()["sine"])
    assert tone["contrast_2_p50"] > noise["contrast_2_p50"] + 20  # 440 Hz lies in the band from 400 to 800 Hz


def test_silence_is_all_zero_but_the_pulses() -> None:
    silence = row(degenerate_clips()["silence"])
    # The cosine transform of a constant spectrum is exact to rounding only.
    sounding = {name: value for name, value in silence.items() if abs(value) > 1e-3}
    assert {name for name in sounding if not name.startswith("pulse")} == set()
    assert silence["pulse_bass_slow"] == pytest.approx(np.log(PULSE_FLOOR), rel=1e-5)
