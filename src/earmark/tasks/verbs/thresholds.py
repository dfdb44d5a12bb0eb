"""`thresholds`: how a run's probabilities become labels, chosen on its out-of-fold rows.

Everything comes from what the run keeps: out-of-fold probabilities, labels, folds and groups of its training rows.
No features, no audio and no sealed item are touched, and the run's model files stay as they are. What is left in the
run's folder:

=========================== ===================================================================================
``thresholds.yaml``         the decision, which `predict` and `stream` then use; an earlier one is kept beside it
``thresholds_coverage.csv`` ``threshold,coverage,accuracy,n``: what any other threshold would give
``thresholds_coverage.png`` the same as a figure
=========================== ===================================================================================

Scores "after" are of rows that took no part in the choice (`earmark.training.thresholds`); "same rows" are of the
final decision on the rows that chose it, and too good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import SealError, UsageError
from earmark.evaluation.decision_scores import DecisionScores, coverage_curve_of, gains, score_decisions
from earmark.evaluation.intervals import Difference
from earmark.evaluation.metrics import CoverageCurve
from earmark.models.decision import Decision, read_costs, read_decision, read_record, write_decision
from earmark.tasks.project import Project
from earmark.training.runs import Run
from earmark.training.thresholds import COSTS, Chosen, Rows, Wanted, choose

__all__ = ["Tuned", "decision_summary", "refuse_sealed", "thresholds", "wanted_of"]

CURVE_FILES = ("thresholds_coverage.csv", "thresholds_coverage.png")


@dataclass(frozen=True)
class Tuned:
    """What was chosen for a run, its scores, and the files written (none in a dry run).

    ``before`` are the scores of the most probable class, ``after`` honest ones of the decision, ``same_rows`` those on
    the rows that chose it; ``differences`` are after minus before, of the metrics that both have.
    """

    run: Run
    wanted: Wanted
    chosen: Chosen
    n: int
    before: DecisionScores
    after: DecisionScores
    same_rows: DecisionScores
    differences: Mapping[str, Difference]
    curve: CoverageCurve
    files: tuple[Path, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The document of ``thresholds --format json``."""
        return {
            "task": self.run.task,
            "run": self.run.name,
            "n": self.n,
            "wanted": self.wanted.to_dict(),
            "decision": self.chosen.decision.to_dict(),
            "calibration_losses": self.chosen.losses,
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "same_rows": self.same_rows.to_json(),
            "differences": {name: gap.to_json() for name, gap in self.differences.items()},
            "warnings": list(self.chosen.warnings),
            "files": [str(path) for path in self.files],
        }

    def rows(self) -> list[dict[str, Any]]:
        """One row per score: before, after with the bounds of its interval, and on the same rows."""
        before, same = _named(self.before), _named(self.same_rows)
        return [
            {
                "score": name,
                "before": before[name].value if name in before else None,
                "after": score.value,
                "low": score.low,
                "high": score.high,
                "same_rows": same[name].value,
            }
            for name, score in _named(self.after).items()
        ]


def wanted_of(
    project: Project,
    run: Run,
    *,
    calibration: str = "auto",
    cost: str = "auto",
    coverage: float | None = None,
    accuracy: float | None = None,
    recall: Mapping[str, float] | None = None,
) -> Wanted:
    """What a user asks for, with a cost file read (relative to the project folder) and classes in any case.

    Raises
    ------
    UsageError
        A share out of range, an unknown class, calibration or cost, or a file that holds no costs.
    """
    names = {name.casefold(): name for name in run.classes}
    wishes = {names.get(name.casefold(), name): share for name, share in (recall or {}).items()}
    path = project.root / cost
    if cost not in COSTS and not path.is_file():
        raise UsageError(f"--cost {cost}: expected one of {', '.join(COSTS)}, or a file of costs.")
    costs = cost if cost in COSTS else read_costs(path, run.classes)
    return Wanted(calibration, costs, coverage, accuracy, wishes)


def thresholds(project: Project, run: Run, wanted: Wanted | None = None, *, dry_run: bool = False) -> Tuned:
    """Choose the decision of a run and write it into the run's folder.

    Parameters
    ----------
    project : Project
    run : Run
    wanted : Wanted, optional
        Default: the best calibration, nothing else.
    dry_run : bool
        Write nothing.

    Raises
    ------
    UsageError
        A recall or accuracy that cannot be reached; the message says what can.
    SealError
        An item of the run is sealed by now.
    """
    wanted = wanted or Wanted()
    refuse_sealed(project, run)
    rows, seed = Rows.from_run(run), project.settings.seed
    chosen = choose(rows, wanted)
    plain = Decision(rows.classes).decide(rows.p)

    def scores(decided: Any) -> DecisionScores:
        costs = chosen.decision.costs
        return score_decisions(rows.y, decided, rows.classes, rows.groups, seed, costs=costs)

    tuned = Tuned(
        run=run,
        wanted=wanted,
        chosen=chosen,
        n=len(rows.y),
        before=scores(plain),
        after=scores(chosen.nested),
        same_rows=scores(chosen.same_rows),
        differences=gains(rows.y, plain, chosen.nested, rows.groups, seed),
        curve=coverage_curve_of(rows.y, chosen.nested),
    )
    return tuned if dry_run else replace(tuned, files=_write(tuned))


def decision_summary(run: Run, seed: int = 42) -> dict[str, Any] | None:
    """What a report may say of a run's decision, or None if it has none.

    Returns
    -------
    dict
        ``decision`` as in its file; ``before`` and ``same_rows``, scores on the run's out-of-fold rows without and with
        it, as in `DecisionScores.to_json`; ``record``, what was found when it was chosen, among it the honest scores
        ``after``; None where the file does not say.
    """
    decision = read_decision(run.path, run.classes)
    if decision is None:
        return None
    rows = Rows.from_run(run)
    found = {
        name: score_decisions(
            rows.y, one.decide(rows.p), rows.classes, rows.groups, seed, costs=decision.costs
        ).to_json()
        for name, one in (("before", Decision(rows.classes)), ("same_rows", decision))
    }
    return {"decision": decision.to_dict(), **found, "record": read_record(run.path)}


def refuse_sealed(project: Project, run: Run) -> None:
    """A later preparation may have sealed items that the run was trained on."""
    if not project.is_prepared:
        return
    sealed = sorted(set(project.splits.test_ids) & set(run.out_of_fold()["id"]))
    if sealed:
        raise SealError(
            f"{len(sealed)} of the rows of `{run.name}` are sealed as test items by now, such as {sealed[0]}; "
            f"thresholds are never chosen on test items. Train again: earmark train {project.spelled}"
        )


def _write(tuned: Tuned) -> tuple[Path, ...]:
    from earmark.evaluation.plots import coverage_figure, save_png

    folder, points = tuned.run.path, tuned.curve
    table, figure = (folder / name for name in CURVE_FILES)
    n = np.rint(points.coverage * tuned.n).astype(int)
    lines = zip(points.threshold, points.coverage, points.accuracy, n, strict=True)
    text = "".join(f"{t:.6f},{share:.6f},{right:.6f},{count}\n" for t, share, right, count in lines)
    write_bytes_atomic(table, f"threshold,coverage,accuracy,n\n{text}".encode())
    save_png(coverage_figure(points), figure)
    # Last, since it is what takes effect.
    decision = write_decision(folder, tuned.chosen.decision, _record(tuned))
    return decision, table, figure


def _record(tuned: Tuned) -> dict[str, Any]:
    return {
        "run": tuned.run.name,
        "rows": tuned.n,
        "wanted": tuned.wanted.to_dict(),
        "before": _values(tuned.before),
        "after": _values(tuned.after),
    }


def _values(scores: DecisionScores) -> dict[str, float | None]:
    return {
        name: None if np.isnan(score.value) else round(score.value, 4)
        for name, score in _named(scores).items()
    }


def _named(scores: DecisionScores) -> dict[str, Any]:
    return {**scores.metrics, **{f"recall {name}": score for name, score in scores.recall.items()}}
