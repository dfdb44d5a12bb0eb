"""The JSON API of a room: what services told, read backwards; recordings that are sent; clips."""

import json
import threading
import time
import tracemalloc
from itertools import pairwise
from unittest.mock import patch

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from web_appliance_room import RATE, make_room
from web_client import client_of
from web_jobs_project import ended

from earmark.cli.main import run
from earmark.tasks.appliance.serving.recorder import Take, encoded
from earmark.web.api.jobs import submitted
from earmark.web.appliance.listening import CLIPS, history, services, strips, switches
from earmark.web.appliance.log import end_of_lines, objects_backwards
from earmark.web.jobs.store import JobStore

FILE = {"input": "evening.flac", "as_fast_as_possible": True, "clips": str(CLIPS)}


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return make_room(tmp_path_factory.mktemp("room"))


@pytest.fixture(scope="module")
def client(room):
    with client_of(room) as client:
        yield client


@pytest.fixture(scope="module")
def service(client):
    """A service that heard the whole recording and ended."""
    site = client.app.state.site
    job = ended(site.jobs.store, submitted(site, "live", "appliance", FILE).id)
    assert (job.status, job.kind) == ("completed", "service"), job
    return job


def lines_of(job):
    return [json.loads(line) for line in job.output_path.read_text().splitlines()]


def test_the_newest_line_is_the_one_that_live_printed(client, service):
    lines = lines_of(service)
    assert len(lines) == 57 and client.get("/api/appliance/latest").json() == lines[-1]


def test_switches_name_their_clips_which_can_be_played_from_any_place(client, service, room):
    found = client.get("/api/appliance/events").json()["events"]
    assert [(one["device"], one["kind"]) for one in found] == [("ac", "on"), ("ac", "off")]
    later = client.get("/api/appliance/events", params={"since": found[0]["timestamp"]}).json()["events"]
    assert later == found[1:]
    address = f"/api/appliance/clips/{found[0]['clip']}"
    whole = client.get(address)
    assert whole.headers["content-type"] == "audio/flac"
    assert whole.content == (room / CLIPS / found[0]["clip"]).read_bytes()
    part = client.get(address, headers={"Range": "bytes=4-7"})
    assert part.status_code == 206 and part.content == whole.content[4:8]
    (room / CLIPS / found[1]["clip"]).unlink()
    assert client.get("/api/appliance/events").json()["events"][1]["clip"] is None


@pytest.mark.parametrize(
    "name",
    [
        "..%2f..%2f..%2fweb%2fsecret",
        "clip_x_ac-on.flac%00",
        "clip_.._ac-on.flac",
        "secret",
        "clip_a_ac-on.wav",
    ],
)
def test_only_clips_are_served(client, name):
    answer = client.get(f"/api/appliance/clips/{name}")
    assert answer.status_code in (404, 422) and "detail" in answer.json()


def test_the_history_is_that_of_the_lines(client, service):
    lines = lines_of(service)
    found = client.get("/api/appliance/history", params={"seconds": 3600}).json()
    assert found["n_lines"] == len(lines) and found["step_s"] == 6.0
    shown = [line["p_ac"] for line in lines if line["p_ac"] is not None]
    told = [value for value in found["p"]["ac"] if value is not None]
    assert told and all(min(shown) <= value <= max(shown) for value in told)
    spans = found["on"]["ac"]
    assert [value for *_, value in spans] == [None, False, True, False]
    assert all(before[1] == after[0] for before, after in pairwise(spans))
    assert spans[-1][1] == lines[-1]["timestamp"]


def test_the_stream_of_a_service_that_ended_tells_its_last_line_and_ends(client, service):
    text = client.get("/api/appliance/stream").text
    last = lines_of(service)[-1]
    assert text.count("event: line") == 1 and json.dumps(last["audio_s"]) in text
    assert text.endswith("event: end\ndata: {}\n\n")
    whole = client.get("/api/appliance/stream", headers={"Last-Event-ID": "0.0.0"}).text
    assert whole.count("event: line") == 57 and whole.count("event: switch") == 2


def sent(client, name, data, address="predict"):
    return client.post(f"/api/appliance/{address}", files={"file": (name, data)})


def test_a_recording_that_is_sent_is_answered_as_by_the_command_line(client, room, capsys):
    assert run(["-C", str(room), "predict", "appliance", str(room / "evening.flac"), "--format", "json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    samples, _ = soundfile.read(room / "evening.flac", dtype="float32")
    (room / "evening.m4a").write_bytes(encoded(Take(samples, RATE, 0), "m4a"))
    answer = sent(client, "a [1]#t=2,3 ü.flac", (room / "evening.flac").read_bytes())
    assert answer.status_code == 200 and answer.json() == printed and list(answer.json()) == list(printed)
    assert run(["-C", str(room), "predict", "appliance", str(room / "evening.m4a"), "--format", "json"]) == 0
    assert sent(client, "x.M4A", (room / "evening.m4a").read_bytes()).json() == json.loads(
        capsys.readouterr().out
    )
    assert not any((room / ".earmark" / "web" / "uploads").iterdir()), "nothing that was sent is kept"


def test_a_recording_is_heard_as_a_stream_is(client, room, tmp_path):
    words = [
        "-C",
        str(room),
        "stream",
        "appliance",
        str(room / "evening.flac"),
        "--log-probs",
        str(tmp_path / "p"),
    ]
    assert run([*words, "--log-events", str(tmp_path / "e")]) == 0
    found = sent(client, "evening.flac", (room / "evening.flac").read_bytes(), "hear").json()
    rows = [line.split(",") for line in (tmp_path / "p").read_text().splitlines()[1:]]
    assert found["windows"]["p"]["ac"] == [float(row[2]) for row in rows]
    assert found["windows"]["shown"]["ac"] == [float(row[4]) if row[4] else None for row in rows]
    events = [line.split(",") for line in (tmp_path / "e").read_text().splitlines()[1:]]
    assert [[one["t_s"], one["device"], one["kind"]] for one in found["events"]] == [
        [float(row[1]), row[2], row[3]] for row in events
    ]
    assert found["details"]["path"] == "evening.flac" and found["limits"]["ac"] == [0.8, 0.6]


def test_what_cannot_be_answered_is_told_by_the_users_own_name(client, room):
    short = encoded(Take(np.zeros(RATE, np.float32), RATE, 0), "wav")
    for address in ("predict", "hear"):
        for name, data, status in (
            ("my.wav", short, 422),
            ("torn.flac", b"no audio", 422),
            ("a.pdf", b"", 415),
        ):
            answer = sent(client, name, data, address)
            assert answer.status_code == status and name in answer.json()["detail"], answer.text
            assert ".earmark" not in answer.json()["detail"]


def test_before_anything_there_is_each_answer_says_what_to_do(tmp_path):
    with client_of(tmp_path) as client:
        for address in ("latest", "stream"):
            answer = client.get(f"/api/appliance/{address}")
            assert answer.status_code == 404 and "earmark live appliance" in answer.json()["detail"]
        assert client.get("/api/appliance/events").json() == {"events": []}
        assert client.get("/api/appliance/history").json()["n_lines"] == 0
        answer = sent(client, "a.wav", encoded(Take(np.zeros(RATE, np.float32), RATE, 0), "wav"))
        assert answer.status_code == 409 and "earmark train appliance" in answer.json()["detail"]


def fake_service(store, lines, events=()):
    job = store.add("live", "appliance", ["live", "appliance"], title="live", kind="service")
    job.output_path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    job.events_path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return job


@pytest.mark.slow
def test_a_day_of_lines_is_read_from_its_end_in_little_time_and_memory(tmp_path):
    store, now, hop = JobStore.of(tmp_path), time.time(), 1.5
    times = np.round(now - hop * np.arange(2 * 57_600, 0, -1), 3)
    p = 0.5 + 0.4 * np.sin(times / 7000)
    rows = [
        {"timestamp": t, "p_ac": round(value, 6), "p_fridge": None, "window_index": k, "health": "ok"}
        for k, (t, value) in enumerate(zip(times.tolist(), p.tolist(), strict=True))
    ]
    rows[-12_345]["health"] = "clipping"
    job = fake_service(store, rows, [{"type": "listening", "hop_s": hop}])
    with job.output_path.open("a") as file:
        file.write('{"timestamp": 1')  # being written
    tracemalloc.start()
    found = history(store, now - 86_400, now, 480)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
    assert set(found.p) == {"ac"} and 5_000 < found.n_lines < 7_000
    at = np.floor((times - found.start) / found.step_s).astype(int)
    means = [p[at == step].mean() for step in range(480)]
    np.testing.assert_allclose(found.p["ac"], means, atol=0.01)
    assert [step for step, health in enumerate(found.health) if health != "ok"] == [at[-12_345]]


def test_services_follow_each_other_and_the_floor_is_none_of_them(tmp_path):
    store = JobStore.of(tmp_path)
    state = {"type": "state", "on": {"ac": True}}
    switch = {"type": "switch", "device": "ac", "kind": "on", "prob": 0.9, "window_index": 1, "clip": None}
    for start in (100.0, 200.0):
        line = {"timestamp": start + 50, "p_ac": 0.5, "health": "ok"}
        fake_service(store, [line], [state | {"timestamp": start}, switch | {"timestamp": start}])
    store.add("live", "appliance", ["live", "appliance", "--confirm=both-off"], title="floor", kind="service")
    assert len(services(store)) == 2
    assert strips(store, 0.0) == {"ac": [(100.0, 150.0, True), (200.0, 250.0, True)]}
    assert strips(store, 220.0) == {"ac": [(220.0, 250.0, True)]}
    assert [one["timestamp"] for one in switches(store, 0.0, 5, tmp_path)] == [100.0, 200.0]
    assert [one["timestamp"] for one in switches(store, 0.0, 1, tmp_path)] == [200.0]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(0, 400), max_size=30), st.integers(1, 200), st.booleans())
def test_reading_backwards_gives_the_whole_lines_in_reverse(tmp_path_factory, sizes, block, is_torn):
    path = tmp_path_factory.mktemp("log") / "lines"
    objects = [{"n": number, "text": "ü" * size} for number, size in enumerate(sizes)]
    data = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in objects).encode()
    path.write_bytes(data + b'{"n": -1' * is_torn)
    with patch("earmark.web.appliance.log.BLOCK_BYTES", block):
        assert list(objects_backwards(path)) == objects[::-1]
        assert end_of_lines(path) == len(data)


def test_a_log_that_grows_while_it_is_read_gives_whole_lines(tmp_path):
    path, is_over = tmp_path / "lines", threading.Event()

    def write():
        with path.open("a") as file:
            for number in range(3000):
                file.write(json.dumps({"n": number, "text": "x" * 100}) + "\n")
                file.flush()
        is_over.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not is_over.is_set():
        numbers = [one["n"] for one in objects_backwards(path)]
        assert numbers == list(range(len(numbers)))[::-1]
    writer.join()


def test_sound_devices_are_listed_for_a_few_at_once(tmp_path):
    """Each listing is a process: a page that is loaded a hundred times must not start a hundred."""
    from concurrent.futures import ThreadPoolExecutor

    with client_of(tmp_path) as client, ThreadPoolExecutor(12) as many:
        codes = sorted(answer.status_code for answer in many.map(client.get, ["/api/appliance/devices"] * 12))
    assert codes[0] == 200 and set(codes) == {200, 503}
    assert codes.count(200) < 12
