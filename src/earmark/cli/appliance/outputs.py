"""Options of `live appliance` that send its lines elsewhere: an MQTT broker, Prometheus."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation

if TYPE_CHECKING:
    from earmark.inference.capture import Capture
    from earmark.tasks.appliance.schema import Devices
    from earmark.tasks.appliance.serving.sinks import Sink

__all__ = ["opened_outputs", "output_options"]

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def output_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Where lines go besides standard output and the log; `opened_outputs` takes what they give."""
    for option in (
        click.option(
            "--prometheus",
            metavar="[HOST:]PORT",
            help="Serve metrics at this port, to this machine alone unless an address is given; 0: any free port.",
        ),
        click.option("--mqtt-ca", type=_FILE, help="Certificates to trust in place of the system's, PEM."),
        click.option(
            "--mqtt-password-file", type=_FILE, help="Holds the password; else EARMARK_MQTT_PASSWORD does."
        ),
        click.option("--mqtt-discovery", default="homeassistant", help="Discovery prefix of Home Assistant."),
        click.option("--mqtt-prefix", default="earmark", help="First level of the topics."),
        click.option("--mqtt-room", default="room", help="Name of the room; one of its own per program."),
        click.option(
            "--mqtt",
            metavar="URL",
            help="MQTT broker to tell, for Home Assistant too: mqtt://[USER@]HOST[:PORT], mqtts:// for TLS.",
        ),
    ):
        function = option(function)
    return function


def opened_outputs(
    invocation: Invocation,
    devices: Devices,
    *,
    capture: Capture | None = None,
    mqtt: str | None,
    mqtt_room: str,
    mqtt_prefix: str,
    mqtt_discovery: str,
    mqtt_password_file: Path | None,
    mqtt_ca: Path | None,
    prometheus: str | None,
) -> Sequence[Sink]:
    """The sinks that were asked for; give them every line, also those that `--only-changes` holds back."""
    from earmark.cli.output import complain, note

    sinks: list[Sink] = []
    if mqtt is not None:
        from earmark.tasks.appliance.serving.home_assistant import Topics
        from earmark.tasks.appliance.serving.mqtt import Broker, MqttSink

        broker = Broker.read(
            mqtt, environment=os.environ, password_file=mqtt_password_file, authorities=mqtt_ca
        )
        topics = Topics(mqtt_prefix, mqtt_room, mqtt_discovery)
        sinks.append(MqttSink(broker, topics, devices, tell=complain))
    if prometheus is not None:
        from earmark.tasks.appliance.serving.prometheus import PrometheusSink

        address, port = _address(prometheus)
        served = PrometheusSink(port, devices, address=address, capture=capture)
        note(invocation, f"Metrics: http://{address}:{served.port}/metrics")
        sinks.append(served)
    return sinks


def _address(text: str) -> tuple[str, int]:
    from earmark.errors import UsageError

    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65_535:
        raise UsageError(
            f"--prometheus is {text!r}. Expected a port, or HOST:PORT such as 0.0.0.0:9109. Correct it."
        )
    return host or "127.0.0.1", int(port)
