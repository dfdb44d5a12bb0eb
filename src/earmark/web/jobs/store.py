"""The list of jobs: one SQLite file that several servers and workers share.

The file is in WAL mode, so that readers never wait for a writer, and each operation is one transaction on a
connection of its own: any thread and any process may call at any time. A change of status is conditional on the status
before it, in the same statement; of two that would claim a job, one does.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from earmark.errors import EarmarkError
from earmark.store.atomic import write_atomic
from earmark.web.jobs.job import Job, Kind, Status, UnknownJobError, now

__all__ = ["DATABASE", "JobStore", "JobStoreError"]

DATABASE = "jobs.sqlite"
VERSION = 1
BUSY_S = 30.0

_SCHEMA = """
CREATE TABLE job (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    command TEXT NOT NULL,
    task TEXT,
    argv TEXT NOT NULL,
    title TEXT NOT NULL,
    kind TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'pending',
    created TEXT NOT NULL,
    started TEXT,
    ended TEXT,
    exit_code INTEGER,
    message TEXT,
    runs TEXT NOT NULL DEFAULT '[]',
    group_id INTEGER
);
CREATE INDEX job_status ON job (status, number);
"""

_HAS_ROOM = "(kind = 'service' OR (SELECT count(*) FROM job WHERE status = 'running' AND kind = 'job') < ?)"


class JobStoreError(EarmarkError):
    """The list of jobs cannot be read or written."""


class JobStore:
    """Jobs by number of submission, in the SQLite file at `path`; their folders lie in ``jobs`` beside it.

    Raises
    ------
    JobStoreError
        The file is no list of jobs, or one of a newer version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._writing() as connection:
            self._require_schema(connection)

    @classmethod
    def of(cls, project: str | Path) -> Self:
        """The jobs of a project folder."""
        return cls(Path(project).resolve() / ".earmark" / "web" / DATABASE)

    def add(
        self, command: str, task: str | None, argv: Sequence[str], *, title: str, kind: Kind = "job"
    ) -> Job:
        """A new job at the end of the queue; `argv` are all arguments of the program."""
        with self._writing() as connection:
            job_id = self._free_id(connection)
            folder = self._folder(job_id)
            folder.mkdir(parents=True)
            write_atomic(folder / "argv.json", json.dumps(list(argv), ensure_ascii=False).encode())
            connection.execute(
                "INSERT INTO job (id, command, task, argv, title, kind, created) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (job_id, command, task, json.dumps(list(argv)), title, kind, now()),
            )
        return self.get(job_id)

    def get(self, job_id: str) -> Job:
        """The job with this id; raises UnknownJobError."""
        with self._connection() as connection:
            row = connection.execute("SELECT * FROM job WHERE id = ?", (job_id,)).fetchone()
        if row is None:
            raise UnknownJobError(
                f"There is no job `{job_id}`. Expected the id of one in the list of jobs; it may have been deleted."
            )
        return self._job(row)

    def list(
        self,
        status: Status | None = None,
        task: str | None = None,
        command: str | None = None,
        kind: Kind | None = None,
        limit: int | None = 50,
        offset: int = 0,
    ) -> list[Job]:
        """Jobs, the newest first, that have all that is named; `limit` None for all."""
        where, values = _condition(status=status, task=task, command=command, kind=kind)
        query = f"SELECT * FROM job {where} ORDER BY number DESC LIMIT ? OFFSET ?"
        with self._connection() as connection:
            rows = connection.execute(query, (*values, -1 if limit is None else limit, offset)).fetchall()
        return [self._job(row) for row in rows]

    def count(
        self,
        status: Status | None = None,
        task: str | None = None,
        command: str | None = None,
        kind: Kind | None = None,
    ) -> int:
        """How many jobs have all that is named."""
        where, values = _condition(status=status, task=task, command=command, kind=kind)
        with self._connection() as connection:
            (n,) = connection.execute(f"SELECT count(*) FROM job {where}", values).fetchone()
        return int(n)

    def next_pending(self, n_jobs: int) -> Job | None:
        """The job whose turn it is where `n_jobs` run at once; services need no turn."""
        query = f"SELECT * FROM job WHERE status = 'pending' AND {_HAS_ROOM} ORDER BY number LIMIT 1"
        with self._connection() as connection:
            row = connection.execute(query, (n_jobs,)).fetchone()
        return None if row is None else self._job(row)

    def claim(self, job_id: str, n_jobs: int) -> bool:
        """Make a pending job a running one if it is its turn; False where another has done so before."""
        query = f"UPDATE job SET status = 'running', started = ? WHERE id = ? AND status = 'pending' AND {_HAS_ROOM}"
        return self._changed(query, (now(), job_id, n_jobs))

    def note_group(self, job_id: str, group_id: int) -> None:
        """Keep the process group of a command, for the case that its worker dies."""
        self._changed("UPDATE job SET group_id = ? WHERE id = ?", (group_id, job_id))

    def end(
        self,
        job_id: str,
        status: Status,
        *,
        exit_code: int | None = None,
        message: str | None = None,
        runs: Sequence[str] = (),
    ) -> bool:
        """Write down how a running job ended; False where that is known already."""
        query = """UPDATE job SET status = ?, ended = ?, exit_code = ?, message = ?, runs = ?, group_id = NULL
                   WHERE id = ? AND status = 'running'"""
        return self._changed(query, (status, now(), exit_code, message, json.dumps(list(runs)), job_id))

    def withdraw(self, job_id: str) -> bool:
        """Cancel a pending job; False where it is not pending."""
        query = "UPDATE job SET status = 'cancelled', ended = ? WHERE id = ? AND status = 'pending'"
        return self._changed(query, (now(), job_id))

    def remove(self, job_id: str) -> bool:
        """Forget a job that is over; False where it is not over. Its folder is the caller's."""
        return self._changed(
            "DELETE FROM job WHERE id = ? AND status NOT IN ('pending', 'running')", (job_id,)
        )

    def statuses(self, limit: int) -> dict[str, Status]:
        """Status by id of the newest jobs: cheap enough to be asked several times a second."""
        query = "SELECT id, status FROM job ORDER BY number DESC LIMIT ?"
        with self._connection() as connection:
            return dict(connection.execute(query, (limit,)).fetchall())

    def _folder(self, job_id: str) -> Path:
        return self.path.parent / "jobs" / job_id

    def _free_id(self, connection: sqlite3.Connection) -> str:
        """The second of now, with a number where jobs or left folders have it already."""
        stem = datetime.now(UTC).strftime("%Y%m%d_%H%M%S")
        candidate, number = stem, 1
        while (
            connection.execute("SELECT 1 FROM job WHERE id = ?", (candidate,)).fetchone()
            or self._folder(candidate).exists()
        ):
            number += 1
            candidate = f"{stem}_{number}"
        return candidate

    def _job(self, row: sqlite3.Row) -> Job:
        fields: dict[str, Any] = {name: row[name] for name in row.keys() if name != "number"}  # noqa: SIM118
        fields |= {name: tuple(json.loads(row[name])) for name in ("argv", "runs")}
        return Job(folder=self._folder(row["id"]), **fields)

    def _changed(self, query: str, values: Sequence[Any]) -> bool:
        with self._writing() as connection:
            return connection.execute(query, values).rowcount == 1

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is alone from its beginning, so that what it reads still holds when it writes."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)) as connection:
                connection.row_factory = sqlite3.Row
                connection.execute("PRAGMA journal_mode = WAL")
                yield connection
        except sqlite3.Error as error:
            raise JobStoreError(
                f"`{self.path}` cannot be used ({error}). Expected the list of jobs, on a disk that can be written. "
                "Free some space, or move the file away to begin a new list; the folders of jobs stay."
            ) from error

    def _require_schema(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise JobStoreError(
                f"`{self.path}` is a list of jobs of version {version}; expected at most {VERSION}. "
                "Use the newer earmark that wrote it, or move the file away."
            )
        if version < VERSION:
            for statement in _SCHEMA.split(";"):  # `executescript` would end the transaction
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")


def _condition(**wanted: str | None) -> tuple[str, list[str]]:
    """``WHERE`` of the columns that are named, and the values."""
    given = {name: value for name, value in wanted.items() if value is not None}
    clause = " AND ".join(f"{name} = ?" for name in given)
    return (f"WHERE {clause}" if clause else "", list(given.values()))
