"""What the page of one run shows besides its configuration: scores with intervals, mistakes, and its files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.errors import RunError
from earmark.evaluation.metrics import METRICS

if TYPE_CHECKING:
    import polars as pl

    from earmark.training.runs import Run

__all__ = [
    "Confusion",
    "Report",
    "RunFile",
    "baseline_names",
    "class_rows",
    "confusion_of",
    "error_rows",
    "file_of",
    "files_of",
    "flat",
    "metric_rows",
    "report_of",
    "reports_of",
]

_TEXT = (".toml", ".yaml", ".json", ".jsonl", ".csv", ".md", ".txt", ".html")
_FIGURES = (".png", ".svg")
_NUMBERS = (".parquet", ".npz", ".ubj", ".onnx", ".safetensors")
DOWNLOADS = frozenset((*_TEXT, *_FIGURES, *_NUMBERS))
"""Kinds of files that a run folder holds and a page hands out."""

MOST_FILES = 500
REPORT = "report.html"
N_SHADES = 8

Row = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """What one evaluation left in the folder `path`; `key` is its place in the run, empty for the run's own."""

    key: str
    path: Path
    document: Mapping[str, Any]

    @property
    def title(self) -> str:
        """What was scored."""
        return {"val": "Validation", "test": "Test"}.get(self.document["split"], str(self.document["split"]))


@dataclass(frozen=True)
class Confusion:
    """Items by their class (rows) and the most probable answer (columns), with the share of the row."""

    classes: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[int, float, int], ...]], ...]
    """Class, and for each answer the count, its share of the row, and a shade from 0 to `N_SHADES`."""


@dataclass(frozen=True)
class RunFile:
    """A file of a run: its name below the run's folder, and its size in bytes."""

    name: str
    n_bytes: int


def reports_of(run: Run) -> list[Report]:
    """The evaluations that wrote into the run's folder, the run's own first, that of the sealed test last."""
    found = [_report(run, path.parent) for path in sorted(run.path.rglob("metrics.json"))]
    reports = [report for report in found if report is not None]
    return sorted(reports, key=lambda report: (report.document["split"] == "test", report.key))


def report_of(run: Run, key: str) -> Report:
    """The evaluation with that key; raises RunError."""
    found = {report.key: report for report in reports_of(run)}
    if key not in found:
        raise RunError(
            f"`{run.name}` has no report {key!r}. Write it: earmark evaluate {run.task} --run {run.name}"
        )
    return found[key]


def metric_rows(run: Run, report: Report | None) -> list[Row]:
    """One row per metric, the one that ranked the run first: value, interval, folds, and the baselines beside it."""
    told = {} if report is None else report.document["metrics"]
    own = run.metrics if report is None or report.document["split"] != "test" else {}
    names = sorted({**own, **told}, key=lambda name: name != run.config.get("rank_by"))
    baselines = {} if report is None else report.document.get("baselines", {})
    return [_metric_row(name, told.get(name), own.get(name), baselines) for name in names]


def baseline_names(report: Report | None) -> list[str]:
    """Names of what the run was compared with."""
    return [] if report is None else list(report.document.get("baselines", {}))


def class_rows(report: Report | None) -> list[Row]:
    """Precision, recall and F1 with intervals per class, and how many items it has."""
    per_class = {} if report is None else report.document.get("per_class") or {}
    return [{"class": label, **scores} for label, scores in per_class.items()]


def confusion_of(run: Run) -> Confusion | None:
    """Counted from what the run answered out of fold, of a series in its test part; None where it keeps neither."""
    path = run.path / ("test.parquet" if run.is_series else "out_of_fold.parquet")
    if not path.is_file():
        return None
    return _confusion(path, path.stat().st_mtime_ns, run.classes)


def error_rows(report: Report) -> list[Row]:
    """The mistakes of an evaluation, the surest first, as ``errors.csv`` lists them."""
    path = report.path / "errors.csv"
    return _errors(path, path.stat().st_mtime_ns) if path.is_file() else []


def files_of(run: Run) -> list[RunFile]:
    """Files that may be downloaded, those in the run's own folder first; at most `MOST_FILES`."""
    found = [RunFile(str(path.relative_to(run.path)), path.stat().st_size) for path in _files(run.path)]
    return sorted(found, key=lambda file: (file.name.count("/"), file.name))[:MOST_FILES]


def file_of(run: Run, name: str) -> Path:
    """The file of that name; only what `files_of` lists is handed out. Raises RunError."""
    if name not in {file.name for file in files_of(run)}:
        raise RunError(f"`{run.name}` has no file `{name}` that can be downloaded.")
    return run.path / name


def flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of nested settings."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _report(run: Run, folder: Path) -> Report | None:
    """What is in the folder, if it is an evaluation of this run; others' files may have the same name."""
    try:
        document = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(document, dict) or not {"metrics", "split"} <= document.keys():
        return None
    key = folder.relative_to(run.path).as_posix()
    return Report("" if key == "." else key, folder, document)


def _metric_row(
    name: str,
    told: Mapping[str, Any] | None,
    own: Mapping[str, Any] | None,
    baselines: Mapping[str, Mapping[str, Any]],
) -> Row:
    """`told` is of an evaluation, with an interval; `own` of the training, with a score per fold."""
    value = told or own or {}
    known = METRICS.get(name)
    return {
        "metric": name,
        "value": value.get("value"),
        "low": value.get("low"),
        "high": value.get("high"),
        "direction": (own or {}).get("direction") or (known.direction if known else None),
        "folds": (own or {}).get("folds") or [],
        "baselines": {other: scores.get(name) for other, scores in baselines.items()},
    }


@lru_cache(64)
def _confusion(path: Path, _changed: int, classes: tuple[str, ...]) -> Confusion | None:
    import polars as pl

    columns = [f"probability_{name}" for name in classes]
    lazy = pl.scan_parquet(path)
    if not {"label", *columns} <= set(lazy.collect_schema().names()):
        return None
    table: pl.DataFrame = lazy.select("label", *columns).collect()
    answers = table.select(columns).to_numpy().argmax(axis=1)
    labels = table["label"].to_numpy()
    rows = []
    for at, name in enumerate(classes):
        of_class = answers[labels == at]
        counts = [int((of_class == answer).sum()) for answer in range(len(classes))]
        shares = [count / max(1, len(of_class)) for count in counts]
        cells = tuple(
            (count, share, round(N_SHADES * share)) for count, share in zip(counts, shares, strict=True)
        )
        rows.append((name, cells))
    return Confusion(classes, tuple(rows))


@lru_cache(8)
def _errors(path: Path, _changed: int) -> list[Row]:
    import polars as pl

    return pl.read_csv(path, infer_schema_length=None).to_dicts()


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix in DOWNLOADS and not is_hidden and path.is_file() and not path.is_symlink():
            yield path
