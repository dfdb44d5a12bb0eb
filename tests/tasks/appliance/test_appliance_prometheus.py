"""Numbers of a live program, read over HTTP by the parser of prometheus_client."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import pytest

from earmark.errors import UsageError
from earmark.tasks.appliance.schema import DEFAULT_DEVICES
from earmark.tasks.appliance.serving.prometheus import PREFIX, PrometheusSink

parser = pytest.importorskip("prometheus_client.parser")


@pytest.fixture
def sink() -> Iterator[PrometheusSink]:
    opened = PrometheusSink(0, DEFAULT_DEVICES)
    yield opened
    opened.close()


def scraped(sink: PrometheusSink) -> dict[tuple[str, ...], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{sink.port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name.removeprefix(PREFIX), *sample.labels.values()): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_nothing_is_claimed_before_the_first_line(sink):
    found = scraped(sink)
    assert found["windows_total",] == 0
    assert {name for name, *_ in found} == {
        "windows_total",
        "process_seconds_count",
        "process_seconds_sum",
        "state_changes_total",
    }


def test_lines_become_gauges_and_counters(sink):
    stable = [None, "both-off", "both-off", "ac-on", "ac-on", "both-off"]
    for index, state in enumerate(stable):
        sink.line(
            {
                "timestamp": 100.0 + index,
                "window_index": min(index, 4),  # the last line is a heartbeat
                "stable_status": state,
                "health": "ok" if index < 5 else "silence",
                "process_ms": 20.0,
                "p_ac": 0.25,
                "p_fridge": None,
                "audio_s": 1.5 * index,
                "confidence": 0.75,
            }
        )
    found = scraped(sink)
    assert (found["windows_total",], found["process_seconds_count",]) == (5, 5)
    assert found["process_seconds_sum",] == pytest.approx(0.1)
    assert [found["state_changes_total", state] for state in ("ac-on", "fridge-on", "both-off")] == [1, 0, 2]
    assert [found["state", state] for state in ("ac-on", "fridge-on", "both-off")] == [0, 0, 1]
    assert (found["health", "silence"], found["health", "ok"]) == (1, 0)
    assert (found["device_on", "ac"], found["device_on", "fridge"]) == (0, 0)
    assert found["probability", "ac"] == 0.25 and ("probability", "fridge") not in found
    assert (found["audio_seconds_total",], found["last_line_timestamp_seconds",]) == (7.5, 105)
    sink.line({"stable_status": "ac-on", "health": "ok"})
    assert ("device_on", "fridge") not in scraped(sink), "a masked device is not known to be off"


def test_two_servers_do_not_share_numbers_and_a_taken_port_is_named(sink):
    other = PrometheusSink(0, DEFAULT_DEVICES)
    other.line({"window_index": 0})
    assert scraped(sink)["windows_total",] == 0
    other.close()
    with pytest.raises(UsageError, match=f"127.0.0.1:{sink.port}"):
        PrometheusSink(sink.port, DEFAULT_DEVICES)


def test_losses_of_the_capture_are_told(tmp_path):
    import soundfile

    from earmark.inference.capture import Capture
    from earmark.inference.sources import MediaSource

    path = tmp_path / "room.wav"
    soundfile.write(path, [0.0] * 16_000, 16_000)
    capture = Capture(MediaSource(str(path), sample_rate=16_000))
    capture.counts.overflows, capture.counts.lags, capture.counts.lost_s = 2, 1, 4.5
    opened = PrometheusSink(0, DEFAULT_DEVICES, capture=capture)
    found = scraped(opened)
    opened.close()
    assert (found["overruns_total", "overflow"], found["overruns_total", "lag"]) == (2, 1)
    assert (found["lost_seconds_total",], found["reopened_total",], found["lag_seconds",]) == (4.5, 0, 0)
