"""How well each feature set and algorithm tells the zones of a labelled collection apart, with folds drawn many times.

    earmark -C PROJECT prepare zones LABELS
    python benchmarks/zones.py PROJECT [--sets texture,full55] [--algorithms random_forest,ordinal] [--draws 10]

One cross-validation of a hundred tracks is one throw of a die: its score moves by several points when the folds are
drawn again. This prints the mean over draws with their spread, and the bootstrap interval over groups of the first
draw, beside the majority. Only training rows are used; the sealed test set is not touched.
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from earmark.evaluation.intervals import bootstrap_interval
from earmark.evaluation.metrics import METRICS
from earmark.tasks.project import Project
from earmark.tasks.verbs.train import TrainOptions, recipes_of
from earmark.training.crossval import cross_validate
from earmark.training.folds import regrouped


def measure(project: Project, features: str, algorithm: str, draws: int, metric: str) -> dict[str, object]:
    """Scores of one combination over all draws of the folds."""
    dataset, _ = project.training_data(project.task.features(features))
    (recipe,) = recipes_of(project, TrainOptions(algorithms=(algorithm,)))
    function = METRICS[metric].function
    scores, first = [], None
    for draw in range(draws):
        rows = regrouped(dataset, 5, seed=draw)
        found = cross_validate(
            lambda: recipe.make(dataset.classes), rows, class_weight=recipe.class_weight, seed=recipe.seed
        )
        scores.append(float(function(rows.y, found.probabilities)))
        first = first or bootstrap_interval(
            function, rows.y, found.probabilities, np.asarray(rows.groups), 42
        )
    return {
        "features": features,
        "columns": len(dataset.columns),
        "algorithm": algorithm,
        "rows": len(dataset),
        "mean": float(np.mean(scores)),
        "spread": float(np.std(scores)),
        "interval": str(first),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("project", help="folder that `earmark prepare zones` has filled")
    parser.add_argument("--sets", default="texture,rich,full55,full51,fast10")
    parser.add_argument("--algorithms", default="random_forest,ordinal,xgboost")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--metric", default="balanced_accuracy")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    project = Project.open("zones", options.project)
    rows = [
        measure(project, features, algorithm, options.draws, options.metric)
        for features in options.sets.split(",")
        for algorithm in options.algorithms.split(",")
    ]
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{options.metric} over {options.draws} draws of 5 grouped folds, {rows[0]['rows']} rows")
    for row in rows:
        print(
            f"{row['features']:>10} {row['columns']:>4} columns  {row['algorithm']:<14} "
            f"{row['mean']:.3f} ± {row['spread']:.3f}   one draw: {row['interval']}"
        )


if __name__ == "__main__":
    main()
