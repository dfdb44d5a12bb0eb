"""The page on which labels are reviewed: one file, works offline, keeps what was decided, and exports it as JSON.

Each decision is ``label`` (the label is right), ``predicted`` (the model is), ``custom`` with a meter, or ``skip``,
with a note. It is kept in the browser at once, under a name of its own per set of candidates. `read_decisions` reads
the export as entries of corrections (`earmark.tasks.meter.datasets.corrections`).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from earmark.audio.fragment import split_fragment
from earmark.data.parquet import write_bytes_atomic
from earmark.errors import UsageError
from earmark.tasks.meter.review.candidates import Candidate
from earmark.tasks.meter.schema import CLASSES

__all__ = ["CANDIDATES_FILE", "PAGE_FILE", "ZIP_FILE", "read_decisions", "write_page", "write_zip"]

PAGE_FILE = "label_review.html"
CANDIDATES_FILE = "label_review.json"
ZIP_FILE = "label_review.zip"
_FORMAT = "earmark-label-review-1"


def write_page(candidates: Sequence[Candidate], folder: Path) -> tuple[Path, Path]:
    """Write the page, which plays the audio from where it lies, and the candidates as JSON; gives both paths."""
    sources = {one.id: _relative(one.uri, folder) for one in candidates}
    write_bytes_atomic(folder / PAGE_FILE, _page(candidates, sources).encode())
    rows = [one.to_json() for one in candidates]
    document = json.dumps({"format": _FORMAT, "candidates": rows}, indent=2, ensure_ascii=False) + "\n"
    write_bytes_atomic(folder / CANDIDATES_FILE, document.encode())
    return folder / PAGE_FILE, folder / CANDIDATES_FILE


def write_zip(candidates: Sequence[Candidate], folder: Path) -> Path:
    """Write the page with its audio as one archive, to be reviewed elsewhere; gives its path."""
    sources: dict[str, str] = {}
    members: dict[str, Path] = {}
    for number, one in enumerate(candidates):
        path, span = split_fragment(one.uri)
        name = f"audio/{number:04d}{PurePosixPath(path).suffix}"
        members[name] = Path(path)
        sources[one.id] = f"{name}{span or ''}"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(PAGE_FILE, _page(candidates, sources))
        for name, recording in members.items():
            archive.write(recording, name)
    write_bytes_atomic(folder / ZIP_FILE, buffer.getvalue())
    return folder / ZIP_FILE


def read_decisions(path: Path) -> list[dict[str, str]]:
    """Corrections that an export of the page asks for: ``key``, ``label``, ``reason``; skipped ones are left out.

    Raises
    ------
    UsageError
        It is no export of the page.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        decisions = document["decisions"] if document["format"] == _FORMAT else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"`{path}` cannot be read ({error!r}). Expected an export of {PAGE_FILE}."
        ) from error
    if decisions is None:
        raise UsageError(f"`{path}` is marked {document['format']!r}, expected {_FORMAT!r}. Export it again.")
    return [
        {"key": str(one["id"]), "label": str(one["meter"]), "reason": str(one.get("note", ""))}
        for one in decisions
        if one["choice"] in ("predicted", "custom")
    ]


def _page(candidates: Sequence[Candidate], sources: Mapping[str, str]) -> str:
    rows: list[dict[str, Any]] = [{**one.to_json(), "audio": sources[one.id]} for one in candidates]
    for row in rows:
        del row["uri"]
    text = json.dumps(rows, ensure_ascii=False, sort_keys=True)
    data = {
        "format": _FORMAT,
        "name": hashlib.blake2b(text.encode(), digest_size=8).hexdigest(),
        "classes": CLASSES,
        "candidates": rows,
    }
    # "<" cannot end the element that holds the data, nor begin one.
    embedded = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    template = files("earmark.tasks.meter.review").joinpath("page.html").read_text(encoding="utf-8")
    return template.replace("__DATA__", embedded)


def _relative(uri: str, folder: Path) -> str:
    """What the page calls a recording: a path from its folder, or the URI; with the part to play."""
    path, span = split_fragment(uri)
    where = path if "://" in path else quote(Path(os.path.relpath(path, folder)).as_posix())
    return f"{where}{span or ''}"
