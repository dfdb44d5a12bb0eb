"""The list of runs of a project, quick for ten thousand of them: each ``run.toml`` is read once and remembered.

Run folders appear whole and are never written again in what a list shows, so a task's folder is listed only when its
time of change moved, and a row that is shown is compared with the times of its two files. What was read is kept in
memory and, for the next server, in ``.earmark/web/runs.json``. The first look of all is bounded: runs that were not
read in time, the oldest, are read in the background and counted until they are there.
"""

from __future__ import annotations

import json
import threading
import time
import tomllib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from earmark.cli.run_documents import run_row
from earmark.errors import EarmarkError
from earmark.store.atomic import write_atomic
from earmark.training.production import stages
from earmark.training.runs import METRICS_FILE, RUN_FILE, Run
from earmark.web.settings import WebSettings

__all__ = ["FIRST_LOOK_S", "Listing", "RunIndex", "index_of"]

FIRST_LOOK_S = 0.5
"""Seconds that one look may read runs that nobody has looked at before."""

VERSION = 1
PIECE_S = 0.02
"""The background reads for so long at a time, and leaves as much to those who ask."""

SETTLED_S = 2.0
"""A folder that changed a moment ago may change again within the same tick of its clock; it is listed once more."""

SAVE_AFTER = 100
"""Runs that are new to the file before it is written again."""

Row = dict[str, Any]
Key = tuple[str, str]
Stamp = tuple[int, int]


@dataclass(frozen=True)
class Listing:
    """Rows of `earmark.cli.run_documents.run_row` with ``rank_by`` and ``score``, the oldest first; and how many runs
    were not read yet.
    """

    rows: list[Row]
    n_unread: int


@cache
def index_of(settings: WebSettings, root: Path) -> RunIndex:
    """The one index of a server; `root` is the folder of the runs."""
    return RunIndex(root, settings.state_folder / "runs.json")


class RunIndex:
    """Rows of all runs below a folder.

    Parameters
    ----------
    root : Path
        Folder of the runs.
    file : Path
        Where rows are kept between two servers; what it holds is compared with the folder before it is used.
    """

    def __init__(self, root: Path, file: Path) -> None:
        self.root = root
        self._file = file
        self._lock = threading.RLock()
        self._rows: dict[Key, tuple[Stamp, Row | None]] = {}
        self._known: dict[str, tuple[int, frozenset[str]]] = {}
        self._unread: deque[Key] = deque()
        self._ordered: list[Row] | None = None
        self._reader: threading.Thread | None = None
        self._n_unsaved = 0
        self._has_loaded = False

    def look(self, budget_s: float | None = FIRST_LOOK_S) -> Listing:
        """What is there now; runs that are new are read for `budget_s` seconds at most, None: all of them."""
        with self._lock:
            self._load()
            self._list()
            self._read(budget_s)
            if self._unread and self._reader is None:
                self._reader = threading.Thread(target=self._read_on, name="earmark runs", daemon=True)
                self._reader.start()
            if self._ordered is None:
                rows = [row for _, row in self._rows.values() if row is not None]
                self._ordered = sorted(rows, key=lambda row: (row["created"], row["name"]))
            return Listing(self._staged(self._ordered), len(self._unread))

    def refresh(self, rows: Iterable[Mapping[str, Any]]) -> bool:
        """Read those rows again whose files changed since; whether there was one. For what a page is about to show."""
        keys = [(row["task"], row["name"]) for row in rows]
        with self._lock:
            changed = [key for key in keys if key in self._rows and self._rows[key][0] != self._stamp(key)]
            for key in changed:
                self._take(key)
        return bool(changed)

    def folder(self, name: str) -> Path | None:
        """The run of that name, of several tasks the one that is not ambiguous; None where no folder is called so."""
        found = [path.parent for path in self.root.glob(f"*/{name}/{RUN_FILE}")]
        return found[0] if len(found) == 1 else None

    def _list(self) -> None:
        """Note what is new, and forget what is gone."""
        folders = {path.name: path for path in self.root.glob("*/") if not path.name.startswith(".")}
        for task in self._known.keys() - folders.keys():
            self._forget(task, self._known.pop(task)[1])
        for task, folder in folders.items():
            changed = folder.stat().st_mtime_ns
            if task in self._known and self._known[task][0] == changed:
                continue
            before = self._known.get(task, (0, frozenset()))[1]
            names = frozenset(path.name for path in folder.iterdir() if not path.name.startswith("."))
            self._forget(task, before - names)
            new = {name for name in names - before if (task, name) not in self._rows}
            self._unread.extend((task, name) for name in sorted(new, reverse=True))
            is_settled = time.time_ns() - changed > SETTLED_S * 1e9
            self._known[task] = (changed if is_settled else 0, names)

    def _forget(self, task: str, names: Iterable[str]) -> None:
        gone = {(task, name) for name in names}
        if gone:
            self._rows = {key: kept for key, kept in self._rows.items() if key not in gone}
            self._unread = deque(key for key in self._unread if key not in gone)
            self._ordered = None

    def _read(self, budget_s: float | None) -> None:
        end = None if budget_s is None else time.monotonic() + budget_s
        while self._unread and (end is None or time.monotonic() < end):
            self._take(self._unread.popleft())
            self._n_unsaved += 1
        if not self._unread and self._n_unsaved >= SAVE_AFTER:
            self._save()

    def _read_on(self) -> None:
        while True:
            with self._lock:
                self._read(PIECE_S)
                if not self._unread:
                    self._reader = None
                    return
            time.sleep(PIECE_S)

    def _take(self, key: Key) -> None:
        """Read one run; a folder that is none, or cannot be read, has no row."""
        stamp = self._stamp(key)
        try:
            run = Run(self.root.joinpath(*key), _config(self.root.joinpath(*key, RUN_FILE)))
            row: Row | None = _listed(run)
        except (OSError, ValueError, KeyError, TypeError, EarmarkError):
            row = None  # its page says what is wrong with it
        self._rows[key] = (stamp, row)
        self._ordered = None

    def _stamp(self, key: Key) -> Stamp:
        return _changed(self.root.joinpath(*key, RUN_FILE)), _changed(self.root.joinpath(*key, METRICS_FILE))

    def _staged(self, rows: list[Row]) -> list[Row]:
        """The rows with the stages of now, which a promotion changes without touching the runs."""
        staged = {task: own for task in self._known if (own := stages(self.root, task))}
        if not staged:
            return rows
        return [
            row | {"stage": stage} if (stage := staged.get(row["task"], {}).get(row["name"])) else row
            for row in rows
        ]

    def _load(self) -> None:
        """Rows that an earlier server kept, where their files are still the same."""
        if self._has_loaded:
            return
        self._has_loaded = True
        try:
            kept = json.loads(self._file.read_bytes())
        except (OSError, ValueError):
            return  # they are read from the runs themselves
        if not isinstance(kept, dict) or kept.get("version") != VERSION or kept.get("root") != str(self.root):
            return
        for task, name, *stamp, row in kept["runs"]:
            if self._stamp((task, name)) == tuple(stamp):
                self._rows[(task, name)] = ((stamp[0], stamp[1]), row)

    def _save(self) -> None:
        self._n_unsaved = 0
        runs = [[*key, *stamp, row] for key, (stamp, row) in self._rows.items()]
        document = {"version": VERSION, "root": str(self.root), "runs": runs}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self._file, json.dumps(document, separators=(",", ":")).encode())


def _listed(run: Run) -> Row:
    metric = run.config.get("rank_by")
    scores = run.metrics
    score = scores[metric]["value"] if metric in scores else None
    return run_row(run, None) | {"rank_by": metric, "score": score, "is_leaky": run.is_leaky}


def _config(path: Path) -> dict[str, Any]:
    """What a list needs of a ``run.toml``: it is written with the recipe first and the long tables behind it."""
    text = path.read_text(encoding="utf-8")
    config = tomllib.loads(text.partition("\n[hashes]\n")[0])
    return config if "recipe" in config else tomllib.loads(text)


def _changed(path: Path) -> int:
    """Time of its last change, ns; 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
