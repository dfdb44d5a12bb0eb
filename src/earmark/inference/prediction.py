"""What a prediction of one input holds, and what stands in its place when the input failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Failed", "Prediction"]


@dataclass(frozen=True)
class Prediction:
    """The answer for one input.

    Parameters
    ----------
    path : str
        The input as the user spelled it, or as found in a folder or list.
    label : str
        Class name, or the task's word for no decision.
    confidence : float
        0 to 1: probability or score of the best class, also where it was too low for a decision.
    probabilities : mapping of str to float
        Of each class, in class order, summing to 1.
    extras : mapping of str to object
        Fields of the task, such as the tempo; values that JSON knows.
    """

    path: str
    label: str
    confidence: float
    probabilities: Mapping[str, float]
    extras: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return ``path``, ``label``, ``confidence``, ``probabilities`` and the task's fields, in this
        order.
        """
        return {
            "path": self.path,
            "label": self.label,
            "confidence": self.confidence,
            "probabilities": dict(self.probabilities),
            **self.extras,
        }


@dataclass(frozen=True)
class Failed:
    """An input without an answer, and the sentence that says why."""

    path: str
    error: str

    def to_json(self) -> dict[str, Any]:
        """Return ``path`` and ``error``."""
        return {"path": self.path, "error": self.error}
