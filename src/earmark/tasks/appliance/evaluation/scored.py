"""The windows that an evaluation scores: those that no fold had seen, or the sealed test, with truth and probabilities.

``val`` are the windows of ``out_of_fold.parquet``, each with the probability that its fold's model gave. ``test`` are
the sealed windows, asked of the final model; the opening of the seal is in the ledger before a label is read.

Conventions: a row per window in the order of the manifest; ``p`` has shape (n, n_devices); truth and trimming are those
of `Rows`, whose -1 marks a window in which a device switches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from earmark.errors import RunError, UsageError
from earmark.evaluation.result import Opening, SetAside
from earmark.tasks.appliance.detector import Detector
from earmark.tasks.appliance.evaluation.traces import fold_detector
from earmark.tasks.appliance.references import OfRecordings
from earmark.tasks.appliance.room import Room
from earmark.tasks.appliance.schema import Devices
from earmark.tasks.appliance.training.records import hashes_of
from earmark.tasks.appliance.training.rows import Rows, read_rows
from earmark.tasks.appliance.training.scoring import state_index, state_probabilities
from earmark.tasks.appliance.training.settings import TrainSettings

if TYPE_CHECKING:
    import polars as pl

    from earmark.features.group import FeatureGroup
    from earmark.features.progress import ProgressCallback
    from earmark.features.table import FeatureTable
    from earmark.tasks.project import Project
    from earmark.training.runs import Run

__all__ = ["SPLITS", "Scored", "features_of", "read_scored", "settings_of"]

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

SPLITS = ("val", "test")
WHOLE = "test"
"""Name of the one part that the sealed test has."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Windows with truth and probabilities.

    Parameters
    ----------
    run : Run
    split : {"val", "test"}
    rows : Rows
    fold : ndarray of int64, shape (n,)
        Which model answered: a fold of the run, or 0, the final model, of the sealed test.
    p : ndarray of float64, shape (n, n_devices)
    fold_names : tuple of str
    set_aside : tuple of SetAside
        Windows without features.
    openings : tuple of Opening
        Of this test set so far.
    """

    run: Run
    split: str
    rows: Rows
    fold: Ints
    p: Doubles
    fold_names: tuple[str, ...]
    set_aside: tuple[SetAside, ...] = ()
    openings: tuple[Opening, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def devices(self) -> Devices:
        """Those that were trained."""
        return self.rows.devices

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the windows."""
        return tuple(self.rows.table["id"].to_list())

    @property
    def uris(self) -> tuple[str, ...]:
        """Where the windows are."""
        return tuple(self.rows.table["uri"].to_list())

    @cached_property
    def files(self) -> npt.NDArray[np.str_]:
        """Recording and facts of each window, shape (n,): what a file is; the whole of a steady recording."""
        facts = ["".join("?01"[value + 1] for value in row) for row in self.rows.y]
        switching = {name for name, n in _facts_per_recording(self.rows).items() if n > 1}
        names = zip(self.rows.recordings.tolist(), facts, strict=True)
        return np.asarray([f"{name} {fact}" if name in switching else name for name, fact in names])

    @cached_property
    def n_recordings(self) -> int:
        """How many recordings are scored."""
        return len(np.unique(self.rows.recordings))

    @property
    def has_switches(self) -> bool:
        """Whether a device goes on and off within the recordings, at known times."""
        return "on_spans" in self.rows.table.columns

    def take(self, keep: Bools | Ints) -> Scored:
        """Some of the windows, in their order."""
        positions = np.flatnonzero(keep) if np.asarray(keep).dtype == np.bool_ else np.asarray(keep)
        rows = Rows(self.rows.table[positions], self.rows.room, self.rows.devices)
        return replace(self, rows=rows, fold=self.fold[positions], p=self.p[positions])

    def known(self) -> Scored:
        """The windows whose truth is known."""
        return self.take(self.rows.is_known)

    def parts(self) -> Iterator[tuple[str, Scored]]:
        """The windows of each fold that scored some, by its name."""
        for number, name in enumerate(self.fold_names):
            if (self.fold == number).any():
                yield name, self.take(self.fold == number)

    def detector(self, number: int, final: Detector) -> Detector:
        """The detector that answered the windows of a fold."""
        return final if self.split == "test" else fold_detector(self.run, final, number)

    @property
    def state(self) -> Ints:
        """Position of the public state in `states`, shape (n,); of known windows."""
        return state_index(self.rows.y, self.devices)

    @property
    def state_p(self) -> Doubles:
        """Probability of each public state, shape (n, n_states)."""
        return state_probabilities(self.p, self.devices)


def read_scored(
    project: Project,
    run: Run,
    split: str,
    *,
    reason: str,
    progress: ProgressCallback | None = None,
) -> Scored:
    """Read the windows of a split with a run's probabilities.

    Parameters
    ----------
    reason : str
        Why the seal is opened, where `split` is ``test``.

    Raises
    ------
    RunError
        The run is no detector, or was trained on other windows than are prepared now.
    SealError
        Windows of the run are sealed by now, or the seal cannot be opened.
    UsageError
        An unknown split, or nothing is sealed.
    """
    from earmark.tasks.verbs.thresholds import refuse_sealed

    if split not in SPLITS:
        raise UsageError(
            f"split {split!r}: expected val (windows that no fold had seen) or test (opens the seal)."
        )
    if run.config.get("kind") != "detector":
        raise RunError(f"`{run.name}` is no detector of devices; expected one. Run: earmark train appliance")
    refuse_sealed(project, run)
    rows = read_rows(project, settings_of(run).only_device)
    _require_same_windows(run, rows)
    return _out_of_fold(run, rows) if split == "val" else _sealed(project, run, rows, reason, progress)


def features_of(project: Project, groups: Sequence[FeatureGroup], rows: Rows) -> FeatureTable:
    """Features of windows; raises RunError unless all have them."""
    table = project.extract(groups, rows.items())
    if table.failures:
        raise RunError(
            f"{len(table.failures)} windows have no features, the first: {table.failures[0].error}"
        )
    return table


def settings_of(run: Run) -> TrainSettings:
    """What a run was asked for."""
    return TrainSettings.from_record(run.config["recipe"])


def _require_same_windows(run: Run, rows: Rows) -> None:
    trained, now = run.config["hashes"]["data"], hashes_of(rows, {})["data"]
    if trained != now and not run.config["fit"].get(
        "warnings"
    ):  # with windows left out, the ids below decide
        raise RunError(
            f"`{run.name}` was trained on windows {trained[:8]}; recordings or labels have changed since (now "
            f"{now[:8]}), so its scores would not be of these. Run: earmark train appliance"
        )


def _out_of_fold(run: Run, rows: Rows) -> Scored:
    table = run.out_of_fold()
    position = {id: at for at, id in enumerate(rows.table["id"].to_list())}
    lost = [id for id in table["id"] if id not in position]
    if lost:
        raise RunError(
            f"{len(lost)} windows of `{run.name}` are not prepared any more, the first `{lost[0]}`. Train again."
        )
    taken = Rows(rows.table[[position[id] for id in table["id"]]], rows.room, rows.devices)
    p = table.select(f"p_{name}" for name in rows.devices.names).to_numpy().astype(np.float64)
    return Scored(run, "val", taken, table["fold"].to_numpy(), p, tuple(run.config["fit"]["protocol"]))


def _sealed(project: Project, run: Run, rows: Rows, reason: str, progress: ProgressCallback | None) -> Scored:
    """Features first: a problem with them must not cost an opening."""
    detector = Detector.load(run)
    if not project.splits.test_ids:
        raise UsageError(
            "nothing is sealed in this room (it was prepared with --seal none), so there is no test to open. Evaluate "
            "--split val, or record further takes and prepare again."
        )
    items = list(project.manifest.subset(project.splits.test_ids))
    features = project.extract(detector.groups, items, progress=progress)
    p = detector.probabilities(features, _whole_recordings(project, features.ids)).astype(np.float64)
    opening = project.sealed.open(run=run.name, reason=reason, commit=run.config["hashes"]["code"])
    table = _with_truth(project, features.ids, (*opening.rows, *opening.unlabelled))
    left_out = tuple(SetAside(failure.uri, failure.error) for failure in features.failures)
    taken = Rows(table, Room.read(project), rows.devices)
    return Scored(run, "test", taken, np.zeros(len(p), np.int64), p, (WHOLE,), left_out, _openings(project))


def _whole_recordings(project: Project, ids: tuple[str, ...]) -> OfRecordings:
    table = project.manifest.table
    recording = dict(table.select("id", "recording_id").iter_rows())
    return OfRecordings([recording[id] for id in ids])


def _with_truth(
    project: Project, ids: tuple[str, ...], sealed: tuple[Mapping[str, Any], ...]
) -> pl.DataFrame:
    """Rows of the manifest with what the seal hid; windows with a switch have no label, but spans."""
    import polars as pl

    table = project.manifest.table
    at = {id: position for position, id in enumerate(table["id"].to_list())}
    table, truth = table[[at[id] for id in ids]], {row["id"]: row for row in sealed}
    names = [name for name in project.splits.policy.sealed_columns if name in table.columns]
    columns = {
        name: pl.Series(name, [truth.get(id, {}).get(name) for id in ids], dtype=table.schema[name])
        for name in ("label", *names)
    }
    return table.with_columns(**columns)


def _openings(project: Project) -> tuple[Opening, ...]:
    from earmark.data.ledger import LEDGER_FILE, read_ledger

    events = read_ledger(project.data_folder / LEDGER_FILE)
    return tuple(
        Opening(event["when"], event["run"], event.get("reason", ""))
        for event in events
        if event["event"] == "open"
    )


def _facts_per_recording(rows: Rows) -> dict[str, int]:
    kinds: dict[str, set[tuple[int, ...]]] = {}
    for name, facts in zip(rows.recordings.tolist(), rows.y.tolist(), strict=True):
        kinds.setdefault(name, set()).add(tuple(facts))
    return {name: len(found) for name, found in kinds.items()}
