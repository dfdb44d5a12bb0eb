"""The feature sets of the task, by the names under which figures about them were published.

Order of the groups: audio, ssm, beat, signals, tempo, sync, mert. What hears through MERT is there only once a project
has its checkpoint, whose weights are not for all uses: columns of zeros would pass for an answer.
"""

from __future__ import annotations

from dataclasses import replace

from earmark.features.group import FeatureGroup
from earmark.features.sets import FeatureSet
from earmark.tasks.meter.groups.audio_tracked import AUDIO_TRACKED
from earmark.tasks.meter.groups.audio_v6 import AUDIO, audio_group
from earmark.tasks.meter.groups.bar_grid import BAR_GRID
from earmark.tasks.meter.groups.beat import BEAT
from earmark.tasks.meter.groups.division import DIVISION
from earmark.tasks.meter.groups.evidence import EVIDENCE, LENGTH
from earmark.tasks.meter.groups.signals import SIGNAL_GROUP, SIGNAL_RECORD
from earmark.tasks.meter.groups.slots import Trackers, present, with_trackers
from earmark.tasks.meter.groups.ssm import SSM
from earmark.tasks.meter.groups.sync import SYNC
from earmark.tasks.meter.groups.tempo import TEMPO
from earmark.tasks.meter.trackers.bars import bars
from earmark.tasks.meter.trackers.dp import dp

__all__ = ["DEFAULT_VIEW", "MERT_ABSENT", "MERT_VIEWS", "PHASES", "VIEWS", "phases_with", "views_with"]

DEFAULT_VIEW = "grid"

_AUDIO_V5 = replace(audio_group("v5"), name="meter.audio_v5")
_TRACKED = replace(AUDIO_TRACKED, name="meter.audio_tracked")
_BEATS_AND_SIGNALS = (BEAT, SIGNAL_GROUP, TEMPO)


def _views(*views: FeatureSet) -> dict[str, FeatureSet]:
    return {view.name: view for view in views}


def _raw_audio(version: str) -> FeatureSet:
    """A version of the audio group as it was before the front end filtered: a baseline."""
    group = replace(audio_group(version, highpass_hz=0.0), name=f"meter.audio_{version}_raw")
    width = len(group.columns)
    return FeatureSet(
        f"legacy_a{width}",
        (group,),
        description=f"{width} columns: audio in version {version} without the high-pass, for comparison",
    )


VIEWS: dict[str, FeatureSet] = _views(
    FeatureSet(
        "grid", (BAR_GRID,), description="246 columns: bars of all lengths and beats, at no given tempo"
    ),
    FeatureSet(
        "rhythm",
        (BAR_GRID, SSM, *_BEATS_AND_SIGNALS, SYNC, DIVISION),
        description="524 columns: grid, and everything that is counted in beats",
    ),
    FeatureSet("a1449", (AUDIO,), description="1449 columns: autocorrelation, timbre and bar histograms"),
    FeatureSet(
        "g1467",
        (_AUDIO_V5, *_BEATS_AND_SIGNALS),
        description="1467 columns: audio in version v5, beats, signals, tempo",
    ),
    FeatureSet(
        "g1630",
        (AUDIO, SSM, *_BEATS_AND_SIGNALS),
        description="1630 columns: audio, similarity of beats, beats, signals, tempo",
    ),
    FeatureSet("g1723", (AUDIO, SSM, *_BEATS_AND_SIGNALS, SYNC), description="1723 columns: g1630 and sync"),
    FeatureSet(
        "g1969",
        (AUDIO, SSM, *_BEATS_AND_SIGNALS, SYNC, BAR_GRID),
        description="1969 columns: g1723 and grid",
    ),
    *(_raw_audio(version) for version in ("v6", "v5", "v4", "v3")),
    FeatureSet(
        "tracked_a1449",
        (_TRACKED,),
        description="1449 columns: a1449 at the tempo of the beats, for comparison",
    ),
    FeatureSet("signals60", (SIGNAL_GROUP,), description="60 columns: five signals in twelve signatures"),
    FeatureSet(
        "sync93", (SYNC,), description="93 columns: autocorrelation and bars of curves read at the beats"
    ),
    FeatureSet(
        "vote",
        (SIGNAL_GROUP, BEAT, DIVISION),
        description="106 columns: what the baseline `vote` reads",
    ),
    FeatureSet("length", (LENGTH,), description="5 columns: length, level and tempo of a clip, for no model"),
    FeatureSet(
        "record",
        (SIGNAL_RECORD,),
        description="95 columns: all signatures of the signals, the twelve of signals60 included",
    ),
)
"""By name; widths of the names are those of their columns."""

PHASES: dict[str, tuple[FeatureGroup, ...]] = {
    "beats": (dp, bars),
    "onsets": EVIDENCE,
    "signals": (SIGNAL_GROUP, SIGNAL_RECORD),
    "tempo": (TEMPO,),
    "features": (AUDIO, SSM, BEAT, SYNC, DIVISION, BAR_GRID),
}
"""What `extract` warms one after the other, so that one kind of work is in memory; later phases reuse earlier ones."""


MERT_VIEWS: dict[str, tuple[str | None, str]] = {
    "mert1536": (None, "1536 columns: one layer of MERT"),
    "g2985": ("a1449", "2985 columns: a1449 and one layer of MERT"),
    "g3166": ("g1630", "3166 columns: g1630 and one layer of MERT"),
}
"""Feature sets that exist where MERT has a checkpoint: what they add it to, and their description."""

MERT_ABSENT = (
    "it needs a checkpoint of MERT-v1-95M (huggingface.co/m-a-p/MERT-v1-95M; CC BY-NC 4.0, not for commercial use). "
    "Set meter.mert in earmark.toml, or EARMARK_MERT, to its path."
)
"""Why a feature set of MERT is not there, and what to do."""


def views_with(trackers: Trackers, mert: FeatureGroup | None = None) -> dict[str, FeatureSet]:
    """The feature sets with other trackers in the slots, and with MERT; names of groups and columns stay."""
    views = {
        name: replace(view, groups=tuple(_with(group, trackers) for group in view.groups))
        for name, view in VIEWS.items()
    }
    if mert is None:
        return views
    return views | {
        name: FeatureSet(name, (*(views[base].groups if base else ()), mert), description=description)
        for name, (base, description) in MERT_VIEWS.items()
    }


def phases_with(trackers: Trackers, mert: FeatureGroup | None = None) -> dict[str, tuple[FeatureGroup, ...]]:
    """The phases with other trackers in the slots, which are computed beside those that groups name themselves.

    MERT has a phase of its own: its network is the largest thing in memory.
    """
    phases = {name: tuple(_with(group, trackers) for group in groups) for name, groups in PHASES.items()}
    own = {group.name: group for group in (*PHASES["beats"], *present(trackers))}
    phases["beats"] = tuple(own.values())
    return phases if mert is None else {**phases, "mert": (*mert.reuses, mert)}


def _with(group: FeatureGroup, trackers: Trackers) -> FeatureGroup:
    return with_trackers(group, trackers) if "trackers" in group.parameters else group
