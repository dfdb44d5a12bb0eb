"""Labels that are more than one class: ``3:0.7,4:0.8`` says how well each of several classes describes an item.

Weights lie in (0, 1] and need not sum to 1: a piece may be fully in 3 and half in 4. ``5`` alone is ``5:1``. As
numbers they are targets, float32, shape (n_items, n_classes), 0 where a class is not named; an item without such a
text has 1 in the class of its label. The primary class is the one with the heaviest weight, of equals the first in
the order of the classes. Which column of a manifest holds such texts is the task's declaration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError

__all__ = ["parse_soft_label", "primary_class", "soft_label_text", "soft_targets"]


def parse_soft_label(text: str) -> dict[str, float]:
    """Class -> weight.

    Raises
    ------
    UsageError
        A part is no ``CLASS`` or ``CLASS:WEIGHT``, a weight is not in (0, 1], or a class is named twice.

    Examples
    --------
    >>> parse_soft_label("3:0.7, 4:0.8")
    {'3': 0.7, '4': 0.8}
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        name, colon, number = (piece.strip() for piece in part.partition(":"))
        try:
            weight = float(number) if colon else 1.0
        except ValueError:
            weight = -1.0
        if not name or name in found or not 0 < weight <= 1:
            raise UsageError(
                f"The label {text!r} cannot be read at {part.strip()!r}; expected CLASS or CLASS:WEIGHT with commas "
                "between, each class once, weights above 0 and at most 1. Correct the label."
            )
        found[name] = weight
    return found


def soft_label_text(weights: Mapping[str, float]) -> str:
    """The text of class weights: a single class of weight 1 stands alone."""
    if list(weights.values()) == [1.0]:
        return next(iter(weights))
    return ",".join(f"{name}:{weight:g}" for name, weight in weights.items())


def primary_class(weights: Mapping[str, float], classes: Sequence[str]) -> str:
    """The heaviest class, of equals the first in the order of `classes`."""
    return max(weights, key=lambda name: (weights[name], -classes.index(name)))


def soft_targets(
    texts: Sequence[str | None], y: npt.NDArray[np.int64], classes: Sequence[str]
) -> npt.NDArray[np.float32]:
    """Targets of items, float32, shape (n_items, n_classes).

    Parameters
    ----------
    texts : sequence of str or None
        None or empty: the label alone.
    y : ndarray of int, shape (n_items,)
        Position of each item's label.
    classes : sequence of str

    Raises
    ------
    UsageError
        A text cannot be read, names an unknown class, or gives another class more weight than the label.
    """
    targets = np.eye(len(classes), dtype=np.float32)[y]
    position = {name: i for i, name in enumerate(classes)}
    for row, text in enumerate(texts):
        if not text:
            continue
        weights = parse_soft_label(text)
        unknown = [name for name in weights if name not in position]
        if unknown:
            raise UsageError(
                f"The label {text!r} names {', '.join(unknown)}; expected classes out of {', '.join(classes)}. "
                "Correct the label and run `earmark prepare` again."
            )
        targets[row] = 0
        targets[row, [position[name] for name in weights]] = list(weights.values())
        if targets[row, y[row]] < targets[row].max():
            raise UsageError(
                f"An item is labelled {classes[y[row]]}, and {text!r} gives more weight to another class; expected the "
                "label to be the heaviest. Prepare the manifest again."
            )
    return targets
