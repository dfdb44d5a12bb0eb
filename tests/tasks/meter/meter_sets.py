"""Miniature data sets in the very formats of the real ones, with short generated clips that all sound different."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from earmark.data.manifest import Manifest
from earmark.tasks.meter.datasets.accounting import MeterReport
from earmark.tasks.meter.datasets.importer import import_meter
from earmark.tasks.task import ImportRequest

RATE = 8000
WORDS = {3: "three", 4: "four", 5: "five", 7: "seven", 9: "nine", 11: "eleven"}


def music(seed: int, seconds: float = 4.0, rate: int = RATE) -> np.ndarray:
    """Notes of a quarter second each over faint noise: no two seeds alike, none silent."""
    rng = np.random.default_rng(seed)
    n_notes, length = int(np.ceil(seconds * 4)), rate // 4
    time = np.arange(length) / rate
    pitches = rng.uniform(200, 2500, (n_notes, 3, 1))
    notes = np.exp(-6 * time) * np.sin(2 * np.pi * pitches * time).sum(axis=1)
    sound = notes.ravel()[: round(seconds * rate)].astype(np.float32)
    sound += 0.02 * rng.standard_normal(len(sound), dtype=np.float32)
    return sound * np.float32(0.8 / np.abs(sound).max())


def write_clip(path: Path, seed: int, seconds: float = 4.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, music(seed, seconds), RATE)
    return path


def write_list(path: Path, rows: Sequence[Sequence[Any]], delimiter: str = "\t") -> Path:
    """A list of METER2800 or WIKIMETER: names of columns, then quoted texts and bare numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_NONNUMERIC)
        file.write(delimiter.join(("filename", "label", "meter", "alt_meter")) + "\n")
        table.writerows(rows)
    return path


def meter2800(folder: Path, suffix: str = ".tab", n_classes: int = 4) -> Path:
    """Eight clips of each of 3 and 4, four of 5 and 7, over all sources; one stem is in two of them."""
    seed = 0
    for part, counts in {
        "train": {3: 6, 4: 6, 5: 4, 7: 4},
        "val": {3: 2, 4: 2, 5: 1, 7: 1},
        "test": {3: 2, 4: 2, 5: 1, 7: 1},
    }.items():
        rows = []
        for meter, count in counts.items():
            for _ in range(count):
                source = ("FMA", "MAG", "OWN", "GTZAN")[seed % 4]
                stem = f"blues.{seed:05d}" if source == "GTZAN" else f"{seed:05d}"
                rows.append([f"/{source}/{stem}.wav", WORDS[meter], meter, 6 if meter == 3 else meter * 2])
                write_clip(folder / "audio" / f"{source}_{stem}.wav", seed)
                seed += 1
        write_list(
            folder / f"data_{part}_{n_classes}_classes{suffix}", rows, "\t" if suffix == ".tab" else ","
        )
    return folder


def wikimeter_catalogue(folder: Path, songs: Sequence[Mapping[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "wikimeter.json").write_text(json.dumps(songs), encoding="utf-8")
    return folder


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def identify(uri: str) -> bytes:
    return hashlib.blake2b(Path(uri).read_bytes(), digest_size=16).digest()


def imported(root: Path, *sources: str | Path, **options: Any) -> tuple[Manifest, MeterReport]:
    """What the importer makes of the sources."""
    options = {"near_duplicates": False, **options}
    made = import_meter(ImportRequest(tuple(map(str, sources)), root, identify, options))
    report: MeterReport = made.report
    assert report.kept + len(report.rejected) == report.rows_read
    return made.manifest, report


def by_id(manifest: Manifest) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in manifest.table.iter_rows(named=True)}


Writer = Callable[[Path, int], Path]
