"""Which part of a room is the sealed test; fixed by the content of its recordings when it is first prepared.

========== =====================================================================================================
``takes``  each cell (facts of all devices, daypart) has two or more recordings: the last take of each, whole
``tail``   else the last `SEAL_S` of every recording, behind a gap that is used in no part: a same-recording test,
           and so optimistic
``scenes`` recordings in which a machine goes on and off: whole ones, drawn by seed, in proportion to the machine
``none``   nothing is sealed, on the user's word
========== =====================================================================================================

A span ``(from, to)`` is in seconds; ``to`` of None is the end of the recording. Preparing again keeps every span of
a recording that is known by its content, whatever its name is now. New recordings train, but in ``tail``, where their
ends are sealed as well.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from earmark.data.policy import PURGED
from earmark.errors import SealError, UsageError
from earmark.tasks.appliance.recordings import Recording

__all__ = ["GAP_S", "OPTIMISTIC", "SEAL_S", "Hashed", "Sealing", "caveats", "plan_seal"]

SEAL_S = 30.0
GAP_S = 10.0
OPTIMISTIC = "same-recording test, optimistic"

_FEWEST_SCENES = 4
_TEST_SHARE = 0.2
_EDGE_S = 1e-6

SealedSpan = tuple[float, float | None]


@dataclass(frozen=True)
class Hashed:
    """A recording with the hash of its content, its decoded length, and what `scenes` are drawn by."""

    recording: Recording
    content: str
    duration_s: float
    machine: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Sealing:
    """What is sealed: the kind, the seconds of a tail and its gap, and the span of each recording by content."""

    kind: str
    seal_s: float = SEAL_S
    gap_s: float = GAP_S
    spans: Mapping[str, SealedSpan] = field(default_factory=dict)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Sealing | None:
        """The sealing that `to_json` wrote; None of an empty one."""
        if not document:
            return None
        spans = {content: (span[0], span[1]) for content, span in document["recordings"].items()}
        return cls(document["kind"], document["seal_s"], document["gap_s"], spans)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        recordings = {content: list(span) for content, span in sorted(self.spans.items())}
        return {"kind": self.kind, "seal_s": self.seal_s, "gap_s": self.gap_s, "recordings": recordings}

    def part(self, content: str, start_s: float, end_s: float) -> str:
        """Where a window of a recording belongs: ``train``, ``test`` or ``purged``."""
        if content not in self.spans:
            return "train"
        first, last = self.spans[content]
        if start_s >= first - _EDGE_S and (last is None or end_s <= last + _EDGE_S):
            return "test"
        is_clear = end_s <= first - self.gap_s + _EDGE_S
        is_clear |= last is not None and start_s >= last + self.gap_s - _EDGE_S
        return "train" if is_clear else PURGED

    @property
    def is_same_recording(self) -> bool:
        """Whether training and test share recordings."""
        return self.kind == "tail"

    def sentence(self, n_windows: int) -> str:
        """What a report says of the test."""
        if self.kind == "none":
            return "nothing is sealed: every window may train, and no score is one of an untouched test"
        what = {
            "takes": "the last take of each cell",
            "tail": f"the last {self.seal_s:g} s of every recording after a gap of {self.gap_s:g} s ({OPTIMISTIC})",
            "scenes": "whole recordings",
        }[self.kind]
        return f"sealed: {what}, {n_windows} windows of {len(self.spans)} recordings"


def plan_seal(
    recordings: Sequence[Hashed],
    *,
    wanted: str = "auto",
    earlier: Sealing | None = None,
    seal_s: float | None = None,
    gap_s: float | None = None,
    seed: int = 42,
) -> Sealing:
    """What is sealed of these recordings.

    Parameters
    ----------
    recordings : sequence of Hashed
    wanted : {"auto", "none"}
    earlier : Sealing, optional
        Of an earlier preparation; None also where the test is to be drawn anew.
    seal_s, gap_s : float, optional
        Of ``tail``, seconds; default: those of the earlier preparation, else `SEAL_S` and `GAP_S`.
    seed : int
        Of ``scenes``.

    Raises
    ------
    SealError
        ``none``, or other lengths, are wanted of a room that has a sealed test.
    UsageError
        A recording leaves nothing to train beside its tail, or there are too few scenes.
    """
    if earlier is not None and earlier.spans:
        _refuse_other_lengths(earlier, seal_s, gap_s)
        return _kept(recordings, earlier, wanted)
    if wanted == "none":
        return Sealing("none")
    if any(each.recording.facts is None for each in recordings):
        return Sealing("scenes", spans=dict.fromkeys(_drawn_scenes(recordings, seed), (0.0, None)))
    cells = _cells(recordings)
    if all(len(takes) > 1 for takes in cells.values()):
        return Sealing("takes", spans={takes[-1].content: (0.0, None) for takes in cells.values()})
    own = Sealing("tail", SEAL_S if seal_s is None else seal_s, GAP_S if gap_s is None else gap_s)
    return _with_tails(own, recordings)


def caveats(recordings: Sequence[Recording]) -> tuple[str, ...]:
    """What cannot be told apart in these recordings, for the account of `prepare` and for reports."""
    cells = Counter((_facts(recording), recording.daypart) for recording in recordings)
    if not cells or any(facts is None for facts, _ in cells) or max(cells.values()) > 1:
        return ()
    return (
        "each cell of facts and daypart is one recording, so machine, recording and background cannot be told "
        "apart: a score may be one of the background. Record further takes (earmark collect appliance).",
    )


def _refuse_other_lengths(earlier: Sealing, seal_s: float | None, gap_s: float | None) -> None:
    asked = {"--seal-sec": (seal_s, earlier.seal_s), "--seal-gap-sec": (gap_s, earlier.gap_s)}
    other = [
        f"{flag} {wanted:g}" for flag, (wanted, own) in asked.items() if wanted is not None and wanted != own
    ]
    if other:
        raise SealError(
            f"{' and '.join(other)} would move what is sealed of this room ({len(earlier.spans)} recordings). Expected "
            "it to stay sealed; leave the option out, or draw anew on the record: --reseal REASON"
        )


def _kept(recordings: Sequence[Hashed], earlier: Sealing, wanted: str) -> Sealing:
    if wanted == "none":
        raise SealError(
            f"the room has a sealed test ({len(earlier.spans)} recordings), which --seal none would release. Expected "
            "it to stay sealed; give it up on the record: --seal none --reseal REASON"
        )
    return _with_tails(earlier, recordings) if earlier.kind == "tail" else earlier


def _with_tails(sealing: Sealing, recordings: Sequence[Hashed]) -> Sealing:
    tails: dict[str, SealedSpan] = {
        each.content: (round(each.duration_s - sealing.seal_s, 6), None) for each in recordings
    }
    short = [
        f"`{each.recording.recording_id}` ({each.duration_s:.1f} s)"
        for each in recordings
        if each.duration_s <= sealing.seal_s + sealing.gap_s
    ]
    if short:
        raise UsageError(
            f"the last {sealing.seal_s:g} s after a gap of {sealing.gap_s:g} s leave nothing to train of "
            f"{', '.join(short[:10])}; expected longer recordings. Record two takes of each cell, seal less "
            "(--seal-sec), or nothing (--seal none)."
        )
    return replace(sealing, spans={**tails, **sealing.spans})


def _cells(recordings: Sequence[Hashed]) -> dict[Hashable, list[Hashed]]:
    """Recordings of the same facts and daypart, in the order of their takes."""
    cells: dict[Hashable, list[Hashed]] = defaultdict(list)
    for each in sorted(recordings, key=lambda each: (each.recording.take, each.recording.recording_id)):
        cells[_facts(each.recording), each.recording.daypart].append(each)
    return cells


def _facts(recording: Recording) -> tuple[tuple[str, bool], ...] | None:
    return None if recording.facts is None else tuple(recording.facts.items())


def _drawn_scenes(recordings: Sequence[Hashed], seed: int) -> list[str]:
    """Contents of the scenes that test: about a fifth, in proportion to the machine; groups stay together."""
    import polars as pl

    from earmark.data.manifest import Manifest
    from earmark.data.policy import SplitPolicy
    from earmark.data.splits import Splits

    n_groups = len({each.group or each.content for each in recordings})
    if n_groups < _FEWEST_SCENES:
        raise UsageError(
            f"{n_groups} recordings, or groups of them, are too few to seal some; expected at least "
            f"{_FEWEST_SCENES}. Add recordings, draw each file alone (--seal-on file), or seal nothing (--seal none)."
        )
    table = pl.DataFrame(
        {
            "id": [each.content for each in recordings],
            "uri": [str(each.recording.path) for each in recordings],
            "group": [each.group or each.content for each in recordings],
            "label": [each.machine or "machine" for each in recordings],
        }
    )
    policy = SplitPolicy(test_fraction=_TEST_SHARE, n_folds=2, group_on="group", seed=seed)
    return sorted(Splits.make(Manifest(table), policy).test_ids)
