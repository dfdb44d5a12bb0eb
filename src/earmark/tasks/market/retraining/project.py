"""What the daemon does to a real project: checks by `monitoring`, training by `training`."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.errors import UsageError
from earmark.tasks.market.retraining.daemon import DriftSeen, PerformanceSeen, Retrainer, Tell, Trained
from earmark.tasks.market.retraining.state import Place
from earmark.tasks.market.retraining.triggers import Policy, Trigger

if TYPE_CHECKING:
    from earmark.tasks.market.training.config import TrainConfig
    from earmark.training.runs import Run

__all__ = ["ProjectActions", "WallClock", "place_of", "watch"]

EXPERIMENT = "auto_retraining"
"""Experiment of these trainings in MLflow."""


class WallClock:
    """The machine's time; a wait ends early when it is told to."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def now_s(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def wait(self, seconds: float) -> None:
        """Wait, or end early."""
        self.ended.wait(seconds)


@dataclass
class ProjectActions:
    """Checks and trainings of a project.

    Attributes
    ----------
    project : Path
    config : TrainConfig
        Of the trainings; where it names no range, the newest days of the policy are trained on.
    policy : Policy
    on_event : callable, optional
        Told of steps and epochs of a training.
    """

    project: Path
    config: TrainConfig
    policy: Policy
    on_event: Callable[[Mapping[str, Any]], None] | None = None

    def drift(self) -> DriftSeen:
        """Compare the newest rows with those of the run in production."""
        from earmark.tasks.market.retraining.monitoring import Monitored

        run = self._production()
        found = Monitored(self.project, run, self.policy.window_rows).drift()
        tested = sum(not np.isnan(feature.p) for feature in found.features)
        return DriftSeen(run.name, found.share_drifting, tested, found.psi, found.severity)

    def performance(self) -> PerformanceSeen:
        """Grade what the run in production says of labelled rows behind the sealed period."""
        from earmark.tasks.market.retraining.monitoring import Monitored
        from earmark.tasks.market.training.config import train_config
        from earmark.tasks.market.training.obtain import update_labels

        run = self._production()
        update_labels(self.project, train_config(run.config["given"]))
        right = Monitored(self.project, run, self.policy.window_rows).graded()
        if len(right) < self.policy.min_rows:
            raise UsageError(
                f"Insufficient data: {len(right)} labelled samples came after the training of `{run.name}`, need at "
                f"least {self.policy.min_rows} to grade it."
            )
        return PerformanceSeen(
            run.name, float(right.mean()), float(run.metrics["accuracy"]["value"]), len(right)
        )

    def train(self, trigger: Trigger) -> Trained:
        """Train and, where the gate is passed, promote: the code of `earmark train market`."""
        from earmark.tasks.market.training.config import train_config
        from earmark.tasks.market.training.train import train

        given = self.config.given_record()
        newest = {} if {"days", "start_date", "end_date"} & set(given) else {"days": self.policy.days}
        result = train(
            self.project, train_config(given, newest), on_event=self.on_event, experiment=EXPERIMENT
        )
        return Trained(
            result.run.name,
            result.promoted,
            result.metrics.get("accuracy"),
            result.metrics.get("macro_f1"),
            result.gate.sentence(),
        )

    def _production(self) -> Run:
        from earmark.tasks.market.training.records import runs_folder
        from earmark.training.production import history, production_run

        root = runs_folder(self.project)
        if not history(root, "market"):
            raise UsageError("No run is in production yet; there is nothing to compare with.")
        return production_run(root, "market")


def place_of(project: str | Path) -> Place:
    """Folder of the daemon of a project."""
    from earmark.tasks.market.prepare import data_folder

    return Place(data_folder(project) / "retraining")


def watch(actions: ProjectActions, *, once: bool = False, tell: Tell | None = None) -> Trained | None:
    """Watch a project until SIGINT or SIGTERM, or look once at everything.

    SIGUSR1 asks for a training now, as a file ``data/retraining/trigger`` does.

    Parameters
    ----------
    actions : ProjectActions
    once : bool
    tell : callable, optional
        Told every decision.

    Raises
    ------
    UsageError
        Another process watches the project.
    """
    place, clock = place_of(actions.project), WallClock()
    with place.locked():
        retrainer = Retrainer(actions.policy, actions, place, clock, tell=tell)
        if once:
            return retrainer.step(everything=True)
        with _signals(clock, place):
            retrainer.run(clock.ended.is_set)
    return None


@contextmanager
def _signals(clock: WallClock, place: Place) -> Iterator[None]:
    """The first SIGINT or SIGTERM ends after what is being done, the second at once; SIGUSR1 asks for a training."""

    def end(number: int, frame: object) -> None:
        if clock.ended.is_set():
            raise KeyboardInterrupt
        clock.ended.set()

    handlers = {signal.SIGINT: end, signal.SIGTERM: end, signal.SIGUSR1: lambda number, frame: place.ask()}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
