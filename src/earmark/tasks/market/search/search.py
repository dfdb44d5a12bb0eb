"""The search: one group of settings after another, each winner frozen before the next group begins.

A search may be interrupted by Ctrl-C, killed, or run out of its time; the same request goes on where it was. A request
for something else is refused until the first is finished or reset, so that no result is lost by a slip.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from earmark.errors import RunError, UsageError
from earmark.tasks.market.search import scoring
from earmark.tasks.market.search.spaces import Group, around, group_named, groups_for, settings_of
from earmark.tasks.market.search.state import Folder, GroupResult, SearchState, Status
from earmark.tasks.market.search.study import (
    Ending,
    GroupStudy,
    Limits,
    Method,
    Objective,
    TrialRow,
    require_optuna,
    require_winner,
)

__all__ = ["MODES", "SearchRequest", "Searched", "continued", "kept_settings", "plan", "search"]

Mode = Literal["full", "quick", "group", "resume", "fine_tune"]
MODES: tuple[Mode, ...] = ("full", "quick", "group", "resume", "fine_tune")

N_TRIALS, QUICK_TRIALS = 15, 5
QUICK_GROUPS = 3
FINE_TUNED = 2
"""The first groups, which matter most, are searched quickly or again around the best."""
TIMEOUT_S = 24 * 3600.0
_POLL_S = 0.2

OnTrial = Callable[[str, TrialRow], None]


@dataclass(frozen=True)
class SearchRequest:
    """What is searched.

    Attributes
    ----------
    model_name : str
    base : mapping
        Settings of the training that are given; searched ones win over them.
    trial : mapping
        Settings of the trials alone, such as their few epochs; not part of what is found.
    method : {"tpe", "grid", "random"}
    mode : {"full", "quick", "group", "fine_tune"}
    group : str or None
        For the mode ``group``.
    n_trials : int or None
        Per group; default 15, in the mode ``quick`` 5.
    metric : str
        A name of `scoring.METRICS`.
    timeout_s : float
        Over all sittings.
    seed : int
    patience : int
        Trials without a better score after which a group is left; 0: none is.
    """

    model_name: str
    base: Mapping[str, Any] = field(default_factory=dict)
    trial: Mapping[str, Any] = field(default_factory=dict)
    method: Method = "tpe"
    mode: Mode = "full"
    group: str | None = None
    n_trials: int | None = None
    metric: str = "val_f1"
    timeout_s: float = TIMEOUT_S
    seed: int = 42
    patience: int = scoring.CONVERGENCE_PATIENCE

    def __post_init__(self) -> None:
        scoring.check_metric(self.metric)
        if (self.mode == "group") != (self.group is not None):
            raise UsageError("--mode group and --group NAME belong together. Give both or neither.")

    @property
    def limits(self) -> Limits:
        """When a group has been searched enough."""
        default = QUICK_TRIALS if self.mode == "quick" else N_TRIALS
        return Limits(self.n_trials or default, self.patience)

    def record(self) -> dict[str, Any]:
        """As plain values; the time limit may differ between sittings."""
        found: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        del found["timeout_s"]
        return found


@dataclass(frozen=True)
class Searched:
    """What a search found.

    Attributes
    ----------
    status : str
    results : tuple of GroupResult
    best : dict
        Settings for a training: a config file of ``earmark train market``.
    trials : list of dict
    """

    status: Status
    results: tuple[GroupResult, ...]
    best: dict[str, Any]
    trials: list[dict[str, Any]]


def continued(folder: Folder, timeout_s: float) -> SearchRequest:
    """The request of the search that was begun in `folder`.

    Raises
    ------
    UsageError
        There is none.
    """
    state = folder.read()
    if state is None:
        raise UsageError(f"Nothing was searched in `{folder.path}`. Begin: earmark grid market --mode full")
    return SearchRequest(**state.request, timeout_s=timeout_s)


def plan(request: SearchRequest, best: Mapping[str, Any]) -> tuple[Group, ...]:
    """The groups of a request, in order, with the ranges that will be searched.

    Parameters
    ----------
    request : SearchRequest
    best : mapping
        Winning settings of an earlier search, for the mode ``fine_tune``.
    """
    every = groups_for(request.model_name, request.base)
    if request.mode == "group":
        return (group_named(every, str(request.group)),)
    if request.mode == "quick":
        return every[:QUICK_GROUPS]
    if request.mode == "fine_tune":
        return tuple(around(group, best) for group in every[:FINE_TUNED])
    return every


def kept_settings(request: SearchRequest, folder: Folder) -> dict[str, Any]:
    """Settings of an earlier search that this one begins from.

    Raises
    ------
    UsageError
        There are none to tune, or they are of another model.
    """
    if request.mode not in ("group", "fine_tune"):
        return {}
    best = folder.best() if request.mode == "fine_tune" or folder.has_best else {}
    model = best.pop("model_name", None)
    if model == request.model_name:
        return best
    if request.mode == "group":
        return {}
    raise UsageError(
        f"The best settings in `{folder.path}` are of `{model}`, and `{request.model_name}` is to be tuned. Name that "
        "model, or search all groups: --mode full"
    )


def search(
    folder: Folder,
    request: SearchRequest,
    make_objective: Callable[[], Objective],
    *,
    workers: int = 1,
    should_stop: Callable[[], bool] = lambda: False,
    on_trial: OnTrial = lambda group, row: None,
) -> Searched:
    """Search, or go on with the same search.

    Parameters
    ----------
    folder : Folder
    request : SearchRequest
    make_objective : callable
        Makes the objective; with several `workers` in each of their processes, so it must be picklable.
    workers : int
        Processes that take trials.
    should_stop : callable
        Asked after every epoch.
    on_trial : callable
        Told of every trial that ended.

    Raises
    ------
    UsageError
        Another search runs, or one for something else was begun and not finished.
    RunError
        No trial of a group came to an end.
    MissingExtraError
        Optuna is not installed.
    """
    require_optuna()
    with folder.locked():
        return _Search(folder, request, make_objective, workers, should_stop, on_trial).run()


class _Search:
    """One sitting of a search."""

    def __init__(
        self,
        folder: Folder,
        request: SearchRequest,
        make_objective: Callable[[], Objective],
        workers: int,
        should_stop: Callable[[], bool],
        on_trial: OnTrial,
    ) -> None:
        self.folder, self.request, self.make_objective = folder, request, make_objective
        self.workers, self.should_stop, self.on_trial = workers, should_stop, on_trial
        self.objective = make_objective()
        self.begun = time.monotonic()
        self.state, self.groups = self._begin()
        self.elapsed_before = self.state.elapsed_s
        self.rows: dict[str, list[dict[str, Any]]] = {}
        for row in folder.results() if self.state.done else ():
            self.rows.setdefault(row["group"], []).append(row)

    def run(self) -> Searched:
        status: Status = "completed"
        for group in self.groups[len(self.state.done) :]:
            self._note(replace(self.state, current=group.name, status="running"))
            result = self._search_group(group)
            if result is None:
                status = "interrupted" if self.should_stop() else "timed out"
                break
            self._note(self.state.with_result(result))
        self._note(replace(self.state, status=status))
        trials = [row for rows in self.rows.values() for row in rows]
        self.folder.write_results(trials, self._best())
        return Searched(status, self.state.done, self._best(), trials)

    def _begin(self) -> tuple[SearchState, tuple[Group, ...]]:
        """The state to go on with, and the groups with their ranges."""
        before, record, data = self.folder.read(), self.request.record(), self.objective.fingerprint
        if before is None or before.status == "completed":
            kept = kept_settings(self.request, self.folder)
            groups = plan(self.request, kept)
            state = SearchState(record, data, kept, tuple(group.name for group in groups))
            return self.folder.write(state), groups
        if before.request != record:
            raise UsageError(
                f"A search was begun in `{self.folder.path}` and is not finished; this one differs in "
                f"{_differences(before.request, record)}. Go on with it: earmark grid market --mode resume. Or give it "
                "up: --reset"
            )
        if before.data != data:
            raise UsageError(
                f"The windows are not those that `{self.folder.path}` was searched on ({data}, then {before.data}): "
                "scores cannot be compared. Begin anew with --reset."
            )
        return before, plan(self.request, before.kept)

    def _search_group(self, group: Group) -> GroupResult | None:
        """Search a group to its end; None where the user or the clock stopped it."""
        work = self._work_on(group)
        study = work.study()
        study.retry_unfinished()
        self._run_trials(study, work)
        self.rows[group.name] = [_plain_row(group, row) for row in study.rows()]
        ending = study.ending(work.limits)
        return None if ending is None else self._result(group, study, ending)

    def _work_on(self, group: Group) -> _Work:
        frozen = {**self.request.base, **self.state.frozen, **self.request.trial}
        parts = (group, sorted(frozen.items()), self.state.data, self.request.metric, self.request.method)
        digest = hashlib.blake2b(repr(parts).encode(), digest_size=4).hexdigest()
        return _Work(
            self.folder.database(group.name),
            f"{group.name}-{digest}",
            group,
            self.request.method,
            self.request.metric,
            self.request.seed,
            self.request.limits,
            frozen,
        )

    def _run_trials(self, study: GroupStudy, work: _Work) -> None:
        def tell(row: TrialRow) -> None:
            self._note(self.state)
            self.on_trial(work.group.name, row)

        # Trials of a group with a metric of its own write labels: one at a time.
        if self.workers == 1 or work.group.metric is not None:
            study.run(self.objective, work.frozen, work.limits, should_stop=self._is_over, on_trial=tell)
        else:
            _in_processes(work, self.make_objective, self.workers, study, self._is_over, tell)

    def _result(self, group: Group, study: GroupStudy, ending: Ending) -> GroupResult:
        best, states = require_winner(study), [row.state for row in study.rows()]
        score = float(best.score or 0.0)
        earlier = [result.score for result in self.state.done]
        # The last winner with this group's defaults is a candidate, too; it was scored before.
        is_better = group.metric is not None or not earlier or score > max(earlier)
        counts = {state: states.count(state) for state in ("complete", "pruned", "fail")}
        return GroupResult(
            group.name,
            settings_of(best.values) if is_better else {},
            score if is_better else max(earlier),
            sum(counts.values()),
            counts["pruned"],
            counts["fail"],
            ending,
        )

    def _is_over(self) -> bool:
        return self.should_stop() or self._elapsed() >= self.request.timeout_s

    def _elapsed(self) -> float:
        return self.elapsed_before + time.monotonic() - self.begun

    def _note(self, state: SearchState) -> None:
        self.state = self.folder.write(replace(state, elapsed_s=round(self._elapsed(), 3)))

    def _best(self) -> dict[str, Any]:
        """Settings of the winners over those that were given: what a training needs to repeat them."""
        best = settings_of({**self.request.base, **self.state.frozen})
        return {"model_name": self.request.model_name, **best}


@dataclass(frozen=True)
class _Work:
    """A group's trials, as a process is told of them."""

    database: Path
    name: str
    group: Group
    method: Method
    metric: str
    seed: int
    limits: Limits
    frozen: Mapping[str, Any]

    def study(self, worker: int = 0) -> GroupStudy:
        return GroupStudy(
            self.database,
            self.name,
            self.group,
            method=self.method,
            metric=self.metric,
            seed=self.seed + 1000 * worker,
        )


def _in_processes(
    work: _Work,
    make_objective: Callable[[], Objective],
    n_workers: int,
    study: GroupStudy,
    is_over: Callable[[], bool],
    tell: Callable[[TrialRow], None],
) -> None:
    """Let processes take trials until none is due."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    processes = [
        context.Process(target=_take_trials, args=(work, make_objective, stop, number), daemon=True)
        for number in range(n_workers)
    ]
    # Ctrl-C reaches all processes of a terminal; these are told by `stop`, and never see it, from their first moment.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for process in processes:
            process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    told = {row.number for row in study.rows() if row.score is not None}
    while any(process.is_alive() for process in processes):
        processes[0].join(_POLL_S) if processes[0].is_alive() else time.sleep(_POLL_S)
        if is_over():
            stop.set()
        for row in study.rows():
            if row.state in ("complete", "pruned", "fail") and row.number not in told:
                told.add(row.number)
                tell(row)
    codes = [process.exitcode for process in processes]
    if any(codes):
        raise RunError(
            f"{sum(map(bool, codes))} of {n_workers} processes that searched `{work.group.name}` died with exit codes "
            f"{codes}; what was found is kept. See the messages above, and go on with --mode resume."
        )


def _take_trials(work: _Work, make_objective: Callable[[], Objective], stop: Any, number: int) -> None:
    work.study(number).run(
        make_objective(), work.frozen, work.limits, should_stop=stop.is_set, on_trial=lambda row: None
    )


def _plain_row(group: Group, row: TrialRow) -> dict[str, Any]:
    return {"group": group.name, **asdict(row)}


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    names = [name for name in first if first[name] != second.get(name)]
    return ", ".join(f"{name} (then {first[name]}, now {second.get(name)})" for name in names)
