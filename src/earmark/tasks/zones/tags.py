"""Zones written into the tags of the user's files, and taken back.

What is written and where is in `earmark.tasks.zones.tag_entries`. All other tags, and the audio, stay equal to the
byte; genre is not touched; UNCERTAIN is not written. What a user wrote or changed by hand is not overwritten unless
asked:

* a field that no longer holds what the journal says earmark wrote last, or a zone that earmark did not write: the
  file is kept as it is;
* a grouping or an energy number of somebody else: that field stays, the others are written.

The journal lies in ``.earmark/tags/journal.jsonl`` of the project (`earmark.tasks.zones.tag_journal`). A process
that is killed leaves each file either as it was or wholly tagged, and the next write or undo finds out which.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.errors import EarmarkError, InputError, UsageError
from earmark.inference.prediction import Failed, Prediction
from earmark.tasks.zones.energy import energy_number
from earmark.tasks.zones.labels import CLASSES, ZONES, parse_zone
from earmark.tasks.zones.tag_entries import COMMENT_MARK, FIELDS, Entry, Tags
from earmark.tasks.zones.tag_files import (
    make_backup,
    put_in_place,
    sentence,
    temporary_beside,
    write_checked,
)
from earmark.tasks.zones.tag_formats import encode, read_tags
from earmark.tasks.zones.tag_journal import FieldChange, History, Journal, TagWrite, Texts, read_history

if TYPE_CHECKING:
    from earmark.cache.entries import FeatureCache

__all__ = [
    "UNDO_CHOICES",
    "TagChange",
    "TagReport",
    "carries_zone",
    "field_texts",
    "plan_tags",
    "tagged_zone",
    "undo_tags",
    "write_tags",
    "zone_of_tag",
]

UNDO_CHOICES = ("last", "all")
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
    """What becomes of all files, in order: the plan of a write, or what was done."""

    changes: tuple[TagChange, ...]

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


# Plan


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
    history = read_history(journal).settled(_texts_now)
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
    reason = "; ".join(f"{name} {_shown(now[name])} is not earmark's and stays" for name in foreign)
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
            return f"{name} was changed by hand: {_shown(now[name])}, earmark wrote {_shown(texts)}"
    if "zone" in ours:
        return ""
    zone = tagged_zone(now)
    if zone is None and now["zone"]:
        return f"ENERGYZONE holds {_shown(now['zone'])}, which earmark did not write"
    if zone is not None and (zone,) != wanted["zone"]:
        return f"it carries {zone}, which earmark did not write"
    return ""


# Write


def write_tags(
    plan: TagReport, *, journal: Path, backup_copy: bool = False, cache: FeatureCache | None = None
) -> TagReport:
    """Carry out a plan.

    Parameters
    ----------
    plan : TagReport
        Of `plan_tags`. A file whose fields have changed since is kept.
    journal : path
        Made if absent; holds the old values before a file is touched.
    backup_copy : bool, default False
        First copy each file to ``<file>.backup``, unless that exists.
    cache : FeatureCache, optional
        Told that the tagged file is the same audio, so that its features are not computed again.

    Returns
    -------
    TagReport
        In the order of the plan. A file that cannot be written is in it as ``failed``; the others go on.

    Raises
    ------
    UsageError
        The journal is damaged, or another process writes tags.
    """
    with Journal.opened(journal) as opened:
        opened.settle(_texts_now)
        session = _Session(opened, backup_copy, cache)
        try:
            return TagReport(tuple(session.write(change) for change in plan.changes))
        finally:
            session.close()


def undo_tags(journal: Path, *, which: str = "last", cache: FeatureCache | None = None) -> TagReport:
    """Restore what the fields held before earmark wrote them.

    Parameters
    ----------
    journal : path
    which : {"last", "all"}
        The files of the last write, or every write, step by step back as far as nobody else wrote in between.
    cache : FeatureCache, optional
        As for `write_tags`.

    Returns
    -------
    TagReport
        One change per file: ``restored``, ``unchanged`` where it was taken back before, ``kept`` where our fields no
        longer hold what we wrote, ``failed``. Empty if nothing was ever written.

    Raises
    ------
    UsageError
        `which` is neither, the journal is damaged, or another process writes tags.
    """
    if which not in UNDO_CHOICES:
        raise UsageError(f"There is no undo of {which!r}; expected one of {', '.join(UNDO_CHOICES)}.")
    if not journal.is_file():
        return TagReport(())
    with Journal.opened(journal) as opened:
        opened.settle(_texts_now)
        history = opened.history
        chosen = history.last_batch() if which == "last" else [w for w in history.writes if not w.undoes]
        session = _Session(opened, False, cache)
        try:
            return TagReport(
                tuple(session.undo(path, which) for path in dict.fromkeys(write.path for write in chosen))
            )
        finally:
            session.close()


class _Session:
    """One command's writes: their journal, their batch, and what the cache is to be told at the end."""

    def __init__(self, journal: Journal, backup_copy: bool, cache: FeatureCache | None) -> None:
        self._journal = journal
        self._backup_copy = backup_copy
        self._cache = None if cache is None or cache.read_only else cache
        self._batch = f"{time.time_ns():x}-{os.getpid():x}"
        self._n_writes = 0
        self._same: list[tuple[bytes, bytes]] = []

    def write(self, change: TagChange) -> TagChange:
        """Carry out one planned change."""
        if change.status != "to write":
            return change
        try:
            tags = read_tags(change.target)
            now = tags.texts()
            if any(now[name] != before for name, (before, _) in change.fields.items()):
                return replace(change, status="kept", reason="its tags were changed meanwhile", fields={})
            entries = {
                name: [encode(tags, name, text) for text in after]
                for name, (_, after) in change.fields.items()
            }
            self._replace(change.target, tags, entries, run=change.run)
        except (EarmarkError, OSError) as error:
            return replace(change, status="failed", reason=sentence(change.target, error), fields={})
        return replace(change, status="written")

    def undo(self, path: str, which: str) -> TagChange:
        """Take back the last write to one file, or all of them."""
        standing = self._journal.history.standing_of(path)
        if which == "last":
            standing = [write for write in standing if write in self._journal.history.last_batch()]
        if not standing:
            return TagChange(path, "unchanged", "it was taken back before")
        try:
            tags = read_tags(Path(path))
            now = tags.texts()
            edited = [name for name, new in standing[-1].new_texts().items() if now[name] != new]
            if edited:
                said = "; ".join(f"{name} is {_shown(now[name])}" for name in edited)
                return TagChange(path, "kept", f"changed since earmark wrote it: {said}")
            back, left = _way_back(standing, now)
            entries = {name: _restored(tags, form, old) for name, (form, old) in back.items()}
            self._replace(Path(path), tags, entries, undoes=[write.id for write in standing[left:]])
        except (EarmarkError, OSError) as error:
            return TagChange(path, "failed", sentence(Path(path), error))
        fields = {name: (now[name], tuple(entry.text for entry in old)) for name, (_, old) in back.items()}
        reason = f"{left} earlier writes stay: the tags were changed in between" if left else ""
        return TagChange(path, "restored", reason, fields)

    def close(self) -> None:
        """Tell the cache which contents are the same audio."""
        if self._cache is not None and self._same:
            self._cache.same_input(self._same)

    def _replace(
        self,
        target: Path,
        tags: Tags,
        entries: Mapping[str, Sequence[Entry]],
        *,
        run: str | None = None,
        undoes: Sequence[str] = (),
    ) -> None:
        before = self._identity(target)
        write = self._new_write(target, tags, entries, before, run, undoes)
        temporary = Path(write.temporary)
        self._journal.begin(write)
        try:
            if self._backup_copy:
                make_backup(target)
            status = write_checked(target, temporary, entries)
            put_in_place(target, temporary, status)
        except (EarmarkError, OSError):
            temporary.unlink(missing_ok=True)
            self._journal.cancelled(write)
            raise
        after = self._identity(target)
        self._journal.done(write, after.hex() if after else None)
        if before and after:
            # The copy was proved to hold the same audio, packet by packet.
            self._same.append((before, after))

    def _new_write(
        self,
        target: Path,
        tags: Tags,
        entries: Mapping[str, Sequence[Entry]],
        before: bytes | None,
        run: str | None,
        undoes: Sequence[str],
    ) -> TagWrite:
        self._n_writes += 1
        fields = {
            name: FieldChange(tags.of_field(name), tuple(entry.text for entry in new))
            for name, new in entries.items()
        }
        return TagWrite(
            id=f"{self._batch}-{self._n_writes}",
            batch=self._batch,
            time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            path=str(target),
            temporary=str(temporary_beside(target)),
            form=tags.form,
            fields=fields,
            identity=before.hex() if before else "",
            run=run,
            undoes=tuple(undoes),
        )

    def _identity(self, target: Path) -> bytes | None:
        return None if self._cache is None else self._cache.identify(target)


def _way_back(
    standing: Sequence[TagWrite], now: Texts
) -> tuple[dict[str, tuple[str, tuple[Entry, ...]]], int]:
    """How far writes can be taken back: per field the form and the entries to restore, and how many writes stay."""
    texts = dict(now)
    back: dict[str, tuple[str, tuple[Entry, ...]]] = {}
    left = len(standing)
    for write in reversed(standing):
        if any(texts[name] != new for name, new in write.new_texts().items()):
            break
        for name, change in write.fields.items():
            back[name] = (write.form, change.old)
            texts[name] = change.old_texts
        left -= 1
    return back, left


def _restored(tags: Tags, form: str, old: Sequence[Entry]) -> list[Entry]:
    """The old entries as bytes; if another program has written the tags in another form since, by their text."""
    return list(old) if form == tags.form else [encode(tags, str(e.field), e.text) for e in old]


def _texts_now(path: str) -> Texts | None:
    try:
        return read_tags(Path(path)).texts()
    except (InputError, OSError):
        return None


def _local(path: str) -> Path:
    name = path.removeprefix(_FILE_SCHEME)
    if "://" in name:
        raise InputError(f"`{path}` is not on this machine; expected a local file. Copy it here to tag it.")
    return Path(os.path.realpath(name))


def _shown(texts: Sequence[str]) -> str:
    return ", ".join(repr(text) for text in texts) if texts else "nothing"
