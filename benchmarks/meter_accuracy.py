"""How often the number of beats per bar is right on a folder of labelled clips, by style, beside its baselines.

    python benchmarks/meter_accuracy.py FOLDER [--run PATH] [--auxiliary PROJECT] [--draws 5] [--cache PATH] [--json]

FOLDER holds `labels.csv` (file, label, style, group) and `audio/`. Three kinds of rows, all balanced accuracy:

zero-shot     the shipped run (or PATH), which has seen none of these clips, choosing among the classes of the style
in domain     one model per fold on the default view, fitted on the style's other clips alone; with PROJECT, a prepared
              folder of other clips, on these as well
baselines     majority; the rules `rule` and `vote`; a support vector machine on MFCC, i.e. timbre without rhythm

Styles with rare classes are scored on 3 against 4 alone. Folds are drawn several times: the mean is shown, and of the
first draw the bootstrap interval over groups, drawn whole. A group is a composition: names `makam--form--usul--title--
composer` that differ in the makam alone are one, because exercises in several makams share their rhythm.
"""

from __future__ import annotations

import argparse
import csv
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.decode import decode
from earmark.audio.front_end import front_end
from earmark.audio.mel import mfcc
from earmark.cache.entries import FeatureCache
from earmark.evaluation.intervals import bootstrap_interval
from earmark.evaluation.metrics import METRICS
from earmark.features.extractor import Extractor
from earmark.features.item import Item
from earmark.features.table import FeatureTable
from earmark.models.classifier import Classifier
from earmark.models.decision import read_decision
from earmark.tasks.meter.schema import CLASSES, SAMPLE_RATE
from earmark.tasks.meter.serving.model import shipped_runs
from earmark.tasks.meter.task import task
from earmark.tasks.meter.views import VIEWS
from earmark.tasks.project import Project
from earmark.training.folds import balanced_folds
from earmark.training.runs import Run, load_run

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FEW = 10
"""Clips below which a class of a style is too rare to score."""
ALGORITHM, PARAMETERS = "logistic", {"strength": 0.03}
"""Of the rows in domain: one choice for all styles, made on rendered clips."""


@dataclass(frozen=True)
class Clips:
    """Clips of one style and of the classes that are scored: rows of the table, positions in CLASSES, groups."""

    name: str
    rows: Ints
    y: Ints
    groups: NDArray[np.str_]

    @property
    def classes(self) -> Ints:
        return np.unique(self.y)


def composition(group: str) -> str:
    """What must not lie on two sides: the name without its makam, if it has that form."""
    parts = group.split("--")
    return "--".join(parts[1:]) if len(parts) == 5 else group


def labelled(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as lines:
        return [row for row in csv.DictReader(lines) if row["label"] in CLASSES]


def by_style(rows: list[dict[str, str]]) -> Iterator[Clips]:
    """Every style with its frequent classes, and 3 against 4 apart where there are more."""
    styles = np.array([row["style"] for row in rows])
    labels = np.array([CLASSES.index(row["label"]) for row in rows])
    groups = np.array([composition(row["group"] or row["file"]) for row in rows])
    for style in dict.fromkeys(styles):
        counts = np.bincount(labels[styles == style], minlength=len(CLASSES))
        for wanted in {tuple(np.flatnonzero(counts >= FEW)), (0, 1)}:
            if len(wanted) < 2 or not all(counts[list(wanted)]):
                continue
            chosen = np.flatnonzero((styles == style) & np.isin(labels, wanted))
            name = f"{style} {'/'.join(CLASSES[c] for c in wanted)}"
            yield Clips(name, chosen, labels[chosen], groups[chosen])


def restricted(p: Floats, clips: Clips) -> Floats:
    """Probabilities of the classes that occur, summing to 1."""
    kept = np.zeros_like(p)
    kept[:, clips.classes] = p[:, clips.classes] + 1e-9
    return np.asarray(kept / kept.sum(axis=1, keepdims=True))


def in_domain(
    clips: Clips, X: Floats, fit: Callable[[Floats, Ints, Floats], Floats], draws: int
) -> list[Floats]:
    """Out-of-fold probabilities of each draw; `fit(X, y, X of the fold)` gives probabilities."""
    found = []
    for draw in range(draws):
        folds = balanced_folds(clips.y, clips.groups, 5, seed=draw)
        p = np.zeros((len(clips.y), len(CLASSES)))
        for fold in range(5):
            held = folds == fold
            if not held.any():
                continue
            known = clips.y[~held]
            alone = len(np.unique(known)) == 1  # a style of few groups
            p[held] = (
                np.eye(len(CLASSES))[known[0]]
                if alone
                else fit(X[clips.rows[~held]], known, X[clips.rows[held]])
            )
        found.append(restricted(p, clips))
    return found


def linear(auxiliary: tuple[Floats, Ints] | None, columns: tuple[str, ...]) -> Callable[..., Floats]:
    """A logistic model of balanced weights, with other clips beside those of the fold where there are any."""

    def fit(X: Floats, y: Ints, held: Floats) -> Floats:
        if auxiliary is not None:
            known = np.isin(auxiliary[1], y)
            X, y = np.concatenate([X, auxiliary[0][known]]), np.concatenate([y, auxiliary[1][known]])
        weights = (1 / np.bincount(y, minlength=len(CLASSES)).clip(1))[y]
        model = Classifier.make(ALGORITHM, classes=CLASSES, **PARAMETERS)
        model.fit(
            X.astype(np.float32), y, columns, sample_weight=(weights / weights.mean()).astype(np.float32)
        )
        return np.asarray(model.predict_proba(held.astype(np.float32), columns), dtype=np.float64)

    return fit


def timbre(X: Floats, y: Ints, held: Floats) -> Floats:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    model = make_pipeline(StandardScaler(), SVC(class_weight="balanced", random_state=0)).fit(X, y)
    return np.eye(len(CLASSES))[model.predict(held)]


def mfcc_columns(path: Path) -> Floats:
    clip: Clip = decode(path, sample_rate=SAMPLE_RATE)
    coefficients = clip.memo(front_end).memo(mfcc)[:, :13].astype(np.float64)
    return np.concatenate([coefficients.mean(axis=0), coefficients.std(axis=0)])


def answers(run: Run, table: FeatureTable) -> Floats:
    """Calibrated probabilities of a run, shape (n, 6)."""
    p = np.asarray(run.classifier().predict_proba(table.values, table.columns), dtype=np.float64)
    decision = read_decision(run.path, run.classes)
    return p if decision is None else np.asarray(decision.calibrator.transform(p))


def tables(folder: Path, rows: list[dict[str, str]], views: set[str], cache: Path | None) -> FeatureTable:
    groups = {group.name: group for view in views for group in VIEWS[view].groups}
    items = [Item(row["file"], str(folder / "audio" / row["file"])) for row in rows]
    store = None if cache is None else FeatureCache(cache)
    table = Extractor(list(groups.values()), store).run(items)
    if table.failures:
        raise SystemExit(f"{len(table.failures)} clips cannot be read, the first: {table.failures[0]}")
    return table


def report(kind: str, clips: Clips, draws: list[Floats]) -> dict[str, object]:
    metric = METRICS["balanced_accuracy"].function
    interval = bootstrap_interval(metric, clips.y, draws[0], clips.groups, 42)
    mean = float(np.mean([metric(clips.y, p) for p in draws]))
    return {
        "clips": clips.name,
        "n": len(clips.y),
        "groups": len(np.unique(clips.groups)),
        "answers": kind,
        "mean": mean,
        "low": interval.low,
        "high": interval.high,
    }


def measure(options: argparse.Namespace) -> list[dict[str, object]]:
    rows = labelled(options.folder)
    run = load_run(options.run, root=options.run.parent.parent, task="meter") if options.run else None
    run = run or next(iter(shipped_runs()), None)
    own = task.default_features
    view = own if run is None else str(run.config["settings"]["features"])
    table = tables(options.folder, rows, {view, own, "vote"}, options.cache)
    columns = VIEWS[own].columns
    X = np.nan_to_num(table.select(columns).values.astype(np.float64))
    auxiliary = None
    if options.auxiliary:
        other = Project.open("meter", options.auxiliary).training_data(task.features(own))[0]
        auxiliary = (np.nan_to_num(other.X.astype(np.float64)), other.y)
    cepstra = np.array([mfcc_columns(options.folder / "audio" / row["file"]) for row in rows])
    zero_shot = None if run is None else answers(run, table.select(VIEWS[view].columns))
    rules = {
        rule.name: np.eye(len(CLASSES))[rule.answer({name: table.column(name) for name in rule.columns})]
        for rule in task.rules
    }
    found = []
    for clips in by_style(rows):
        kinds: dict[str, list[Floats]] = {}
        if zero_shot is not None:
            kinds["zero-shot"] = [restricted(zero_shot[clips.rows], clips)]
        kinds["in domain"] = in_domain(clips, X, linear(None, columns), options.draws)
        if auxiliary is not None:
            kinds["in domain, others too"] = in_domain(clips, X, linear(auxiliary, columns), options.draws)
        kinds["majority"] = [np.tile(np.eye(len(CLASSES))[np.bincount(clips.y).argmax()], (len(clips.y), 1))]
        kinds |= {name: [restricted(p[clips.rows], clips)] for name, p in rules.items()}
        kinds["MFCC"] = in_domain(clips, cepstra, timbre, options.draws)
        found += [report(kind, clips, draws) for kind, draws in kinds.items()]
    if zero_shot is not None:
        found += calibration(rows, zero_shot)
    return found


def calibration(rows: list[dict[str, str]], p: Floats) -> list[dict[str, object]]:
    """The shipped run among all six classes, as `predict` answers: balanced accuracy over all clips of a style."""
    styles = np.array([row["style"] for row in rows])
    y = np.array([CLASSES.index(row["label"]) for row in rows])
    groups = np.array([composition(row["group"] or row["file"]) for row in rows])
    every = [(str(style), styles == style) for style in dict.fromkeys(styles)]
    return [
        report(
            "zero-shot, six classes",
            Clips(name, np.flatnonzero(chosen), y[chosen], groups[chosen]),
            [p[chosen]],
        )
        for name, chosen in [*every, ("all", np.ones(len(y), bool))]
    ]


def main() -> int:
    """Measure, print, return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--run", type=Path, help="folder of a run (default: the shipped one)")
    parser.add_argument("--auxiliary", type=Path, help="prepared project whose clips stand beside every fold")
    parser.add_argument("--draws", type=int, default=5, help="times that the folds are drawn (default: 5)")
    parser.add_argument("--cache", type=Path, help="folder of a feature cache (default: none)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    found = measure(options)
    if options.json:
        print(json.dumps(found, indent=1))
        return 0
    for row in found:
        print(
            f"{row['clips']:<22} {row['n']:>4} clips {row['groups']:>4} groups  {row['answers']:<22} "
            f"{row['mean']:.3f}  [{row['low']:.3f}, {row['high']:.3f}]"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
