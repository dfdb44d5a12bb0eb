"""The objects that `predict`, `stream` and `live` write, and their JSON schemas.

Probabilities and levels are rounded to six decimals; null stands for what is not yet known. ``p_<device>`` are medians
of the windows of a file in a batch, and what the decoder shows in a stream: medians or posteriors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from earmark.tasks.appliance.decoding.decided import Decided
from earmark.tasks.appliance.schema import Devices, states
from earmark.tasks.appliance.serving.health import HEALTH_STATES

__all__ = [
    "LiveLine",
    "batch_schema",
    "live_line",
    "live_schema",
    "p_fields",
    "stream_event",
    "stream_schema",
]

LiveLine = dict[str, Any]
DECIMALS = 6
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def p_fields(devices: Devices, values: Sequence[float] | None, suffix: str = "") -> dict[str, float | None]:
    """``p_<device><suffix>`` -> probability, null while there is none."""
    if values is None:
        return dict.fromkeys([f"p_{name}{suffix}" for name in devices.names])
    return {
        f"p_{name}{suffix}": round(float(p), DECIMALS) for name, p in zip(devices.names, values, strict=True)
    }


def stream_event(devices: Devices, decided: Decided) -> dict[str, Any]:
    """One element of ``events`` in the document of a stream."""
    return {
        "window_index": decided.index,
        "status": decided.status,
        **p_fields(devices, decided.p_shown),
    }


def live_line(
    devices: Devices,
    decided: Decided,
    *,
    timestamp: float,
    process_ms: float,
    stable_age_s: float | None,
    audio_s: float,
    health: str,
    source: str | None,
) -> LiveLine:
    """One line of `live`, fields in their order.

    Parameters
    ----------
    timestamp : float
        Seconds of the Unix epoch.
    stable_age_s : float or None
        Since the settled state has been what it is.
    audio_s : float
        Seconds of audio heard up to the end of the window.
    source : str or None
        The file, in a dry run.
    """
    line: LiveLine = {
        "timestamp": round(timestamp, 3),
        "status": decided.status,
        **p_fields(devices, decided.p_shown),
        "window_index": decided.index,
        "process_ms": round(process_ms, 3),
    }
    if source is not None:
        line["source"] = source
    if decided.changed:
        line["debounced_status"] = decided.stable
    return line | {
        "stable_status": decided.stable,
        "stable_age_s": None if stable_age_s is None else round(stable_age_s, 3),
        "audio_s": round(audio_s, 4),
        "confidence": None if decided.confidence is None else round(decided.confidence, DECIMALS),
        "health": health,
    }


def batch_schema(devices: Devices) -> dict[str, Any]:
    """JSON schema of a line of `predict` without ``--details``, and without a path."""
    required = ["status", *(f"p_{name}" for name in devices.names)]
    properties = {
        "status": {"enum": list(states(devices))},
        **{f"p_{name}": _share() for name in devices.names},
    }
    return _object(properties, required)


def stream_schema(devices: Devices) -> dict[str, Any]:
    """JSON schema of the document of a stream."""
    event = _object(
        {
            "window_index": {"type": "integer", "minimum": 0},
            "status": {"enum": list(states(devices))},
            **{f"p_{name}": _share() for name in devices.names},
        },
        ["window_index", "status", *(f"p_{name}" for name in devices.names)],
    )
    event.pop("$schema")
    return _object({"events": {"type": "array", "items": event}}, ["events"])


def live_schema(devices: Devices) -> dict[str, Any]:
    """JSON schema of a line of `live`."""
    number_or_null = {"type": ["number", "null"]}
    state_or_null = {"enum": [*states(devices), None]}
    properties: dict[str, Any] = {
        "timestamp": {"type": "number"},
        "status": state_or_null,
        **{f"p_{name}": {"type": ["number", "null"], "minimum": 0, "maximum": 1} for name in devices.names},
        "window_index": {"type": "integer", "minimum": -1},
        "process_ms": {"type": "number", "minimum": 0},
        "source": {"type": "string"},
        "debounced_status": {"enum": list(states(devices))},
        "stable_status": state_or_null,
        "stable_age_s": number_or_null,
        "audio_s": {"type": "number", "minimum": 0},
        "confidence": number_or_null,
        "health": {"enum": list(HEALTH_STATES)},
    }
    return _object(properties, [name for name in properties if name not in ("source", "debounced_status")])


def _share() -> dict[str, Any]:
    return {"type": "number", "minimum": 0, "maximum": 1}


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "$schema": _DIALECT,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
