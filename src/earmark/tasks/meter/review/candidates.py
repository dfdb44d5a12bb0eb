"""Which labels to listen to again: those that the signals and the model, heard one by one, do not support.

A voter is a signal, or the model out of fold; its vote is the class it scores highest. A voter without evidence has no
vote, which is neither for nor against a label: an item is judged only if `MIN_VOTES` voters spoke. It is a candidate if
at most `max_agreeing` of them name a meter of its label. A segment of a song is told apart where the song's other
segments are supported and it is not: songs change meter, and each segment bears its song's label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from earmark.errors import UsageError

__all__ = ["MAX_AGREEING", "MIN_VOTES", "Candidate", "Judged", "find_candidates"]

MAX_AGREEING = 1
MIN_VOTES = 3
"""With fewer, `at most one agrees` would hold of almost every item."""


@dataclass(frozen=True)
class Judged:
    """An item as it is judged: its label's classes, and the class that each voter names, empty without evidence."""

    id: str
    uri: str
    label: str
    accepted: tuple[str, ...]
    votes: Mapping[str, str]
    predicted: str
    confidence: float
    source: str = ""
    song_id: str | None = None

    @property
    def n_votes(self) -> int:
        """Voters that spoke."""
        return sum(map(bool, self.votes.values()))

    @property
    def n_agreeing(self) -> int:
        """Voters that name a meter of the label."""
        return sum(vote in self.accepted for vote in self.votes.values())


@dataclass(frozen=True)
class Candidate:
    """An item to listen to again; `of_song` says how many other segments of its song are supported."""

    id: str
    uri: str
    label: str
    predicted: str
    confidence: float
    votes: dict[str, str]
    n_agreeing: int
    n_votes: int
    source: str = ""
    of_song: str = ""

    def to_json(self) -> dict[str, Any]:
        """All fields by name."""
        return asdict(self)


def find_candidates(
    items: Sequence[Judged], *, max_agreeing: int = MAX_AGREEING, min_votes: int = MIN_VOTES
) -> tuple[Candidate, ...]:
    """The items to listen to again, the least supported first, then those of which the model is surest otherwise.

    Parameters
    ----------
    items : sequence of Judged
    max_agreeing : int
        Most voters that may support the label.
    min_votes : int
        Fewest voters that must have spoken.

    Raises
    ------
    UsageError
        No item has enough votes: then nothing can be said, and an empty list would mislead.
    """
    judged = [item for item in items if item.n_votes >= min_votes]
    if items and not judged:
        most = max(item.n_votes for item in items)
        raise UsageError(
            f"at most {most} signals spoke on an item, expected {min_votes} or more to judge a label. "
            "Extract the signals first: earmark extract meter"
        )
    doubted = [item for item in judged if item.n_agreeing <= max_agreeing]
    songs = _supported_by_song(judged, max_agreeing)
    found = [_candidate(item, songs.get(item.song_id or "", (0, 0))) for item in doubted]
    return tuple(
        sorted(
            found,
            key=lambda one: (one.n_agreeing, one.predicted == one.label, -one.confidence, one.id),
        )
    )


def _supported_by_song(items: Sequence[Judged], max_agreeing: int) -> dict[str, tuple[int, int]]:
    """Song -> segments that are supported, and all."""
    counts: dict[str, tuple[int, int]] = {}
    for item in items:
        if item.song_id:
            supported, total = counts.get(item.song_id, (0, 0))
            counts[item.song_id] = supported + (item.n_agreeing > max_agreeing), total + 1
    return counts


def _candidate(item: Judged, song: tuple[int, int]) -> Candidate:
    supported, total = song
    return Candidate(
        item.id,
        item.uri,
        item.label,
        item.predicted,
        item.confidence,
        dict(item.votes),
        item.n_agreeing,
        item.n_votes,
        item.source,
        f"{supported} of the song's {total - 1} other segments agree with it" if total > 1 else "",
    )
