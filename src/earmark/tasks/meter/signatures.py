"""Time signatures, the classes that cover them, and the groupings that are meant where none is measured.

Conventions: a signature is ``numerator/denominator``; a class is the number of beats per bar as text, see
`earmark.tasks.meter.schema.CLASSES`. The rule of METER2800 counts 6/8 with 3, 12/8 and 2/4 with 4.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from earmark.tasks.meter.schema import CLASSES

__all__ = ["CLASS_OF", "RECORDED_SIGNATURES", "class_scores", "grouping_by_rule"]

RECORDED_SIGNATURES = (
    *(f"{beats}/4" for beats in range(2, 13)),
    *(f"{pulses}/8" for pulses in (3, 5, 6, 7, 9, 10, 11, 12)),
)
"""All that a signal can say; the columns of group ``meter.signals`` are limited to `SIGNATURES`."""

CLASS_OF: Mapping[str, str] = {
    "2/4": "4",
    "3/4": "3",
    "4/4": "4",
    "5/4": "5",
    "6/4": "3",
    "7/4": "7",
    "8/4": "4",
    "9/4": "9",
    "10/4": "5",
    "11/4": "11",
    "12/4": "4",
    "3/8": "3",
    "5/8": "5",
    "6/8": "3",
    "7/8": "7",
    "9/8": "9",
    "10/8": "5",
    "11/8": "11",
    "12/8": "4",
}
"""Signature -> class; two bars taken as one belong to the class of the single bar."""

_GROUPING = {2: (2,), 3: (3,), 4: (4,), 5: (3, 2), 6: (3, 3), 7: (2, 2, 3), 8: (4, 4)}
_GROUPING |= {9: (2, 2, 2, 3), 10: (3, 2, 3, 2), 11: (3, 3, 3, 2), 12: (3, 3, 3, 3)}


def class_scores(scores: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Scores of signatures, each shape (n_items,), as scores of classes: the best signature of each.

    Returns
    -------
    np.ndarray, float64, shape (n_items, 6)
        In the order of `CLASSES`; 0 for a class none of whose signatures is given.
    """
    n_items = len(next(iter(scores.values())))
    result = np.zeros((n_items, len(CLASSES)))
    for signature, values in scores.items():
        column = result[:, CLASSES.index(CLASS_OF[signature])]
        np.maximum(column, values, out=column)
    return result


def grouping_by_rule(beats: int, *, compound: bool = False) -> tuple[int, ...]:
    """How a bar of `beats` is grouped where no accents tell; 3+3+3 for nine beats of a compound division."""
    if beats == 9 and compound:
        return (3, 3, 3)
    return _GROUPING.get(beats, (beats,))
