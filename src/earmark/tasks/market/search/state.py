"""What a search leaves on the disk, so that any of it may be killed and continued.

In ``data/hyperopt``:

==================== ================================================================================================
``<group>.db``       SQLite of the group's trials, written by Optuna trial by trial and epoch by epoch
``state.json``       what was asked for, which group runs, the winners that are frozen, the time that was used
``results.json``     every trial of the search with its scores
``best_params.json`` the winning settings: a config file of ``earmark train market``
``lock``             held by the search that runs
==================== ================================================================================================

Files are replaced whole. Times are ISO 8601 in UTC.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import RunError, UsageError
from earmark.store.lock import alone

__all__ = ["Folder", "GroupResult", "SearchState", "Status"]

Status = Literal["running", "interrupted", "completed", "timed out"]

STATE, RESULTS, BEST = "state.json", "results.json", "best_params.json"


@dataclass(frozen=True)
class GroupResult:
    """A group that was searched.

    Attributes
    ----------
    group : str
    settings : dict
        The winner's, now frozen; empty where what was frozen before was not beaten.
    score : float
    trials, pruned, failed : int
    ended : str
        ``all trials``, ``converged`` or ``timed out``.
    """

    group: str
    settings: dict[str, Any]
    score: float
    trials: int
    pruned: int
    failed: int
    ended: str


@dataclass(frozen=True)
class SearchState:
    """Where a search stands.

    Attributes
    ----------
    request : dict
        What was asked for, as plain values: a search goes on only with the same.
    data : str
        Hash of the windows that are trained and scored on.
    kept : dict
        Settings of an earlier search that this one begins from.
    groups : tuple of str
        In order.
    done : tuple of GroupResult
    current : str or None
    elapsed_s : float
        Over all sittings.
    status : str
    updated : str
    """

    request: dict[str, Any]
    data: str
    kept: dict[str, Any]
    groups: tuple[str, ...]
    done: tuple[GroupResult, ...] = ()
    current: str | None = None
    elapsed_s: float = 0.0
    status: Status = "running"
    updated: str = field(default_factory=lambda: _now())

    @property
    def frozen(self) -> dict[str, Any]:
        """Settings to begin the next group from: those kept, and the winners so far."""
        found = dict(self.kept)
        for result in self.done:
            found |= result.settings
        return found

    def with_result(self, result: GroupResult) -> SearchState:
        """This state with one more group done."""
        return replace(self, done=(*self.done, result), current=None)


class Folder:
    """The files of the search of one project."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def database(self, group: str) -> Path:
        """SQLite file of a group."""
        return self.path / f"{group}.db"

    def read(self) -> SearchState | None:
        """The state; None where nothing was searched.

        Raises
        ------
        RunError
            The file is damaged.
        """
        path = self.path / STATE
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            done = tuple(GroupResult(**result) for result in record.pop("done"))
            return SearchState(**{**record, "groups": tuple(record["groups"]), "done": done})
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise RunError(
                f"`{path}` cannot be read ({error}). Begin anew: earmark grid market --reset"
            ) from error

    def write(self, state: SearchState) -> SearchState:
        """Replace the state; returns it with its time."""
        stamped = replace(state, updated=_now())
        _write(self.path / STATE, asdict(stamped))
        return stamped

    def write_results(self, trials: Sequence[Mapping[str, Any]], best: Mapping[str, Any]) -> None:
        """Replace the list of trials and the winning settings."""
        _write(self.path / RESULTS, {"trials": list(trials)})
        _write(self.path / BEST, dict(best))

    @property
    def has_best(self) -> bool:
        """Whether a search left winning settings."""
        return (self.path / BEST).is_file()

    def best(self) -> dict[str, Any]:
        """The winning settings of the last search.

        Raises
        ------
        UsageError
            There are none.
        """
        try:
            found: dict[str, Any] = json.loads((self.path / BEST).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UsageError(
                f"There is no `{self.path / BEST}`: nothing was searched yet. Run: earmark grid market --mode quick"
            ) from None
        except ValueError as error:
            raise RunError(f"`{self.path / BEST}` is not JSON ({error}). Search again.") from error
        return found

    def results(self) -> list[dict[str, Any]]:
        """Trials of the last search; none where there was none."""
        path = self.path / RESULTS
        if not path.is_file():
            return []
        found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["trials"]
        return found

    def reset(self) -> None:
        """Remove all trials and results; the lock stays."""
        names = (STATE, RESULTS, BEST)
        for path in (
            *(self.path / name for name in names),
            *self.path.glob("*.db"),
            *self.path.glob("*.db-*"),
        ):
            path.unlink(missing_ok=True)

    def locked(self) -> AbstractContextManager[None]:
        """Hold the folder; the lock ends with the process, however that ends.

        Raises
        ------
        UsageError
            Another search runs.
        """
        return alone(
            self.path / "lock",
            lambda holder: UsageError(
                f"Process {holder} is searching in `{self.path}`. Wait for it, or stop it by Ctrl-C."
            ),
        )


def _write(path: Path, value: object) -> None:
    write_bytes_atomic(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
