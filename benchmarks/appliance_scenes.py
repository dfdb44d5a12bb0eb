"""How well a machine that no training recording held is heard, by the second, in scenes of known switch times.

    python benchmarks/appliance_scenes.py FOLDER [--json]

FOLDER holds ``manifest.csv`` and ``on_segments.csv`` (`earmark.tasks.appliance.segments`). Each second gets the
columns of `spectral` on the 3 s around it, as they are and less their median over the scene; trees and a logistic
regression are averaged by log odds. The scenes of one source of the machine's sound, or of one kind of machine, are
scored by models fitted on all others. A second counts as on if the machine runs for half of it or more; seconds with a
switch are scored, but not learnt from. Printed is the area under the ROC curve over all seconds, and by
signal-to-noise ratio:

* ``model``: each second alone;
* ``smoothed``: the posterior of a sticky chain over the scene (`scene_adaptation.sticky_posterior`);
* ``adapted``: after the scene has taught its two states (`scene_adaptation.adapted_posterior`);
* ``live``: as ``model``, but of the 3 s before the second's end and less the median of the scene until then.
"""

from __future__ import annotations

import os

# One thread: the libraries read these when they are imported.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import argparse  # noqa: E402
import json  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from sklearn.metrics import roc_auc_score  # noqa: E402

SAMPLE_RATE = 16_000
WINDOW_S = 3
MODELS = {
    "xgboost": {"n_trees": 150, "max_depth": 3, "learning_rate": 0.08, "subsample": 0.7, "colsample": 0.3},
    "logistic": {},
}
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Seconds:
    """Every second of every scene: rows of columns, what is on, and where it comes from."""

    columns: tuple[str, ...]
    around: Floats  # (n, 105), the 3 s around
    before: Floats  # (n, 105), the 3 s that end with it
    bands: Floats  # (n, 26), third octaves of the second itself
    on_share: Floats
    scene: NDArray[np.int64]
    free: dict[str, NDArray[np.str_]]

    @property
    def is_on(self) -> NDArray[np.int64]:
        return (self.on_share >= 0.5).astype(np.int64)


def main() -> None:
    """Read, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    seconds = read(arguments.folder)
    results = {held_out: scores(seconds, held_out) for held_out in ("machine_src", "machine_kind")}
    print(json.dumps(results, indent=2) if arguments.json else as_text(results))


def read(folder: Path) -> Seconds:
    """Decode the scenes and compute the columns."""
    from earmark.audio.clip import Clip
    from earmark.audio.decode import decode
    from earmark.audio.third_octaves import band_levels_db
    from earmark.tasks.appliance.segments import on_share, read_scenes
    from earmark.tasks.appliance.views import VIEWS

    view = VIEWS["spectral"]
    around, before, bands, shares, number, free = [], [], [], [], [], []
    scenes, *_ = read_scenes(folder / "on_segments.csv", folder / "manifest.csv")
    for index, scene in enumerate(scenes):
        samples = decode(str(scene.recording.path), sample_rate=SAMPLE_RATE).samples
        n_seconds = samples.size // SAMPLE_RATE
        pieces = [
            Clip(samples[start * SAMPLE_RATE : (start + WINDOW_S) * SAMPLE_RATE], SAMPLE_RATE)
            for start in range(n_seconds - WINDOW_S + 1)
        ]
        rows = np.array([np.concatenate([group(piece) for group in view.groups]) for piece in pieces])
        for second in range(n_seconds):
            around.append(rows[np.clip(second - 1, 0, len(rows) - 1)])
            # the first two seconds have no 3 s behind them: they wait for the first window, as a live stream does
            before.append(rows[max(0, second - WINDOW_S + 1)])
            own = samples[second * SAMPLE_RATE : (second + 1) * SAMPLE_RATE]
            bands.append(band_levels_db(Clip(own, SAMPLE_RATE)))
            shares.append(on_share(scene.on_spans, second, second + 1))
            number.append(index)
            free.append(scene.free)
    names = {name: np.array([str(row[name]) for row in free]) for name in free[0]}
    stacked = (np.array(values) for values in (around, before, bands, shares, number))
    return Seconds(view.columns, *stacked, names)


def scores(seconds: Seconds, held_out: str) -> dict[str, dict[str, float]]:
    """Areas under the curve of each way, with the groups of a column held out in turn."""
    from earmark.tasks.appliance.scene_adaptation import adapted_posterior, log_odds, sticky_posterior

    groups = seconds.free[held_out]
    whole = within_scenes(
        seconds, seconds.around, lambda rows: np.tile(np.median(rows, axis=0), (len(rows), 1))
    )
    past = within_scenes(
        seconds,
        seconds.before,
        lambda rows: np.array([np.median(rows[: row + 1], axis=0) for row in range(len(rows))]),
    )
    model = unseen(seconds, np.hstack([seconds.around, seconds.around - whole]), groups)
    ways = {
        "model": model,
        "smoothed": within_scenes(seconds, model, lambda p: sticky_posterior(log_odds(p), 1.0)),
        "adapted": within_scenes(
            seconds,
            np.column_stack([model, seconds.bands]),
            lambda rows: adapted_posterior(rows[:, 0], rows[:, 1:], 1.0),
        ),
        "live": unseen(seconds, np.hstack([seconds.before, seconds.before - past]), groups),
    }
    return {way: by_snr(seconds, p) for way, p in ways.items()}


def within_scenes(seconds: Seconds, rows: Floats, function: object) -> Floats:
    """Results of a function of one scene's rows at a time, in the order of the rows."""
    parts = [function(rows[seconds.scene == scene]) for scene in np.unique(seconds.scene)]  # type: ignore[operator]
    return np.concatenate(parts)


def unseen(seconds: Seconds, rows: Floats, groups: NDArray[np.str_]) -> Floats:
    """Probability of "on" of each second by models that saw none of its group."""
    from earmark.models.classifier import Classifier
    from earmark.tasks.appliance.scene_adaptation import log_odds

    columns = tuple(f"{name} {kind}" for kind in ("absolute", "relative") for name in seconds.columns)
    steady = (seconds.on_share == 0) | (seconds.on_share == 1)
    odds = np.zeros(len(rows))
    for group in np.unique(groups):
        known, asked = steady & (groups != group), groups == group
        for name, parameters in MODELS.items():
            classifier = Classifier.make(name, classes=("off", "on"), **parameters)
            classifier.fit(rows[known].astype(np.float32), seconds.is_on[known], columns)
            probability = classifier.predict_proba(rows[asked].astype(np.float32), columns)[:, 1]
            odds[asked] += log_odds(probability) / len(MODELS)
    return 1.0 / (1.0 + np.exp(-odds))


def by_snr(seconds: Seconds, p: Floats) -> dict[str, float]:
    """Area under the curve over all seconds, and at each signal-to-noise ratio."""
    snr = seconds.free["snr_db"]
    result = {"all": float(roc_auc_score(seconds.is_on, p))}
    for level in sorted(np.unique(snr), key=float):
        result[f"{level} dB"] = float(roc_auc_score(seconds.is_on[snr == level], p[snr == level]))
    return result


def as_text(results: dict[str, dict[str, dict[str, float]]]) -> str:
    """One table for each way of holding out."""
    lines = []
    for held_out, ways in results.items():
        names = list(next(iter(ways.values())))
        lines.append(f"{held_out + ' held out':24}" + "".join(f"{name:>9}" for name in names))
        lines += [f"  {way:22}" + "".join(f"{row[name]:9.3f}" for name in names) for way, row in ways.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
