"""What Home Assistant is told of a room over MQTT: topics, discovery messages, and the state of a line.

====================================================  ============================================================
topic                                                 message, all retained
====================================================  ============================================================
``<prefix>/<room>/availability``                      ``online``, or ``offline`` as the program's last will
``<prefix>/<room>/state``                             JSON: ``state``, ``health``, one ``ON``/``OFF``/null per device
                                                      under ``on``, and the fields of the line
``homeassistant/binary_sensor/<id>/<device>/config``  discovery: is this device running
``homeassistant/sensor/<id>/state/config``            discovery: the public state, an enumeration
``homeassistant/sensor/<id>/health/config``           discovery: the input's health, a diagnostic enumeration
====================================================  ============================================================

``<id>`` is ``<prefix>_<room>``. A device whose state is unknown (it is masked by a louder one, or nothing has been
heard yet) is null, which Home Assistant shows as *unknown* and never as off. Entities become unavailable when the
program ends in any way (last will) or says nothing for `EXPIRE_AFTER_S`.

References: Home Assistant, "MQTT", "MQTT binary sensor" and "MQTT sensor": the keys of discovery messages, the birth
message ``homeassistant/status``, and the payload ``None`` for unknown.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from earmark.errors import UsageError
from earmark.tasks.appliance.schema import Devices, states
from earmark.tasks.appliance.serving.health import HEALTH_STATES
from earmark.tasks.appliance.serving.sinks import Line

__all__ = [
    "BIRTH_PAYLOAD",
    "EXPIRE_AFTER_S",
    "OFFLINE",
    "ONLINE",
    "STATE_EVERY_S",
    "Message",
    "Topics",
    "certain_facts",
    "discovery",
    "state_payload",
]

ONLINE, OFFLINE = "online", "offline"
BIRTH_PAYLOAD = "online"
STATE_EVERY_S = 60.0
"""The state is sent at every change, and at least this often."""
EXPIRE_AFTER_S = 180
"""Three states may go astray before Home Assistant stops believing the last."""
_ID = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Message:
    """Something to publish, retained: its topic and its text."""

    topic: str
    payload: str


@dataclass(frozen=True)
class Topics:
    """The topics of one room.

    Parameters
    ----------
    prefix : str
        First level of the room's own topics.
    room : str
        Tells rooms and programs apart: each running program needs its own.
    discovery_prefix : str
        As set in Home Assistant.

    Raises
    ------
    UsageError
        A name holds what Home Assistant does not accept in an identity.
    """

    prefix: str = "earmark"
    room: str = "room"
    discovery_prefix: str = "homeassistant"

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not _ID.fullmatch(value):
                raise UsageError(
                    f"the MQTT {name.replace('_', ' ')} {value!r} cannot stand in a topic and an identity. Expected "
                    "letters, digits, `_` and `-`. Give another."
                )

    @property
    def identity(self) -> str:
        """What unique_ids and the device's identifier begin with."""
        return f"{self.prefix}_{self.room}"

    @property
    def availability(self) -> str:
        """Whether the program runs."""
        return f"{self.prefix}/{self.room}/availability"

    @property
    def state(self) -> str:
        """What it heard last."""
        return f"{self.prefix}/{self.room}/state"

    @property
    def birth(self) -> str:
        """Where Home Assistant says that it has started."""
        return f"{self.discovery_prefix}/status"

    def config(self, component: str, entity: str) -> str:
        """Where an entity is announced."""
        return f"{self.discovery_prefix}/{component}/{self.identity}/{entity}/config"


def discovery(topics: Topics, devices: Devices) -> list[Message]:
    """The messages that make Home Assistant show a room: one per device, the public state, and the health."""
    entities = [("binary_sensor", name, _machine(name)) for name in devices.names]
    entities.append(("sensor", "state", _enumeration("State", "state", states(devices))))
    entities.append(
        (
            "sensor",
            "health",
            _enumeration("Health", "health", HEALTH_STATES) | {"entity_category": "diagnostic"},
        )
    )
    return [
        Message(topics.config(component, entity), _text(_shared(topics, entity) | own))
        for component, entity, own in entities
    ]


def _machine(name: str) -> dict[str, Any]:
    return {
        "name": name.replace("_", " ").capitalize(),
        "device_class": "running",
        "payload_on": "ON",
        "payload_off": "OFF",
        "value_template": f"{{{{ value_json.on['{name}'] }}}}",
    }


def _enumeration(name: str, field: str, options: Sequence[str]) -> dict[str, Any]:
    return {
        "name": name,
        "device_class": "enum",
        "options": list(options),
        "value_template": f"{{{{ value_json.{field} }}}}",
    }


def _shared(topics: Topics, entity: str) -> dict[str, Any]:
    from earmark import __version__

    return {
        "unique_id": f"{topics.identity}_{entity}",
        "state_topic": topics.state,
        "json_attributes_topic": topics.state,
        "availability_topic": topics.availability,
        "payload_available": ONLINE,
        "payload_not_available": OFFLINE,
        "expire_after": EXPIRE_AFTER_S,
        "qos": 1,
        "device": {
            "identifiers": [topics.identity],
            "name": f"Machines of {topics.room}",
            "manufacturer": "earmark",
            "model": "appliance",
            "sw_version": __version__,
        },
        "origin": {"name": "earmark", "sw_version": __version__},
    }


def certain_facts(line: Line, devices: Devices) -> dict[str, bool | None]:
    """Which devices run, as far as a line says so.

    A line with `on` says it of each device. Else the stable state tells: devices of a higher priority than the named
    one are off, and those of a lower one may be on or off, which is None.

    Examples
    --------
    >>> from earmark.tasks.appliance.schema import DEFAULT_DEVICES
    >>> certain_facts({"stable_status": "fridge-on"}, DEFAULT_DEVICES)
    {'ac': False, 'fridge': True}
    >>> certain_facts({"stable_status": "ac-on"}, DEFAULT_DEVICES)
    {'ac': True, 'fridge': None}
    """
    on: Mapping[str, bool | None] | None = line.get("on")
    if on is not None:
        return {name: on.get(name) for name in devices.names}
    state = line.get("stable_status")
    if state is None:
        return dict.fromkeys(devices.names)
    running = states(devices).index(state)
    return {name: _fact(devices.priority.index(name), running) for name in devices.names}


def _fact(rank: int, running: int) -> bool | None:
    return rank == running if rank <= running else None


def state_payload(line: Line, facts: Mapping[str, bool | None]) -> str:
    """The text of the state topic: the public state, health, `ON`, `OFF` or null per device, and what the line adds."""
    words = {True: "ON", False: "OFF", None: None}
    shown = {"state": line.get("stable_status"), "health": line.get("health")}
    added = {name: _finite(value) for name, value in line.items() if name not in shown and name != "on"}
    return _text({**shown, "on": {name: words[fact] for name, fact in facts.items()}, **added})


def _finite(value: Any) -> Any:
    """JSON has no word for what is no number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, allow_nan=False)
