"""The state of a room over MQTT, with a real broker that is restarted, and a real program that is killed."""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.errors import UsageError
from earmark.tasks.appliance.schema import DEFAULT_DEVICES, Devices, state_of
from earmark.tasks.appliance.serving.home_assistant import (
    EXPIRE_AFTER_S,
    STATE_EVERY_S,
    Topics,
    certain_facts,
    discovery,
    state_payload,
)

pytest.importorskip("paho.mqtt.client")
from appliance_broker import MOSQUITTO, Listener, Mosquitto, free_port, until

from earmark.tasks.appliance.serving.mqtt import MAX_QUEUED, Broker, MqttSink

needs_broker = pytest.mark.skipif(MOSQUITTO is None, reason="needs mosquitto: apt-get install mosquitto")

TOPICS = Topics(room="kitchen")
CONFIGS = {message.topic for message in discovery(TOPICS, DEFAULT_DEVICES)}


def line(state: str | None, index: int = 0, **more: object) -> dict[str, object]:
    return {
        "timestamp": 1.0,
        "stable_status": state,
        "health": "ok",
        "window_index": index,
        "p_ac": 0.5,
        **more,
    }


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    found = Mosquitto(tmp_path)
    found.start()
    yield found
    found.stop()


@pytest.fixture
def opened() -> Iterator[Callable[..., MqttSink]]:
    sinks: list[MqttSink] = []

    def make(broker: Broker, **more: object) -> MqttSink:
        sinks.append(MqttSink(broker, TOPICS, DEFAULT_DEVICES, **more))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()


@pytest.fixture
def listening() -> Iterator[Callable[[Mosquitto], Listener]]:
    found: list[Listener] = []

    def listen(broker: Mosquitto) -> Listener:
        found.append(Listener(broker.port))
        return found[-1]

    yield listen
    for listener in found:
        listener.close()


@needs_broker
def test_a_room_announces_itself_and_its_state_is_kept_by_the_broker(broker, opened, listening):
    sink = opened(Broker("127.0.0.1", broker.port))
    sink.line(line(None))
    sink.line(line("fridge-on", 1))
    first = listening(broker)
    until(lambda: '"fridge-on"' in (first.last(TOPICS.state) or ""), "the state")
    until(lambda: first.last(TOPICS.availability) == "online", "availability")
    sink.close()
    late = listening(broker)
    until(lambda: late.topics() == CONFIGS | {TOPICS.availability, TOPICS.state}, "what was kept")
    assert all(retained for _, _, retained in late.heard)
    state = json.loads(late.last(TOPICS.state) or "")
    assert (state["state"], state["on"], state["p_ac"]) == ("fridge-on", {"ac": "OFF", "fridge": "ON"}, 0.5)
    assert late.last(TOPICS.availability) == "offline"
    broker.stop()
    broker.start()
    again = listening(broker)
    until(lambda: again.topics() == late.topics(), "what was kept over a restart")
    assert again.last(TOPICS.state) == late.last(TOPICS.state)


PROGRAM = """
    import sys, time
    from earmark.tasks.appliance.schema import DEFAULT_DEVICES
    from earmark.tasks.appliance.serving.home_assistant import Topics
    from earmark.tasks.appliance.serving.mqtt import Broker, MqttSink
    sink = MqttSink(Broker("127.0.0.1", int(sys.argv[1])), Topics(room="kitchen"), DEFAULT_DEVICES)
    sink.line({"stable_status": "ac-on", "health": "ok"})
    time.sleep(60)
"""


@needs_broker
def test_a_killed_program_leaves_its_will_and_the_next_one_is_believed(broker, listening):
    listener = listening(broker)

    def alive() -> bool:
        return listener.last(TOPICS.availability) == "online"

    for _ in range(2):
        program = subprocess.Popen([sys.executable, "-c", textwrap.dedent(PROGRAM), str(broker.port)])
        try:
            until(alive, "the program")
        finally:
            program.kill()
            program.wait()
        until(lambda: listener.last(TOPICS.availability) == "offline", "the last will")
    assert json.loads(listener.last(TOPICS.state) or "")["on"] == {"ac": "ON", "fridge": None}


@needs_broker
def test_a_program_that_starts_while_its_forerunner_hangs_ends_up_available(broker, opened, listening):
    """The forerunner's connection is still open: the broker sends its will before the first word of the new one."""
    listener = listening(broker)
    hung = opened(Broker("127.0.0.1", broker.port))
    until(lambda: listener.last(TOPICS.availability) == "online", "the forerunner")
    hung._client.loop_stop()  # its process is stopped: it neither speaks nor closes
    opened(Broker("127.0.0.1", broker.port)).line(line("both-off"))
    until(lambda: "both-off" in (listener.last(TOPICS.state) or ""), "the new program")
    until(lambda: listener.last(TOPICS.availability) == "online", "its availability")
    time.sleep(0.3)
    told = [text for topic, text, _ in listener.heard if topic == TOPICS.availability]
    assert told == ["online", "offline", "online"]


@needs_broker
def test_all_is_said_again_when_home_assistant_is_born(broker, opened, listening):
    sink = opened(Broker("127.0.0.1", broker.port))
    sink.line(line("both-off"))
    listener = listening(broker)
    until(lambda: listener.last(TOPICS.availability) == "online", "the room")
    for topic in listener.topics():
        listener.say(topic, "", retain=True)  # a broker that lost everything
    listener.heard.clear()
    listener.say(TOPICS.birth, "offline")
    time.sleep(0.2)
    assert listener.topics() == {TOPICS.birth}
    listener.say(TOPICS.birth, "online")
    until(lambda: listener.last(TOPICS.availability) == "online", "the second announcement")
    assert listener.topics() == CONFIGS | {TOPICS.state, TOPICS.availability, TOPICS.birth}
    assert json.loads(listener.last(TOPICS.state) or "")["on"] == {"ac": "OFF", "fridge": "OFF"}


@needs_broker
def test_a_broker_may_come_late_and_go_and_the_program_goes_on(tmp_path, opened, listening):
    told: list[str] = []
    broker = Mosquitto(tmp_path)
    sink = opened(Broker("127.0.0.1", broker.port), tell=told.append)
    started = time.perf_counter()
    for index in range(10 * MAX_QUEUED):
        sink.line(line("both-off", index))
    assert time.perf_counter() - started < 0.5, "lines wait for the broker"
    assert sink.n_dropped == 9 * MAX_QUEUED
    broker.start()
    try:
        listener = listening(broker)
        until(lambda: listener.last(TOPICS.availability) == "online", "the late broker")
        assert json.loads(listener.last(TOPICS.state) or "")["window_index"] == 10 * MAX_QUEUED - 1
        broker.stop()
        sink.line(line("ac-on", 7000))
        broker.start()
        after = listening(broker)
        until(lambda: '"ac-on"' in (after.last(TOPICS.state) or ""), "what was said meanwhile")
        until(lambda: after.last(TOPICS.availability) == "online", "availability after the loss")
    finally:
        sink.close()
        broker.stop()
    assert [sentence.split(f"127.0.0.1:{broker.port}")[1][:8] for sentence in told[:2]] == [" cannot ", "."]
    assert any("is gone" in sentence for sentence in told)


@needs_broker
def test_what_has_not_changed_is_sent_once_a_minute(broker, opened, listening, monkeypatch):
    sink = opened(Broker("127.0.0.1", broker.port))
    listener = listening(broker)
    for index in range(20):
        sink.line(line("both-off", index))
    sink.line(line("both-off", 20, health="silence"))
    until(lambda: '"silence"' in (listener.last(TOPICS.state) or ""), "the change of health")
    assert sum(topic == TOPICS.state for topic, _, _ in listener.heard) <= 2
    sink._sent_at -= STATE_EVERY_S
    sink.line(line("both-off", 21, health="silence"))
    until(lambda: '"window_index": 21' in (listener.last(TOPICS.state) or ""), "the minute's state")


@needs_broker
def test_passwords_open_the_broker_and_are_never_told(tmp_path, opened, listening):
    tool = shutil.which("mosquitto_passwd")
    if tool is None:
        pytest.skip("needs mosquitto_passwd: apt-get install mosquitto")
    users = tmp_path / "users"
    subprocess.run([tool, "-b", "-c", str(users), "ear", "s3cret"], check=True, capture_output=True)
    broker = Mosquitto(tmp_path, "allow_anonymous false", f"password_file {users}")
    broker.start()
    told: list[str] = []
    try:
        for word in ("wr0ng", "s3cret"):
            access = Broker.read(
                f"mqtt://ear@127.0.0.1:{broker.port}", environment={"EARMARK_MQTT_PASSWORD": word}
            )
            assert word not in f"{access} {access!r}"
            opened(access, tell=told.append)
            until(lambda: told and "cannot" not in told[-1], "the broker's answer")
        until(lambda: len(told) == 2, "both answers")
    finally:
        broker.stop()
    assert "refuses" in told[0] and "Connected" in told[1]
    assert not any(word in said for word in ("wr0ng", "s3cret") for said in told)


@needs_broker
@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # paho leaves sockets of failed handshakes
def test_tls_is_spoken_with_the_authority_that_is_trusted_and_no_other(tmp_path, opened):
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    names = "-addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:TRUE"
    for who in ("ours", "other"):
        subprocess.run(
            f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {who}.key -out {who}.pem -days 2 -subj /CN=localhost "
            + names,
            shell=True,
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
    broker = Mosquitto(
        tmp_path, "allow_anonymous true", f"certfile {tmp_path}/ours.pem", f"keyfile {tmp_path}/ours.key"
    )
    broker.start()
    told: dict[str, list[str]] = {"ours": [], "other": []}
    try:
        for who, sentences in told.items():
            access = Broker.read(
                f"mqtts://localhost:{broker.port}", environment={}, authorities=tmp_path / f"{who}.pem"
            )
            opened(access, tell=sentences.append)
            until(lambda told=sentences: told, "an answer")
    finally:
        broker.stop()
        gc.collect()
    assert "Connected" in told["ours"][0] and "cannot be reached" in told["other"][0]


def test_closing_while_no_broker_is_there_takes_no_time():
    sink = MqttSink(Broker("127.0.0.1", free_port()), TOPICS, DEFAULT_DEVICES)
    sink.line(line("ac-on"))
    started = time.perf_counter()
    sink.close()
    assert time.perf_counter() - started < 4
    assert sink.n_dropped == 1


COMMON = {
    "unique_id", "state_topic", "json_attributes_topic", "availability_topic", "payload_available",
    "payload_not_available", "expire_after", "qos", "device", "origin", "name", "device_class", "value_template",
}  # fmt: skip
"""Keys that Home Assistant documents for both kinds of sensor."""
OF_KIND = {"binary_sensor": {"payload_on", "payload_off"}, "sensor": {"options", "entity_category"}}


def test_announcements_hold_documented_keys_only():
    messages = discovery(TOPICS, DEFAULT_DEVICES)
    documents = {message.topic: json.loads(message.payload) for message in messages}
    assert len({each["unique_id"] for each in documents.values()}) == len(messages) == 4
    for topic, each in documents.items():
        _, component, identity, _, last = topic.split("/")
        assert (identity, last) == ("earmark_kitchen", "config")
        assert set(each) <= COMMON | OF_KIND[component]
        assert each["device_class"] == {"binary_sensor": "running", "sensor": "enum"}[component]
        assert set(each["device"]) <= {"identifiers", "name", "manufacturer", "model", "sw_version"}
        assert set(each["origin"]) <= {"name", "sw_version"}
        assert each["expire_after"] == EXPIRE_AFTER_S > STATE_EVERY_S
    assert documents["homeassistant/sensor/earmark_kitchen/state/config"]["options"] == [
        "ac-on",
        "fridge-on",
        "both-off",
    ]


def test_templates_read_the_state_that_is_sent():
    """Home Assistant renders with Jinja; None is its word for unknown."""
    from jinja2 import Environment

    document = json.loads(state_payload(line("ac-on", p_ac=float("nan")), {"ac": True, "fridge": None}))
    rendered = {
        message.topic.split("/")[3]: Environment()
        .from_string(json.loads(message.payload)["value_template"])
        .render(value_json=document)
        for message in discovery(TOPICS, DEFAULT_DEVICES)
    }
    assert rendered == {"ac": "ON", "fridge": "None", "state": "ac-on", "health": "ok"}
    assert document["p_ac"] is None


@given(st.lists(st.booleans(), min_size=1, max_size=6), st.randoms())
def test_a_state_says_of_a_device_only_what_is_certain(running: list[bool], chance):
    names = [f"machine{rank}" for rank in range(len(running))]
    priority = chance.sample(names, len(names))
    truth = dict(zip(names, running, strict=True))
    devices = Devices(tuple(names), tuple(priority))
    state = state_of(truth, devices)
    facts = certain_facts({"stable_status": state}, devices)
    assert list(facts) == names
    assert all(fact in (None, truth[name]) for name, fact in facts.items())
    first_on = next((rank for rank, name in enumerate(priority) if truth[name]), len(priority))
    assert {name for name, fact in facts.items() if fact is None} == set(priority[first_on + 1 :])
    assert certain_facts({"stable_status": state, "on": truth}, devices) == truth


@pytest.mark.parametrize(
    "url", ["mqtt://user:word@host", "http://host", "mqtt://", "host", "mqtt://h:99999", "mqtt://h/x"]
)
def test_other_addresses_are_refused_without_repeating_a_password(url):
    with pytest.raises(UsageError) as refused:
        Broker.read(url, environment={})
    assert "user:word" not in str(refused.value)


def test_passwords_come_from_a_file_or_the_environment(tmp_path):
    file = tmp_path / "password"
    file.write_text("from file\n")
    environment = {"EARMARK_MQTT_PASSWORD": "from environment"}
    assert Broker.read("mqtts://ear@host", environment=environment).password == "from environment"
    found = Broker.read("mqtts://ear@host", environment=environment, password_file=file)
    assert (found.password, found.port, found.username, found.is_encrypted) == (
        "from file",
        8883,
        "ear",
        True,
    )
    with pytest.raises(UsageError, match="cannot be read"):
        Broker.read("mqtt://host", environment={}, password_file=tmp_path / "absent")
    with pytest.raises(UsageError, match="topic"):
        Topics(room="my room/#")
