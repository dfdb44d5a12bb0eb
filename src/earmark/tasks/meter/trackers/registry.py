"""The trackers by name, the three slots that feed the features, and what is absent.

A slot holds the name of a tracker or none. The networks need a checkpoint that the user fetched; without it their slot
is absent: it gives no beats, its features are zeros, and `Slot.reason` says what to get. Which trackers fill the slots,
and the content of their checkpoints, are part of the fingerprint of every group that reads beats.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from earmark.audio.clip import Clip
from earmark.errors import UsageError
from earmark.features.group import FeatureGroup
from earmark.models.weights import Weights
from earmark.tasks.meter.schema import DEFAULT_SLOTS
from earmark.tasks.meter.trackers.bars import bars
from earmark.tasks.meter.trackers.beat_this.tracker import beat_this
from earmark.tasks.meter.trackers.beatnet.tracker import beatnet
from earmark.tasks.meter.trackers.dp import dp, librosa_rule
from earmark.tasks.meter.trackers.rows import Beats

__all__ = ["ABSENT", "CHECKPOINTS", "TRACKERS", "Slot", "beats_of", "slots", "tracker"]

TRACKERS: dict[str, FeatureGroup] = {
    "dp": dp,
    "librosa": librosa_rule,
    "bars": bars,
    "beat_this": beat_this,
    "beat_this_dbn": beat_this.with_parameters("meter.beats_beat_this_dbn", dbn=True),
    "beatnet": beatnet,
}
"""Every tracker; those in `CHECKPOINTS` answer only once `tracker` gave them their weights."""

CHECKPOINTS = {
    "beat_this": "EARMARK_BEAT_THIS",
    "beat_this_dbn": "EARMARK_BEAT_THIS",
    "beatnet": "EARMARK_BEATNET",
}
"""Environment variable with the path of each network's weights; the setting is called alike, ``meter.beat_this``."""

ABSENT = "absent"

_SOURCES = {
    "EARMARK_BEAT_THIS": "a checkpoint of Beat This! (github.com/CPJKU/beat_this; `final0.ckpt` or `small0.ckpt`, MIT)",
    "EARMARK_BEATNET": "a weights file of BeatNet (github.com/mjhydri/BeatNet; `model_1_weights.pt`, CC BY 4.0)",
}


@dataclass(frozen=True)
class Slot:
    """One of the three places of a tracker.

    Attributes
    ----------
    name : str
        Name of the tracker that was asked for.
    group : FeatureGroup or None
        None if it is absent.
    reason : str
        Why it is absent and what to do; empty if it is present.
    """

    name: str
    group: FeatureGroup | None
    reason: str = ""

    @property
    def status(self) -> str:
        """``ok`` or ``absent``."""
        return "ok" if self.group is not None else ABSENT

    @property
    def is_missing(self) -> bool:
        """Whether a tracker was asked for and is absent."""
        return self.group is None and self.name != ABSENT


def beats_of(clip: Clip, group: FeatureGroup | None) -> Beats:
    """Beats of a clip by a tracker, from the cache where the engine has them; none for an absent tracker."""
    return Beats.none() if group is None else Beats.of_rows(group.on(clip))


def tracker(name: str, environ: Mapping[str, str] | None = None) -> FeatureGroup | None:
    """The group of a tracker, with its weights; None if it needs weights and no path is given.

    Raises
    ------
    UsageError
        For an unknown name, or a path where there is no file.
    """
    if name not in TRACKERS:
        raise UsageError(f"`{name}` is no tracker; there are {', '.join(TRACKERS)}. Choose one of them.")
    if name not in CHECKPOINTS:
        return TRACKERS[name]
    path = (os.environ if environ is None else environ).get(CHECKPOINTS[name], "")
    return TRACKERS[name].with_parameters(weights=Weights.of(path)) if path else None


def slots(
    names: Sequence[str] = DEFAULT_SLOTS, environ: Mapping[str, str] | None = None
) -> tuple[Slot, Slot, Slot]:
    """The three slots; `ABSENT` leaves one empty.

    Raises
    ------
    UsageError
        Not three names, or an unknown one.
    """
    if len(names) != 3:
        raise UsageError(
            f"{len(names)} trackers are given ({', '.join(names)}); there are three slots. Name three."
        )
    first, second, third = (_slot(name, environ) for name in names)
    return first, second, third


def _slot(name: str, environ: Mapping[str, str] | None) -> Slot:
    if name == ABSENT:
        return Slot(name, None, "left empty")
    group = tracker(name, environ)
    return Slot(name, group) if group is not None else Slot(name, None, _missing(name))


def _missing(name: str) -> str:
    variable = CHECKPOINTS[name]
    setting = variable.replace("EARMARK_", "meter.").lower()
    return (
        f"tracker `{name}` is absent: it needs {_SOURCES[variable]}. Set {setting} in earmark.toml, or {variable}, to "
        "its path."
    )
