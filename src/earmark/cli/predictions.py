"""Predictions as rows, files and playlists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.errors import UsageError

if TYPE_CHECKING:
    from earmark.inference.prediction import Failed, Prediction

__all__ = ["COLUMNS", "require_writable", "rows_of", "write_file", "write_playlists"]

COLUMNS = ("path", "label", "confidence", "error")
_SUFFIXES = (".csv", ".json", ".jsonl")


def rows_of(answers: Sequence[Prediction | Failed]) -> list[dict[str, Any]]:
    """One flat row per input: path, label, confidence, a column per class, the task's plain fields, error."""
    documents = [answer.to_json() for answer in answers]
    flat = [
        {
            **{key: value for key, value in document.items() if not isinstance(value, dict | list)},
            **{f"p_{name}": p for name, p in document.get("probabilities", {}).items()},
        }
        for document in documents
    ]
    names = dict.fromkeys([*COLUMNS[:-1], *(key for row in flat for key in row if key != "error")])
    return [{name: row.get(name) for name in (*names, "error")} for row in flat]


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


def write_file(path: Path, answers: Sequence[Prediction | Failed]) -> None:
    """Write all answers in the form that the suffix names, whole or not at all."""
    from earmark.cli.output import render, to_json

    suffix = path.suffix.lower()
    documents = [answer.to_json() for answer in answers]
    if suffix == ".csv":
        rows = rows_of(answers)
        text = render("csv", rows, columns=list(rows[0]) if rows else list(COLUMNS))
    elif suffix == ".json":
        text = to_json(documents)
    else:
        text = "".join(to_json(document, indent=None) for document in documents)
    _replace(path, text)


def write_playlists(folder: Path, predictions: Sequence[Prediction]) -> list[Path]:
    """Write a playlist ``LABEL.m3u8`` per label that was predicted; returns the files, in order of first use."""
    folder.mkdir(parents=True, exist_ok=True)
    by_label: dict[str, list[str]] = {}
    for prediction in predictions:
        where = prediction.path if "://" in prediction.path else str(Path(prediction.path).absolute())
        by_label.setdefault(prediction.label, []).append(where)
    written = []
    for label, paths in by_label.items():
        name = "".join(character if character.isalnum() or character in "-_ " else "_" for character in label)
        target = folder / f"{name}.m3u8"
        _replace(target, "\n".join(["#EXTM3U", *paths]) + "\n")
        written.append(target)
    return written


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(path)
