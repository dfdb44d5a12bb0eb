"""The synthetic room has the levels of a real one, the lines of its machines, and the truth that its tables tell."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.audio.decode import decode
from earmark.errors import UsageError
from earmark.tasks.appliance.generator.files import write_long, write_steady
from earmark.tasks.appliance.generator.machines import FLOOR_DB
from earmark.tasks.appliance.generator.scene import SyntheticRoom, random_spans
from earmark.tasks.appliance.names import NamePattern
from earmark.tasks.appliance.schema import SAMPLE_RATE
from earmark.tasks.appliance.segments import read_scenes

MEDIAN_DBFS = {
    ("day", False, False): -58.3,
    ("night", False, False): -57.5,
    ("day", False, True): -56.7,
    ("night", False, True): -55.6,
    ("day", True, False): -46.0,
    ("night", True, False): -45.7,
    ("day", True, True): -45.8,
    ("night", True, True): -45.3,
}
"""Medians of windows of a real room: daypart, ac, fridge."""


def generator(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


def window_levels(samples: np.ndarray, window_s: float = 6.0, hop_s: float = 1.5) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(
        samples.astype(np.float64), round(window_s * SAMPLE_RATE)
    )
    return 10 * np.log10(np.mean(windows[:: round(hop_s * SAMPLE_RATE)] ** 2, axis=1))


def power_at(samples: np.ndarray, hz: float) -> float:
    """Power in 1 Hz around a frequency, over that of its neighbourhood."""
    seconds = samples[: len(samples) // SAMPLE_RATE * SAMPLE_RATE].reshape(-1, SAMPLE_RATE)
    power = np.mean(np.abs(np.fft.rfft(seconds * np.hanning(SAMPLE_RATE))) ** 2, axis=0)
    return float(
        power[round(hz) - 1 : round(hz) + 2].max() / np.median(power[round(hz) - 15 : round(hz) + 15])
    )


@pytest.mark.parametrize(("daypart", "ac", "fridge"), MEDIAN_DBFS)
def test_windows_have_the_levels_of_a_real_room(daypart, ac, fridge):
    heard = SyntheticRoom().steady({"ac": ac, "fridge": fridge}, daypart, 120.0, generator(7, ac, fridge))
    levels = window_levels(heard.samples)
    assert np.median(levels) == pytest.approx(MEDIAN_DBFS[daypart, ac, fridge], abs=0.5)
    if not ac:
        assert levels.max() < -48, "a disturbance as loud as the blower would teach levels alone"


def test_spectra_are_those_of_a_blower_a_compressor_and_pink_noise():
    room = SyntheticRoom(is_disturbed=False)
    off, ac, fridge = (
        room.steady({"ac": ac, "fridge": fridge}, "day", 60.0, generator(3)).samples.astype(np.float64)
        for ac, fridge in ((False, False), (True, False), (False, True))
    )
    power = {name: np.abs(np.fft.rfft(x)) ** 2 for name, x in (("off", off), ("ac", ac))}

    def octave(name: str, low_hz: float) -> float:
        return float(10 * np.log10(power[name][round(60 * low_hz) : round(120 * low_hz)].sum()))

    assert octave("off", 100) == pytest.approx(octave("off", 1600), abs=0.5)
    assert octave("ac", 400) - octave("ac", 1600) == pytest.approx(
        6.0, abs=0.6
    )  # 12 in density, less 6 in width
    assert power_at(fridge, 100) > 50 and power_at(fridge, 300) > 10 and power_at(fridge, 49) > 5
    assert power_at(off, 100) < 5 and power_at(off, 49) < 5
    at_60_hz = (
        SyntheticRoom(mains_hz=60).steady({"ac": False, "fridge": True}, "day", 30.0, generator(3)).samples
    )
    assert power_at(at_60_hz, 120) > 50


def test_files_read_back_at_the_same_level_whatever_their_rate(tmp_path):
    for rate, suffix in ((16_000, "flac"), (44_100, "wav")):
        room = SyntheticRoom(sample_rate=rate, is_disturbed=False)
        paths = write_steady(tmp_path / suffix, room, duration_s=12.0, suffix=suffix)
        assert len(paths) == 8
        for path in paths:
            info = soundfile.info(path)
            assert (info.samplerate, info.duration, info.channels) == (rate, 12.0, 1)
            facts = NamePattern.parse("ac-(on|off)-fridge-(on|off)-(day|night)").match(path.stem)
            clip = decode(path, sample_rate=SAMPLE_RATE)
            level = 10 * np.log10(np.mean(clip.samples.astype(np.float64) ** 2))
            wanted = MEDIAN_DBFS[facts.daypart, facts.facts["ac"], facts.facts["fridge"]]
            assert level == pytest.approx(wanted, abs=0.5)


def test_a_seed_makes_the_same_bytes_and_no_two_files_share_their_noise(tmp_path):
    room = SyntheticRoom()
    first, again, other = (
        write_steady(tmp_path / str(at), room, duration_s=8.0, takes=2, seed=seed)
        for at, seed in enumerate((1, 1, 2))
    )
    contents = [[path.read_bytes() for path in paths] for paths in (first, again, other)]
    assert contents[0] == contents[1]
    assert len(set(contents[0] + contents[2])) == 32
    quiet = [
        np.asarray(soundfile.read(path)[0]) for path in first if path.name.startswith("ac-off-fridge-off")
    ]
    assert abs(np.corrcoef(quiet[0], quiet[1])[0, 1]) < 0.05
    kept = first[0].stat().st_mtime_ns
    write_steady(tmp_path / "0", room, duration_s=8.0, takes=2, seed=1)
    assert first[0].stat().st_mtime_ns == kept


def test_long_files_switch_when_their_tables_say(tmp_path):
    room = SyntheticRoom(is_disturbed=False)
    (path,) = write_long(tmp_path, room, duration_s=120.0, dwell_s=(15.0, 30.0), seed=5)
    scenes, device, problems = read_scenes(tmp_path / "ac_on_segments.csv", device="ac")
    assert device == "ac" and not problems and [scene.recording.path for scene in scenes] == [path]
    levels = window_levels(soundfile.read(path)[0], 0.1, 0.1)
    time_s = 0.05 + 0.1 * np.arange(len(levels))
    is_on = np.zeros(len(levels), dtype=bool)
    for on, off in scenes[0].on_spans:
        is_on |= (time_s > on) & (time_s < off)
    loud = levels > -52
    wrong = np.flatnonzero(loud != is_on)
    switches = [edge for span in scenes[0].on_spans for edge in span if 0 < edge < 120]
    assert len(switches) >= 3
    assert all(min(abs(time_s[at] - edge) for edge in switches) <= 0.15 for at in wrong)
    with (tmp_path / "disturbances.csv").open() as table:
        assert next(csv.reader(table)) == ["file", "name", "start", "end"]


def test_any_number_of_machines_can_be_told_apart(tmp_path):
    names = ("washer", "dryer", "fan", "pump")
    room = SyntheticRoom(names, is_disturbed=False)
    alone = {
        name: room.steady({other: other == name for other in names}, "night", 20.0, generator(1)).samples
        for name in names
    }
    spectra = [np.abs(np.fft.rfft(alone[name])) for name in names]
    likeness = np.corrcoef([np.log(one[400:8000:8] + 1e-9) for one in spectra])
    assert likeness[~np.eye(4, dtype=bool)].max() < 0.95
    assert all(np.std(samples) > 10 ** (FLOOR_DB["night"] / 20) for samples in alone.values())
    assert len(write_steady(tmp_path, SyntheticRoom(names[:3]), duration_s=1.0)) == 16


def test_spans_cover_their_time_by_turns():
    for seed in range(50):
        spans = random_spans(100.0, (5.0, 20.0), generator(seed))
        flat = [edge for span in spans for edge in span]
        assert flat == sorted(flat) and len(set(flat)) == len(flat)
        assert all(0 <= edge <= 100 for edge in flat)
        assert all(5 <= off - on <= 20.01 for on, off in spans if off < 100 and on > 0)


def test_what_cannot_be_made_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="8000"):
        SyntheticRoom(sample_rate=8_000)
    with pytest.raises(UsageError, match="noon"):
        SyntheticRoom().steady({"ac": True, "fridge": True}, "noon", 1.0, generator(1))
    with pytest.raises(UsageError, match="flac nor wav"):
        write_steady(tmp_path, SyntheticRoom(), duration_s=1.0, suffix="mp3")
