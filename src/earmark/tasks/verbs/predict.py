"""`predict`: files, folders and lists through the same features and cache as training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from earmark.errors import RunError, UsageError
from earmark.features.group import FeatureGroup
from earmark.features.progress import ProgressCallback
from earmark.inference.ladder import Method, ModelMethod, Predictor, RuleMethod, RulesFirst
from earmark.inference.prediction import Failed, Prediction
from earmark.models.decision import Decision, read_decision
from earmark.tasks.probe import require_same_features
from earmark.tasks.project import Project
from earmark.tasks.verbs.train import features_hash
from earmark.training.production import history, production_run
from earmark.training.runs import Run, best_run, list_runs, load_run, runs_on_same_rows

__all__ = ["METHODS", "Predicted", "chosen_run", "decision_of", "predict", "predictor_for"]

METHODS = ("model", "rules", "rules-first")


@dataclass(frozen=True)
class Predicted:
    """One outcome per input in the order given, and the run that answered (None where only rules did).

    ``decision`` is that of the run's ``thresholds.yaml``, None where it has none.
    """

    outcomes: tuple[Prediction | Failed, ...]
    run: Run | None
    decision: Decision | None = None

    @property
    def failures(self) -> tuple[Failed, ...]:
        """Inputs without an answer."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Failed))

    def to_json(self) -> list[dict[str, Any]]:
        """The array that ``predict --format json`` prints."""
        return [outcome.to_json() for outcome in self.outcomes]


def predict(
    project: Project,
    sources: Sequence[str],
    *,
    run: str | None = None,
    method: str = "model",
    threshold: float | None = None,
    workers: int | None = None,
    use_cache: bool = True,
    with_features: bool = False,
    progress: ProgressCallback | None = None,
) -> Predicted:
    """Predict inputs.

    Parameters
    ----------
    sources : sequence of str
        Files, folders, lists, patterns, URIs.
    run : str, optional
        Name of a run; default the promoted one, or the best of the newest training.
    method : {"model", "rules", "rules-first"}
    threshold : float, optional
        Confidence below which the model does not decide; default that of the settings, or of the run's
        ``thresholds.yaml``, whose other parts apply in any case.

    Raises
    ------
    UsageError
        No sources, or a method that the task does not have.
    RunError
        No run yet, or one whose ``thresholds.yaml`` cannot be used.
    """
    if not sources:
        raise UsageError("no input was given; name audio files, folders or playlists.")
    predictor, model_run = predictor_for(
        project,
        run=run,
        method=method,
        threshold=threshold,
        workers=workers,
        use_cache=use_cache,
        with_features=with_features,
    )
    outcomes = predictor.predict_sources(sources, progress=progress)
    if not outcomes:
        raise UsageError(f"there are no audio files in {', '.join(sources)}.")
    return Predicted(tuple(outcomes), model_run, None if model_run is None else decision_of(model_run))


def predictor_for(
    project: Project,
    *,
    run: str | None = None,
    method: str = "model",
    threshold: float | None = None,
    workers: int | None = None,
    use_cache: bool = True,
    with_features: bool = False,
) -> tuple[Predictor, Run | None]:
    """What answers for this project, batch or stream, and the run behind it; parameters as in `predict`."""
    if method not in METHODS:
        raise UsageError(f"method {method!r}: expected one of {', '.join(METHODS)}.")
    model_run = None if method == "rules" else chosen_run(project, run)
    if threshold is None:
        threshold = project.settings.predict.threshold
    answering, groups = _method(project, method, model_run, threshold)
    task, abstention = project.task, project.task.abstention
    asked = list(task.extras.values())
    if abstention is not None:
        asked += [(abstention.features, column) for column in abstention.columns]
    more = [g for name, column in asked for g in task.features(name).groups if column in g.column_names]
    predictor = Predictor(
        answering,
        list({group.name: group for group in [*groups, *more]}.values()),
        project.cache if use_cache else None,
        workers=workers,
        extras={name: column for name, (_, column) in task.extras.items()},
        run=model_run.name if model_run else None,
        with_features=with_features,
        abstention=abstention,
        **({"uncertain": task.uncertain} if task.uncertain else {}),
    )
    return predictor, model_run


def decision_of(run: Run) -> Decision | None:
    """The decision that `thresholds` gave the run, or None."""
    return read_decision(run.path, run.classes)


def chosen_run(project: Project, name: str | None = None) -> Run:
    """The named run; else the promoted one; else the best on the newest run's rows, of today's code if any is.

    A demonstration of leakage answers only where it is named. Detectors of devices are not asked for their code: the
    features that they read are recorded in their own cards.
    """
    name = name or project.settings.predict.run
    task = project.task.name
    if name:
        return load_run(name, root=project.runs_folder, task=task)
    if history(project.runs_folder, task):
        return production_run(project.runs_folder, task)
    runs = [run for run in list_runs(project.runs_folder, task) if not run.is_leaky]
    if not runs:
        raise RunError(
            f"`{project.runs_folder}` holds no run of {task}. Run: earmark train {project.spelled}"
        )
    newest = runs[-1].config
    rivals = runs_on_same_rows(runs, runs[-1])
    return best_run(
        [run for run in rivals if _has_current_features(project, run)] or rivals, newest["rank_by"]
    )


def _has_current_features(project: Project, run: Run) -> bool:
    if run.is_detector:
        return True
    name = run.config["settings"].get("features")  # a run of the library's own `train` may name none
    if name is None or name not in project.task.feature_sets:
        return False
    current: bool = features_hash(project, project.task.features(name)) == run.config["hashes"]["features"]
    return current


def _method(
    project: Project, method: str, run: Run | None, threshold: float | None
) -> tuple[Method, list[FeatureGroup]]:
    task = project.task
    model = None
    groups: list[FeatureGroup] = []
    if run is not None:
        features = task.features(run.config["settings"]["features"])
        if not _has_current_features(project, run):
            require_same_features(run.name, features, run.config["settings"].get("probe", {}))
        model = ModelMethod(run.classifier(), decision_of(run), threshold)
        groups += features.groups
    if method == "model":
        assert model is not None
        return model, groups
    if task.rule_set is None:
        raise UsageError(f"task `{task.name}` has no rules; use --method model.")
    rules = RuleMethod(task.rule_set)
    groups += task.features(task.rule_features).groups
    return (rules if model is None else RulesFirst(rules, model, task.rules_enough)), groups
