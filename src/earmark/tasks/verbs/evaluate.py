"""`evaluate`: score a run out of fold, or on the sealed test set, and write its report.

``val`` uses the probabilities that cross-validation left: every item scored by a model that never saw its group.
``test`` opens the seal, which the ledger records first, and scores the final model. Baselines are scored on the same
items in both cases. Items that only train are scored out of fold too, apart from the others, and compared with them
feature by feature; on the sealed test they have no part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from earmark.data.dataset import Dataset, test_dataset
from earmark.data.seal import LEDGER_FILE, read_ledger
from earmark.errors import RunError, UsageError
from earmark.evaluation import baselines as baseline
from earmark.evaluation.baselines import Baseline
from earmark.evaluation.domain_shift import DomainShift, domain_shift
from earmark.evaluation.goals import SPLITS
from earmark.evaluation.importance import permutation_importance
from earmark.evaluation.label_issues import require_reviewable
from earmark.evaluation.plane import principal_plane
from earmark.evaluation.report import write_report
from earmark.evaluation.result import Evaluation, Opening, SetAside, Stage
from earmark.evaluation.sources import SourceScore, score_by_source
from earmark.features.item import Item
from earmark.features.progress import ProgressCallback
from earmark.features.sets import FeatureSet
from earmark.features.table import FeatureTable
from earmark.tasks.project import Project
from earmark.tasks.task import AnalysisRequest
from earmark.tasks.verbs.analyses import require_analyses, run_analysis
from earmark.tasks.verbs.label_issues import review_labels
from earmark.tasks.verbs.rows import rows_of_run
from earmark.tasks.verbs.train import baseline_runs
from earmark.training.runs import Run, list_runs, runs_on_same_rows

__all__ = ["Evaluated", "Extras", "Scored", "baselines_of", "evaluate", "scored_rows"]


@dataclass(frozen=True)
class Extras:
    """What an evaluation does besides scoring.

    Parameters
    ----------
    label_issues : bool
        Review the labels out of fold; not on the sealed test. Needs cleanlab.
    analyses : tuple of str
        Names of the task's own analyses.
    options : mapping
        What the analyses are told.
    """

    label_issues: bool = False
    analyses: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluated:
    """The evaluation, the run, the folder of its report, and the files of a label review."""

    evaluation: Evaluation
    run: Run
    folder: Path
    review_files: tuple[Path, ...] = ()

    @property
    def report(self) -> Path:
        """The self-contained HTML report."""
        return self.folder / "report.html"


@dataclass(frozen=True)
class Scored:
    """Rows to score with the model's probabilities, shape (n, n_classes).

    ``answers`` is what the manifest, or behind the seal the sealed table, says of each row, by id.
    """

    data: Dataset
    p: np.ndarray
    table: FeatureTable
    openings: tuple[Opening, ...]
    answers: Mapping[str, Mapping[str, Any]]


def evaluate(
    project: Project,
    run: Run,
    *,
    split: str = "val",
    reason: str = "evaluate --split test",
    output: Path | None = None,
    extras: Extras | None = None,
    progress: ProgressCallback | None = None,
) -> Evaluated:
    """Score a run and write its report into the run's folder (``test/`` below it for the test set).

    Parameters
    ----------
    project : Project
    run : Run
    split : {"val", "test"}
    reason : str
        Why the seal is opened; kept in the ledger.
    output : Path, optional
        Another folder for the files.
    extras : Extras, optional
        A review of the labels, and analyses of the task's own.

    Raises
    ------
    RunError
        The data or feature code changed since the run.
    SealError
        The sealed labels were changed or are missing, or a review of them was asked for.
    UsageError
        No such split or analysis.
    """
    extras = extras or Extras()
    _require_possible(project, split, extras)
    features = project.task.features(run.config["settings"]["features"])
    dataset, table = rows_of_run(project, run, progress)
    auxiliary = _auxiliary(project, run, features, progress)
    _require_same_data(run, dataset, auxiliary)
    scored = _scored(project, run, split, dataset, table, reason, progress)
    folder = output or (run.path if split == "val" else run.path / "test")
    evaluation = _evaluation(project, run, dataset, scored, auxiliary, split)
    request = AnalysisRequest(project, run, dataset, auxiliary, evaluation, folder, extras.options)
    evaluation, review_files = _extended(request, extras)
    write_report(evaluation, folder)
    return Evaluated(evaluation, run, folder, review_files)


def scored_rows(
    project: Project,
    run: Run,
    split: str = "val",
    *,
    reason: str = "evaluate --split test",
    progress: ProgressCallback | None = None,
) -> Scored:
    """The rows of a split with the run's probabilities: what any table of scores is made of.

    Parameters and errors as in `evaluate`; for ``test`` the seal is opened, which the ledger records first.
    """
    _require_possible(project, split, Extras())
    features = project.task.features(run.config["settings"]["features"])
    dataset, table = rows_of_run(project, run, progress)
    _require_same_data(run, dataset, _auxiliary(project, run, features, progress))
    return _scored(project, run, split, dataset, table, reason, progress)


def _scored(
    project: Project,
    run: Run,
    split: str,
    dataset: Dataset,
    table: FeatureTable,
    reason: str,
    progress: ProgressCallback | None,
) -> Scored:
    if split == "val":
        return _out_of_fold(project, run, dataset, table)
    features = project.task.features(run.config["settings"]["features"])
    return _sealed(project, run, features, reason, progress)


def _require_possible(project: Project, split: str, extras: Extras) -> None:
    """Refuse before any work, above all before the seal is opened."""
    if split not in SPLITS:
        raise UsageError(f"split {split!r}: expected val (out of fold) or test (opens the seal).")
    require_analyses(project.task, extras.analyses)
    if extras.label_issues:
        require_reviewable(split)


def _evaluation(
    project: Project, run: Run, dataset: Dataset, scored: Scored, auxiliary: Dataset | None, split: str
) -> Evaluation:
    features = project.task.features(run.config["settings"]["features"])
    rivals = runs_on_same_rows(list_runs(project.runs_folder, project.task.name), run)
    data, seed = scored.data, project.settings.seed
    out_of_fold = split == "val"
    return Evaluation(
        task=project.task.name,
        run=run.name,
        split=split,
        classes=dataset.classes,
        ids=data.ids,
        paths=_paths(project, data.ids),
        y=data.y,
        p=scored.p,
        groups=np.asarray(data.groups),
        folds=data.folds if out_of_fold else None,
        baselines=tuple(baselines_of(project, dataset, data, split)),
        headline=run.config["rank_by"],
        goals=tuple(project.task.goals),
        importance=_importance(run, dataset),
        sources=_sources(run, scored, seed, out_of_fold=out_of_fold),
        shift=_shift(project, dataset, auxiliary, features) if out_of_fold else None,
        plane=principal_plane(data.X, data.columns, dataset.X),
        set_aside=tuple(SetAside(failure.uri, failure.error) for failure in scored.table.failures),
        stages=tuple(_stages(project, features, run)),
        openings=scored.openings or _openings(project),
        facts=_facts(project, run, dataset, rivals),
        class_colours=dict(project.task.class_colours),
        item_noun=project.task.item_noun,
        created=run.config["created"],
        seed=seed,
        warnings=tuple(_warnings(project, run, dataset, split, rivals)),
    )


def _extended(request: AnalysisRequest, extras: Extras) -> tuple[Evaluation, tuple[Path, ...]]:
    """The evaluation with what was asked for besides, and the files of the label review."""
    evaluation = request.evaluation
    files: tuple[Path, ...] = ()
    if extras.label_issues:
        review, files = review_labels(evaluation, request.folder)
        evaluation = replace(evaluation, label_review=review)
    names = dict.fromkeys(extras.analyses)
    return replace(evaluation, analyses=tuple(run_analysis(name, request) for name in names)), files


def _auxiliary(
    project: Project, run: Run, features: FeatureSet, progress: ProgressCallback | None
) -> Dataset | None:
    """The rows that only train; none for a run without them where theirs are tables in other units."""
    if "auxiliary" not in run.config["hashes"] and project.needs_mapping(features):
        return None
    return project.auxiliary_data(features, progress)


def _shift(
    project: Project, ours: Dataset, theirs: Dataset | None, features: FeatureSet
) -> DomainShift | None:
    """How far the sources are apart, in the columns that mean the same on both sides; None without any."""
    foreign = set(project.needs_mapping(features))
    shared = [column for column in ours.columns if column not in foreign]
    if theirs is None or not shared:
        return None
    return domain_shift(ours.select(shared), theirs.select(shared), seed=project.settings.seed)


def _sources(run: Run, scored: Scored, seed: int, *, out_of_fold: bool) -> tuple[SourceScore, ...]:
    """Scores per source of the scored items, then of those that only train."""
    data = scored.data
    own = score_by_source(data.y, scored.p, data.sources, data.groups, seed=seed)
    rows = run.auxiliary_out_of_fold() if out_of_fold else None
    if rows is None:
        return own
    p = rows.select([f"probability_{name}" for name in data.classes]).to_numpy()
    y, sources, groups = (rows[name].to_numpy() for name in ("label", "source", "group"))
    return own + score_by_source(y, p, sources, groups, in_headline=False, seed=seed)


def _require_same_data(run: Run, dataset: Dataset, auxiliary: Dataset | None) -> None:
    """Refuse data other than the run's; rows that only train may have been added since, but not have changed."""
    trained = run.config["hashes"]["dataset"]
    if trained != dataset.hash:
        raise RunError(
            f"`{run.name}` was trained on data {trained[:8]}; labels, splits or feature code have changed since (now "
            f"{dataset.hash[:8]}), so its scores would not be of this data. Train again."
        )
    beside = run.config["hashes"].get("auxiliary")
    now = None if auxiliary is None else auxiliary.hash
    if beside is not None and beside != now:
        raise RunError(
            f"`{run.name}` was trained with auxiliary rows {beside[:8]}; they have changed since (now "
            f"{(now or 'none')[:8]}), so its scores of them would not be of this data. Train again."
        )


def _out_of_fold(project: Project, run: Run, dataset: Dataset, table: FeatureTable) -> Scored:
    rows = run.out_of_fold()
    if rows["id"].to_list() != list(dataset.ids):
        raise RunError(f"`{run.name}` holds other rows than the dataset. Train again.")
    p = rows.select([f"probability_{name}" for name in dataset.classes]).to_numpy()
    return Scored(dataset, p, table, (), _answers(project, dataset.ids))


def _sealed(
    project: Project, run: Run, features: FeatureSet, reason: str, progress: ProgressCallback | None
) -> Scored:
    items = project.manifest.subset(project.splits.test_ids)
    table = project.features_or_tables(features, list(items), progress)
    opening = project.sealed.open(run=run.name, reason=reason, commit=run.config["hashes"]["code"])
    data = test_dataset(
        opening, table, run.classes, columns=features.columns, soft_labels=project.task.soft_labels
    )
    p = run.classifier().predict_proba(data.X, data.columns)
    sealed = {row["id"]: row for row in opening.rows}
    answers = {id: {**row, **sealed[id]} for id, row in _answers(project, data.ids).items()}
    return Scored(data, p, table, _openings(project), answers)


def _answers(project: Project, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in project.manifest.subset(ids).table.iter_rows(named=True)}


def _openings(project: Project) -> tuple[Opening, ...]:
    events = read_ledger(project.data_folder / LEDGER_FILE)
    return tuple(
        Opening(event["when"], event["run"], event.get("reason", ""))
        for event in events
        if event["event"] == "open"
    )


def _paths(project: Project, ids: Sequence[str]) -> tuple[str, ...]:
    where = {item.id: item.uri for item in project.manifest}
    return tuple(where[id] for id in ids)


def baselines_of(project: Project, training: Dataset, scored: Dataset, split: str) -> list[Baseline]:
    """The baselines of the task on the rows of a split: majority, class shares, its rules, its plain feature sets."""
    n_classes = len(training.classes)
    found: list[Baseline] = (
        [
            baseline.majority(scored.y, scored.folds, n_classes),
            baseline.prior(scored.y, scored.folds, n_classes),
        ]
        if split == "val"
        else [
            baseline.majority_of(training.y, len(scored), n_classes),
            baseline.prior_of(training.y, len(scored), n_classes),
        ]
    )
    items = list(project.manifest.subset(scored.ids))
    for rule in project.task.rules:
        if _has_gap(project, rule.features, items):
            continue
        table = _values(project, rule.features, items, scored.ids, rule.columns)
        values = {name: table[:, position] for position, name in enumerate(rule.columns)}
        found.append(baseline.rule(rule.name, rule.answer, values, n_classes, description=rule.description))
    for name, run in baseline_runs(project, training).items():
        if _has_gap(project, name, items):
            continue
        columns = project.task.features(name).columns
        if split == "val":
            p = run.out_of_fold().select([f"probability_{label}" for label in training.classes]).to_numpy()
        else:
            p = run.classifier().predict_proba(_values(project, name, items, scored.ids, columns), columns)
        found.append(
            baseline.model(f"{name} {run.algorithm}", p, description=f"{run.algorithm} on feature set {name}")
        )
    return found


def _values(
    project: Project, features: str, items: Sequence[Item], ids: Sequence[str], columns: Sequence[str]
) -> np.ndarray:
    """Columns of a feature set for `ids`, in their order, shape (n, n_columns)."""
    table = project.features_or_tables(project.task.features(features), items).select(columns)
    row = {id: position for position, id in enumerate(table.ids)}
    missing = [id for id in ids if id not in row]
    if missing:
        reasons = "; ".join(failure.error for failure in table.failures[:3])
        raise RunError(f"{', '.join(missing[:5])} have no features `{features}` for a baseline: {reasons}")
    return table.values[[row[id] for id in ids]]


def _importance(run: Run, dataset: Dataset) -> tuple[Any, ...]:
    return permutation_importance(
        run.fold_classifiers(),
        dataset.X,
        dataset.columns,
        dataset.y,
        dataset.folds,
        metric=run.config["rank_by"],
        seed=run.config["recipe"]["seed"],
    )


def _stages(project: Project, features: FeatureSet, run: Run) -> list[Stage]:
    """What the current code of each group has cost so far, and the training."""
    stages = []
    for name, digest in project.digests(features.groups).items():
        for record in project.cache.records(name):
            if record.digest == digest:
                stages.append(Stage(f"features {name}", record.usage.seconds, computed=record.usage.computed))
    return [*stages, Stage(f"train {run.algorithm}", run.config["seconds"], computed=run.config["rows"])]


def _facts(
    project: Project, run: Run, dataset: Dataset, rivals: Sequence[Run]
) -> dict[str, dict[str, object]]:
    config = run.config
    return {
        "Model": {
            "algorithm": run.algorithm,
            "features": config["settings"]["features"],
            **config["recipe"]["params"],
        },
        "Data": {
            "training rows": len(dataset),
            "columns": len(dataset.columns),
            "folds": config["folds"],
            "groups": config["groups"],
            "sealed test items": len(project.splits.test_ids),
            **{f"training {name}": count for name, count in dataset.class_counts.items()},
        },
        f"Runs on the same rows ({config['rank_by'].replace('_', ' ')}, out of fold)": {
            rival.name: _score(rival) for rival in rivals
        },
        "Hashes": dict(config["hashes"]),
        "Versions": dict(config["versions"]),
        "Seeds": {"split": project.splits.policy.seed, "training": config["recipe"]["seed"]},
    }


def _score(run: Run) -> str:
    value = run.metrics.get(run.config["rank_by"], {}).get("value")
    return "undefined" if value is None else f"{value:.3f}"


def _warnings(project: Project, run: Run, dataset: Dataset, split: str, rivals: Sequence[Run]) -> list[str]:
    found = [*run.config["fit"].get("warnings", []), *project.splits.warnings]
    if dataset.missing_classes:
        found.append(
            f"no training item is labelled {', '.join(dataset.missing_classes)}: it is never predicted."
        )
    table = project.manifest.table
    if "label_origin" in table.columns and (table["label_origin"] == "pseudo").any():
        found.append(
            "some labels were made by a rule: these scores say how well the rule is learned, not the zones."
        )
    found += _of_tables(project, run, split)
    if split == "val" and len(rivals) > 1:
        found.append(
            f"this is one of {len(rivals)} runs on the same rows; choosing the best of them by these scores makes its "
            "own score somewhat too good. The sealed test set is not part of that choice."
        )
    return found


def _of_tables(project: Project, run: Run, split: str) -> list[str]:
    """What cannot be said where somebody else's tables stand in for audio."""
    features, splits = project.task.features(run.config["settings"]["features"]), project.splits
    scored = list(project.manifest.subset([*splits.train_ids, *splits.test_ids]))
    foreign, found = project.needs_mapping(features), []
    if foreign and split == "val" and "auxiliary" in run.config["hashes"]:
        found.append(
            f"{len(foreign)} of {len(features.columns)} features of the second source come from tables in other units; "
            "the sources are compared in the others only."
        )
    names = [rule.name for rule in project.task.rules if _has_gap(project, rule.features, scored)]
    names += [name for name in project.task.baselines if _has_gap(project, name, scored)]
    if names:
        found.append(f"tables without audio cannot say what the baselines {', '.join(names)} need: left out.")
    return found


def _has_gap(project: Project, features: str, items: Sequence[Item]) -> bool:
    return bool(project.table_gaps(project.task.features(features), items))
