"""Lines of a live program to an MQTT broker, with Home Assistant's discovery.

Three threads: the program's own hands lines over without waiting; one of this module publishes; one of `paho` speaks
with the broker and connects again after 1 s, 2 s, 4 s ... 60 s. Whatever the broker does, the program goes on. What is
sent is in `earmark.tasks.appliance.serving.home_assistant`; all of it is retained, and sent again after each connection
and when Home Assistant says that it has started.

The client's name is fixed by the room: a program that starts again before the broker has missed it takes over the
earlier connection, so that the last will of the dead one cannot come after the first word of the living. Two programs
of one room would push each other out; give each its own ``room``.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from earmark.errors import MissingExtraError, UsageError
from earmark.tasks.appliance.schema import Devices
from earmark.tasks.appliance.serving.home_assistant import (
    BIRTH_PAYLOAD,
    OFFLINE,
    ONLINE,
    STATE_EVERY_S,
    Message,
    Topics,
    certain_facts,
    discovery,
    state_payload,
)
from earmark.tasks.appliance.serving.sinks import Line

if TYPE_CHECKING:
    from paho.mqtt.client import Client

__all__ = ["PASSWORD_VARIABLE", "Broker", "MqttSink"]

PASSWORD_VARIABLE = "EARMARK_MQTT_PASSWORD"
PORTS = {"mqtt": 1883, "mqtts": 8883}
KEEPALIVE_S = 30
"""A program that vanishes without a word is missed after 1.5 times this."""
RETRY_S = (1, 60)
MAX_QUEUED = 64
FAREWELL_S = 2.0


@dataclass(frozen=True)
class Broker:
    """Where the broker is and how to enter.

    Parameters
    ----------
    host : str
    port : int
    is_encrypted : bool
        TLS; the broker's certificate must be valid for `host`.
    username, password : str or None
    authorities : Path or None
        Certificates to trust in place of the system's, PEM.
    """

    host: str
    port: int = PORTS["mqtt"]
    is_encrypted: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    authorities: Path | None = None

    @classmethod
    def read(
        cls,
        url: str,
        *,
        environment: Mapping[str, str],
        password_file: Path | None = None,
        authorities: Path | None = None,
    ) -> Broker:
        """The broker at ``mqtt://[USER@]HOST[:PORT]``, or ``mqtts://`` for TLS.

        The password is the content of `password_file`, else that of the variable `PASSWORD_VARIABLE`: an address is
        seen in lists of processes and in logs.

        Raises
        ------
        UsageError
            The address is of another form or holds a password, or the file cannot be read.
        """
        scheme, host, port, username = _address(url)
        return cls(
            host,
            port,
            scheme == "mqtts",
            username,
            _password(environment, password_file),
            authorities,
        )

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class MqttSink:
    """Publishes the state of a room; see `earmark.tasks.appliance.serving.sinks.Sink`.

    Parameters
    ----------
    broker : Broker
    topics : Topics
    devices : Devices
    tell : callable, optional
        Told in a sentence when the broker is lost, found, or refuses; from another thread.

    Raises
    ------
    MissingExtraError
        `paho-mqtt` is not installed.
    UsageError
        The certificates cannot be read.
    """

    def __init__(
        self,
        broker: Broker,
        topics: Topics,
        devices: Devices,
        *,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._broker, self._topics, self._devices = broker, topics, devices
        self._announcements = discovery(topics, devices)
        self._tell = tell or _tell_nobody
        self._lines: deque[Line] = deque(maxlen=MAX_QUEUED)
        self._sentences: deque[str] = deque(maxlen=MAX_QUEUED)
        self._said = ""
        self._is_entered = False
        self._newest: Message | None = None
        self._shown: object = None
        self._sent_at = -STATE_EVERY_S
        self._wake, self._greet, self._ending = threading.Event(), threading.Event(), threading.Event()
        self.n_dropped = 0
        """Lines that no broker was there for, or that came faster than they could be sent."""
        self._client = self._connected_client()
        self._worker = threading.Thread(target=self._work, name="earmark-mqtt", daemon=True)
        self._worker.start()

    def line(self, line: Line, /) -> None:
        """Take one line; returns at once."""
        if len(self._lines) == MAX_QUEUED:
            self.n_dropped += 1
        self._lines.append(line)
        self._wake.set()

    def close(self) -> None:
        """Say farewell, which makes the entities unavailable, and end; at most a few seconds."""
        self._ending.set()
        self._wake.set()
        self._worker.join()
        self._client.loop_stop()

    def _connected_client(self) -> Client:
        try:
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise MissingExtraError("paho-mqtt", "mqtt", "--mqtt") from error
        broker = self._broker
        client = Client(CallbackAPIVersion.VERSION2, client_id=self._topics.identity)
        client.username_pw_set(broker.username, broker.password)
        if broker.is_encrypted:
            _encrypt(client, broker.authorities)
        client.will_set(self._topics.availability, OFFLINE, qos=1, retain=True)
        client.max_queued_messages_set(MAX_QUEUED)
        client.reconnect_delay_set(*RETRY_S)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.connect_async(broker.host, broker.port, KEEPALIVE_S)
        client.loop_start()
        return client

    # What paho's thread calls: it only leaves word for the worker.

    def _on_connect(self, client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._say(f"The MQTT broker {self._broker} refuses: {reason}. Check user and password.")
            return
        self._is_entered = True
        client.subscribe(self._topics.birth, qos=1)
        self._say(f"Connected with the MQTT broker {self._broker}.")
        self._greet.set()
        self._wake.set()

    def _on_connect_fail(self, _client: Client, _data: Any) -> None:
        self._say(f"The MQTT broker {self._broker} cannot be reached; trying again.")

    def _on_disconnect(self, _client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        was_entered, self._is_entered = self._is_entered, False
        if was_entered and reason.is_failure:
            self._say(f"The MQTT broker {self._broker} is gone ({reason}); trying again.")

    def _on_message(self, _client: Client, _data: Any, message: Any) -> None:
        if message.payload == BIRTH_PAYLOAD.encode():
            self._greet.set()
            self._wake.set()

    def _say(self, sentence: str) -> None:
        """Once, however often the broker is tried in vain."""
        if sentence != self._said:
            self._said = sentence
            self._sentences.append(sentence)
            self._wake.set()

    # The worker

    def _work(self) -> None:
        while not self._ending.is_set():
            self._wake.wait()
            self._wake.clear()
            while self._sentences:
                self._tell(self._sentences.popleft())
            if self._client.is_connected():
                self._send_due()
        self._end()

    def _send_due(self) -> None:
        if self._greet.is_set():
            self._greet.clear()
            self._introduce()
        while self._lines:
            self._send_line(self._lines.popleft())

    def _introduce(self) -> None:
        """Say who is there, what there is, and how things stand now: what was missed is past."""
        while len(self._lines) > 1:
            self._lines.popleft()
            self.n_dropped += 1
        for message in self._announcements:
            self._publish(message)
        if self._lines:
            self._shown = None
            self._send_line(self._lines.popleft())
        elif self._newest is not None:
            self._publish(self._newest)
        self._publish(Message(self._topics.availability, ONLINE))

    def _send_line(self, line: Line) -> None:
        facts = certain_facts(line, self._devices)
        shown = (line.get("stable_status"), line.get("health"), facts)
        self._newest = Message(self._topics.state, state_payload(line, facts))
        if shown == self._shown and time.monotonic() < self._sent_at + STATE_EVERY_S:
            return
        self._shown, self._sent_at = shown, time.monotonic()
        self._publish(self._newest)

    def _publish(self, message: Message) -> Any:
        """Hand a message over to paho, which keeps it until the broker has it."""
        from paho.mqtt.enums import MQTTErrorCode

        sent = self._client.publish(message.topic, message.payload, qos=1, retain=True)
        if sent.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            self.n_dropped += 1
        return sent

    def _end(self) -> None:
        if self._client.is_connected():
            self._send_due()
            farewell = self._publish(Message(self._topics.availability, OFFLINE))
            farewell.wait_for_publish(FAREWELL_S)
        self.n_dropped += len(self._lines)
        self._client.disconnect()


def _address(url: str) -> tuple[str, str, int, str | None]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.password is not None:
        raise UsageError(
            f"the address of the MQTT broker at `{parts.hostname}` holds a password, which lists of processes and logs "
            f"would show. Expected mqtt://USER@HOST. Put the password into {PASSWORD_VARIABLE} or a file."
        )
    if parts.scheme not in PORTS or not parts.hostname or parts.path.strip("/") or parts.query:
        raise UsageError(
            f"{url!r} is not the address of an MQTT broker. Expected mqtt://HOST, mqtt://USER@HOST:PORT, or mqtts:// "
            "for TLS. Correct it."
        )
    username = None if parts.username is None else unquote(parts.username)
    return parts.scheme, parts.hostname, port or PORTS[parts.scheme], username


def _password(environment: Mapping[str, str], file: Path | None) -> str | None:
    if file is None:
        return environment.get(PASSWORD_VARIABLE)
    try:
        return file.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"the password of the MQTT broker cannot be read from `{file}` ({error}). Expected a text file of one "
            "line. Give another."
        ) from error


def _encrypt(client: Client, authorities: Path | None) -> None:
    try:
        client.tls_set(None if authorities is None else str(authorities))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"certificates cannot be read from `{authorities}` ({error}). Expected a PEM file. Give another."
        ) from error


def _tell_nobody(_sentence: str) -> None:
    """Where nobody asked to be told."""
