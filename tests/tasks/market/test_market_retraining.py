"""When the daemon trains, what it notes, and what survives a restart; end to end on a stored project."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from learnable_store import SIGNAL, learnable_project, signalled
from series_store import INTERVAL_MS, START_MS, write_store

from earmark.errors import RunError, UsageError
from earmark.orderbook.catalog import FEATURE_NAMES
from earmark.tasks.market.retraining.daemon import DriftSeen, PerformanceSeen, Retrainer, Trained
from earmark.tasks.market.retraining.project import ProjectActions, watch
from earmark.tasks.market.retraining.state import Place
from earmark.tasks.market.retraining.triggers import (
    Policy,
    drift_asks,
    latest_scheduled,
    parse_period_s,
    parse_time_of_day_s,
    performance_asks,
)
from earmark.tasks.market.training.config import train_config
from earmark.tasks.market.training.train import train

DAY_S = 86_400
MIDNIGHT = 1_750_032_000.0


class Time:
    """A clock that a test moves."""

    def __init__(self, now=MIDNIGHT):
        self.now = now

    def now_s(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds


class Scripted:
    """Numbers that the daemon is shown; it decides on its own."""

    def __init__(self, share=0.0, accuracy=0.9, fails=False):
        self.share, self.accuracy, self.fails, self.trained = share, accuracy, fails, []

    def drift(self):
        return DriftSeen("r", self.share, 100, 0.1, "low")

    def performance(self):
        return PerformanceSeen("r", self.accuracy, 0.9, 2000)

    def train(self, trigger):
        self.trained.append(trigger)
        if self.fails:
            raise RunError("no memory")
        return Trained("new", True, 0.9, 0.8, "passed")


def daemon(tmp_path, actions, clock=None, **policy):
    return Retrainer(Policy(**policy), actions, Place(tmp_path), clock or Time())


# rules -------------------------------------------------------------------------------------------------------------


def test_borders_of_the_rules():
    policy = Policy()
    assert drift_asks(0.15, policy) is None and drift_asks(0.151, policy)
    assert drift_asks(float("nan"), policy) is None
    assert performance_asks(0.75, 0.8, policy) is None and performance_asks(0.749, 0.75, policy)
    assert performance_asks(0.80, 0.91, policy) and performance_asks(0.82, 0.91, policy) is None
    assert latest_scheduled(MIDNIGHT + 3 * 3600, policy) == MIDNIGHT + 3 * 3600
    assert latest_scheduled(MIDNIGHT, policy) == MIDNIGHT - 21 * 3600


@pytest.mark.parametrize(("text", "seconds"), [("60m", 3600), ("1.5h", 5400), ("90 s", 90), ("1d", DAY_S)])
def test_periods(text, seconds):
    assert parse_period_s(text) == seconds


@pytest.mark.parametrize("text", ["", "60", "m", "-1m", "0s", "1 week"])
def test_what_is_no_period(text):
    with pytest.raises(UsageError, match="60m"):
        parse_period_s(text)


def test_times_of_day():
    assert parse_time_of_day_s("03:00") == 10_800 and parse_time_of_day_s("never") is None
    with pytest.raises(UsageError, match="HH:MM"):
        parse_time_of_day_s("25:00")


# decisions ---------------------------------------------------------------------------------------------------------


def test_the_clock_asks_once_a_day_and_catches_up_after_a_pause(tmp_path):
    clock, actions = Time(), Scripted()
    watcher = daemon(tmp_path, actions, clock)
    for _ in range(3 * 24 * 4):
        watcher.step()
        clock.now += 900
    assert actions.trained == ["scheduled"] * 3
    clock.now += 5 * DAY_S
    again = daemon(tmp_path, actions, clock)  # as after a restart
    again.step()
    again.step()
    assert actions.trained == ["scheduled"] * 4


def test_checks_keep_their_periods_over_a_restart(tmp_path):
    clock = Time()
    for _ in range(8):
        daemon(tmp_path, Scripted(), clock, schedule_s=None).step()
        clock.now += 600
    events = [row["event"] for row in Place(tmp_path).history()]
    assert events.count("drift") == 2 and events.count("performance") == 3


def test_drift_asks_once_and_rests(tmp_path):
    clock, actions = Time(), Scripted(share=0.4)
    watcher = daemon(tmp_path, actions, clock, schedule_s=None)
    for _ in range(23):
        watcher.step()
        clock.now += 3600
    assert actions.trained == ["drift"]
    assert sum(row["event"] == "rest" for row in Place(tmp_path).history()) == 22
    clock.now += 3600
    watcher.step()
    assert actions.trained == ["drift", "drift"]


def test_lost_accuracy_asks(tmp_path):
    actions = Scripted(accuracy=0.7)
    daemon(tmp_path, actions).step()
    assert actions.trained == ["performance"]
    (why,) = [row["why"] for row in Place(tmp_path).history() if row["event"] == "training"]
    assert "0.700" in why and "0.75" in why


def test_somebody_may_ask(tmp_path):
    actions = Scripted()
    watcher = daemon(tmp_path, actions)
    Place(tmp_path).ask()
    watcher.step()
    watcher.step()
    assert actions.trained == ["manual"]


def test_a_failed_training_is_noted_and_the_daemon_goes_on(tmp_path):
    clock, actions = Time(), Scripted(fails=True)
    watcher = daemon(tmp_path, actions, clock, drift_every_s=1e9, performance_every_s=1e9)
    Place(tmp_path).ask()
    assert watcher.step() is None
    assert Place(tmp_path).history()[-1]["why"] == "no memory"
    clock.now += DAY_S
    actions.fails = False
    assert watcher.step().run == "new"


def test_only_one_daemon(tmp_path):
    with Place(tmp_path).locked(), pytest.raises(UsageError, match="watches"), Place(tmp_path).locked():
        pass


# end to end --------------------------------------------------------------------------------------------------------

N, MORE = 1500, 700
MODEL = {"model_name": "logistic", "sequence_length": 5, "export_onnx": False, "min_accuracy": 0.5}
POLICY = Policy(schedule_s=None, window_rows=1000, min_rows=300)


def rows_after(symbol, n, seed, moved=False):
    rows = signalled(symbol, n, seed, START_MS + N * INTERVAL_MS)
    if moved:
        rows = rows.with_columns(
            (pl.col(name) * 3 + 5).cast(pl.Float32) for name in FEATURE_NAMES if name != SIGNAL
        )
    return rows


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = learnable_project(tmp_path_factory.mktemp("template"), N)
    assert train(folder, train_config(MODEL)).promoted
    return folder


@pytest.fixture
def project(template, tmp_path):
    return Path(shutil.copytree(template, tmp_path / "project"))


def add(project, moved=False, seed=5):
    new = pl.concat(
        [rows_after(symbol, MORE, seed + i, moved) for i, symbol in enumerate(("4USDT", "ETHUSDT"))]
    )
    write_store(project, new)
    return project


def actions_of(project, **given):
    return ProjectActions(project, train_config(MODEL, given), POLICY)


def test_rows_like_before_raise_no_alarm(project):
    seen = actions_of(add(project)).drift()
    assert seen.tested > 100 and drift_asks(seen.share, POLICY) is None


def test_moved_rows_ask_and_a_training_is_promoted_by_its_gate(project):
    drifted = add(project, moved=True)
    watcher = Retrainer(POLICY, actions_of(drifted), Place(drifted / "data" / "retraining"), Time())
    trained = watcher.step()
    assert trained is not None and trained.promoted
    history = Place(drifted / "data" / "retraining").history()
    drift = next(row for row in history if row["event"] == "drift")
    assert drift["asks"] and drift["share"] > 0.5
    assert [row["trigger"] for row in history if row["event"] == "training"] == ["drift"]


@pytest.mark.slow
def test_a_bad_model_is_not_promoted(project):
    from earmark.tasks.market.training.records import runs_folder
    from earmark.training.production import production_run

    before = production_run(runs_folder(project), "market").name
    trained = actions_of(project, model_name="majority").train("manual")
    assert not trained.promoted and "not passed" in trained.why
    assert production_run(runs_folder(project), "market").name == before


def test_what_cannot_be_looked_at_asks_for_nothing(project):
    watcher = Retrainer(POLICY, actions_of(project), Place(project / "data" / "retraining"), Time())
    assert watcher.step() is None
    assert all("Insufficient data" in row["not_checked"] for row in Place(watcher.place.path).history())


@pytest.mark.parametrize("n_checks", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_checks_without_drift_raise_no_alarm(n_checks):
    """Autocorrelated features that do not drift: the share that asks is not reached in any of the windows."""
    from scipy.signal import lfilter

    from earmark.evaluation.drift import assess

    rng, alarms = np.random.default_rng(0), 0
    for _ in range(n_checks):
        noise = lfilter([1], [1, -0.8], rng.standard_normal((3000, 20)), axis=0)
        p = rng.dirichlet(np.ones(3), 3000)
        found = assess(
            noise[:2000], noise[2000:], [f"f{i}" for i in range(20)], predictions=(p[:2000], p[2000:])
        )
        alarms += drift_asks(found.share_drifting, Policy()) is not None
    assert alarms == 0


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_signals_ask_for_a_training_and_for_the_end(tmp_path):
    actions = Scripted()
    actions.project, actions.policy = tmp_path, Policy(schedule_s=None)
    events, answers = [], {"performance": signal.SIGUSR1, "trained": signal.SIGTERM}

    def tell(record):
        events.append(record["event"])
        if record["event"] in answers:
            signal.raise_signal(answers[record["event"]])

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    watch(actions, tell=tell)
    assert events == ["drift", "performance", "training", "trained"] and actions.trained == ["manual"]
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] == before


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_the_command_watches_and_ends_on_sigterm(project):
    asked = [
        "train",
        "market",
        "--watch",
        "--schedule",
        "never",
        "--model",
        "logistic",
        "--sequence-length",
        "5",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "earmark", "-C", str(project), *asked, "--no-onnx", "--format", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if " performance:" in line:
            break
    process.send_signal(signal.SIGUSR1)
    for line in process.stderr:
        if " trained:" in line:
            break
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    events = [row["event"] for row in json.loads(out)]
    assert events[:2] == ["drift", "performance"] and events[2:4] == ["training", "trained"]
