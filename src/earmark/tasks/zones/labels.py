"""The three energy zones: the one declaration of names, ids, colours and order that everything else reads.

Every table, matrix and vector uses the order YELLOW, GREEN, PURPLE. Labels are read in any case and stored in
upper case. UNCERTAIN is a prediction, never a label.

A zone made from tempo alone is a *pseudo-label*: `bpm_rule` is that rule, a baseline to beat and the test for
label files that were made by it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from earmark.tasks.zones.text import normalised

__all__ = [
    "BPM_PURPLE_ABOVE",
    "BPM_YELLOW_BELOW",
    "CLASSES",
    "UNCERTAIN",
    "UNCERTAIN_DISPLAY_NAME",
    "ZONES",
    "Zone",
    "bpm_rule",
    "follows_bpm_rule",
    "parse_zone",
    "zone_of_colour",
]


@dataclass(frozen=True)
class Zone:
    """One zone: class id, stored name, colour ``#RRGGBB``, display name, meaning, acoustic profile."""

    id: int
    name: str
    colour: str
    display_name: str
    meaning: str
    profile: str


ZONES = (
    Zone(
        0,
        "YELLOW",
        "#FFD700",
        "🟨 Yellow (Rest)",
        "rest, the floor breathes",
        "calm, low energy, few or no prominent drops",
    ),
    Zone(
        1,
        "GREEN",
        "#32CD32",
        "🟩 Green (Transition)",
        "bridge between the two",
        "moderate energy, gradual build-ups",
    ),
    Zone(
        2,
        "PURPLE",
        "#9370DB",
        "🟪 Purple (Energy)",
        "hits, peak",
        "strong frequent high-contrast drops after breakdowns, or high without drops",
    ),
)
"""In class order; `Zone.id` is the position."""

CLASSES = tuple(zone.name for zone in ZONES)
UNCERTAIN = "UNCERTAIN"
"""The best score is below the threshold: no decision."""
UNCERTAIN_DISPLAY_NAME = "❓ Uncertain"

BPM_YELLOW_BELOW = 110.0
BPM_PURPLE_ABOVE = 128.0

_MISSPELT = {"yelow": "YELLOW"}  # how the label editor of the first collections spelt all its yellow tracks
_OTHER_COLOURS = {"#00FF00": "GREEN"}  # of earlier configurations
_BPM_ROUNDING = 0.005  # label files show two decimals of the tempo that the rule saw
_MIN_RULE_ROWS = 10  # fewer rows may follow the rule by chance

_BY_NAME = {
    **{zone.name.casefold(): zone.name for zone in ZONES},
    **{normalised(zone.display_name): zone.name for zone in ZONES},
}


def parse_zone(text: str) -> tuple[str, bool] | None:
    """The zone that a label means.

    Parameters
    ----------
    text : str
        A zone's name or display name in any case.

    Returns
    -------
    (str, bool) or None
        Zone name, and whether it was misspelt as ``YELOW``; None if it is no zone.

    Examples
    --------
    >>> parse_zone(" purple "), parse_zone("YELOW"), parse_zone("blue")
    (('PURPLE', False), ('YELLOW', True), None)
    """
    key = normalised(text)
    if key in _MISSPELT:
        return _MISSPELT[key], True
    return (_BY_NAME[key], False) if key in _BY_NAME else None


def zone_of_colour(colour: str) -> str | None:
    """Zone of a colour ``#RRGGBB``, also of an earlier configuration; None for any other."""
    colours = {zone.colour: zone.name for zone in ZONES} | _OTHER_COLOURS
    return colours.get(colour.strip().upper())


def bpm_rule(bpm: float | None) -> str | None:
    """Zone by tempo alone: below 110 YELLOW, above 128 PURPLE, else GREEN; None without a tempo.

    >>> bpm_rule(109.99), bpm_rule(110.0), bpm_rule(128.0), bpm_rule(128.01), bpm_rule(None)
    ('YELLOW', 'GREEN', 'GREEN', 'PURPLE', None)
    """
    if bpm is None or not math.isfinite(bpm) or bpm <= 0:
        return None
    if bpm < BPM_YELLOW_BELOW:
        return "YELLOW"
    return "PURPLE" if bpm > BPM_PURPLE_ABOVE else "GREEN"


def follows_bpm_rule(bpms: Sequence[float | None], zones: Sequence[str]) -> bool:
    """Whether labels were made by `bpm_rule`: every row with a tempo has the rule's zone.

    A tempo within 0.005 of a threshold fits both sides, since files show rounded tempos. At least 10 rows
    with a tempo and two different zones are needed; fewer may fit by chance.
    """
    pairs = [(bpm, zone) for bpm, zone in zip(bpms, zones, strict=True) if bpm_rule(bpm) is not None]
    if len(pairs) < _MIN_RULE_ROWS or len({zone for _, zone in pairs}) < 2:
        return False
    return all(
        zone in (bpm_rule(bpm - _BPM_ROUNDING), bpm_rule(bpm + _BPM_ROUNDING))
        for bpm, zone in pairs
        if bpm is not None
    )
