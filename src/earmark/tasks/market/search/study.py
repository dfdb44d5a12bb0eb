"""Trials of one group, in an Optuna study in SQLite.

A trial is asked for, told every epoch, and ended as complete, pruned or failed. What was running when the process died
is found by the next start, marked as failed and tried again with the same values. Several processes may take trials of
one study; a lock beside the database makes sure that no more are taken than were asked for.

Reference: Akiba et al., "Optuna: a next-generation hyperparameter optimization framework", KDD 2019.
"""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from earmark.errors import EarmarkError, MissingExtraError, RunError
from earmark.models.sequence.base import StopTraining
from earmark.store.lock import in_turn
from earmark.tasks.market.search import scoring
from earmark.tasks.market.search.spaces import Choices, Decimal, Dimension, Group, settings_of

if TYPE_CHECKING:
    import optuna

    from earmark.models.estimator import Epoch, OnEpoch

__all__ = [
    "Ending",
    "GroupStudy",
    "Limits",
    "Method",
    "Objective",
    "TrialRow",
    "require_optuna",
    "require_winner",
]

Method = Literal["tpe", "grid", "random"]
Ending = Literal["all trials", "converged", "stopped"]

STARTUP_TRIALS = 3
"""Trials before the median means anything, to the pruner and to TPE."""
WARMUP_EPOCHS = 2
RETRY_OF = "retry_of"
_BUSY_S = 60
"""A process waits so long for another to end its transaction."""


class Objective(Protocol):
    """Trains with settings and scores the validation windows; it holds no test window."""

    @property
    def fingerprint(self) -> str:
        """Hash of the windows that are trained and scored on."""

    def __call__(self, settings: Mapping[str, Any], on_epoch: OnEpoch) -> Mapping[str, float]:
        """Scores as `scoring.scores_of` gives them."""


@dataclass(frozen=True)
class Limits:
    """When a group has been searched enough: ``patience`` 0 switches convergence off."""

    n_trials: int
    patience: int = scoring.CONVERGENCE_PATIENCE
    delta: float = scoring.CONVERGENCE_DELTA


@dataclass(frozen=True)
class TrialRow:
    """A trial as the results list it."""

    number: int
    state: str
    score: float | None
    values: dict[str, Any]
    scores: dict[str, float]
    epochs: int
    seconds: float | None
    error: str | None


class _Stopped(Exception):  # noqa: N818 - not an error
    """The user wants the search to end."""


def require_optuna() -> None:
    """Raise MissingExtraError where Optuna is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise MissingExtraError("optuna", "search", "A search over settings")


class GroupStudy:
    """The study of one group.

    Parameters
    ----------
    database : Path
    name : str
        Of the study; another name is another search in the same file.
    group : Group
    method : {"tpe", "grid", "random"}
    metric : str
    seed : int
    """

    def __init__(
        self, database: Path, name: str, group: Group, *, method: Method, metric: str, seed: int
    ) -> None:
        require_optuna()
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.group, self.method, self.metric, self.seed = group, method, metric, seed
        self._lock = database.with_suffix(".lock")
        self._distributions = {key: _distribution(value, method) for key, value in group.space.items()}
        database.parent.mkdir(parents=True, exist_ok=True)
        with in_turn(self._lock):
            self.study = optuna.create_study(
                study_name=name,
                storage=_storage(database),
                direction="maximize",
                load_if_exists=True,
            )
        # The seed counts the trials: what follows after a restart is not what came before it again.
        self.study.sampler = _sampler(method, seed + len(self.study.trials))
        self.study.pruner = optuna.pruners.MedianPruner(
            n_startup_trials=STARTUP_TRIALS, n_warmup_steps=WARMUP_EPOCHS
        )

    def retry_unfinished(self) -> int:
        """Mark what a dead process left running as failed and have it tried again; returns how many."""
        from optuna.trial import TrialState

        running = self.study.get_trials(states=(TrialState.RUNNING,))
        for trial in running:
            self._give_up(trial.number, trial.params)
        return len(running)

    def run(
        self,
        objective: Objective,
        frozen: Mapping[str, Any],
        limits: Limits,
        *,
        should_stop: Callable[[], bool],
        on_trial: Callable[[TrialRow], None],
    ) -> Ending:
        """Take trials until there were enough, none improves any more, or `should_stop` says so."""
        self._queue_grid(limits)
        while not should_stop():
            ending = self.ending(limits)
            if ending is not None:
                return ending
            trial = self._ask(limits)
            if trial is None:
                return "all trials"
            if not self._try(trial, objective, frozen, should_stop):
                return "stopped"
            on_trial(self.rows()[trial.number])
        return "stopped"

    def ending(self, limits: Limits) -> Ending | None:
        """Why no further trial is due; None while one is."""
        rows = [row for row in self.rows() if _counts(row)]
        if len(rows) >= self.n_wanted(limits):
            return "all trials"
        scores = [float("-inf") if row.score is None else row.score for row in rows]
        if scoring.has_converged(scores, patience=limits.patience, delta=limits.delta):
            return "converged"
        return None

    def n_wanted(self, limits: Limits) -> int:
        """Trials at most: a grid has no more points than it has."""
        return min(limits.n_trials, len(_points(self.group))) if self.method == "grid" else limits.n_trials

    def rows(self) -> list[TrialRow]:
        """All trials, oldest first."""
        return [_row(trial) for trial in self.study.get_trials(deepcopy=False)]

    def best(self) -> TrialRow | None:
        """The trial with the best score; None where none was completed."""
        done = [row for row in self.rows() if row.state == "complete" and row.score is not None]
        return max(done, key=lambda row: (row.score or 0.0, -row.number)) if done else None

    def _queue_grid(self, limits: Limits) -> None:
        """Queue the points of a grid, or as many of them drawn at random as were asked for."""
        if self.method != "grid":
            return
        points = _points(self.group)
        order = random.Random(self.seed).sample(range(len(points)), self.n_wanted(limits))
        with in_turn(self._lock):
            if not self.study.trials:
                for place in sorted(order):
                    self.study.enqueue_trial(points[place])

    def _ask(self, limits: Limits) -> optuna.Trial | None:
        """A new trial, unless others are already working on the last ones."""
        with in_turn(self._lock):
            taken = [row for row in self.rows() if _counts(row) or row.state == "running"]
            if len(taken) >= self.n_wanted(limits):
                return None
            return self.study.ask(self._distributions)

    def _try(
        self,
        trial: optuna.Trial,
        objective: Objective,
        frozen: Mapping[str, Any],
        should_stop: Callable[[], bool],
    ) -> bool:
        """Run a trial to its end and note it; False where the search was stopped on the way."""
        from optuna.trial import TrialState

        watcher = _Watcher(trial, self.group.metric or self.metric, should_stop)
        try:
            scores = objective(settings_of({**frozen, **settings_of(trial.params)}), watcher)
            watcher.raise_if_stopped()
        except _Stopped:
            self._give_up(trial.number, trial.params)
            return False
        except EarmarkError as error:
            trial.set_user_attr("error", str(error))
            self.study.tell(trial, state=TrialState.FAIL)
            return True
        except BaseException:
            self._give_up(trial.number, trial.params)
            raise
        trial.set_user_attr("scores", dict(scores))
        trial.set_user_attr("epochs", watcher.epochs)
        if watcher.is_pruned:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, scoring.objective(scores, self.group.metric or self.metric))
        return True

    def _give_up(self, number: int, params: Mapping[str, Any]) -> None:
        """Mark a trial as failed without a result, and queue its values again."""
        from optuna.trial import TrialState

        self.study.tell(number, state=TrialState.FAIL, skip_if_finished=True)
        if params:
            self.study.enqueue_trial(dict(params), user_attrs={RETRY_OF: number})


class _Watcher:
    """Tells the study of every epoch, and ends the fit where the pruner or the user wants it."""

    def __init__(self, trial: optuna.Trial, metric: str, should_stop: Callable[[], bool]) -> None:
        self.trial, self.metric, self.should_stop = trial, metric, should_stop
        self.epochs, self.is_pruned, self.is_stopped = 0, False, False

    def __call__(self, entry: Epoch) -> None:
        score = scoring.epoch_score(entry, self.metric)
        self.epochs += 1
        if score is not None:
            self.trial.report(score, self.epochs - 1)
            self.is_pruned = self.trial.should_prune()
        self.is_stopped = self.should_stop()
        if self.is_pruned or self.is_stopped:
            raise StopTraining

    def raise_if_stopped(self) -> None:
        """A fit takes the request to stop for its end; here it is not one."""
        if self.is_stopped:
            raise _Stopped


def _storage(database: Path) -> optuna.storages.RDBStorage:
    """The database, written ahead: a killed process loses nothing, and an epoch costs no wait for the disk."""
    from optuna.storages import RDBStorage
    from sqlalchemy import event

    storage = RDBStorage(f"sqlite:///{database}", engine_kwargs={"connect_args": {"timeout": _BUSY_S}})

    def prepare(connection: Any, record: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    event.listen(storage.engine, "connect", prepare)
    storage.engine.dispose()
    return storage


def _sampler(method: Method, seed: int) -> Any:
    import warnings

    from optuna import samplers

    if method != "tpe":
        return samplers.RandomSampler(seed=seed)  # of a grid the points are queued
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `multivariate` is called experimental since 2020
        return samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True)


def _distribution(dimension: Dimension, method: Method) -> Any:
    from optuna import distributions as d

    if method == "grid":
        return d.CategoricalDistribution(dimension.grid())
    if isinstance(dimension, Choices):
        return d.CategoricalDistribution(dimension.values)
    if isinstance(dimension, Decimal):
        return d.FloatDistribution(dimension.low, dimension.high, log=dimension.log)
    return d.IntDistribution(dimension.low, dimension.high, log=dimension.log)


def _points(group: Group) -> list[dict[str, Any]]:
    """The grid's points that differ in what they set: values without meaning beside others count once."""
    names = list(group.space)
    found: dict[str, dict[str, Any]] = {}
    for values in product(*(dimension.grid() for dimension in group.space.values())):
        point = dict(zip(names, values, strict=True))
        found.setdefault(repr(sorted(settings_of(point).items())), point)
    return list(found.values())


def _row(trial: Any) -> TrialRow:
    state = trial.state.name.lower()
    error = trial.user_attrs.get("error")
    seconds = None if trial.duration is None else round(trial.duration.total_seconds(), 3)
    return TrialRow(
        trial.number,
        "interrupted" if state == "fail" and error is None else state,
        trial.value if state == "complete" else None,
        dict(trial.params),
        dict(trial.user_attrs.get("scores", {})),
        int(trial.user_attrs.get("epochs", 0)),
        seconds,
        error,
    )


def _counts(row: TrialRow) -> bool:
    """Whether a trial came to an end of its own."""
    return row.state in ("complete", "pruned", "fail")


def require_winner(study: GroupStudy) -> TrialRow:
    """The best trial; raises RunError with the last reason where all failed."""
    best = study.best()
    if best is None:
        errors = [row.error for row in study.rows() if row.error is not None]
        raise RunError(
            f"No trial of group `{study.group.name}` came to an end; {len(errors)} failed, the last: "
            f"{errors[-1] if errors else 'all were pruned'}. Correct the settings and begin anew with --reset."
        )
    return best
