"""A project with sealed items and real runs: two on the same rows, of which the second is much worse, and one on
others; the first has a report.
"""

import json

import numpy as np
import polars as pl
from click.testing import CliRunner

from earmark.cli.main import cli
from earmark.data.dataset import Dataset
from earmark.data.manifest import Manifest
from earmark.data.policy import SplitPolicy
from earmark.data.seal import SealedLabels, seal
from earmark.data.splits import Splits
from earmark.evaluation.metrics import METRICS
from earmark.evaluation.report import write_report
from earmark.evaluation.result import Evaluation
from earmark.training.recipe import Recipe
from earmark.training.train import train

CLASSES = ("YELLOW", "GREEN", "PURPLE")
RANKED = ("balanced_accuracy", "accuracy", "log_loss")


def project_of(folder, n_items=90):
    """Make it; returns the names of the runs: good, bad, other."""
    make_items(folder, n_items)
    runs = [
        make_run(folder, slug="good"),
        make_run(folder, slug="bad", informs=False),
        make_run(folder, slug="other", n=60),
    ]
    report_on(runs[0])
    return [run.name for run in runs]


def make_items(folder, n_items=90):
    """Items in groups of three, divided and sealed; the test set was opened once."""
    numbers = np.arange(n_items)
    table = pl.DataFrame(
        {
            "id": [f"track {number:03d}.flac" for number in numbers],
            "uri": [f"music/{number:03d}.flac" for number in numbers],
            "group": [None if number % 10 == 0 else f"album {number // 3}" for number in numbers],
            "label": [CLASSES[number // 3 % 3] for number in numbers],
            "duration_s": numbers / 7,
        }
    )
    manifest = Manifest(table, root=folder)
    data = folder / "data" / "zones"
    seal(data, manifest, Splits.make(manifest, SplitPolicy(group_on="group")))
    SealedLabels(data).open(run="an-earlier-run", reason="first look", commit="abc")


def make_run(folder, *, slug, informs=True, n=90):
    """A training of a few rows; without information the scores are those of chance."""
    rng = np.random.default_rng(3)
    y = np.arange(n) // 2 % 3
    values = rng.normal(size=(n, 4)).astype(np.float32)
    if informs:
        values[:, :2] += 3 * y[:, None]
    dataset = Dataset(
        ids=tuple(f"track {number:03d}.flac" for number in range(n)),
        columns=tuple(f"zones.column_{number}" for number in range(4)),
        X=values,
        y=y,
        classes=CLASSES,
        groups=np.array([f"album {number // 2}" for number in range(n)]),
        folds=np.arange(n) // 2 // 3 % 3,
    )
    metrics = {name: METRICS[name] for name in RANKED}
    recipe = Recipe("logistic", params={"strength": 0.01 if informs else 0.02})
    return train(
        recipe,
        dataset,
        root=folder / "runs",
        task="zones",
        metrics=metrics,
        rank_by=RANKED[0],
        slug=slug,
        settings={"features": "full51"},  # of other code: it is shown, but it answers nothing
        hashes={"features": "0" * 32},
    ).run


def report_on(run):
    """The report of its out-of-fold answers."""
    table = run.out_of_fold()
    evaluation = Evaluation(
        task=run.task,
        run=run.name,
        split="val",
        classes=run.classes,
        ids=tuple(table["id"]),
        paths=tuple(table["id"]),
        y=table["label"].to_numpy(),
        p=table.select([f"probability_{name}" for name in run.classes]).to_numpy(),
    )
    write_report(evaluation, run.path)


def printed(folder, *words):
    """What the command line prints as JSON."""
    result = CliRunner().invoke(cli, ["-C", str(folder), *words, "--format", "json"], catch_exceptions=False)
    return json.loads(result.stdout)
