"""Run folders: what a training leaves, whole or not at all, and how runs are found, shown and compared.

Layout: ``<root>/<task>/<YYYYMMDD-HHMMSS>-<slug>/`` (UTC) with

====================== =====================================================================================
``run.toml``           whole configuration: recipe, seeds, hashes of data, split, features and code, versions
``classifier.json``    columns and classes; with ``preprocess.json``, ``estimator.json`` and the model files
``folds/<f>/``         the classifier of each fold, for importance on rows it did not see
``out_of_fold.parquet`` id, group, fold, label and a probability per class of every training row
``metrics.jsonl``      one JSON object per epoch and per fold
``best_metrics.json``  cross-validated scores, each with its direction
``auxiliary_out_of_fold.parquet``  (where there is a second source) the same of rows that are not scored
====================== =====================================================================================

A run on windows of a series (``kind = "series"`` in ``run.toml``) has parts of time in place of folds:

====================== =====================================================================================
``classifier.json``    with ``scaler.npz`` and ``model/``: a `SequenceClassifier`; ``model.onnx`` where exported
``validation.parquet`` symbol, timestamp, label, a probability per class, confidence, expected_return, movement,
``test.parquet``       label_end_ms of every window of the part; timestamps and ends are ms since 1970 UTC
``best_metrics.json``  scores of the test part (``metrics``) and of the part that chose the epoch (``validation``)
``checkpoints/``       weights of the best epochs; ``report/``: the report; ``loss_curve.png``, ``.svg``
====================== =====================================================================================

A detector of machines by sound (``kind = "detector"``) answers with a probability per device, so ``model/`` or
``model.safetensors`` stand in place of the classifier, in the run and in its folds, and ``card.json`` tells how it is
asked; the public state that the devices give is its class in ``out_of_fold.parquet``.

A run is written under a hidden temporary name and renamed when complete, so a folder with a run's name is a
finished run. Leftovers of killed processes are ignored and removed by age.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import time
import tomllib
import unicodedata
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from earmark.errors import RunError
from earmark.models.constraints import closest
from earmark.training import toml
from earmark.training.ranking import better, ranked

if TYPE_CHECKING:
    import polars as pl

    from earmark.models.sequence.classifier import SequenceClassifier

__all__ = [
    "Comparison",
    "Run",
    "RunWriter",
    "best_run",
    "clean_partial",
    "compare",
    "find_run",
    "list_runs",
    "load_run",
    "runs_on_same_rows",
    "show",
    "slugify",
]

log = logging.getLogger(__name__)

RUN_FILE = "run.toml"
METRICS_FILE = "best_metrics.json"
OUT_OF_FOLD_FILE = "out_of_fold.parquet"
AUXILIARY_FILE = "auxiliary_out_of_fold.parquet"
SERIES_PARTS = ("validation", "test")
PARTIAL_PREFIX = ".partial-"
PARTIAL_AGE_S = 24 * 3600.0
"""Age after which an unfinished folder is taken for a dead process's."""
_IDENTITY = frozenset({"key", "created", "seconds"})
"""Keys of run.toml that differ between any two runs."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes
    ----------
    path : Path
    config : dict
        The content of ``run.toml``.
    """

    path: Path
    config: Mapping[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def task(self) -> str:
        """The task it belongs to."""
        return str(self.config["task"])

    @property
    def key(self) -> str:
        """Hash of data, configuration and code; equal keys mean equal models."""
        return str(self.config["key"])

    @property
    def algorithm(self) -> str:
        """The estimator's registered name."""
        return str(self.config["recipe"]["algorithm"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities."""
        return tuple(self.config["classes"])

    @cached_property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """Metric -> ``value``, ``direction`` and ``folds`` (the score of each fold)."""
        found: dict[str, dict[str, Any]] = self._metrics_file()["metrics"]
        return found

    @cached_property
    def auxiliary_metrics(self) -> dict[str, dict[str, Any]]:
        """The same of rows of another source, which decide nothing; empty where there are none."""
        found: dict[str, dict[str, Any]] = self._metrics_file().get("auxiliary") or {}
        return found

    @property
    def strategy(self) -> str:
        """How rows of another source took part, e.g. ``weighted``; ``user`` where they did not."""
        return str(self.config["recipe"].get("strategy", {}).get("name", "user"))

    def _metrics_file(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.path / METRICS_FILE).read_text(encoding="utf-8"))
        return found

    @property
    def is_series(self) -> bool:
        """Whether it was trained on windows of a series; it then has parts of time in place of folds."""
        return self.config.get("kind") == "series"

    @property
    def is_detector(self) -> bool:
        """Whether it answers windows of sound with a probability per device."""
        return self.config.get("kind") == "detector"

    @property
    def is_leaky(self) -> bool:
        """Whether its scores are of rows whose neighbours it learnt: a demonstration, which is never promoted."""
        return bool(self.config.get("leaky", False))

    @cached_property
    def validation_metrics(self) -> dict[str, dict[str, Any]]:
        """Of a series: scores of the part that chose the epoch; empty for other runs."""
        found: dict[str, dict[str, Any]] = self._metrics_file().get("validation") or {}
        return found

    def classifier(self) -> Any:
        """The final model: a `Classifier` or, of runs that were joined, what offers the same; of a series a
        `SequenceClassifier`; of a detector a `MultiLabel` or a network, without its features.
        """
        from earmark.training.joined import load_classifier

        if self.is_detector:
            return _device_model(self.path)
        return self.series_classifier() if self.is_series else load_classifier(self.path)

    def series_classifier(self) -> SequenceClassifier:
        """The final model, of a run on windows of a series."""
        from earmark.models.sequence.classifier import SequenceClassifier

        if not self.is_series:
            raise RunError(f"`{self.name}` was trained on rows, not on windows. Name a run of a series.")
        return SequenceClassifier.load(self.path)

    def part(self, name: str) -> pl.DataFrame:
        """Of a series: predictions of the part ``validation`` or ``test``; columns as in the module."""
        import polars as pl

        if not self.is_series or name not in SERIES_PARTS:
            raise RunError(
                f"`{self.name}` has no part `{name}`; runs on series have {', '.join(SERIES_PARTS)}."
            )
        return pl.read_parquet(self.path / f"{name}.parquet")

    def fold_classifiers(self) -> dict[int, Any]:
        """Fold -> the classifier that did not see it."""
        from earmark.training.joined import load_classifier

        folders = sorted((self.path / "folds").glob("*"), key=lambda folder: int(folder.name))
        return {int(folder.name): load_classifier(folder) for folder in folders}

    def out_of_fold(self) -> pl.DataFrame:
        """Columns id, group, fold, label (class index), source, ``probability_<class>``; rows in the dataset's
        order.
        """
        import polars as pl

        return pl.read_parquet(self.path / OUT_OF_FOLD_FILE)

    def auxiliary_out_of_fold(self) -> pl.DataFrame | None:
        """The same for rows of another source, each predicted by the fold that left it out; None without any."""
        import polars as pl

        path = self.path / AUXILIARY_FILE
        return pl.read_parquet(path) if path.is_file() else None


class RunWriter:
    """Writes a run folder under a temporary name; leaving the ``with`` block without an error names it.

    Examples
    --------
    >>> with RunWriter("runs", "zones", "xgboost") as writer:          # doctest: +SKIP
    ...     writer.write_config({"task": "zones", ...})
    >>> writer.run.name                                                # doctest: +SKIP
    '20250102-030405-xgboost'
    """

    def __init__(self, root: str | Path, task: str, slug: str) -> None:
        self._folder = Path(root) / task
        self._name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{slugify(slug)}"
        self.path = self._folder / f"{PARTIAL_PREFIX}{self._name}-{uuid.uuid4().hex[:8]}"
        self.run: Run | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        clean_partial(self._folder)
        self.path.mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            return
        if not (self.path / RUN_FILE).is_file():
            raise RunError(
                f"`{self.path}` has no {RUN_FILE}, so it is not a run. Call write_config "
                "before leaving the block."
            )
        _sync(self.path)
        self.run = load_run(self._claim())

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write ``run.toml``."""
        (self.path / RUN_FILE).write_text(toml.dumps(config), encoding="utf-8")

    def write_metrics(
        self,
        metrics: Mapping[str, Mapping[str, Any]],
        lines: Iterable[Mapping[str, Any]],
        auxiliary: Mapping[str, Mapping[str, Any]] | None = None,
        validation: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Write ``best_metrics.json`` and ``metrics.jsonl``; `auxiliary` are scores of another source, `validation`
        those of a series' validation part.
        """
        given = {"auxiliary": auxiliary, "validation": validation}
        beside = {name: scores for name, scores in given.items() if scores is not None}
        text = json.dumps({"metrics": metrics} | beside, indent=1)
        (self.path / METRICS_FILE).write_text(text + "\n", encoding="utf-8")
        (self.path / "metrics.jsonl").write_text(
            "".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8"
        )

    def write_part(self, name: str, table: pl.DataFrame) -> None:
        """Write the predictions of a part of a series."""
        table.write_parquet(self.path / f"{name}.parquet")

    def write_out_of_fold(self, table: pl.DataFrame) -> None:
        """Write ``out_of_fold.parquet``."""
        table.write_parquet(self.path / OUT_OF_FOLD_FILE)

    def write_auxiliary_out_of_fold(self, table: pl.DataFrame) -> None:
        """Write ``auxiliary_out_of_fold.parquet``."""
        table.write_parquet(self.path / AUXILIARY_FILE)

    def _claim(self) -> Path:
        """Rename to the final name, or to the next free one if another run began in the same second."""
        for attempt in range(1, 1000):
            target = self._folder / (self._name if attempt == 1 else f"{self._name}-{attempt}")
            try:
                self.path.rename(target)
            except OSError:
                if not target.exists():
                    raise
                continue
            return target
        raise RunError(f"`{self._folder}` holds 999 runs named `{self._name}`. Choose another slug.")


def list_runs(root: str | Path, task: str | None = None) -> list[Run]:
    """Finished runs of one task or all, oldest first; a folder that cannot be read is logged and left out."""
    runs = []
    for path in Path(root).glob(f"{task or '*'}/*/{RUN_FILE}"):
        if not path.parent.name.startswith("."):
            try:
                runs.append(load_run(path.parent))
            except RunError as error:
                log.warning("%s", error)
    return sorted(runs, key=lambda run: (run.config["created"], run.name))


def load_run(path: str | Path, *, root: str | Path | None = None, task: str | None = None) -> Run:
    """A run by its folder or, with `root`, by its name, a unique beginning of it, its key, or ``latest``.

    Raises
    ------
    RunError
        If there is no such run, several fit, the folder is incomplete, or it belongs to another task.
    """
    folder = Path(path)
    if root is not None and not (folder / RUN_FILE).is_file():
        folder = _named(str(path), list_runs(root, task), Path(root))
    try:
        config = tomllib.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RunError(
            f"`{folder}` is not a finished run ({error}). List the runs with `earmark runs list`."
        ) from error
    missing = [key for key in ("task", "key", "created", "recipe", "classes") if key not in config]
    if missing:
        raise RunError(f"`{folder / RUN_FILE}` lacks {', '.join(missing)}; a run has them. Train again.")
    if task is not None and config["task"] != task:
        raise RunError(
            f"`{folder}` is a run of `{config['task']}`, expected `{task}`. Name a run of that task."
        )
    return Run(folder, config)


def find_run(root: str | Path, task: str, key: str) -> Run | None:
    """The newest finished run with that key, or None: an identical training need not be repeated."""
    same = [run for run in list_runs(root, task) if run.key == key]
    return same[-1] if same else None


def runs_on_same_rows(runs: Iterable[Run], run: Run) -> list[Run]:
    """Those of `runs` that were scored on the rows of `run`, itself included, whatever their features."""
    return [other for other in runs if other.config["hashes"]["rows"] == run.config["hashes"]["rows"]]


def best_run(runs: Iterable[Run], metric: str) -> Run:
    """The run with the best cross-validated `metric`, in the metric's own direction; the newest among
    equals.
    """
    candidates = [run for run in runs if metric in run.metrics][::-1]
    if not candidates:
        raise RunError(f"No run has a score `{metric}`. Train one, or name another metric.")
    scores = [_number(run.metrics[metric]["value"]) for run in candidates]
    return candidates[ranked(scores, candidates[0].metrics[metric]["direction"])[0]]


def show(run: Run) -> dict[str, Any]:
    """Name, path, configuration, scores, those of rows that only train, and thresholds, as one plain dict.

    ``decision`` is what `earmark thresholds` chose, with ``record`` of how; None where the most probable class answers.
    """
    from earmark.models.decision import read_decision, read_record

    # The thresholds of a detector are one per device; its task reads them.
    decision = None if run.is_detector else read_decision(run.path, run.classes)
    chosen = None if decision is None else {**decision.to_dict(), "record": read_record(run.path)}
    known = {"name": run.name, "path": str(run.path), "config": dict(run.config), "metrics": run.metrics}
    return {**known, "auxiliary_metrics": run.auxiliary_metrics, "decision": chosen}


@dataclass(frozen=True)
class Comparison:
    """How two runs differ.

    Attributes
    ----------
    config : dict
        Dotted key -> (value in the first, value in the second), only where they differ; None where absent.
    metrics : dict
        Metric -> ``first``, ``second``, ``direction`` and ``better`` ("first", "second" or "equal").
    comparable : bool
        Whether both were scored on the same data with the same folds; if not, scores are not to be compared.
    """

    first: Run
    second: Run
    config: dict[str, tuple[Any, Any]]
    metrics: dict[str, dict[str, Any]]
    comparable: bool


def compare(first: Run, second: Run) -> Comparison:
    """Differences in configuration, and the scores side by side; raises RunError for runs of two tasks."""
    if first.task != second.task:
        raise RunError(
            f"`{first.name}` is a run of `{first.task}`, `{second.name}` of `{second.task}`. "
            "Compare runs of one task."
        )
    left, right = _flat(first.config), _flat(second.config)
    names = [name for name in {**left, **right} if name not in _IDENTITY]
    config = {name: (left.get(name), right.get(name)) for name in names if left.get(name) != right.get(name)}
    shared = [name for name in first.metrics if name in second.metrics]
    metrics = {name: _beside(first.metrics[name], second.metrics[name]) for name in shared}
    same_rows = left.get("hashes.rows") == right.get("hashes.rows")
    return Comparison(first, second, config, metrics, same_rows)


def clean_partial(
    folder: str | Path, *, older_than_s: float = PARTIAL_AGE_S, pattern: str = f"{PARTIAL_PREFIX}*"
) -> list[Path]:
    """Remove folders that a killed process left and nobody touched for `older_than_s`; returns those
    removed.
    """
    removed = []
    for path in Path(folder).glob(pattern):
        if not path.is_dir():
            continue
        try:
            age_s = time.time() - max(item.stat().st_mtime for item in (path, *path.iterdir()))
        except FileNotFoundError:
            continue  # its process has just named or removed it
        if age_s > older_than_s:
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path)
    return removed


def slugify(text: str) -> str:
    """Lower-case ASCII letters, digits and single hyphens, at most 40 characters; ``run`` if nothing is
    left.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].rstrip("-") or "run"


def _named(name: str, runs: list[Run], root: Path) -> Path:
    if name == "latest" and runs:
        return runs[-1].path
    exact = [run for run in runs if name in (run.name, run.key)]
    found = exact[-1:] or [run for run in runs if run.name.startswith(name)]
    if len(found) == 1:
        return found[0].path
    if found:
        raise RunError(
            f"`{name}` fits {len(found)} runs ({', '.join(run.name for run in found[:5])}). "
            "Give more of the name."
        )
    hint = closest(name, [run.name for run in runs])
    raise RunError(
        f"There is no run `{name}` in `{root}`{hint}; it holds {len(runs)}. List them with "
        "`earmark runs list`."
    )


def _device_model(folder: Path) -> Any:
    """A classifier per device, or a network with a probability per device."""
    from earmark.models.multilabel import FILE, MultiLabel

    if (folder / "model" / FILE).is_file():
        return MultiLabel.load(folder / "model")
    from earmark.models.acoustic.fitted import FittedHead

    return FittedHead.load(folder)


def _beside(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    a, b, direction = _number(first["value"]), _number(second["value"]), first["direction"]
    winner = "first" if better(a, b, direction) else "second" if better(b, a, direction) else "equal"
    return {"first": first["value"], "second": second["value"], "direction": direction, "better": winner}


def _number(value: float | None) -> float:
    """Undefined scores are null in JSON."""
    return float("nan") if value is None else value


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _sync(folder: Path) -> None:
    """Put every file on the disk before the name that says they are complete."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
