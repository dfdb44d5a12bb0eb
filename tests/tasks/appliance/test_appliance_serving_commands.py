"""predict, stream, live and collect as they are typed."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest
import soundfile
from appliance_small_room import RATE, steady, switching, written_run
from jsonschema import validate

from earmark.cli.main import run


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A project with a run, and recordings beside it."""
    root = tmp_path_factory.mktemp("room")
    written_run(root / "runs")
    (root / "samples").mkdir()
    for name, ac, fridge in (("ac-on-fridge-off-day", True, False), ("ac-off-fridge-off-day", False, False)):
        soundfile.write(root / "samples" / f"{name}.wav", steady(ac, fridge, 30.0, 5), RATE, subtype="FLOAT")
    soundfile.write(
        root / "evening.flac", switching({"ac": ((30.0, 70.0),)}, 70.0, 4), RATE, subtype="PCM_24"
    )
    return root


@pytest.fixture
def earmark(room, capsys):
    """Runs the program in the project: exit code, standard output, standard error."""

    def call(*words):
        code = run(["-C", str(room), *map(str, words)])
        found = capsys.readouterr()
        return code, found.out, found.err

    return call


def schema_of(earmark, verb):
    code, out, _ = earmark(verb, "appliance", "--schema")
    assert code == 0
    return json.loads(out)


def test_predict_prints_exactly_the_state_and_the_medians(earmark, room):
    code, out, _ = earmark("predict", "appliance", "--audio", room / "samples" / "ac-on-fridge-off-day.wav")
    document = json.loads(out)
    assert code == 0 and list(document) == ["status", "p_ac", "p_fridge"] and document["status"] == "ac-on"
    validate(document, schema_of(earmark, "predict"))


def test_predict_of_a_folder_adds_paths_details_and_a_table(earmark, room, tmp_path):
    table = tmp_path / "states.csv"
    code, out, _ = earmark("predict", "appliance", room / "samples", "--details", "--csv", table)
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [one["status"] for one in lines] == ["both-off", "ac-on"]
    assert lines[1]["ac_on"] is True and lines[1]["n_windows"] == 17 and lines[1]["masked"] == ["fridge"]
    assert [row.split(",")[1] for row in table.read_text().splitlines()] == ["status", "both-off", "ac-on"]
    code, out, err = earmark("predict", "appliance", room / "samples", room / "none.wav")
    assert code == 1 and len(out.splitlines()) == 2 and "none.wav" in err


def test_another_window_is_refused(earmark, room):
    code, _, err = earmark("predict", "appliance", room / "samples", "--window-sec", "4")
    assert code == 2 and "windows of 6 s" in err
    code, _, err = earmark("stream", "appliance", room / "evening.flac", "--preset", "g2")
    assert code == 2 and "trained on 6 s" in err


def test_stream_writes_events_tables_and_a_report(earmark, room, tmp_path):
    paths = {
        "report": tmp_path / "r.json",
        "log-probs": tmp_path / "p.csv",
        "log-events": tmp_path / "e.csv",
    }
    options = [word for name, path in paths.items() for word in (f"--{name}", path)]
    code, out, err = earmark("stream", "appliance", room / "evening.flac", "--initial-state", "off", *options)
    document = json.loads(out)
    validate(document, schema_of(earmark, "stream"))
    assert code == 0 and list(document) == ["events"] and "times as fast" in err
    assert [one["window_index"] for one in document["events"]] == list(range(6, 43))
    assert document["events"][-1]["status"] == "ac-on"
    rows = paths["log-probs"].read_text().splitlines()
    assert rows[0] == "file,t_s,p_ac,p_fridge,p_ac_smooth,p_fridge_smooth,t_end_s" and len(rows) == 44
    header, event = paths["log-events"].read_text().splitlines()
    assert header == "file,t_s,device,kind,prob,step,t_end_s" and ",ac,on," in event
    report = json.loads(paths["report"].read_text())
    assert report["total_windows"] == 43 and report["total_events"] == 1 and report["passed"] is True
    assert report["per_file"][0]["event_total"] == 1


def test_steady_files_have_no_events_and_a_switch_fails_the_gate(earmark, room):
    words = ("--initial-state", "label", "--require-no-events")
    for decoder in ("hmm", "median", "events", "votes"):
        code, out, _ = earmark("stream", "appliance", room / "samples", *words, "--decoder", decoder)
        assert code == 0 and [list(json.loads(line)) for line in out.splitlines()] == [["path", "events"]] * 2
    code, _, err = earmark(
        "stream", "appliance", room / "evening.flac", "--initial-state", "off", "--require-no-events"
    )
    assert code == 3 and "ac on" in err
    code, _, err = earmark("stream", "appliance", room / "evening.flac", "--initial-state", "label")
    assert code == 1 and "does not say what is on" in err


def test_live_hears_a_recording_as_fast_as_it_can(earmark, room, tmp_path):
    log = tmp_path / "log" / "lines.jsonl"
    words = ("--input", room / "evening.flac", "--as-fast-as-possible")
    code, out, err = earmark("live", "appliance", *words)
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and len(lines) == 43 and "of one core" in err
    schema = schema_of(earmark, "live")
    for line in lines:
        validate(line, schema)
    code, out, _ = earmark("live", "appliance", *words, "--only-changes", "--log-jsonl", log)
    changes = [json.loads(line)["debounced_status"] for line in out.splitlines()]
    assert changes == ["both-off", "ac-on"]
    assert log.read_text() == out


def test_live_appends_the_tables_of_a_stream_with_the_time_of_day(earmark, room, tmp_path):
    logs = {name: tmp_path / "live" / f"{name}.csv" for name in ("probs", "events")}
    words = [word for name, path in logs.items() for word in (f"--log-{name}", path)]
    for _ in range(2):
        assert earmark("live", "appliance", "--dry-run", room / "evening.flac", *words)[0] == 0
    streamed = {name: tmp_path / f"{name}.csv" for name in logs}
    flags = [word for name, path in streamed.items() for word in (f"--log-{name}", path)]
    assert earmark("stream", "appliance", room / "evening.flac", *flags)[0] == 0
    for name, path in logs.items():
        rows = list(csv.DictReader(path.read_text().splitlines()))
        expected = list(csv.DictReader(streamed[name].read_text().splitlines()))
        assert len(expected) > 0 and len(rows) == 2 * len(expected)
        times = [datetime.fromisoformat(row.pop("timestamp")) for row in rows]
        assert times == sorted(times) and times[0].tzinfo is not None
        assert rows[: len(expected)] == [
            {key: value for key, value in row.items() if key not in ("file", "t_s")} for row in expected
        ]


def test_a_dry_run_begins_anew_with_each_file(earmark, room):
    code, out, _ = earmark("live", "appliance", "--dry-run", room / "samples")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and len(lines) == 34
    assert [one["window_index"] for one in lines] == [*range(17), *range(17)]
    assert [one["stable_status"] for one in (lines[16], lines[17], lines[33])] == ["both-off", None, "ac-on"]
    assert all(one["source"].endswith(".wav") for one in lines)
    code, _, err = earmark("live", "appliance", "--dry-run", room / "none")
    assert code == 1 and "none" in err


def test_live_shows_settings_with_their_origin_and_its_latency(earmark, room, tmp_path):
    (room / "live.toml").write_text("input_sr = 16000\nac_on = 0.95\nmax_lag_sec = 15.0\n")
    try:
        code, out, _ = earmark("live", "appliance", "--show-config", "--ac-off", "0.6", "--format", "json")
    finally:
        (room / "live.toml").unlink()
    shown = {one["setting"]: (one["value"], one["origin"]) for one in json.loads(out)}
    assert code == 0
    assert shown["ac_on"] == (0.95, "live.toml") and shown["ac_off"] == (0.6, "flag")
    assert shown["fr_on"][1] == "thresholds of the run" and shown["sd_device"] == ("", "built in")
    code, out, _ = earmark("live", "appliance", "--latency", "--format", "json")
    assert {one["device"]: one["typical_s"] for one in json.loads(out)} == {"ac": 12.0, "fridge": 12.0}
    assert {one["basis"] for one in json.loads(out)} == {"a formula"}
    code, out, _ = earmark("live", "appliance", "--latency", "--decoder", "hmm", "--format", "json")
    assert {one["basis"] for one in json.loads(out)} == {"played from 0.02 to 0.98, assumed"}
    bad = tmp_path / "bad.toml"
    bad.write_text("ac_onn = 0.9\nhop_sec = true\n")
    code, _, err = earmark("live", "appliance", "--config", bad)
    assert code == 2 and "`ac_onn` is not a setting" in err and "`hop_sec` is True" in err


def test_the_floor_is_confirmed_and_kept_beside_the_run(earmark, room):
    quiet = room / "samples" / "ac-off-fridge-off-day.wav"
    words = ("--input", quiet, "--as-fast-as-possible", "--seconds", "20", "--format", "json")
    code, _, err = earmark("live", "appliance", "--confirm", "ac-on", *words)
    assert code == 2 and "`both-off`" in err
    code, out, err = earmark("live", "appliance", "--confirm", "both-off", *words)
    [floor] = json.loads(out)
    [path] = (room / "runs" / "appliance").glob("*/floor.json")
    assert code == 0 and json.loads(path.read_text())["floor_dbfs"] == floor["floor_dbfs"]
    path.unlink()


def test_collect_names_and_numbers_takes(earmark, room, tmp_path):
    words = (
        "--input",
        room / "evening.flac",
        "--as-fast-as-possible",
        "--seconds",
        "8",
        "--samples-dir",
        tmp_path,
    )
    state = ("--set", "ac=on,fridge=off", "--daypart", "night")
    for number in ("", "-2"):
        code, out, _ = earmark("collect", "appliance", *state, *words, "--format", "json")
        assert code == 0 and Path(json.loads(out)["path"]).name == f"ac-on-fridge-off-night{number}.flac"
    code, _, err = earmark("collect", "appliance", *state, *words, "--seconds", "800")
    assert code == 1 and "nothing was written" in err and len(list(tmp_path.iterdir())) == 2
    code, _, err = earmark("collect", "appliance", "--set", "washer=on", "--daypart", "day", *words)
    assert code == 2 and "washer" in err
    assert earmark("collect", "appliance", *words)[0] == 2


def test_without_a_run_the_missing_step_is_named(tmp_path, capsys):
    for verb, words in (("predict", ["x.wav"]), ("stream", ["x.wav"]), ("live", [])):
        assert run(["-C", str(tmp_path), verb, "appliance", *words]) == 2
        assert "Run: earmark train appliance" in capsys.readouterr().err


def test_without_sounddevice_the_extra_is_named(earmark, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    for words in (("live", "appliance"), ("live", "appliance", "--list-devices-json")):
        code, _, err = earmark(*words)
        assert code == 2 and "earmark[live]" in err


@pytest.mark.slow
def test_live_survives_its_source_and_ends_quietly_by_ctrl_c(room, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "earmark", "-C", str(room), "live", "appliance", "--input", str(pipe)]
    command += ["--pcm", "f32le", "--sample-rate", str(RATE), "--max-lag-sec", "60"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(map(json.loads, process.stdout)))
    reader.start()

    def plug(samples):
        with pipe.open("wb") as opened:
            opened.write(samples.astype("<f4").tobytes())

    plug(steady(True, False, 30.0, 8))
    wait_for(lambda: len(lines) >= 17)
    wait_for(lambda: any(one["health"] == "disconnected" for one in lines), 20)
    assert lines[-1]["stable_status"] == "ac-on"
    plug(steady(False, False, 40.0, 9))
    wait_for(lambda: lines[-1]["stable_status"] == "both-off", 30)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    reader.join()
    told = process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    assert "The source is away" in told and "The source is back" in told and "Traceback" not in told


def wait_for(condition, seconds=60.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.slow
def test_an_hour_is_streamed_in_memory_that_does_not_grow(room, tmp_path):
    def peak_kib(minutes):
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
            block = steady(True, False, 60.0, 3)
            for _ in range(minutes):
                file.write(block)
        code = (
            "import resource, sys; from earmark.cli.main import run; code = run(sys.argv[1:]);"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)"
        )
        words = ["-C", str(room), "--quiet", "stream", "appliance", str(path)]
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
        )
        path.unlink()
        return int(done.stderr.split()[-1])

    short, long = peak_kib(2), peak_kib(30)
    assert long - short < 12_000  # KiB; the samples alone are 56 MB at 16 bits, twice that as floats
