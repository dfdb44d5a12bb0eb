"""The seconds around each switch, as they are kept by `live` and `stream`."""

import json
import threading

import numpy as np
import pytest
import soundfile
from appliance_small_room import RATE, switching, written_run

from earmark.audio.decode import decode
from earmark.cli.main import run
from earmark.tasks.appliance.decoding.decided import Decided, Event
from earmark.tasks.appliance.serving.clips import Background, ClipFolder, Clips, time_of_day
from earmark.tasks.appliance.serving.engine import Answered
from earmark.tasks.appliance.serving.ring import Grid, Ring


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    root = tmp_path_factory.mktemp("room")
    written_run(root / "runs")
    samples = switching({"ac": ((30.0, 70.0),)}, 110.0, 4)
    soundfile.write(root / "evening.flac", samples, RATE, subtype="PCM_24")
    return root


def answered(window, kind=None):
    events = () if kind is None else (Event("ac", kind, 0.9, window.index),)
    return Answered(window, np.zeros(1, np.float32), Decided(window.index, events=events), False, 0.0)


@pytest.mark.parametrize("size", [7, 100, 1000])
def test_a_clip_is_centred_on_the_window_that_told_whatever_the_pieces(size):
    signal, found = np.arange(1000, dtype=np.float32), {}
    clips = Clips(found.__setitem__, 10, 12.0)
    ring = Ring(Grid(6.0, 1.5, 10))
    for start in range(0, 1000, size):
        piece = signal[start : start + size]
        clips.hear(piece)
        for window in ring.push(piece):
            clips.take(answered(window, "on" if window.index in (0, 20, 21, 61) else None), str(window.index))
    clips.close()
    middles = {index: index * 15 + 30 for index in (0, 20, 21, 61)}
    spans = {index: (max(0, middle - 60), middle + 60) for index, middle in middles.items()}
    assert list(found) == [f"clip_{index}_ac-on.flac" for index in spans]
    for (first, last), samples in zip(spans.values(), found.values(), strict=True):
        np.testing.assert_array_equal(samples, signal[first:last])


def test_only_the_newest_stay_and_other_files_are_not_touched(tmp_path):
    own = tmp_path / "ac-on-fridge-off-day.flac"
    own.write_bytes(b"a recording")
    folder = ClipFolder(tmp_path, 1000, keep=3)
    names = [f"clip_{time_of_day(1e9 + n)}_ac-on.flac" for n in range(6)]
    for name in names:
        folder.write(name, np.zeros(100, np.float32))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([own.name, *names[-3:]])


def test_a_slow_or_full_disk_is_told_once_and_holds_up_nobody():
    gate, complaints, written = threading.Event(), [], []

    def write(name, samples):
        gate.wait(10)
        if name == "full":
            raise OSError(28, "No space left on device", "clips")
        written.append(name)

    background = Background(write, complaints.append)
    for number in range(40):
        background.write(str(number), np.zeros(1, np.float32))
    gate.set()
    background.close()
    assert 16 <= len(written) <= 17 and len(complaints) == 1 and "too slow" in complaints[0]
    background = Background(write, complaints.append)
    background.write("full", np.zeros(1, np.float32))
    background.close()
    assert len(complaints) == 2 and "No space left" in complaints[1]


def test_stream_and_live_keep_what_was_heard_and_live_tells_whoever_watches(
    room, tmp_path, monkeypatch, capsys
):
    recording, events = room / "evening.flac", tmp_path / "events.jsonl"
    words = ["-C", str(room), "stream", "appliance", str(recording), "--clips", str(tmp_path / "s")]
    assert run([*words, "--log-events", str(tmp_path / "e.csv")]) == 0
    streamed = sorted((tmp_path / "s").iterdir())
    assert [path.name.rsplit("_", 1)[1] for path in streamed] == ["ac-on.flac", "ac-off.flac"]
    _, first, *_ = (tmp_path / "e.csv").read_text().splitlines()
    middle = (float(first.split(",")[1]) + float(first.split(",")[-1])) / 2
    kept, whole = decode(streamed[0], sample_rate=RATE), decode(recording, sample_rate=RATE)
    start = round((middle - 6) * RATE)
    np.testing.assert_allclose(kept.samples, whole.samples[start : start + 12 * RATE], atol=2e-7)

    monkeypatch.setenv("EARMARK_EVENTS", str(events))
    words = [
        "live",
        "appliance",
        "--input",
        str(recording),
        "--as-fast-as-possible",
        "--clips",
        str(tmp_path / "l"),
    ]
    assert run(["-C", str(room), *words, "--clips-keep", "1"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "timestamp" in line]
    told = [json.loads(line) for line in events.read_text().splitlines()]
    head, *rest = told
    assert (
        head["type"] == "listening"
        and head["devices"] == ["ac", "fridge"]
        and head["limits"]["ac"] == [0.8, 0.6]
    )
    switches = [one for one in rest if one["type"] == "switch"]
    assert [(one["device"], one["kind"]) for one in switches] == [("ac", "on"), ("ac", "off")]
    [left] = (tmp_path / "l").iterdir()
    assert left.name == switches[-1]["clip"] and decode(left, sample_rate=RATE).duration_s == 12
    by_index = {line["window_index"]: line for line in lines}
    assert all(by_index[one["window_index"]]["p_ac"] == one["prob"] for one in switches)
    states = [one["on"] for one in rest if one["type"] == "state"]
    assert states[-1] == {"ac": False, "fridge": False} and {"ac": True, "fridge": None} in states
