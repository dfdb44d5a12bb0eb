"""The onset model: a run on the columns of `AUDIO` whose answers are features of other models.

A feature must not know the label of a row that trains on it. So a record beside the run says which fold each training
row was in, by the digest of the row, and the model of that fold, which did not see it, answers the row; the final model
answers all others. The digest only finds rows that are equal to the last bit, so loading refuses where `AUDIO` gives
the probe other numbers than in the training: rows that were learnt would pass for new ones.

The record names the content of every file of the classifiers, and its own digest stands for the model in cache keys.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from earmark.data.dataset import Dataset
from earmark.data.parquet import write_bytes_atomic
from earmark.errors import RunError, UsageError
from earmark.tasks.meter.groups.audio_v6 import AUDIO
from earmark.tasks.meter.schema import SAMPLE_RATE
from earmark.tasks.probe import probe
from earmark.training.runs import Run, load_run

__all__ = ["OnsetModel", "chosen_run", "keep_onset_model", "row_digest", "write_record"]

RECORD_FILE = "onset_rows.json"
CHOICE_FILE = ".onset_model.json"
"""In the folder of the task's runs: which run is the onset model."""

_RETRAIN = "Train it again: earmark train meter --model onset"


@dataclass(frozen=True)
class OnsetModel:
    """A run with its record: the digest joins the cache key, the path does not.

    Parameters
    ----------
    path : str
        The run's folder.
    sha256 : str
        Of its record when it was chosen; loading refuses any other.
    """

    path: str
    sha256: str

    @classmethod
    def of(cls, run: Run) -> Self:
        """Of a finished run.

        Raises
        ------
        RunError
            The run has no record, so that no row is known to be out of its training.
        """
        try:
            content = (run.path / RECORD_FILE).read_bytes()
        except OSError as error:
            raise RunError(
                f"`{run.name}` has no {RECORD_FILE} ({error.strerror}); expected a run of the onset model. {_RETRAIN}"
            ) from error
        return cls(str(run.path.resolve()), hashlib.sha256(content).hexdigest())

    def __fingerprint__(self) -> object:
        """What counts in a cache key."""
        return self.sha256

    def answers(self, row: NDArray[np.float32]) -> dict[str, float]:
        """Class -> probability for a row of `AUDIO`, by a model that did not learn this row.

        Raises
        ------
        RunError
            A file of the run is gone or has changed, or `AUDIO` is not what it was in the training.
        """
        return _loaded(self.path, self.sha256).answers(row)


@dataclass(frozen=True)
class _Loaded:
    """The fold of each row that was learnt, the final classifier, and those of the folds."""

    fold_of_row: Mapping[str, int]
    final: Any
    of_folds: Mapping[int, Any]

    def answers(self, row: NDArray[np.float32]) -> dict[str, float]:
        fold = self.fold_of_row.get(row_digest(row))
        classifier = self.final if fold is None else self.of_folds[fold]
        (found,) = classifier.predict_proba(np.asarray(row, np.float32)[None], AUDIO.column_names)
        return dict(zip(classifier.classes, map(float, found), strict=True))


def row_digest(row: NDArray[np.float32]) -> str:
    """BLAKE2b-128 of the bytes of a row of `AUDIO`, little-endian float32."""
    return hashlib.blake2b(np.asarray(row, "<f4").tobytes(), digest_size=16).hexdigest()


def write_record(run: Run, dataset: Dataset) -> None:
    """Write which fold each training row of a run was in; `dataset` has the rows of its out-of-fold answers.

    Raises
    ------
    UsageError
        Equal rows are in two folds, so that no model is without them.
    """
    folds = dict(run.out_of_fold().select("id", "fold").iter_rows())
    rows: dict[str, int] = {}
    for name, row in zip(dataset.ids, dataset.X, strict=True):
        if name not in folds:
            continue
        digest = row_digest(row)
        if rows.setdefault(digest, folds[name]) != folds[name]:
            raise UsageError(
                f"{name} sounds like a clip of another fold, to the last bit; expected copies in one group, or no "
                "model is without them. Remove one from the labels and prepare again."
            )
    record = {"probe": _probe_digest(), "files": _file_digests(run.path), "rows": rows}
    text = json.dumps(record, indent=1, sort_keys=True) + "\n"
    write_bytes_atomic(run.path / RECORD_FILE, text.encode())


def keep_onset_model(run: Run) -> None:
    """Let a run with a record be the onset model of its project."""
    OnsetModel.of(run)
    text = json.dumps({"run": run.name}) + "\n"
    write_bytes_atomic(run.path.parent / CHOICE_FILE, text.encode())


def chosen_run(runs_folder: Path, task: str = "meter") -> Run | None:
    """The run that `keep_onset_model` was told last; None where there was none.

    Raises
    ------
    RunError
        It is gone, or what was noted of it cannot be read.
    """
    path = runs_folder / task / CHOICE_FILE
    if not path.exists():
        return None
    try:
        name = str(json.loads(path.read_text(encoding="utf-8"))["run"])
        return load_run(path.parent / name, task=task)
    except (OSError, ValueError, KeyError, TypeError, RunError) as error:
        raise RunError(
            f"The onset model that {path} names cannot be used ({error}); expected its run. {_RETRAIN}"
        ) from error


@lru_cache(maxsize=2)
def _loaded(path: str, sha256: str) -> _Loaded:
    from earmark.cache.data_files import exempt

    folder = Path(path)
    with (
        ExitStack() as unseen
    ):  # the digest of the record is in the key, and it names the content of the others
        unseen.enter_context(exempt(folder / RECORD_FILE))
        record = _checked_record(folder, sha256)
        for name in (*record["files"], "run.toml"):
            unseen.enter_context(exempt(folder / name))
        if _digests(folder, record["files"]) != record["files"]:
            raise RunError(f"Files of {path} have changed since they were trained. {_RETRAIN}")
        run = load_run(folder)
        final, of_folds = run.classifier(), run.fold_classifiers()
    if _probe_digest() != record["probe"]:
        raise RunError(
            f"The columns of {AUDIO.name} are not what they were when {run.name} was trained, so its training rows "
            f"cannot be told from new ones. {_RETRAIN}"
        )
    return _Loaded(record["rows"], final, of_folds)


def _checked_record(folder: Path, sha256: str) -> dict[str, Any]:
    try:
        content = (folder / RECORD_FILE).read_bytes()
    except OSError as error:
        raise RunError(f"The onset model {folder} is gone ({error.strerror}). {_RETRAIN}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise RunError(f"{folder / RECORD_FILE} has changed since it was chosen. Start again.")
    record: dict[str, Any] = json.loads(content)
    return record


def _file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of the files of all classifiers of a run, by their path in it."""
    own = {
        file.relative_to(fold)
        for fold in (folder / "folds").iterdir()
        for file in fold.rglob("*")
        if file.is_file()
    }
    places = (Path(), *(fold.relative_to(folder) for fold in (folder / "folds").iterdir()))
    names = ((place / name).as_posix() for place in places for name in own)
    return _digests(folder, (name for name in names if (folder / name).is_file()))


def _digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    try:
        return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in sorted(names)}
    except OSError as error:
        raise RunError(f"A file of the onset model is gone: {error}. {_RETRAIN}") from error


@lru_cache(maxsize=1)
def _probe_digest() -> str:
    return row_digest(AUDIO(probe(SAMPLE_RATE)))
