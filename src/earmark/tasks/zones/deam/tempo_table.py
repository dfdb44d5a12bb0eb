"""``deam_tempo.csv``: the tempo of each song by its number, as `prepare --tempo-csv` reads it.

The tempo is the beat tracker's; below 60 BPM it is doubled and above 200 halved. A song without a beat has an empty
cell. The number is the file's name without suffix.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import UsageError
from earmark.features.progress import ProgressCallback
from earmark.tasks.zones.features import fast

if TYPE_CHECKING:
    from earmark.features.table import FeatureTable
    from earmark.tasks.project import Project

__all__ = ["folded_tempo", "write_tempo_table"]

SLOWEST_BPM, FASTEST_BPM = 60.0, 200.0


def folded_tempo(bpm: float) -> float | None:
    """Tempo in BPM, doubled below 60 and halved above 200; None without a beat."""
    if not bpm > 0:
        return None
    return bpm * 2 if bpm < SLOWEST_BPM else bpm / 2 if bpm > FASTEST_BPM else bpm


def write_tempo_table(
    project: Project,
    sources: Sequence[str],
    path: Path,
    *,
    workers: int | None = None,
    limit: int | None = None,
    progress: ProgressCallback | None = None,
) -> FeatureTable:
    """Write ``track_id,tempo`` for files and folders in `sources`, or without any for the prepared items with audio.

    Sealed test items are left out. Returns the features, with the items that failed.

    Raises
    ------
    UsageError
        There is no audio, or two files have one name.
    """
    items = project.items(sources)
    if not sources:
        sealed = set(project.splits.test_ids)
        items = [item for item in items if item.id not in sealed and not item.uri.lower().endswith(".csv")]
    songs = {item.id: PurePath(item.uri).stem for item in items}
    if not songs:
        raise UsageError(
            "no prepared item has audio. Expected songs. Name a folder, such as DEAM/MEMD_audio."
        )
    if repeated := [song for song, count in Counter(songs.values()).items() if count > 1]:
        raise UsageError(
            f"{len(repeated)} names occur more than once, such as `{repeated[0]}`; expected one file per song, since "
            "the table knows songs by name. Name DEAM's folder of audio: earmark extract zones DEAM/MEMD_audio ..."
        )
    table = project.extract([fast], items, workers=workers, limit=limit, progress=progress)
    tempos = table.select([f"{fast.name}.tempo"]).values[:, 0].tolist() if table.ids else []
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["track_id", "tempo"])
    for id, bpm in zip(table.ids, tempos, strict=True):
        tempo = folded_tempo(bpm)
        writer.writerow([songs[id], "" if tempo is None else f"{tempo:.3f}"])
    write_bytes_atomic(path, buffer.getvalue().encode())
    return table
