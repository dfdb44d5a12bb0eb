"""What `live appliance` tells a program that watches it (`earmark.cli.events`), beside its lines.

============= ==================================================================================================
``listening`` once: ``run``, ``devices``, ``limits`` {device: [on, off]} of ``p_<device>``, ``decoder``, ``window_s``,
              ``hop_s``, ``floor_dbfs``, ``source``
``state``     which devices run, whenever that changes: ``on`` {device: true, false or null while it is not known}
``switch``    a device that switched: ``device``, ``kind`` on or off, ``prob``, ``window_index``, ``clip`` or null
============= ==================================================================================================

``timestamp`` is that of the line, seconds of the Unix epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from earmark.cli.events import tell

if TYPE_CHECKING:
    from earmark.tasks.appliance.decoding.presets import Rule
    from earmark.tasks.appliance.serving.clips import Clips
    from earmark.tasks.appliance.serving.engine import Answered, Engine
    from earmark.tasks.appliance.serving.model import Model

__all__ = ["Watched", "tell_listening"]


def tell_listening(model: Model, rule: Rule, source: str) -> None:
    """Tell what is heard with."""
    devices = model.detector.devices
    limits = {name: [round(limit, 6) for limit in one] for name, one in rule.shown_limits(devices).items()}
    tell(
        {
            "type": "listening",
            "run": model.name,
            "devices": list(devices.names),
            "limits": limits,
            "decoder": rule.name,
            "window_s": model.detector.window_s,
            "hop_s": rule.hop_s,
            "floor_dbfs": model.floor_dbfs,
            "source": source,
        }
    )


class Watched:
    """Tells states and switches of one engine, and has the clips of the latter kept."""

    def __init__(self, engine: Engine, clips: Clips | None) -> None:
        self._engine, self._clips = engine, clips
        self._on: dict[str, bool | None] | None = None

    def take(self, answered: Answered, timestamp: float) -> None:
        """Take a window that was answered at `timestamp`."""
        clip = None
        if self._clips is not None:
            from earmark.tasks.appliance.serving.clips import time_of_day

            clip = self._clips.take(answered, time_of_day(timestamp))
        for event in answered.decided.events:
            told = {"device": event.device, "kind": event.kind, "prob": round(event.prob, 6)}
            where = {"window_index": event.step, "clip": clip}
            tell({"type": "switch", "timestamp": round(timestamp, 3), **told, **where})
        if (on := self._engine.on) != self._on:
            self._on = dict(on)
            tell({"type": "state", "timestamp": round(timestamp, 3), "on": self._on})
