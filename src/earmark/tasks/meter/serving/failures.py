"""Inputs without an answer, each with a code that programs can read and a sentence for people.

=============  ==================================================
code           meaning
=============  ==================================================
`not_found`    the source leads nowhere
`undecodable`  not audio, broken or cut short
`too_short`    less than 2 s
`silent`       nothing above -80 dB of full scale
`no_model`     no run answers, and no fallback was asked for
`failed`       anything else; the sentence says what
=============  ==================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from earmark.errors import EarmarkError

__all__ = ["CODES", "Failure", "code_of"]

CODES = {
    "DecodeError": "undecodable",
    "TooShortError": "too_short",
    "SilentError": "silent",
    "NoModelError": "no_model",
}
"""Class of an error -> code."""

OTHER = "failed"
NOT_FOUND = "not_found"


@dataclass(frozen=True)
class Failure:
    """An input without an answer."""

    path: str
    code: str
    error: str

    @classmethod
    def of(cls, path: str, problem: EarmarkError) -> Failure:
        """From the error that it raised."""
        return cls(path, code_of(type(problem).__name__), str(problem))

    def to_json(self) -> dict[str, Any]:
        """The JSON object in place of a document."""
        return {"task": "meter", "path": self.path, "error": self.error, "code": self.code}


def code_of(kind: str) -> str:
    """Code of the name of an error's class."""
    return CODES.get(kind, OTHER)
