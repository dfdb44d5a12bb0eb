"""How well the trackers find beats and downbeats: F-measure at 70 ms (mir_eval), by style, with bootstrap intervals.

    python benchmarks/meter_trackers.py FOLDER [--tracker NAME ...] [--limit N] [--json]

FOLDER holds `labels.csv` (file, label, style, group, downbeats) and `audio/`. Reference beats divide each bar evenly by
its label, so that a usul of 8/8 with the label 4 counts four beats: a tracker that hears eight gets 0.67 at best. "Any
level" is mir_eval's AMLt, which forgives half and double tempo. Files without downbeats are left out. Whole groups are
drawn for the intervals. Networks take part where EARMARK_BEATNET or EARMARK_BEAT_THIS names their weights.
"""

from __future__ import annotations

import argparse
import csv
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import mir_eval
import numpy as np
from numpy.typing import NDArray

from earmark.audio.decode import decode
from earmark.tasks.meter.schema import SAMPLE_RATE
from earmark.tasks.meter.trackers.registry import TRACKERS, beats_of, tracker
from earmark.tasks.meter.trackers.rows import Beats

Float64 = NDArray[np.float64]
METRICS = ("beat F", "downbeat F", "any level")
N_REPLICATES = 2_000


def main() -> int:
    """Measure, print, return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--tracker", action="append", choices=sorted(TRACKERS), help="repeatable (default: all)"
    )
    parser.add_argument("--limit", type=int, default=0, help="every so many-th file only, up to N; 0: all")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    rows = labelled_rows(arguments.folder, arguments.limit)
    groups = {name: group for name in arguments.tracker or TRACKERS if (group := tracker(name)) is not None}
    scores: dict[str, list[tuple[float, ...]]] = {name: [] for name in groups}
    for row in rows:
        clip = decode(arguments.folder / "audio" / row["file"], sample_rate=SAMPLE_RATE)
        for name, group in groups.items():
            scores[name].append(scored(beats_of(clip, group), row))
    table = [line for name in groups for line in summary(name, rows, np.array(scores[name]))]
    print(json.dumps(table, indent=1) if arguments.json else rendered(table))
    return 0


def labelled_rows(folder: Path, limit: int) -> list[dict[str, str]]:
    """Rows with at least two downbeats; with a limit evenly spread over them."""
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if len(row["downbeats"].split()) > 1]
    step = max(1, len(rows) // limit) if limit else 1
    return rows[::step][: limit or None]


def reference(row: dict[str, str]) -> tuple[Float64, Float64]:
    """Beats and downbeats in seconds."""
    downbeats = np.array([float(time) for time in row["downbeats"].split()])
    bars = np.append(np.diff(downbeats), np.median(np.diff(downbeats)))
    parts = np.arange(int(row["label"])) / int(row["label"])
    beats = (downbeats[:, np.newaxis] + bars[:, np.newaxis] * parts).ravel()
    return beats[beats < float(row["seconds"])], downbeats


def scored(estimated: Beats, row: dict[str, str]) -> tuple[float, float, float]:
    """Beat F, downbeat F, AMLt; the first 5 s do not count, as is usual."""
    beats, downbeats, times, bars = (
        mir_eval.beat.trim_beats(times)
        for times in (*reference(row), estimated.times_s, estimated.downbeat_times_s)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of empty estimates, which score 0
        any_level = mir_eval.beat.continuity(beats, times)[3] if len(times) > 1 else 0.0
        return mir_eval.beat.f_measure(beats, times), mir_eval.beat.f_measure(downbeats, bars), any_level


def summary(name: str, rows: Sequence[dict[str, str]], scores: Float64) -> list[dict[str, object]]:
    """One line per style and one for all."""
    styles = np.array([row["style"] for row in rows])
    groups = np.array([row["group"] for row in rows])
    lines: list[dict[str, object]] = []
    for style in (*sorted(set(styles.tolist())), "all"):
        chosen = (styles == style) | (style == "all")
        line: dict[str, object] = {"tracker": name, "style": style, "files": int(chosen.sum())}
        for i, metric in enumerate(METRICS):
            line[metric] = [round(value, 3) for value in interval(scores[chosen, i], groups[chosen])]
        lines.append(line)
    return lines


def interval(values: Float64, groups: NDArray[np.str_]) -> tuple[float, float, float]:
    """Mean and the 95 % interval of a bootstrap over whole groups."""
    _, which = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(which, values), np.bincount(which)
    drawn = np.random.default_rng(42).integers(0, len(sums), (N_REPLICATES, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(values.mean()), float(low), float(high)


def rendered(table: Sequence[dict[str, object]]) -> str:
    """As aligned text."""
    lines = [f"{'tracker':10} {'style':13} {'files':>5}  " + "  ".join(f"{metric:22}" for metric in METRICS)]
    for line in table:
        cells = ("{:.3f} ({:.3f} to {:.3f})".format(*line[metric]) for metric in METRICS)  # type: ignore[misc]
        lines.append(
            f"{line['tracker']:10} {line['style']:13} {line['files']:>5}  "
            + "  ".join(f"{c:22}" for c in cells)
        )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
