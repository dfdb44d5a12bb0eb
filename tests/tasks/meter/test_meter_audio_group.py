"""All 1449 columns of ``meter.audio`` against a plain script over librosa, and what versions and edge cases give."""

from __future__ import annotations

import importlib.util
import multiprocessing
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from earmark.audio.clip import Clip
from earmark.audio.cqt import pitch_class_magnitudes
from earmark.audio.decode import decode
from earmark.audio.front_end import front_end
from earmark.errors import TooShortError, UsageError
from earmark.tasks.meter.groups.audio_columns import audio_columns
from earmark.tasks.meter.groups.audio_tracked import AUDIO_TRACKED
from earmark.tasks.meter.groups.audio_v6 import AUDIO, audio_group, audio_values
from earmark.tasks.meter.groups.slots import DEFAULT_TRACKERS, primary_beats
from earmark.tasks.meter.groups.tempo_candidates import beat_tempi, dp_tempi, tempogram_tempi
from earmark.tasks.meter.intervals import beats_bpm

SAMPLE_RATE = 22_050
REPOSITORY = Path(__file__).resolve().parents[3]
SONGS = sorted((REPOSITORY.parent / "shared" / "data" / "meter" / "audio").glob("**/*.ogg"))


def bars(seconds: float = 12.0, beats: int = 3, bpm: float = 132.0, seed: int = 5) -> np.ndarray:
    """Accented bars of struck chords over noise: every block has something to say."""
    rng = np.random.default_rng(seed)
    n = int(seconds * SAMPLE_RATE)
    t = np.arange(n) / SAMPLE_RATE
    beat = t * bpm / 60 + 0.13
    place, phase = beat.astype(int) % beats, beat % 1.0
    accent = np.where(place == 0, 1.0, 0.45)
    root = 220.0 * 2.0 ** (np.array([0, 3, 5, -2])[(beat / beats).astype(int) % 4] / 12)
    cycles = np.cumsum(root) / SAMPLE_RATE
    chord = sum(np.sign(np.sin(2 * np.pi * cycles * 2 ** (k / 12))) for k in (0, 4, 7, 12)) * 0.1
    hiss = rng.standard_normal(n) * (0.3 * np.exp(-18 * phase) + 0.002)
    return (accent * (chord * np.exp(-3 * phase) + hiss)).astype(np.float32)


@pytest.fixture(scope="module")
def naive() -> ModuleType:
    pytest.importorskip("librosa", reason='librosa is not installed: pip install "earmark[bench]"')
    spec = importlib.util.spec_from_file_location("naive_meter", REPOSITORY / "benchmarks" / "naive_meter.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("seconds", "beats", "bpm"), [(30.0, 3, 132.0), (7.3, 5, 88.0)])
def test_every_column_is_that_of_the_plain_script(
    naive: ModuleType, seconds: float, beats: int, bpm: float
) -> None:
    compare(naive, Clip(bars(seconds, beats, bpm), SAMPLE_RATE))


@pytest.mark.skipif(not SONGS, reason="no real music beside the checkout")
@pytest.mark.parametrize("song", SONGS[7::90], ids=lambda path: path.stem)
def test_every_column_on_real_music(naive: ModuleType, song: Path) -> None:
    clip = decode(song, sample_rate=SAMPLE_RATE)
    loudness = front_end(clip).memo(pitch_class_magnitudes).max(axis=1)
    heard = np.flatnonzero(loudness > 0.01 * loudness.max())  # without the near silence before and behind
    first, end = (heard[0] + 8) * 512, (heard[-1] - 8) * 512
    compare(naive, Clip(clip.samples[first:end], SAMPLE_RATE))


def compare(naive: ModuleType, clip: Clip) -> None:
    expected = naive.audio_features(clip.samples)
    assert tuple(expected) == AUDIO.columns
    found = dict(zip(AUDIO.columns, AUDIO(clip).tolist(), strict=True))
    off = {
        name: (found[name], value)
        for name, value in expected.items()
        if abs(found[name] - value) > tolerance(name, value, expected)
    }
    assert not off


def tolerance(name: str, value: float, expected: dict[str, float]) -> float:
    """1e-3; the chroma differs at the ends of a clip; an error of two peaks grows when their sum is small."""
    error = (3e-3 if "chroma" in name else 1e-3) * max(1.0, abs(value))
    block, curve, *rest = name.split("_")
    if block == "acr" and rest[0].startswith("r"):
        a, b = (max(0.0, expected[f"acr_{curve}_p{n}"]) for n in (rest[0][1:], rest[1]))
        error *= 2.0 / max(a + b, 1e-2)
    return error


def test_the_columns_of_each_version_are_those_of_v6_or_named_alike() -> None:
    widths = {version: len(audio_group(version).columns) for version in ("v3", "v4", "v5", "v6")}
    assert widths == {"v3": 768, "v4": 876, "v5": 1361, "v6": 1449}
    v5, v6 = audio_columns("v5"), audio_columns("v6")
    assert set(v5) < set(v6)
    assert [name for name in v6 if name in set(v5)] == list(v5)
    assert len(set(v6)) == len(v6)
    assert v6[0] == "acf_t1_onset_k00" and v6[1024] == "tgram_00" and v6[1132] == "bar2_b00"
    assert v6[1356] == "acr_onset_p2" and v6[1440] == "salience_2"


def test_versions_agree_on_shared_columns_and_v3_looks_at_the_tempo_its_half_and_its_double() -> None:
    clip = Clip(bars(), SAMPLE_RATE)
    rows = {}
    for version in ("v3", "v4", "v5", "v6"):
        group = audio_group(version)
        rows[version] = dict(zip(group.columns, group(clip).tolist(), strict=True))
    assert {name: rows["v6"][name] for name in rows["v5"]} == rows["v5"]
    assert {name: rows["v4"][name] for name in rows["v3"]} == rows["v3"]
    bpm = dp_tempi(front_end(clip))[0]
    assert dp_tempi(front_end(clip)) == (bpm, bpm / 2, 2 * bpm)
    ready = front_end(clip)
    again = audio_values(ready, (bpm / 2,), "v3").astype(
        np.float32
    )  # the second tempo, as if it were the first
    np.testing.assert_array_equal(again, list(rows["v3"].values())[256:512])
    with pytest.raises(UsageError, match="v7"):
        audio_group("v7")


@pytest.mark.parametrize("beats", [2, 3, 5, 7])
def test_the_bar_shows_in_the_autocorrelation(beats: int) -> None:
    """Accents every n beats: n beats correlate better than the beats between, whatever level the tempo is found at."""
    ready = front_end(Clip(bars(30.0, beats, 132.0), SAMPLE_RATE))
    row = dict(zip(AUDIO.columns, audio_values(ready, (132.0, 132.0, 66.0, 198.0)), strict=True))
    peaks = {n: row[f"acr_rms_p{n}"] for n in (2, 3, 4, 5, 7)}
    assert all(peaks[beats] > value for n, value in peaks.items() if n % beats)
    assert row["onset_rate"] == pytest.approx(2.2, rel=0.2)
    level = 132.0 / tempogram_tempi(ready)[0]  # a beat of 19.6 frames fits a whole lag worse than two of them
    assert level == pytest.approx(max(1, round(level)), rel=0.03)


def test_a_tempo_from_beats_replaces_the_first_two() -> None:
    ready = front_end(Clip(bars(), SAMPLE_RATE))
    first, second, half, more = beat_tempi(ready, 66.0)
    assert (first, half, more) == (66.0, 33.0, 99.0) and second > 0
    assert beat_tempi(ready, 50.0)[2] == 30.0  # never below 30 BPM
    assert beat_tempi(ready, 0.0)[0] == second  # without beats, the clip's tempo


def test_the_group_with_tempi_of_the_trackers_is_the_same_columns_at_other_tempi() -> None:
    clip = Clip(bars(), SAMPLE_RATE)
    tracked = dict(zip(AUDIO_TRACKED.columns, AUDIO_TRACKED(clip).tolist(), strict=True))
    bpm = beats_bpm(primary_beats(clip, DEFAULT_TRACKERS))
    ready = front_end(clip)
    expected = audio_values(ready, beat_tempi(ready, bpm)).astype(np.float32)
    assert AUDIO_TRACKED.columns == AUDIO.columns
    np.testing.assert_array_equal(list(tracked.values()), expected)
    plain = dict(zip(AUDIO.columns, AUDIO(clip).tolist(), strict=True))
    untouched = [
        n for n in AUDIO.columns if n.split("_")[0] in ("tgram", "mfcc", "contrast", "ioi", "salience")
    ]
    assert [tracked[n] for n in untouched] == [plain[n] for n in untouched]


EDGES = {
    "silence": np.zeros(3 * SAMPLE_RATE),
    "constant": np.full(3 * SAMPLE_RATE, 0.25),
    "one click": np.eye(1, 3 * SAMPLE_RATE, SAMPLE_RATE)[0],
    "clicks": np.tile(np.eye(1, SAMPLE_RATE // 2)[0], 6),
    "tone": 0.5 * np.sin(0.1 * np.arange(3 * SAMPLE_RATE)),
    "noise": np.random.default_rng(0).uniform(-1, 1, 3 * SAMPLE_RATE),
    "quiet": 1e-30 * np.random.default_rng(0).standard_normal(3 * SAMPLE_RATE),
    "clipped": np.sign(np.sin(0.02 * np.arange(3 * SAMPLE_RATE))),
}


@pytest.mark.parametrize("name", EDGES)
@pytest.mark.parametrize("version", ["v3", "v6"])
def test_edge_cases_give_finite_numbers(name: str, version: str) -> None:
    values = audio_group(version)(Clip(EDGES[name].astype(np.float32), SAMPLE_RATE))
    assert np.isfinite(values).all()
    if name == "silence":
        named = dict(zip(audio_columns(version), values.tolist(), strict=True))
        assert not any(abs(v) > 1e-4 for k, v in named.items() if k != "mfcc_mean_01")


@pytest.mark.parametrize("n_samples", [0, 1, 511, SAMPLE_RATE // 2])
def test_a_clip_shorter_than_two_seconds_is_finite_but_refused_by_the_group(n_samples: int) -> None:
    clip = Clip(bars(1.0)[:n_samples], SAMPLE_RATE)
    assert np.isfinite(AUDIO.function(clip, **AUDIO.parameters)).all()
    with pytest.raises(TooShortError):
        AUDIO(clip)


def test_loudness_and_training_path_leave_no_trace() -> None:
    """The front end divides by the peak, and it is part of the group: no second path can leave it out."""
    samples = bars()
    loud, soft = AUDIO(Clip(samples * 0.5, SAMPLE_RATE)), AUDIO(Clip(samples * 0.125, SAMPLE_RATE))
    np.testing.assert_array_equal(loud, soft)
    raw = audio_group(highpass_hz=0.0)
    assert raw.fingerprint().digest != AUDIO.fingerprint().digest
    assert (raw(Clip(samples, SAMPLE_RATE)) != AUDIO(Clip(samples, SAMPLE_RATE))).any()


def test_the_same_bytes_again_and_in_a_spawned_worker(tmp_path: Path) -> None:
    import soundfile

    path = tmp_path / "bars.wav"
    soundfile.write(path, bars(4.0), SAMPLE_RATE, subtype="PCM_16")
    clip = decode(path, sample_rate=SAMPLE_RATE)
    expected = AUDIO(clip).tobytes()
    assert AUDIO(decode(path, sample_rate=SAMPLE_RATE)).tobytes() == expected
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(AUDIO, (clip,)).tobytes() == expected
