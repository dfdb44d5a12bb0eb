"""Answers about meter by a real server: equal to the command's, told step by step, and live by WebSocket."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tasks" / "meter"))

httpx = pytest.importorskip("httpx")
client = pytest.importorskip("websockets.sync.client")

from synthetic_bars import RATE, drummed, written  # noqa: E402
from web_browser import server_of  # noqa: E402
from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402

from earmark.web.meter.ears import MOST  # noqa: E402

pytestmark = pytest.mark.slow

SHARED = Path(__file__).parents[3] / "shared" / "data" / "meter" / "audio"
PIECE = 2205


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def http(folder):
    with server_of(folder) as (url, _):
        for _ in range(100):
            try:
                httpx.get(f"{url}/api/health")
                break
            except httpx.ConnectError:
                time.sleep(0.1)
        with httpx.Client(base_url=url, timeout=120) as opened:
            yield opened


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    return written(tmp_path_factory.mktemp("songs") / "waltz.wav", drummed(3, 120, 50.0))


def command(folder, source) -> dict:
    run = [sys.executable, "-m", "earmark", "-C", str(folder), "predict", "meter", str(source)]
    ended = subprocess.run(
        [*run, "--format", "json", "--no-cache", "--quiet"], capture_output=True, check=False
    )
    [document] = json.loads(ended.stdout)
    return document


def sent(http, path, query=""):
    path = Path(path)
    return http.post(f"/api/analyze{query}", files={"file": (path.name, path.read_bytes())})


def uploads(folder):
    return list((folder / ".earmark" / "web" / "uploads").glob("*"))


@contextmanager
def listening(http, **options):
    url = f"{http.base_url}/api/ws/live".replace("http", "ws", 1).replace("//api", "/api")
    with client.connect(url, open_timeout=60, **options) as socket:
        yield socket


def messages_until(socket, is_last):
    found = []
    while not found or not is_last(found[-1]):
        found.append(json.loads(socket.recv(timeout=120)))
    return found


def ready(socket):
    [first] = messages_until(socket, lambda _: True)
    assert first == {"type": "warmup_progress", "seconds": 0.0, "total": 8.0, "onset_count": 0}


def refused(socket):
    """The sentence of the last message, and the code with which the socket was closed."""
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            last = json.loads(socket.recv(timeout=60))
    assert last["type"] == "error"
    return last["detail"], closed.value.rcvd.code


def real_clips():
    return sorted(SHARED.glob("*/*/*.ogg"))[:: max(1, len(list(SHARED.glob("*/*/*.ogg"))) // 2)][:2]


def test_the_answer_is_that_of_the_command(http, folder, song):
    answer = sent(http, song)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    assert answer.json() == command(folder, song) | {"path": "waltz.wav"}
    with_peaks = sent(http, song, "?peaks=25").json()
    assert {len(with_peaks["peaks"][edge]) for edge in ("min", "max")} == {25}
    assert with_peaks == answer.json() | {"peaks": with_peaks["peaks"]}
    assert not uploads(folder)


@pytest.mark.skipif(not real_clips(), reason="needs the recordings beside the checkout")
@pytest.mark.parametrize("clip", real_clips(), ids=lambda path: path.stem)
def test_the_answer_about_a_real_clip_is_that_of_the_command(http, folder, clip):
    assert sent(http, clip).json() == command(folder, clip) | {"path": clip.name}


def test_each_step_is_told_when_it_has_happened(http, song):
    told = []

    def watch():
        with http.stream("GET", "/api/analyze/progress/the-waltz") as stream:
            told.extend(json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: "))

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert sent(http, song, "?job=the-waltz").status_code == 200
    watcher.join(30)
    *steps, _end = told
    assert [one["type"] for one in steps] == ["received", "decoded", *["tracked"] * 3, "answered"]
    assert steps[0] | {"n_bytes": 0} == {"type": "received", "name": "waltz.wav", "n_bytes": 0}
    assert steps[1] == {"type": "decoded", "duration": 50.0, "windows": 3}
    assert [one["done"] for one in steps[2:5]] == [1, 2, 3] and steps[4]["total"] == 3


@pytest.mark.parametrize(
    ("name", "signal", "words"),
    [
        ("short.wav", drummed(3, 120, 1.0), "short.wav"),
        ("silent.wav", np.zeros(4 * RATE, dtype=np.float32), "`silent.wav` is silent"),
    ],
)
def test_what_cannot_be_answered_is_422(http, folder, tmp_path, name, signal, words):
    answer = sent(http, written(tmp_path / name, signal), "?job=no-answer")
    assert answer.status_code == 422 and words in answer.json()["detail"]
    assert str(folder) not in answer.text and not uploads(folder)


def test_a_file_that_is_no_audio_is_422(http, folder, tmp_path):
    path = tmp_path / "noise.mp3"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    answer = sent(http, path)
    assert answer.status_code == 422 and answer.json()["detail"].startswith("`noise.mp3` ")
    assert not uploads(folder)


def test_a_sender_that_leaves_gives_its_recording_up(http, folder, tmp_path):
    long = Path(written(tmp_path / "long.wav", drummed(4, 120, 300.0))).read_bytes()
    with pytest.raises(httpx.ReadTimeout):
        http.post("/api/analyze?job=left-alone", files={"file": ("long.wav", long)}, timeout=1.5)
    told = http.get("/api/analyze/progress/left-alone").text
    assert "event: failed" in told and told.count("event: tracked") < 19
    assert not uploads(folder)


def test_who_answers_is_told(http):
    found = http.get("/api/analyze").json()
    assert found["source"] == "model" and found["run"] and found["sample_rate"] == RATE
    assert ".mp3" in found["suffixes"] and found["max_upload_bytes"] == 50 << 20


def test_the_last_answer_is_that_of_a_batch_of_its_window(http, folder, song):
    signal = drummed(3, 120, 50.0)
    with listening(http) as socket:
        ready(socket)
        for start in range(0, 21 * RATE, PIECE):
            socket.send(signal[start : start + PIECE].tobytes())
            time.sleep(0.02)  # five times as fast as it sounds
        found = messages_until(socket, lambda one: one.get("t") == 20.0)
    assert {one["type"] for one in found} == {"warmup_progress", "onset", "analysis"}
    assert [one["seconds"] for one in found if one["type"] == "warmup_progress"] == [
        k / 2 for k in range(1, 17)
    ]
    last = found[-1]
    start, end = last["window"]
    own = {"path": "<live>", "source_type": "live", "converged": last["data"]["converged"]}
    assert last["data"] == command(folder, f"{song}#t={start:g},{end:g}") | own


def test_a_sender_that_is_too_fast_is_held_back_and_hears_all(http):
    signal = np.tile(drummed(4, 120, 30.0, 0.5), 5)
    received = []
    with listening(http, ping_interval=None) as socket:  # its pings would wait behind what it sent
        ready(socket)

        def read():
            received.extend(messages_until(socket, lambda one: one.get("t") == 150.0))

        reader = threading.Thread(target=read)
        reader.start()
        started = time.monotonic()
        for start in range(0, len(signal), 10 * PIECE):
            socket.send(signal[start : start + 10 * PIECE].tobytes())
        sending_s = time.monotonic() - started
        assert http.get("/api/health", timeout=5).status_code == 200  # the event loop is free
        reader.join(120)
    assert received[-1]["data"]["tempo"]["bpm"] == pytest.approx(120, abs=2)
    onsets = [one["time"] for one in received if one["type"] == "onset"]
    assert onsets == sorted(onsets) and len(onsets) > 250
    assert sending_s > 0.5  # 13 MB take no time where nobody holds them back


@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        ("hello", 1003, "binary messages"),
        (np.full(PIECE, np.nan, dtype="<f4").tobytes(), 1007, "finite samples"),
        (np.full(PIECE, -np.inf, dtype="<f4").tobytes(), 1007, "finite samples"),
    ],
)
def test_what_is_no_sound_ends_the_conversation_with_its_reason(http, message, code, words):
    with listening(http) as socket:
        ready(socket)
        socket.send(np.zeros(PIECE, dtype="<f4").tobytes())
        socket.send(message)
        detail, closed = refused(socket)
    assert words in detail and closed == code


def test_a_page_of_another_site_hears_nothing(http):
    with pytest.raises(InvalidStatus), listening(http, origin="http://elsewhere.example"):
        pass


def test_a_message_that_is_too_large_is_refused(http):
    with listening(http) as socket, pytest.raises(ConnectionClosed) as closed:
        socket.send(bytes(2 << 20))
        while True:
            socket.recv(timeout=60)
    assert closed.value.rcvd.code == 1009


def test_silence_has_no_answer_and_uploads_go_on_meanwhile(http, song):
    with listening(http) as socket:
        ready(socket)
        socket.send(np.zeros(9 * RATE, dtype="<f4").tobytes())
        [*_, last] = messages_until(socket, lambda one: one["type"] == "analysis")
        assert last["data"] is None and last["code"] == "silent"
        assert sent(http, song).status_code == 200
        socket.send(np.zeros(RATE, dtype="<f4").tobytes())
        messages_until(socket, lambda one: one.get("t") == 10.0)


def test_no_more_listen_than_the_machine_can_serve(http):
    from contextlib import ExitStack

    with ExitStack() as stack:
        for _ in range(MOST):
            stack.enter_context(listening(http))
        with listening(http) as one_more:
            detail, code = refused(one_more)
    assert code == 1013 and f"{MOST} listen already" in detail
    with listening(http) as socket:
        ready(socket)


def test_a_client_that_leaves_in_the_midst_leaves_nothing_behind(http):
    signal = drummed(3, 120, 30.0)
    for _ in range(2 * MOST):
        with listening(http) as socket:
            ready(socket)
            socket.send(signal[: 10 * RATE].tobytes())
            socket.socket.close()
        time.sleep(0.5)
    with listening(http) as socket:
        ready(socket)


def test_a_listener_that_died_is_told_and_replaced(folder):
    with server_of(folder) as (url, server):
        http = httpx.Client(base_url=url, transport=httpx.HTTPTransport(retries=8))
        assert http.get("/api/health").status_code == 200
        with listening(http) as socket:
            ready(socket)
            before = children(server.pid)
            for pid in before:
                os.kill(pid, signal.SIGKILL)
            socket.send(np.zeros(RATE, dtype="<f4").tobytes())
            detail, code = refused(socket)
            assert code == 1011 and "died" in detail
        with listening(http) as socket:
            ready(socket)
        http.close()


def children(pid):
    """Processes that a server spawned to compute."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = status.read_text()
            line = (status.parent / "cmdline").read_bytes()
        except OSError:
            continue
        parent = int(text.rpartition(")")[2].split()[1])
        if parent == pid and b"spawn_main" in line:
            found.append(int(status.parent.name))
    return found
