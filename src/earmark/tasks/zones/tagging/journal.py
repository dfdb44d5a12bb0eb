"""The journal of tag writing: what each file's fields held before, so that every write can be taken back.

One JSON object per line, each flushed to the disk before the next step::

    {"kind": "begin", "id": ..., "batch": ..., "time": ..., "path": ..., "temporary": ..., "identity": ..., "run": ...,
     "form": "id3v2.3", "undoes": [], "fields": {"zone": {"old": [{"raw": <base64>, "text": ...}], "new": [...]}}}
    {"kind": "done", "id": ..., "identity": ...}
    {"kind": "cancelled", "id": ...}

``begin`` stands before a file is touched. A write that is begun and neither done nor cancelled was interrupted; the
file itself tells which it is, because it is replaced in one step. Taking back is a write too, whose ``undoes`` names
the writes that it reverses. A last line that is cut is one whose write never began.
"""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from earmark.errors import UsageError
from earmark.tasks.zones.tagging.entries import Entry

__all__ = ["FieldChange", "History", "Journal", "TagWrite", "Texts", "journal_path", "read_history"]

Texts = Mapping[str, tuple[str, ...]]
"""The texts of each field; an empty tuple where it is absent."""


@dataclass(frozen=True)
class FieldChange:
    """One field of one write: the entries before, the texts after."""

    old: tuple[Entry, ...]
    new: tuple[str, ...]

    @property
    def old_texts(self) -> tuple[str, ...]:
        """The texts before."""
        return tuple(entry.text for entry in self.old)


@dataclass(frozen=True)
class TagWrite:
    """One write to one file.

    Parameters
    ----------
    id, batch : str
        Of this write, and of the command that it belongs to.
    time : str
        ISO 8601, UTC.
    path : str
        Absolute, links resolved.
    temporary : str
        Where the tagged copy is made before it takes the file's place.
    form : str
        How the old entries are encoded.
    fields : mapping of str to FieldChange
        Only those that change.
    identity : str
        Of the content before, hexadecimal.
    run : str or None
        The run that answered.
    undoes : tuple of str
        Writes that this one takes back.
    state : {"begun", "done", "cancelled"}
    identity_after : str or None
        Of the content after.
    """

    id: str
    batch: str
    time: str
    path: str
    temporary: str
    form: str
    fields: Mapping[str, FieldChange]
    identity: str
    run: str | None = None
    undoes: tuple[str, ...] = ()
    state: str = "begun"
    identity_after: str | None = None

    @property
    def is_answer(self) -> bool:
        """Whether it wrote an answer, and was carried out; else it took one back, or did not happen."""
        return self.state == "done" and not self.undoes

    def new_texts(self) -> dict[str, tuple[str, ...]]:
        """What the fields of this write hold after it."""
        return {name: change.new for name, change in self.fields.items()}

    def to_json(self) -> dict[str, Any]:
        """Return the ``begin`` line."""
        head = {
            name: getattr(self, name)
            for name in ("id", "batch", "time", "path", "temporary", "identity", "run", "form")
        }
        fields = {
            name: {"old": [_entry_to_json(entry) for entry in change.old], "new": list(change.new)}
            for name, change in self.fields.items()
        }
        return {"kind": "begin", **head, "undoes": list(self.undoes), "fields": fields}


@dataclass(frozen=True)
class History:
    """All writes of a journal, in order."""

    writes: tuple[TagWrite, ...] = ()
    _by_path: dict[str, list[TagWrite]] = field(init=False, repr=False)
    _by_identity: dict[str, str] = field(init=False, repr=False)
    _before: dict[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        by_path: dict[str, list[TagWrite]] = {}
        for write in self.standing():
            by_path.setdefault(write.path, []).append(write)
        after = {write.identity_after: write.path for write in self.standing() if write.identity_after}
        object.__setattr__(self, "_by_path", by_path)
        object.__setattr__(self, "_by_identity", after)
        object.__setattr__(self, "_before", _predecessors(self.writes))

    def standing(self) -> list[TagWrite]:
        """Writes that were carried out and not taken back."""
        undone = {id_ for write in self.writes if write.state == "done" for id_ in write.undoes}
        return [write for write in self.writes if write.is_answer and write.id not in undone]

    def standing_of(self, path: str) -> list[TagWrite]:
        """The standing writes of one file, the earliest first."""
        return self._by_path.get(path, [])

    def ours(self, path: str) -> dict[str, tuple[str, ...]]:
        """What earmark wrote last into each field of a file that it wrote."""
        texts: dict[str, tuple[str, ...]] = {}
        for write in self.standing_of(path):
            texts.update(write.new_texts())
        return texts

    def path_of_content(self, identity: bytes) -> str | None:
        """Where a file with this content lay when earmark wrote it: it may have been moved since."""
        return self._by_identity.get(identity.hex())

    def original(self, identity: bytes) -> bytes:
        """The content that a file had before earmark wrote its first tags, for one that it wrote; else its own."""
        now = identity.hex()
        while now in self._before:
            now = self._before[now]
        return bytes.fromhex(now)

    def last_batch(self) -> list[TagWrite]:
        """The writes of the last command that wrote answers, taken back or not."""
        answers = [write for write in self.writes if write.is_answer]
        return [write for write in answers if write.batch == answers[-1].batch]

    def settled(self, texts_now: Callable[[str], Texts | None]) -> History:
        """Give the history with interrupted writes decided by what the files hold now.

        Parameters
        ----------
        texts_now : callable
            From a path to the texts of its fields; None where there is no such file.
        """
        return History(tuple(_settled(write, texts_now) for write in self.writes))


def journal_path(root: Path) -> Path:
    """Where the project in a folder keeps the journal of its tag writes."""
    return root / ".earmark" / "tags" / "journal.jsonl"


def read_history(path: Path) -> History:
    """Read a journal; an empty history where there is none.

    Raises
    ------
    UsageError
        A line other than a cut last one cannot be read.
    """
    return _history(path.read_bytes(), path) if path.is_file() else History()


class Journal:
    """A journal open for writing, held by one process at a time; use `opened`."""

    def __init__(self, path: Path, file: io.FileIO, history: History) -> None:
        self.path = path
        self.history = history
        self._file = file

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[Journal]:
        """Open the journal at `path`, made if absent.

        Raises
        ------
        UsageError
            Another process writes tags in this project, or the journal is damaged.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"Another process is writing tags: it holds `{path}`. Expected one at a time. Wait for it to end."
                ) from None
            file.seek(0)
            data = file.read()
            whole = data.rfind(b"\n") + 1
            history = _history(data[:whole], path)
            file.truncate(whole)
            yield cls(path, file, history)

    def begin(self, write: TagWrite) -> None:
        """Note a write before it happens."""
        self._append(write.to_json())

    def done(self, write: TagWrite, identity_after: str | None) -> None:
        """Note that it has happened."""
        self._append({"kind": "done", "id": write.id, "identity": identity_after})

    def cancelled(self, write: TagWrite) -> None:
        """Note that it will not happen."""
        self._append({"kind": "cancelled", "id": write.id})

    def settle(self, texts_now: Callable[[str], Texts | None]) -> None:
        """Decide the writes that were interrupted, and remove the copies that they left."""
        settled = self.history.settled(texts_now)
        for before, after in zip(self.history.writes, settled.writes, strict=True):
            if before.state != after.state:
                Path(after.temporary).unlink(missing_ok=True)
                (self.cancelled if after.state == "cancelled" else lambda w: self.done(w, None))(after)
        self.history = settled

    def _append(self, line: Mapping[str, Any]) -> None:
        end = self._file.seek(0, os.SEEK_END)
        data = memoryview(json.dumps(line).encode() + b"\n")
        try:
            while data:
                data = data[self._file.write(data) :]
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(end)
            raise


def _predecessors(writes: tuple[TagWrite, ...]) -> dict[str, str]:
    """Content before each write, by the content after it; a content seen earlier is nobody's successor."""
    before: dict[str, str] = {}
    known: set[str] = set()
    for write in writes:
        if write.identity and write.identity_after and write.identity_after not in known | {write.identity}:
            before[write.identity_after] = write.identity
        known |= {write.identity, write.identity_after or ""}
    return before


def _settled(write: TagWrite, texts_now: Callable[[str], Texts | None]) -> TagWrite:
    if write.state != "begun":
        return write
    now = texts_now(write.path)
    holds_new = now is not None and all(now[name] == change.new for name, change in write.fields.items())
    return replace(write, state="done" if holds_new else "cancelled")


def _history(data: bytes, path: Path) -> History:
    writes: dict[str, TagWrite] = {}
    lines = data.split(b"\n")[:-1]
    for number, line in enumerate(lines, start=1):
        try:
            _apply(json.loads(line), writes)
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"`{path}` is damaged in line {number} ({error!r}); expected a JSON object of a tag write. "
                "Restore the journal from a copy, or move it away: then earlier writes cannot be undone."
            ) from error
    return History(tuple(writes.values()))


def _apply(line: Mapping[str, Any], writes: dict[str, TagWrite]) -> None:
    if line["kind"] == "begin":
        writes[line["id"]] = _write_from_json(line)
    elif line["kind"] in ("done", "cancelled"):
        known = writes[line["id"]]
        writes[line["id"]] = replace(known, state=line["kind"], identity_after=line.get("identity"))
    else:
        raise ValueError(f"unknown kind {line['kind']!r}")


def _write_from_json(line: Mapping[str, Any]) -> TagWrite:
    fields = {
        name: FieldChange(
            tuple(Entry(base64.b64decode(old["raw"]), name, old["text"]) for old in change["old"]),
            tuple(change["new"]),
        )
        for name, change in line["fields"].items()
    }
    head = {
        name: line[name] for name in ("id", "batch", "time", "path", "temporary", "identity", "run", "form")
    }
    return TagWrite(**head, undoes=tuple(line["undoes"]), fields=fields)


def _entry_to_json(entry: Entry) -> dict[str, str]:
    return {"raw": base64.b64encode(entry.raw).decode("ascii"), "text": entry.text}
