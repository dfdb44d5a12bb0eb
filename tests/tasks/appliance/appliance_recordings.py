"""Recordings of a small room as files, and the table of a prepared room without any."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import soundfile

from earmark.tasks.appliance.schema import DEFAULT_DEVICES, Devices, state_of, window_id
from earmark.tasks.appliance.windows import Windowing, outliers

CELLS = [
    (f"ac-{ac}-fridge-{fridge}-{daypart}", daypart)
    for ac, fridge, daypart in product(("off", "on"), ("off", "on"), ("day", "night"))
]
EIGHT = [name for name, _ in CELLS]


def noise(seconds: float, *, level: float = 0.01, rate: int = 16_000, seed: int = 0) -> np.ndarray:
    """White noise, float32, of an RMS of `level`."""
    generator = np.random.default_rng(seed)
    return (generator.standard_normal(round(seconds * rate)) * level).astype(np.float32)


def write_room(folder: Path, stems: Iterable[str], seconds: float, *, suffix: str = ".flac") -> Path:
    """Noise of another level and seed in each file."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, stem in enumerate(stems):
        samples = noise(seconds, level=0.01 * (1 + number), seed=number)
        soundfile.write(folder / f"{stem}{suffix}", samples, 16_000)
    return folder


def room_rows(
    stems: Sequence[str] = tuple(EIGHT),
    seconds: float = 180.21,
    windowing: Windowing | None = None,
    sealed_from: float | None = None,
    gap_s: float = 10.0,
    devices: Devices = DEFAULT_DEVICES,
) -> pl.DataFrame:
    """What `prepare` would give of recordings with these names and this length, without any audio."""
    windowing = windowing or Windowing()
    tables = []
    for number, stem in enumerate(stems):
        words = stem.split("-")
        facts = {name: words[2 * at + 1] == "on" for at, name in enumerate(devices.names)}
        starts = windowing.starts_s(round(seconds * windowing.sample_rate))
        ends = starts + windowing.window_s
        rms = np.random.default_rng(number).random(len(starts))
        limit = np.inf if sealed_from is None else sealed_from
        split = np.where(starts >= limit, "test", np.where(ends > limit - gap_s, "purged", "train"))
        label = pl.Series([state_of(facts, devices)] * len(starts))
        tables.append(
            pl.DataFrame(
                {
                    "id": [window_id(stem, start) for start in starts],
                    "group": stem,
                    "recording_id": stem,
                    "daypart": words[2 * len(devices)],
                    "start_sec": starts,
                    "end_sec": ends,
                    "outlier": outliers(rms),
                    "duration_s": seconds,
                    "label": label.set(pl.Series(split == "test"), None),
                    "split": split,
                }
            )
        )
    return pl.concat(tables)
