"""Musical keys as DJ software writes them, on the Camelot wheel.

Neighbours on the wheel are a fifth apart; ``A`` is minor, ``B`` major; A minor and C major are 8.
"""

from __future__ import annotations

import re

from earmark.tasks.zones.text import camelot_key

__all__ = ["camelot_of_tonality"]

_NAME = re.compile(r"([A-G])\s*(#|♯|b|♭)?\s*(m|min|minor|maj|major)?", re.IGNORECASE)
_PITCH_CLASS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ACCIDENTAL = {"#": 1, "♯": 1, "b": -1, "B": -1, "♭": -1}


def camelot_of_tonality(text: str) -> str | None:
    """Camelot key of a key's name, or of a Camelot key; None for anything else.

    >>> [camelot_of_tonality(key) for key in ("Am", "C", "F#m", "Gbm", "Bb major", "8a", "H", "")]
    ['8A', '8B', '11A', '11A', '6B', '8A', None, None]
    """
    match = _NAME.fullmatch(text.strip())
    if match is None:
        return camelot_key(text)
    note, accidental, mode = match.groups()
    is_minor = bool(mode) and not mode.casefold().startswith("maj")
    pitch_class = _PITCH_CLASS[note.upper()] + _ACCIDENTAL.get(accidental or "", 0) + (3 if is_minor else 0)
    return f"{(7 * pitch_class + 7) % 12 + 1}{'A' if is_minor else 'B'}"
