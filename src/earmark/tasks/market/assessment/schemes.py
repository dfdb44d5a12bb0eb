"""`earmark evaluate market --walk-forward` and `--cpcv`: the configuration of a run, trained anew on splits of time.

One trained model has one test part, and a good score there may be the luck of a calm week. Here the run's model, with
its parameters and its scaling, is trained on every split of the training and validation windows; the test part and the
sealed period stay what they are. With `pbo` the models that a user would otherwise take are trained beside it, which
gives the probability that choosing the best of them is luck.

The Sharpe ratio is deflated for the trials of a search for such a model: the more was tried, the better the best looks
by chance.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from earmark.tasks.market.assessment.evaluate import require_same_data
from earmark.tasks.market.prepare import load_prepared
from earmark.tasks.market.training.analyses import alternatives_to, before_test, trials_before
from earmark.tasks.market.validation_schemes import (
    ROUND_TRIP_COST,
    Configuration,
    SchemeReport,
    cpcv_report,
    walk_forward_report,
)

if TYPE_CHECKING:
    from earmark.features.progress import ProgressCallback
    from earmark.models.sequence.classifier import Scaling
    from earmark.training.runs import Run

__all__ = ["SchemeOptions", "SchemeResult", "configurations_of", "evaluate_scheme"]

Scheme = Literal["walk_forward", "cpcv"]


@dataclass(frozen=True)
class SchemeOptions:
    """How the time is split.

    Attributes
    ----------
    scheme : {"walk_forward", "cpcv"}
    folds : int
        Of the walk-forward.
    groups, test_groups : int
        Stretches of time of CPCV, and how many of them a split tests.
    pbo : bool
        Train other models beside, for the probability of backtest overfitting.
    cost : float
        Of one position in and out, as a fraction.
    """

    scheme: Scheme
    folds: int = 5
    groups: int = 6
    test_groups: int = 2
    pbo: bool = False
    cost: float = ROUND_TRIP_COST


@dataclass(frozen=True, eq=False)
class SchemeResult:
    """The report of all splits and paths, and the folder of its files (None where none was written)."""

    report: SchemeReport
    run: str
    folder: Path | None

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {"run": self.run, **self.report.to_json()}

    def sentence(self) -> str:
        """What was found, for readers."""
        chosen = self.report.selection
        of = f" of {chosen.n_configurations} models" if chosen.n_configurations > 1 else ""
        found = (
            f"{len(self.report.splits)} splits were trained. The Sharpe ratio{of} is {chosen.sharpe:.2f} "
            f"({chosen.best}, {self.report.annualisation}, cost {self.report.cost:.3%}); with {chosen.n_trials} tried, "
            f"it is no luck with probability {chosen.deflated_sharpe:.3f}"
            f"{'' if chosen.is_significant else ', which is not significant'}."
        )
        if chosen.pbo is not None:
            return f"{found} Probability of backtest overfitting: {chosen.pbo:.3f} ({chosen.band})."
        return f"{found} {chosen.why_not}." if chosen.why_not and chosen.n_configurations > 1 else found


def evaluate_scheme(
    project: str | Path,
    run: Run,
    options: SchemeOptions,
    *,
    save: bool = True,
    output: Path | None = None,
    tell: ProgressCallback | None = None,
) -> SchemeResult:
    """Train the configuration of a run on every split, and score what each predicts.

    Parameters
    ----------
    project : path
    run : Run
    options : SchemeOptions
    save : bool
        Write ``<scheme>.json``, ``splits.csv`` and ``paths.csv`` into ``evaluation/<scheme>`` of the run.
    output : Path, optional
        Another folder for them.
    tell : callable, optional
        Told each split that is done.

    Raises
    ------
    RunError
        The run was trained on another division of the data.
    UsageError
        There are too few windows for so many splits.
    """
    prepared = load_prepared(project)
    require_same_data(run, prepared)
    configurations = configurations_of(run, pbo=options.pbo)
    windows = before_test(prepared.parts())
    given: dict[str, Any] = {
        "cost": options.cost,
        "n_trials": trials_before(project, run.algorithm),
        "seed": int(run.config["settings"].get("seed", 42)),
        "on_split": _telling(options.scheme, tell),
    }
    if options.scheme == "walk_forward":
        report = walk_forward_report(windows, configurations, n=options.folds, **given)
    else:
        report = cpcv_report(windows, configurations, n_groups=options.groups, k=options.test_groups, **given)
    folder = (output or run.path / "evaluation" / options.scheme) if save or output is not None else None
    found = SchemeResult(report, run.name, folder)
    if folder is not None:
        _write(found, folder)
    return found


def configurations_of(run: Run, *, pbo: bool) -> list[Configuration]:
    """That of a run as it is recorded; with `pbo`, those of the models that it is compared with."""
    from earmark.models.sequence.classifier import Scaling, SequenceClassifier

    recipe: Mapping[str, Any] = run.config["recipe"]
    scaling: Scaling = Scaling(**recipe["scaling"])

    def own() -> SequenceClassifier:
        return SequenceClassifier.make(
            recipe["algorithm"], classes=run.classes, scaling=scaling, **recipe["params"]
        )

    return [Configuration(run.algorithm, own), *(alternatives_to(run.algorithm, scaling) if pbo else ())]


def _telling(scheme: str, tell: ProgressCallback | None) -> Any:
    from earmark.features.progress import Progress

    if tell is None:
        return None
    stage = scheme.replace("_", "-")
    return lambda name, done, total: tell(Progress(stage, done, total, message=name))


def _write(found: SchemeResult, folder: Path) -> None:
    from earmark.data.parquet import write_bytes_atomic
    from earmark.evaluation.tables import csv_text

    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found.to_json(), indent=1, allow_nan=False) + "\n"
    write_bytes_atomic(folder / f"{found.report.scheme}.json", text.encode())
    for name, rows in (("splits", found.report.split_rows()), ("paths", found.report.path_rows())):
        write_bytes_atomic(folder / f"{name}.csv", csv_text(rows).encode())
