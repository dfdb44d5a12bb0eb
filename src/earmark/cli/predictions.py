"""Predictions as documents, rows and files: the task's own forms, or the general ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.errors import UsageError

if TYPE_CHECKING:
    from earmark.inference.prediction import Failed, Prediction
    from earmark.tasks.task import Task

__all__ = ["csv_of", "documents_of", "require_writable", "rows_of", "table_of", "write_file"]

_COLUMNS = ("path", "label", "confidence", "error")
_NOT_SHOWN = ("run", "method")
_SUFFIXES = (".csv", ".json", ".jsonl")

Answers = Sequence["Prediction | Failed"]


def documents_of(task: Task, answers: Answers) -> list[dict[str, Any]]:
    """One JSON object per input."""
    return [task.outputs.document(one) if task.outputs else one.to_json() for one in answers]


def csv_of(task: Task, answers: Answers) -> str:
    """The text of a CSV file."""
    return task.outputs.csv(answers) if task.outputs else _general_csv(task, answers)


def rows_of(task: Task, answers: Answers) -> list[dict[str, Any]]:
    """One flat row per input: path, label, confidence, a column per class, the task's plain fields, error."""
    flat = [_flat(document) for document in documents_of(task, answers)]
    return [{name: row.get(name) for name in _names(flat)} for row in flat]


def table_of(answers: Answers) -> list[dict[str, Any]]:
    """What a person wants to see: no run, which is the same for all, and no column for errors where there are none."""
    flat = [_flat(one.to_json()) for one in answers]
    names = [
        name
        for name in _names(flat)
        if name not in _NOT_SHOWN and (name != "error" or "error" in _keys(flat))
    ]
    return [{name: row.get(name) for name in names} for row in flat]


def require_writable(paths: Sequence[Path]) -> None:
    """Refuse names of unknown form and folders that are not there before anything is computed."""
    problems = [
        f"`{path}`: expected a name that ends in {', '.join(_SUFFIXES)}."
        for path in paths
        if path.suffix.lower() not in _SUFFIXES
    ]
    problems += [
        f"`{path}`: the folder `{path.parent}` does not exist. Make it first."
        for path in paths
        if not path.parent.is_dir()
    ]
    if problems:
        raise UsageError("\n".join(problems))


def write_file(path: Path, task: Task, answers: Answers) -> None:
    """Write all answers in the form that the suffix names, whole or not at all."""
    from earmark.cli.output import to_json
    from earmark.data.parquet import write_bytes_atomic

    documents = documents_of(task, answers)
    if path.suffix.lower() == ".csv":
        text = csv_of(task, answers)
    elif path.suffix.lower() == ".json":
        text = to_json(documents)
    else:
        text = "".join(to_json(document, indent=None) for document in documents)
    # A file name that is not UTF-8 keeps its bytes in CSV; in JSON each is an escape such as \udce9.
    unencodable = "surrogateescape" if path.suffix.lower() == ".csv" else "backslashreplace"
    write_bytes_atomic(path, text.encode(errors=unencodable))


def _flat(document: dict[str, Any]) -> dict[str, Any]:
    plain = {key: value for key, value in document.items() if not isinstance(value, dict | list)}
    return {**plain, **{f"p_{name}": p for name, p in document.get("probabilities", {}).items()}}


def _keys(rows: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))


def _names(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Columns of the rows: the common ones first, then the task's, errors last."""
    return [*dict.fromkeys([*_COLUMNS[:-1], *(key for key in _keys(rows) if key != "error")]), "error"]


def _general_csv(task: Task, answers: Answers) -> str:
    from earmark.cli.output import render

    rows = rows_of(task, answers)
    return render("csv", rows, columns=list(rows[0]) if rows else _COLUMNS)
