"""Files about answers, read back by readers that know nothing of the writer."""

import json

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_bars import RATE, bars_of, beats_at, clicks, written

from earmark.audio.clip import Clip
from earmark.errors import InputError
from earmark.tasks.meter.analysis.beats_file import beats_text, read_beats
from earmark.tasks.meter.analysis.recording import Speaker, Window, analyse
from earmark.tasks.meter.analysis.sonify import click_track, with_clicks
from earmark.tasks.meter.serving.exports import Exports


def answered(path: str, duration_s: float = 30.0):
    p = {"3": 0.0, "4": 0.0, "5": 0.0, "7": 1.0, "9": 0.0, "11": 0.0}
    windows = [Window(0.0, duration_s, p)]
    return analyse(
        path, duration_s, windows, bars_of((2, 2, 3), 230, duration_s), [], Speaker("model", "r", "v@1")
    )


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 12)), max_size=50))
def test_beats_survive_the_file(rows):
    times_s = np.cumsum([gap for gap, _ in rows]) / 1000
    text = beats_text(beats_at(times_s, [position for _, position in rows]))
    read = read_beats(text)
    np.testing.assert_allclose(read.times_s, times_s, atol=5.1e-4)
    assert read.positions.tolist() == [position for _, position in rows]
    if rows:  # as any other program reads it
        np.testing.assert_allclose(np.loadtxt(text.splitlines(), ndmin=2)[:, 0], times_s, atol=5.1e-4)


@pytest.mark.parametrize("text", ["1.0 1\n", "a\t1\n", "1.0\t1\n0.5\t2\n", "1.0\n"])
def test_lines_that_are_no_beats_are_refused(text):
    with pytest.raises(InputError, match="expected"):
        read_beats(text)


def test_clicks_lie_on_the_beats_with_their_pitch():
    times_s = np.arange(0.5, 5.0, 0.5)
    track = click_track(beats_at(times_s, np.arange(9) % 3 + 1), 5 * RATE, RATE)
    onsets = [np.flatnonzero(np.abs(track[round(t * RATE) :]) > 1e-3)[0] for t in times_s]
    assert max(onsets) < 5
    for i, time_s in enumerate(times_s):
        piece = track[round(time_s * RATE) :][: round(0.04 * RATE)]
        peak_hz = np.argmax(np.abs(np.fft.rfft(piece, 8 * len(piece)))) * RATE / (8 * len(piece))
        assert peak_hz == pytest.approx(880 if i % 3 == 0 else 440, rel=0.05)


def test_a_click_at_the_end_is_cut_and_nothing_clips():
    loud = Clip(np.sign(np.sin(np.arange(RATE) * 0.1)).astype(np.float32), RATE)
    mixed = with_clicks(loud, beats_at([0.2, 0.999], [1, 2]))
    assert len(mixed) == RATE and np.abs(mixed).max() <= 1.0
    assert not with_clicks(Clip(np.zeros(RATE), RATE), beats_at([])).any()


def test_files_are_written_once_per_input(tmp_path):
    names = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        names.append(written(tmp_path / folder / "song.wav", clicks([0.5], [1.0], 2.0)))
    exports = Exports(beats=tmp_path / "beats", jams=tmp_path / "jams", sonify=tmp_path / "clicks")
    for name in [*names, f"{names[0]}#t=0.5,1.5"]:
        exports.write(answered(name))
    assert sorted(p.name for p in (tmp_path / "beats").iterdir()) == [
        "song-2.tsv",
        "song.tsv",
        "song_t_0.5,1.5.tsv",
    ]
    assert soundfile.info(tmp_path / "clicks" / "song.wav").duration == pytest.approx(2.0)
    assert soundfile.info(tmp_path / "clicks" / "song_t_0.5,1.5.wav").duration == pytest.approx(1.0)


def test_jams_has_the_parts_that_its_schema_asks_for(tmp_path):
    analysis = answered("song.wav")
    Exports(jams=tmp_path).write(analysis)
    found = json.loads((tmp_path / "song.jams").read_text("utf-8"))
    assert set(found) == {"file_metadata", "annotations", "sandbox"}
    assert found["file_metadata"]["duration"] == 30.0
    by_namespace = {one["namespace"]: one for one in found["annotations"]}
    for one in by_namespace.values():
        assert {"namespace", "annotation_metadata", "data", "sandbox", "time", "duration"} == set(one)
        assert all(set(event) == {"time", "duration", "value", "confidence"} for event in one["data"])
    positions = by_namespace["beat_position"]["data"]
    assert {one["value"]["num_beats"] for one in positions} == {7}
    downbeats = [one["time"] for one in positions if one["value"]["position"] == 1]
    assert downbeats == pytest.approx(analysis.beats.downbeat_times_s.tolist())
    assert [one["value"] for one in by_namespace["segment_open"]["data"]] == ["7/8", "7/8"]
    assert by_namespace["tempo"]["data"][0]["value"] == analysis.tempo.bpm
