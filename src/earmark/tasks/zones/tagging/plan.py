"""What a tag write would change: zones read from tags, the texts of our fields, and the rules for edits by hand.

Nothing here writes. What a user wrote or changed is not to be overwritten unless asked:

* a field that no longer holds what the journal says earmark wrote last, or a zone that earmark did not write: the
  file is kept as it is;
* a grouping, an energy number or a comment of ours that the journal does not know: that field stays, the others are
  written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earmark.errors import EarmarkError, InputError
from earmark.inference.prediction import Failed, Prediction
from earmark.tasks.zones.energy import energy_number
from earmark.tasks.zones.labels import CLASSES, ZONES, parse_zone
from earmark.tasks.zones.tagging.entries import COMMENT_MARK, FIELDS
from earmark.tasks.zones.tagging.files import require_writable, sentence
from earmark.tasks.zones.tagging.formats import read_tags
from earmark.tasks.zones.tagging.journal import History, Texts, read_history

__all__ = [
    "TagChange",
    "TagReport",
    "carries_zone",
    "field_texts",
    "plan_tags",
    "shown",
    "tagged_zone",
    "texts_now",
    "zone_of_tag",
]

_FILE_SCHEME = "file://"
_IDS = {str(zone.id): zone.name for zone in ZONES}
_DISPLAY_NAMES = {zone.name: zone.display_name for zone in ZONES}


@dataclass(frozen=True)
class TagChange:
    """What becomes of one file.

    Parameters
    ----------
    path : str
        As the user named it.
    status : str
        ``to write`` in a plan; after it ``written``, ``restored``, ``unchanged``, ``kept`` or ``failed``.
    reason : str
        Why nothing was written, or which fields stayed; empty where there is nothing to say.
    fields : mapping of field to (texts before, texts after)
        Only those that change.
    run : str or None
    """

    path: str
    status: str
    reason: str = ""
    fields: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=dict)
    run: str | None = None

    @property
    def target(self) -> Path:
        """The file itself, links resolved."""
        return Path(os.path.realpath(self.path.removeprefix(_FILE_SCHEME)))

    def to_json(self) -> dict[str, Any]:
        """Return ``path``, ``status``, ``reason`` and ``changes``: of each field the texts before and after."""
        changes = {
            name: {"before": list(before), "after": list(after)}
            for name, (before, after) in self.fields.items()
        }
        return {"path": self.path, "status": self.status, "reason": self.reason, "changes": changes}

    def to_row(self) -> dict[str, Any]:
        """Return a row of a table, the changes as text."""
        changes = "; ".join(
            f"{name}: {' | '.join(before) or '-'} -> {' | '.join(after) or '-'}"
            for name, (before, after) in self.fields.items()
        )
        return {"path": self.path, "status": self.status, "changes": changes, "reason": self.reason}


@dataclass(frozen=True)
class TagReport:
    """What becomes of all files, in order: the plan of a write, or what was done; and what else a user should know."""

    changes: tuple[TagChange, ...]
    notes: tuple[str, ...] = ()

    def of_status(self, status: str) -> list[TagChange]:
        """The files with one status."""
        return [change for change in self.changes if change.status == status]

    def counts(self) -> dict[str, int]:
        """Number of files of each status that occurs."""
        found = [change.status for change in self.changes]
        return {status: found.count(status) for status in dict.fromkeys(found)}


def zone_of_tag(text: str) -> str | None:
    """The zone that a text in a tag means: a name or display name in any case, or an id; None for any other.

    >>> zone_of_tag("2"), zone_of_tag("🟨 Yellow (Rest)"), zone_of_tag("green"), zone_of_tag("techno")
    ('PURPLE', 'YELLOW', 'GREEN', None)
    """
    found = parse_zone(text)
    return found[0] if found else _IDS.get(text.strip())


def tagged_zone(texts: Texts) -> str | None:
    """The zone that a file carries: in ENERGYZONE, else as a name in its grouping (where a digit is no zone)."""
    for text in texts["zone"]:
        if zone := zone_of_tag(text):
            return zone
    for text in texts["grouping"]:
        if found := parse_zone(text):
            return found[0]
    return None


def carries_zone(path: str) -> bool:
    """Whether a file's tags already bear a zone; False for what cannot be read, which is reported when it is used."""
    try:
        return tagged_zone(read_tags(_local(path)).texts()) is not None
    except (InputError, OSError):
        return False


def field_texts(prediction: Prediction) -> dict[str, tuple[str, ...]]:
    """What the fields of a decided track are to hold."""
    zone = prediction.label
    emoji = _DISPLAY_NAMES[zone].split()[0]
    method = str(prediction.extras.get("method", "model"))
    comment = f"{emoji} {zone} {prediction.confidence:.0%} {method} {COMMENT_MARK}"
    return {
        "zone": (zone,),
        "grouping": (_DISPLAY_NAMES[zone],),
        "energy": (str(energy_number(prediction.probabilities, zone)),),
        "comment": (comment,),
    }


def plan_tags(
    outcomes: Sequence[Prediction | Failed],
    *,
    journal: Path,
    overwrite: bool = False,
    identify: Callable[[str], bytes] | None = None,
) -> TagReport:
    """Find out what a write would change; nothing is written.

    Parameters
    ----------
    outcomes : sequence of Prediction or Failed
    journal : path
        Need not exist.
    overwrite : bool, default False
        Also replace what was changed by hand, and zones and fields that others wrote.
    identify : callable, optional
        Content identity of a path: finds files again that were moved since earmark wrote them.

    Returns
    -------
    TagReport
        One change per outcome, in order.
    """
    history = read_history(journal).settled(texts_now)
    return TagReport(tuple(_planned(one, history, overwrite, identify) for one in outcomes))


def _planned(
    outcome: Prediction | Failed,
    history: History,
    overwrite: bool,
    identify: Callable[[str], bytes] | None,
) -> TagChange:
    if isinstance(outcome, Failed):
        return TagChange(outcome.path, "failed", outcome.error)
    if outcome.label not in CLASSES:
        return TagChange(outcome.path, "unchanged", f"{outcome.label} is not written")
    try:
        path = _local(outcome.path)
        now = read_tags(path).texts()
        require_writable(path)
        ours = {} if overwrite else _ours(history, path, now, identify)
        wanted = field_texts(outcome)
        reason = "" if overwrite else _hand_edit(now, ours, wanted)
    except (EarmarkError, OSError) as error:
        return TagChange(outcome.path, "failed", sentence(Path(outcome.path), error))
    if reason:
        return TagChange(outcome.path, "kept", reason)
    differing = {name: (now[name], wanted[name]) for name in FIELDS if now[name] != wanted[name]}
    foreign = [] if overwrite else [name for name in differing if name not in ours and now[name]]
    fields = {name: texts for name, texts in differing.items() if name not in foreign}
    reason = "; ".join(f"{name} {shown(now[name])} is not earmark's and stays" for name in foreign)
    run = outcome.extras.get("run")
    return TagChange(outcome.path, "to write" if fields else "unchanged", reason, fields, run)


def _ours(
    history: History, path: Path, now: Texts, identify: Callable[[str], bytes] | None
) -> dict[str, tuple[str, ...]]:
    ours = history.ours(str(path))
    if not ours and identify is not None and any(now.values()):
        earlier = history.path_of_content(identify(str(path)))
        ours = history.ours(earlier) if earlier else {}
    return ours


def _hand_edit(now: Texts, ours: Texts, wanted: Texts) -> str:
    """Why a file must be left alone; empty if it need not be."""
    for name, texts in ours.items():
        if now[name] != texts:
            return f"{name} was changed by hand: {shown(now[name])}, earmark wrote {shown(texts)}"
    if "zone" in ours:
        return ""
    zone = tagged_zone(now)
    if zone is None and now["zone"]:
        return f"ENERGYZONE holds {shown(now['zone'])}, which earmark did not write"
    if zone is not None and (zone,) != wanted["zone"]:
        return f"it carries {zone}, which earmark did not write"
    return ""


def texts_now(path: str) -> Texts | None:
    """The texts of a file's fields now; None where there is no file that can be read."""
    try:
        return read_tags(Path(path)).texts()
    except (InputError, OSError):
        return None


def shown(texts: Sequence[str]) -> str:
    """Texts of a field in a sentence."""
    return ", ".join(repr(text) for text in texts) if texts else "nothing"


def _local(path: str) -> Path:
    name = path.removeprefix(_FILE_SCHEME)
    if "://" in name:
        raise InputError(f"`{path}` is not on this machine; expected a local file. Copy it here to tag it.")
    return Path(os.path.realpath(name))
